use serde_json::Value;

use super::body::Body;
use super::issues::{TEXT_LIMIT, event, find, issue_mut, tracker};
use super::{Cx, paging};
use crate::model::{Comment, Issue, Repository};
use crate::reply::{Outcome, Reply};
use crate::wire;

fn show(cx: &Cx, repository: &Repository, issue: &Issue, comment: &Comment) -> Value {
    cx.core
        .store
        .read(|state| wire::comment(&cx.core, state, repository, issue, comment))
}

fn one(cx: &Cx, issue: &Issue) -> Result<Comment, Reply> {
    let id = cx.arg("comment").parse::<u64>().ok();
    let found = issue.comments.iter().find(|c| Some(c.id) == id).cloned();
    found.ok_or_else(|| {
        Reply::error(
            404,
            &format!("Comment {} does not exist", cx.arg("comment")),
        )
    })
}

/// The text of a comment body.
fn text(cx: &Cx) -> Result<String, Reply> {
    let mut body = Body::read(cx)?;
    let raw = body.content();
    let blank = raw
        .as_deref()
        .is_none_or(|r| r.trim().is_empty() || r.chars().count() > TEXT_LIMIT);
    if blank {
        body.wrong(
            "content",
            "must be {\"raw\": text}, neither blank nor too long",
        );
    }
    body.finish(cx, &["type", "content"])?;
    Ok(raw.unwrap_or_default())
}

pub(super) async fn list(cx: Cx) -> Outcome {
    let repository = tracker(&cx)?;
    let issue = find(&cx, &repository)?;
    let items = issue
        .comments
        .iter()
        .map(|c| show(&cx, &repository, &issue, c))
        .collect();
    paging::answer(&cx, items, 20)
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let repository = tracker(&cx)?;
    let issue = find(&cx, &repository)?;
    let comment = one(&cx, &issue)?;
    Ok(Reply::json(200, &show(&cx, &repository, &issue, &comment)))
}

pub(super) async fn create(cx: Cx) -> Outcome {
    let repository = tracker(&cx)?;
    let issue = find(&cx, &repository)?;
    let mut comment = Comment {
        id: 0,
        content: text(&cx)?,
        user: cx.actor(),
        created_on: cx.core.clock.stamp(),
        updated_on: None,
    };
    cx.core.store.write(|state| {
        state.last_comment += 1;
        comment.id = state.last_comment;
        if let Some(stored) = issue_mut(state, &repository.uuid, issue.id) {
            stored.comments.push(comment.clone());
            stored.updated_on.clone_from(&comment.created_on);
        }
    })?;
    let value = show(&cx, &repository, &issue, &comment);
    let shown = cx
        .core
        .store
        .read(|s| wire::issue(&cx.core, s, &repository, &issue));
    let parts = [("issue", shown), ("comment", value.clone())];
    cx.core.fire(
        "issue:comment_created",
        &repository,
        event(&cx, &repository, parts),
    );
    let own = value
        .pointer("/links/self/href")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(Reply::json(201, &value).with("location", own))
}

pub(super) async fn update(cx: Cx) -> Outcome {
    let repository = tracker(&cx)?;
    let issue = find(&cx, &repository)?;
    let mut comment = one(&cx, &issue)?;
    comment.content = text(&cx)?;
    comment.updated_on = Some(cx.core.clock.stamp());
    cx.core.store.write(|state| {
        let stored = issue_mut(state, &repository.uuid, issue.id)
            .and_then(|i| i.comments.iter_mut().find(|c| c.id == comment.id));
        if let Some(stored) = stored {
            *stored = comment.clone();
        }
    })?;
    Ok(Reply::json(200, &show(&cx, &repository, &issue, &comment)))
}

pub(super) async fn delete(cx: Cx) -> Outcome {
    let repository = tracker(&cx)?;
    let issue = find(&cx, &repository)?;
    let comment = one(&cx, &issue)?;
    cx.core.store.write(|state| {
        if let Some(stored) = issue_mut(state, &repository.uuid, issue.id) {
            stored.comments.retain(|c| c.id != comment.id);
        }
    })?;
    Ok(Reply::empty(204))
}
