#!/usr/bin/env node
// Opens the demo's player page in headless Chromium until its `demoState` says that it played,
// and prints one line of JSON. Exit 0: the seconds were played without an error.
import { argumentsOr, withPage } from './chromium.mjs';

const usage = 'page.mjs PAGE_URL [--seconds N] [--timeout S] [--screenshot FILE]';
const wanted = argumentsOr(usage, { seconds: 6, timeout: 45, screenshot: '' });

let seen = { played_s: 0, errors: 0, fetched: 0 };
const problems = [];
try {
  await withPage(async (page) => {
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
    await page.goto(wanted.url);
    const enough = (seconds) => window.demoState?.played_s >= seconds;
    await page.waitForFunction(enough, wanted.seconds, { polling: 100, timeout: wanted.timeout * 1000 }).catch((error) => problems.push(error.message));
    seen = (await page.evaluate(() => window.demoState)) ?? seen;
    if (wanted.screenshot) await page.screenshot({ path: wanted.screenshot });
  });
} catch (error) {
  problems.push(error.message);
}
console.log(JSON.stringify({ url: wanted.url, ...seen, played_s: Math.round(seen.played_s * 100) / 100, problems }));
process.exitCode = seen.played_s >= wanted.seconds && !seen.errors && !problems.length ? 0 : 1;
