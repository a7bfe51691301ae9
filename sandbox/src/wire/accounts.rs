use serde_json::{Value, json};

use super::link;
use crate::core::Core;
use crate::model::{Hook, Repository, State, Subject, Tracker, User, Workspace, derived_uuid};
use crate::protocol::qsh::encode;

/// An account of `type: user`, or `app_user` when it is not a person.
pub(crate) fn user(core: &Core, user: &User) -> Value {
    json!({
        "type": if user.app { "app_user" } else { "user" }, "uuid": user.uuid, "account_id": user.account_id,
        "display_name": user.display_name, "nickname": user.nickname,
        "created_on": user.created_on,
        "links": {
            "self": link(core.api(&format!("/users/{}", encode(&user.uuid)))),
            "html": link(core.web("/")),
            "avatar": link(core.web("/avatar.svg")),
        },
    })
}

/// The workspace as the account an app is installed on.
pub(crate) fn principal(core: &Core, workspace: &Workspace) -> Value {
    json!({
        "type": "team", "uuid": workspace.uuid, "username": workspace.slug,
        "display_name": workspace.name, "created_on": workspace.created_on,
        "links": {
            "self": link(core.api(&format!("/workspaces/{}", encode(&workspace.uuid)))),
            "html": link(core.web(&format!("/{}/", workspace.slug))),
            "avatar": link(core.web("/avatar.svg")),
        },
    })
}

/// A whole workspace.
pub(crate) fn workspace(core: &Core, workspace: &Workspace) -> Value {
    let slug = &workspace.slug;
    json!({
        "type": "workspace", "uuid": workspace.uuid, "slug": slug, "name": workspace.name,
        "is_private": true, "is_privacy_enforced": false, "forking_mode": "allow_forks",
        "created_on": workspace.created_on,
        "links": {
            "self": link(core.api(&format!("/workspaces/{slug}"))),
            "html": link(core.web(&format!("/{slug}/"))),
            "avatar": link(core.web("/avatar.svg")),
            "repositories": link(core.api(&format!("/repositories/{slug}"))),
            "hooks": link(core.api(&format!("/workspaces/{slug}/hooks"))),
        },
    })
}

pub(crate) fn workspace_stub(core: &Core, workspace: &Workspace) -> Value {
    json!({
        "type": "workspace", "uuid": workspace.uuid, "slug": workspace.slug,
        "name": workspace.name,
        "links": {"self": link(core.api(&format!("/workspaces/{}", workspace.slug)))},
    })
}

/// A repository inside other objects.
pub(crate) fn repository_stub(core: &Core, full_name: &str, repository: &Repository) -> Value {
    json!({
        "type": "repository", "uuid": repository.uuid, "full_name": full_name,
        "name": repository.name,
        "links": {
            "self": link(core.api(&format!("/repositories/{full_name}"))),
            "html": link(core.web(&format!("/{full_name}"))),
            "avatar": link(core.web("/avatar.svg")),
        },
    })
}

/// A repository inside a webhook body; it has no `mainbranch` (bitbucket.md §5.3).
pub(crate) fn event_repository(core: &Core, state: &State, repository: &Repository) -> Value {
    let mut value = repository_stub(core, &state.full_name(repository), repository);
    let workspace = state.workspace(&repository.workspace);
    if let Some(map) = value.as_object_mut() {
        map.extend([
            ("is_private".to_owned(), json!(true)),
            ("scm".to_owned(), json!("git")),
            ("website".to_owned(), json!(null)),
            ("parent".to_owned(), json!(null)),
            (
                "owner".to_owned(),
                json!(workspace.map(|w| principal(core, w))),
            ),
            (
                "workspace".to_owned(),
                json!(workspace.map(|w| workspace_stub(core, w))),
            ),
            (
                "project".to_owned(),
                json!(workspace.map(|w| project(core, w, &repository.project))),
            ),
        ]);
    }
    value
}

/// A project. Its uuid comes from the workspace's and the key, so that it needs no record.
pub(crate) fn project(core: &Core, workspace: &Workspace, key: &str) -> Value {
    let self_path = format!("/workspaces/{}/projects/{key}", workspace.slug);
    json!({
        "type": "project", "key": key, "uuid": derived_uuid(&[&workspace.uuid, key]),
        "name": if key == "MAIN" { workspace.name.as_str() } else { key },
        "links": {
            "self": link(core.api(&self_path)),
            "html": link(core.web(&format!("/{}/", workspace.slug))),
            "avatar": link(core.web("/avatar.svg")),
        },
    })
}

/// A whole repository; `size` in bytes comes from its git directory.
pub(crate) fn repository(core: &Core, state: &State, repository: &Repository, size: u64) -> Value {
    let full_name = state.full_name(repository);
    let api = |tail: &str| link(core.api(&format!("/repositories/{full_name}{tail}")));
    let clone = core.web(&format!("/{full_name}.git"));
    let mut value = event_repository(core, state, repository);
    if let Some(map) = value.as_object_mut() {
        map.extend([
            ("slug".to_owned(), json!(repository.slug)),
            ("description".to_owned(), json!(repository.description)),
            ("created_on".to_owned(), json!(repository.created_on)),
            ("updated_on".to_owned(), json!(repository.updated_on)),
            ("size".to_owned(), json!(size)),
            ("language".to_owned(), json!("")),
            (
                "has_issues".to_owned(),
                json!(repository.tracker == Tracker::On),
            ),
            ("has_wiki".to_owned(), json!(false)),
            ("fork_policy".to_owned(), json!("allow_forks")),
            (
                "mainbranch".to_owned(),
                repository
                    .main_branch
                    .as_ref()
                    .map_or(Value::Null, |name| json!({"type": "branch", "name": name})),
            ),
            (
                "links".to_owned(),
                json!({
                    "self": api(""), "html": link(core.web(&format!("/{full_name}"))),
                    "avatar": link(core.web("/avatar.svg")),
                    "commits": api("/commits"), "branches": api("/refs/branches"),
                    "tags": api("/refs/tags"), "source": api("/src"), "hooks": api("/hooks"),
                    "issues": api("/issues"), "pullrequests": api("/pullrequests"),
                    "clone": [{"name": "https", "href": clone}],
                }),
            ),
        ]);
    }
    value
}

/// A hook; its secret is never shown.
pub(crate) fn hook(core: &Core, state: &State, hook: &Hook) -> Value {
    let (kind, subject, base) = match &hook.subject {
        Subject::Repository(uuid) => {
            let found = state.repositories.iter().find(|r| r.uuid == *uuid);
            let name = found.map(|r| state.full_name(r)).unwrap_or_default();
            let stub = found.map(|r| repository_stub(core, &name, r));
            ("repository", json!(stub), format!("/repositories/{name}"))
        }
        Subject::Workspace(uuid) => {
            let found = state.workspace(uuid);
            let slug = found.map(|w| w.slug.clone()).unwrap_or_default();
            (
                "workspace",
                json!(found.map(|w| workspace_stub(core, w))),
                format!("/workspaces/{slug}"),
            )
        }
    };
    json!({
        "type": "webhook_subscription", "uuid": hook.uuid, "url": hook.url,
        "description": hook.description, "subject_type": kind, "subject": subject,
        "active": hook.active, "events": hook.events, "created_at": hook.created_at,
        "secret_set": hook.secret.is_some(), "history_enabled": false, "read_only": false,
        "skip_cert_verification": false, "source": null,
        "links": {"self": link(core.api(&format!("{base}/hooks/{}", encode(&hook.uuid))))},
    })
}
