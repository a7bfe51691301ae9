//! The log of calls: collected in memory, written down together.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cache::Uses;
use super::store;
use crate::app::App;
use crate::bitbucket::behind::{CallLog, CallRecord};
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;

/// Calls that wait in memory; at more the oldest are forgotten.
const MAX_WAITING: usize = 10_000;
/// So many calls, or a call so old, are written down at once.
const ENOUGH: usize = 500;
const OLD: Duration = Duration::from_secs(1);
/// Rows of one statement.
const SLICE: usize = 500;

type Entry = (OrgId, i64, CallRecord);

/// The calls of this process that are not written down yet.
#[derive(Default)]
struct Waiting(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    calls: VecDeque<Entry>,
    since: Option<Instant>,
    /// Somebody has been sent to write.
    called: bool,
    forgotten: u64,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call; true when somebody should write now and nobody was sent yet.
    fn push(&self, entry: Entry) -> bool {
        let mut queue = self.lock();
        if queue.calls.len() >= MAX_WAITING {
            queue.calls.pop_front();
            queue.forgotten += 1;
        }
        queue.calls.push_back(entry);
        let since = *queue.since.get_or_insert_with(Instant::now);
        let due = queue.calls.len() >= ENOUGH || since.elapsed() >= OLD;
        let send = due && !queue.called;
        queue.called |= send;
        send
    }

    fn is_due(&self) -> bool {
        let queue = self.lock();
        queue.since.is_some_and(|since| since.elapsed() >= OLD)
    }

    fn take(&self) -> (Vec<Entry>, u64) {
        let mut queue = self.lock();
        queue.since = None;
        queue.called = false;
        let forgotten = std::mem::take(&mut queue.forgotten);
        (queue.calls.drain(..).collect(), forgotten)
    }
}

/// The seam between the client and the log.
pub(super) struct LinkLog {
    app: App,
    org: OrgId,
    link: i64,
}

impl LinkLog {
    pub(super) fn new(app: &App, org: OrgId, link: i64) -> Self {
        Self {
            app: app.clone(),
            org,
            link,
        }
    }
}

impl CallLog for LinkLog {
    fn note(&self, record: CallRecord) {
        let due = self
            .app
            .cache::<Waiting>()
            .push((self.org, self.link, record));
        if let (true, Ok(runtime)) = (due, tokio::runtime::Handle::try_current()) {
            let app = self.app.clone();
            runtime.spawn(async move {
                if let Err(error) = flush(&app).await {
                    tracing::warn!(?error, "calls could not be written down");
                }
            });
        }
    }
}

impl fmt::Debug for LinkLog {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LinkLog({})", self.link)
    }
}

/// Writes down what waits in this process: calls, and which kept answers were used. What the database does not take
/// is lost; the log is for people who look, not for proofs.
///
/// # Errors
/// When the database fails.
pub async fn flush(app: &App) -> AppResult<()> {
    let (calls, forgotten) = app.cache::<Waiting>().take();
    let touched = app.cache::<Uses>().take_touched();
    if forgotten > 0 {
        tracing::warn!(forgotten, "more calls than could be written down");
    }
    if calls.is_empty() && touched.is_empty() {
        return Ok(());
    }
    let now = app.clock.now();
    app.db
        .write_batched(move |tx| {
            for slice in calls.chunks(SLICE) {
                store::insert_calls(tx, slice)?;
            }
            for slice in touched.chunks(SLICE) {
                store::touch_answers(tx, slice, now)?;
            }
            Ok::<_, AppError>(())
        })
        .await
}

/// Writes down what has waited long enough.
pub(super) async fn flush_old(app: &App) -> AppResult<()> {
    if app.cache::<Waiting>().is_due() {
        flush(app).await?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::bitbucket::Priority;
    use crate::kit::clock::Micros;

    fn entry(number: i64) -> Entry {
        let record = CallRecord {
            at: Micros(number),
            feature: "tests",
            priority: Priority::Sync,
            method: "GET",
            path: "/user",
            outcome: "ok",
            status: Some(200),
            millis: 1,
            request_id: None,
        };
        (OrgId(1), 1, record)
    }

    #[test]
    fn memory_is_bounded_and_one_writer_is_sent() {
        let waiting = Waiting::default();
        let mut sent = 0;
        for number in 0..=10_000 {
            sent += i32::from(waiting.push(entry(number)));
        }
        assert_eq!(sent, 1);
        let (calls, forgotten) = waiting.take();
        assert_eq!((calls.len(), forgotten), (MAX_WAITING, 1));
        assert_eq!(calls.first().unwrap().2.at, Micros(1));
        assert!(!waiting.push(entry(0)), "one call alone can wait");
        assert_eq!(waiting.take().0.len(), 1);
    }
}
