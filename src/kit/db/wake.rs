//! Who is told of a commit that made work. A hint that saves waiting for the next look: the rows are the truth.

use tokio::sync::Notify;

/// What a write transaction made work for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wake {
    /// Jobs were enqueued or became due.
    pub(super) jobs: bool,
    /// Rows came in that a drain works off. Apart from jobs, because on a busy door that is every commit.
    pub(super) drains: bool,
}

impl Wake {
    pub(super) fn add(&mut self, other: Self) {
        self.jobs |= other.jobs;
        self.drains |= other.drains;
    }
}

/// The bells that a commit rings.
#[derive(Debug, Default)]
pub struct Bells {
    /// Rung after a commit that made jobs.
    pub jobs: Notify,
    /// Rung after a commit that made work for a drain.
    pub drains: Notify,
}

impl Bells {
    pub(super) fn ring(&self, wake: Wake) {
        if wake.jobs {
            self.jobs.notify_waiters();
        }
        if wake.drains {
            self.drains.notify_waiters();
        }
    }
}
