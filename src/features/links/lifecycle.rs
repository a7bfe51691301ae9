//! `installed` and `uninstalled`: judged by `installs`, and stored here in one write with what they mean for
//! links and repositories.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::follow_installation;
use crate::app::App;
use crate::atlassian::lifecycle::LifecycleError;
use crate::error::{AppError, AppResult, CODE_HEADER};
use crate::features::audit;
use crate::features::installs::{self, InstallRefused, TokenRefused};
use crate::kit::web::body::{self, BodyError};

/// A lifecycle body is a few kilobytes.
const MAX_BODY: usize = 64 * 1024;
const ACTOR: &str = "Bitbucket";

async fn read(req: &HttpRequest, payload: web::Payload) -> AppResult<web::Bytes> {
    body::read(payload, body::content_length(req), MAX_BODY)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { .. } => AppError::too_large("The body is too large."),
            BodyError::Incomplete => AppError::invalid("The body did not arrive whole."),
        })
}

/// `POST /extensions/bitbucket/installed/` (sentry.md §1.6, with bitbucket.md §1.5 where they differ).
///
/// # Errors
/// 400 for a body that cannot be used, 401 unsigned or unproven, 403 for another tenant's token, 503 when
/// Bitbucket could not be asked; nothing is stored then.
pub async fn installed(
    app: web::Data<App>,
    req: HttpRequest,
    payload: web::Payload,
) -> AppResult<HttpResponse> {
    let body = read(&req, payload).await?;
    let pending =
        match installs::begin_install(&app, &body, &installs::api::signed_request(&req)).await {
            Ok(pending) => pending,
            Err(refused) => return refuse_install(refused),
        };
    let (sealer, now) = (Arc::clone(&app.sealer), app.clock.now());
    app.db
        .write(move |tx| {
            let installation = installs::store_install(tx, &sealer, &pending, now)?;
            let data = json!({ "workspace": installation.principal_name, "workspaceUuid": installation.principal_uuid });
            audit::record(tx, None, ACTOR, "installs.install", &installation.client_key, &data, now)?;
            follow_installation(tx, &installation, now)
        })
        .await?;
    forget_cached(&app);
    Ok(HttpResponse::Ok().finish())
}

/// `POST /extensions/bitbucket/uninstalled/`: only with the tenant's own signature (sentry.md §15.4).
///
/// # Errors
/// 400 for a bad or missing token or a body that names another tenant.
pub async fn uninstalled(
    app: web::Data<App>,
    req: HttpRequest,
    payload: web::Payload,
) -> AppResult<HttpResponse> {
    let body = read(&req, payload).await?;
    let pending = installs::begin_uninstall(&app, &body, &installs::api::signed_request(&req))
        .await
        .map_err(refuse_uninstall)?;
    let now = app.clock.now();
    app.db
        .write(move |tx| {
            let installation = installs::store_uninstall(tx, &pending, now)?.ok_or_else(|| {
                AppError::unavailable("The installation changed meanwhile; try again.", 5)
            })?;
            audit::record(
                tx,
                None,
                ACTOR,
                "installs.uninstall",
                &installation.client_key,
                &json!({}),
                now,
            )?;
            follow_installation(tx, &installation, now)
        })
        .await?;
    forget_cached(&app);
    Ok(HttpResponse::Ok().finish())
}

fn forget_cached(app: &App) {
    installs::forget_cached(app);
    super::forget_cached(app);
}

fn refuse_install(refused: InstallRefused) -> AppResult<HttpResponse> {
    if let InstallRefused::Body(
        LifecycleError::Empty | LifecycleError::NotJson | LifecycleError::ClientKey,
    ) = &refused
    {
        // sentry.md §1.6: these two answers have no body.
        return Ok(HttpResponse::build(StatusCode::BAD_REQUEST)
            .insert_header((CODE_HEADER, "invalid"))
            .finish());
    }
    Err(match refused {
        InstallRefused::Token(TokenRefused::App(error)) | InstallRefused::App(error) => error,
        InstallRefused::Token(refused) => AppError::bad_signature(refused.to_string()),
        InstallRefused::Unproven => AppError::bad_signature(refused.to_string()),
        InstallRefused::OtherTenant => AppError::forbidden(refused.to_string()),
        InstallRefused::NotNow { retry_after } => {
            AppError::unavailable(refused.to_string(), retry_after)
        }
        InstallRefused::Body(error) => AppError::invalid(error.to_string()),
    })
}

fn refuse_uninstall(refused: InstallRefused) -> AppError {
    match refused {
        InstallRefused::Token(TokenRefused::App(error)) | InstallRefused::App(error) => error,
        refused => {
            AppError::bad_signature(refused.to_string()).with_status(StatusCode::BAD_REQUEST)
        }
    }
}
