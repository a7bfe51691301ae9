//! Bitbucket Data Center on the same git repositories (bitbucket.md §7): `/rest/api/latest/…`.
//! A workspace is a project; its key is the slug in upper case.

mod auth;
mod builds;
mod commits;
mod diffs;
pub(crate) mod events;
mod files;
mod hooks;
mod paging;
mod projects;
mod pulls;
mod refs;
mod routes;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use crate::api;
use crate::call::Call;
use crate::core::Core;
use crate::git;
use crate::journal::Rule;
use crate::judge::Wrong;
use crate::model::{Permission, Repository, Workspace};
use crate::reply::{Outcome, Reply};
use crate::server::Ready;
use auth::Person;
pub(crate) use paging::Pages;
use routes::{Access, ROUTES, Route};

/// A judged call on its way through an operation.
pub(crate) struct Dc {
    core: Arc<Core>,
    call: Arc<Call>,
    /// None for public operations.
    person: Option<Person>,
    args: BTreeMap<&'static str, String>,
}

/// The error shape of Data Center. `name` is the last part of a Java class name.
fn error(status: u16, name: &str, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({"errors": [{
            "context": null, "message": message,
            "exceptionName": format!("com.atlassian.bitbucket.{name}"),
        }]}),
    )
}

/// A caller's mistake with its answer.
fn wrong(rule: Rule, status: u16, name: &str, message: &str) -> Wrong {
    Wrong::new(rule, status, message).answering(error(status, name, message))
}

/// The key of the project that a workspace is.
fn project_key(workspace: &Workspace) -> String {
    let letters = workspace
        .slug
        .chars()
        .map(|c| match c.is_ascii_alphanumeric() {
            true => c.to_ascii_uppercase(),
            false => '_',
        });
    letters.collect()
}

impl Dc {
    /// A placeholder of the route, decoded; empty when the route has none of that name.
    fn arg(&self, name: &str) -> &str {
        self.args.get(name).map_or("", String::as_str)
    }

    /// Records a broken rule and gives the answer to it.
    fn wrong(&self, rule: Rule, status: u16, message: &str) -> Reply {
        wrong(
            rule,
            status,
            "validation.ArgumentValidationException",
            message,
        )
        .refuse(&self.core, &self.call)
    }

    /// The project of the path, when the person sees it.
    fn project(&self) -> Result<Workspace, Reply> {
        let key = self.arg("project");
        let found = self.core.store.read(|state| {
            let fits = |w: &&Workspace| project_key(w).eq_ignore_ascii_case(key);
            state.workspaces.iter().find(fits).cloned()
        });
        let Some(found) = found else {
            let message = format!("Project {key} does not exist.");
            return Err(error(404, "project.NoSuchProjectException", &message));
        };
        self.need(&found.uuid, Permission::Read)?;
        Ok(found)
    }

    /// The repository of the path, when the person may do this with it.
    fn repository(&self, least: Permission) -> Result<Repository, Reply> {
        let project = self.project()?;
        let slug = self.arg("repo");
        let found = self
            .core
            .store
            .read(|s| s.repository(&project.uuid, slug).cloned());
        let Some(found) = found else {
            let message = format!(
                "Repository {}/{slug} does not exist.",
                project_key(&project)
            );
            return Err(error(404, "repository.NoSuchRepositoryException", &message));
        };
        self.need(&project.uuid, least)?;
        Ok(found)
    }

    /// What the person may do with the repositories of a workspace.
    fn permission(&self, workspace: &str) -> Option<Permission> {
        let person = self.person.as_ref()?;
        let own = self
            .core
            .store
            .read(|s| s.permission(&person.user, workspace))?;
        Some(own.min(person.permission))
    }

    /// Data Center answers 401 to somebody it knows who may not do this.
    fn need(&self, workspace: &str, least: Permission) -> Result<(), Reply> {
        if self.permission(workspace).is_some_and(|own| own >= least) {
            return Ok(());
        }
        let message = "You are not permitted to access this resource";
        Err(
            wrong(Rule::Permission, 401, "AuthorisationException", message)
                .refuse(&self.core, &self.call),
        )
    }

    fn git_dir(&self, repository: &Repository) -> PathBuf {
        self.core.git_dir(repository)
    }

    /// The full hash of a commit, branch or tag; the default branch for an empty name.
    async fn resolve(&self, repository: &Repository, name: &str) -> Result<String, Reply> {
        let short = ["refs/heads/", "refs/tags/"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or(name);
        let short = if short.is_empty() { "HEAD" } else { short };
        let found = git::refs::resolve(&self.git_dir(repository), short).await;
        found.ok_or_else(|| {
            let message = format!(
                "Commit '{name}' does not exist in repository '{}'.",
                repository.slug
            );
            error(404, "commit.NoSuchCommitException", &message)
        })
    }

    /// The last value of a query parameter; empty when absent.
    fn param(&self, name: &str) -> String {
        self.call.param(name).unwrap_or_default()
    }
}

/// Judges version, route, parameters, credential and rate of a call.
pub(crate) fn judge(core: &Arc<Core>, call: &Arc<Call>) -> Result<Ready, Reply> {
    let refuse = |rule, status, message: &str| {
        wrong(rule, status, "NotFoundException", message).refuse(core, call)
    };
    let (route, args) = find(call).map_err(|rule| match rule {
        Rule::WrongMethod => refuse(rule, 405, "Method Not Allowed"),
        _ => refuse(rule, 404, "null for uri"),
    })?;
    for (name, _) in call.params() {
        if !route.params.contains(&name.as_str()) && name != "access_token" {
            let detail = format!("{} has no parameter {name:?}", route.template);
            core.violation(Rule::UnknownParameter, &call.method, &call.target(), detail);
        }
    }
    let (person, headers) = match route.access {
        Access::Public => (None, Vec::new()),
        Access::Signed => {
            let (person, headers) = auth::admit(core, call)?;
            (Some(person), headers)
        }
    };
    let credential = person.as_ref().map(|p| p.label.clone());
    let dc = Dc {
        core: Arc::clone(core),
        call: Arc::clone(call),
        person,
        args,
    };
    Ok(Ready {
        template: route.template,
        credential,
        work: Box::pin(answer(route, dc, headers)),
    })
}

async fn answer(route: &'static Route, dc: Dc, headers: Vec<(&'static str, String)>) -> Outcome {
    match (route.run)(dc).await {
        Ok(reply) => Ok(reply.with_all(&headers)),
        Err(refused) => Err(refused.with_all(&headers)),
    }
}

fn find(call: &Call) -> Result<(&'static Route, BTreeMap<&'static str, String>), Rule> {
    let segments = call.segments();
    let mut other_method = false;
    for route in ROUTES {
        let Some(args) = api::fit(route.template, &segments) else {
            continue;
        };
        if args
            .get("version")
            .is_some_and(|v| v != "latest" && v != "1.0")
        {
            continue;
        }
        if route.method == call.method || (route.method == "GET" && call.method == "HEAD") {
            return Ok((route, args));
        }
        other_method = true;
    }
    Err(if other_method {
        Rule::WrongMethod
    } else {
        Rule::UnknownRoute
    })
}
