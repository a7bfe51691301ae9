-- One Connect install. An uninstalled row keeps its identity and loses its secret.
CREATE TABLE installations (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  client_key TEXT NOT NULL UNIQUE,
  app_key TEXT NOT NULL,
  principal_uuid TEXT NOT NULL,
  principal_name TEXT NOT NULL,
  principal_type TEXT NOT NULL,
  domain_name TEXT NOT NULL,
  icon TEXT,
  status TEXT NOT NULL,
  sealed_secret BLOB,
  reset_allowed INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  installed_by TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  uninstalled_at INTEGER
) STRICT;
CREATE INDEX installations_principal ON installations (principal_uuid);
