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

/// How to read every row of every table, in one statement.
pub struct Dump {
    /// One query for each table, and whether its rows are marked with their organization.
    tables: Vec<(String, bool)>,
}

impl Dump {
    pub async fn new(t: &TestApp) -> Self {
        let sqlite = t.app.db.url().is_sqlite();
        let read = t.app.db.read(move |conn| {
            let mut tables = Vec::new();
            for (name, columns) in tables_of(conn, sqlite)? {
                // A stranger may call Bitbucket over a connection of its own; that is counted, and written down later.
                if ["rate_budgets", "rate_slots", "bitbucket_calls"].contains(&name.as_str()) {
                    continue;
                }
                let row = if sqlite {
                    let quoted: Vec<_> =
                        columns.iter().map(|c| format!("quote(\"{c}\")")).collect();
                    quoted.join(" || ',' || ")
                } else {
                    format!("CAST(\"{name}\" AS TEXT)")
                };
                let query = format!("SELECT '{name}: ' || {row} AS line FROM \"{name}\"");
                tables.push((query, columns.iter().any(|column| column == "org_id")));
            }
            Ok::<_, AppError>(tables)
        });
        let tables = read.await.unwrap();
        assert!(tables.len() > 25, "the tables are found: {tables:?}");
        Self { tables }
    }

    /// Everything that is in the database.
    pub async fn rows(&self, t: &TestApp) -> BTreeSet<String> {
        let all: Vec<_> = self.tables.iter().map(|(query, _)| query.clone()).collect();
        union(t, &all).await
    }

    /// Everything that is marked as an organization's.
    pub async fn rows_of(&self, t: &TestApp, org: OrgId) -> BTreeSet<String> {
        let marked = self.tables.iter().filter(|(_, marked)| *marked);
        let all: Vec<_> = marked
            .map(|(query, _)| format!("{query} WHERE org_id = {org}"))
            .collect();
        assert!(all.len() > 10, "tables of an organization: {all:?}");
        union(t, &all).await
    }
}

async fn union(t: &TestApp, queries: &[String]) -> BTreeSet<String> {
    let sql = queries.join(" UNION ALL ");
    let read = t.app.db.read(move |conn| lines(conn, &sql));
    read.await.unwrap().into_iter().collect()
}

/// Every table, and its columns.
fn tables_of(conn: &mut Conn, sqlite: bool) -> Result<BTreeMap<String, Vec<String>>, AppError> {
    let pairs = lines(
        conn,
        if sqlite {
            "SELECT t.name || '.' || c.name AS line FROM sqlite_master t JOIN pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
        } else {
            "SELECT CAST(table_name AS TEXT) || '.' || CAST(column_name AS TEXT) AS line \
             FROM information_schema.columns WHERE table_schema = current_schema()"
        },
    )?;
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in pairs {
        let (table, column) = pair.split_once('.').unwrap();
        tables
            .entry(table.to_owned())
            .or_default()
            .push(column.to_owned());
    }
    Ok(tables)
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
