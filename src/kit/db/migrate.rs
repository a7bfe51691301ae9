//! Migrations, embedded in the binary: two folders with the same names, run before traffic.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{Conn, OpenError};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
/// Names the advisory lock that keeps two processes from migrating one PostgreSQL database together.
const ADVISORY_LOCK: i64 = 0x7472_6163_6562_6b74;

/// What a migration run did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MigrationReport {
    /// Names of the migrations that were applied now, in order.
    pub applied: Vec<String>,
}

/// Brings the schema up to date.
///
/// # Errors
/// [`OpenError::Migrate`] with the name of the migration that failed; what was applied before stays.
pub fn migrate(conn: &mut Conn) -> Result<MigrationReport, OpenError> {
    let applied = match conn {
        Conn::Sqlite(conn) => {
            // A migration that rebuilds a table must not cascade into its children.
            sqlite_foreign_keys(conn, false)?;
            let applied = run(conn, SQLITE);
            let checked = check_foreign_keys(conn);
            sqlite_foreign_keys(conn, true)?;
            let applied = applied?;
            checked?;
            applied
        }
        Conn::Postgresql(conn) => {
            let lock = |conn: &mut PgConnection, call: &str| {
                conn.batch_execute(&format!("SELECT {call}({ADVISORY_LOCK})"))
                    .map_err(failed)
            };
            conn.batch_execute("SET statement_timeout = 0; SET lock_timeout = 0; SET client_min_messages = warning")
                .map_err(failed)?;
            lock(conn, "pg_advisory_lock")?;
            let applied = run(conn, POSTGRES);
            lock(conn, "pg_advisory_unlock")?;
            conn.batch_execute("SET statement_timeout = '30s'; SET lock_timeout = '10s'")
                .map_err(failed)?;
            applied?
        }
    };
    Ok(MigrationReport { applied })
}

/// Takes every migration back, newest first (tests of the down scripts).
///
/// # Errors
/// [`OpenError::Migrate`].
pub fn revert_all(conn: &mut Conn) -> Result<(), OpenError> {
    match conn {
        Conn::Sqlite(conn) => conn.revert_all_migrations(SQLITE).map(drop),
        Conn::Postgresql(conn) => conn.revert_all_migrations(POSTGRES).map(drop),
    }
    .map_err(|error| OpenError::Migrate(error.to_string()))
}

/// When the schema of this database was made, as text: tells one installation from another that has the same keys.
///
/// # Errors
/// When the query fails.
pub fn made_at(conn: &mut Conn) -> QueryResult<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        made_at: String,
    }
    let text = "SELECT CAST(MIN(run_on) AS TEXT) AS made_at FROM __diesel_schema_migrations";
    let row: Row = diesel::sql_query(text).get_result(conn)?;
    Ok(row.made_at)
}

fn run<DB, C>(conn: &mut C, migrations: EmbeddedMigrations) -> Result<Vec<String>, OpenError>
where
    DB: diesel::backend::Backend,
    C: MigrationHarness<DB>,
    EmbeddedMigrations: diesel::migration::MigrationSource<DB>,
{
    conn.run_pending_migrations(migrations)
        .map(|versions| versions.iter().map(ToString::to_string).collect())
        .map_err(|error| OpenError::Migrate(error.to_string()))
}

fn sqlite_foreign_keys(conn: &mut SqliteConnection, on: bool) -> Result<(), OpenError> {
    let state = if on { "ON" } else { "OFF" };
    conn.batch_execute(&format!("PRAGMA foreign_keys = {state}"))
        .map_err(failed)
}

fn check_foreign_keys(conn: &mut SqliteConnection) -> Result<(), OpenError> {
    #[derive(QueryableByName)]
    struct Violation {
        #[diesel(sql_type = diesel::sql_types::Text)]
        table: String,
    }
    let violations: Vec<Violation> =
        diesel::sql_query("SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1")
            .load(conn)
            .map_err(failed)?;
    match violations.first() {
        None => Ok(()),
        Some(violation) => Err(OpenError::Migrate(format!(
            "a row of table {} points nowhere",
            violation.table
        ))),
    }
}

fn failed(error: diesel::result::Error) -> OpenError {
    OpenError::Migrate(error.to_string())
}
