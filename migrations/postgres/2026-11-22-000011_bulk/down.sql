DROP TABLE link_digests;
DROP TABLE bulk_items;
DROP TABLE bulk_adds;
ALTER TABLE repo_hooks DROP COLUMN repaired_at;
ALTER TABLE repo_hooks DROP COLUMN finding;
ALTER TABLE repo_hooks DROP COLUMN events;
