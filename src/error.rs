//! The one error that handlers answer with, and its conversion to HTTP.
//!
//! Errors are named by what the caller can do. Every error has a stable code ([`CODES`] is the catalogue); the
//! JSON body is `{"detail": "…"}` with exactly that key, because `sentry-cli` shows the text only then
//! (sentry.md §10.1), so the code travels in the header `X-Tracebucket-Error`.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use crate::kit::db::{DbError, RETRY_AFTER_SECS};

/// Header that carries the stable code of an error.
pub const CODE_HEADER: &str = "x-tracebucket-error";

/// The catalogue: code, status, what it means and what to do. First what all of us answer, then what the intake of
/// events says to SDKs besides.
pub const CODES: &[(&str, u16, &str)] = &[
    (
        "invalid",
        400,
        "The request is not well-formed or a value is not allowed. Correct it; the detail says what.",
    ),
    (
        "unauthenticated",
        401,
        "No credential, or one that is not valid (any more). Sign in, or send a valid token.",
    ),
    (
        "bad_signature",
        401,
        "A signature or signed token did not verify. Check the shared secret and the clock.",
    ),
    (
        "forbidden",
        403,
        "The credential is valid but lacks the scope or role that the detail names.",
    ),
    (
        "csrf",
        403,
        "The form came from another site or is too old. Reload the page and send it again.",
    ),
    (
        "not_found",
        404,
        "There is no such thing, or it belongs to another organization.",
    ),
    (
        "method_not_allowed",
        405,
        "This URL does not take that method.",
    ),
    (
        "conflict",
        409,
        "The thing changed in the meantime or exists already.",
    ),
    ("too_large", 413, "The body is over the limit. Send less."),
    (
        "rate_limited",
        429,
        "Too many requests. Wait for the seconds in Retry-After.",
    ),
    (
        "internal",
        500,
        "A defect on our side; the log has the cause under the request id.",
    ),
    (
        "upstream",
        502,
        "The other side (Bitbucket) refused or failed; the detail says how and what to do.",
    ),
    (
        "unavailable",
        503,
        "The server is busy or its database is not available. Try again after Retry-After seconds. SDKs get it \
         with 429, because they come back after no other status.",
    ),
    (
        "overloaded",
        429,
        "Intake: too many events wait to be stored. SDKs send again after Retry-After seconds.",
    ),
    (
        "missing_key",
        403,
        "Intake: no key in header, query or envelope. Send with the DSN of the project.",
    ),
    (
        "malformed_key",
        403,
        "Intake: the key is not 32 hex digits. Copy the DSN again.",
    ),
    (
        "malformed_dsn",
        403,
        "Intake: the envelope header holds something else than a DSN. Copy the DSN again.",
    ),
    (
        "contradicting_keys",
        403,
        "Intake: header, query, envelope and address name different keys or projects. Use one DSN.",
    ),
    (
        "unknown_key",
        403,
        "Intake: the key is not known, is switched off, or belongs to another project. Copy the DSN again.",
    ),
    (
        "unsupported_encoding",
        415,
        "Intake: Content-Encoding is none of gzip, deflate, br, zstd and identity.",
    ),
    (
        "truncated_body",
        400,
        "Intake: the compressed body ends too early. Send it again.",
    ),
    (
        "corrupt_body",
        400,
        "Intake: the body is not of the encoding that Content-Encoding names.",
    ),
    (
        "incomplete",
        400,
        "Intake: the connection ended before the body did. Send it again.",
    ),
    (
        "invalid_event",
        400,
        "Intake: the event is not a JSON object; the detail says where.",
    ),
    (
        "invalid_envelope_header",
        400,
        "Intake: the first line of the envelope is not a JSON object.",
    ),
    (
        "duplicate_sent_at",
        400,
        "Intake: the envelope header holds sent_at twice.",
    ),
    (
        "invalid_event_id",
        400,
        "Intake: the event_id of the envelope is neither 32 hex digits nor a UUID.",
    ),
    (
        "invalid_item_header",
        400,
        "Intake: the header of an item is not a JSON object with a type.",
    ),
    (
        "invalid_item_length",
        400,
        "Intake: the length of an item is not a whole number.",
    ),
    (
        "truncated_item",
        400,
        "Intake: an item is shorter than its length says.",
    ),
    (
        "invalid_item_end",
        400,
        "Intake: an item is longer than its length says: no line end follows it.",
    ),
    (
        "several_events",
        400,
        "Intake: the envelope holds more than one event. Send one envelope for each.",
    ),
    (
        "too_many_items",
        413,
        "Intake: the envelope holds too many items. Send several envelopes.",
    ),
    (
        "event_too_large",
        413,
        "Intake: the event is over the limit. Send less with it.",
    ),
    (
        "header_too_large",
        413,
        "Intake: a header line of the envelope is over the limit.",
    ),
];

/// docs/ERRORS.md, made from the catalogue.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Errors\n\nMade from `src/error.rs`; a test keeps this page and the code in step. The body of an error is \
         `{\"detail\": \"…\"}`, or the shape that a foreign contract asks for; the code is in the header \
         `X-Tracebucket-Error`.\n\n| code | status | meaning, and what to do |\n| --- | --- | --- |\n",
    );
    for (code, status, meaning) in CODES {
        page.push_str(&format!("| `{code}` | {status} | {meaning} |\n"));
    }
    page
}

/// What a handler answers when it cannot do what was asked.
pub struct AppError {
    code: &'static str,
    status: StatusCode,
    detail: Cow<'static, str>,
    body: Option<Value>,
    retry_after: Option<u64>,
    cause: Option<anyhow::Error>,
}

/// Result of a handler or of a feature's public function.
pub type AppResult<T> = Result<T, AppError>;

impl AppError {
    fn new(code: &'static str, status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            status,
            detail: detail.into(),
            body: None,
            retry_after: None,
            cause: None,
        }
    }

    /// 400: correct the request.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("invalid", StatusCode::BAD_REQUEST, detail)
    }

    /// 400 with the messages at their fields: `{"field": ["text"]}`.
    pub fn field(field: &str, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        let mut body = Map::new();
        body.insert(field.to_owned(), json!([text]));
        Self::invalid(text).with_body(Value::Object(body))
    }

    /// 401: no credential, or not a valid one.
    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("unauthenticated", StatusCode::UNAUTHORIZED, detail)
    }

    /// 401: a signed request whose signature or claims do not hold.
    pub fn bad_signature(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("bad_signature", StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: the scope or role is missing.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("forbidden", StatusCode::FORBIDDEN, detail)
    }

    /// 403: a form without its token.
    pub fn csrf() -> Self {
        Self::new(
            "csrf",
            StatusCode::FORBIDDEN,
            "This form is too old or came from elsewhere. Reload the page and try again.",
        )
    }

    /// 404, also for what belongs to another tenant.
    pub fn not_found() -> Self {
        Self::new(
            "not_found",
            StatusCode::NOT_FOUND,
            "The requested resource does not exist",
        )
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(
            "method_not_allowed",
            StatusCode::METHOD_NOT_ALLOWED,
            "This URL does not take that method",
        )
    }

    /// 409.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("conflict", StatusCode::CONFLICT, detail)
    }

    /// 413.
    pub fn too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("too_large", StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 429, to be tried again after `seconds`.
    pub fn rate_limited(seconds: u64) -> Self {
        let mut error = Self::new(
            "rate_limited",
            StatusCode::TOO_MANY_REQUESTS,
            "Too many requests; try again later",
        );
        error.retry_after = Some(seconds);
        error
    }

    /// 502: another server refused or failed.
    pub fn upstream(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("upstream", StatusCode::BAD_GATEWAY, detail)
    }

    /// 503, to be tried again after `seconds`.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, seconds: u64) -> Self {
        let mut error = Self::new("unavailable", StatusCode::SERVICE_UNAVAILABLE, detail);
        error.retry_after = Some(seconds);
        error
    }

    /// 500; the cause goes to the log, never to the caller.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        let mut error = Self::new(
            "internal",
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error",
        );
        error.cause = Some(cause.into());
        error
    }

    /// 500 from an error that is neither `Send` nor ours; only its text is kept.
    pub fn from_foreign(cause: impl fmt::Display) -> Self {
        Self::internal(anyhow::anyhow!("{cause}"))
    }

    /// Replaces the JSON body, where a foreign contract wants another shape.
    #[must_use]
    pub fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Replaces the status, where a foreign contract wants another one.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds what the log should know.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What the caller is told.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Seconds to wait before another try.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// What the log is told.
    #[must_use]
    pub fn cause(&self) -> Option<&anyhow::Error> {
        self.cause.as_ref()
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl fmt::Debug for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause:#})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for AppError {}

impl ResponseError for AppError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((
            HeaderName::from_static(CODE_HEADER),
            HeaderValue::from_static(self.code),
        ));
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        match &self.body {
            Some(body) => response.json(body),
            None => response.json(json!({ "detail": self.detail })),
        }
    }
}

impl From<DbError> for AppError {
    fn from(error: DbError) -> Self {
        if error.is_transient() {
            Self::unavailable(
                "The server is busy; nothing was stored. Try again shortly.",
                RETRY_AFTER_SECS,
            )
            .caused_by(error)
        } else {
            Self::internal(error)
        }
    }
}

impl From<diesel::result::Error> for AppError {
    fn from(error: diesel::result::Error) -> Self {
        DbError::Query(error).into()
    }
}

impl From<anyhow::Error> for AppError {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self::internal(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_constructor_uses_a_code_of_the_catalogue_with_its_status() {
        for error in [
            AppError::invalid("x"),
            AppError::unauthenticated("x"),
            AppError::bad_signature("x"),
            AppError::forbidden("x"),
            AppError::csrf(),
            AppError::not_found(),
            AppError::conflict("x"),
            AppError::too_large("x"),
            AppError::rate_limited(1),
            AppError::upstream("x"),
            AppError::unavailable("x", 1),
            AppError::internal(anyhow::anyhow!("x")),
        ] {
            let row = CODES
                .iter()
                .find(|(code, ..)| *code == error.code())
                .unwrap();
            assert_eq!(row.1, error.status.as_u16(), "{}", error.code());
        }
    }

    #[test]
    fn the_reference_page_is_in_step() {
        let committed = include_str!("../docs/ERRORS.md");
        assert_eq!(
            committed,
            reference_page(),
            "run: tracebucket docs errors > docs/ERRORS.md"
        );
    }

    #[test]
    fn an_internal_error_hides_its_cause() {
        let error = AppError::internal(anyhow::anyhow!("password=hunter2"));
        assert_eq!(error.to_string(), "Internal error");
        assert!(
            format!("{error:?}").contains("hunter2"),
            "the log has the cause"
        );
    }
}
