#!/usr/bin/env node
// Opens the dashboard in headless Chromium as an operator would: with a wrong key, with the right one,
// by keyboard, on a phone, in light and dark. Prints one line of JSON; exit 0: every claim holds.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { argumentsOr, withPage } from './chromium.mjs';

const usage = 'dashboard.mjs ADMIN_URL --access-key KEY --signed URL --refused URL --reason NAME [--screenshots FOLDER] [--timeout S]';
const wanted = argumentsOr(usage, { 'access-key': '', signed: '', refused: '', reason: '', screenshots: '', timeout: 20 });
const patience = { timeout: wanted.timeout * 1000 };
const LEAST_CONTRAST = 4.5; // WCAG 2.2, 1.4.3

const problems = [];
const claim = (holds, what) => holds || problems.push(what);

async function screenshot(page, name, options) {
  if (!wanted.screenshots) return;
  mkdirSync(wanted.screenshots, { recursive: true });
  await page.screenshot({ path: join(wanted.screenshots, `${name}.png`), ...options });
}

const status = (page, state) => page.waitForSelector(`#status[data-state=${state}]`, patience);

// The console complains of what is refused on purpose, and of nothing else.
function listen(page) {
  const home = new URL(wanted.url).origin, onPurpose = /status of (401|400) /;
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => message.type() === 'error' && claim(onPurpose.test(message.text()), message.text()));
  page.on('request', (request) => claim(new URL(request.url()).origin === home || request.url().startsWith('data:'), `asks elsewhere: ${request.url()}`));
}

async function refusesAWrongKey(page) {
  await page.fill('#key', 'a wrong key');
  await page.keyboard.press('Enter');
  await status(page, 'refused');
  const words = await page.textContent('#enter [role=alert]');
  claim(/refused/.test(words), `a wrong key is told ${JSON.stringify(words)}`);
  claim(await page.isHidden('#purge'), 'a wrong key shows the forms');
  await screenshot(page, 'key');
}

async function goesLive(page) {
  await page.fill('#key', wanted['access-key']);
  await page.keyboard.press('Enter');
  await status(page, 'live');
  await page.waitForSelector('#zones th[scope=row]', patience);
  claim((await page.textContent('#status')) === 'Live', 'the status does not say live');
}

// What it shows of traffic that is made now.
async function followsTraffic(page) {
  const figure = '[data-figure=requests_per_second] .figure';
  await page.waitForFunction((figure) => document.querySelector(figure).textContent, figure, patience);
  const before = await page.textContent(figure);
  for (let i = 0; i < 200; i++) await (await fetch(wanted.signed)).arrayBuffer();
  const changed = ([figure, before]) => ![before, '0\u00a0/s'].includes(document.querySelector(figure).textContent);
  await page.waitForFunction(changed, [figure, before], patience).catch(() => problems.push(`requests/s stay at ${before}`));
  const kinds = await page.$$eval('#kinds tr', (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
  for (const kind of ['playlist', 'segment', 'init', 'key']) claim(kinds.some(([name]) => name === kind), `no hit ratio of kind ${kind}`);
  claim(kinds.some(([, minute, hour]) => /%/.test(minute) && /%/.test(hour)), `hit ratios without a value: ${JSON.stringify(kinds)}`);
  claim(!(await page.$('#objects :is(b, img)')), 'a path became markup');
  const label = await page.getAttribute('[data-figure=requests_per_second] svg', 'aria-label');
  claim(/now .*lowest .*highest/.test(label), `the chart's label is ${JSON.stringify(label)}`);
}

// Whose requests these were.
async function showsTheLastMinutes(page) {
  const first = (name) => page.waitForFunction((name) => document.querySelector('#top th[scope=row]')?.textContent.startsWith(name), name, patience);
  await first('127.0.0.').catch(() => problems.push('no client among those who asked most'));
  await page.selectOption('#top-list', 'answers');
  await first('200').catch(() => problems.push('no 200 among the answers'));
  claim(/^last \d+ s$/.test(await page.textContent('#top-since')), 'nobody says how long it is looked back');
}

async function readsAMoment(page) {
  const chart = '[data-figure=requests_per_second]';
  await page.focus(`${chart} svg`);
  await page.keyboard.press('ArrowLeft');
  const text = await page.textContent(`${chart} .readout`);
  claim(/^\d\d:\d\d:\d\d: .*\/s$/.test(text), `the arrow keys read ${JSON.stringify(text)}`);
}

async function purgesOnlyWhenConfirmed(page) {
  await page.fill('#purge-urls', wanted.signed);
  await page.click('#purge button[value=count]');
  const answer = await page.waitForSelector('#purge output p', patience);
  claim(/^\d[\d,]* stored objects? would be gone\.$/.test(await answer.textContent()), `a dry run says ${await answer.textContent()}`);
  await page.click('#purge button[value=purge]');
  await page.waitForSelector('#confirm[open]', patience);
  claim(/^Purge \d/.test(await page.textContent('#confirm h2')), 'the question names no count');
  await page.keyboard.press('Escape');
  const kept = await page.waitForSelector('#purge output p', patience);
  claim((await kept.textContent()) === 'Nothing was purged.', 'a purge that is not confirmed is done');
  await page.fill('#purge-urls', '');
  await page.click('#purge button[value=count]');
  await page.waitForFunction(() => document.querySelector('#purge [role=alert]').textContent.includes('nothing_named'), null, patience).catch(() => problems.push('an empty purge is not told its problem'));
}

async function explainsARefusal(page) {
  await page.fill('#explain-url', wanted.refused);
  await page.click('#explain button');
  const verdict = await page.waitForSelector('#explain .verdict', patience);
  claim((await verdict.textContent()) === `Refused: ${wanted.reason}`, `explain says ${await verdict.textContent()}, not ${wanted.reason}`);
  await page.fill('#inspect-url', wanted.signed);
  await page.click('#inspect button');
  const stored = await page.waitForSelector('#inspect .verdict', patience);
  claim(/^Stored/.test(await stored.textContent()), `inspect says ${await stored.textContent()}`);
}

async function isNamedAndInOrder(page) {
  const nameless = await page.$$eval('input, textarea, select, button, a, [tabindex="0"]', (controls) =>
    controls
      .filter((it) => !(it.labels?.length || it.getAttribute('aria-label') || document.getElementById(it.getAttribute('aria-labelledby')) || (/^(A|BUTTON)$/.test(it.tagName) && it.textContent.trim())))
      .map((it) => it.outerHTML.slice(0, 80)));
  claim(!nameless.length, `without a name: ${nameless}`);
  const ranks = await page.$$eval('main h2, main h3', (headings) => headings.filter((it) => it.checkVisibility()).map((it) => Number(it.tagName[1])));
  claim(ranks.every((rank, i) => rank <= (ranks[i - 1] ?? 1) + 1), `headings skip a rank: ${ranks}`);
}

async function isReachedByTab(page) {
  await page.evaluate(() => (document.activeElement.blur(), window.scrollTo(0, 0), getSelection().removeAllRanges()));
  await page.reload();
  await status(page, 'live');
  const seen = [];
  for (let i = 0; i < 80 && !seen.includes('inspect-url'); i++) {
    await page.keyboard.press('Tab');
    seen.push(await page.evaluate(() => document.activeElement.id || document.activeElement.className));
  }
  claim(seen[0] === 'skip', `the first stop is ${seen[0]}, not the skip link`);
  for (const id of ['purge-urls', 'explain-url', 'inspect-url']) claim(seen.includes(id), `Tab does not reach ${id}`);
}

async function fitsAPhone(page) {
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 360, height: 800 });
  await page.waitForTimeout(300);
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  claim(width <= 360, `the page is ${width} px wide on a phone of 360`);
  await screenshot(page, 'phone');
  await screenshot(page, 'phone-whole', { fullPage: true });
  await page.setViewportSize({ width: 1440, height: 900 });
}

// Runs in the page: texts that are hard to read on their ground.
function faint(least) {
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) && (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = numbers(getComputedStyle(node).backgroundColor);
      if (color[3] !== 0) return color;
    }
    return [255, 255, 255];
  };
  const own = (node) => [...node.childNodes].some((it) => it.nodeType === Node.TEXT_NODE && it.data.trim());
  const texts = [...document.querySelectorAll('body *')].filter((node) => own(node) && node.checkVisibility());
  const ratios = texts.map((node) => {
    const style = getComputedStyle(node);
    const [a, b] = [light(numbers(node instanceof SVGElement ? style.fill : style.color)), light(ground(node))].sort((a, b) => b - a);
    return [(a + 0.05) / (b + 0.05), `${node.tagName} ${JSON.stringify(node.textContent.slice(0, 30))}`];
  });
  return { seen: ratios.length, faint: ratios.filter(([ratio]) => ratio < least).map(([ratio, what]) => `${ratio.toFixed(2)} ${what}`) };
}

async function isReadIn(page, colorScheme) {
  await page.emulateMedia({ colorScheme });
  const { seen, faint: found } = await page.evaluate(faint, LEAST_CONTRAST);
  claim(seen > 60, `${colorScheme}: only ${seen} texts`);
  claim(!found.length, `${colorScheme}: contrast ${found.join('; ')}`);
  await page.evaluate(() => window.scrollTo({ top: 0, behavior: 'instant' }));
  await screenshot(page, colorScheme);
  await screenshot(page, `${colorScheme}-whole`, { fullPage: true });
}

async function purges(page) {
  await page.fill('#purge-urls', wanted.signed);
  await page.click('#purge button[value=purge]');
  await page.click('#confirm button[value=yes]');
  const answer = await page.waitForSelector('#purge output p', patience);
  claim(/^\d[\d,]* stored objects? purged \(hard\)\.$/.test(await answer.textContent()), `a purge says ${await answer.textContent()}`);
}

async function forgetsTheKey(page) {
  await page.click('#forget');
  await page.waitForSelector('#key', { state: 'visible', ...patience });
  claim((await page.evaluate(() => sessionStorage.length)) === 0, 'the key is kept');
}

try {
  await withPage(async (page) => {
    listen(page);
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.goto(new URL('/', wanted.url).href);
    await refusesAWrongKey(page);
    await goesLive(page);
    await followsTraffic(page);
    await showsTheLastMinutes(page);
    await readsAMoment(page);
    await isReachedByTab(page);
    await purgesOnlyWhenConfirmed(page);
    await explainsARefusal(page);
    await isNamedAndInOrder(page);
    await isReadIn(page, 'light');
    await isReadIn(page, 'dark');
    await fitsAPhone(page);
    await purges(page);
    await forgetsTheKey(page);
  });
} catch (error) {
  problems.push(error.message);
}
console.log(JSON.stringify({ url: wanted.url, problems }));
process.exitCode = problems.length ? 1 : 0;
