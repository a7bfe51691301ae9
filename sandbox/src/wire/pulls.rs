use serde_json::{Value, json};

use super::issues::content;
use super::{account, link, repository_stub};
use crate::core::Core;
use crate::model::{CommitStatus, PullComment, PullEnd, PullRequest, Repository, State};
use crate::protocol::qsh::encode;

/// Hashes inside a pull request are short (bitbucket.md §3.3).
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn base(full_name: &str, id: u64) -> String {
    format!("/repositories/{full_name}/pullrequests/{id}")
}

fn side(core: &Core, full_name: &str, repository: &Repository, end: &PullEnd) -> Value {
    let hash = short(&end.commit);
    json!({
        "branch": {"name": end.branch},
        "commit": {
            "type": "commit", "hash": hash,
            "links": {"self": link(core.api(&format!("/repositories/{full_name}/commit/{hash}")))},
        },
        "repository": repository_stub(core, full_name, repository),
    })
}

/// A pull request. Lists leave out who takes part (`whole` is false).
pub(crate) fn pull(
    core: &Core,
    state: &State,
    repository: &Repository,
    pull: &PullRequest,
    whole: bool,
) -> Value {
    let full_name = state.full_name(repository);
    let who = |uuid: &String| account(core, state, uuid);
    let mut value = json!({
        "type": "pullrequest", "id": pull.id, "title": pull.title, "state": pull.state.name(),
        "description": pull.description, "summary": content(&pull.description),
        "rendered": {"title": content(&pull.title), "description": content(&pull.description)},
        "draft": pull.draft, "queued": false, "author": who(&pull.author),
        "source": side(core, &full_name, repository, &pull.source),
        "destination": side(core, &full_name, repository, &pull.destination),
        "merge_commit": pull.merge_commit.as_ref().map(|h| json!({"hash": short(h)})),
        "closed_by": pull.closed_by.as_ref().map(who),
        "close_source_branch": pull.close_source_branch, "reason": pull.reason,
        "comment_count": pull.comments.len(), "task_count": 0,
        "created_on": pull.created_on, "updated_on": pull.updated_on,
        "links": links(core, &full_name, pull.id),
    });
    if let (true, Some(map)) = (whole, value.as_object_mut()) {
        let reviewers: Vec<Value> = pull.reviewers.iter().map(who).collect();
        map.insert("reviewers".into(), json!(reviewers));
        map.insert("participants".into(), participants(core, state, pull));
    }
    value
}

fn links(core: &Core, full_name: &str, id: u64) -> Value {
    let base = base(full_name, id);
    let api = |tail: &str| link(core.api(&format!("{base}{tail}")));
    json!({
        "self": api(""), "html": link(core.web(&format!("/{full_name}/pull-requests/{id}"))),
        "commits": api("/commits"), "approve": api("/approve"),
        "request-changes": api("/request-changes"), "diff": api("/diff"),
        "diffstat": api("/diffstat"), "comments": api("/comments"), "activity": api("/activity"),
        "merge": api("/merge"), "decline": api("/decline"), "statuses": api("/statuses"),
    })
}

/// Reviewers, and whoever has commented.
fn participants(core: &Core, state: &State, pull: &PullRequest) -> Value {
    let mut all: Vec<(&String, &str)> = pull.reviewers.iter().map(|r| (r, "REVIEWER")).collect();
    for comment in &pull.comments {
        if !all.iter().any(|(known, _)| **known == comment.user) {
            all.push((&comment.user, "PARTICIPANT"));
        }
    }
    let shown = all.into_iter().map(|(uuid, role)| {
        let spoke = pull.comments.iter().rfind(|c| c.user == *uuid);
        json!({
            "type": "participant", "user": account(core, state, uuid), "role": role,
            "approved": false, "state": null, "participated_on": spoke.map(|c| &c.created_on),
        })
    });
    shown.collect()
}

/// A comment of a pull request.
pub(crate) fn pull_comment(
    core: &Core,
    state: &State,
    repository: &Repository,
    pull: &PullRequest,
    comment: &PullComment,
) -> Value {
    let full_name = state.full_name(repository);
    let (base, id) = (base(&full_name, pull.id), comment.id);
    let own = |id: u64| link(core.api(&format!("{base}/comments/{id}")));
    let page = core.web(&format!("/{full_name}/pull-requests/{}", pull.id));
    let mut value = json!({
        "type": "pullrequest_comment", "id": id, "content": content(&comment.content),
        "user": account(core, state, &comment.user), "deleted": false, "pending": false,
        "created_on": comment.created_on, "updated_on": comment.created_on,
        "pullrequest": {
            "type": "pullrequest", "id": pull.id, "title": pull.title, "draft": pull.draft,
            "links": {"self": link(core.api(&base)), "html": link(page.clone())},
        },
        "links": {"self": own(id), "html": link(format!("{page}#comment-{id}"))},
    });
    if let (Some(parent), Some(map)) = (comment.parent, value.as_object_mut()) {
        let stub =
            json!({"type": "pullrequest_comment", "id": parent, "links": {"self": own(parent)}});
        map.insert("parent".into(), stub);
    }
    value
}

/// A build status of a commit.
pub(crate) fn status(
    core: &Core,
    state: &State,
    repository: &Repository,
    one: &CommitStatus,
) -> Value {
    let full_name = state.full_name(repository);
    let commit = format!("/repositories/{full_name}/commit/{}", one.commit);
    let own = format!("{commit}/statuses/build/{}", encode(&one.key));
    json!({
        "type": "build", "key": one.key, "state": one.state, "url": one.url, "name": one.name,
        "description": one.description, "refname": one.refname,
        "created_on": one.created_on, "updated_on": one.updated_on,
        "commit": super::commit_stub(core, &full_name, &one.commit),
        "repository": repository_stub(core, &full_name, repository),
        "links": {"self": link(core.api(&own)), "commit": link(core.api(&commit))},
    })
}
