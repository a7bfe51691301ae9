-- The key that seals now: one row, by which every process seals alike however its own keys are ordered; empty
-- until a process names one.
CREATE TABLE sealing_key (
  id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
  key_id TEXT NOT NULL,
  named_at BIGINT NOT NULL
);
INSERT INTO sealing_key (id, key_id, named_at) VALUES (1, '', 0);
