//! How often somebody may try a password or the one-time code.

use std::num::NonZeroU32;

use actix_web::HttpRequest;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::kit::web::client;

/// Tries per minute of one client at one thing, after a burst of as many.
const OF_CLIENT: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
/// Tries per minute at one account, from everywhere. Well above those of one client, so that nobody keeps a person out
/// from one place.
const OF_ACCOUNT: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
/// Keys remembered before forgotten ones are swept.
const SWEEP_AT: usize = 10_000;

struct Limiters {
    of_client: DefaultKeyedRateLimiter<String>,
    of_account: DefaultKeyedRateLimiter<String>,
}

impl Default for Limiters {
    fn default() -> Self {
        let limiter = |tries| RateLimiter::keyed(Quota::per_minute(tries));
        Self {
            of_client: limiter(OF_CLIENT),
            of_account: limiter(OF_ACCOUNT),
        }
    }
}

/// Counts one try to sign in to an account.
///
/// # Errors
/// 429 when there were too many.
pub(super) fn sign_in(app: &App, req: &HttpRequest, email: &str) -> AppResult<()> {
    let limiters = app.cache::<Limiters>();
    count(&limiters.of_client, format!("sign-in:{}:{email}", who(req)))?;
    count(&limiters.of_account, email.to_owned())
}

/// Counts one try of the one-time code. It is too long to be guessed from many places, and a count of all tries would
/// let anybody keep the first owner out.
///
/// # Errors
/// 429 when there were too many.
pub(super) fn first_owner(app: &App, req: &HttpRequest) -> AppResult<()> {
    let limiters = app.cache::<Limiters>();
    count(&limiters.of_client, format!("first-owner:{}", who(req)))
}

fn who(req: &HttpRequest) -> String {
    client::address(req)
        .map(|address| client::network(address).to_string())
        .unwrap_or_default()
}

fn count(limiter: &DefaultKeyedRateLimiter<String>, key: String) -> AppResult<()> {
    if limiter.len() > SWEEP_AT {
        limiter.retain_recent();
    }
    limiter
        .check_key(&key)
        .map_err(|_| AppError::rate_limited(60))
}
