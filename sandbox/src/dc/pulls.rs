//! Pull requests (bitbucket.md §7). They are opened and merged by the API of Cloud or by a control.

use serde_json::Value;

use super::{Dc, error, wire};
use crate::journal::Rule;
use crate::model::{Permission, PullComment, PullRequest, Repository};
use crate::pulls::{self, Event};
use crate::reply::{Outcome, Reply};

/// Longest comment in characters.
const TEXT_LIMIT: usize = 32_768;

fn show(dc: &Dc, repository: &Repository, pull: &PullRequest) -> Value {
    dc.core
        .store
        .read(|s| wire::pull(&dc.core, s, repository, pull))
}

fn find(dc: &Dc, repository: &Repository) -> Result<PullRequest, Reply> {
    let id = dc.arg("id").parse::<u64>().ok();
    let found = id.and_then(|id| {
        dc.core
            .store
            .read(|s| s.pull(&repository.uuid, id).cloned())
    });
    found.ok_or_else(|| {
        let message = format!("Pull request {} does not exist.", dc.arg("id"));
        error(404, "pull.NoSuchPullRequestException", &message)
    })
}

/// The value of a parameter in capitals, when it is one of those that there are.
fn word(dc: &Dc, name: &str, values: &[&'static str]) -> Result<&'static str, Reply> {
    let given = dc.param(name).to_ascii_uppercase();
    let default = values.first().copied().unwrap_or_default();
    match values.iter().find(|v| **v == given) {
        Some(known) => Ok(known),
        None if given.is_empty() => Ok(default),
        None => Err(dc.wrong(Rule::BadQuery, 400, &format!("{name} has no such value"))),
    }
}

/// The list: open ones that come in, the newest first, when nothing else is asked for.
pub(super) async fn list(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let state = word(&dc, "state", &["OPEN", "MERGED", "DECLINED", "ALL"])?;
    let direction = word(&dc, "direction", &["INCOMING", "OUTGOING"])?;
    let order = word(&dc, "order", &["NEWEST", "OLDEST"])?;
    let (at, text) = (dc.param("at"), dc.param("filterText").to_lowercase());
    let mut found: Vec<PullRequest> = dc.core.store.read(|s| {
        let fits = |pull: &&PullRequest| {
            let end = match direction {
                "OUTGOING" => &pull.source,
                _ => &pull.destination,
            };
            (state == "ALL" || pull.state.name() == state)
                && (at.is_empty() || at == format!("refs/heads/{}", end.branch))
                && pull.title.to_lowercase().contains(&text)
        };
        s.pulls(&repository.uuid).filter(fits).cloned().collect()
    });
    if order == "NEWEST" {
        found.reverse();
    }
    dc.list(&found, |pull| show(&dc, &repository, pull))
}

pub(super) async fn get(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let pull = find(&dc, &repository)?;
    Ok(Reply::json(200, &show(&dc, &repository, &pull)))
}

/// Pull requests that bring a commit.
pub(super) async fn of_commit(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let hash = dc.resolve(&repository, dc.arg("commit")).await?;
    let found = pulls::of_commit(&dc.core, &repository, &hash).await;
    dc.list(&found, |pull| show(&dc, &repository, pull))
}

/// The text of a comment and the comment that it answers.
fn body(dc: &Dc, pull: &PullRequest) -> Result<(String, Option<u64>), Reply> {
    let map = match serde_json::from_slice(&dc.call.body) {
        Ok(Value::Object(map)) if dc.call.content_type() == "application/json" => map,
        _ => return Err(dc.wrong(Rule::BodyFormat, 400, "the body must be a JSON object")),
    };
    if let Some(key) = map
        .keys()
        .find(|k| !matches!(k.as_str(), "text" | "parent"))
    {
        return Err(dc.wrong(Rule::BodyField, 400, &format!("there is no field {key:?}")));
    }
    let text = map.get("text").and_then(Value::as_str).unwrap_or_default();
    if text.trim().is_empty() || text.chars().count() > TEXT_LIMIT {
        let message = "text is needed, neither blank nor too long";
        return Err(dc.wrong(Rule::BodyField, 400, message));
    }
    let parent = map
        .get("parent")
        .map(|p| p.get("id").and_then(Value::as_u64));
    let known = |id: Option<u64>| pull.comments.iter().any(|c| Some(c.id) == id);
    if parent.is_some_and(|id| !known(id)) {
        let message = "parent is no comment of this pull request";
        return Err(dc.wrong(Rule::BodyField, 400, message));
    }
    Ok((text.to_owned(), parent.flatten()))
}

/// Comments on a pull request.
pub(super) async fn comment(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let mut pull = find(&dc, &repository)?;
    let (content, parent) = body(&dc, &pull)?;
    let user = dc.person.as_ref().map(|p| p.user.clone());
    let mut comment = PullComment {
        id: 0,
        content,
        user: user.unwrap_or_default(),
        parent,
        created_on: dc.core.clock.stamp(),
    };
    dc.core.store.write(|state| {
        state.last_comment += 1;
        comment.id = state.last_comment;
        if let Some(stored) = state.pull_mut(&repository.uuid, pull.id) {
            stored.comments.push(comment.clone());
            pull = stored.clone();
        }
    })?;
    let shown = dc.core.store.read(|s| wire::comment(&dc.core, s, &comment));
    let by = comment.user.clone();
    dc.core
        .tell(&repository, &pull, &Event::Commented(comment), &by);
    Ok(Reply::json(201, &shown))
}

pub(super) async fn one_comment(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let pull = find(&dc, &repository)?;
    let id = dc.arg("comment").parse::<u64>().ok();
    let found = pull.comments.iter().find(|c| Some(c.id) == id);
    let found = found.ok_or_else(|| {
        let message = format!("Comment {} does not exist.", dc.arg("comment"));
        error(404, "comment.NoSuchCommentException", &message)
    })?;
    let shown = dc.core.store.read(|s| wire::comment(&dc.core, s, found));
    Ok(Reply::json(200, &shown))
}
