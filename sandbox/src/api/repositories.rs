use serde_json::{Value, json};

use super::{Cx, paging};
use crate::core::Core;
use crate::journal::Rule;
use crate::model::{Permission, Reach, Repository, State, Tracker};
use crate::reply::{Outcome, Reply};
use crate::wire;

pub(super) async fn list(cx: Cx) -> Outcome {
    let workspace = cx.workspace()?;
    let role = match cx.call.param("role").as_deref() {
        None | Some("member") => None,
        Some("contributor") => Some(Permission::Write),
        Some("admin" | "owner") => Some(Permission::Admin),
        Some(role) => {
            return Err(cx.wrong(Rule::BadQuery, 400, &format!("there is no role {role:?}")));
        }
    };
    cx.core.store.read(|state| {
        let seen = state
            .repositories
            .iter()
            .filter(|r| r.workspace == workspace.uuid)
            .filter(|r| cx.reach().is_none_or(|reach| state.sees(reach, r)))
            .filter(|r| role.is_none_or(|least| has(&cx, state, r, least)))
            .collect();
        let whole = |r: &&Repository| {
            let size = disk_size(&cx.core.git_path(&state.full_name(r)));
            wire::repository(&cx.core, state, r, size)
        };
        paging::pick(&cx, seen, 10, |r| brief(state, r), whole)
    })
}

/// Whether a person has at least this permission; credentials of no person have all.
fn has(cx: &Cx, state: &State, repository: &Repository, least: Permission) -> bool {
    match cx.reach() {
        Some(Reach::Person { user }) => {
            let own = state.permission(user, &repository.workspace);
            own.is_some_and(|p| p >= least)
        }
        _ => true,
    }
}

/// What repositories are filtered and sorted by.
fn brief(state: &State, repository: &Repository) -> Value {
    json!({
        "uuid": repository.uuid, "slug": repository.slug, "name": repository.name,
        "full_name": state.full_name(repository), "description": repository.description,
        "created_on": repository.created_on, "updated_on": repository.updated_on,
        "is_private": true, "has_issues": repository.tracker == Tracker::On, "language": "",
        "scm": "git", "parent": null, "project": {"key": repository.project},
        "mainbranch": {"name": repository.main_branch},
    })
}

pub(super) async fn get(cx: Cx) -> Outcome {
    let repository = cx.repository()?;
    Ok(Reply::json(200, &show(&cx.core, &repository)))
}

fn show(core: &Core, repository: &Repository) -> Value {
    let size = disk_size(&core.git_path(&core.store.read(|s| s.full_name(repository))));
    core.store
        .read(|state| wire::repository(core, state, repository, size))
}

/// Bytes of the packs and of the files at the top; an estimate, as Bitbucket's is.
fn disk_size(dir: &std::path::Path) -> u64 {
    let folders = [dir.to_owned(), dir.join("objects/pack")];
    let entries = folders
        .iter()
        .filter_map(|f| std::fs::read_dir(f).ok())
        .flatten()
        .flatten();
    entries
        .filter_map(|e| e.metadata().ok())
        .filter(|m| m.is_file())
        .map(|m| m.len())
        .sum()
}
