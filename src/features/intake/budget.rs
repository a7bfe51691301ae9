//! The memory that bodies may take together. However many clients send however slowly and whatever their bodies
//! become, what is held of them is bounded: each takes its part before it grows, waits a moment when nothing is
//! left, and is then told to come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::Refusal;
use crate::sentry::decode::MAX_COMPRESSED;
use crate::sentry::event::MAX_EVENT;

/// Bytes that bodies in arrival and events in the write queue may take together, in units.
const UNITS: usize = 24 * 1024;
/// Bytes per unit.
const UNIT: usize = 1024;
/// How long a body waits, in all, for others to give back and for its turns. An SDK that is refused drops what it has
/// and stays silent for a while, so a moment of waiting is kinder.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// Bodies that wait at once; the server's buffers of those who wait are full.
const WAITING: usize = 32;

// The most that is held of one body fits: no body is refused for ever.
const _: () = assert!(MAX_COMPRESSED + 4 * MAX_EVENT < UNITS * UNIT);

/// What all requests share.
pub(super) struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    units: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                units: Arc::new(Semaphore::new(UNITS)),
                turn: Arc::new(Semaphore::new(1)),
                waiting: Semaphore::new(WAITING),
            }),
        }
    }
}

impl Budget {
    pub(super) fn reserve(&self) -> Reserved {
        Reserved {
            shared: Arc::clone(&self.shared),
            held: None,
            patience: PATIENCE,
        }
    }
}

impl Shared {
    /// Waits as long as there is patience, unless too many wait already.
    async fn wait(
        &self,
        semaphore: &Arc<Semaphore>,
        count: u32,
        patience: &mut Duration,
    ) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(permit) = Arc::clone(semaphore).try_acquire_many_owned(count) {
            return Ok(permit);
        }
        let _waiting = self
            .waiting
            .try_acquire()
            .map_err(|_| Refusal::overloaded())?;
        let wait = Arc::clone(semaphore).acquire_many_owned(count);
        let since = Instant::now();
        let permit = tokio::time::timeout(*patience, wait).await;
        *patience = patience.saturating_sub(since.elapsed());
        permit
            .ok()
            .and_then(Result::ok)
            .ok_or_else(Refusal::overloaded)
    }
}

/// A part of the budget; given back when dropped.
pub(super) struct Reserved {
    shared: Arc<Shared>,
    held: Option<OwnedSemaphorePermit>,
    /// How long its body may still wait.
    patience: Duration,
}

impl Reserved {
    /// Waits for the one place where work may take megabytes beside the budget (a decoder's window, the parts of a
    /// large event) or long.
    pub(super) async fn turn(&mut self) -> Result<OwnedSemaphorePermit, Refusal> {
        let turn = &self.shared.turn;
        self.shared.wait(turn, 1, &mut self.patience).await
    }

    /// Makes the part large enough for `bytes`, or gives back what is more than that; false, and nothing changed,
    /// when there is not enough now.
    pub(super) fn try_resize(&mut self, bytes: usize) -> bool {
        let missing = self.missing(bytes);
        if missing > 0 {
            let more = Arc::clone(&self.shared.units).try_acquire_many_owned(missing);
            return more.map(|more| self.add(more)).is_ok();
        }
        let wanted = bytes.div_ceil(UNIT);
        if let Some(permit) = &mut self.held {
            drop(permit.split(permit.num_permits() - wanted));
        }
        true
    }

    /// The same, but waits for others to give back.
    pub(super) async fn resize(&mut self, bytes: usize) -> Result<(), Refusal> {
        if !self.try_resize(bytes) {
            let missing = self.missing(bytes);
            let (shared, patience) = (&self.shared, &mut self.patience);
            let more = shared.wait(&shared.units, missing, patience).await?;
            self.add(more);
        }
        Ok(())
    }

    fn missing(&self, bytes: usize) -> u32 {
        let held = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(UNIT).saturating_sub(held);
        u32::try_from(missing).unwrap_or(u32::MAX)
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LARGE: usize = 20 * 1000 * 1000;

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let budget = Budget::default();
        let mut one = budget.reserve();
        assert!(one.try_resize(0) && one.try_resize(LARGE));
        let mut other = budget.reserve();
        assert!(!other.try_resize(LARGE), "both do not fit");
        assert!(other.try_resize(1) && one.try_resize(3_000));
        assert_eq!(budget.shared.units.available_permits(), UNITS - 3 - 1);
        assert!(other.try_resize(LARGE));
        drop((one, other));
        assert_eq!(budget.shared.units.available_permits(), UNITS);
    }

    #[tokio::test]
    async fn who_waits_gets_what_others_give_back_or_is_refused() {
        let budget = Budget::default();
        let (mut one, mut other) = (budget.reserve(), budget.reserve());
        one.resize(LARGE).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert!(other.resize(LARGE).await.is_err());
        assert!(begun.elapsed() >= PATIENCE);
        assert!(other.resize(LARGE).await.is_err());
        assert!(begun.elapsed() < 2 * PATIENCE, "its patience is at an end");
        other = budget.reserve();
        let give_back = async {
            tokio::time::sleep(PATIENCE / 4).await;
            drop(one);
        };
        let (given, ()) = tokio::join!(other.resize(LARGE), give_back);
        given.unwrap();
        let turn = other.turn().await.unwrap();
        assert!(budget.reserve().turn().await.is_err());
        drop(turn);
        assert!(budget.reserve().turn().await.is_ok());
    }
}
