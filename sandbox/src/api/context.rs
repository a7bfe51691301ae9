use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::call::Call;
use crate::core::Core;
use crate::git;
use crate::journal::Rule;
use crate::judge::{Caller, Wrong};
use crate::model::{Permission, Reach, Repository, Role, Workspace};
use crate::reply::Reply;

/// A judged call on its way through an operation.
pub(crate) struct Cx {
    pub(crate) core: Arc<Core>,
    pub(crate) call: Arc<Call>,
    /// None for public operations.
    pub(crate) caller: Option<Caller>,
    pub(crate) args: BTreeMap<&'static str, String>,
}

impl Cx {
    /// A placeholder of the route, decoded; empty when the route has none of that name.
    pub(crate) fn arg(&self, name: &str) -> &str {
        self.args.get(name).map_or("", String::as_str)
    }

    /// Records a broken rule and gives the answer to it.
    pub(crate) fn wrong(&self, rule: Rule, status: u16, detail: &str) -> Reply {
        Wrong::new(rule, status, detail).refuse(&self.core, &self.call)
    }

    /// The workspace of the path.
    pub(crate) fn workspace(&self) -> Result<Workspace, Reply> {
        let name = self.arg("workspace");
        self.core
            .store
            .read(|state| state.workspace(name).cloned())
            .ok_or_else(|| Reply::error(404, &format!("No workspace with identifier '{name}'.")))
    }

    /// The repository of the path.
    pub(crate) fn repository(&self) -> Result<Repository, Reply> {
        let (workspace, repo) = (self.arg("workspace"), self.arg("repo"));
        self.core
            .store
            .read(|state| state.repository(workspace, repo).cloned())
            .ok_or_else(|| {
                Reply::error(
                    404,
                    &format!(
                        "You may not have access to this repository or it no longer exists in this \
                     workspace: {workspace}/{repo}"
                    ),
                )
            })
    }

    /// Refuses a credential that does not administer the workspace: a person who is not an owner,
    /// or a token of a project or repository.
    pub(crate) fn need_owner(&self, workspace: &str) -> Result<(), Reply> {
        let owns = self.core.store.read(|state| match self.reach() {
            Some(Reach::Person { user }) => state.role(user, workspace) == Some(Role::Owner),
            Some(Reach::Workspace { .. }) | None => true,
            Some(Reach::Project { .. } | Reach::Repository { .. }) => false,
        });
        self.permit(owns, "the account does not administer this workspace")
    }

    /// Refuses a person who does not administer the repository.
    pub(crate) fn need_admin(&self, repository: &Repository) -> Result<(), Reply> {
        let detail = "the account does not administer this repository";
        self.permit(self.has(repository, Permission::Admin), detail)
    }

    /// Refuses a person who may not push to the repository.
    pub(crate) fn need_write(&self, repository: &Repository) -> Result<(), Reply> {
        let detail = "the account may not write to this repository";
        self.permit(self.has(repository, Permission::Write), detail)
    }

    /// Whether the caller has a permission; what is not a person goes by its scopes alone.
    fn has(&self, repository: &Repository, least: Permission) -> bool {
        self.core.store.read(|state| match self.reach() {
            Some(Reach::Person { user }) => {
                state.permission(user, &repository.workspace) >= Some(least)
            }
            _ => true,
        })
    }

    /// What the caller reaches; none for a public call.
    pub(crate) fn reach(&self) -> Option<&Reach> {
        self.caller.as_ref().map(|c| &c.reach)
    }

    fn permit(&self, may: bool, detail: &str) -> Result<(), Reply> {
        match may {
            true => Ok(()),
            false => Err(self.wrong(Rule::Permission, 403, detail)),
        }
    }

    /// The git directory of a repository.
    pub(crate) fn git_dir(&self, repository: &Repository) -> PathBuf {
        self.core.git_dir(repository)
    }

    /// The full hash of a revision named by the caller.
    pub(crate) async fn resolve(
        &self,
        repository: &Repository,
        revision: &str,
    ) -> Result<String, Reply> {
        let found = git::refs::resolve(&self.git_dir(repository), revision).await;
        found.ok_or_else(|| Reply::error(404, &format!("Commit not found: {revision}")))
    }

    /// Uuid of the account that acts; empty for a public call.
    pub(crate) fn actor(&self) -> String {
        self.caller
            .as_ref()
            .map(|c| c.account.clone())
            .unwrap_or_default()
    }
}
