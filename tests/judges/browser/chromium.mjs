// What the judges share: their arguments, the npm packages, and a Chromium with an empty profile.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const MODULES = resolve(process.env.NODE_MODULES_DIR || join(dirname(fileURLToPath(import.meta.url)), 'node_modules'));

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--mute-audio',
];

export const packageFile = (name) => join(MODULES, name);

// One URL and the options that `defaults` names; a number where the default is one.
export function argumentsOr(usage, defaults) {
  try {
    const options = Object.fromEntries(Object.keys(defaults).map((name) => [name, { type: 'string' }]));
    const { values, positionals: [url, ...rest] } = parseArgs({ options, allowPositionals: true });
    if (!url || rest.length) throw new Error('one URL is wanted');
    const given = Object.entries(values).map(([name, value]) => [name, typeof defaults[name] === 'number' ? number(name, value) : value]);
    return { url: new URL(url).href, ...defaults, ...Object.fromEntries(given) };
  } catch (error) {
    console.error(`${error.message}\nusage: ${usage}`);
    process.exit(2);
  }
}

function number(name, value) {
  if (!/^\d+(\.\d+)?$/.test(value)) throw new Error(`--${name}: ${value} is not a number`);
  return Number(value);
}

function binary() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const found = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin'].map((folder) => join(folder, 'chromium')).find((file) => existsSync(file));
  if (!found) throw new Error('chromium is neither on PATH nor in /usr/bin, and CHROMIUM is unset');
  return found;
}

// Runs `judge` with a page of a browser of its own, and clears both away.
export async function withPage(judge) {
  const { chromium } = createRequire(join(MODULES, 'any.js'))('playwright-core');
  const profile = mkdtempSync(join(tmpdir(), 'judge-chromium-'));
  let context;
  try {
    context = await chromium.launchPersistentContext(profile, {
      executablePath: binary(), headless: true, args: FLAGS, viewport: { width: 1200, height: 860 },
    });
    return await judge(context.pages()[0] ?? (await context.newPage()));
  } finally {
    await context?.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
