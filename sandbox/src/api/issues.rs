//! The issue tracker (bitbucket.md §3.2.10), which the real service removed.

use serde_json::{Map, Value, json};

use super::body::Body;
use super::{Cx, paging};
use crate::core::Core;
use crate::model::{Issue, KINDS, PRIORITIES, Repository, STATES, State, Tracker};
use crate::reply::{Outcome, Reply};
use crate::wire;

/// Longest title in characters.
const TITLE_LIMIT: usize = 255;
/// Longest text in characters.
pub(super) const TEXT_LIMIT: usize = 1 << 20;

const FIELDS: &[&str] = &[
    "type",
    "title",
    "content",
    "kind",
    "priority",
    "state",
    "assignee",
    "milestone",
    "version",
    "component",
];

/// The repository of the path, when its tracker works.
pub(super) fn tracker(cx: &Cx) -> Result<Repository, Reply> {
    let repository = cx.repository()?;
    match repository.tracker {
        Tracker::On => Ok(repository),
        Tracker::Off => Err(Reply::error(404, "Repository has no issue tracker.")),
        Tracker::Removed => Err(Reply::json(
            410,
            &json!({"type": "error", "error": {
                "message": "Issue tracker - Functionality has been removed",
                "detail": "Please read the changelog entry for more details.",
                "data": {"announcement_url": "https://developer.atlassian.com/cloud/bitbucket/changelog"},
            }}),
        )),
    }
}

/// The issue of the path.
pub(super) fn find(cx: &Cx, repository: &Repository) -> Result<Issue, Reply> {
    let id = cx.arg("id").parse::<u64>().ok();
    let found = repository.issues.iter().find(|i| Some(i.id) == id).cloned();
    found.ok_or_else(|| Reply::error(404, &format!("Issue {} does not exist", cx.arg("id"))))
}

pub(super) async fn list(cx: Cx) -> Outcome {
    let repository = tracker(&cx)?;
    // Newest first, as the tracker's own page shows them.
    let items = cx.core.store.read(|state| {
        repository
            .issues
            .iter()
            .rev()
            .map(|i| wire::issue(&cx.core, state, &repository, i))
            .collect()
    });
    paging::answer(&cx, items, 20)
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let repository = tracker(&cx)?;
    let issue = find(&cx, &repository)?;
    Ok(Reply::json(200, &show(&cx.core, &repository, &issue)))
}

fn show(core: &Core, repository: &Repository, issue: &Issue) -> Value {
    core.store
        .read(|state| wire::issue(core, state, repository, issue))
}

pub(super) async fn create(cx: Cx) -> Outcome {
    let repository = tracker(&cx)?;
    let now = cx.core.clock.stamp();
    let blank = Issue {
        id: 0,
        title: String::new(),
        content: String::new(),
        kind: "bug".into(),
        priority: "major".into(),
        state: "new".into(),
        reporter: cx.actor(),
        assignee: None,
        created_on: now.clone(),
        updated_on: now,
        comments: Vec::new(),
    };
    let mut issue = apply(&cx, blank, true)?;
    cx.core.store.write(|state| {
        if let Some(stored) = state.repository_mut(&repository.uuid) {
            stored.last_issue += 1;
            issue.id = stored.last_issue;
            stored.issues.push(issue.clone());
        }
    })?;
    let value = show(&cx.core, &repository, &issue);
    cx.core.fire(
        "issue:created",
        &repository,
        event(&cx, &repository, [("issue", value.clone())]),
    );
    let own = value
        .pointer("/links/self/href")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(Reply::json(201, &value).with("location", own))
}

pub(super) async fn update(cx: Cx) -> Outcome {
    let repository = tracker(&cx)?;
    let old = find(&cx, &repository)?;
    let mut new = apply(&cx, old.clone(), false)?;
    new.updated_on = cx.core.clock.stamp();
    let changes = differences(&old, &new);
    cx.core.store.write(|state| {
        if let Some(stored) = issue_mut(state, &repository.uuid, new.id) {
            // Comments may have come meanwhile; they are not part of this change.
            new.comments = std::mem::take(&mut stored.comments);
            *stored = new.clone();
        }
    })?;
    let value = show(&cx.core, &repository, &new);
    if !changes.is_empty() {
        let parts = [
            ("issue", value.clone()),
            ("changes", Value::Object(changes)),
        ];
        cx.core
            .fire("issue:updated", &repository, event(&cx, &repository, parts));
    }
    Ok(Reply::json(200, &value))
}

pub(super) async fn delete(cx: Cx) -> Outcome {
    let repository = tracker(&cx)?;
    let issue = find(&cx, &repository)?;
    cx.core.store.write(|state| {
        if let Some(stored) = state.repository_mut(&repository.uuid) {
            stored.issues.retain(|i| i.id != issue.id);
        }
    })?;
    Ok(Reply::empty(204))
}

/// A stored issue to change.
pub(super) fn issue_mut<'a>(
    state: &'a mut State,
    repository: &str,
    id: u64,
) -> Option<&'a mut Issue> {
    state
        .repository_mut(repository)?
        .issues
        .iter_mut()
        .find(|i| i.id == id)
}

/// The body of an `issue:*` webhook.
pub(super) fn event<const N: usize>(
    cx: &Cx,
    repository: &Repository,
    parts: [(&str, Value); N],
) -> Value {
    cx.core.store.read(|state| {
        let mut body = json!({
            "actor": wire::account(&cx.core, state, &cx.actor()),
            "repository": wire::event_repository(&cx.core, state, repository),
        });
        if let Some(map) = body.as_object_mut() {
            map.extend(parts.map(|(name, value)| (name.to_owned(), value)));
        }
        body
    })
}

/// Changed fields as `{field: {old, new}}`.
fn differences(old: &Issue, new: &Issue) -> Map<String, Value> {
    let pairs = [
        ("title", json!(old.title), json!(new.title)),
        ("content", json!(old.content), json!(new.content)),
        ("kind", json!(old.kind), json!(new.kind)),
        ("priority", json!(old.priority), json!(new.priority)),
        ("state", json!(old.state), json!(new.state)),
        ("assignee", json!(old.assignee), json!(new.assignee)),
    ];
    let changed = pairs.into_iter().filter(|(_, old, new)| old != new);
    changed
        .map(|(name, old, new)| (name.to_owned(), json!({"old": old, "new": new})))
        .collect()
}

/// Judges a body and puts it over an issue; absent fields stay.
fn apply(cx: &Cx, mut issue: Issue, creating: bool) -> Result<Issue, Reply> {
    let mut body = Body::read(cx)?;
    if creating || body.has("title") {
        issue.title = body.needed_text("title", TITLE_LIMIT);
    }
    if let Some(raw) = body.content() {
        if raw.chars().count() > TEXT_LIMIT {
            body.wrong("content", "too long");
        }
        issue.content = raw;
    }
    for (name, values, target) in [
        ("kind", KINDS, &mut issue.kind),
        ("priority", PRIORITIES, &mut issue.priority),
        ("state", STATES, &mut issue.state),
    ] {
        if let Some(value) = body.choice(name, values) {
            *target = value;
        }
    }
    if body.has("assignee") {
        issue.assignee = assignee(cx, &mut body);
    }
    for name in ["milestone", "version", "component"] {
        if body.get(name).is_some_and(|v| !v.is_null()) {
            body.wrong(name, "this repository has none; only null is possible");
        }
    }
    body.finish(cx, FIELDS)?;
    Ok(issue)
}

fn assignee(cx: &Cx, body: &mut Body) -> Option<String> {
    let given = body.get("assignee").cloned().unwrap_or_default();
    if given.is_null() {
        return None;
    }
    let id = given
        .get("account_id")
        .or_else(|| given.get("uuid"))
        .and_then(Value::as_str);
    let found = id.and_then(|id| cx.core.store.read(|s| s.user(id).map(|u| u.uuid.clone())));
    if found.is_none() {
        body.wrong(
            "assignee",
            "must be null or name an account by account_id or uuid",
        );
    }
    found
}
