-- The outbox. A row is ready, running, done or dead; a dedupe key is unique among ready rows and among
-- running rows, never across the two, so a running job does not swallow a newer request.
CREATE TABLE jobs (
  id INTEGER NOT NULL PRIMARY KEY,
  org_id INTEGER,
  kind TEXT NOT NULL,
  queue TEXT NOT NULL,
  payload TEXT NOT NULL,
  dedupe_key TEXT,
  order_key TEXT,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  run_at INTEGER NOT NULL,
  leased_until INTEGER,
  lease_owner TEXT,
  last_error TEXT,
  created_at INTEGER NOT NULL,
  finished_at INTEGER
) STRICT;
CREATE UNIQUE INDEX jobs_ready_key ON jobs (kind, dedupe_key) WHERE state = 'ready' AND dedupe_key IS NOT NULL;
CREATE UNIQUE INDEX jobs_running_key ON jobs (kind, dedupe_key) WHERE state = 'running' AND dedupe_key IS NOT NULL;
CREATE UNIQUE INDEX jobs_running_order ON jobs (order_key) WHERE state = 'running' AND order_key IS NOT NULL;
CREATE INDEX jobs_due ON jobs (queue, run_at) WHERE state = 'ready';
CREATE INDEX jobs_leased ON jobs (leased_until) WHERE state = 'running';
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE state = 'done';
CREATE INDEX jobs_dead ON jobs (finished_at) WHERE state = 'dead';
-- One row per attempt that did not end in success: what an operator wants to read.
CREATE TABLE job_attempts (
  id INTEGER NOT NULL PRIMARY KEY,
  job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
  attempt INTEGER NOT NULL,
  verdict TEXT NOT NULL,
  message TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX job_attempts_job ON job_attempts (job_id);
CREATE TABLE periodic (
  name TEXT NOT NULL PRIMARY KEY,
  next_run INTEGER NOT NULL
) STRICT;
