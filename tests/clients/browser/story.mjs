// The main job as people do it, in Chromium: first owner, install, link, a crash, a ticket, a fix.
//
//   story.mjs CONFIG_JSON
//
// The config: base, bitbucket, clone_url (addresses), code (of the first owner), folder (scratch), python, crash,
// demo (a program, a script, a folder), script (JavaScript on or off), look (axe-core and pictures of every page);
// connection ({kind, fields, clicks, tickets}): the main job alone, connected by that credential instead of the app,
// with tickets or with the reason why there are none.
// Prints {"done": true, "pages": […]}; anything wrong ends it with status 1, and a picture failure.png in the folder.
import path from 'node:path';
import { launch } from './lib.mjs';
import { CRASH, Person, check, pushFix, pushHistory, python, same, until } from './steps.mjs';

const config = JSON.parse(process.argv[2]);

// A first start: the wrong code is refused, the right one makes the owner, and the page is gone.
async function firstOwner(olga) {
  await olga.goto(`${config.base}/`);
  await olga.look('accounts.first_owner', 'empty');
  await olga.welcome('not-the-code');
  await olga.page.getByText('That is not the code on the terminal.').waitFor();
  await olga.look('accounts.first_owner');
  await olga.welcome(config.code);
  await olga.page.waitForURL('**/o/acme/errors/');
  same(await olga.goto(`${config.base}/welcome/`), 404, 'the first-owner page afterwards');
}

// Every page before there is anything, and an error before there is a connection.
async function emptyHouse(olga) {
  const { page } = olga;
  for (const [address, name] of [
    ['/errors/', 'groups.list'],
    ['/repos/', 'links.repos'],
    ['/connections/', 'links.list'],
    ['/deliveries/', 'deliveries.list'],
    ['/jobs/', 'ops.jobs'],
    ['/settings/', 'accounts.settings'],
    ['/settings/projects/', 'accounts.projects'],
  ]) {
    same(await olga.goto(address), 200, address);
    await olga.look(name, 'empty');
  }
  const dsn = await olga.newProject('Night jobs', 'jobs', 'python');
  await olga.goto('/errors/');
  await page.getByText(dsn).first().waitFor();
  await olga.look('groups.list', 'first');
  // The page listens by itself where there is script.
  await python(config, config.crash, dsn, '--message', 'The night job did not start', '--environment', 'staging', '--release', 'jobs@0.9.2');
  if (config.script) await page.getByRole('link', { name: /The night job did not start/ }).waitFor();
  const { id } = await olga.openError('RuntimeError: The night job did not start');
  await olga.look('groups.detail', 'not_connected');
  await olga.goto(`/errors/${id}/tickets/new/`);
  await olga.look('groups.create_ticket', 'empty');
  await olga.goto(`/errors/${id}/tickets/link/`);
  await olga.look('groups.link_ticket', 'empty');
}

// The install begins in Bitbucket, by somebody who is not signed in here.
async function connect(olga) {
  const { page } = olga;
  await olga.goto('/errors/');
  await olga.signOut();
  await olga.grant();
  await page.getByRole('link', { name: 'Sign in to continue' }).waitFor();
  await olga.look('installs.setup', 'empty');
  await page.getByRole('link', { name: 'Sign in to continue' }).click();
  await olga.look('accounts.sign_in', 'empty');
  await olga.signIn('not my password');
  await page.getByText('E-mail and password do not match an account.').waitFor();
  await olga.look('accounts.sign_in');
  await olga.signIn();
  await page.getByRole('heading', { name: /^Connect / }).waitFor();
  await olga.look('installs.setup');
  await olga.chooseOrganization();
  await olga.look('installs.setup_confirm');
  await olga.confirmConnection();
  await olga.look('installs.link_done');
  await page.getByRole('link', { name: 'Add repositories' }).click();
  await page.waitForURL(/\/connections\/\d+\/$/);
  await olga.look('links.detail', 'empty');
  await olga.addRepository();
  // A link that Bitbucket did not sign.
  same(await olga.goto(`${config.base}/extensions/bitbucket/setup/?jwt=e30.e30.e30`), 401, 'a forged setup address');
  await olga.look('installs.setup_error');
}

// Create issue, from the dialog with script and from its page without.
async function createTicket(olga, shortId) {
  await olga.openTicketForm('Create issue');
  const { form } = olga;
  same(await form.getByLabel('Title').inputValue(), CRASH, 'the proposed title');
  const proposed = await form.getByLabel('Description').inputValue();
  for (const part of ['split_bill', 'total / guests', shortId]) check(proposed.includes(part), `${part} in: ${proposed}`);
  await olga.look('groups.detail', 'create');
  await olga.chooseRepository();
  await form.getByLabel('Type').selectOption('bug');
  await form.getByLabel('Priority').selectOption('critical');
  await olga.press('Create issue');
  await olga.ticket(1);
  const issue = await olga.bitbucketIssue(1);
  same(issue.title, `#1 ${CRASH}`, 'the title in Bitbucket');
  same(issue.state, 'new', 'its state');
  for (const part of ['split_bill', 'close_table', 'total / guests', shortId, `${config.base}/`]) {
    check(issue.text.includes(part), `${part} in Bitbucket's issue: ${issue.text}`);
  }
}

// A credential that cannot have the scope of issues: the error says so, with what to do, and offers no form.
async function noTicket(olga) {
  const { page } = olga;
  await page.locator('#tickets').getByText(/cannot be given the scope/).waitFor();
  await page.locator('#tickets').getByRole('link', { name: 'Connections' }).waitFor();
  same(await page.getByRole('link', { name: 'Create issue' }).count(), 0, 'links to a form that cannot work');
  await olga.look('groups.detail', 'no_tickets');
  const error = page.url();
  await olga.goto(`${error}tickets/new/`);
  await page.locator('main').getByText(/cannot be given the scope/).waitFor();
  await olga.look('groups.create_ticket', 'no_tickets');
  await olga.goto(error);
}

// A developer fixes it with git alone; nobody touches the console.
async function shipFix(olga, shortId, { ticket }) {
  const { page } = olga;
  const hash = await pushFix(config, `Serve tables without guests\n\nFixes ${shortId}`);
  await olga.reloadUntil('the error is resolved', () => page.locator('.group-head .state-resolved').isVisible());
  await page.locator('.timeline', { hasText: hash.slice(0, 7) }).waitFor();
  if (!ticket) return;
  const issue = await until('Bitbucket shows the issue resolved', async () => {
    const now = await olga.bitbucketIssue(1);
    return now.state === 'resolved' && now.comments.length > 0 && now;
  });
  same(issue.comments.length, 1, 'comments');
  check(issue.comments[0].includes(hash.slice(0, 7)), `the commit in: ${issue.comments[0]}`);
  await olga.reloadUntil('the ticket panel knows', () => page.locator('#tickets .state-resolved').isVisible());
}

// An owner invites somebody, who makes an account on the link; the link works once.
async function members(olga) {
  const { page } = olga;
  await olga.goto('/settings/');
  const form = page.locator('#invite');
  await form.getByLabel('E-mail').fill('sam@acme.example');
  await form.getByLabel('Role').selectOption('manager');
  await olga.press('Invite');
  const link = (await page.locator('.notice .copyable-text').textContent()).trim();
  await olga.look('accounts.settings', 'invited');
  await olga.goto(link);
  await page.getByText('This is not your invitation').waitFor();
  await olga.look('accounts.join', 'other');
  await olga.press('Sign out');
  await page.waitForURL('**/sign-in/');
  await olga.goto(link);
  await olga.look('accounts.join', 'empty');
  await page.getByLabel('Your name').fill('Sam Novak');
  await page.getByLabel('Password').fill('a long password of Sam');
  await olga.look('accounts.join');
  await olga.press('Make my account and join');
  await page.waitForURL('**/o/acme/errors/');
  await olga.goto('/settings/');
  await page.locator('.person', { hasText: 'Sam Novak' }).waitFor();
  same(await page.getByRole('button', { name: /^Remove/ }).count(), 0, 'buttons that a manager does not have');
  await olga.look('accounts.settings', 'read_only');
  same(await olga.goto(link), 404, 'the link a second time');
  await olga.look('accounts.join', 'gone');
  await olga.goto('/errors/');
  await olga.signOut();
  await olga.signIn();
  await page.waitForURL((url) => !url.pathname.startsWith('/sign-in'));
  await olga.goto('/settings/');
  await page.getByLabel('Role of Sam Novak').selectOption('member');
  await olga.press('Save role of Sam Novak');
  await page.getByText('sam@acme.example is member now.').waitFor();
}

// The member goes again; asked once more where there is script.
async function removeMember(olga) {
  const { page } = olga;
  await olga.goto('/settings/');
  await olga.press('Remove Sam Novak');
  if (config.script) await page.locator('dialog[open]').getByRole('button', { name: /^Remove/ }).click();
  await page.getByText('sam@acme.example is not a member any more.').waitFor();
}

// A working team's house: more errors, tokens, deliveries, tickets, then every page.
async function fullHouse(olga, dsn, source) {
  const { page } = olga;
  await python(config, path.join(config.demo, 'traffic.py'), '--repo', source, '--dsn', dsn);
  await olga.goto('/settings/');
  await page.locator('main').getByLabel('Name', { exact: true }).fill('Release pipeline');
  await page.getByRole('checkbox', { name: /project:releases/ }).check();
  await olga.press('Create token');
  await page.getByText('Token “Release pipeline” is ready').waitFor();
  await olga.look('accounts.settings');
  await olga.goto('/settings/projects/');
  await olga.look('accounts.projects');

  const voucher = await olga.openError(/^ZeroDivisionError: integer (division|modulo)/);
  await olga.openTicketForm('Create issue');
  await olga.chooseRepository();
  await olga.press('Create issue');
  await olga.ticket(2);
  await page.getByLabel('Add a note').fill('Only carts with nothing but gift cards.\nSeen since 1.4.0.');
  await olga.press('Add note');
  await page.getByText('Only carts with nothing but gift cards.').waitFor();
  await olga.goto(`/errors/${voucher.id}/`);
  await olga.look('groups.detail');
  await olga.goto(`/errors/${voucher.id}/tickets/new/`);
  await olga.look('groups.create_ticket');
  await olga.goto(`/errors/${voucher.id}/tickets/link/`);
  await olga.look('groups.link_ticket');

  // By type-ahead on the words of its title, from the dialog.
  await olga.openError('RuntimeError: The night job did not start');
  await olga.openTicketForm('Link issue');
  await olga.chooseRepository();
  const issue = olga.field('Issue');
  await issue.pressSequentially('division', { delay: 30 });
  await olga.form.getByRole('option', { name: /integer/ }).click();
  await olga.look('groups.detail', 'link');
  await olga.press('Link issue');
  await olga.ticket(2);
  await page.getByRole('button', { name: /^Unlink/ }).click();
  await olga.press('Unlink');
  await page.getByText('No ticket yet.').waitFor();

  await olga.goto('/errors/?query=');
  await olga.look('groups.list');
  await olga.goto('/errors/?query=nothing+like+this');
  await olga.look('groups.list', 'no_match');
  await olga.goto('/repos/');
  await olga.look('links.repos');
  await olga.goto('/connections/');
  await olga.look('links.list');
  await page.locator('.row-title').first().click();
  await page.waitForURL(/\/connections\/\d+\/$/);
  await page.getByLabel(/^Search repositories of/).fill('');
  await olga.press('Search');
  await page.getByRole('checkbox').first().waitFor();
  await olga.look('links.detail');
  await olga.goto('/deliveries/');
  await olga.look('deliveries.list');
  await olga.goto('/deliveries/?event=repo:push');
  await page.locator('.row-title').first().click();
  await page.waitForURL(/\/deliveries\/[^/]+\/$/);
  await olga.look('deliveries.detail');
  await olga.goto('/jobs/?state=done');
  await olga.look('ops.jobs');
  await page.locator('.row-title').first().click();
  await page.waitForURL(/\/jobs\/\d+\/$/);
  await olga.look('ops.job');
  same(await olga.goto('/nothing-here/'), 404, 'an address that does not exist');
  await olga.look('error');
}

// What the console's own buttons do: resolve, reopen, many at once.
async function buttons(olga) {
  const { page } = olga;
  await olga.openError('RuntimeError: The night job did not start');
  await olga.press('Resolve');
  await page.locator('.group-head .state-resolved').waitFor();
  await olga.press('Reopen');
  await page.locator('.group-head .state-unresolved').waitFor();
  await olga.goto('/errors/');
  await page.getByRole('checkbox', { name: 'Select JOBS-1' }).check();
  await page.locator('.bulk').getByRole('button', { name: 'Ignore' }).click();
  await page.locator('.flash, .notice').first().waitFor();
  await olga.goto('/errors/?query=is:ignored');
  await page.getByRole('link', { name: /The night job did not start/ }).waitFor();
}

// The forms without script: link an issue by its number, add a note.
async function linkAndNote(olga) {
  const { page } = olga;
  const { id } = await olga.openError('RuntimeError: The night job did not start');
  await olga.openTicketForm('Link issue');
  await olga.chooseRepository();
  await olga.field('Issue').fill('#1');
  await olga.form.getByLabel('Comment').fill('The same cause, I think.');
  await olga.press('Link issue');
  await olga.ticket(1);
  await page.getByLabel('Add a note').fill('Looked at by Olga');
  await olga.press('Add note');
  await page.getByText('Looked at by Olga').waitFor();
  const issue = await olga.bitbucketIssue(1);
  check(issue.comments.some((text) => text.includes('The same cause, I think.')), `the comment: ${issue.comments}`);
  same(await olga.goto(`/errors/${id}/tickets/new/`), 200, 'the form is a page too');
}

async function crash(olga) {
  const dsn = await olga.newProject('Shop', 'shop', 'python');
  await python(config, config.crash, dsn, '--release', 'shop@1.4.0');
  const { shortId } = await olga.openError(CRASH);
  same(shortId, 'SHOP-1', 'the short id');
  return { dsn, shortId };
}

// Everything that people do, connected by the app.
async function wholeStory(olga) {
  await firstOwner(olga);
  await emptyHouse(olga);
  await connect(olga);
  const source = await pushHistory(config);
  const { dsn, shortId } = await crash(olga);
  await createTicket(olga, shortId);
  await shipFix(olga, shortId, { ticket: true });
  await members(olga);
  if (config.look) await fullHouse(olga, dsn, source);
  if (!config.script) await linkAndNote(olga);
  await buttons(olga);
  await removeMember(olga);
}

// The main job alone, by another credential.
async function mainJob(olga) {
  const { tickets } = config.connection;
  await olga.welcome(config.code);
  await olga.page.waitForURL('**/o/acme/errors/');
  await olga.connectBy(config.connection);
  await olga.addRepository();
  await pushHistory(config);
  const { shortId } = await crash(olga);
  await (tickets ? createTicket(olga, shortId) : noTicket(olga));
  await shipFix(olga, shortId, { ticket: tickets });
}

const browser = await launch({ javaScriptEnabled: config.script });
const olga = new Person(browser.page, config);
let status = 0;
try {
  if (config.connection) {
    await olga.goto(`${config.base}/`);
    await mainJob(olga);
  } else {
    await wholeStory(olga);
  }
  await olga.noFaults();
} catch (error) {
  status = 1;
  console.error(`${olga.page.url()}: ${error.stack}`);
  if (olga.broken.length) console.error(olga.broken.join('\n'));
  console.error((await olga.page.locator('body').innerText().catch(() => '')).slice(0, 3000));
  await olga.page.screenshot({ path: path.join(config.folder, 'failure.png') }).catch(() => {});
} finally {
  await browser.close();
}
process.exit(status);
