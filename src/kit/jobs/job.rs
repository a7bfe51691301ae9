//! What a job is.

use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kit::ids::text_enum;

text_enum! {
    /// Separate slots, so that a backfill cannot starve a click.
    Queue {
        /// Somebody waits for it in front of a screen.
        Interactive = "interactive",
        /// Keeps the two sides in step.
        Sync = "sync",
        /// Large and patient.
        Backfill = "backfill",
    }
}

text_enum! {
    /// Where a job stands.
    JobState {
        /// Waiting for its time and a slot.
        Ready = "ready",
        /// Claimed, under a lease.
        Running = "running",
        /// Ended well, or dropped for a stated reason.
        Done = "done",
        /// Gave up; kept until somebody redrives or drops it.
        Dead = "dead",
    }
}

/// How a run ended. An `Err` from [`Job::run`] is a [`Verdict::Retry`] by the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The work is done.
    Done,
    /// Try again, not before `after` and not before the schedule says; dead after the last attempt.
    Retry {
        /// What the other side asked for, if it did.
        after: Option<Duration>,
        /// What happened; no secrets.
        reason: String,
    },
    /// Not yet: something that is shared is used up. Again after this time; it does not count as an attempt.
    Postpone {
        /// From now.
        after: Duration,
        /// What it waits for; no secrets.
        reason: String,
    },
    /// There is nothing to do any more, and that is fine.
    Drop(String),
    /// It will never work; keep it for a person.
    Dead(String),
}

/// Which run this is.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// From 1.
    pub number: i32,
    /// True when a failure now makes the job dead.
    pub last: bool,
}

/// A kind of background work. The value itself is the payload, stored as JSON: ids, not data.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What a run needs from the application.
    type State: Clone + Send + Sync + 'static;
    /// Unique name, `feature.verb`; stored, so never renamed.
    const KIND: &'static str;
    /// Whose slots it takes.
    const QUEUE: Queue = Queue::Sync;
    /// Runs before it is dead.
    const MAX_ATTEMPTS: i32 = 12;

    /// Two jobs of one kind and key never wait together and never run together.
    fn dedupe_key(&self) -> Option<String> {
        None
    }

    /// Jobs of one order key, whatever their kind, never run together.
    fn order_key(&self) -> Option<String> {
        None
    }

    /// The tenant it works for, for lists and for cancelling.
    fn org_id(&self) -> Option<i64> {
        None
    }

    /// Does the work. No connection is held; it may be run twice.
    fn run(
        self,
        state: Self::State,
        attempt: Attempt,
    ) -> impl Future<Output = anyhow::Result<Verdict>> + Send;
}
