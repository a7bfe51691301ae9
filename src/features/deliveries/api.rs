//! The doors for webhooks of Bitbucket Cloud and Data Center. The table of its answers is in the feature's `mod.rs`.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::store::{self, NewDelivery};
use super::{DeliveryState, Source, body as packed};
use crate::app::App;
use crate::bitbucket::datacenter::events::{PING, REQUEST_ID_HEADER, peek_repository_id};
use crate::bitbucket::events::{
    EVENT_KEY_HEADER, EventError, REQUEST_UUID_HEADER, SIGNATURE_HEADER, peek_repository_uuid,
};
use crate::error::{AppError, AppResult};
use crate::features::accounts::{self, OrgId};
use crate::features::links::{self, LinkId, RepoId, RepoSecrets, RepoStatus};
use crate::kit::crypto::{Secret, sha256, verify_hmac_sha256};
use crate::kit::web::body::{self, BodyError};

/// Largest body, in bytes. Bitbucket itself sends at most 256 KB (bitbucket.md §5.2).
pub(super) const BODY_LIMIT: usize = 1024 * 1024;
/// Longest event key; Bitbucket's longest has 38 characters.
const EVENT_KEY_LIMIT: usize = 100;

/// Takes one webhook of Bitbucket Cloud: verified, stored and answered in one write.
///
/// # Errors
/// See the table in the feature's `mod.rs`.
pub async fn webhook(
    req: HttpRequest,
    payload: web::Payload,
    org: web::Path<String>,
    app: web::Data<App>,
) -> AppResult<HttpResponse> {
    let body = read_body(&req, payload).await?;
    let org: OrgId = org.parse().map_err(|_| AppError::not_found())?;
    let named = peek_repository_uuid(&body).map(Named::Cloud);
    let repo = verified_repo(&app, org, named, req.headers(), &body).await?;
    let request = text(req.headers(), REQUEST_UUID_HEADER);
    store_one(
        &app,
        org,
        repo,
        Source::BitbucketCloud,
        request,
        req.headers(),
        &body,
    )
    .await
}

/// Takes one webhook of Bitbucket Data Center.
///
/// # Errors
/// See the table in the feature's `mod.rs`.
pub async fn server_webhook(
    req: HttpRequest,
    payload: web::Payload,
    path: web::Path<(String, String)>,
    app: web::Data<App>,
) -> AppResult<HttpResponse> {
    let body = read_body(&req, payload).await?;
    let org: OrgId = path.0.parse().map_err(|_| AppError::not_found())?;
    let link: LinkId = path.1.parse().map_err(|_| AppError::not_found())?;
    if text(req.headers(), EVENT_KEY_HEADER) == Some(PING) {
        if !links::server_link_listens(&app, org, link).await? {
            return Err(AppError::not_found());
        }
        return Ok(HttpResponse::Ok().json(json!({ "ok": true })));
    }
    let named = peek_repository_id(&body).map(|number| Named::Server(link, number));
    let repo = verified_repo(&app, org, named, req.headers(), &body).await?;
    let request = text(req.headers(), REQUEST_ID_HEADER);
    let source = Source::BitbucketDataCenter;
    store_one(&app, org, repo, source, request, req.headers(), &body).await
}

async fn read_body(req: &HttpRequest, payload: web::Payload) -> AppResult<web::Bytes> {
    body::read(payload, body::content_length(req), BODY_LIMIT)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { .. } => {
                AppError::too_large("The body is larger than any webhook of Bitbucket.")
            }
            BodyError::Incomplete => AppError::invalid("The body did not arrive whole."),
        })
}

async fn store_one(
    app: &App,
    org: OrgId,
    repo: RepoId,
    source: Source,
    request: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> AppResult<HttpResponse> {
    let event_key = event_key(headers)?;
    let now = app.clock.now();
    let used = source.used_events().contains(&event_key);
    let row = Arc::new(NewDelivery {
        org_id: org,
        repo_id: repo,
        source,
        request_uuid: request_uuid(request, event_key, body),
        event_key: event_key.to_owned(),
        attempt_no: text(headers, "X-Attempt-Number")
            .and_then(|number| number.parse().ok())
            .unwrap_or(1),
        body: packed::pack(body),
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
    if !used {
        tracing::info!(event_key, repo = %repo, "delivery kept as ignored: nothing here uses its event");
    }
    Ok(HttpResponse::NoContent().finish())
}

/// How a body names its repository. Read from the unverified body, and only to choose the secrets.
enum Named {
    /// By its uuid.
    Cloud(String),
    /// By the connection in the address and its number on that server.
    Server(LinkId, u64),
}

impl Named {
    /// The external id of the repository, if the address can be of it, and its secrets, if it is in use.
    async fn secrets(
        &self,
        app: &App,
        org: OrgId,
        fresh: bool,
    ) -> AppResult<Option<(String, Option<Arc<RepoSecrets>>)>> {
        match self {
            Self::Cloud(uuid) => {
                let found = links::repo_secrets(app, org, uuid, fresh).await?;
                Ok(Some((uuid.clone(), found)))
            }
            Self::Server(link, number) => {
                links::server_repo_secrets(app, org, *link, *number, fresh).await
            }
        }
    }
}

/// The repository that the body names, if the body carries the signature of that repository's hook.
async fn verified_repo(
    app: &App,
    org: OrgId,
    named: Result<Named, EventError>,
    headers: &HeaderMap,
    body: &[u8],
) -> AppResult<RepoId> {
    let named = match named {
        Ok(named) => named,
        Err(error) => {
            require_org(app, org).await?;
            return Err(unreadable(body, error));
        }
    };
    // The second look is for a secret that was made or changed a moment ago, perhaps by another process.
    let mut fresh = false;
    loop {
        let Some((external, known)) = named.secrets(app, org, fresh).await? else {
            require_org(app, org).await?;
            return Err(AppError::not_found());
        };
        let Some(known) = known else {
            return Err(without_secrets(app, org, external).await?);
        };
        match check(&known.secrets, headers, body) {
            Ok(()) => return Ok(known.repo.id),
            Err(refusal) if fresh || !refusal.depends_on_secret => return Err(refusal.error),
            Err(_) => fresh = true,
        }
    }
}

/// Why there are no secrets to compare with.
async fn without_secrets(app: &App, org: OrgId, external: String) -> AppResult<AppError> {
    require_org(app, org).await?;
    let repo = app
        .db
        .read(move |conn| Ok::<_, AppError>(links::find_repo_by_external(conn, org, &external)?))
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
        EventError::NoRepository => {
            "The payload has no repository.uuid (Data Center: repository.id)."
        }
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
fn request_uuid(given: Option<&str>, event_key: &str, body: &[u8]) -> Vec<u8> {
    let given = given.map(str::trim).unwrap_or_default();
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
