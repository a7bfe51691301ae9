// Looks at pages as they are: axe-core, widths of a desk and a phone, pictures where they are wanted.
//
//   looks.mjs CONFIG_JSON
//
// The config: base (address), cookie (of a signed-in person, "name=value"), pages: [{path, name, variant, status, says,
// signed_out, fill, clicks}]; with `fill`, fields by name, the form of the page is sent and its answer is the page; then
// each of `clicks`, a selector, leads to another page. Prints {"done": true, "pages": […]}; anything wrong ends it with status 1.
import { launch } from './lib.mjs';
import { Person, check, same } from './steps.mjs';

const config = JSON.parse(process.argv[2]);
const browser = await launch();
let status = 0;
try {
  const person = new Person(browser.page, { ...config, script: true, look: true });
  const [name, value] = config.cookie.split('=');
  for (const page of config.pages) {
    if (page.signed_out) await browser.context.clearCookies();
    else await browser.context.addCookies([{ name, value, url: config.base }]);
    same(await person.goto(`${config.base}${page.path}`), page.status, page.path);
    for (const [field, given] of Object.entries(page.fill ?? {})) await browser.page.fill(`main [name="${field}"]`, given);
    if (page.fill) {
      await Promise.all([browser.page.waitForEvent('load'), browser.page.click('main form .button-primary')]);
    }
    for (const next of page.clicks ?? []) {
      await Promise.all([browser.page.waitForEvent('load'), browser.page.click(next)]);
    }
    const text = await browser.page.locator('body').innerText();
    for (const word of page.says) check(text.includes(word), `${page.path} does not say ${word}: ${text}`);
    await person.look(page.name, page.variant);
  }
  await person.noFaults();
} catch (error) {
  status = 1;
  console.error(`${browser.page.url()}: ${error.stack}`);
} finally {
  await browser.close();
}
process.exit(status);
