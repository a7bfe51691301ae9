// A page on another origin crashes in a real browser and its Sentry SDK reports it across origins.
//
//   sdk-page.mjs DSN [RELEASE]
//
// Serves the page and @sentry/browser's own modules on a free port (no bundler: an import map points at
// node_modules), opens it in Chromium, waits for the answer to the envelope, and prints one JSON line:
// {"event_id", "status", "method", "content_type", "allow_origin"} or {"error", "faults"}. Exits with 1 unless the
// status is 200.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch, say } from './lib.mjs';

const [dsn, release] = process.argv.slice(2);
if (!dsn) {
  console.error('usage: sdk-page.mjs DSN [RELEASE]');
  process.exit(2);
}

const MODULES = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../node_modules');
// What the SDK's modules import by name, each mapped to the file that its package exports.
const SPECIFIERS = [
  '@sentry/browser',
  '@sentry/browser-utils',
  '@sentry/conventions/attributes',
  '@sentry/conventions/metrics',
  '@sentry/conventions/op',
  '@sentry/core',
  '@sentry/core/browser',
  '@sentry/feedback',
  '@sentry/replay',
  '@sentry/replay-canvas',
  'web-vitals',
];

const imports = Object.fromEntries(
  SPECIFIERS.map((name) => {
    const file = fileURLToPath(import.meta.resolve(name));
    return [name, `/modules/${path.relative(MODULES, file)}`];
  }),
);

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Another origin</title>
<link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports })}</script>
<script type="module" src="/crash.js"></script>
<h1>Another origin</h1>
</html>`;

const SCRIPT = `import * as Sentry from '@sentry/browser';

Sentry.init(${JSON.stringify({ dsn, release })});

function priceOf(basket) {
  return basket.items.length;
}

function checkout(baskets) {
  return baskets.map(priceOf);
}

window.lastEventId = () => Sentry.lastEventId();
// Nobody catches it: the SDK's own global handler has to.
setTimeout(() => checkout([{}]), 0);
`;

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://page');
  const send = (status, type, body) => response.writeHead(status, { 'Content-Type': type }).end(body);
  if (pathname === '/') return send(200, 'text/html', PAGE);
  if (pathname === '/crash.js') return send(200, 'text/javascript', SCRIPT);
  const file = path.join(MODULES, decodeURIComponent(pathname).replace(/^\/modules\//, ''));
  if (!file.startsWith(`${MODULES}${path.sep}`)) return send(404, 'text/plain', 'not here');
  try {
    return send(200, 'text/javascript', await readFile(file));
  } catch {
    return send(404, 'text/plain', 'not here');
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const { page, close } = await launch();
let answer = { error: 'no envelope was sent' };
try {
  const faults = [];
  page.on('requestfailed', (request) => faults.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on('response', (response) => {
    if (response.status() >= 400) faults.push(`${response.url()}: ${response.status()}`);
  });
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => faults.push(message.text()));
  // With a release the SDK sends session envelopes too; the event's is the one that counts.
  const envelope = page.waitForResponse((response) => response.request().postData()?.includes('"type":"event"'));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  try {
    const response = await envelope;
    const request = response.request();
    answer = {
      event_id: await page.evaluate(() => window.lastEventId()),
      status: response.status(),
      method: request.method(),
      content_type: (await request.allHeaders())['content-type'],
      // Without it the page could not read the answer.
      allow_origin: (await response.allHeaders())['access-control-allow-origin'] ?? null,
    };
  } catch (error) {
    answer = { error: error.message, faults };
  }
} finally {
  await close();
  server.close();
}
say(answer);
process.exit(answer.status === 200 ? 0 : 1);
