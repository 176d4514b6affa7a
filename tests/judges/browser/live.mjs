#!/usr/bin/env node
// Plays a live HLS stream in headless Chromium until it is ended by a signal,
// and prints one line of JSON each half second: position, seconds stalled, errors, the fatal one.
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { argumentsOr, packageFile, withPage } from './chromium.mjs';

const wanted = argumentsOr('live.mjs URL [--player hls.js|shaka-player|video.js|Chromium]', { player: 'hls.js' });
const SCRIPTS = { 'hls.js': 'hls.js/dist/hls.min.js', 'shaka-player': 'shaka-player/dist/shaka-player.compiled.js', 'video.js': 'video.js/dist/video.min.js' };

async function servePage() {
  const script = SCRIPTS[wanted.player] && packageFile(SCRIPTS[wanted.player]);
  if (script && !existsSync(script)) throw new Error(`${script} is absent`);
  const files = {
    '/': ['text/html; charset=utf-8', '<!doctype html><link rel="icon" href="data:,"><video muted playsinline width="160" height="90"></video><script src="/player.js"></script>'],
    '/player.js': ['text/javascript', script ? readFileSync(script) : ''],
  };
  const server = createServer((request, reply) => {
    const [type, body] = files[request.url] ?? ['text/plain', ''];
    reply.writeHead(files[request.url] ? 200 : 404, { 'content-type': type }).end(body);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return server;
}

// Runs in the page. Each player as its documentation begins, with its defaults.
async function begin({ url, player }) {
  let video = document.querySelector('video');
  const seen = (window.seen = { position: null, stalled_s: 0, errors: [], fatal: null });
  const begun = performance.now();
  const error = (text) => seen.errors.push(`${((performance.now() - begun) / 1000).toFixed(1)} s: ${text}`);
  const go = () => video.play().catch((problem) => error(`play: ${problem.message}`));
  if (player === 'hls.js') {
    const hls = new Hls();
    hls.on(Hls.Events.MANIFEST_PARSED, go);
    hls.on(Hls.Events.ERROR, (_, { details, fatal, response }) => {
      error([details, response?.code].filter(Boolean).join(' '));
      if (fatal) seen.fatal = [details, response?.code].filter(Boolean).join(' ');
    });
    hls.loadSource(url);
    hls.attachMedia(video);
  } else if (player === 'shaka-player') {
    shaka.polyfill.installAll();
    const made = new shaka.Player();
    await made.attach(video);
    // Critical errors end nothing in a live stream that it retries (streaming.failureCallback); that it stands still tells.
    made.addEventListener('error', ({ detail }) => error(`shaka ${detail.code} severity ${detail.severity} ${detail.data?.[1] ?? ''}`));
    made.load(url).then(go, (problem) => (seen.fatal = `shaka ${problem.code}`));
  } else if (player === 'video.js') {
    const made = videojs(video, { html5: { vhs: { overrideNative: true } }, sources: [{ src: url, type: 'application/vnd.apple.mpegurl' }] });
    made.on('error', () => (seen.fatal = `${made.error()?.code} ${made.error()?.message}`));
    made.ready(() => made.play()?.catch((problem) => error(`play: ${problem.message}`)));
    video = made.el().querySelector('video') ?? video;
    setInterval(() => (video = made.el().querySelector('video') ?? video), 1000);
  } else {
    video.crossOrigin = 'anonymous';
    video.addEventListener('error', () => (seen.fatal = `${video.error.code} ${video.error.message}`));
    video.src = url;
    go();
  }
  // What the picture really did: from a quarter of a second without a step it stalls.
  let last = null, step = performance.now();
  setInterval(() => {
    const now = performance.now(), at = video.currentTime;
    if (last === null ? at > 0 : at !== last) {
      if (last !== null && now - step > 250) seen.stalled_s += (now - step - 50) / 1000;
      last = at, step = now;
    }
    seen.position = last;
    seen.standing_s = last === null ? 0 : (now - step) / 1000;
  }, 50);
}

const server = await servePage();
let over = false;
const ended = new Promise((done) => {
  const end = () => { over = true; done(); };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
});
try {
  await withPage(async (page) => {
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.evaluate(begin, wanted);
    while (!over) {
      await Promise.race([ended, new Promise((later) => setTimeout(later, 500))]);
      const { standing_s, ...seen } = await page.evaluate(() => window.seen);
      seen.stalled_s += standing_s > 0.25 ? standing_s : 0;
      console.log(JSON.stringify(seen));
    }
  });
} catch (error) {
  if (!over) throw error;
} finally {
  server.close();
  server.closeAllConnections();
}
process.exit(0);
