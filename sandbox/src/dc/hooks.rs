//! Webhooks of a repository.

use serde_json::{Map, Value, json};

use super::{Dc, error};
use crate::deliveries::Flavor;
use crate::journal::Rule;
use crate::model::{DcHook, Permission, Repository, Secret};
use crate::reply::{Outcome, Reply};

/// Every event key (bitbucket.md §7).
const EVENTS: &[&str] = &[
    "repo:refs_changed",
    "repo:modified",
    "repo:forked",
    "repo:comment:added",
    "repo:comment:edited",
    "repo:comment:deleted",
    "repo:secret_detected",
    "mirror:repo_synchronized",
    "pr:opened",
    "pr:from_ref_updated",
    "pr:to_ref_updated",
    "pr:modified",
    "pr:merged",
    "pr:declined",
    "pr:deleted",
    "pr:reviewer:updated",
    "pr:reviewer:approved",
    "pr:reviewer:unapproved",
    "pr:reviewer:changes_requested",
    "pr:reviewer:needs_work",
    "pr:comment:added",
    "pr:comment:edited",
    "pr:comment:deleted",
];

const FIELDS: &[&str] = &[
    "id",
    "name",
    "url",
    "active",
    "events",
    "configuration",
    "createdDate",
    "updatedDate",
    "credentials",
    "scopeType",
    "sslVerificationRequired",
    "statistics",
];

/// A hook; its secret is not shown.
fn show(hook: &DcHook) -> Value {
    json!({
        "id": hook.id, "name": hook.name, "url": hook.url, "active": hook.active,
        "events": hook.events, "createdDate": hook.created, "updatedDate": hook.updated,
        "configuration": {}, "scopeType": "repository", "sslVerificationRequired": true,
    })
}

fn own(dc: &Dc) -> Result<Repository, Reply> {
    dc.repository(Permission::Admin)
}

fn find(dc: &Dc, repository: &Repository) -> Result<DcHook, Reply> {
    let id = dc.arg("id").parse::<u64>().ok();
    let found = dc.core.store.read(|state| {
        let same = |h: &&DcHook| h.repository == repository.uuid && Some(h.id) == id;
        state.dc_hooks.iter().find(same).cloned()
    });
    found.ok_or_else(|| {
        let message = format!("The webhook with ID '{}' does not exist.", dc.arg("id"));
        error(404, "webhooks.NoSuchWebhookException", &message)
    })
}

pub(super) async fn list(dc: Dc) -> Outcome {
    let repository = own(&dc)?;
    let event = dc.call.param("event");
    let hooks: Vec<DcHook> = dc.core.store.read(|state| {
        let all = state
            .dc_hooks
            .iter()
            .filter(|h| h.repository == repository.uuid);
        let fits = |h: &&DcHook| event.as_ref().is_none_or(|e| h.events.contains(e));
        all.filter(fits).cloned().collect()
    });
    dc.list(&hooks, show)
}

pub(super) async fn get(dc: Dc) -> Outcome {
    let repository = own(&dc)?;
    Ok(Reply::json(200, &show(&find(&dc, &repository)?)))
}

pub(super) async fn create(dc: Dc) -> Outcome {
    let repository = own(&dc)?;
    let now = dc.core.clock.now().timestamp_millis();
    let blank = DcHook {
        id: 0,
        repository: repository.uuid,
        name: String::new(),
        url: String::new(),
        active: true,
        events: Vec::new(),
        secret: None,
        created: now,
        updated: now,
    };
    let mut hook = apply(&dc, blank)?;
    dc.core.store.write(|state| {
        state.last_dc_hook += 1;
        hook.id = state.last_dc_hook;
        state.dc_hooks.push(hook.clone());
    })?;
    Ok(Reply::json(201, &show(&hook)))
}

/// Replaces a hook; a secret that is not given stays.
pub(super) async fn update(dc: Dc) -> Outcome {
    let repository = own(&dc)?;
    let mut hook = apply(&dc, find(&dc, &repository)?)?;
    hook.updated = dc.core.clock.now().timestamp_millis();
    dc.core.store.write(|state| {
        if let Some(stored) = state.dc_hooks.iter_mut().find(|h| h.id == hook.id) {
            *stored = hook.clone();
        }
    })?;
    Ok(Reply::json(200, &show(&hook)))
}

pub(super) async fn delete(dc: Dc) -> Outcome {
    let repository = own(&dc)?;
    let hook = find(&dc, &repository)?;
    dc.core
        .store
        .write(|state| state.dc_hooks.retain(|h| h.id != hook.id))?;
    Ok(Reply::empty(204))
}

/// `test`: sends a ping and tells how it went. With `webhookId` it is signed as that hook signs.
pub(super) async fn test(dc: Dc) -> Outcome {
    let repository = own(&dc)?;
    let id = dc.param("webhookId");
    let hook = dc.core.store.read(|state| {
        let same = |h: &&DcHook| h.repository == repository.uuid && h.id.to_string() == id;
        state.dc_hooks.iter().find(same).cloned()
    });
    let stored = hook.as_ref().map(|h| h.url.clone());
    let url = Some(dc.param("url")).filter(|u| !u.is_empty()).or(stored);
    let Some(url) = url.filter(|u| is_url(u)) else {
        return Err(dc.wrong(
            Rule::BadQuery,
            400,
            "url must be an absolute http or https URL",
        ));
    };
    let secret = hook.and_then(|h| h.secret);
    let sent = dc.core.ping(&url, secret.as_ref()).await;
    let request = json!({"method": "POST", "url": url});
    Ok(Reply::json(
        200,
        &match sent {
            Ok(status) => json!({"request": request, "response": {"statusCode": status}}),
            Err(text) => json!({"request": request, "error": {"message": text}}),
        },
    ))
}

/// The last delivery of a hook; 204 when there was none.
pub(super) async fn latest(dc: Dc) -> Outcome {
    let repository = own(&dc)?;
    let hook = find(&dc, &repository)?.id.to_string();
    let all = dc.core.deliveries.list();
    let last = all
        .iter()
        .rev()
        .find(|d| d.flavor == Flavor::DataCenter && d.hook == hook);
    let Some(last) = last else {
        return Ok(Reply::empty(204));
    };
    let attempt = last.attempts.last();
    Ok(Reply::json(
        200,
        &json!({
            "event": last.event, "eventScope": {"type": "repository"},
            "request": {"method": "POST", "url": last.url},
            "result": {
                "outcome": match attempt.and_then(|a| a.status) {
                    Some(200..=299) => "SUCCESS",
                    Some(_) => "FAILURE",
                    None => "ERROR",
                },
                "description": attempt.map(|a| a.status.map_or_else(|| a.error.clone().unwrap_or_default(), |s| s.to_string())),
            },
        }),
    ))
}

fn is_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
}

/// Judges a body and puts it over a hook.
fn apply(dc: &Dc, mut hook: DcHook) -> Result<DcHook, Reply> {
    let map = match serde_json::from_slice(&dc.call.body) {
        Ok(Value::Object(map)) if dc.call.content_type() == "application/json" => map,
        _ => return Err(dc.wrong(Rule::BodyFormat, 400, "the body must be a JSON object")),
    };
    let mut wrong = Vec::<(&str, String)>::new();
    for key in map.keys().filter(|k| !FIELDS.contains(&k.as_str())) {
        wrong.push(("", format!("there is no field {key:?}")));
    }
    match text(&map, "name") {
        Some(name) if name.len() <= 255 => hook.name = name,
        _ => wrong.push((
            "name",
            "A name of at most 255 characters is needed.".to_owned(),
        )),
    }
    match text(&map, "url").filter(|u| is_url(u)) {
        Some(url) => hook.url = url,
        None => wrong.push(("url", "An absolute http or https URL is needed.".to_owned())),
    }
    match map
        .get("events")
        .map(|list| serde_json::from_value::<Vec<String>>(list.clone()))
    {
        Some(Ok(list)) if !list.is_empty() && list.iter().all(|e| EVENTS.contains(&e.as_str())) => {
            hook.events = list;
        }
        _ => wrong.push(("events", "A list of known events is needed.".to_owned())),
    }
    match map.get("active") {
        None => {}
        Some(Value::Bool(active)) => hook.active = *active,
        Some(_) => wrong.push(("active", "true or false".to_owned())),
    }
    match map.get("configuration") {
        None => {}
        Some(Value::Object(inner)) => {
            if let Some(secret) = text(inner, "secret") {
                hook.secret = Some(Secret::new(secret));
            }
        }
        Some(_) => wrong.push(("configuration", "must be an object".to_owned())),
    }
    match wrong.is_empty() {
        true => Ok(hook),
        false => Err(refuse(dc, &wrong)),
    }
}

fn text(map: &Map<String, Value>, name: &str) -> Option<String> {
    let given = map.get(name)?.as_str()?;
    Some(given.to_owned()).filter(|t| !t.trim().is_empty())
}

fn refuse(dc: &Dc, wrong: &[(&str, String)]) -> Reply {
    let list: Vec<String> = wrong.iter().map(|(k, v)| format!("{k}: {v}")).collect();
    let (method, target) = (&dc.call.method, dc.call.target());
    dc.core
        .violation(Rule::BodyField, method, &target, list.join("; "));
    let errors: Vec<Value> = wrong
        .iter()
        .map(|(k, v)| json!({"context": k, "message": v, "exceptionName": null}))
        .collect();
    Reply::json(400, &json!({"errors": errors}))
}
