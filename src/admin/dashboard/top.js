// Who asks for what, and what the operator has on his lists.

import { bytes, count, element, exact, fillRows } from './text.js';

const AGAIN = 5_000; // milliseconds
const ROWS = 20;

const find = (id) => document.getElementById(id);

// Asks again and again while the page is looked at; `call` as for the forms.
export function startTop(call, isOpen) {
  const look = () => isOpen() && !document.hidden && Promise.all([showTop(call), showLists(call)]).catch(() => {});
  for (const name of ['list', 'by', 'zone']) find(`top-${name}`).addEventListener('change', look);
  setInterval(look, AGAIN);
  return look;
}

async function showTop(call) {
  const [list, by, zone] = ['list', 'by', 'zone'].map((name) => find(`top-${name}`).value);
  const said = await call('GET', `top?${new URLSearchParams({ by, limit: ROWS, ...(zone && { zone }) })}`);
  find('top-since').textContent = `last ${count(said.seconds)} s`;
  const number = (text) => element('td', { class: 'number' }, text);
  const name = (row) => row.name ?? `${row.status} ${row.reason ?? ''}`;
  fillRows(find('top'), said[list].map((row) => [
    element('th', { scope: 'row', class: 'path', title: name(row) }, name(row)), row.zone ?? '',
    number(count(row.requests)), number(bytes(row.bytes)), number(count(row.errors)),
  ]));
}

async function showLists(call) {
  const lists = ['takedowns', 'revocations', 'blocks'];
  const said = await Promise.all(lists.map((list) => call('GET', list)));
  const end = (at) => (at ? exact(at) : '');
  const rows = [
    ...said[0].takedowns.map((it) => ['taken down', it.zone, `${it.path}${it.prefix ? '*' : ''}`, it.reason, end(it.until)]),
    ...said[1].revocations.map((it) => ['revoked', it.zone ?? 'every zone', `${it.kind} ${it.value}`, it.reason, end(it.forget_at)]),
    ...said[2].blocks.map((it) => ['blocked', it.zone ?? 'every zone', it.network, it.reason, end(it.until)]),
  ];
  fillRows(find('lists'), rows.map(([what, zone, name, reason, until]) => [
    what, zone, element('th', { scope: 'row', class: 'path', title: name }, name), reason, until,
  ]));
}
