//! What a write closure is given.

use std::any::{Any, TypeId, type_name};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Deref, DerefMut};

use diesel::prelude::*;

use super::conn::{CONFLICT_RETRIES, take_conflict};
use super::wake::Wake;
use super::{Conn, DbError};

/// Work that many closures of one commit share: each adds its part, and one flush per commit writes the sum
/// (a counter is then one statement per group and commit, not per event).
pub trait Fold: Default + Send + 'static {
    /// Takes in what a closure that succeeded has added.
    fn merge(&mut self, other: Self);
    /// Writes the sum, inside the transaction, just before COMMIT.
    ///
    /// # Errors
    /// A failing statement fails the whole commit.
    fn flush(self, conn: &mut Conn) -> QueryResult<()>;
}

trait AnyFold: Send {
    fn merge_any(&mut self, other: Box<dyn AnyFold>);
    fn flush_any(self: Box<Self>, conn: &mut Conn) -> QueryResult<()>;
    fn as_any(&mut self) -> &mut dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<F: Fold> AnyFold for F {
    fn merge_any(&mut self, other: Box<dyn AnyFold>) {
        if let Ok(other) = other.into_any().downcast::<F>() {
            self.merge(*other);
        }
    }
    fn flush_any(self: Box<Self>, conn: &mut Conn) -> QueryResult<()> {
        (*self).flush(conn)
    }
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The folds of one closure, or of one commit. Ordered, so that all processes write them in the same order and do not
/// wait for each other crosswise.
#[derive(Default)]
pub(super) struct FoldSet(BTreeMap<(&'static str, TypeId), Box<dyn AnyFold>>);

impl FoldSet {
    pub(super) fn merge(&mut self, other: FoldSet) {
        for (key, fold) in other.0 {
            match self.0.entry(key) {
                Entry::Occupied(mut entry) => entry.get_mut().merge_any(fold),
                Entry::Vacant(entry) => {
                    entry.insert(fold);
                }
            }
        }
    }

    pub(super) fn flush(&mut self, conn: &mut Conn) -> QueryResult<()> {
        for (_, fold) in std::mem::take(&mut self.0) {
            fold.flush_any(conn)?;
        }
        Ok(())
    }
}

/// A write transaction. Only code that holds one can enqueue a job, so a side effect exists exactly when the
/// data does.
pub struct Tx<'a> {
    conn: &'a mut Conn,
    attached: Option<&'a (dyn Any + Send + Sync)>,
    pub(super) folds: FoldSet,
    pub(super) wake: Wake,
}

impl<'a> Tx<'a> {
    pub(super) fn new(conn: &'a mut Conn, attached: Option<&'a (dyn Any + Send + Sync)>) -> Self {
        Self {
            conn,
            attached,
            folds: FoldSet::default(),
            wake: Wake::default(),
        }
    }

    /// The connection, for diesel calls (which are generic and do not dereference by themselves).
    pub fn conn(&mut self) -> &mut Conn {
        self.conn
    }

    /// Adds to work that is written once per commit.
    pub fn fold<F: Fold>(&mut self, add: impl FnOnce(&mut F)) {
        let entry = self
            .folds
            .0
            .entry((type_name::<F>(), TypeId::of::<F>()))
            .or_insert_with(|| Box::new(F::default()));
        // The key is the type, so the downcast always succeeds.
        if let Some(fold) = entry.as_any().downcast_mut::<F>() {
            add(fold);
        }
    }

    /// Says that this commit makes work for the job runner.
    pub fn wake_workers(&mut self) {
        self.wake.jobs = true;
    }

    /// Says that this commit makes work for a drain.
    pub fn wake_drains(&mut self) {
        self.wake.drains = true;
    }

    /// What was attached when the database was opened.
    #[must_use]
    pub fn attached<T: Any>(&self) -> Option<&'a T> {
        self.attached
            .and_then(|attached| attached.downcast_ref::<T>())
    }

    /// Takes a transaction-long lock on a rule that spans rows. On SQLite the write lock is held already.
    ///
    /// # Errors
    /// When the database refuses, for example after `lock_timeout`.
    pub fn lock_key(&mut self, key: &str) -> QueryResult<()> {
        if let Conn::Postgresql(conn) = self.conn {
            diesel::sql_query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
                .bind::<diesel::sql_types::Text, _>(key)
                .execute(conn)?;
        }
        Ok(())
    }
}

impl Deref for Tx<'_> {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        self.conn
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn
    }
}

/// Runs `f` in a transaction of its own (PostgreSQL), again after a deadlock or a serialization failure. Answers the
/// value and whom to wake.
pub(super) fn in_own_transaction<T, E, F>(
    conn: &mut Conn,
    attached: Option<&(dyn Any + Send + Sync)>,
    f: &mut F,
) -> Result<(T, Wake), E>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E>,
    E: From<DbError>,
{
    enum Failed<E> {
        Closure(E),
        Database(diesel::result::Error),
    }
    impl<E> From<diesel::result::Error> for Failed<E> {
        fn from(error: diesel::result::Error) -> Self {
            Self::Database(error)
        }
    }
    let mut attempt = 0;
    loop {
        attempt += 1;
        take_conflict();
        let outcome = conn.transaction(|conn| {
            let mut tx = Tx::new(conn, attached);
            let value = f(&mut tx).map_err(Failed::Closure)?;
            let wake = tx.wake;
            let mut folds = std::mem::take(&mut tx.folds);
            folds.flush(conn)?;
            Ok((value, wake))
        });
        let again = attempt <= CONFLICT_RETRIES && take_conflict();
        match outcome {
            Ok(done) => return Ok(done),
            Err(_) if again => {}
            Err(Failed::Closure(error)) => return Err(error),
            Err(Failed::Database(error)) => return Err(DbError::unavailable(error).into()),
        }
    }
}
