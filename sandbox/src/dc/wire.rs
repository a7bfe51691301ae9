//! Objects as Data Center shows them. Dates are milliseconds since 1970, ids are numbers.

use chrono::DateTime;
use serde_json::{Value, json};

use super::project_key;
use crate::core::Core;
use crate::git::log::Commit;
use crate::git::refs::Ref;
use crate::model::{
    PullComment, PullEnd, PullRequest, PullState, Repository, State, User, Workspace,
};

/// A number that stands for a uuid.
pub(super) fn number(uuid: &str) -> u32 {
    let digits: String = uuid
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(7)
        .collect();
    u32::from_str_radix(&digits, 16).unwrap_or_default()
}

/// Milliseconds since 1970 of an RFC 3339 text.
pub(super) fn millis(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).map_or(0, |t| t.timestamp_millis())
}

/// The first eleven digits of a hash.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..11).unwrap_or(hash)
}

pub(super) fn user(core: &Core, user: &User) -> Value {
    json!({
        "name": user.nickname, "slug": user.nickname, "emailAddress": user.email,
        "displayName": user.display_name, "id": number(&user.uuid), "active": true,
        "type": "NORMAL", "links": {"self": [{"href": core.web("/")}]},
    })
}

pub(super) fn project(core: &Core, workspace: &Workspace) -> Value {
    json!({
        "key": project_key(workspace), "id": number(&workspace.uuid), "name": workspace.name,
        "public": false, "type": "NORMAL",
        "links": {"self": [{"href": core.web(&format!("/{}/", workspace.slug))}]},
    })
}

pub(super) fn repository(core: &Core, state: &State, repository: &Repository) -> Value {
    let full_name = state.full_name(repository);
    let workspace = state.workspace(&repository.workspace);
    json!({
        "slug": repository.slug, "id": number(&repository.uuid), "name": repository.name,
        "description": repository.description, "hierarchyId": "0123456789abcdef0123",
        "scmId": "git", "state": "AVAILABLE", "statusMessage": "Available", "forkable": true,
        "project": workspace.map(|w| project(core, w)), "public": false, "archived": false,
        "links": {
            "clone": [{"href": core.web(&format!("/{full_name}.git")), "name": "http"}],
            "self": [{"href": core.web(&format!("/{full_name}"))}],
        },
    })
}

/// An author: name and address, and the user when one has that address.
fn signature(core: &Core, state: &State, name: &str, email: &str) -> Value {
    let known = state.users.iter().find(|u| {
        let own = u.email.as_deref();
        own.is_some_and(|own| own.eq_ignore_ascii_case(email))
    });
    match known {
        Some(known) => user(core, known),
        None => json!({"name": name, "emailAddress": email}),
    }
}

pub(super) fn commit(core: &Core, state: &State, commit: &Commit) -> Value {
    let parents: Vec<Value> = commit
        .parents
        .iter()
        .map(|p| json!({"id": p, "displayId": short(p)}))
        .collect();
    json!({
        "id": commit.hash, "displayId": short(&commit.hash),
        "author": signature(core, state, &commit.author_name, &commit.author_email),
        "authorTimestamp": millis(&commit.date),
        "committer": signature(core, state, &commit.committer_name, &commit.committer_email),
        "committerTimestamp": millis(&commit.committed),
        // git ends a message with a line feed, Data Center does not.
        "message": commit.message.trim_end_matches('\n'), "parents": parents,
    })
}

/// A branch or tag. `default` is the name of the default branch.
pub(super) fn reference(reference: &Ref, default: Option<&str>) -> Value {
    let mut value = json!({
        "id": reference.full, "displayId": reference.name(),
        "type": reference.kind().to_ascii_uppercase(),
        "latestCommit": reference.commit, "latestChangeset": reference.commit,
    });
    if let ("branch", Some(map)) = (reference.kind(), value.as_object_mut()) {
        map.insert("isDefault".into(), json!(default == Some(reference.name())));
    }
    value
}

/// The person behind an account: a workspace is its owner here.
pub(super) fn person(core: &Core, state: &State, account: &str) -> Value {
    let owner = || state.user(&state.workspace(account)?.owner);
    let found = state.user(account).or_else(owner);
    found.map_or(Value::Null, |u| user(core, u))
}

fn side(shown: &Value, end: &PullEnd) -> Value {
    json!({
        "id": format!("refs/heads/{}", end.branch), "displayId": end.branch,
        "latestCommit": end.commit, "type": "BRANCH", "repository": shown,
    })
}

/// A pull request of a repository.
pub(super) fn pull(core: &Core, state: &State, of: &Repository, pull: &PullRequest) -> Value {
    let shown = repository(core, state, of);
    let page = format!("/{}/pull-requests/{}", state.full_name(of), pull.id);
    let role = |account: &String, role: &str| {
        json!({
            "user": person(core, state, account), "role": role, "approved": false,
            "status": "UNAPPROVED",
        })
    };
    let reviewers = pull.reviewers.iter().map(|r| role(r, "REVIEWER"));
    let open = pull.state == PullState::Open;
    let mut value = json!({
        "id": pull.id, "version": 0, "title": pull.title, "description": pull.description,
        "state": pull.state.name(), "open": open, "closed": !open, "draft": pull.draft,
        "locked": false, "createdDate": millis(&pull.created_on),
        "updatedDate": millis(&pull.updated_on),
        "fromRef": side(&shown, &pull.source), "toRef": side(&shown, &pull.destination),
        "author": role(&pull.author, "AUTHOR"), "reviewers": reviewers.collect::<Vec<_>>(),
        "participants": [], "links": {"self": [{"href": core.web(&page)}]},
        "properties": {"commentCount": pull.comments.len()},
    });
    if let Some(map) = value.as_object_mut() {
        if !open {
            map.insert("closedDate".into(), json!(millis(&pull.updated_on)));
        }
        if let Some(hash) = &pull.merge_commit {
            let merged = json!({"mergeCommit": {"id": hash, "displayId": short(hash)}});
            map.insert("properties".into(), merged);
        }
    }
    value
}

/// A comment of a pull request.
pub(super) fn comment(core: &Core, state: &State, comment: &PullComment) -> Value {
    json!({
        "id": comment.id, "version": 0, "text": comment.content, "comments": [], "tasks": [],
        "author": person(core, state, &comment.user), "severity": "NORMAL", "state": "OPEN",
        "createdDate": millis(&comment.created_on), "updatedDate": millis(&comment.created_on),
        "properties": {},
    })
}

/// A path and its parts.
pub(super) fn path(text: &str) -> Value {
    let parts: Vec<&str> = text.split('/').collect();
    let name = parts.last().copied().unwrap_or_default();
    let parent = text.strip_suffix(name).unwrap_or_default();
    let mut value = json!({
        "components": parts, "parent": parent.trim_end_matches('/'), "name": name,
        "toString": text,
    });
    let extension = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty());
    if let (Some((_, extension)), Some(map)) = (extension, value.as_object_mut()) {
        map.insert("extension".into(), json!(extension));
    }
    value
}
