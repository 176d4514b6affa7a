// The forms: purge, explain, inspect.

import { bytes, count, element, exact, facts, objects, relative, seconds } from './text.js';

const find = (id) => document.getElementById(id);

// `call(method, path, body)` answers what the API does, or throws what is wrong.
export function startForms(call) {
  onSubmit('purge', (fields, button) => purge(call, fields, button));
  onSubmit('explain', async (fields) => explained(await call('POST', 'explain', given(fields, ['url', 'client_ip', 'country', 'referer', 'zone']))));
  onSubmit('inspect', async (fields) => inspected(await call('GET', `cache/inspect?${new URLSearchParams(given(fields, ['url', 'zone']))}`)));
}

// The zones that the forms let choose; what is chosen stays.
export function offerZones(zones) {
  for (const select of document.querySelectorAll('select[name=zone]')) {
    const offered = [...select.options].slice(1).map(({ value }) => value);
    if (offered.join() === zones.join()) continue;
    const chosen = select.value;
    select.replaceChildren(select.options[0], ...zones.map((zone) => element('option', { value: zone }, zone)));
    select.value = zones.includes(chosen) ? chosen : '';
  }
}

// Shows what `work` answers, or at the form what is wrong.
function onSubmit(id, work) {
  const form = find(id), [wrong, output] = [form.querySelector('[role=alert]'), form.querySelector('output')];
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    wrong.textContent = '';
    output.replaceChildren();
    form.setAttribute('aria-busy', 'true');
    try {
      output.replaceChildren(...(await work(new FormData(form), event.submitter?.value)));
    } catch (why) {
      wrong.textContent = why.message;
    }
    form.removeAttribute('aria-busy');
  });
}

function given(fields, names) {
  const filled = names.map((name) => [name, fields.get(name).trim()]).filter(([, text]) => text);
  return Object.fromEntries(filled);
}

// ---- purge

async function purge(call, fields, button) {
  const lines = (name) => fields.get(name).split('\n').map((line) => line.trim()).filter(Boolean);
  const wanted = {
    urls: lines('urls'), prefixes: lines('prefixes'), tags: lines('tags'),
    all: fields.has('all'), zone: fields.get('zone') || null, mode: fields.get('mode'),
  };
  const { purged: found } = await call('POST', 'purge', { ...wanted, dry_run: true });
  const becomes = wanted.mode === 'hard' ? 'be gone' : 'be stale';
  if (button === 'count') return [verdict('', `${objects(found)} would ${becomes}.`)];
  if (!(await confirmed(`Purge ${objects(found)}?`, `${named(wanted)} would ${becomes}.`))) return [verdict('', 'Nothing was purged.')];
  const { purged, left } = await call('POST', 'purge', wanted);
  const others = left.length ? ` Not in ${left.join(', ')}, where the same objects are served.` : '';
  return [verdict('good', `${objects(purged)} purged (${wanted.mode}).${others}`)];
}

function named({ urls, prefixes, tags, all, zone }) {
  if (all) return zone ? `Everything in the zone ${zone}` : 'Everything in every zone';
  const lists = [[urls, 'URL', 'URLs'], [prefixes, 'prefix', 'prefixes'], [tags, 'tag', 'tags']].filter(([list]) => list.length);
  return `What ${lists.map(([list, one, many]) => `${count(list.length)} ${list.length === 1 ? one : many}`).join(', ')} named`;
}

function confirmed(title, text) {
  const dialog = find('confirm');
  dialog.querySelector('h2').textContent = title;
  dialog.querySelector('p').textContent = text;
  dialog.returnValue = 'no';
  for (const button of dialog.querySelectorAll('button')) button.onclick = () => dialog.close(button.value);
  dialog.showModal();
  return new Promise((decide) => dialog.addEventListener('close', () => decide(dialog.returnValue === 'yes'), { once: true }));
}

// ---- explain and inspect

function explained(answer) {
  const { allow, reason, detail, now, expires_in: left } = answer;
  const ahead = now - Math.floor(Date.now() / 1000);
  return [
    verdict(allow ? 'good' : 'bad', allow ? 'Let in' : `Refused: ${reason}`),
    detail ? element('p', {}, detail) : '',
    listed([
      ['Zone', answer.zone],
      ['Scheme', answer.scheme],
      ['Key', answer.key],
      ['Keys tried', answer.keys_tried?.join(', ')],
      ['Path', answer.path],
      ['Signed path', answer.signed_path],
      ['Signed parameters', answer.signed_parameters === '' ? 'none' : answer.signed_parameters],
      ['Left out', answer.left_out?.join(', ')],
      ['Expiry', typeof left === 'number' ? `${left < 0 ? 'expired' : 'expires'} ${relative(now + left, now)}` : null, { title: exact(now + (left ?? 0)), class: left < 0 ? 'bad' : '' }],
      ["Edge's clock", Math.abs(ahead) < 2 ? "agrees with this browser's" : `${seconds(Math.abs(ahead))} ${ahead > 0 ? 'ahead of' : 'behind'} this browser's`, { title: exact(now) }],
      ['Token, in the log', answer.fingerprint],
      ['Kind', answer.kind],
      ['Cache key', answer.cache_key],
      ['Fresh for', typeof answer.ttl === 'number' ? seconds(answer.ttl) : null],
      ['Origin', answer.origin],
    ]),
  ];
}

function inspected(answer) {
  const length = (value) => (value ? seconds(value) : null);
  return [
    answer.stored ? verdict(answer.state === 'fresh' ? 'good' : 'warn', `Stored: ${answer.state.replaceAll('_', ' ')}`) : verdict('', 'Not stored.'),
    listed([
      ['Zone', answer.zone],
      ['Path', answer.path],
      ['Kind', answer.kind],
      ['Cache key', answer.key],
      ['Status', answer.status],
      ['Size', answer.stored ? bytes(answer.bytes) : null],
      ['Age', length(answer.age)],
      ['Fresh for', length(answer.fresh_for)],
      ['Then stale while revalidating', length(answer.stale_while_revalidate)],
      ['Then stale if the origin fails', length(answer.stale_if_error)],
      ['ETag', answer.etag],
      ['Last-Modified', answer.last_modified],
      ['Tags', answer.tags?.join(', ')],
      ['Hits, about', answer.hits === undefined ? null : count(answer.hits)],
    ]),
  ];
}

const verdict = (rank, text) => element('p', { class: `verdict ${rank}` }, text);
const listed = (list) => element('dl', {}, ...facts(list));
