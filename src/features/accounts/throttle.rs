//! How often somebody may try a password or the one-time code.

use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::app::App;
use crate::error::{AppError, AppResult};

/// Tries per minute and key, after a burst of as many.
const PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
/// Keys remembered before forgotten ones are swept.
const SWEEP_AT: usize = 10_000;

struct Limiter(DefaultKeyedRateLimiter<String>);

impl Default for Limiter {
    fn default() -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(PER_MINUTE)))
    }
}

/// Counts one try.
///
/// # Errors
/// 429 when there were too many.
pub(super) fn check(app: &App, key: &str) -> AppResult<()> {
    let limiter = app.cache::<Limiter>();
    if limiter.0.len() > SWEEP_AT {
        limiter.0.retain_recent();
    }
    limiter
        .0
        .check_key(&key.to_owned())
        .map_err(|_| AppError::rate_limited(60))
}
