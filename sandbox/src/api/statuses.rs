//! Build statuses of commits (bitbucket.md §3.2.8).

use serde_json::{Value, json};

use super::body::Body;
use super::{Cx, paging};
use crate::model::{BUILD_STATES, CommitStatus, Repository};
use crate::reply::{Outcome, Reply};
use crate::wire;

/// Longest key in characters.
const KEY_LIMIT: usize = 40;
/// Longest name, description and branch in characters.
const TEXT_LIMIT: usize = 255;

const FIELDS: &[&str] = &[
    "type",
    "key",
    "state",
    "url",
    "name",
    "description",
    "refname",
];

fn show(cx: &Cx, repository: &Repository, status: &CommitStatus) -> Value {
    cx.core
        .store
        .read(|s| wire::status(&cx.core, s, repository, status))
}

/// Statuses of a commit, the newest first. With a branch: those of it, and those of none.
pub(super) fn listed(
    cx: &Cx,
    repository: &Repository,
    hash: &str,
    branch: Option<&str>,
) -> Outcome {
    let items = cx.core.store.read(|state| {
        let fits = |s: &&CommitStatus| {
            let of_branch =
                branch.is_none() || s.refname.is_none() || s.refname.as_deref() == branch;
            s.repository == repository.uuid && s.commit == hash && of_branch
        };
        let found = state.statuses.iter().rev().filter(fits);
        found
            .map(|s| wire::status(&cx.core, state, repository, s))
            .collect()
    });
    paging::answer(cx, items, 10)
}

pub(super) async fn list(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let hash = cx.resolve(&repository, cx.arg("commit")).await?;
    let branch = cx.call.param("refname");
    listed(&cx, &repository, &hash, branch.as_deref())
}

fn find(cx: &Cx, repository: &Repository, hash: &str, key: &str) -> Option<CommitStatus> {
    cx.core.store.read(|state| {
        let same =
            |s: &&CommitStatus| s.repository == repository.uuid && s.commit == hash && s.key == key;
        state.statuses.iter().find(same).cloned()
    })
}

fn missing(cx: &Cx) -> Reply {
    let text = format!("There is no build status {:?}", cx.arg("key"));
    Reply::error(404, &text)
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let hash = cx.resolve(&repository, cx.arg("commit")).await?;
    let found = find(&cx, &repository, &hash, cx.arg("key")).ok_or_else(|| missing(&cx))?;
    Ok(Reply::json(200, &show(&cx, &repository, &found)))
}

/// A new key is 201, a known one is replaced: 200 (bitbucket.md §3.1).
pub(super) async fn create(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let hash = cx.resolve(&repository, cx.arg("commit")).await?;
    let mut body = Body::read(&cx)?;
    if !body.has("state") {
        body.wrong("state", "required key not provided");
    }
    let key = body.needed_text("key", KEY_LIMIT);
    let now = cx.core.clock.stamp();
    let known = find(&cx, &repository, &hash, &key);
    let begun = known.as_ref().map(|k| k.created_on.clone());
    let mut status = CommitStatus {
        repository: repository.uuid.clone(),
        commit: hash,
        key,
        state: String::new(),
        url: String::new(),
        name: String::new(),
        description: String::new(),
        refname: None,
        created_on: begun.unwrap_or_else(|| now.clone()),
        updated_on: now,
    };
    apply(&mut body, &mut status);
    body.finish(&cx, FIELDS)?;
    keep(&cx, &repository, &status, known.is_some())
}

pub(super) async fn update(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let hash = cx.resolve(&repository, cx.arg("commit")).await?;
    let found = find(&cx, &repository, &hash, cx.arg("key"));
    let mut status = found.ok_or_else(|| missing(&cx))?;
    let mut body = Body::read(&cx)?;
    if body
        .text("key", KEY_LIMIT)
        .is_some_and(|key| key != status.key)
    {
        body.wrong("key", "cannot be changed");
    }
    status.updated_on = cx.core.clock.stamp();
    apply(&mut body, &mut status);
    body.finish(&cx, FIELDS)?;
    keep(&cx, &repository, &status, true)
}

/// Puts what a body says over a status; absent fields stay.
fn apply(body: &mut Body, status: &mut CommitStatus) {
    if let Some(state) = body.choice("state", BUILD_STATES) {
        status.state = state;
    }
    if let Some(text) = body.text("url", 2048) {
        // The service fills `{repository.full_name}` and the like in when it shows the address.
        let filled = text.replace(['{', '}'], "");
        if !url::Url::parse(&filled).is_ok_and(|u| matches!(u.scheme(), "http" | "https")) {
            body.wrong("url", "must be an absolute http or https address");
        }
        status.url = text;
    }
    if let Some(text) = body.text("name", TEXT_LIMIT) {
        status.name = text;
    }
    if let Some(text) = body.text("description", TEXT_LIMIT) {
        status.description = text;
    }
    if let Some(text) = body.text("refname", TEXT_LIMIT) {
        status.refname = Some(text);
    }
}

fn keep(cx: &Cx, repository: &Repository, status: &CommitStatus, known: bool) -> Outcome {
    cx.core.store.write(|state| {
        let other = |s: &CommitStatus| {
            s.repository != status.repository || s.commit != status.commit || s.key != status.key
        };
        state.statuses.retain(other);
        state.statuses.push(status.clone());
    })?;
    let value = show(cx, repository, status);
    let event = match known {
        true => "repo:commit_status_updated",
        false => "repo:commit_status_created",
    };
    let body = cx.core.store.read(|state| {
        json!({
            "actor": wire::account(&cx.core, state, &cx.actor()),
            "repository": wire::event_repository(&cx.core, state, repository),
            "commit_status": value,
        })
    });
    cx.core.fire(event, repository, body);
    Ok(Reply::json(if known { 200 } else { 201 }, &value))
}
