-- One inbound webhook. The row is itself the queue entry: stored and answered in one write, then claimed.
CREATE TABLE deliveries (
  id INTEGER NOT NULL PRIMARY KEY,
  org_id INTEGER NOT NULL,
  repo_id INTEGER NOT NULL,
  source TEXT NOT NULL,
  request_uuid BLOB NOT NULL,
  event_key TEXT NOT NULL,
  attempt_no INTEGER NOT NULL,
  body BLOB NOT NULL,
  received_at INTEGER NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  run_at INTEGER NOT NULL,
  leased_until INTEGER,
  lease_owner TEXT,
  outcome TEXT,
  finished_at INTEGER
) STRICT;
CREATE UNIQUE INDEX deliveries_once ON deliveries (request_uuid, repo_id, org_id);
CREATE INDEX deliveries_due ON deliveries (run_at) WHERE state = 'ready';
CREATE INDEX deliveries_leased ON deliveries (leased_until) WHERE state = 'running';
CREATE INDEX deliveries_repo ON deliveries (repo_id, id);
