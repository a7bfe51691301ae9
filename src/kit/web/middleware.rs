//! Around every request: an id, a span, a log line for what failed, headers of the answer.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpResponse, web};
use tracing::Instrument;

use super::client::{Client, TrustedProxies};
use crate::kit::crypto::random_hex;

/// Header of the request id, in answers and logs.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id and a span, and logs how it ended. The query is never logged: it can hold `?jwt=`.
///
/// # Errors
/// Passes on what the inner service answers.
pub async fn observe<B: MessageBody>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let started = Instant::now();
    let id = random_hex(8);
    let client = client_of(&req);
    let span = tracing::info_span!(
        "request",
        id = %id,
        method = %req.method(),
        path = %req.path(),
        client = client.map(tracing::field::display),
    );
    let mut response = next.call(req).instrument(span.clone()).await?;
    let status = response.status();
    let refused = is_worth_a_line(status, response.request().path()) && REFUSALS.take();
    if status.is_server_error() || refused || tracing::enabled!(tracing::Level::DEBUG) {
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = cause_of(response.response());
        let _in_span = span.enter();
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), took_ms, error, "request failed");
        } else if refused {
            tracing::info!(status = status.as_u16(), took_ms, error, "request refused");
        } else {
            tracing::debug!(status = status.as_u16(), took_ms, error, "request answered");
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response)
}

/// Finds out whose request it is, and keeps that with the request.
fn client_of(req: &ServiceRequest) -> Option<IpAddr> {
    let peer = req.peer_addr()?.ip();
    let client = match req.app_data::<web::Data<TrustedProxies>>() {
        Some(proxies) => proxies.client(peer, req.headers()),
        None => peer,
    };
    req.extensions_mut().insert(Client(client));
    Some(client)
}

/// What a caller did wrong. Paths that lead nowhere are left out, because robots try thousands of them; but not
/// where Bitbucket calls, whose webhooks may be for something that is gone.
fn is_worth_a_line(status: StatusCode, path: &str) -> bool {
    status.is_client_error()
        && (path.starts_with("/extensions/")
            || !matches!(
                status,
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
            ))
}

/// The error that a handler ended with, or what its answer says of it.
fn cause_of(response: &HttpResponse<impl MessageBody>) -> String {
    if let Some(error) = response.error() {
        return format!("{error:?}");
    }
    ["x-sentry-error", "x-tracebucket-error"]
        .iter()
        .find_map(|name| response.headers().get(*name)?.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// Lines about refused requests: strangers can have as many refused as they like.
static REFUSALS: PerSecond = PerSecond::new(20);

/// So many of something in each second.
struct PerSecond {
    most: u64,
    /// The second, and in its low sixteen bits how many there were.
    state: AtomicU64,
}

impl PerSecond {
    const fn new(most: u64) -> Self {
        Self {
            most,
            state: AtomicU64::new(0),
        }
    }

    fn take(&self) -> bool {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.take_at(START.elapsed().as_secs() + 1)
    }

    fn take_at(&self, second: u64) -> bool {
        let taken = self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                match (state >> 16 == second, state & 0xffff) {
                    (true, count) if count >= self.most => None,
                    (true, _) => Some(state + 1),
                    (false, _) => Some((second << 16) | 1),
                }
            });
        taken.is_ok()
    }
}

/// Headers that make a browser careful with our answers; a handler that set one keeps its own.
///
/// # Errors
/// Passes on what the inner service answers.
pub async fn harden<B: MessageBody>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    const POLICY: &str = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; \
                          base-uri 'none'; form-action 'self'; object-src 'none'";
    let mut response = next.call(req).await?;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_share() {
        let two = PerSecond::new(2);
        let taken: Vec<bool> = [1, 1, 1, 2, 2, 2, 9]
            .map(|second| two.take_at(second))
            .to_vec();
        assert_eq!(taken, [true, true, false, true, true, false, true]);
    }
}
