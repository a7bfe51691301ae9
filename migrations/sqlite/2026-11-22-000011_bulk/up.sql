-- Events that the registered hook asks for, separated by blanks; what the last check found wrong, and when that was
-- put right.
ALTER TABLE repo_hooks ADD COLUMN events TEXT;
ALTER TABLE repo_hooks ADD COLUMN finding TEXT;
ALTER TABLE repo_hooks ADD COLUMN repaired_at INTEGER;
-- Many repositories added in one go. search: the text whose results are listed at Bitbucket first, NULL when every
-- repository is asked for by name; takes_all: everything that the search finds, else only what was picked. cursor is
-- the next page of that list. What is counted is counted in the write that changes the items.
CREATE TABLE bulk_adds (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  link_id INTEGER NOT NULL REFERENCES links(id) ON DELETE CASCADE,
  actor TEXT NOT NULL,
  search TEXT,
  takes_all INTEGER NOT NULL,
  state TEXT NOT NULL,
  cursor TEXT,
  problem TEXT,
  total INTEGER NOT NULL,
  added INTEGER NOT NULL,
  known INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX bulk_adds_link ON bulk_adds (link_id, id);
-- One repository of it. external_id, main_branch and has_tracker are what the list said, if it came by there.
CREATE TABLE bulk_items (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  bulk_id INTEGER NOT NULL REFERENCES bulk_adds(id) ON DELETE CASCADE,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  external_id TEXT,
  main_branch TEXT,
  has_tracker INTEGER,
  state TEXT NOT NULL,
  reason TEXT,
  UNIQUE (bulk_id, name)
) STRICT;
CREATE INDEX bulk_items_state ON bulk_items (bulk_id, state, id);
-- The last day on which an organization was told of connections that need somebody.
CREATE TABLE link_digests (
  org_id INTEGER NOT NULL PRIMARY KEY REFERENCES orgs(id) ON DELETE CASCADE,
  day TEXT NOT NULL,
  entries TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
