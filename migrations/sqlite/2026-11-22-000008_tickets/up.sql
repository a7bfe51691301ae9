-- A ticket is written as an intent (pending) before the tracker is called; (org, group, backend, client_key)
-- makes the intent unique, (link, ticket_key) the ticket. attempted_at: a call that may have made the ticket was sent
-- and its fate is not known; busy_until, busy_owner: somebody is finishing it now; synced: the last change of the
-- group that the ticket was told.
CREATE TABLE tickets (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  link_id INTEGER NOT NULL REFERENCES links(id),
  repo_id INTEGER REFERENCES repos(id),
  backend TEXT NOT NULL,
  client_key TEXT NOT NULL,
  marker TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  ticket_key TEXT,
  repo_name TEXT NOT NULL,
  number INTEGER,
  url TEXT,
  title TEXT NOT NULL,
  description TEXT NOT NULL,
  draft TEXT NOT NULL,
  remote_state TEXT,
  synced TEXT,
  attempted_at INTEGER,
  busy_until INTEGER,
  busy_owner TEXT,
  last_error TEXT,
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (org_id, group_id, backend, client_key)
) STRICT;
CREATE UNIQUE INDEX tickets_key ON tickets (link_id, ticket_key) WHERE ticket_key IS NOT NULL;
CREATE TABLE ticket_links (
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  ticket_id INTEGER NOT NULL REFERENCES tickets(id) ON DELETE CASCADE,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (group_id, ticket_id)
) STRICT;
CREATE INDEX ticket_links_ticket ON ticket_links (ticket_id);
-- What we want to say on a ticket, once: the marker is looked for before a retry posts.
CREATE TABLE ticket_comments (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  ticket_id INTEGER NOT NULL REFERENCES tickets(id) ON DELETE CASCADE,
  reason TEXT NOT NULL,
  marker TEXT NOT NULL UNIQUE,
  body TEXT NOT NULL,
  remote_id TEXT,
  -- Whoever posts it holds a claim until then; one that was ever claimed may have been posted.
  busy_until INTEGER,
  busy_owner TEXT,
  created_at INTEGER NOT NULL,
  posted_at INTEGER,
  UNIQUE (ticket_id, reason)
) STRICT;
-- Last used form fields: per project, and per user.
CREATE TABLE ticket_defaults (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  link_id INTEGER NOT NULL REFERENCES links(id),
  project_id INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  field TEXT NOT NULL,
  value TEXT NOT NULL,
  UNIQUE (link_id, project_id, field)
) STRICT;
