// A figure over the last hour, drawn as SVG. The pointer or the arrow keys read the value of a moment.

import { clock } from './text.js';

const HOUR = 3600; // seconds
const TOP = 8, BOTTOM = 20, RIGHT = 72; // pixels: above the highest line, for the times, for the levels
const LEAST_BUCKET = 6; // seconds: three samples

export class Chart {
  #svg; #name; #format; #least; #onRead;
  #points = []; // [[Unix seconds, value or null], …], oldest first
  #buckets = []; // what is drawn of them: [{ at, value }, …]
  #ceiling; // the axis' end; undefined: by the values
  #reading = null; // the bucket's time that is read

  // `least`: the axis is never shorter. `onRead` gets the text of a moment, or null.
  constructor(svg, { name, format, least, onRead }) {
    this.#svg = svg, this.#name = name, this.#format = format, this.#least = least, this.#onRead = onRead;
    // A moment of the hour is chosen as a value of a range is: by the arrow keys, and told by aria-valuetext.
    const range = { role: 'slider', tabindex: 0, 'aria-valuemin': -HOUR, 'aria-valuemax': 0, 'aria-label': name };
    for (const [attribute, value] of Object.entries(range)) svg.setAttribute(attribute, value);
    svg.addEventListener('pointermove', (event) => this.#read(this.#nearest(event)));
    svg.addEventListener('pointerleave', () => this.#read(null));
    svg.addEventListener('blur', () => this.#read(null));
    svg.addEventListener('keydown', (event) => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(svg);
  }

  show(points, ceiling) {
    this.#points = points, this.#ceiling = ceiling;
    this.#draw();
  }

  #draw() {
    const height = this.#svg.clientHeight, width = this.#svg.clientWidth - RIGHT;
    if (width <= 0 || !this.#points.length) return;
    const end = this.#points.at(-1)[0], span = Math.max(LEAST_BUCKET, (HOUR / width) * 1.5);
    this.#buckets = highest(this.#points, span, end - HOUR);
    const values = this.#buckets.map(({ value }) => value);
    const top = this.#ceiling ?? roundUp(Math.max(this.#least, ...values));
    const x = (at) => Math.min(width, Math.max(0, ((at - end) / HOUR + 1) * width));
    const y = (value) => TOP + (1 - Math.min(1, value / top)) * (height - TOP - BOTTOM);
    this.#svg.setAttribute('viewBox', `0 0 ${width + RIGHT} ${height}`);
    this.#svg.setAttribute('aria-label', this.#inWords());
    this.#svg.replaceChildren(...this.#axes(width, top, y), ...this.#line(span, x, y), ...this.#mark(x, y));
    this.#tell();
  }

  #axes(width, top, y) {
    const level = (value) => [
      draw('line', { class: value ? 'level' : 'base', x1: 0, x2: width, y1: y(value), y2: y(value) }),
      draw('text', { x: width + 8, y: y(value), dy: '0.35em' }, value ? this.#format(value) : '0'),
    ];
    const time = (minutes, anchor) => draw('text', { x: width * (1 - minutes / 60), y: y(0) + 15, 'text-anchor': anchor }, minutes ? `−${minutes} min` : 'now');
    return [...[0, top / 2, top].flatMap(level), time(60, 'start'), time(30, 'middle'), time(0, 'end')];
  }

  // A line and the area below it for each run of buckets without a gap.
  #line(span, x, y) {
    return runs(this.#buckets, span * 1.5).flatMap((run) => {
      const line = run.map(({ at, value }, i) => `${i ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join('');
      const area = `${line}V${y(0)}H${x(run[0].at).toFixed(1)}Z`;
      return [draw('path', { class: 'area', d: area }), draw('path', { class: 'line', d: `${line}h0.1` })];
    });
  }

  #mark(x, y) {
    const read = this.#bucketRead();
    if (!read) return [];
    const at = x(read.at);
    return [draw('line', { class: 'mark', x1: at, x2: at, y1: TOP, y2: y(0) }), draw('circle', { cx: at, cy: y(read.value), r: 3.5 })];
  }

  #bucketRead() {
    return this.#buckets.find(({ at }) => at === this.#reading);
  }

  #read(bucket) {
    this.#reading = bucket?.at ?? null;
    this.#draw();
  }

  #nearest(event) {
    const box = this.#svg.getBoundingClientRect(), end = this.#points.at(-1)?.[0];
    const at = end + ((event.clientX - box.left) / (box.width - RIGHT) - 1) * HOUR;
    return this.#buckets.reduce((best, it) => (best && Math.abs(best.at - at) <= Math.abs(it.at - at) ? best : it), null);
  }

  #key(event) {
    const last = this.#buckets.length - 1, now = this.#buckets.indexOf(this.#bucketRead());
    const from = now < 0 ? last + 1 : now;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, PageDown: from - 50, PageUp: from + 50, Home: 0, End: last, Escape: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#read(event.key === 'Escape' ? null : this.#buckets[Math.min(last, Math.max(0, to))]);
  }

  #tell() {
    const read = this.#bucketRead();
    const text = read ? `${clock(read.at)}: ${this.#format(read.value)}` : null;
    this.#svg.setAttribute('aria-valuenow', read ? Math.round(read.at - this.#points.at(-1)[0]) : 0);
    this.#svg.setAttribute('aria-valuetext', text ?? 'now');
    this.#onRead(text);
  }

  #inWords() {
    const values = this.#points.map(([, value]) => value).filter((value) => value !== null);
    if (!values.length) return `${this.#name}, last hour: no values`;
    const [now, lowest, highest] = [values.at(-1), Math.min(...values), Math.max(...values)].map(this.#format);
    return `${this.#name}, last hour: now ${now}, lowest ${lowest}, highest ${highest}`;
  }
}

// The highest value within each `span` of seconds, so that no peak vanishes. The spans lie
// where they lie as the hour moves on, so that the line does not flicker.
function highest(points, span, from) {
  const buckets = new Map();
  for (const [at, value] of points) {
    if (value === null || at < from) continue;
    const start = Math.floor(at / span) * span;
    buckets.set(start, Math.max(value, buckets.get(start) ?? 0));
  }
  return [...buckets].map(([start, value]) => ({ at: start + span / 2, value }));
}

function runs(buckets, gap) {
  const all = [];
  for (const bucket of buckets) {
    const run = all.at(-1);
    if (run && bucket.at - run.at(-1).at <= gap) run.push(bucket);
    else all.push([bucket]);
  }
  return all;
}

// The next round number.
function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].find((step) => step * unit >= value) * unit;
}

function draw(name, attributes, text) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [attribute, value] of Object.entries(attributes)) node.setAttribute(attribute, value);
  if (text) node.textContent = text;
  return node;
}
