//! Endpoints for machines that watch us.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError, web};

use crate::app::App;
use crate::error::{AppError, AppResult};

/// The process answers.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok")
}

/// The database answers too: send traffic.
///
/// # Errors
/// 503 when it does not.
pub async fn readyz(app: web::Data<App>) -> AppResult<HttpResponse> {
    app.db.check().await?;
    Ok(HttpResponse::Ok().content_type("text/plain").body("ready"))
}

/// Figures in the OpenMetrics text format.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn metrics(app: web::Data<App>) -> AppResult<HttpResponse> {
    let jobs = app
        .db
        .read(|conn| Ok::<_, AppError>(crate::kit::jobs::counts(conn)?))
        .await?;
    let queued = i64::try_from(app.db.queued_writes()).unwrap_or(i64::MAX);
    let text = app.metrics.render(&[
        (
            "jobs",
            &[
                ("state", "ready", jobs.ready),
                ("state", "running", jobs.running),
                ("state", "dead", jobs.dead),
            ],
        ),
        ("queued_writes", &[("", "", queued)]),
    ]);
    Ok(HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(text))
}

/// A URL of the table with a method that it does not have; `Allow` names those that it has (RFC 9110 §15.5.6).
pub async fn wrong_method(methods: &[&str]) -> HttpResponse {
    let mut response = AppError::method_not_allowed().error_response();
    let allowed = methods.join(", ").to_uppercase();
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// Every URL that is not in the table.
///
/// # Errors
/// Always 404.
pub async fn no_such_url() -> AppResult<HttpResponse> {
    Err(AppError::not_found())
}
