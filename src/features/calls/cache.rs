//! The kept answers of one connection.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::jobs::Upkeep;
use super::store::{self, AnswerRow, NewAnswer};
use crate::app::App;
use crate::bitbucket::behind::{AnswerCache, AnswerKey, KeptAnswer};
use crate::error::AppError;
use crate::features::accounts::OrgId;
use crate::kit::jobs::enqueue;
use crate::kit::pack::{pack, unpack};

/// Longest answer that is kept, and the part of all room that one may take.
const MAX_BODY: usize = 4 * 1024 * 1024;
const PART: u64 = 20;
/// What a row takes beside its body, about.
const ROW: usize = 200;
/// A use is written down once in so long: often enough to tell what is used from what is not.
const TOUCH_EVERY: Duration = Duration::from_secs(3_600);
/// Uses that wait to be written down; more are forgotten.
const MAX_TOUCHED: usize = 10_000;

/// What this process has used and stored since it was written down last.
#[derive(Default)]
pub(super) struct Uses(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    touched: HashSet<i64>,
    stored: u64,
}

impl Uses {
    fn touch(&self, id: i64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.touched.len() < MAX_TOUCHED {
            counts.touched.insert(id);
        }
    }

    pub(super) fn take_touched(&self) -> Vec<i64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.touched.drain().collect()
    }

    /// True once for every `step` bytes stored.
    fn stored(&self, bytes: u64, step: u64) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.stored = counts.stored.saturating_add(bytes);
        let full = counts.stored >= step;
        if full {
            counts.stored = 0;
        }
        full
    }
}

/// The seam between the client and the table.
pub(super) struct LinkCache {
    app: App,
    org: OrgId,
    link: i64,
}

impl LinkCache {
    pub(super) fn new(app: &App, org: OrgId, link: i64) -> Self {
        Self {
            app: app.clone(),
            org,
            link,
        }
    }

    async fn look_up(&self, key: AnswerKey) -> Option<KeptAnswer> {
        let (org, link) = (self.org, self.link);
        let read = self
            .app
            .db
            .read(move |conn| Ok::<_, AppError>(store::find_answer(conn, org, link, key)?));
        let row: AnswerRow = read
            .await
            .inspect_err(|error| tracing::warn!(?error, "a kept answer could not be read"))
            .ok()??;
        if self.app.clock.now().since(row.used_at) > TOUCH_EVERY {
            self.app.cache::<Uses>().touch(row.id);
        }
        Some(KeptAnswer {
            body: unpack(&row.body, MAX_BODY)?.into_owned(),
            etag: row.etag,
            modified: row.modified,
            immutable: row.immutable,
        })
    }

    async fn store(&self, key: AnswerKey, answer: KeptAnswer) -> Result<(), AppError> {
        let room = self.app.config.bitbucket_cache;
        let body = pack(&answer.body);
        let size = (body.len() + ROW) as u64;
        if answer.body.len() > MAX_BODY || size > room / PART {
            return Ok(());
        }
        // Between two rounds of upkeep no process may store much more than there is room for.
        let is_full = self.app.cache::<Uses>().stored(size, room / PART);
        let (org, link, now) = (self.org, self.link, self.app.clock.now());
        let row = NewAnswer {
            key,
            body,
            size: i64::try_from(size).unwrap_or(i64::MAX),
            etag: answer.etag,
            modified: answer.modified,
            immutable: answer.immutable,
        };
        self.app
            .db
            .write(move |tx| {
                store::keep_answer(tx, org, link, &row, now)?;
                if is_full {
                    enqueue(tx, &Upkeep::default(), now)?;
                }
                Ok(())
            })
            .await
    }
}

impl AnswerCache for LinkCache {
    fn find(&self, key: AnswerKey) -> BoxFuture<'_, Option<KeptAnswer>> {
        Box::pin(self.look_up(key))
    }

    fn keep(&self, key: AnswerKey, answer: KeptAnswer) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.store(key, answer).await {
                tracing::warn!(?error, "an answer could not be kept");
            }
        })
    }
}

impl fmt::Debug for LinkCache {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LinkCache({})", self.link)
    }
}
