use serde_json::Value;

use super::body::Body;
use super::pulls::find;
use super::{Cx, paging};
use crate::model::{PullComment, PullRequest, Repository};
use crate::pulls::Event;
use crate::reply::{Outcome, Reply};
use crate::wire;

/// Longest text in characters.
const TEXT_LIMIT: usize = 1 << 20;

fn show(cx: &Cx, repository: &Repository, pull: &PullRequest, comment: &PullComment) -> Value {
    cx.core
        .store
        .read(|s| wire::pull_comment(&cx.core, s, repository, pull, comment))
}

pub(super) async fn list(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let pull = find(&cx, &repository)?;
    let all = pull.comments.iter();
    let items = all.map(|c| show(&cx, &repository, &pull, c)).collect();
    paging::answer(&cx, items, 10)
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let pull = find(&cx, &repository)?;
    let id = cx.arg("comment").parse::<u64>().ok();
    let found = pull.comments.iter().find(|c| Some(c.id) == id);
    let missing = || {
        let text = format!("Comment {} does not exist", cx.arg("comment"));
        Reply::error(404, &text)
    };
    let found = found.ok_or_else(missing)?;
    Ok(Reply::json(200, &show(&cx, &repository, &pull, found)))
}

/// The service refuses a `type` here, which its document allows (bitbucket.md §3.1).
pub(super) async fn create(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    let mut pull = find(&cx, &repository)?;
    let mut body = Body::read(&cx)?;
    let raw = body.content().unwrap_or_default();
    if raw.trim().is_empty() || raw.chars().count() > TEXT_LIMIT {
        let text = "must be {\"raw\": text}, neither blank nor too long";
        body.wrong("content", text);
    }
    let parent = body
        .get("parent")
        .map(|p| p.get("id").and_then(Value::as_u64));
    let known = |id: Option<u64>| pull.comments.iter().any(|c| Some(c.id) == id);
    if parent.is_some_and(|id| !known(id)) {
        body.wrong(
            "parent",
            "must be {\"id\": number} of a comment of this pull request",
        );
    }
    body.finish(&cx, &["content", "parent"])?;
    let mut comment = PullComment {
        id: 0,
        content: raw,
        user: cx.actor(),
        parent: parent.flatten(),
        created_on: cx.core.clock.stamp(),
    };
    cx.core.store.write(|state| {
        state.last_comment += 1;
        comment.id = state.last_comment;
        if let Some(stored) = state.pull_mut(&repository.uuid, pull.id) {
            stored.comments.push(comment.clone());
            pull = stored.clone();
        }
    })?;
    let value = show(&cx, &repository, &pull, &comment);
    cx.core
        .tell(&repository, &pull, &Event::Commented(comment), &cx.actor());
    let own = value.pointer("/links/self/href").and_then(Value::as_str);
    Ok(Reply::json(201, &value).with("location", own.unwrap_or_default()))
}
