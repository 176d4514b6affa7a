#!/usr/bin/env node
// Plays an HLS stream with hls.js in headless Chromium and prints one line of JSON.
// Exit 0: the seconds were played, without a fatal error and without more stalls than allowed.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { argumentsOr, packageFile, withPage } from './chromium.mjs';

const wanted = argumentsOr('play.mjs URL [--seconds N] [--timeout S] [--max-stalls N]', { seconds: 6, timeout: 45, 'max-stalls': 0 });

// The page has an origin of its own, so the stream's server has to allow it, as for a real site.
async function servePage() {
  const files = {
    '/': ['text/html; charset=utf-8', '<!doctype html><link rel="icon" href="data:,"><video muted playsinline></video><script src="/hls.js"></script>'],
    '/hls.js': ['text/javascript', readFileSync(packageFile('hls.js/dist/hls.min.js'))],
  };
  const server = createServer((request, reply) => {
    const [type, body] = files[request.url] ?? ['text/plain', ''];
    reply.writeHead(files[request.url] ? 200 : 404, { 'content-type': type }).end(body);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return server;
}

// Runs in the page.
async function play({ url, seconds, timeout }) {
  const video = document.querySelector('video');
  const seen = { played_s: 0, stalls: 0, stalled_ms: 0, startup_ms: null, fragments: 0, keys: 0, bytes: 0, errors: [], fatal: null };
  const begun = performance.now();
  let stalledAt = null, position = null, lastStep = 0;
  const hls = new Hls(), { Events } = Hls;
  hls.on(Events.MANIFEST_PARSED, () => video.play().catch((error) => seen.errors.push(`play: ${error.message}`)));
  hls.on(Events.KEY_LOADED, () => seen.keys++);
  hls.on(Events.FRAG_LOADED, (_, { frag }) => {
    seen.fragments++;
    seen.bytes += frag.stats.total || frag.stats.loaded;
  });
  hls.on(Events.ERROR, (_, { details, fatal, response, reason }) => {
    seen.errors.push([details, response?.code, reason].filter(Boolean).join(' '));
    if (fatal) seen.fatal = details;
  });
  hls.loadSource(url);
  hls.attachMedia(video);

  // Counts what the picture really did: a quarter of a second without a step is a stall.
  const count = (now) => {
    const at = video.currentTime;
    if (position === null) {
      if (!video.paused && video.readyState >= 3 && at > 0) seen.startup_ms = Math.round(now - begun), (position = at), (lastStep = now);
      return;
    }
    if (at !== position) {
      if (at > position && at - position < 2) seen.played_s += at - position;
      if (stalledAt !== null) seen.stalled_ms += now - stalledAt;
      position = at, stalledAt = null, lastStep = now;
    } else if (stalledAt === null && now - lastStep > 250 && !video.ended) {
      seen.stalls++;
      stalledAt = lastStep;
    }
  };
  await new Promise((done) => {
    const timer = setInterval(() => {
      const now = performance.now();
      count(now);
      if (seen.played_s >= seconds || seen.fatal || video.ended || now - begun > timeout * 1000) clearInterval(timer), done();
    }, 20);
  });
  if (stalledAt !== null) seen.stalled_ms += performance.now() - stalledAt;
  hls.destroy();
  return { ...seen, played_s: Math.round(seen.played_s * 100) / 100, stalled_ms: Math.round(seen.stalled_ms) };
}

let seen = {};
const server = await servePage();
try {
  seen = await withPage(async (page) => {
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    return page.evaluate(play, wanted);
  });
} catch (error) {
  seen = { played_s: 0, stalls: 0, stalled_ms: 0, startup_ms: null, fragments: 0, keys: 0, bytes: 0, errors: [error.message], fatal: 'judge' };
} finally {
  server.close();
  server.closeAllConnections();
}
console.log(JSON.stringify({ url: wanted.url, ...seen }));
process.exitCode = seen.played_s >= wanted.seconds && !seen.fatal && seen.stalls <= wanted['max-stalls'] ? 0 : 1;
