-- Organization to workspace, the repositories it brings, and the hook of each. external_id is the clientKey of a
-- Connect link; one clientKey that comes back for another workspace makes another link. Any other kind has an
-- external_id of its own making, so that an organization may have several connections to one workspace.
CREATE TABLE links (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  provider TEXT NOT NULL,
  kind TEXT NOT NULL,
  installation_id INTEGER REFERENCES installations(id),
  external_id TEXT NOT NULL,
  workspace_uuid TEXT NOT NULL,
  name TEXT NOT NULL,
  domain_name TEXT NOT NULL,
  account_type TEXT NOT NULL,
  icon TEXT,
  status TEXT NOT NULL,
  status_reason TEXT,
  config TEXT NOT NULL,
  label TEXT NOT NULL,
  purpose TEXT NOT NULL,
  owner_id INTEGER REFERENCES users(id) ON DELETE SET NULL,
  private INTEGER NOT NULL,
  last_check TEXT,
  checked_at INTEGER,
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (org_id, provider, external_id, workspace_uuid)
) STRICT;
CREATE INDEX links_installation ON links (installation_id);
-- What a link signs with, unless it is an installation. `version` counts changes of `sealed`, and who changes it
-- compares it first; the lease is held by who asks for a new access token. access_until is the end of the cached
-- access token, expires_at the end of the credential itself, as far as anybody knows.
CREATE TABLE credentials (
  link_id INTEGER NOT NULL PRIMARY KEY REFERENCES links(id) ON DELETE CASCADE,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  sealed BLOB NOT NULL,
  version INTEGER NOT NULL,
  lease_owner TEXT,
  lease_until INTEGER,
  access_until INTEGER,
  expires_at INTEGER,
  warned TEXT,
  created_at INTEGER NOT NULL,
  rotated_at INTEGER NOT NULL
) STRICT;
-- A browser that was sent to Bitbucket to allow access, until it comes back. The state is known by its hash only.
CREATE TABLE oauth_flows (
  state_hash BLOB NOT NULL PRIMARY KEY,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  session_hash BLOB NOT NULL,
  link_id INTEGER REFERENCES links(id) ON DELETE CASCADE,
  sealed BLOB NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX oauth_flows_expiry ON oauth_flows (expires_at);
CREATE TABLE repos (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  link_id INTEGER REFERENCES links(id),
  provider TEXT,
  external_id TEXT,
  name TEXT NOT NULL,
  url TEXT,
  main_branch TEXT,
  status TEXT NOT NULL,
  has_tracker INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX repos_external ON repos (org_id, provider, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX repos_by_name ON repos (org_id, name);
CREATE INDEX repos_by_external ON repos (external_id);
CREATE INDEX repos_link ON repos (link_id);
-- The secret is per repository; during a rotation the previous one is honoured until previous_until.
CREATE TABLE repo_hooks (
  repo_id INTEGER NOT NULL PRIMARY KEY REFERENCES repos(id) ON DELETE CASCADE,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  hook_uuid TEXT,
  state TEXT NOT NULL,
  sealed_secret BLOB NOT NULL,
  sealed_previous BLOB,
  previous_until INTEGER,
  last_error TEXT,
  last_delivery_at INTEGER,
  checked_at INTEGER,
  updated_at INTEGER NOT NULL
) STRICT;
