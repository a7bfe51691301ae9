//! Server, projects, repositories, people.

use serde_json::json;

use super::{Dc, error, project_key, wire};
use crate::journal::Rule;
use crate::model::{Permission, Repository, Workspace};
use crate::reply::{Outcome, Reply};

pub(super) async fn properties(_: Dc) -> Outcome {
    Ok(Reply::json(
        200,
        &json!({
            "version": "10.2.0", "buildNumber": "10002000", "buildDate": "1764547200000",
            "displayName": "Bitbucket",
        }),
    ))
}

pub(super) async fn user(dc: Dc) -> Outcome {
    let name = dc.arg("user");
    let found = dc.core.store.read(|state| {
        let same = |u: &&crate::model::User| !u.app && u.nickname.eq_ignore_ascii_case(name);
        state
            .users
            .iter()
            .find(same)
            .map(|u| wire::user(&dc.core, u))
    });
    let missing = || {
        error(
            404,
            "user.NoSuchUserException",
            &format!("The user '{name}' does not exist."),
        )
    };
    Ok(Reply::json(200, &found.ok_or_else(missing)?))
}

/// The least permission of `permission=REPO_READ` and the like.
fn least(dc: &Dc) -> Result<Permission, Reply> {
    match dc
        .param("permission")
        .rsplit_once('_')
        .map(|(_, tail)| tail.to_owned())
        .as_deref()
    {
        None if dc.call.param("permission").is_none() => Ok(Permission::Read),
        Some("READ" | "VIEW") => Ok(Permission::Read),
        Some("WRITE") => Ok(Permission::Write),
        Some("ADMIN") => Ok(Permission::Admin),
        _ => Err(dc.wrong(Rule::BadQuery, 400, "there is no such permission")),
    }
}

/// Workspaces in which the person may do this.
fn visible(dc: &Dc, least: Permission) -> Vec<Workspace> {
    let all = dc.core.store.read(|s| s.workspaces.clone());
    all.into_iter()
        .filter(|w| dc.permission(&w.uuid).is_some_and(|own| own >= least))
        .collect()
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

pub(super) async fn list(dc: Dc) -> Outcome {
    let mut all = visible(&dc, least(&dc)?);
    let name = dc.param("name");
    all.retain(|w| contains(&w.name, &name));
    dc.list(&all, |w| wire::project(&dc.core, w))
}

pub(super) async fn get(dc: Dc) -> Outcome {
    let project = dc.project()?;
    Ok(Reply::json(200, &wire::project(&dc.core, &project)))
}

fn show(dc: &Dc, repositories: &[Repository]) -> Outcome {
    dc.list(repositories, |r| {
        dc.core.store.read(|s| wire::repository(&dc.core, s, r))
    })
}

pub(super) async fn repositories(dc: Dc) -> Outcome {
    let project = dc.project()?;
    let own = dc.core.store.read(|state| {
        let all = state.repositories.iter();
        all.filter(|r| r.workspace == project.uuid)
            .cloned()
            .collect::<Vec<_>>()
    });
    show(&dc, &own)
}

pub(super) async fn all_repositories(dc: Dc) -> Outcome {
    let mut projects = visible(&dc, least(&dc)?);
    let (name, project, key) = (
        dc.param("name"),
        dc.param("projectname"),
        dc.param("projectkey"),
    );
    projects.retain(|w| contains(&w.name, &project));
    projects.retain(|w| key.is_empty() || project_key(w).eq_ignore_ascii_case(&key));
    let own = dc.core.store.read(|state| {
        let all = state.repositories.iter();
        let fits = |r: &&Repository| {
            projects.iter().any(|w| w.uuid == r.workspace) && contains(&r.name, &name)
        };
        all.filter(fits).cloned().collect::<Vec<_>>()
    });
    show(&dc, &own)
}

pub(super) async fn repository(dc: Dc) -> Outcome {
    let found = dc.repository(Permission::Read)?;
    let shown = dc
        .core
        .store
        .read(|s| wire::repository(&dc.core, s, &found));
    Ok(Reply::json(200, &shown))
}
