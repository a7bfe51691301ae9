//! The connection of either database, and how one is made from a URL.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use diesel::connection::{Connection, InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::r2d2::{self, ManageConnection, R2D2Connection};

use super::sqlite;

/// One connection, to PostgreSQL or to SQLite.
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    /// PostgreSQL, through libpq.
    Postgresql(diesel::PgConnection),
    /// The embedded database.
    Sqlite(diesel::SqliteConnection),
}

/// The connection type that every query takes.
pub type Conn = AnyConnection;

/// Writes the same builder call for both databases: what the two share in text but not in type
/// (`ON CONFLICT`, multi-row insert). Statements made this way are prepared once and cached.
macro_rules! on_both {
    ($conn:expr, |$inner:ident| $call:expr) => {
        match $conn {
            $crate::kit::db::AnyConnection::Postgresql($inner) => $call,
            $crate::kit::db::AnyConnection::Sqlite($inner) => $call,
        }
    };
}
pub(crate) use on_both;

/// Where the data is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// Path of the SQLite file.
    Sqlite(PathBuf),
    /// A libpq URL; may hold a password, so it is never printed.
    Postgres(String),
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres://[redacted]"),
        }
    }
}

/// Why a database URL was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UrlError {
    /// No scheme we know; a bare path is refused because a typo would create an empty database.
    #[error("database URL must start with sqlite:// or postgres://")]
    Scheme,
    /// `sqlite://` without a file.
    #[error("sqlite:// needs a file name, for example sqlite://data/tracebucket.db")]
    NoFile,
    /// An in-memory database gives every pooled connection its own empty one.
    #[error("an in-memory SQLite database is not supported: use a file")]
    InMemory,
}

impl DatabaseUrl {
    /// Reads `sqlite://path` or `postgres://…` (`postgresql://…`).
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return match path {
                "" => Err(UrlError::NoFile),
                ":memory:" => Err(UrlError::InMemory),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        Err(UrlError::Scheme)
    }

    /// True for the embedded database.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Reader,
    Writer,
}

/// Opens one connection with the settings of its role.
pub(super) fn connect(url: &DatabaseUrl, role: Role) -> Result<AnyConnection, r2d2::Error> {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(&path.to_string_lossy())
                .map_err(r2d2::Error::ConnectionError)?;
            sqlite::prepare(&mut conn, role).map_err(r2d2::Error::QueryError)?;
            Ok(AnyConnection::Sqlite(conn))
        }
        DatabaseUrl::Postgres(url) => {
            let mut conn =
                PgConnection::establish(&with_limits(url)).map_err(r2d2::Error::ConnectionError)?;
            // A statement that hangs must not hold a pooled connection for ever; migrations lift this.
            conn.batch_execute("SET statement_timeout = '30s'; SET lock_timeout = '10s'")
                .map_err(r2d2::Error::QueryError)?;
            conn.set_instrumentation(note_conflict);
            Ok(AnyConnection::Postgresql(conn))
        }
    }
}

/// The URL with limits on how long a server that has gone silent is waited for, unless it names its own: the
/// operating system would wait a quarter of an hour.
fn with_limits(url: &str) -> String {
    let mut text = url.to_owned();
    for (name, value) in [
        ("connect_timeout", "5"),
        ("keepalives_idle", "10"),
        ("keepalives_interval", "5"),
        ("keepalives_count", "3"),
        ("tcp_user_timeout", "15000"),
    ] {
        if !url.contains(&format!("{name}=")) {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.push_str(&format!("{name}={value}"));
        }
    }
    text
}

/// Pool manager that knows the variant from the URL (the derived `establish` would guess).
#[derive(Debug)]
pub(super) struct Manager {
    url: DatabaseUrl,
    role: Role,
    home: Option<Arc<sqlite::Home>>,
}

impl Manager {
    pub(super) fn new(url: DatabaseUrl, role: Role, home: Option<Arc<sqlite::Home>>) -> Self {
        Self { url, role, home }
    }

    /// A connection to another file of the same name would read that one, and take the log of this one for its own.
    fn is_at_home(&self) -> Result<(), r2d2::Error> {
        let check = self.home.as_ref().map_or(Ok(()), |home| home.check());
        check.map_err(|error| {
            r2d2::Error::ConnectionError(ConnectionError::BadConnection(error.to_string()))
        })
    }
}

impl ManageConnection for Manager {
    type Connection = AnyConnection;
    type Error = r2d2::Error;

    fn connect(&self) -> Result<AnyConnection, r2d2::Error> {
        self.is_at_home()?;
        connect(&self.url, self.role)
    }

    fn is_valid(&self, conn: &mut AnyConnection) -> Result<(), r2d2::Error> {
        conn.ping().map_err(r2d2::Error::QueryError)
    }

    fn has_broken(&self, conn: &mut AnyConnection) -> bool {
        std::thread::panicking() || conn.is_broken()
    }
}

/// True when a failed statement tells of the database's state: locked, full, unreadable, gone, or in conflict with
/// another transaction again and again.
pub(super) fn is_environment_error(error: &diesel::result::Error) -> bool {
    use diesel::result::{DatabaseErrorKind, Error};
    match error {
        Error::DatabaseError(
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::ReadOnlyTransaction,
            _,
        )
        | Error::BrokenTransactionManager => true,
        error if is_retryable_conflict(error) => true,
        Error::DatabaseError(_, info) => {
            let text = info.message();
            [
                "database is locked",
                "database or disk is full",
                "disk I/O error",
                "attempt to write a readonly database",
                "unable to open database file",
                "server closed the connection",
                "could not extend file",
                "No space left on device",
                "canceling statement due to",
                "terminating connection",
                "no connection to the server",
                "connection to server",
            ]
            .iter()
            .any(|needle| text.contains(needle))
        }
        _ => false,
    }
}

thread_local! {
    static CONFLICT: Cell<bool> = const { Cell::new(false) };
}

/// A closure answers with an error of its own, from which nobody can tell whether a conflict is behind it: so it is
/// noted where the statement fails.
fn note_conflict(event: InstrumentationEvent<'_>) {
    if let InstrumentationEvent::FinishQuery {
        error: Some(error), ..
    } = event
        && is_retryable_conflict(error)
    {
        CONFLICT.set(true);
    }
}

/// Whether a statement on this thread met a conflict since the last time this was asked.
pub(super) fn take_conflict() -> bool {
    CONFLICT.take()
}

/// How often a transaction is run again after a conflict.
pub(super) const CONFLICT_RETRIES: u32 = 3;

/// True for the two PostgreSQL failures that running the transaction again cures.
pub(super) fn is_retryable_conflict(error: &diesel::result::Error) -> bool {
    use diesel::result::{DatabaseErrorKind, Error};
    match error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => true,
        Error::DatabaseError(_, info) => info.message().contains("deadlock detected"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_their_database() {
        assert_eq!(
            DatabaseUrl::parse("sqlite://data/x.db"),
            Ok(DatabaseUrl::Sqlite(PathBuf::from("data/x.db")))
        );
        assert_eq!(
            DatabaseUrl::parse("sqlite:///var/x.db"),
            Ok(DatabaseUrl::Sqlite("/var/x.db".into()))
        );
        assert!(matches!(
            DatabaseUrl::parse("postgres://u:p@h/d"),
            Ok(DatabaseUrl::Postgres(_))
        ));
        assert_eq!(DatabaseUrl::parse("data/x.db"), Err(UrlError::Scheme));
        assert_eq!(DatabaseUrl::parse("sqlite://"), Err(UrlError::NoFile));
        assert_eq!(
            DatabaseUrl::parse("sqlite://:memory:"),
            Err(UrlError::InMemory)
        );
    }

    #[test]
    fn waits_have_limits_that_a_url_may_change() {
        let plain = with_limits("postgres://h/d");
        assert!(plain.starts_with("postgres://h/d?connect_timeout=5&keepalives_idle=10&"));
        let own = with_limits("postgres://h/d?tcp_user_timeout=1&options=-cx%3Dy");
        assert!(own.contains("options=-cx%3Dy&connect_timeout=5&"));
        assert_eq!(own.matches("tcp_user_timeout").count(), 1);
    }

    #[test]
    fn a_url_never_prints_its_password() {
        let url = DatabaseUrl::parse("postgres://u:hunter2@h/d").map(|url| format!("{url:?}"));
        assert_eq!(url, Ok("postgres://[redacted]".to_owned()));
    }
}
