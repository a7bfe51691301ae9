// What people do in the console and in Bitbucket, a function for each thing; with script or without.
import { execFile } from 'node:child_process';
import { appendFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { axe, say, shot } from './lib.mjs';

const execute = promisify(execFile);

export const OWNER = { email: 'olga@acme.example', password: 'a bucket of traces, please' };
export const CRASH = 'ZeroDivisionError: division by zero';

export function check(truth, what) {
  if (!truth) throw new Error(what);
}

export function same(found, wanted, what) {
  check(JSON.stringify(found) === JSON.stringify(wanted), `${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
}

// Asks until the answer is truthy.
export async function until(what, ask, seconds = 120) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    check(Date.now() < end, `not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

// One browser page and the place it works on. `config` is what the Rust test passes to story.mjs.
export class Person {
  constructor(page, config) {
    this.page = page;
    this.config = config;
    this.org = `${config.base}/o/acme`;
    this.seen = new Set();
    page.on('pageerror', (error) => this.broken.push(`script: ${error.message}`));
    page.on('console', (message) => {
      // The browser's own words for an answer of 4xx; whether that was right is the test's business.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) {
        this.broken.push(`console: ${message.text()}`);
      }
    });
  }

  // Faults of scripts and of accessibility; the story fails at its end when there is any.
  broken = [];

  async goto(address) {
    const answer = await this.page.goto(address.startsWith('http') ? address : `${this.org}${address}`);
    return answer.status();
  }

  // The page as it is now: judged by axe-core and, when pictures are wanted, photographed.
  async look(name, variant = '') {
    if (!this.config.look) return;
    this.seen.add(variant ? `${name}.${variant}` : name);
    for (const fault of await axe(this.page)) this.broken.push(`${name} ${variant}: ${JSON.stringify(fault)}`);
    const wide = await this.page.evaluate(async () => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) this.broken.push(`${name} ${variant}: ${wide} px wider than the window`);
    await this.page.setViewportSize({ width: 390, height: 800 });
    const narrow = await this.page.evaluate(async () => document.documentElement.scrollWidth - innerWidth);
    if (narrow > 0) this.broken.push(`${name} ${variant}: ${narrow} px wider than a phone`);
    await this.page.setViewportSize({ width: 1280, height: 800 });
    await shot(this.page, name, { variant });
  }

  press(name) {
    return this.page.locator('main, dialog[open]').getByRole('button', { name, exact: true }).first().click();
  }

  // The open dialog when there is one, else the page.
  get form() {
    return this.page.locator(this.config.script ? 'dialog[open]' : 'main');
  }

  async welcome(code) {
    const { page } = this;
    await page.getByLabel('Name', { exact: true }).fill('Acme');
    await page.getByLabel('Short name').fill('acme');
    await page.getByLabel('E-mail').fill(OWNER.email);
    await page.getByLabel('Password').fill(OWNER.password);
    await page.getByLabel('One-time code').fill(code);
    await this.press('Create organization');
  }

  async signIn(password = OWNER.password) {
    await this.page.getByLabel('E-mail').fill(OWNER.email);
    await this.page.getByLabel('Password').fill(password);
    await this.press('Sign in');
  }

  async signOut() {
    // On a desk it is in the side bar; the other copy is in the menu of small screens.
    await this.page.locator('.side').getByRole('button', { name: 'Sign out' }).click();
    await this.page.waitForURL('**/sign-in/');
  }

  // Makes a project by its form; answers the DSN that the page shows.
  async newProject(name, slug, platform) {
    await this.goto('/settings/projects/');
    const form = this.page.locator('#new-project');
    await form.getByLabel('Name', { exact: true }).fill(name);
    await form.getByLabel('Short name').fill(slug);
    await form.getByLabel('Platform').selectOption(platform);
    await this.press('Create project');
    const project = this.page.locator(`#project-${slug}`);
    await project.waitFor();
    const dsn = (await project.locator('.copyable-text').first().textContent()).trim();
    check(/^http:\/\/[0-9a-f]{32}@127\.0\.0\.1:\d+\/\d+$/.test(dsn), `a DSN: ${dsn}`);
    return dsn;
  }

  // Bitbucket's own page of the install, up to our setup page.
  async grant() {
    const descriptor = encodeURIComponent(`${this.config.base}/extensions/bitbucket/descriptor/`);
    await this.goto(`${this.config.bitbucket}/site/addons/authorize?descriptor_uri=${descriptor}`);
    await this.page.getByLabel('Workspace').selectOption('acme');
    await this.page.getByRole('button', { name: 'Grant access' }).click();
    await this.page.waitForURL('**/extensions/bitbucket/setup/**');
  }

  // Chooses acme on the setup page; the confirm page is there afterwards.
  async chooseOrganization() {
    await this.page.getByRole('radio', { name: /^Acme/ }).check();
    await this.press('Continue');
    await this.page.getByRole('heading', { name: 'Connect to Acme?' }).waitFor();
  }

  async confirmConnection() {
    await this.press('Connect');
    await this.page.getByRole('heading', { name: 'is connected' }).waitFor();
  }

  // Connects by a credential: its form, filled and sent, then whatever Bitbucket asks a person; `clicks` are selectors.
  async connectBy({ kind, fields, clicks }) {
    const { page } = this;
    await this.goto('/connections/new/');
    await page.locator(`a[href$="kind=${kind}"]`).first().click();
    await page.waitForURL('**/connections/new/form/**');
    for (const [field, given] of Object.entries(fields)) await page.fill(`main [name="${field}"]`, given);
    for (const next of ['main form .button-primary', ...clicks]) {
      await Promise.all([page.waitForEvent('load'), page.click(next)]);
    }
    await page.waitForURL(/\/connections\/\d+\/(\?.*)?$/);
  }

  // Adds acme/shop by search on the connection page that is open, and waits for its webhook.
  async addRepository() {
    const { page } = this;
    await page.getByLabel(/^Search repositories of/).fill('sho');
    await this.press('Search');
    await page.getByRole('checkbox', { name: /^acme\/shop/ }).check();
    await this.press('Add selected');
    await this.reloadUntil('the webhook of acme/shop is active', () =>
      page.getByRole('row', { name: /acme\/shop/ }).locator('.state-active').first().isVisible(),
    );
  }

  async reloadUntil(what, ask) {
    return until(what, async () => {
      if (await ask()) return true;
      await this.page.reload();
      return ask();
    });
  }

  // Opens an error by its title from the list; answers {id, shortId}.
  async openError(title) {
    await this.goto('/errors/?query=');
    await this.page.getByRole('link', { name: title, exact: true }).first().click();
    await this.page.waitForURL(/\/errors\/\d+\/$/);
    const id = this.page.url().match(/errors\/(\d+)\//)[1];
    return { id, shortId: (await this.page.locator('.crumbs .short-id').textContent()).trim() };
  }

  // The dialog with script, the page without.
  async openTicketForm(button) {
    await this.page.getByRole('link', { name: button, exact: true }).click();
    await this.field('Repository').waitFor();
  }

  // A field that is a type-ahead where there is script. (Its list carries the same label.)
  field(label) {
    const role = !this.config.script && label === 'Issue' ? 'textbox' : 'combobox';
    return this.form.getByRole(role, { name: label, exact: true });
  }

  async chooseRepository() {
    const field = this.field('Repository');
    if (!this.config.script) return field.selectOption({ label: 'acme/shop' });
    await field.fill('');
    await field.pressSequentially('sho', { delay: 30 });
    await this.form.getByRole('option', { name: 'acme/shop' }).click();
    return this.form.getByRole('option').first().waitFor({ state: 'hidden' });
  }

  // The ticket of the error page that is open, once Bitbucket has answered.
  async ticket(number) {
    const key = this.page.locator('#tickets .ticket-key', { hasText: `acme/shop#${number}` });
    const there = () => key.isVisible();
    await (this.config.script ? until(`the panel shows acme/shop#${number}`, there) : this.reloadUntil(`acme/shop#${number}`, there));
    same(await key.getAttribute('href'), `${this.config.bitbucket}/acme/shop/issues/${number}`, 'where the ticket leads');
  }

  // What Bitbucket's page of an issue says, in a tab of its own.
  async bitbucketIssue(number) {
    const tab = await this.page.context().newPage();
    try {
      await tab.goto(`${this.config.bitbucket}/acme/shop/issues/${number}`);
      return {
        title: (await tab.getByRole('heading', { level: 1 }).textContent()).trim(),
        state: (await tab.locator('main .badge').first().textContent()).trim(),
        text: await tab.locator('main > pre').textContent(),
        comments: await tab.locator('article pre').allTextContents(),
      };
    } finally {
      await tab.close();
    }
  }

  async noFaults() {
    check(this.broken.length === 0, `${this.broken.length} faults:\n${this.broken.join('\n')}`);
    say({ done: true, pages: [...this.seen].sort() });
  }
}

async function command(program, args, options = {}) {
  try {
    return (await execute(program, args, options)).stdout.trim();
  } catch (error) {
    throw new Error(`${program} ${args.join(' ')}: ${error.message}\n${error.stderr ?? ''}`);
  }
}

// Runs a script in its own folder: a crash report holds the command line, and pictures show it.
export function python(config, script, ...args) {
  return command(config.python, [path.basename(script), ...args], { cwd: path.dirname(script) });
}

export function git(folder, ...args) {
  const who = ['-c', 'user.name=Dora Dev', '-c', 'user.email=dora@acme.example', '-c', 'init.defaultBranch=main'];
  return command('git', ['-C', folder, ...who, ...args], {
    env: { ...process.env, GIT_TERMINAL_PROMPT: '0', GIT_CONFIG_GLOBAL: '/dev/null' },
  });
}

// The shop's history by real commits and merges, pushed by real git.
export async function pushHistory(config) {
  const source = path.join(config.folder, 'history');
  await command(path.join(config.demo, 'history.sh'), [source]);
  await git(source, 'push', '--quiet', config.clone_url, 'main', '--tags');
  return source;
}

// Clones, commits and pushes as a developer does.
export async function pushFix(config, message) {
  const clone = path.join(config.folder, `clone-${Date.now()}`);
  await git(config.folder, 'clone', '--quiet', config.clone_url, clone);
  await git(clone, 'checkout', '--quiet', '-B', 'main');
  await appendFile(path.join(clone, 'NOTES.md'), `${message}\n`);
  await git(clone, 'add', '.');
  await git(clone, 'commit', '--quiet', '-m', message);
  await git(clone, 'push', '--quiet', 'origin', 'main');
  return git(clone, 'rev-parse', 'HEAD');
}
