//! Around every request: an id, a span, a log line for what failed, headers of the answer.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use tracing::Instrument;

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
    let span = tracing::info_span!("request", id = %id, method = %req.method(), path = %req.path());
    let mut response = next.call(req).instrument(span.clone()).await?;
    let status = response.status();
    if status.is_server_error() || tracing::enabled!(tracing::Level::DEBUG) {
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = response
            .response()
            .error()
            .map(|error| format!("{error:?}"))
            .unwrap_or_default();
        let _in_span = span.enter();
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), took_ms, error, "request failed");
        } else {
            tracing::debug!(status = status.as_u16(), took_ms, error, "request answered");
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response)
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
