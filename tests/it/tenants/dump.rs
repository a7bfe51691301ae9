//! Every row of every table as a line of text, to see that nothing changed.

use std::collections::{BTreeMap, BTreeSet};

use diesel::RunQueryDsl;
use diesel::sql_types::Text;
use tracebucket::error::AppError;
use tracebucket::features::accounts::OrgId;
use tracebucket::kit::db::Conn;

use crate::support::TestApp;

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

fn lines(conn: &mut Conn, sql: &str) -> Result<Vec<String>, AppError> {
    let rows: Vec<Line> = diesel::sql_query(sql).load(conn)?;
    Ok(rows.into_iter().map(|row| row.line).collect())
}

/// Every table, and its columns.
fn tables(conn: &mut Conn, sqlite: bool) -> Result<BTreeMap<String, Vec<String>>, AppError> {
    let names = lines(
        conn,
        if sqlite {
            "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        } else {
            "SELECT CAST(tablename AS TEXT) AS line FROM pg_tables WHERE schemaname = current_schema()"
        },
    )?;
    assert!(names.len() > 25, "the tables are found: {names:?}");
    let mut tables = BTreeMap::new();
    for name in names {
        let columns = lines(
            conn,
            &if sqlite {
                format!("SELECT name AS line FROM pragma_table_info('{name}')")
            } else {
                format!(
                    "SELECT CAST(column_name AS TEXT) AS line FROM information_schema.columns \
                     WHERE table_schema = current_schema() AND table_name = '{name}'"
                )
            },
        )?;
        assert!(!columns.is_empty(), "{name} has columns");
        tables.insert(name, columns);
    }
    Ok(tables)
}

async fn dump(t: &TestApp, org: Option<OrgId>) -> BTreeSet<String> {
    let sqlite = t.app.db.url().is_sqlite();
    t.app
        .db
        .read(move |conn| {
            let mut all = BTreeSet::new();
            for (table, columns) in tables(conn, sqlite)? {
                let condition = match org {
                    None => String::new(),
                    Some(org) if columns.iter().any(|column| column == "org_id") => {
                        format!("WHERE org_id = {org}")
                    }
                    Some(_) => continue,
                };
                let row = if sqlite {
                    let quoted: Vec<_> = columns
                        .iter()
                        .map(|name| format!("quote(\"{name}\")"))
                        .collect();
                    quoted.join(" || ',' || ")
                } else {
                    format!("CAST(\"{table}\" AS TEXT)")
                };
                let rows = lines(
                    conn,
                    &format!("SELECT {row} AS line FROM \"{table}\" {condition}"),
                )?;
                all.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
            }
            Ok::<_, AppError>(all)
        })
        .await
        .unwrap()
}

/// Everything that is in the database.
pub async fn rows(t: &TestApp) -> BTreeSet<String> {
    dump(t, None).await
}

/// Everything that is marked as an organization's.
pub async fn rows_of(t: &TestApp, org: OrgId) -> BTreeSet<String> {
    dump(t, Some(org)).await
}

/// Fails with the rows that differ.
pub fn assert_same(before: &BTreeSet<String>, after: &BTreeSet<String>, what: &str) {
    let gone: Vec<_> = before.difference(after).collect();
    let new: Vec<_> = after.difference(before).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "{what}: something changed\nwas: {gone:#?}\nis: {new:#?}"
    );
}
