// What every browser test needs: Debian's Chromium by playwright-core, screenshots, and axe-core.
import { mkdtemp, mkdir, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);

// Widths of a desk and of a phone, in CSS pixels.
export const WIDTHS = [1280, 390];
export const SCHEMES = ['light', 'dark'];

// No sandbox: tests run as root in CI. The rest keeps Chromium from calling home, which a closed network refuses
// many times a second.
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

// Start Chromium with an empty profile. `options` are those of a playwright context, such as
// {javaScriptEnabled: false}. Answers {context, page, close}.
export async function launch(options = {}) {
  const profile = await mkdtemp(path.join(tmpdir(), 'tracebucket-chromium-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.TRACEBUCKET_TEST_CHROMIUM || '/usr/bin/chromium',
    headless: true,
    args: FLAGS,
    viewport: { width: WIDTHS[0], height: 800 },
    ...options,
  });
  context.setDefaultTimeout(60_000);
  const page = context.pages()[0] ?? (await context.newPage());
  const close = async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { context, page, close };
}

// A page that is longer than this many CSS pixels is cut there: a picture should stay small.
const TALLEST = 1600;

// Screenshots of the page at each width, light and dark: FOLDER/NAME.1280.light.png and so on, with `variant` before
// the ending when one is given (NAME.1280.light.empty.png). The folder is TRACEBUCKET_TEST_SHOTS unless given; without
// either nothing is written. Answers the files.
export async function shot(page, name, { variant = '', folder = process.env.TRACEBUCKET_TEST_SHOTS } = {}) {
  if (!folder) return [];
  await mkdir(folder, { recursive: true });
  const before = page.viewportSize();
  const ending = variant ? `.${variant}.png` : '.png';
  const files = [];
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 800 });
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      const file = path.join(folder, `${name}.${width}.${colorScheme}${ending}`);
      const options = { path: file, animations: 'disabled', caret: 'hide' };
      // A dialog covers what is seen, not the whole page.
      if (!(await page.locator('dialog[open]').count())) {
        const tall = await page.evaluate(() => document.documentElement.scrollHeight);
        Object.assign(options, { fullPage: true, clip: { x: 0, y: 0, width, height: Math.min(Math.max(tall, 800), TALLEST) } });
      }
      await page.screenshot(options);
      files.push(file);
    }
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  if (before) await page.setViewportSize(before);
  return files;
}

// Accessibility faults that axe-core calls serious or critical, in both colour schemes:
// [{id, impact, scheme, help, nodes: ["selector: html", …]}].
export async function axe(page) {
  const source = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
  const found = [];
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme });
    // Evaluated by the debugger, so the page's Content-Security-Policy stays as it is.
    await page.evaluate(source);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
    for (const { id, impact, help, nodes } of violations) {
      if (impact !== 'serious' && impact !== 'critical') continue;
      found.push({
        id,
        impact,
        scheme: colorScheme,
        help,
        nodes: nodes.map((node) => `${node.target.join(' ')}: ${node.html.slice(0, 200)}`),
      });
    }
  }
  await page.emulateMedia({ colorScheme: null });
  return found;
}

// One fact per line, for the test that started us.
export function say(fact) {
  process.stdout.write(`${JSON.stringify(fact)}\n`);
}
