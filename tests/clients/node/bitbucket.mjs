// An independent client judges the Bitbucket stand-in: the npm package `bitbucket`, with calls signed by `atlassian-jwt`
// or with a bearer token.
//
//   bitbucket.mjs < {"url", "workspace", "repo", "commit", "token"}
//   bitbucket.mjs < {"url", "workspace", "repo", "commit", "jwt": {"key", "clientKey", "secret"}}
//
// Prints one JSON line per step: {"step": name, …what the client read}. Leaves the issue `Kept` with a comment, no other
// issue and no hook. An answer that the client cannot read, or an unexpected one, ends it with status 1.
import { text } from 'node:stream/consumers';
import jwt from 'atlassian-jwt';
import bitbucket from 'bitbucket';

const config = JSON.parse(await text(process.stdin));
const { workspace, repo: repo_slug, commit } = config;

// The client knows no Connect: each call is signed on its way out.
function signature({ key, clientKey, secret }, method, url) {
  const iat = Math.floor(Date.now() / 1000);
  const qsh = jwt.createQueryStringHash(jwt.fromMethodAndUrl(method, url), false, config.url);
  return `JWT ${jwt.encodeSymmetric({ iss: key, sub: clientKey, iat, exp: iat + 180, qsh }, secret, 'HS256')}`;
}

async function send(url, options) {
  const signed = config.jwt ? { authorization: signature(config.jwt, options.method, url) } : {};
  const response = await fetch(url, { ...options, headers: { ...options.headers, ...signed } });
  // The client fails on any answer without a type, also on one without a body, which needs none.
  return response.status === 204 ? new Response(null, { status: 204, headers: { 'content-type': 'text/plain' } }) : response;
}

const client = new bitbucket.Bitbucket({
  baseUrl: `${config.url}/2.0`,
  notice: false,
  request: { fetch: send },
  ...(config.token ? { auth: { token: config.token } } : {}),
});
const { repositories, workspaces, webhooks } = client;
const here = { workspace, repo_slug };
const say = (step, what) => console.log(JSON.stringify({ step, ...what }));

// Follows `next` as the client does.
async function all(first) {
  const pages = [(await first).data];
  while (client.hasNextPage(pages.at(-1))) pages.push((await client.getNextPage(pages.at(-1))).data);
  return { pages: pages.length, values: pages.flatMap((page) => page.values) };
}

async function refused(call) {
  try {
    await call;
  } catch (error) {
    return { status: error.status, type: error.error?.type, message: error.error?.error?.message };
  }
  throw new Error('this call should have been refused');
}

const { data: owner } = await workspaces.getWorkspace({ workspace });
say('workspace', { type: owner.type, slug: owner.slug });

const listed = await all(repositories.list({ workspace, pagelen: 2, sort: 'name' }));
say('repositories', { pages: listed.pages, names: listed.values.map((repo) => repo.full_name) });
const { data: repo } = await repositories.get(here);
say('repository', { type: repo.type, name: repo.full_name, main: repo.mainbranch?.name, uuid: repo.uuid });
say('no repository', await refused(repositories.get({ workspace, repo_slug: 'not-there' })));

const commits = await all(repositories.listCommits({ ...here, pagelen: 2 }));
say('commits', { pages: commits.pages, messages: commits.values.map((c) => c.message.trim()) });
const { data: one } = await repositories.getCommit({ ...here, commit });
say('commit', { type: one.type, hash: one.hash, author: one.author.raw, parents: one.parents.map((p) => p.hash) });
const stats = await all(repositories.listDiffStats({ ...here, spec: commit }));
say('diffstat', {
  files: stats.values.map((s) => [s.type, s.status, s.old?.path ?? null, s.new?.path ?? null, s.lines_added, s.lines_removed]),
});
const { data: diff } = await repositories.getDiff({ ...here, spec: commit });
say('diff', { text: diff });
const { data: file } = await repositories.readSrc({ ...here, commit, path: 'menu.txt' });
say('source', { text: file });
const branches = await all(repositories.listBranches(here));
say('branches', { branches: branches.values.map((b) => [b.type, b.name, b.target.hash]) });
const pulls = await all(repositories.listPullRequests({ ...here, state: 'OPEN' }));
say('pull requests', { count: pulls.values.length });

async function issue(title) {
  const _body = { type: 'issue', title, content: { raw: `About ${title}.` }, kind: 'bug', priority: 'major' };
  return repositories.createIssue({ ...here, _body });
}
const { data: kept, status: created } = await issue('Kept');
say('issue created', { status: created, type: kept.type, id: kept.id, state: kept.state, text: kept.content.raw });
const { data: gone } = await issue('Gone');
const by_title = await all(repositories.listIssues({ ...here, q: 'title ~ "kep"' }));
say('issues', { titles: by_title.values.map((i) => i.title) });
const issue_id = String(kept.id);
const { data: read } = await repositories.getIssue({ ...here, issue_id });
say('issue', { title: read.title, kind: read.kind, priority: read.priority, reporter: read.reporter.type });
const { data: changed } = await repositories.updateIssue({ ...here, issue_id, _body: { state: 'resolved' } });
say('issue updated', { state: changed.state, title: changed.title });
const words = { ...here, issue_id, _body: { type: 'issue_comment', content: { raw: 'Fixed.' } } };
const { data: comment } = await repositories.createIssueComment(words);
const comment_id = String(comment.id);
await repositories.updateIssueComment({ ...words, comment_id, _body: { content: { raw: 'Fixed today.' } } });
const comments = await all(repositories.listIssueComments({ ...here, issue_id }));
say('comments', { comments: comments.values.map((c) => [c.type, c.content.raw]) });
const removed = await repositories.deleteIssue({ ...here, issue_id: String(gone.id) });
say('issue deleted', { status: removed.status, ...(await refused(repositories.getIssue({ ...here, issue_id: String(gone.id) }))) });
say('no title', await refused(repositories.createIssue({ ...here, _body: { type: 'issue' } })));

const wanted = { url: 'https://hooks.example/in', description: 'From a client', active: true, events: ['repo:push'] };
const { data: hook, status: made } = await webhooks.create({ ...here, _body: wanted });
say('hook created', { status: made, type: hook.type, url: hook.url, events: hook.events, secret: hook.secret ?? null });
const uid = hook.uuid;
const hooks = await all(webhooks.listForRepo(here));
say('hooks', { found: hooks.values.some((h) => h.uuid === uid) });
const { data: same } = await webhooks.get({ ...here, uid });
const { data: paused } = await webhooks.update({ ...here, uid, _body: { ...wanted, active: false } });
say('hook updated', { was: same.active, is: paused.active });
const deleted = await webhooks.delete({ ...here, uid });
say('hook deleted', { status: deleted.status, left: (await all(webhooks.listForRepo(here))).values.length });
