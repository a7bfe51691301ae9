-- How often a credential may call Bitbucket. `budget` is a digest of what Bitbucket counts by: links that share an
-- installation, a consumer or an account share a budget.
CREATE TABLE rate_budgets (
  budget TEXT NOT NULL,
  call_group TEXT NOT NULL,
  hourly_limit INTEGER NOT NULL,
  paused_until INTEGER NOT NULL,
  near_until INTEGER NOT NULL,
  strikes INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (budget, call_group)
) STRICT;
-- What was handed out in each five minutes; the last thirteen of them cover any hour.
CREATE TABLE rate_slots (
  budget TEXT NOT NULL,
  call_group TEXT NOT NULL,
  slot INTEGER NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (budget, call_group, slot)
) STRICT;
CREATE INDEX rate_slots_age ON rate_slots (slot);
-- Answers of Bitbucket that may be used again, by connection. body: the first byte names the codec; size counts what
-- the row takes.
CREATE TABLE kept_answers (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
  link_id INTEGER NOT NULL REFERENCES links(id) ON DELETE CASCADE,
  answer_key BLOB NOT NULL,
  body BLOB NOT NULL,
  size INTEGER NOT NULL,
  etag TEXT,
  modified TEXT,
  immutable INTEGER NOT NULL,
  used_at INTEGER NOT NULL,
  UNIQUE (link_id, answer_key)
) STRICT;
CREATE INDEX kept_answers_use ON kept_answers (used_at, id, size);
CREATE INDEX kept_answers_org ON kept_answers (org_id);
-- The calls that were made lately. No values of paths, no bodies.
CREATE TABLE bitbucket_calls (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  org_id INTEGER NOT NULL,
  link_id INTEGER NOT NULL,
  at INTEGER NOT NULL,
  feature TEXT NOT NULL,
  priority TEXT NOT NULL,
  method TEXT NOT NULL,
  path TEXT NOT NULL,
  outcome TEXT NOT NULL,
  status INTEGER,
  millis INTEGER NOT NULL,
  request_id TEXT
) STRICT;
CREATE INDEX bitbucket_calls_link ON bitbucket_calls (org_id, link_id, id);
CREATE INDEX bitbucket_calls_age ON bitbucket_calls (at);
