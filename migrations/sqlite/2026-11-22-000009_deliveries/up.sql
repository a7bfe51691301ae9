-- One inbound webhook. The row is itself the queue entry: stored and answered in one write, then claimed.
-- A claim moves run_at to the end of its lease and writes lease_owner; the state stays 'ready' until the end.
-- body: empty when its time is over, else the first byte names the codec.
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
  lease_owner TEXT,
  outcome TEXT,
  error TEXT,
  took_ms INTEGER,
  finished_at INTEGER
) STRICT;
CREATE UNIQUE INDEX deliveries_once ON deliveries (request_uuid, repo_id, org_id);
-- In the order of arrival, with what the claim needs to keep the order within a repository.
CREATE INDEX deliveries_ready ON deliveries (id, repo_id, run_at, lease_owner) WHERE state = 'ready';
CREATE INDEX deliveries_list ON deliveries (org_id, id);
CREATE TABLE delivery_attempts (
  id INTEGER NOT NULL PRIMARY KEY,
  delivery_id INTEGER NOT NULL REFERENCES deliveries(id) ON DELETE CASCADE,
  result TEXT NOT NULL,
  error TEXT,
  took_ms INTEGER NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX delivery_attempts_delivery ON delivery_attempts (delivery_id);
