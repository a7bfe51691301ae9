// Does the browser harness itself work? A good page must pass, a bad one must be caught, and the screenshots must
// be pictures of the right width. Ends with a line that counts.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { SCHEMES, WIDTHS, axe, launch, shot } from './lib.mjs';

const STYLE = `:root { color-scheme: light dark; } body { background: light-dark(#fff, #111); color: light-dark(#111, #eee); }`;
const page_of = (body) =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>Smoke</title><link rel="icon" href="data:,">
  <style>${STYLE}</style><body><main><h1>Smoke</h1>${body}</main></body></html>`;
const PAGES = {
  '/good': page_of('<p>Text on its ground.</p><form><label>Name <input name="name"></label><button>Send</button></form>'),
  '/bad': page_of('<p style="color:#ccc;background:#fff">Too pale.</p><form><input name="name"><button></button></form>'),
};

const server = createServer((request, response) => {
  const body = PAGES[new URL(request.url, 'http://page').pathname];
  // As strict as a console should be: the helpers must not need it to be laxer.
  response.writeHead(body ? 200 : 404, {
    'Content-Type': 'text/html',
    'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
  });
  response.end(body ?? '');
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const base = `http://127.0.0.1:${server.address().port}`;
const folder = await mkdtemp(path.join(tmpdir(), 'tracebucket-smoke-'));

let passed = 0;
let failed = 0;
async function check(what, test) {
  try {
    await test();
    passed += 1;
    console.log(`ok ${what}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${what}: ${error.message}`);
  }
}
function same(found, wanted) {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
  }
}

const { page, close } = await launch();
await check('a good page has no serious fault', async () => {
  await page.goto(`${base}/good`);
  same(await axe(page), []);
});
await check('each fault of a bad page is found', async () => {
  await page.goto(`${base}/bad`);
  const found = (await axe(page)).filter((fault) => fault.scheme === 'light').map((fault) => fault.id);
  same(found.sort(), ['button-name', 'color-contrast', 'label']);
});
await check('a shot is four pictures of the right width', async () => {
  await page.goto(`${base}/good`);
  const files = await shot(page, 'good', { folder, variant: 'empty' });
  same(files.map((file) => path.basename(file)), WIDTHS.flatMap((width) => SCHEMES.map((scheme) => `good.${width}.${scheme}.empty.png`)));
  const pictures = await Promise.all(files.map((file) => readFile(file)));
  same(pictures.map((png) => png.readUInt32BE(16)), [1280, 1280, 390, 390]);
  if (pictures[0].equals(pictures[1])) throw new Error('light and dark are the same picture');
});
await close();

await check('a page works with script off', async () => {
  const plain = await launch({ javaScriptEnabled: false });
  await plain.page.goto(`${base}/good`);
  await plain.page.getByLabel('Name').fill('x');
  await plain.page.getByRole('button').click();
  await plain.page.waitForURL(`${base}/good?name=x`);
  await plain.close();
});

server.close();
await rm(folder, { recursive: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
