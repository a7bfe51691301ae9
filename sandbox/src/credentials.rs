//! Making long-lived credentials (bitbucket.md §6), for tests and demos.

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::core::Core;
use crate::model::{Credential, CredentialKind, Permission, Reach, Secret};
use crate::oauth::known_scopes;
use crate::protocol::scopes;
use crate::setup::NewUser;

/// Longest life of an API token in seconds.
const YEAR: i64 = 366 * 24 * 3600;

/// A credential to make. Lives are in seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum NewCredential {
    /// A person's token: basic authentication with the e-mail.
    ApiToken {
        /// Nickname, uuid or account id.
        user: String,
        /// Granular scopes.
        scopes: Vec<String>,
        /// At most a year.
        expires_in: i64,
    },
    /// Basic authentication with the nickname.
    AppPassword {
        /// Nickname, uuid or account id.
        user: String,
        /// Classic scopes.
        scopes: Vec<String>,
    },
    /// A bearer token of one repository.
    RepositoryAccessToken {
        /// `workspace/slug`.
        repo: String,
        /// Shown as the name of its account.
        name: String,
        /// Classic scopes.
        scopes: Vec<String>,
        /// None lives until revoked.
        #[serde(default)]
        expires_in: Option<i64>,
    },
    /// A bearer token of the repositories of a project.
    ProjectAccessToken {
        /// Slug or uuid.
        workspace: String,
        /// Key of the project.
        project: String,
        /// Shown as the name of its account.
        name: String,
        /// Classic scopes.
        scopes: Vec<String>,
        /// None lives until revoked.
        #[serde(default)]
        expires_in: Option<i64>,
    },
    /// A bearer token of a workspace.
    WorkspaceAccessToken {
        /// Slug or uuid.
        workspace: String,
        /// Shown as the name of its account.
        name: String,
        /// Classic scopes.
        scopes: Vec<String>,
        /// None lives until revoked.
        #[serde(default)]
        expires_in: Option<i64>,
    },
    /// An HTTP access token of Data Center, of a person.
    DataCenterToken {
        /// Nickname, uuid or account id.
        user: String,
        /// What it may do at most; the person's own rights bound it too.
        permission: Permission,
        /// None lives until revoked.
        #[serde(default)]
        expires_in: Option<i64>,
    },
}

/// What the kinds have in common.
struct Plan {
    kind: CredentialKind,
    prefix: &'static str,
    /// None makes an account of this name.
    account: Result<String, String>,
    login: Option<String>,
    reach: Reach,
    scopes: Vec<String>,
    permission: Option<Permission>,
    expires_in: Option<i64>,
}

impl Core {
    /// Makes a credential.
    pub(crate) fn create_credential(&self, new: &NewCredential) -> anyhow::Result<Credential> {
        let plan = self.plan(new)?;
        let mut made = None;
        let account = match plan.account {
            Ok(uuid) => uuid,
            Err(name) => {
                let mut account = self.user_of(&NewUser {
                    nickname: name.clone(),
                    display_name: name,
                    email: None,
                });
                account.app = true;
                made.insert(account).uuid.clone()
            }
        };
        let expires_at = plan
            .expires_in
            .map(|life| self.clock.now().timestamp() + life);
        self.store.write(|state| {
            let credential = Credential {
                id: format!("{}-{}", plan.prefix, state.credentials.len() + 1),
                kind: plan.kind,
                login: plan.login,
                secret: Secret::random(),
                account,
                reach: plan.reach,
                scopes: plan.scopes,
                permission: plan.permission,
                expires_at,
            };
            state.users.extend(made);
            state.credentials.push(credential.clone());
            credential
        })
    }

    /// Takes a credential back; it goes on standing in the list, so that numbers stay unique.
    pub(crate) fn revoke_credential(&self, id: &str) -> anyhow::Result<()> {
        let found = self.store.write(|state| {
            let found = state.credentials.iter_mut().find(|c| c.id == id)?;
            found.secret = Secret::random();
            Some(())
        })?;
        found.with_context(|| format!("no credential {id:?}"))
    }

    /// Whether app passwords work, as on compatible servers.
    pub(crate) fn allow_app_passwords(&self, allow: bool) -> anyhow::Result<()> {
        self.store.write(|state| state.app_passwords = allow)
    }

    fn plan(&self, new: &NewCredential) -> anyhow::Result<Plan> {
        match new {
            NewCredential::ApiToken {
                user,
                scopes,
                expires_in,
            } => {
                ensure!(*expires_in <= YEAR, "an API token lives a year at most");
                for scope in scopes {
                    let known = scopes::GRANULAR.contains(&scope.as_str());
                    ensure!(known, "unknown granular scope {scope:?}");
                }
                let (uuid, _, email) = self.who(user)?;
                let login = email.context("the person has no e-mail")?;
                let kind = CredentialKind::ApiToken;
                let mut plan = personal(kind, "api-token", uuid, scopes);
                plan.login = Some(login);
                plan.expires_in = Some(*expires_in);
                Ok(plan)
            }
            NewCredential::AppPassword { user, scopes } => {
                known_scopes(scopes)?;
                let (uuid, nickname, _) = self.who(user)?;
                let kind = CredentialKind::AppPassword;
                let mut plan = personal(kind, "app-password", uuid, scopes);
                plan.login = Some(nickname);
                Ok(plan)
            }
            NewCredential::DataCenterToken {
                user,
                permission,
                expires_in,
            } => {
                let (uuid, _, _) = self.who(user)?;
                let kind = CredentialKind::DataCenter;
                let mut plan = personal(kind, "data-center-token", uuid, &[]);
                plan.permission = Some(*permission);
                plan.expires_in = *expires_in;
                Ok(plan)
            }
            _ => self.plan_access_token(new),
        }
    }

    fn plan_access_token(&self, new: &NewCredential) -> anyhow::Result<Plan> {
        let workspace_of = |name: &str| {
            let found = self
                .store
                .read(|s| s.workspace(name).map(|w| w.uuid.clone()));
            found.with_context(|| format!("no workspace {name:?}"))
        };
        let (prefix, name, scopes, expires_in, reach, more): (_, _, _, _, _, &[&str]) = match new {
            NewCredential::RepositoryAccessToken {
                repo,
                name,
                scopes,
                expires_in,
            } => {
                let found = self.store.read(|s| s.by_full_name(repo).cloned());
                let found = found.with_context(|| format!("no repository {repo:?}"))?;
                let reach = Reach::Repository {
                    workspace: found.workspace,
                    repository: found.uuid,
                };
                ("repository-token", name, scopes, expires_in, reach, &[])
            }
            NewCredential::ProjectAccessToken {
                workspace,
                project,
                name,
                scopes,
                expires_in,
            } => {
                let reach = Reach::Project {
                    workspace: workspace_of(workspace)?,
                    project: project.clone(),
                };
                (
                    "project-token",
                    name,
                    scopes,
                    expires_in,
                    reach,
                    &["project"],
                )
            }
            NewCredential::WorkspaceAccessToken {
                workspace,
                name,
                scopes,
                expires_in,
            } => {
                let reach = Reach::Workspace {
                    workspace: workspace_of(workspace)?,
                };
                let more = &["project", "project:admin", "account"];
                ("workspace-token", name, scopes, expires_in, reach, more)
            }
            _ => anyhow::bail!("not an access token"),
        };
        for scope in scopes {
            let may =
                scopes::ACCESS_TOKEN.contains(&scope.as_str()) || more.contains(&scope.as_str());
            ensure!(may, "an access token of this kind cannot hold {scope:?}");
        }
        Ok(Plan {
            kind: CredentialKind::AccessToken,
            prefix,
            account: Err(name.clone()),
            login: None,
            reach,
            scopes: scopes.clone(),
            permission: None,
            expires_in: *expires_in,
        })
    }

    /// Uuid, nickname and e-mail of a person.
    fn who(&self, name: &str) -> anyhow::Result<(String, String, Option<String>)> {
        let uuid = self.person(name)?;
        let found = self.store.read(|s| s.user(&uuid).cloned());
        let user = found.with_context(|| format!("no person {name:?}"))?;
        Ok((user.uuid, user.nickname, user.email))
    }
}

fn personal(kind: CredentialKind, prefix: &'static str, user: String, scopes: &[String]) -> Plan {
    Plan {
        kind,
        prefix,
        reach: Reach::Person { user: user.clone() },
        account: Ok(user),
        login: None,
        scopes: scopes.to_vec(),
        permission: None,
        expires_in: None,
    }
}
