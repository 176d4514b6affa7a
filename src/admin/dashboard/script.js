// The dashboard: the figures of one edge as they come.
// What the server sends goes in as text, never as markup: viewers choose paths.

import { Chart } from './chart.js';
import { offerZones, startForms } from './forms.js';
import { startTop } from './top.js';
import { bits, bytes, clock, count, element, exact, facts, fillRows, hitRatio, percent, perSecond, relative, seconds } from './text.js';

const HOUR = 3600; // seconds
const SILENCE = 15_000; // milliseconds: a sample comes each two seconds
const FIRST_WAIT = 1, LONGEST_WAIT = 30; // seconds
const ENDS_SOON = 14 * 86400; // seconds

// By the samples' fields, which the cards have in `data-figure`. `least`: the shortest axis.
const FIGURES = {
  requests_per_second: { format: perSecond, least: 1 },
  bits_per_second: { format: bits, least: 1000 },
  pulls_in_flight: { format: count, least: 10 },
  origin_first_byte_seconds: { format: seconds, least: 0.001, none: 'no pulls' },
  refusals_per_second: { format: perSecond, least: 1 },
  memory_used_bytes: { format: bytes, least: 1024, budget: (stats) => stats?.memory.budget_bytes },
  connections: { format: count, least: 10 },
};

const KINDS = ['playlist', 'segment', 'init', 'key', 'other'];

const find = (id) => document.getElementById(id);

let key = sessionStorage.getItem('key');
let samples = []; // of the last hour, oldest first
let stats = null; // the last that came
let lookAtTop; // who asks for what, now
let leave = new AbortController(); // ends what the present key has opened

function start() {
  find('host').textContent = location.host;
  document.title = `Warren ${location.host}`;
  find('plain').hidden = isSecureContext;
  find('enter').addEventListener('submit', (event) => {
    event.preventDefault();
    enter(find('key').value);
  });
  find('forget').addEventListener('click', () => askForKey('wanted', 'Key forgotten', ''));
  document.addEventListener('visibilitychange', () => showFigures());
  startForms(call);
  lookAtTop = startTop(call, () => document.body.dataset.view === 'figures');
  if (key) enter(key);
  else askForKey('wanted', 'Key wanted', '');
}

function enter(typed) {
  key = typed;
  leave.abort();
  leave = new AbortController();
  say('connecting', 'Connecting');
  follow(leave.signal);
}

function askForKey(state, status, why) {
  leave.abort();
  key = null;
  sessionStorage.removeItem('key');
  find('key').value = '';
  find('enter').querySelector('[role=alert]').textContent = why;
  say(state, status);
  view('key');
  find('key').focus();
}

function say(state, text) {
  const status = find('status');
  status.dataset.state = state;
  if (status.textContent !== text) status.textContent = text;
}

function view(name) {
  document.body.dataset.view = name;
}

// ---- the API

class Problem extends Error {
  constructor(status, { title, detail }) {
    super(detail ? `${title}: ${detail}` : title);
    this.status = status;
  }
}

async function request(method, path, body, signal) {
  const headers = { AccessKey: key, ...(body && { 'Content-Type': 'application/json' }) };
  const sent = fetch(`../v1/${path}`, { method, headers, body: body && JSON.stringify(body), signal, cache: 'no-store' });
  const answer = await sent.catch(() => {
    throw new Error('no answer from the edge');
  });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({ title: `status ${answer.status}` }));
  throw new Problem(answer.status, problem);
}

// What the forms call.
async function call(method, path, body) {
  try {
    return await (await request(method, path, body, leave.signal)).json();
  } catch (why) {
    if (why.status === 401) refused();
    throw why;
  }
}

function refused() {
  askForKey('refused', 'Key refused', 'This key is refused: it is none of those under [admin] access_keys.');
}

// ---- the stream

// Listens until the key is given up, and comes back after whatever ends a stream.
async function follow(left) {
  let wait = FIRST_WAIT;
  while (!left.aborted) {
    let why = 'the stream ended';
    try {
      await listen(left, () => (wait = FIRST_WAIT));
    } catch (problem) {
      if (left.aborted) return;
      if (problem.status === 401) return refused();
      why = problem.message;
    }
    const since = samples.length ? `, last sample ${clock(samples.at(-1).at)}` : '';
    say('reconnecting', `Reconnecting${since} (${why})`);
    await new Promise((done) => setTimeout(done, wait * 1000));
    wait = Math.min(2 * wait, LONGEST_WAIT);
  }
}

async function listen(left, isLive) {
  const silence = new AbortController(), signal = AbortSignal.any([left, silence.signal]);
  let timer;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(new Error('the edge is silent')), SILENCE);
  };
  try {
    heard();
    // In this order, so that no sample falls between the two.
    const stream = await request('GET', 'stats/events', null, signal);
    samples = inRows(await (await request('GET', 'stats/history', null, signal)).json());
    signal.throwIfAborted();
    sessionStorage.setItem('key', key);
    view('figures');
    showFigures();
    lookAtTop();
    for await (const { name, data } of events(stream.body)) {
      heard();
      isLive();
      say('live', 'Live');
      if (name === 'sample') addSample(data);
      if (name === 'stats') stats = data, showTotals(), showFigures();
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

// The events of a text/event-stream, with one line of data each.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      const field = (name) => block.split('\n').find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
      if (field('data')) yield { name: field('event'), data: JSON.parse(field('data')) };
    }
  }
}

// The history's columns as samples.
function inRows(history) {
  const kinds = (columns, i) => Object.fromEntries(Object.entries(columns).map(([kind, column]) => [kind, column[i]]));
  const row = (i) => ({
    ...Object.fromEntries(Object.keys(FIGURES).map((field) => [field, history[field][i]])),
    at: history.until - (history.count - 1 - i) * history.step_seconds,
    hits: kinds(history.hits, i),
    misses: kinds(history.misses, i),
  });
  return Array.from({ length: history.count }, (_, i) => row(i));
}

function addSample(sample) {
  if (samples.length && sample.at <= samples.at(-1).at) return;
  samples = [...lastSeconds(HOUR, sample.at), sample];
  showFigures();
}

function lastSeconds(length, now = samples.at(-1)?.at) {
  return samples.filter(({ at }) => at > now - length);
}

// ---- now and the last hour

const cards = Object.entries(FIGURES).map(([field, { format, least, ...more }]) => {
  const card = document.querySelector(`[data-figure=${field}]`);
  const readout = card.querySelector('.readout');
  let usual = '';
  const chart = new Chart(card.querySelector('svg'), {
    name: card.querySelector('h3').textContent, format, least, onRead: (text) => (readout.textContent = text ?? usual),
  });
  const show = () => {
    const shown = lastSeconds(Number(find('window').value));
    const values = shown.map((sample) => sample[field]).filter((value) => value !== null);
    const now = lastSeconds(60).map((sample) => sample[field]).findLast((value) => value !== null);
    const budget = more.budget?.(stats);
    showFigure(card.querySelector('.figure'), now === undefined ? more.none ?? 'no samples' : format(now));
    usual = budget ? `of ${format(budget)}` : values.length ? `peak ${format(Math.max(...values))}` : '';
    chart.show(shown.map((sample) => [sample.at, sample[field]]), budget);
  };
  return { show };
});

function showFigures() {
  if (document.hidden) return;
  for (const card of cards) card.show();
  showRatios();
}

// Units, and words where there is no number, are small and quiet.
function showFigure(place, text) {
  const [number, ...unit] = text.split('\u00a0');
  place.replaceChildren(...(unit.length ? [number, element('span', {}, `\u00a0${unit.join(' ')}`)] : /\d/.test(text) ? [text] : [element('span', {}, text)]));
}

function showRatios() {
  const minute = lastSeconds(60);
  const sum = (list, kinds) => {
    const of = (field) => list.reduce((sum, sample) => kinds.reduce((sum, kind) => sum + sample[field][kind], sum), 0);
    return { hits: of('hits'), misses: of('misses') };
  };
  const all = hitRatio(sum(minute, KINDS));
  showFigure(find('ratio'), all === null ? 'no requests' : percent(all));
  const seen = KINDS.filter((kind) => kind !== 'other' || hitRatio(sum(samples, [kind])) !== null);
  fillRows(find('kinds'), seen.map((kind) => [head(kind), ratioCell(sum(minute, [kind])), ratioCell(sum(samples, [kind]))]));
}

function ratioCell(of) {
  const share = hitRatio(of);
  if (share === null) return element('td', { class: 'empty' }, 'no requests');
  const bar = element('span', { class: 'bar' });
  bar.style.setProperty('--share', share);
  return element('td', { class: 'ratio', title: `${count(of.hits)} hits, ${count(of.misses)} misses` }, bar, percent(share));
}

// ---- counted

const head = (text) => element('th', { scope: 'row' }, text);
const number = (text, title) => element('td', { class: 'number', title }, text);
const state = (good, text, title) => element('td', { class: good ? 'good' : 'bad', title: title ?? '' }, text, ...(good || !title ? [] : [element('div', {}, title)]));

// Of the zone that was chosen.
const chosen = (rows) => {
  const zone = find('totals-zone').value;
  return zone ? rows.filter((row) => row.zone === zone) : rows;
};
find('totals-zone').addEventListener('change', () => showTotals());
find('window').addEventListener('change', () => showFigures());

function showTotals() {
  const { config, memory, pulls } = stats, now = stats.started_at + stats.uptime_seconds;
  find('counted-since').textContent = exact(stats.counted_since);
  find('edge').replaceChildren(...facts([
    ['State', stats.ready ? 'ready' : 'draining', { class: stats.ready ? 'good' : 'warn' }],
    ['Configuration', configuration(config), { class: config.last_reload_successful ? 'good' : 'bad' }],
    ['Version', `${stats.version}, started ${relative(stats.started_at, now)}`, { title: exact(stats.started_at) }],
    ['In progress', requests(stats.requests_in_progress)],
    ['Answered', `${requests(stats.requests)}, ${bytes(stats.bytes)}`, { title: `since ${exact(stats.counted_since)}` }],
    ...stats.first_byte.slice(0, 2).map((it) => [`First byte, ${it.cache}`, waits(it.lately ?? it), { title: it.lately ? 'in the last minutes' : 'since the start' }]),
    ['Stored', `${count(memory.objects)} objects, ${bytes(memory.object_bytes)}`],
  ]));
  find('pulls').replaceChildren(...facts([
    ['Started', count(pulls.started)],
    ['Collapsed', `${requests(pulls.collapsed)} rode one`],
    ['Resumed', count(pulls.resumed)],
    ['Over budget', count(pulls.over_budget), { class: pulls.over_budget ? 'warn' : '' }],
    ...(chosen(pulls.failures).length ? [] : [['Failures', 'none']]),
    ...chosen(pulls.failures).map(({ zone, reason, count: times }) => [`Failed: ${zone} ${reason}`, count(times), { class: 'warn' }]),
  ]));
  fillRows(find('zones'), chosen(stats.zones).map((it) => [
    head(it.zone), number(count(it.requests)), number(bytes(it.bytes)),
    hitRatio(it) === null ? element('td', { class: 'number empty' }, 'none') : number(percent(hitRatio(it))), number(count(it.refusals)),
  ]));
  fillRows(find('origins'), chosen(stats.origins).map((it) => [
    it.zone, head(it.endpoint), state(it.up, it.up ? 'up' : 'in doubt or shut', it.last_failure && `failed last ${exact(it.last_failure.at)}: ${it.last_failure.reason}`),
    number(...firstByte(it)), number(count(it.answers)), number(count(it.circuit_opened)),
  ]));
  fillRows(find('errors'), chosen(stats.errors).map((it) => {
    const when = (at) => element('td', { title: exact(at) }, relative(at, now));
    const paths = it.paths.map(({ at, path }) => element('div', { class: 'path', title: `${exact(at)} ${path}` }, path));
    return [head(String(it.status)), it.reason ?? '', it.zone ?? '', number(count(it.count)), when(it.first), when(it.last), element('td', {}, ...paths)];
  }));
  fillRows(find('objects'), chosen(stats.objects).map((it) => [it.zone ?? '', element('th', { scope: 'row', class: 'path', title: it.path }, it.path), it.kind, number(bytes(it.bytes)), number(count(it.hits))]));
  fillRows(find('statuses'), chosen(stats.statuses).map((it) => [head(it.class), it.zone, number(count(it.count))]));
  fillRows(find('keys'), chosen(stats.keys).filter((it) => it.count).map((it) => [head(it.key), it.zone, it.scheme, number(count(it.count))]));
  fillRows(find('refusals'), chosen(stats.refusals).filter((it) => it.count).map((it) => [head(it.reason), it.zone, number(count(it.count))]));
  fillRows(find('certificates'), stats.certificates.map(({ file, expires_at: end }) => {
    const rank = end < now ? 'bad' : end - now < ENDS_SOON ? 'warn' : '';
    return [element('th', { scope: 'row', class: 'path', title: file }, file), element('td', { class: rank, title: exact(end) }, `${end < now ? 'ended' : 'ends'} ${relative(end, now)}`)];
  }));
  offerZones(stats.zones.map(({ zone }) => zone));
}

const waits = (of) => `${seconds(of.p50_seconds)}, of 99 in 100 within ${seconds(of.p99_seconds)}`;

// Of an endpoint: what it took lately, else on average.
function firstByte({ lately, answers, first_byte_seconds: mean }) {
  if (lately) return [seconds(lately.p50_seconds), `half of the last minutes' ${count(lately.count)}; 99 in 100 within ${seconds(lately.p99_seconds)}`];
  return [answers ? seconds(mean) : 'none', 'the mean since the start'];
}

const requests = (number) => `${count(number)} ${number === 1 ? 'request' : 'requests'}`;

function configuration({ last_reload_successful: good, reloads, reloads_refused: refused }) {
  if (!good) return 'last reload refused: see the log';
  const times = (number) => `${count(number)} ${number === 1 ? 'reload' : 'reloads'}`;
  return `in force${reloads ? `, ${times(reloads)}` : ''}${refused ? `, ${times(refused)} refused` : ''}`;
}

start();
