-- Commits, their authors, the groups they fix, and what each branch was last seen to point at.
CREATE TABLE commits (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
  hash TEXT NOT NULL,
  message TEXT NOT NULL,
  author_name TEXT,
  author_email TEXT,
  committed_at INTEGER NOT NULL,
  on_main INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (repo_id, hash)
) STRICT;
CREATE INDEX commits_org ON commits (org_id, committed_at);
CREATE TABLE branch_heads (
  repo_id INTEGER NOT NULL REFERENCES repos(id) ON DELETE CASCADE,
  branch TEXT NOT NULL,
  hash TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (repo_id, branch)
) STRICT;
CREATE TABLE group_links (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  linked_type TEXT NOT NULL,
  relationship TEXT NOT NULL,
  linked_id INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (group_id, linked_type, linked_id)
) STRICT;
CREATE INDEX group_links_linked ON group_links (linked_type, linked_id);
