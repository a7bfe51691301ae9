use serde_json::{Value, json};

use super::{link, principal, repository_stub, user};
use crate::core::Core;
use crate::model::{Comment, Issue, Repository, State};
use crate::pages::html::escape;

/// A person or a workspace by uuid.
pub(crate) fn account(core: &Core, state: &State, uuid: &str) -> Value {
    match (state.user(uuid), state.workspace(uuid)) {
        (Some(person), _) => user(core, person),
        (None, Some(workspace)) => principal(core, workspace),
        (None, None) => Value::Null,
    }
}

/// Text as typed and as HTML. The sandbox renders no markup: the text is escaped.
pub(super) fn content(raw: &str) -> Value {
    json!({
        "type": "rendered", "raw": raw, "markup": "markdown",
        "html": format!("<p>{}</p>", escape(raw).replace('\n', "<br>")),
    })
}

/// A whole issue.
pub(crate) fn issue(core: &Core, state: &State, repository: &Repository, issue: &Issue) -> Value {
    let full_name = state.full_name(repository);
    let base = format!("/repositories/{full_name}/issues/{}", issue.id);
    let api = |tail: &str| link(core.api(&format!("{base}{tail}")));
    json!({
        "type": "issue", "id": issue.id, "title": issue.title,
        "content": content(&issue.content),
        "kind": issue.kind, "priority": issue.priority, "state": issue.state,
        "reporter": account(core, state, &issue.reporter),
        "assignee": issue.assignee.as_ref().map(|uuid| account(core, state, uuid)),
        "milestone": null, "version": null, "component": null,
        "votes": 0, "watches": 1,
        "created_on": issue.created_on, "updated_on": issue.updated_on, "edited_on": null,
        "repository": repository_stub(core, &full_name, repository),
        "links": {
            "self": api(""), "comments": api("/comments"), "attachments": api("/attachments"),
            "watch": api("/watch"), "vote": api("/vote"),
            "html": link(core.web(&format!("/{full_name}/issues/{}", issue.id))),
        },
    })
}

/// A comment of an issue.
pub(crate) fn comment(
    core: &Core,
    state: &State,
    repository: &Repository,
    issue: &Issue,
    comment: &Comment,
) -> Value {
    let full_name = state.full_name(repository);
    let base = format!("/repositories/{full_name}/issues/{}", issue.id);
    json!({
        "type": "issue_comment", "id": comment.id, "content": content(&comment.content),
        "user": account(core, state, &comment.user),
        "created_on": comment.created_on, "updated_on": comment.updated_on,
        "issue": {
            "type": "issue", "id": issue.id, "title": issue.title,
            "repository": repository_stub(core, &full_name, repository),
            "links": {"self": link(core.api(&base))},
        },
        "links": {
            "self": link(core.api(&format!("{base}/comments/{}", comment.id))),
            "html": link(core.web(&format!("/{full_name}/issues/{}#comment-{}", issue.id, comment.id))),
        },
    })
}
