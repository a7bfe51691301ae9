-- Tracked errors and their events. search_text: title and culprit in lower case, for LIKE; status_details: a JSON
-- object that says why the status is what it is.
CREATE TABLE groups (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  project_id INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  short_no INTEGER NOT NULL,
  title TEXT NOT NULL,
  search_text TEXT NOT NULL,
  culprit TEXT NOT NULL,
  kind TEXT NOT NULL,
  metadata TEXT NOT NULL,
  level TEXT NOT NULL,
  platform TEXT NOT NULL,
  logger TEXT,
  top_path TEXT,
  environment TEXT,
  status TEXT NOT NULL,
  substatus TEXT,
  resolved_at INTEGER,
  status_details TEXT NOT NULL,
  first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  times_seen INTEGER NOT NULL,
  user_count INTEGER NOT NULL,
  first_release TEXT,
  last_release TEXT,
  num_comments INTEGER NOT NULL,
  assignee_id INTEGER REFERENCES users(id) ON DELETE SET NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (project_id, short_no)
) STRICT;
CREATE INDEX groups_by_seen ON groups (org_id, status, last_seen);
CREATE INDEX groups_by_first ON groups (org_id, first_seen);
CREATE TABLE group_hashes (
  project_id INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  hash BLOB NOT NULL,
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  PRIMARY KEY (project_id, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_hashes_group ON group_hashes (group_id);
CREATE TABLE group_hours (
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  hour INTEGER NOT NULL,
  events INTEGER NOT NULL,
  PRIMARY KEY (group_id, hour)
) STRICT, WITHOUT ROWID;
-- Who was affected: a hash of the user's identity per group; groups.user_count counts the rows.
CREATE TABLE group_users (
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  user_hash BLOB NOT NULL,
  PRIMARY KEY (group_id, user_hash)
) STRICT, WITHOUT ROWID;
-- In which releases and environments a group was seen.
CREATE TABLE group_facets (
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  events INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  PRIMARY KEY (group_id, kind, value)
) STRICT, WITHOUT ROWID;
-- Releases that are known not to hold the commit that resolved the group: their events are no regression.
CREATE TABLE group_unfixed (
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  release TEXT NOT NULL,
  PRIMARY KEY (group_id, release)
) STRICT, WITHOUT ROWID;
-- body: the event as JSON, compressed (first byte names the codec).
CREATE TABLE events (
  id INTEGER NOT NULL PRIMARY KEY,
  project_id INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  event_id BLOB NOT NULL,
  received_at INTEGER NOT NULL,
  occurred_at INTEGER NOT NULL,
  release TEXT,
  environment TEXT,
  body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_uuid ON events (event_id, project_id);
CREATE INDEX events_by_group ON events (group_id, id);
CREATE INDEX events_by_project ON events (project_id, id);
CREATE TABLE activities (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  group_id INTEGER NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  ident TEXT,
  user_id INTEGER REFERENCES users(id) ON DELETE SET NULL,
  actor TEXT NOT NULL,
  data TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX activities_group ON activities (group_id, id);
CREATE UNIQUE INDEX activities_once ON activities (group_id, kind, ident) WHERE ident IS NOT NULL;
