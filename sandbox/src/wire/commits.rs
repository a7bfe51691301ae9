use serde_json::{Value, json};

use super::{link, repository_stub, user};
use crate::core::Core;
use crate::git::log::Commit;
use crate::git::refs::Ref;
use crate::model::{Repository, State};
use crate::pages::html::escape;
use crate::protocol::qsh::encode;

/// A commit inside other objects.
pub(crate) fn commit_stub(core: &Core, full_name: &str, hash: &str) -> Value {
    json!({
        "type": "commit", "hash": hash,
        "links": {
            "self": link(core.api(&format!("/repositories/{full_name}/commit/{hash}"))),
            "html": link(core.web(&format!("/{full_name}/commits/{hash}"))),
        },
    })
}

/// A whole commit.
pub(crate) fn commit(
    core: &Core,
    state: &State,
    repository: &Repository,
    commit: &Commit,
) -> Value {
    let full_name = state.full_name(repository);
    let api = |tail: &str| link(core.api(&format!("/repositories/{full_name}/{tail}")));
    let hash = &commit.hash;
    json!({
        "type": "commit", "hash": hash, "date": commit.date, "message": commit.message,
        "author": author(core, state, &commit.author_raw(), &commit.author_email),
        "committer": author(core, state, &commit.committer_raw(), &commit.committer_email),
        "summary": rendered(&commit.message),
        "rendered": {"message": rendered(&commit.message)},
        "parents": commit.parents.iter().map(|p| commit_stub(core, &full_name, p)).collect::<Vec<_>>(),
        "repository": repository_stub(core, &full_name, repository),
        "properties": {},
        "links": {
            "self": api(&format!("commit/{hash}")),
            "html": link(core.web(&format!("/{full_name}/commits/{hash}"))),
            "diff": api(&format!("diff/{hash}")),
            "comments": api(&format!("commit/{hash}/comments")),
            "statuses": api(&format!("commit/{hash}/statuses")),
        },
    })
}

/// An author: the raw text, and the account when a user has that e-mail.
fn author(core: &Core, state: &State, raw: &str, email: &str) -> Value {
    let mut value = json!({"type": "author", "raw": raw});
    let known = state.users.iter().find(|u| {
        u.email
            .as_deref()
            .is_some_and(|own| own.eq_ignore_ascii_case(email))
    });
    if let (Some(known), Some(map)) = (known, value.as_object_mut()) {
        map.insert("user".to_owned(), user(core, known));
    }
    value
}

fn rendered(message: &str) -> Value {
    json!({
        "type": "rendered", "raw": message, "markup": "markdown",
        "html": format!("<p>{}</p>", escape(message)),
    })
}

/// A branch or tag with its target.
pub(crate) fn reference(
    core: &Core,
    state: &State,
    repository: &Repository,
    reference: &Ref,
    target: Option<&Commit>,
) -> Value {
    let full_name = state.full_name(repository);
    let name = reference.name();
    let (list, page) = match reference.kind() {
        "tag" => ("tags", "commits/tag"),
        _ => ("branches", "branch"),
    };
    let mut value = json!({
        "type": reference.kind(), "name": name,
        "target": target.map(|c| commit(core, state, repository, c)),
        "links": {
            "self": link(core.api(&format!("/repositories/{full_name}/refs/{list}/{}", encode(name)))),
            "commits": link(core.api(&format!("/repositories/{full_name}/commits/{}", encode(name)))),
            "html": link(core.web(&format!("/{full_name}/{page}/{}", encode(name)))),
        },
    });
    let Some(map) = value.as_object_mut() else {
        return value;
    };
    if reference.kind() == "branch" {
        map.insert("default_merge_strategy".into(), json!("merge_commit"));
        map.insert(
            "merge_strategies".into(),
            json!(["merge_commit", "squash", "fast_forward"]),
        );
    } else {
        let note = reference.tag.as_ref();
        map.insert("message".into(), json!(note.map(|n| &n.message)));
        map.insert("date".into(), json!(note.map(|n| &n.date)));
        map.insert(
            "tagger".into(),
            json!(note.map(|n| json!({"type": "author", "raw": n.tagger}))),
        );
    }
    value
}
