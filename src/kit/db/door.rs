//! The batching door: one thread that owns a write connection and commits many closures together.
//!
//! Durability costs one disk flush per COMMIT, whatever is in it; sharing the flush is what makes durable
//! writes fast. Closures of requests go before closures of jobs, the queue is bounded (a full one refuses at
//! once), and a caller is answered after COMMIT only.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use tokio::sync::oneshot;

use super::conn::{self, Role};
use super::sqlite::Home;
use super::tx::{FoldSet, Tx};
use super::wake::{Bells, Wake};
use super::{Conn, DatabaseUrl, DbError};

/// Waiting closures at most, per lane.
const QUEUE_LIMIT: usize = 1024;
/// Closures in one commit at most, per lane: jobs get a share even while requests keep coming.
const BATCH_INBOUND: usize = 256;
const BATCH_JOBS: usize = 64;

/// Who waits: requests go before background work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// A request is waiting for the answer.
    Inbound,
    /// A job is.
    Jobs,
}

/// What happens to a batch when one of its closures fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Each closure has a savepoint and loses that alone (SQLite: savepoints are cheap there).
    SavepointEach,
    /// The batch is rolled back and run again one by one (PostgreSQL: a savepoint is a round trip).
    AllOrAgain,
}

type Attached = Option<Arc<dyn Any + Send + Sync>>;

pub(super) struct Door {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    requests: AtomicUsize,
}

/// Counts a caller for as long as it waits, also when it goes away.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    pub(super) fn begin(requests: &'a AtomicUsize) -> Self {
        requests.fetch_add(1, Ordering::Relaxed);
        Self(requests)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct State {
    inbound: VecDeque<Box<dyn Work>>,
    jobs: VecDeque<Box<dyn Work>>,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is a queue of whole closures: a panic elsewhere cannot leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work; `None` when the door is closed and empty.
    fn next_batch(&self) -> Option<Vec<Box<dyn Work>>> {
        let mut state = self.lock();
        loop {
            let inbound = state.inbound.len().min(BATCH_INBOUND);
            let jobs = state.jobs.len().min(BATCH_JOBS);
            if inbound + jobs > 0 {
                let mut batch: Vec<_> = state.inbound.drain(..inbound).collect();
                batch.extend(state.jobs.drain(..jobs));
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            state = self
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Door {
    pub(super) fn start(
        url: DatabaseUrl,
        conn: Conn,
        mode: Mode,
        bells: Arc<Bells>,
        attached: Attached,
        home: Option<Arc<Home>>,
    ) -> Self {
        let queue = Arc::new(Queue::default());
        let mut writer = Writer {
            url,
            conn,
            mode,
            bells,
            attached,
            home,
        };
        let thread = {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name("db-writer".into())
                .spawn(move || {
                    while let Some(batch) = queue.next_batch() {
                        writer.run(batch);
                    }
                })
        };
        // Without the thread every submit is refused as overloaded; the start-up check then fails.
        if thread.is_err() {
            queue.lock().closed = true;
        }
        Self {
            queue,
            thread: thread.ok(),
        }
    }

    pub(super) fn queued(&self) -> usize {
        let state = self.queue.lock();
        state.inbound.len() + state.jobs.len()
    }

    /// Requests that wait for their commit now, in the queue or in the batch that is being written.
    pub(super) fn waiting_requests(&self) -> usize {
        self.queue.requests.load(Ordering::Relaxed)
    }

    pub(super) async fn submit<T, E, F>(&self, lane: Lane, f: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let _waiting = (lane == Lane::Inbound).then(|| Waiting::begin(&self.queue.requests));
        let (reply, answer) = oneshot::channel();
        let work = Box::new(Closure {
            f,
            result: None,
            reply,
            span: tracing::Span::current(),
        });
        {
            let mut state = self.queue.lock();
            let closed = state.closed;
            let lane = match lane {
                Lane::Inbound => &mut state.inbound,
                Lane::Jobs => &mut state.jobs,
            };
            if closed || lane.len() >= QUEUE_LIMIT {
                return Err(DbError::Overloaded.into());
            }
            lane.push_back(work);
        }
        self.queue.arrived.notify_one();
        answer
            .await
            .unwrap_or_else(|_| Err(DbError::Panicked.into()))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            // The queue is drained first: what was accepted is written.
            let _ = thread.join();
        }
    }
}

/// A closure with its result, its type erased.
trait Work: Send {
    /// Runs the closure; false when its work must be rolled back.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Replaces the result: the closure said yes, but its work had to be rolled back.
    fn spoil(&mut self, failure: DbError);
    /// Answers the caller: the closure's own result, or the failure that took its work away.
    fn finish(self: Box<Self>, outcome: Result<(), DbError>);
}

struct Closure<T, E, F> {
    f: F,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
    span: tracing::Span,
}

impl<T, E, F> Work for Closure<T, E, F>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<DbError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let _in_span = self.span.enter();
        let f = &mut self.f;
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| f(tx)))
            .unwrap_or_else(|_| Err(DbError::Panicked.into()));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn spoil(&mut self, failure: DbError) {
        self.result = Some(Err(failure.into()));
    }

    fn finish(self: Box<Self>, outcome: Result<(), DbError>) {
        let answer = match (self.result, outcome) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(failure)) => Err(failure.into()),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(DbError::Panicked.into()),
        };
        // The caller may have gone; the work is committed all the same.
        let _ = self.reply.send(answer);
    }
}

struct Writer {
    url: DatabaseUrl,
    conn: Conn,
    mode: Mode,
    bells: Arc<Bells>,
    attached: Attached,
    home: Option<Arc<Home>>,
}

/// What a batch came to that the database did not refuse.
enum Commit {
    Stored,
    /// The only closure said no: its own error is the answer.
    Nothing,
}

/// The batch could not be committed as one.
enum BatchFailure {
    /// One closure or a fold failed: run them one by one.
    Split,
    /// The database refused: nobody's work is stored.
    Refused(DbError),
}

impl Writer {
    fn run(&mut self, mut batch: Vec<Box<dyn Work>>) {
        conn::take_conflict();
        let outcome = self.commit_together(&mut batch);
        match outcome {
            Ok(Commit::Nothing) if conn::take_conflict() => self.run_each(batch),
            Ok(_) => finish_all(batch, || Ok(())),
            Err(BatchFailure::Refused(error)) => self.refuse(batch, &error),
            Err(BatchFailure::Split) => self.run_each(batch),
        }
    }

    fn run_each(&mut self, batch: Vec<Box<dyn Work>>) {
        for work in batch {
            self.run_alone(work);
        }
    }

    /// Again after a conflict with another process, as a transaction that had no company from the start.
    fn run_alone(&mut self, work: Box<dyn Work>) {
        let mut alone = vec![work];
        let mut attempt = 0;
        loop {
            attempt += 1;
            conn::take_conflict();
            let outcome = self.commit_together(&mut alone);
            let again = attempt <= conn::CONFLICT_RETRIES && conn::take_conflict();
            match outcome {
                Ok(Commit::Nothing) | Err(BatchFailure::Split) if again => {}
                Ok(_) => return finish_all(alone, || Ok(())),
                Err(BatchFailure::Split) => {
                    return finish_all(alone, || {
                        Err(DbError::unavailable("the shared counters failed"))
                    });
                }
                Err(BatchFailure::Refused(error)) => return self.refuse(alone, &error),
            }
        }
    }

    fn commit_together(&mut self, batch: &mut [Box<dyn Work>]) -> Result<Commit, BatchFailure> {
        if let Some(home) = &self.home {
            home.check().map_err(BatchFailure::Refused)?;
        }
        begin(&mut self.conn).map_err(refused)?;
        let attached = self.attached.as_deref();
        let mut folds = FoldSet::default();
        let mut wake = Wake::default();
        let alone = batch.len() == 1;
        for work in batch.iter_mut() {
            let savepoint = self.mode == Mode::SavepointEach && !alone;
            if savepoint {
                TransactionManagerOf::begin_transaction(&mut self.conn).map_err(refused)?;
            }
            let mut tx = Tx::new(&mut self.conn, attached);
            let keep = work.run(&mut tx);
            let (own_folds, own_wake) = (std::mem::take(&mut tx.folds), tx.wake);
            if keep && depth(&mut self.conn) == 1 + u32::from(savepoint) {
                if savepoint {
                    TransactionManagerOf::commit_transaction(&mut self.conn).map_err(refused)?;
                }
                folds.merge(own_folds);
                wake.add(own_wake);
                continue;
            }
            if keep {
                work.spoil(DbError::unavailable(
                    "a transaction inside the closure was left open",
                ));
            }
            if savepoint {
                roll_back_to(&mut self.conn, 1).map_err(refused)?;
            } else {
                roll_back_to(&mut self.conn, 0).map_err(refused)?;
                // Alone, its own error is the answer; in a batch the others must run again without it.
                return if alone {
                    Ok(Commit::Nothing)
                } else {
                    Err(BatchFailure::Split)
                };
            }
        }
        if let Err(error) = folds.flush(&mut self.conn) {
            tracing::warn!(error = %error, closures = batch.len(), "a commit's shared statements failed");
            roll_back_to(&mut self.conn, 0).map_err(refused)?;
            return Err(if conn::is_environment_error(&error) {
                refused(error)
            } else {
                BatchFailure::Split
            });
        }
        TransactionManagerOf::commit_transaction(&mut self.conn).map_err(refused)?;
        self.bells.ring(wake);
        Ok(Commit::Stored)
    }

    /// Tells every caller of the batch, and makes sure that the next batch finds a working connection.
    fn refuse(&mut self, batch: Vec<Box<dyn Work>>, error: &DbError) {
        tracing::error!(error = %error, closures = batch.len(), "a commit failed; its callers are told to retry");
        let text = error.to_string();
        finish_all(batch, || {
            Err(DbError::Unavailable(Arc::from(text.as_str())))
        });
        let at_home = self.home.as_ref().is_none_or(|home| home.check().is_ok());
        if (roll_back_to(&mut self.conn, 0).is_err() || !self.url.is_sqlite()) && at_home {
            match conn::connect(&self.url, Role::Writer) {
                Ok(fresh) => self.conn = fresh,
                Err(error) => tracing::error!(error = %error, "cannot reconnect to the database"),
            }
        }
    }
}

type TransactionManagerOf = <Conn as Connection>::TransactionManager;

fn refused(error: diesel::result::Error) -> BatchFailure {
    BatchFailure::Refused(DbError::unavailable(error))
}

fn finish_all(batch: Vec<Box<dyn Work>>, outcome: impl Fn() -> Result<(), DbError>) {
    for work in batch {
        work.finish(outcome());
    }
}

/// `BEGIN IMMEDIATE` on SQLite: a transaction that reads first and writes later would otherwise fail at the
/// first write when another process committed in between.
fn begin(conn: &mut Conn) -> QueryResult<()> {
    match conn {
        Conn::Sqlite(conn) => {
            AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE")
        }
        Conn::Postgresql(conn) => AnsiTransactionManager::begin_transaction(conn),
    }
}

fn depth(conn: &mut Conn) -> u32 {
    TransactionManagerOf::transaction_manager_status_mut(conn)
        .transaction_depth()
        .ok()
        .flatten()
        .map_or(0, std::num::NonZeroU32::get)
}

/// Rolls back until `target` levels are open: a closure that panicked may have left savepoints of its own.
fn roll_back_to(conn: &mut Conn, target: u32) -> QueryResult<()> {
    while depth(conn) > target {
        TransactionManagerOf::rollback_transaction(conn)?;
    }
    Ok(())
}
