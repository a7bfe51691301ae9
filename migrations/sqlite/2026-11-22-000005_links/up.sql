-- Organization to workspace, the repositories it brings, and the hook of each. external_id is the clientKey; one
-- clientKey that comes back for another workspace makes another link.
CREATE TABLE links (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  provider TEXT NOT NULL,
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
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (org_id, provider, external_id, workspace_uuid)
) STRICT;
CREATE INDEX links_installation ON links (installation_id);
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
