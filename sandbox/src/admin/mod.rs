//! `/_sandbox/…`: what a test or a person tells the sandbox, and what it tells them. No
//! credential is asked; the sandbox is for development only.

mod access;
mod pulls;

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::call::Call;
use crate::connect::install::{self, InstallRequest};
use crate::core::Core;
use crate::deliveries::DeliverySettings;
use crate::faults::Fault;
use crate::limits::RateLimit;
use crate::model::{Subject, Tracker};
use crate::pages;
use crate::reply::{Outcome, Reply};
use crate::setup::{CommitRequest, NewBulk, NewRepository, NewToken, NewUser, NewWorkspace};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientKey {
    #[serde(rename = "clientKey")]
    client_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    #[serde(rename = "clientKey")]
    client_key: String,
    /// Path and query below the app's `baseUrl`.
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppLink {
    key: String,
    descriptor_uri: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetTracker {
    repo: String,
    tracker: Tracker,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Now {
    /// RFC 3339; null follows the machine.
    now: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Redeliver {
    fresh: bool,
}

pub(crate) async fn serve(core: &Arc<Core>, call: &Call) -> Reply {
    if call.method != "GET" && !pages::same_origin(call) {
        return Reply::error(403, "This call came from a page of another site.");
    }
    route(core, call).await.unwrap_or_else(|refused| refused)
}

fn body<T: DeserializeOwned>(call: &Call) -> Result<T, Reply> {
    let bytes: &[u8] = if call.body.is_empty() {
        b"{}"
    } else {
        &call.body
    };
    serde_json::from_slice(bytes).map_err(|e| Reply::error(400, &e.to_string()))
}

/// A mistake of the one who sets the sandbox up.
fn bad(error: anyhow::Error) -> Reply {
    Reply::error(400, &format!("{error:#}"))
}

fn ok(value: &Value) -> Outcome {
    Ok(Reply::json(200, value))
}

fn created(value: &Value) -> Outcome {
    Ok(Reply::json(201, value))
}

async fn route(core: &Arc<Core>, call: &Call) -> Outcome {
    let path = call
        .path
        .strip_prefix("/_sandbox/")
        .unwrap_or_default()
        .trim_end_matches('/');
    match (call.method.as_str(), path) {
        ("GET", "health") => ok(&json!({"ok": true})),
        ("GET", "state") => ok(&state(core)),
        ("POST", "workspaces") => {
            let made = core
                .create_workspace(&body::<NewWorkspace>(call)?)
                .map_err(bad)?;
            created(&json!({"uuid": made.uuid, "slug": made.slug, "name": made.name}))
        }
        ("POST", "users") => {
            let made = core.create_user(&body::<NewUser>(call)?).map_err(bad)?;
            created(&json!({"uuid": made.uuid, "account_id": made.account_id}))
        }
        ("POST", "repos") => {
            let made = core
                .create_repository(&body::<NewRepository>(call)?)
                .await
                .map_err(bad)?;
            let name = core.store.read(|s| s.full_name(&made));
            let clone = core.web(&format!("/{name}.git"));
            created(&json!({"uuid": made.uuid, "full_name": name, "clone": clone}))
        }
        ("POST", "repos/bulk") => {
            core.create_bulk(&body::<NewBulk>(call)?).map_err(bad)?;
            Ok(Reply::empty(204))
        }
        ("POST", "tracker") => {
            let set = body::<SetTracker>(call)?;
            core.set_tracker(&set.repo, set.tracker).map_err(bad)?;
            Ok(Reply::empty(204))
        }
        ("POST", "commits") => {
            let hash = core
                .commit(&body::<CommitRequest>(call)?)
                .await
                .map_err(bad)?;
            created(&json!({"hash": hash}))
        }
        ("POST", "tokens") => {
            let token = core.create_token(&body::<NewToken>(call)?).map_err(bad)?;
            created(&json!({"access_token": token.expose()}))
        }
        ("POST", "clock") => set_clock(core, call),
        _ => match access::serve(core, call, path) {
            Some(outcome) => outcome,
            None => match pulls::serve(core, call, path).await {
                Some(outcome) => outcome,
                None => connect(core, call, path).await,
            },
        },
    }
}

async fn connect(core: &Arc<Core>, call: &Call, path: &str) -> Outcome {
    match (call.method.as_str(), path) {
        ("POST", "apps") => {
            let app = body::<AppLink>(call)?;
            core.register_app(&app.key, &app.descriptor_uri)
                .map_err(bad)?;
            Ok(Reply::empty(204))
        }
        ("POST", "install") => {
            let installed = install::install(core, &body::<InstallRequest>(call)?)
                .await
                .map_err(|refused| Reply::error(400, &refused.0.join("; ")))?;
            ok(&json!(installed))
        }
        ("POST", "uninstall") => {
            let key = body::<ClientKey>(call)?.client_key;
            match install::uninstall(core, &key).await {
                Some((status, text)) => ok(&json!({"status": status, "body": text})),
                None => Err(Reply::error(404, "no live install has this client key")),
            }
        }
        ("POST", "sign") => {
            let sign = body::<Sign>(call)?;
            match install::signed_url(core, &sign.client_key, &sign.path) {
                Some(url) => ok(&json!({"url": url})),
                None => Err(Reply::error(404, "no install has this client key")),
            }
        }
        _ => watch(core, call, path),
    }
}

fn watch(core: &Arc<Core>, call: &Call, path: &str) -> Outcome {
    match (call.method.as_str(), path) {
        ("GET", "violations") => ok(&json!(core.journal.violations())),
        ("DELETE", "violations") => ok(&json!(core.journal.take_violations())),
        ("GET", "calls") => {
            let recent = core.journal.recent();
            let tail: Vec<_> = recent.iter().rev().take(1000).rev().collect();
            ok(&json!({"counts": core.journal.counts(), "recent": tail}))
        }
        ("DELETE", "calls") => {
            core.journal.clear_calls();
            Ok(Reply::empty(204))
        }
        ("GET", "held") => ok(&json!({"held": core.journal.held()})),
        ("DELETE", "held") => {
            core.journal.release_held();
            Ok(Reply::empty(204))
        }
        ("GET", "faults") => ok(&json!(core.faults.list())),
        ("POST", "faults") => {
            core.faults.add(body::<Fault>(call)?);
            Ok(Reply::empty(204))
        }
        ("DELETE", "faults") => {
            core.faults.clear();
            Ok(Reply::empty(204))
        }
        ("POST", "limits") => {
            core.limits.set(Some(body::<RateLimit>(call)?));
            Ok(Reply::empty(204))
        }
        ("DELETE", "limits") => {
            core.limits.set(None);
            Ok(Reply::empty(204))
        }
        _ => deliveries(core, call, path),
    }
}

fn deliveries(core: &Arc<Core>, call: &Call, path: &str) -> Outcome {
    match (call.method.as_str(), path) {
        ("GET", "deliveries") => ok(&json!(core.deliveries.list())),
        ("DELETE", "deliveries") => {
            core.deliveries.clear();
            Ok(Reply::empty(204))
        }
        ("GET", "delivery-settings") => ok(&json!(core.deliveries.settings())),
        ("POST", "delivery-settings") => {
            core.deliveries.set(body::<DeliverySettings>(call)?);
            Ok(Reply::empty(204))
        }
        ("POST", "deliveries/release") => ok(&json!({"released": core.release_deliveries()})),
        ("POST", other) => {
            let id = other
                .strip_prefix("deliveries/")
                .and_then(|t| t.strip_suffix("/redeliver"));
            let Some(id) = id.and_then(|t| t.parse().ok()) else {
                return Err(unknown());
            };
            match core.redeliver(id, body::<Redeliver>(call)?.fresh) {
                true => Ok(Reply::empty(202)),
                false => Err(Reply::error(404, "the log has no such delivery")),
            }
        }
        _ => Err(unknown()),
    }
}

fn unknown() -> Reply {
    Reply::error(404, "the sandbox has no such control")
}

fn set_clock(core: &Core, call: &Call) -> Outcome {
    let now = match body::<Now>(call)?.now {
        None => None,
        Some(text) => Some(
            chrono::DateTime::parse_from_rfc3339(&text)
                .map_err(|e| Reply::error(400, &format!("now: {e}")))?
                .to_utc(),
        ),
    };
    core.clock.set(now);
    Ok(Reply::empty(204))
}

/// Everything but secrets and tokens.
fn state(core: &Core) -> Value {
    core.store.read(|state| {
        let repositories: Vec<Value> = state
            .repositories
            .iter()
            .filter(|r| !r.synthetic)
            .map(|r| {
                json!({
                    "uuid": r.uuid, "full_name": state.full_name(r), "tracker": r.tracker,
                    "clone": core.web(&format!("/{}.git", state.full_name(r))),
                    "issues": r.issues,
                })
            })
            .collect();
        let hooks: Vec<Value> = state
            .hooks
            .iter()
            .map(|h| {
                let (Subject::Repository(subject) | Subject::Workspace(subject)) = &h.subject;
                json!({
                    "uuid": h.uuid, "subject": subject, "url": h.url, "events": h.events,
                    "active": h.active, "secret_set": h.secret.is_some(),
                    "description": h.description,
                })
            })
            .collect();
        let installs: Vec<Value> = state
            .installs
            .iter()
            .map(|i| {
                json!({
                    "clientKey": i.client_key, "key": i.app_key, "workspace": i.workspace,
                    "baseUrl": i.base_url, "scopes": i.scopes, "live": i.live,
                })
            })
            .collect();
        json!({
            "workspaces": state.workspaces, "users": state.users, "repositories": repositories,
            "hooks": hooks, "installs": installs, "apps": state.apps, "bulks": state.bulks,
            "members": state.members,
        })
    })
}
