//! The door for webhooks of Bitbucket Cloud. The table of its answers is in the feature's `mod.rs`.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::store::{self, NewDelivery};
use super::{DeliveryState, Source, USED_EVENTS, body as packed};
use crate::app::App;
use crate::bitbucket::events::{
    EVENT_KEY_HEADER, EventError, REQUEST_UUID_HEADER, SIGNATURE_HEADER, peek_repository_uuid,
};
use crate::error::{AppError, AppResult};
use crate::features::accounts::{self, OrgId};
use crate::features::links::{self, RepoId, RepoStatus};
use crate::kit::crypto::{Secret, sha256, verify_hmac_sha256};
use crate::kit::web::body::{self, BodyError};

/// Largest body, in bytes. Bitbucket itself sends at most 256 KB (bitbucket.md §5.2).
pub(super) const BODY_LIMIT: usize = 1024 * 1024;
/// Longest event key; Bitbucket's longest has 38 characters.
const EVENT_KEY_LIMIT: usize = 100;

/// Takes one webhook: verified, stored and answered in one write.
///
/// # Errors
/// See the table in the feature's `mod.rs`.
pub async fn webhook(
    req: HttpRequest,
    payload: web::Payload,
    org: web::Path<String>,
    app: web::Data<App>,
) -> AppResult<HttpResponse> {
    let body = body::read(payload, body::content_length(&req), BODY_LIMIT)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { .. } => {
                AppError::too_large("The body is larger than any webhook of Bitbucket.")
            }
            BodyError::Incomplete => AppError::invalid("The body did not arrive whole."),
        })?;
    let org: OrgId = org.parse().map_err(|_| AppError::not_found())?;
    let repo = verified_repo(&app, org, req.headers(), &body).await?;
    let event_key = event_key(req.headers())?;
    let now = app.clock.now();
    let used = USED_EVENTS.contains(&event_key);
    let row = Arc::new(NewDelivery {
        org_id: org,
        repo_id: repo,
        source: Source::BitbucketCloud,
        request_uuid: request_uuid(req.headers(), event_key, &body),
        event_key: event_key.to_owned(),
        attempt_no: text(req.headers(), "X-Attempt-Number")
            .and_then(|number| number.parse().ok())
            .unwrap_or(1),
        body: packed::pack(&body),
        received_at: now,
        state: if used {
            DeliveryState::Ready
        } else {
            DeliveryState::Ignored
        },
        attempts: 0,
        run_at: now,
        finished_at: (!used).then_some(now),
    });
    app.db
        .write_batched(move |tx| {
            store::insert(tx, &row);
            links::note_delivery(tx, row.repo_id, row.received_at);
            Ok::<_, AppError>(())
        })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The repository that the body names, if the body carries the signature of that repository's hook. The name is
/// read from the unverified body only to choose the secrets.
async fn verified_repo(
    app: &App,
    org: OrgId,
    headers: &HeaderMap,
    body: &[u8],
) -> AppResult<RepoId> {
    let uuid = match peek_repository_uuid(body) {
        Ok(uuid) => uuid,
        Err(error) => {
            require_org(app, org).await?;
            return Err(unreadable(body, error));
        }
    };
    // The second look is for a secret that was made or changed a moment ago, perhaps by another process.
    let mut fresh = false;
    loop {
        let Some(known) = links::repo_secrets(app, org, &uuid, fresh).await? else {
            return Err(without_secrets(app, org, uuid).await?);
        };
        match check(&known.secrets, headers, body) {
            Ok(()) => return Ok(known.repo.id),
            Err(refusal) if fresh || !refusal.depends_on_secret => return Err(refusal.error),
            Err(_) => fresh = true,
        }
    }
}

/// Why there are no secrets to compare with.
async fn without_secrets(app: &App, org: OrgId, uuid: String) -> AppResult<AppError> {
    require_org(app, org).await?;
    let repo = app
        .db
        .read(move |conn| Ok::<_, AppError>(links::find_repo_by_external(conn, org, &uuid)?))
        .await?;
    Ok(match repo {
        Some(repo) if repo.status == RepoStatus::Active => missing_secret(),
        _ => AppError::not_found(),
    })
}

async fn require_org(app: &App, org: OrgId) -> AppResult<()> {
    app.db
        .read(move |conn| {
            accounts::org_by_id(conn, org)?
                .map(drop)
                .ok_or_else(unknown_org)
        })
        .await
}

fn unknown_org() -> AppError {
    AppError::invalid("There is no such organization.")
}

fn unreadable(body: &[u8], error: EventError) -> AppError {
    AppError::invalid(match error {
        _ if body.is_empty() => "The body is empty.",
        EventError::NotJson => "The body is not a JSON object.",
        EventError::NoRepository => "The payload has no repository.uuid.",
    })
}

/// Why a signature was refused, and whether another secret could change that.
struct Refusal {
    error: AppError,
    depends_on_secret: bool,
}

fn missing_secret() -> AppError {
    signature_error(
        "missing-secret",
        "The repository has no webhook secret.",
        StatusCode::UNAUTHORIZED,
    )
}

/// Each comparison takes constant time, and no secret more than the other.
fn check(secrets: &[Secret], headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    let refuse = |code, message, depends_on_secret| {
        Err(Refusal {
            error: signature_error(code, message, StatusCode::BAD_REQUEST),
            depends_on_secret,
        })
    };
    if secrets.is_empty() {
        return Err(Refusal {
            error: missing_secret(),
            depends_on_secret: true,
        });
    }
    let Some((method, tag)) =
        text(headers, SIGNATURE_HEADER).and_then(|value| value.split_once('='))
    else {
        return refuse("missing-signature", "X-Hub-Signature is missing.", false);
    };
    if method != "sha256" {
        return refuse(
            "unsupported-signature-method",
            "The signature must be made with sha256.",
            false,
        );
    }
    let mut bytes = [0_u8; 32];
    let readable = hex::decode_to_slice(tag, &mut bytes).is_ok();
    if readable
        && secrets
            .iter()
            .any(|secret| verify_hmac_sha256(secret.expose_bytes(), body, &bytes))
    {
        return Ok(());
    }
    refuse(
        "invalid-signature",
        "The signature does not fit the body.",
        readable,
    )
}

/// An error in the shape that Sentry answers here: `{"detail": {"code", "message", "extra"}}`.
fn signature_error(code: &'static str, message: &'static str, status: StatusCode) -> AppError {
    let code = format!("integrations:bitbucket.webhook.{code}");
    AppError::bad_signature(message)
        .with_status(status)
        .with_body(json!({"detail": {"code": code, "message": message, "extra": {}}}))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn event_key(headers: &HeaderMap) -> AppResult<&str> {
    text(headers, EVENT_KEY_HEADER)
        .filter(|key| !key.is_empty() && key.len() <= EVENT_KEY_LIMIT)
        .ok_or_else(|| AppError::invalid("X-Event-Key is missing."))
}

/// What makes a delivery unique: Bitbucket's own id, the same over its attempts. A server that sends none gets
/// one made of the event and the body.
fn request_uuid(headers: &HeaderMap, event_key: &str, body: &[u8]) -> Vec<u8> {
    let given = text(headers, REQUEST_UUID_HEADER)
        .map(str::trim)
        .unwrap_or_default();
    if let Ok(uuid) = uuid::Uuid::parse_str(given) {
        return uuid.as_bytes().to_vec();
    }
    let source = if given.is_empty() {
        body
    } else {
        given.as_bytes()
    };
    let digest = sha256(&[event_key.as_bytes(), &[0], source].concat());
    digest.iter().copied().take(16).collect()
}
