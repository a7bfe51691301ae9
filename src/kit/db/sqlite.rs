//! What only SQLite needs: settings of a connection, the server lock, the online copy.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::conn::{self, Role};
use super::{Conn, DatabaseUrl, DbError};

/// Settings per connection, one statement each, in the order that diesel asks for. `synchronous=FULL` on the
/// writer makes an answered write survive a power loss; readers never sync.
pub(super) fn prepare(conn: &mut SqliteConnection, role: Role) -> QueryResult<()> {
    let statements: &[&str] = match role {
        Role::Writer => &[
            "PRAGMA busy_timeout = 5000",
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "PRAGMA foreign_keys = ON",
            "PRAGMA wal_autocheckpoint = 1000",
            "PRAGMA journal_size_limit = 67108864",
            "PRAGMA cache_size = -8192",
            "PRAGMA temp_store = MEMORY",
        ],
        Role::Reader => &[
            "PRAGMA busy_timeout = 5000",
            "PRAGMA synchronous = NORMAL",
            "PRAGMA foreign_keys = ON",
            "PRAGMA cache_size = -2048",
            "PRAGMA query_only = ON",
        ],
    };
    for statement in statements {
        conn.batch_execute(statement)?;
    }
    if role == Role::Writer {
        require_wal(conn)?;
    }
    Ok(())
}

/// A network file system refuses WAL quietly; say so instead of corrupting data later.
fn require_wal(conn: &mut SqliteConnection) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Mode {
        #[diesel(sql_type = Text)]
        journal_mode: String,
    }
    let mode: Mode = diesel::sql_query("PRAGMA journal_mode").get_result(conn)?;
    if mode.journal_mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(diesel::result::Error::QueryBuilderError(
        format!(
            "SQLite stayed in journal mode {:?} instead of WAL: is the file on a network file system? \
             Use a local disk, or PostgreSQL",
            mode.journal_mode
        )
        .into(),
    ))
}

/// Why the server lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another server runs on this file.
    #[error(
        "another tracebucket server already uses {0}; stop it first, or use PostgreSQL for more than one"
    )]
    Held(PathBuf),
    /// The folder or lock file could not be made.
    #[error("cannot make the lock file {path}: {cause}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
}

/// Held by the one server of a SQLite file; the operating system drops it with the process, however it ends.
#[derive(Debug)]
pub(super) struct ServerLock {
    _file: File,
}

impl ServerLock {
    pub(super) fn take(database: &Path) -> Result<Self, LockError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let io = |cause| LockError::Io {
            path: path.clone(),
            cause,
        };
        if let Some(folder) = database
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(database.to_owned())),
            Err(TryLockError::Error(cause)) => Err(io(cause)),
        }
    }
}

/// Which file was opened. SQLite does not notice when it is removed or replaced below it: it would go on
/// writing into a file without a name, and everything that it answers for would be gone with the process.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl Home {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            device_and_inode: Self::look(path)?,
        })
    }

    /// # Errors
    /// [`DbError::Unavailable`] when the path names another file now, or none.
    pub(super) fn check(&self) -> Result<(), DbError> {
        match Self::look(&self.path) {
            Ok(found) if found == self.device_and_inode => Ok(()),
            Ok(_) => Err(DbError::unavailable(format!(
                "another file was put in the place of {}; stop the server before a database is replaced",
                self.path.display()
            ))),
            Err(error) => Err(DbError::unavailable(format!(
                "the database file {} is gone: {error}",
                self.path.display()
            ))),
        }
    }

    fn look(path: &Path) -> io::Result<(u64, u64)> {
        let found = std::fs::metadata(path)?;
        Ok((found.dev(), found.ino()))
    }
}

/// Copies the database to `target`, consistent as of one moment.
pub(super) fn backup(url: &DatabaseUrl, target: &Path) -> Result<(), DbError> {
    let mut conn = conn::connect(url, Role::Writer).map_err(DbError::unavailable)?;
    let Conn::Sqlite(conn) = &mut conn else {
        return Err(DbError::unavailable("backup is for SQLite"));
    };
    diesel::sql_query("VACUUM INTO ?")
        .bind::<Text, _>(target.to_string_lossy().into_owned())
        .execute(conn)?;
    Ok(())
}
