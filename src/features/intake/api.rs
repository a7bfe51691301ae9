//! The endpoints of SDKs.

use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};

use super::reply::{Refusal, accepted, preflight};
use super::{Form, Head, receive};
use crate::app::App;
use crate::kit::web::body::content_length;
use crate::sentry::auth;

const X_SENTRY_AUTH: HeaderName = HeaderName::from_static("x-sentry-auth");

/// `POST /api/{project}/envelope/`.
pub async fn envelope(
    app: web::Data<App>,
    req: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    answer(&app, &req, payload, Form::Envelope).await
}

/// `POST /api/{project}/store/`: one event without an envelope, as old SDKs send it.
pub async fn store(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> HttpResponse {
    answer(&app, &req, payload, Form::Store).await
}

/// `OPTIONS` of both: a page of any origin may send.
pub async fn options() -> HttpResponse {
    preflight()
}

async fn answer(app: &App, req: &HttpRequest, payload: web::Payload, form: Form) -> HttpResponse {
    let received = match head(req, form) {
        Ok(head) => receive(app, head, payload, content_length(req)).await,
        Err(refusal) => Err(refusal),
    };
    match received {
        Ok(id) => accepted(id),
        Err(refusal) => refusal.into_response(),
    }
}

fn head(req: &HttpRequest, form: Form) -> Result<Head, Refusal> {
    let text = |name: HeaderName| text_of(req.headers(), &name);
    let credentials = auth::from_request(
        text(X_SENTRY_AUTH).as_deref(),
        text(header::AUTHORIZATION).as_deref(),
        req.query_string(),
    )?;
    Ok(Head {
        form,
        project: req
            .match_info()
            .get("project")
            .unwrap_or_default()
            .to_owned(),
        encoding: text(header::CONTENT_ENCODING),
        credentials,
    })
}

/// A header as text; several lines of one name are one list.
fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> = headers
        .get_all(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}
