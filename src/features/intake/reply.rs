//! Answers to SDKs (sentry.md §11.2, §11.6): `{"id": …}`, or `{"detail": …, "causes": […]}` and `X-Sentry-Error`,
//! readable from pages of every origin.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use serde_json::json;

use crate::error::CODE_HEADER;
use crate::kit::db::{DbError, RETRY_AFTER_SECS};
use crate::sentry::auth::AuthError;
use crate::sentry::decode::DecodeError;
use crate::sentry::envelope::EnvelopeError;
use crate::sentry::event::NotAnEvent;
use crate::sentry::event_id::EventId;
use crate::sentry::ratelimit::{self, RateLimit, Scope};

const X_SENTRY_ERROR: HeaderName = HeaderName::from_static("x-sentry-error");
const EXPOSED: &str = "x-sentry-error, x-sentry-rate-limits, retry-after";
const ALLOWED: &str = "x-sentry-auth, x-requested-with, x-forwarded-for, origin, referer, accept, authentication, \
                       authorization, content-type, content-encoding, transfer-encoding";

/// Why a body is not accepted.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// Stable word for programs.
    code: &'static str,
    /// A sentence for people.
    detail: Cow<'static, str>,
    /// Seconds to stay away.
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// The key is not known, is switched off, or belongs to another project: one answer, so that nobody can try
    /// out keys and projects apart.
    pub(super) fn unknown_key() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "unknown_key",
            "no active key of this project",
        )
    }

    /// There is no room for it now.
    pub(super) fn overloaded() -> Self {
        let detail = "too much is waiting to be stored; try again later";
        Self {
            retry_after: Some(RETRY_AFTER_SECS),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", detail)
        }
    }

    pub(super) fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the body is larger than allowed",
        )
    }

    pub(super) fn incomplete() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "incomplete",
            "the body did not arrive whole",
        )
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "internal error",
        )
    }

    /// The answer.
    pub(super) fn into_response(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CODE_HEADER, self.code));
        if let Ok(value) = HeaderValue::from_str(&self.detail) {
            response.insert_header((X_SENTRY_ERROR, value));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
            if self.status == StatusCode::TOO_MANY_REQUESTS {
                let limit = RateLimit::everything(seconds, Scope::Organization, self.code);
                response.insert_header((ratelimit::HEADER, limit.to_string()));
            }
        }
        with_cors(response.json(json!({ "detail": self.detail, "causes": [self.code] })))
    }
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        Self::new(StatusCode::FORBIDDEN, error.code(), error.to_string())
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let status = match &error {
            DecodeError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            DecodeError::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            DecodeError::Truncated | DecodeError::Corrupt(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<EnvelopeError> for Refusal {
    fn from(error: EnvelopeError) -> Self {
        let status = if error.is_too_large() {
            StatusCode::PAYLOAD_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<NotAnEvent> for Refusal {
    fn from(error: NotAnEvent) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_event", error.to_string())
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        if matches!(error, DbError::Overloaded) {
            return Self::overloaded();
        }
        if error.is_transient() {
            tracing::error!(error = %error, "an event was not stored; its sender is told to try again");
            let detail = "the database is not available; try again later";
            // Not 503: of all answers SDKs only take 429 as a request to come back.
            return Self {
                retry_after: Some(RETRY_AFTER_SECS),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "unavailable", detail)
            };
        }
        tracing::error!(error = %error, "an event was not stored");
        Self::internal()
    }
}

/// The answer to an accepted body; `{}` when it held no event and named none.
pub(super) fn accepted(id: Option<EventId>) -> HttpResponse {
    let body = match id {
        Some(id) => format!(r#"{{"id":"{id}"}}"#),
        None => "{}".to_owned(),
    };
    with_cors(
        HttpResponse::Ok()
            .content_type(header::ContentType::json())
            .body(body),
    )
}

/// The answer to a browser that asks whether it may send.
pub(super) fn preflight() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "3600"));
    with_cors(response.finish())
}

fn with_cors(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
    // A page that asks for isolation may read the answer all the same.
    headers.insert(
        header::CROSS_ORIGIN_RESOURCE_POLICY,
        HeaderValue::from_static("cross-origin"),
    );
    response
}

#[cfg(test)]
#[allow(clippy::panic, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::CODES;

    /// Every refusal there is. The matches are there to fail to compile when a kind of error is added.
    fn refusals() -> Vec<Refusal> {
        use {AuthError as A, DecodeError as D, EnvelopeError as E};
        let auth = [A::Missing, A::Contradiction, A::BadKey, A::BadDsn];
        let decode = [
            D::Unsupported,
            D::TooLarge { max: 1 },
            D::Truncated,
            D::Corrupt("gzip"),
        ];
        let envelope = [
            E::BadHeader,
            E::DuplicateSentAt,
            E::BadEventId,
            E::BadItemHeader { item: 1 },
            E::BadLength { item: 1 },
            E::Truncated { item: 1 },
            E::BadEnd { item: 1 },
            E::TooManyItems,
            E::SeveralEvents,
            E::EventTooLarge,
            E::LineTooLong,
        ];
        for error in auth {
            match error {
                A::Missing | A::Contradiction | A::BadKey | A::BadDsn => {}
            }
        }
        for error in &decode {
            match error {
                D::Unsupported | D::TooLarge { .. } | D::Truncated | D::Corrupt(_) => {}
            }
        }
        for error in envelope {
            match error {
                E::BadHeader | E::DuplicateSentAt | E::BadEventId | E::BadItemHeader { .. } => {}
                E::BadLength { .. } | E::Truncated { .. } | E::BadEnd { .. } => {}
                E::TooManyItems | E::SeveralEvents | E::EventTooLarge | E::LineTooLong => {}
            }
        }
        let mut all = vec![
            Refusal::unknown_key(),
            Refusal::overloaded(),
            Refusal::too_large(),
            Refusal::incomplete(),
            Refusal::internal(),
            NotAnEvent { line: 1, column: 1 }.into(),
            DbError::Overloaded.into(),
            DbError::Unavailable(Arc::from("gone")).into(),
            DbError::Panicked.into(),
        ];
        all.extend(auth.map(Refusal::from));
        all.extend(decode.map(Refusal::from));
        all.extend(envelope.map(Refusal::from));
        all
    }

    #[test]
    fn every_refusal_has_a_code_of_the_catalogue_with_its_status() {
        for refusal in refusals() {
            let Some((_, status, _)) = CODES.iter().find(|(code, ..)| *code == refusal.code) else {
                panic!("{} is not in the catalogue", refusal.code);
            };
            // What is 503 elsewhere: of all answers SDKs only take 429 as a request to come back.
            let status = if refusal.code == "unavailable" {
                429
            } else {
                *status
            };
            assert_eq!(refusal.status.as_u16(), status, "{}", refusal.code);
        }
    }

    #[test]
    fn the_catalogue_names_no_code_of_the_intake_that_is_never_sent() {
        let sent: Vec<_> = refusals().iter().map(|refusal| refusal.code).collect();
        for (code, _, meaning) in CODES {
            assert!(
                !meaning.starts_with("Intake") || sent.contains(code),
                "{code}"
            );
        }
    }
}
