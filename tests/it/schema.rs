//! The two schemas say the same: tables, columns, types, nullability, unique keys; and every migration has a
//! way back.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::Text;
use tracebucket::kit::db::{AnyConnection, DatabaseUrl, migrate, revert_all};

use crate::support::{Backend, fresh_database};

#[derive(QueryableByName, Debug)]
struct Row {
    #[diesel(sql_type = Text)]
    a: String,
    #[diesel(sql_type = Text)]
    b: String,
    #[diesel(sql_type = Text)]
    c: String,
    #[diesel(sql_type = Text)]
    d: String,
}

fn connect(url: &str) -> AnyConnection {
    match DatabaseUrl::parse(url).unwrap() {
        DatabaseUrl::Sqlite(path) => {
            AnyConnection::Sqlite(SqliteConnection::establish(path.to_str().unwrap()).unwrap())
        }
        DatabaseUrl::Postgres(url) => {
            AnyConnection::Postgresql(PgConnection::establish(&url).unwrap())
        }
    }
}

/// table.column → type and nullability, in common words.
fn columns(conn: &mut AnyConnection) -> BTreeMap<String, String> {
    let sql = match conn {
        AnyConnection::Sqlite(_) => {
            "SELECT m.name AS a, p.name AS b, p.type AS c, \
             CASE WHEN p.\"notnull\" = 1 THEN 'NO' ELSE 'YES' END AS d \
             FROM sqlite_master m, pragma_table_info(m.name) p \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\'"
        }
        AnyConnection::Postgresql(_) => {
            "SELECT table_name::text AS a, column_name::text AS b, data_type::text AS c, is_nullable::text AS d \
             FROM information_schema.columns WHERE table_schema = current_schema() AND table_name NOT LIKE '\\_\\_%'"
        }
    };
    let rows: Vec<Row> = diesel::sql_query(sql).load(conn).unwrap();
    rows.into_iter()
        .map(|row| {
            let kind = match row.c.to_lowercase().as_str() {
                "integer" | "bigint" | "boolean" => "number",
                "text" => "text",
                "blob" | "bytea" => "bytes",
                other => panic!("unexpected type {other}"),
            };
            (
                format!("{}.{}", row.a, row.b),
                format!("{kind} null={}", row.d),
            )
        })
        .collect()
}

/// Unique indexes: table, columns in order, and whether partial.
fn uniques(conn: &mut AnyConnection) -> BTreeMap<String, String> {
    let sql = match conn {
        AnyConnection::Sqlite(_) => {
            "SELECT m.name AS a, (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(l.name) ORDER BY seqno)) AS b, \
             CASE WHEN l.partial = 1 THEN 'partial' ELSE 'full' END AS c, '' AS d \
             FROM sqlite_master m, pragma_index_list(m.name) l \
             WHERE m.type = 'table' AND l.\"unique\" = 1 AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' AND l.origin <> 'pk'"
        }
        AnyConnection::Postgresql(_) => {
            "SELECT t.relname::text AS a, \
             (SELECT string_agg(at.attname::text, ',' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY k(attnum, n) \
              JOIN pg_attribute at ON at.attrelid = t.oid AND at.attnum = k.attnum) AS b, \
             CASE WHEN i.indpred IS NULL THEN 'full' ELSE 'partial' END AS c, '' AS d \
             FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
             WHERE i.indisunique AND NOT i.indisprimary AND n.nspname = current_schema() AND t.relname NOT LIKE '\\_\\_%'"
        }
    };
    let rows: Vec<Row> = diesel::sql_query(sql).load(conn).unwrap();
    rows.into_iter()
        .map(|row| (format!("{}({})", row.a, row.b), row.c))
        .collect()
}

#[test]
fn both_databases_have_the_same_schema() {
    let folder = tempfile::tempdir().unwrap();
    let mut sqlite = connect(&fresh_database(Backend::Sqlite, folder.path()));
    let mut postgres = connect(&fresh_database(Backend::Postgres, folder.path()));
    migrate(&mut sqlite).unwrap();
    migrate(&mut postgres).unwrap();
    let columns_of_sqlite = columns(&mut sqlite);
    assert!(columns_of_sqlite.len() > 100);
    assert_eq!(columns_of_sqlite, columns(&mut postgres));
    assert_eq!(uniques(&mut sqlite), uniques(&mut postgres));
}

#[test]
fn migrations_go_down_and_up_again() {
    let folder = tempfile::tempdir().unwrap();
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let mut conn = connect(&fresh_database(backend, folder.path()));
        migrate(&mut conn).unwrap();
        let before = columns(&mut conn);
        revert_all(&mut conn).unwrap();
        assert_eq!(columns(&mut conn).len(), 0, "{backend:?}");
        assert!(!migrate(&mut conn).unwrap().applied.is_empty());
        assert_eq!(columns(&mut conn), before);
        assert!(
            migrate(&mut conn).unwrap().applied.is_empty(),
            "nothing to do the second time"
        );
    }
}

#[test]
fn the_two_migration_folders_have_the_same_names() {
    let names = |folder: &str| -> Vec<_> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("migrations")
            .join(folder);
        let mut names: Vec<_> = std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
}
