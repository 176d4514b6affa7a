// How things read on the page: numbers with their units, times, and elements that hold nothing but text.

const NBSP = '\u00a0';
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

const rounded = (value) => value.toLocaleString('en', { maximumFractionDigits: value >= 100 ? 0 : value >= 10 ? 1 : 2 });

function scaled(value, base, units) {
  let unit = 0;
  for (; value >= base && unit < units.length - 1; unit++) value /= base;
  return rounded(value) + NBSP + units[unit];
}

export const count = (value) => whole.format(value);
export const perSecond = (value) => (value < 100 ? rounded(value) : whole.format(value)) + NBSP + '/s';
export const bits = (value) => scaled(value, 1000, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']);
export const bytes = (value) => scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
export const objects = (value) => `${count(value)} stored ${value === 1 ? 'object' : 'objects'}`;

// Of hits and misses; null where there were none.
export function hitRatio({ hits, misses }) {
  return hits + misses ? hits / (hits + misses) : null;
}

// Never 100 % where there was a miss.
export const percent = (share) => (share === 1 ? '100' : (Math.floor(share * 1000) / 10).toFixed(1)) + NBSP + '%';

const UNITS = [['day', 86400], ['h', 3600], ['min', 60], ['s', 1]]; // in seconds

// Two units at most: "9 days", "23 h 59 min", "1.46 s", "12.4 ms".
export function seconds(value) {
  if (value < 1) return rounded(value * 1000) + NBSP + 'ms';
  if (value < 60) return rounded(value) + NBSP + 's';
  const large = UNITS.findIndex(([, length]) => value >= length);
  const amount = (unit, of) => [Math.floor(of / UNITS[unit][1]), UNITS[unit][0]];
  const [[first, name], [second, smaller]] = [amount(large, value), amount(large + 1, value % UNITS[large][1])];
  if (name === 'day') return first + NBSP + (first === 1 ? 'day' : 'days');
  return first + NBSP + name + (second ? NBSP + second + NBSP + smaller : '');
}

// A time beside `now`, both in Unix seconds: "in 21 days", "42 s ago".
export function relative(at, now) {
  const away = seconds(Math.max(1, Math.floor(Math.abs(at - now))));
  return at >= now ? `in ${away}` : `${away} ago`;
}

export const exact = (at) => new Date(at * 1000).toLocaleString('en-GB', { dateStyle: 'long', timeStyle: 'long' });

export const clock = (at) => new Date(at * 1000).toLocaleTimeString('en-GB');

// `children` that are no nodes become text.
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) if (value) node.setAttribute(attribute, value);
  node.append(...children);
  return node;
}

// One row for each list of cells; a cell is a text, or a `td` or `th` of its own. Without rows, the words of `data-empty`.
export function fillRows(body, rows) {
  const cell = (it) => (it instanceof Node ? it : element('td', {}, it));
  const columns = body.closest('table').querySelectorAll('thead th').length;
  const filled = rows.map((cells) => element('tr', {}, ...cells.map(cell)));
  const empty = element('tr', {}, element('td', { class: 'empty', colspan: columns }, body.dataset.empty));
  body.replaceChildren(...(filled.length ? filled : [empty]));
}

// Terms and what is said of them: [term, text, attributes]; what is null or '' is left out.
export function facts(list) {
  const said = list.filter(([, text]) => text !== null && text !== undefined && text !== '');
  return said.flatMap(([term, text, attributes]) => [element('dt', {}, term), element('dd', attributes, text)]);
}
