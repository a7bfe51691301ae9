//! The database: SQLite or PostgreSQL, chosen by URL at run time, behind two doors.
//!
//! [`Db::read`] runs a closure on a pooled connection (on SQLite one that cannot write). [`Db::write`] runs a
//! closure in a transaction and answers after COMMIT. On SQLite every write goes through one thread that owns
//! the write connection and commits many closures together, each in its own savepoint ([`door`]); on
//! PostgreSQL a write is a transaction on a pooled connection, and only [`Db::write_batched`] shares one.
//! A write closure may run more than once (a batch that fails is run again one by one, a deadlock is retried),
//! so it must not have effects outside the transaction.

mod conn;
mod door;
mod migrate;
mod sqlite;
mod tx;
mod wake;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::RunQueryDsl;
use diesel::r2d2::Pool;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

pub(crate) use conn::on_both;
pub use conn::{AnyConnection, Conn, DatabaseUrl, UrlError};
use conn::{Manager, Role};
pub use door::Lane;
use door::{Door, Mode, Waiting};
pub use migrate::{MigrationReport, made_at, migrate, revert_all};
pub use sqlite::LockError;
pub use tx::{Fold, Tx};
pub use wake::Bells;

/// Connections that may read at the same time on SQLite, and all connections on PostgreSQL.
const SQLITE_READERS: u32 = 4;
const POSTGRES_POOL: u32 = 12;
/// Callers that may wait for a connection; one more is told at once that the server is busy.
const POOL_QUEUE: usize = 1024;
/// How long a caller waits for a connection before it is told that the server is busy.
const CHECKOUT_WAIT: Duration = Duration::from_secs(3);
/// More requests than this at the write door are a crowd: more come than one small commit takes along.
const CROWD: usize = 16;
const GIVE_WAY_STEP: Duration = Duration::from_millis(2);
/// What an overloaded caller is told to wait, in seconds.
pub const RETRY_AFTER_SECS: u64 = 2;

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Too much is waiting already; nothing was done. Answer 503 with `Retry-After`.
    #[error("the database has too much waiting")]
    Overloaded,
    /// The transaction did not commit (disk full, database locked or gone); nothing was stored.
    #[error("the database did not accept the transaction: {0}")]
    Unavailable(Arc<str>),
    /// A statement failed; the closure's work was rolled back.
    #[error("a query failed: {0}")]
    Query(#[from] diesel::result::Error),
    /// The closure panicked; its work was rolled back.
    #[error("a database task panicked")]
    Panicked,
}

impl DbError {
    fn unavailable(cause: impl std::fmt::Display) -> Self {
        Self::Unavailable(Arc::from(cause.to_string()))
    }

    /// True when the cause is the database's state (locked, full, gone) and not the statement.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Overloaded | Self::Unavailable(_) => true,
            Self::Query(error) => conn::is_environment_error(error),
            Self::Panicked => false,
        }
    }
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not one we understand.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Another server holds this SQLite file.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No connection could be made.
    #[error("cannot open the database: {0}")]
    Connect(String),
    /// A migration failed; the message names it.
    #[error("migration failed: {0}")]
    Migrate(String),
}

/// How this process uses the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenAs {
    /// The server (or worker): on SQLite it holds the lock file, so there is one.
    Server,
    /// A short-lived command beside a running server.
    Beside,
}

/// A handle on the database; clones share everything but the [`Lane`].
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
    lane: Lane,
}

struct Shared {
    url: DatabaseUrl,
    readers: Pool<Manager>,
    permits: Semaphore,
    /// Fewer than `permits`: what background work may hold or wait for, so that a request never queues behind more
    /// of it than this and some connections are left to requests alone.
    background: Semaphore,
    /// Callers that have a connection of the pool or wait for one.
    waiting: AtomicUsize,
    door: Door,
    bells: Arc<Bells>,
    attached: Option<Arc<dyn Any + Send + Sync>>,
    home: Option<Arc<sqlite::Home>>,
    _lock: Option<sqlite::ServerLock>,
}

type Permits<'a> = (Option<SemaphorePermit<'a>>, SemaphorePermit<'a>);

impl Db {
    /// Opens the database, takes the server lock where needed, and runs migrations.
    ///
    /// `attached` is handed to every write transaction ([`Tx::attached`]); the job module keeps its table of
    /// followers there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        url: &str,
        open_as: OpenAs,
        attached: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Result<Self, OpenError> {
        let url = DatabaseUrl::parse(url)?;
        let lock = match (&url, open_as) {
            (DatabaseUrl::Sqlite(path), OpenAs::Server) => Some(sqlite::ServerLock::take(path)?),
            _ => None,
        };
        let connect_error = |error: diesel::r2d2::Error| OpenError::Connect(error.to_string());
        let mut first = conn::connect(&url, Role::Writer).map_err(connect_error)?;
        migrate(&mut first)?;
        let home = match &url {
            DatabaseUrl::Sqlite(path) => Some(Arc::new(
                sqlite::Home::of(path).map_err(|error| OpenError::Connect(error.to_string()))?,
            )),
            DatabaseUrl::Postgres(_) => None,
        };

        let readers = if url.is_sqlite() {
            SQLITE_READERS
        } else {
            POSTGRES_POOL
        };
        let role = if url.is_sqlite() {
            Role::Reader
        } else {
            Role::Writer
        };
        let pool = Pool::builder()
            .max_size(readers)
            // On PostgreSQL none ahead of need: a thread that connects while a command ends would meet an OpenSSL that
            // is being taken down, and the process would end by a signal.
            .min_idle(Some(u32::from(url.is_sqlite())))
            .test_on_check_out(!url.is_sqlite())
            .connection_timeout(CHECKOUT_WAIT)
            .build(Manager::new(url.clone(), role, home.clone()))
            .map_err(|error| OpenError::Connect(error.to_string()))?;
        let bells = Arc::new(Bells::default());
        let mode = if url.is_sqlite() {
            Mode::SavepointEach
        } else {
            Mode::AllOrAgain
        };
        let door = Door::start(
            url.clone(),
            first,
            mode,
            Arc::clone(&bells),
            attached.clone(),
            home.clone(),
        );
        Ok(Self {
            shared: Arc::new(Shared {
                url,
                readers: pool,
                permits: Semaphore::new(readers as usize),
                background: Semaphore::new(readers as usize * 3 / 4),
                waiting: AtomicUsize::new(0),
                door,
                bells,
                attached,
                home,
                _lock: lock,
            }),
            lane: Lane::Inbound,
        })
    }

    /// The same database for background work: its writes wait behind those of requests, and it leaves some
    /// connections of the pool to them.
    #[must_use]
    pub fn for_jobs(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            lane: Lane::Jobs,
        }
    }

    /// Who waits for the writes of this handle.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// Which database this is.
    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        &self.shared.url
    }

    /// Rung after a commit that made new work. A hint: polling is the guarantee.
    #[must_use]
    pub fn bells(&self) -> Arc<Bells> {
        Arc::clone(&self.shared.bells)
    }

    /// Waits while a crowd of requests is at the write door, but not longer than `at_most`. Background work that
    /// begins meanwhile would take the processor from them; it keeps a share, because the wait has an end.
    pub async fn give_way(&self, at_most: Duration) {
        let until = tokio::time::Instant::now() + at_most;
        while self.shared.door.waiting_requests() > CROWD && tokio::time::Instant::now() < until {
            tokio::time::sleep(GIVE_WAY_STEP).await;
        }
    }

    /// Whether the database answers, and on SQLite whether its file is still the one that was opened.
    ///
    /// # Errors
    /// [`DbError`] when it does not.
    pub async fn check(&self) -> Result<(), DbError> {
        if let Some(home) = &self.shared.home {
            home.check()?;
        }
        self.read(|conn| Ok(diesel::sql_query("SELECT 1").execute(conn).map(drop)?))
            .await
    }

    /// Write closures waiting at the batching door now.
    #[must_use]
    pub fn queued_writes(&self) -> usize {
        self.shared.door.queued()
    }

    /// Runs `f` on a connection for reading. The closure must not write; on SQLite it cannot.
    ///
    /// # Errors
    /// [`DbError`] when no connection is free in time, or whatever `f` returns.
    pub async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.on_pool(f).await
    }

    /// Runs `f` in a write transaction and answers after COMMIT.
    ///
    /// # Errors
    /// Whatever `f` returns (its work is then rolled back), or [`DbError`].
    pub async fn write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        if self.shared.url.is_sqlite() {
            return self.write_batched(f).await;
        }
        let attached = self.shared.attached.clone();
        let mut f = f;
        let (value, wake) = self
            .on_pool(move |conn| tx::in_own_transaction(conn, attached.as_deref(), &mut f))
            .await?;
        self.shared.bells.ring(wake);
        Ok(value)
    }

    /// Like [`Db::write`], but on PostgreSQL too many closures share one commit. For the hot inbound paths.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub async fn write_batched<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.shared.door.submit(self.lane, f).await
    }

    /// Copies a SQLite database to `target` while the server runs (`VACUUM INTO`).
    ///
    /// # Errors
    /// [`DbError::Unavailable`] on PostgreSQL (use `pg_dump`) or when the copy fails.
    pub async fn backup(&self, target: PathBuf) -> Result<(), DbError> {
        if !self.shared.url.is_sqlite() {
            return Err(DbError::unavailable(
                "backup is for SQLite; use pg_dump for PostgreSQL",
            ));
        }
        let url = self.shared.url.clone();
        tokio::task::spawn_blocking(move || sqlite::backup(&url, &target))
            .await
            .map_err(|_| DbError::Panicked)?
    }

    async fn on_pool<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let _waiting = Waiting::begin(&self.shared.waiting);
        if self.shared.waiting.load(Ordering::Relaxed) > POOL_QUEUE {
            return Err(DbError::Overloaded.into());
        }
        let permits = tokio::time::timeout(CHECKOUT_WAIT, self.permits())
            .await
            .map_err(|_| DbError::Overloaded)?
            .map_err(|_| DbError::Overloaded)?;
        let pool = self.shared.readers.clone();
        let span = tracing::Span::current();
        let result = tokio::task::spawn_blocking(move || {
            let _in_span = span.enter();
            let mut conn = pool.get().map_err(DbError::unavailable)?;
            f(&mut conn)
        })
        .await;
        drop(permits);
        result.unwrap_or_else(|_| Err(DbError::Panicked.into()))
    }

    async fn permits(&self) -> Result<Permits<'_>, AcquireError> {
        let background = match self.lane {
            Lane::Jobs => Some(self.shared.background.acquire().await?),
            Lane::Inbound => None,
        };
        Ok((background, self.shared.permits.acquire().await?))
    }
}
