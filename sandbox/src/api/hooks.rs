//! Webhook subscriptions of repositories and workspaces (bitbucket.md §3.3, §5.1).

use serde_json::{Value, json};

use super::body::Body;
use super::{Cx, paging, scope_error};
use crate::core::braced_uuid;
use crate::model::{Hook, Secret, Subject};
use crate::reply::{Outcome, Reply};
use crate::wire;

/// Every event key (bitbucket.md §5.1).
const EVENTS: &[&str] = &[
    "repo:push",
    "repo:fork",
    "repo:updated",
    "repo:created",
    "repo:deleted",
    "repo:imported",
    "repo:transfer",
    "repo:commit_comment_created",
    "repo:commit_status_created",
    "repo:commit_status_updated",
    "project:updated",
    "pullrequest:created",
    "pullrequest:updated",
    "pullrequest:push",
    "pullrequest:approved",
    "pullrequest:unapproved",
    "pullrequest:changes_request_created",
    "pullrequest:changes_request_removed",
    "pullrequest:fulfilled",
    "pullrequest:rejected",
    "pullrequest:comment_created",
    "pullrequest:comment_updated",
    "pullrequest:comment_deleted",
    "pullrequest:comment_resolved",
    "pullrequest:comment_reopened",
    "issue:created",
    "issue:updated",
    "issue:comment_created",
    "pipeline:span_created",
];

/// Events that only make sense on a workspace.
const WORKSPACE_ONLY: &[&str] = &[
    "repo:created",
    "repo:deleted",
    "repo:imported",
    "repo:transfer",
    "project:updated",
];

/// Longest secret in characters.
const SECRET_LIMIT: usize = 128;

const FIELDS: &[&str] = &[
    "type",
    "uuid",
    "url",
    "description",
    "active",
    "events",
    "secret",
    "secret_set",
    "subject",
    "subject_type",
    "created_at",
    "links",
    "history_enabled",
    "skip_cert_verification",
];

pub(super) async fn subjects(cx: Cx) -> Outcome {
    let events =
        |kind: &str| json!({"events": {"href": cx.core.api(&format!("/hook_events/{kind}"))}});
    let links = |kind| json!({"links": events(kind)});
    Ok(Reply::json(
        200,
        &json!({"repository": links("repository"), "workspace": links("workspace")}),
    ))
}

pub(super) async fn event_list(cx: Cx) -> Outcome {
    let workspace = match cx.arg("subject") {
        "workspace" => true,
        "repository" => false,
        other => return Err(Reply::error(404, &format!("{other} is not a subject type"))),
    };
    let items = EVENTS
        .iter()
        .filter(|event| workspace || !WORKSPACE_ONLY.contains(event))
        .map(|event| {
            let (category, label) = event.split_once(':').unwrap_or((event, ""));
            json!({"event": event, "category": category, "label": label, "description": event})
        })
        .collect();
    paging::answer(&cx, items, 50)
}

/// The subject of the path. Its hooks are for those who administer it.
fn subject(cx: &Cx) -> Result<Subject, Reply> {
    if cx.arg("repo").is_empty() {
        let workspace = cx.workspace()?.uuid;
        cx.need_owner(&workspace)?;
        Ok(Subject::Workspace(workspace))
    } else {
        let repository = cx.repository()?;
        cx.need_admin(&repository)?;
        Ok(Subject::Repository(repository.uuid))
    }
}

fn show(cx: &Cx, hook: &Hook) -> Value {
    cx.core
        .store
        .read(|state| wire::hook(&cx.core, state, hook))
}

fn find(cx: &Cx, subject: &Subject) -> Result<Hook, Reply> {
    let uid = cx.arg("uid");
    let found = cx.core.store.read(|state| {
        let same = |h: &&Hook| h.subject == *subject && h.uuid.eq_ignore_ascii_case(uid);
        state.hooks.iter().find(same).cloned()
    });
    found.ok_or_else(|| Reply::error(404, &format!("{uid} does not exist")))
}

pub(super) async fn list(cx: Cx) -> Outcome {
    let subject = subject(&cx)?;
    let items = cx.core.store.read(|state| {
        let own = state.hooks.iter().filter(|h| h.subject == subject);
        own.map(|h| wire::hook(&cx.core, state, h)).collect()
    });
    paging::answer(&cx, items, 10)
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let hook = find(&cx, &subject(&cx)?)?;
    Ok(Reply::json(200, &show(&cx, &hook)))
}

pub(super) async fn create(cx: Cx) -> Outcome {
    let blank = Hook {
        uuid: braced_uuid(),
        subject: subject(&cx)?,
        url: String::new(),
        description: String::new(),
        active: true,
        events: Vec::new(),
        secret: None,
        created_at: cx.core.clock.stamp(),
    };
    let hook = apply(&cx, blank, true)?;
    cx.core
        .store
        .write(|state| state.hooks.push(hook.clone()))?;
    let value = show(&cx, &hook);
    let own = value
        .pointer("/links/self/href")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(Reply::json(201, &value).with("location", own))
}

pub(super) async fn update(cx: Cx) -> Outcome {
    let hook = apply(&cx, find(&cx, &subject(&cx)?)?, false)?;
    cx.core.store.write(|state| {
        if let Some(stored) = state.hooks.iter_mut().find(|h| h.uuid == hook.uuid) {
            *stored = hook.clone();
        }
    })?;
    Ok(Reply::json(200, &show(&cx, &hook)))
}

pub(super) async fn delete(cx: Cx) -> Outcome {
    let hook = find(&cx, &subject(&cx)?)?;
    cx.core
        .store
        .write(|state| state.hooks.retain(|h| h.uuid != hook.uuid))?;
    Ok(Reply::empty(204))
}

/// Judges a body and puts it over a hook. On creation `url` and `events` are needed; on update
/// what is absent stays, the secret too.
fn apply(cx: &Cx, mut hook: Hook, creating: bool) -> Result<Hook, Reply> {
    let mut body = Body::read(cx)?;
    if creating || body.has("url") {
        hook.url = body.needed_text("url", 2048);
        let fits = url::Url::parse(&hook.url)
            .is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        if !fits {
            body.wrong("url", "must be an absolute http or https URL");
        }
    }
    if creating || body.has("events") {
        hook.events = events(&mut body, &hook.subject);
    }
    if let Some(text) = body.text("description", 255) {
        hook.description = text;
    }
    if let Some(active) = body.flag("active") {
        hook.active = active;
    }
    if body.has("secret") {
        hook.secret = match body.get("secret") {
            Some(Value::Null) => None,
            _ => body
                .text("secret", SECRET_LIMIT)
                .filter(|s| !s.is_empty())
                .map(Secret::new),
        };
    }
    body.finish(cx, FIELDS)?;
    // A subscription shows what its events carry, so each needs the read scope of its kind.
    if let Some(caller) = &cx.caller {
        let mut scopes = hook.events.iter().map(|e| caller.scope_of_event(e));
        if let Some(scope) = scopes.find(|s| !caller.allows(s)) {
            return Err(scope_error(&cx.core, &cx.call, caller, &[scope]));
        }
    }
    Ok(hook)
}

fn events(body: &mut Body, subject: &Subject) -> Vec<String> {
    let Some(list) = body.get("events").and_then(Value::as_array).cloned() else {
        body.wrong("events", "must be a list of event keys");
        return Vec::new();
    };
    let mut events = Vec::<String>::new();
    for item in &list {
        let known = item.as_str().filter(|event| {
            EVENTS.contains(event)
                && (matches!(subject, Subject::Workspace(_)) || !WORKSPACE_ONLY.contains(event))
        });
        match known {
            Some(event) if !events.iter().any(|e| e == event) => events.push(event.to_owned()),
            Some(event) => body.wrong("events", format!("{event} is named twice")),
            None => body.wrong("events", format!("{item} is not an event of this subject")),
        }
    }
    if list.is_empty() {
        body.wrong("events", "at least one event is needed");
    }
    events
}
