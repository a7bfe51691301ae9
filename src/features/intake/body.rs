//! Reading bodies within a budget: however many clients send however slowly, the memory that their bodies take is
//! bounded. Who finds the budget used up is told to come back.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::Refusal;
use crate::sentry::decode::MAX_COMPRESSED;

/// Bytes that bodies in arrival and events in the write queue may take together, in units.
const UNITS: usize = 32 * 1024;
/// Bytes per unit.
const UNIT: usize = 1024;
/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);
/// How long a large body waits for its turn to be decoded.
const TURN: Duration = Duration::from_secs(5);

/// What all requests share.
pub(super) struct Budget {
    units: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            units: Arc::new(Semaphore::new(UNITS)),
            large: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Budget {
    /// Waits for the one place where a body may become large.
    pub(super) async fn large(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.large).acquire_owned()).await;
        turn.ok()
            .and_then(Result::ok)
            .ok_or_else(Refusal::overloaded)
    }

    fn reserve(&self) -> Reserved {
        Reserved {
            units: Arc::clone(&self.units),
            held: None,
        }
    }
}

/// A part of the budget; given back when dropped.
pub(super) struct Reserved {
    units: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Reserved {
    /// Makes the part large enough for `bytes`, or gives back what is more than that.
    pub(super) fn resize(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = bytes.div_ceil(UNIT);
        let held = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        if wanted > held {
            let more = u32::try_from(wanted - held).map_err(|_| Refusal::too_large())?;
            let more = Arc::clone(&self.units)
                .try_acquire_many_owned(more)
                .map_err(|_| Refusal::overloaded())?;
            match &mut self.held {
                Some(held) => held.merge(more),
                None => self.held = Some(more),
            }
        } else if let Some(permit) = &mut self.held {
            drop(permit.split(held - wanted));
        }
        Ok(())
    }
}

/// Reads a body of at most [`MAX_COMPRESSED`] bytes. A length over the limit is refused before anything is read.
pub(super) async fn read(
    budget: &Budget,
    payload: Payload,
    announced: Option<usize>,
) -> Result<(Bytes, Reserved), Refusal> {
    if announced.is_some_and(|length| length > MAX_COMPRESSED) {
        return Err(Refusal::too_large());
    }
    let mut reserved = budget.reserve();
    reserved.resize(announced.unwrap_or(UNIT))?;
    let bytes = tokio::time::timeout(
        ARRIVAL,
        collect(payload, announced.unwrap_or(0), &mut reserved),
    );
    let bytes = bytes.await.map_err(|_| Refusal::incomplete())??;
    Ok((bytes, reserved))
}

async fn collect(
    mut payload: Payload,
    announced: usize,
    reserved: &mut Reserved,
) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0_usize;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::incomplete())?;
        length = length.saturating_add(chunk.len());
        if length > MAX_COMPRESSED {
            return Err(Refusal::too_large());
        }
        if length > announced {
            reserved.resize(length)?;
        }
        if first.is_empty() {
            // Most bodies are one chunk: keep it without copying.
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.reserve(announced.max(length));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let budget = Budget::default();
        let mut one = budget.reserve();
        one.resize(20 * 1024 * 1024).unwrap();
        let mut other = budget.reserve();
        assert!(other.resize(20 * 1024 * 1024).is_err(), "both do not fit");
        other.resize(1).unwrap();
        one.resize(3_000).unwrap();
        assert_eq!(budget.units.available_permits(), UNITS - 3 - 1);
        other.resize(20 * 1024 * 1024).unwrap();
        drop((one, other));
        assert_eq!(budget.units.available_permits(), UNITS);
    }
}
