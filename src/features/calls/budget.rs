//! The budget of one credential, as this process sees it.
//!
//! A process takes slices from the database and spends them call by call. It looks at most once a second whether
//! somebody was told to wait; so a pause that one process meets holds for all of them a second later at the latest.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::BudgetKey;
use super::slots::{ceiling, first_counted, grant, next_size, slot_of};
use super::store::{self, BudgetRow};
use crate::app::App;
use crate::bitbucket::behind::{Heard, RateBudget, Refusal};
use crate::bitbucket::{Group, Priority};
use crate::error::AppError;
use crate::kit::clock::Micros;
use crate::kit::db::Tx;
use crate::kit::http::retry::{self, Outcome};

/// How long this process believes what it knows of pauses.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long little is believed to be left, and when that is written down again.
const NEAR: Duration = Duration::from_secs(600);
const NEAR_AGAIN: Duration = Duration::from_secs(300);
/// Credentials that one process remembers; at more it begins again.
const MAX_PURSES: usize = 10_000;
/// After so long without one the first pause is short again.
const FORGIVEN: Duration = Duration::from_secs(3_600);

const TOLD: &str =
    "Bitbucket told this connection to wait: too many calls were made in the last hour";
const NEAR_END: &str =
    "less than a fifth of this connection's hourly calls is left; it is kept for people";
const SPENT: &str = "the hourly calls of this connection are spent";

/// The slices of this process, by credential.
#[derive(Default)]
struct Purses(Mutex<HashMap<BudgetKey, Arc<tokio::sync::Mutex<Purse>>>>);

impl Purses {
    fn of(&self, key: &BudgetKey) -> Arc<tokio::sync::Mutex<Purse>> {
        let mut purses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if purses.len() >= MAX_PURSES {
            purses.clear();
        }
        Arc::clone(purses.entry(key.clone()).or_default())
    }
}

#[derive(Default)]
struct Purse {
    looked_at: Option<Micros>,
    paused_until: Micros,
    limits: HashMap<Group, i64>,
    near_until: HashMap<Group, Micros>,
    slices: HashMap<(Group, Priority), Slice>,
}

#[derive(Clone, Copy)]
struct Slice {
    slot: i64,
    size: i64,
    left: i64,
}

impl Purse {
    fn learn(&mut self, rows: &[BudgetRow], now: Micros) {
        self.looked_at = Some(now);
        self.paused_until = rows
            .iter()
            .map(|row| row.paused_until)
            .max()
            .unwrap_or_default();
        for row in rows {
            if let Some(group) = group_of(&row.call_group) {
                self.limits.insert(group, row.hourly_limit);
                self.near_until.insert(group, row.near_until);
            }
        }
    }

    fn is_fresh(&self, now: Micros) -> bool {
        self.looked_at
            .is_some_and(|looked| now.since(looked) < LOOK_EVERY)
    }

    fn refusal(&self, group: Group, priority: Priority, now: Micros) -> Option<Refusal> {
        let wait = |until: Micros, reason| Refusal::Wait {
            after: until.since(now).max(Duration::from_millis(1)),
            reason,
        };
        if self.paused_until > now {
            return Some(wait(self.paused_until, TOLD));
        }
        let near = self.near_until.get(&group).copied().unwrap_or_default();
        (priority != Priority::Interactive && near > now).then(|| wait(near, NEAR_END))
    }

    fn limit(&self, group: Group) -> i64 {
        self.limits
            .get(&group)
            .copied()
            .unwrap_or_else(|| usual(group))
    }

    /// Takes one call of a slice that is still good.
    fn spend(&mut self, group: Group, priority: Priority, slot: i64) -> bool {
        match self.slices.get_mut(&(group, priority)) {
            Some(slice) if slice.slot == slot && slice.left > 0 => {
                slice.left -= 1;
                true
            }
            _ => false,
        }
    }
}

fn usual(group: Group) -> i64 {
    i64::try_from(group.usual_limit()).unwrap_or(i64::MAX)
}

fn group_of(word: &str) -> Option<Group> {
    Group::ALL.into_iter().find(|group| group.as_str() == word)
}

/// What a look into the database came to.
enum Taken {
    Granted(i64),
    Spent(Duration),
    /// Somebody was told to wait meanwhile.
    Paused,
}

/// A slice to ask for.
#[derive(Clone)]
struct Ask {
    key: BudgetKey,
    group: Group,
    priority: Priority,
    want: i64,
    /// What an ended slice left over: its slot and calls.
    left_over: Option<(i64, i64)>,
    now: Micros,
}

/// The seam between the client and the budget.
pub(super) struct LinkBudget {
    app: App,
    key: BudgetKey,
}

impl LinkBudget {
    pub(super) fn new(app: &App, key: BudgetKey) -> Self {
        Self {
            app: app.clone(),
            key,
        }
    }

    fn purse(&self) -> Arc<tokio::sync::Mutex<Purse>> {
        self.app.cache::<Purses>().of(&self.key)
    }

    async fn take_one(&self, group: Group, priority: Priority) -> Result<(), Refusal> {
        let purse = self.purse();
        // One look at a time: who waits here finds the slice that the first one brought.
        let mut purse = purse.lock().await;
        let now = self.app.clock.now();
        if !purse.is_fresh(now) {
            let rows = self.rows().await?;
            purse.learn(&rows, now);
        }
        if let Some(refusal) = purse.refusal(group, priority, now) {
            return Err(refusal);
        }
        let slot = slot_of(now);
        if !self.key.counted || purse.spend(group, priority, slot) {
            return Ok(());
        }
        let before = purse.slices.get(&(group, priority)).copied();
        let same_slot = before.is_some_and(|slice| slice.slot == slot);
        let ask = Ask {
            key: self.key.clone(),
            group,
            priority,
            want: next_size(
                before.map(|slice| slice.size),
                same_slot,
                purse.limit(group),
            ),
            left_over: before
                .filter(|slice| slice.left > 0)
                .map(|slice| (slice.slot, slice.left)),
            now,
        };
        let write = self.app.db.write(move |tx| take_slice(tx, &ask));
        let (taken, rows) = write.await.map_err(|error| {
            tracing::warn!(?error, "the budget of a connection could not be claimed");
            Refusal::Unavailable
        })?;
        purse.learn(&rows, now);
        purse.slices.remove(&(group, priority));
        match taken {
            Taken::Granted(size) => {
                let slice = Slice {
                    slot,
                    size,
                    left: size - 1,
                };
                purse.slices.insert((group, priority), slice);
                Ok(())
            }
            Taken::Spent(after) => Err(Refusal::Wait {
                after,
                reason: SPENT,
            }),
            Taken::Paused => Err(purse
                .refusal(group, priority, now)
                .unwrap_or(Refusal::Unavailable)),
        }
    }

    async fn rows(&self) -> Result<Vec<BudgetRow>, Refusal> {
        let key = self.key.clone();
        let read = self
            .app
            .db
            .read(move |conn| Ok::<_, AppError>(store::budget_rows(conn, &key)?));
        read.await.map_err(|error| {
            tracing::warn!(?error, "the budget of a connection could not be read");
            Refusal::Unavailable
        })
    }

    async fn take_note(&self, group: Group, heard: Heard) -> Result<(), AppError> {
        let purse = self.purse();
        let mut purse = purse.lock().await;
        let (key, now) = (self.key.clone(), self.app.clock.now());
        if let Some(asked) = heard.refused
            && (purse.paused_until <= now || asked.is_some())
        {
            let key = key.clone();
            let until = self
                .app
                .db
                .write(move |tx| pause(tx, &key, asked, now))
                .await?;
            purse.paused_until = purse.paused_until.max(until);
        }
        let Some(budget) = heard.budget.filter(|_| self.key.counted) else {
            return Ok(());
        };
        let limit = i64::try_from(budget.limit).unwrap_or(i64::MAX);
        let known = purse.near_until.get(&group).copied().unwrap_or_default();
        let near = (budget.near && known < now.plus(NEAR_AGAIN)).then(|| now.plus(NEAR));
        if purse.limit(group) == limit && near.is_none() {
            return Ok(());
        }
        self.app
            .db
            .write(move |tx| {
                store::open_budget(tx, &key, now)?;
                store::set_limit(tx, &key, group, limit, near, now)?;
                Ok::<_, AppError>(())
            })
            .await?;
        purse.limits.insert(group, limit);
        if let Some(until) = near {
            purse.near_until.insert(group, until);
        }
        Ok(())
    }
}

/// One slice in one transaction: what is left over goes back, and the sum of the hour decides.
fn take_slice(tx: &mut Tx<'_>, ask: &Ask) -> Result<(Taken, Vec<BudgetRow>), AppError> {
    lock(tx, &ask.key)?;
    store::open_budget(tx, &ask.key, ask.now)?;
    if let Some((slot, calls)) = ask.left_over {
        store::give_back(tx, &ask.key, ask.group, slot, calls)?;
    }
    let rows = store::budget_rows(tx, &ask.key)?;
    if rows.iter().any(|row| row.paused_until > ask.now) {
        return Ok((Taken::Paused, rows));
    }
    let limit = rows
        .iter()
        .find(|row| row.call_group == ask.group.as_str())
        .map_or_else(|| usual(ask.group), |row| row.hourly_limit);
    let slot = slot_of(ask.now);
    let used = store::used_slots(tx, &ask.key, ask.group, first_counted(slot))?;
    let taken = match grant(&used, ceiling(limit, ask.priority), ask.want, ask.now) {
        Ok(calls) => {
            store::hand_out(tx, &ask.key, ask.group, slot, calls)?;
            Taken::Granted(calls)
        }
        Err(after) => Taken::Spent(after),
    };
    Ok((taken, rows))
}

/// Stops everybody who uses the credential: for as long as Bitbucket asked, else longer each time (bitbucket.md §4.5).
fn pause(
    tx: &mut Tx<'_>,
    key: &BudgetKey,
    asked: Option<Duration>,
    now: Micros,
) -> Result<Micros, AppError> {
    lock(tx, key)?;
    store::open_budget(tx, key, now)?;
    let rows = store::budget_rows(tx, key)?;
    let until = rows.iter().map(|row| row.paused_until).max();
    let until = until.unwrap_or_default();
    let strikes = rows.iter().map(|row| row.strikes).max().unwrap_or_default();
    // Calls that were under way together are refused together: that is one strike.
    let strikes = match (until > now, now.since(until) < FORGIVEN) {
        (true, _) => strikes,
        (false, true) => strikes.saturating_add(1),
        (false, false) => 1,
    };
    if until > now && asked.is_none() {
        return Ok(until);
    }
    let attempt = u32::try_from(strikes).unwrap_or(1);
    let until = match retry::for_work(Outcome::Status(429), attempt, asked) {
        retry::Verdict::Retry(wait) => until.max(now.plus(wait)),
        retry::Verdict::Never | retry::Verdict::GoneForever => until,
    };
    store::set_pause(tx, key, until, strikes, now)?;
    Ok(until)
}

fn lock(tx: &mut Tx<'_>, key: &BudgetKey) -> Result<(), AppError> {
    Ok(tx.lock_key(&format!("calls.budget:{}", key.as_str()))?)
}

impl RateBudget for LinkBudget {
    fn claim(&self, group: Group, priority: Priority) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(self.take_one(group, priority))
    }

    fn heard(&self, group: Group, heard: Heard) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.take_note(group, heard).await {
                tracing::warn!(
                    ?error,
                    "what Bitbucket said of a budget was not written down"
                );
            }
        })
    }
}

impl fmt::Debug for LinkBudget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LinkBudget({})", self.key.as_str())
    }
}
