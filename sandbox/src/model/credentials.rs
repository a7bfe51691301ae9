use serde::{Deserialize, Serialize};

use super::{Repository, Secret, State};

/// What a credential reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reach {
    /// All of a workspace, by uuid.
    Workspace {
        /// In braces.
        workspace: String,
    },
    /// The repositories of one project.
    Project {
        /// Uuid of the workspace.
        workspace: String,
        /// Key of the project.
        project: String,
    },
    /// One repository.
    Repository {
        /// Uuid of the workspace.
        workspace: String,
        /// Uuid of the repository.
        repository: String,
    },
    /// Whatever a person may see, by account uuid.
    Person {
        /// In braces.
        user: String,
    },
}

/// What a person may do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Look.
    Read,
    /// Push.
    Write,
    /// Change settings and hooks.
    Admin,
}

impl Permission {
    /// The word of the API.
    pub fn name(self) -> &'static str {
        match self {
            Permission::Read => "read",
            Permission::Write => "write",
            Permission::Admin => "admin",
        }
    }
}

/// A person's role in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees what it was given.
    Member,
    /// Makes projects too.
    CreateProject,
    /// Administers the workspace.
    Owner,
}

impl Role {
    /// The word of the API.
    pub fn name(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::CreateProject => "create-project",
            Role::Owner => "owner",
        }
    }
}

/// A person in a workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// Uuid of the workspace.
    pub workspace: String,
    /// Account uuid.
    pub user: String,
    /// Role in the workspace.
    pub role: Role,
    /// What the person may do with each of its repositories.
    pub permission: Permission,
}

/// An OAuth 2.0 consumer of a workspace (bitbucket.md §6).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Consumer {
    /// The client id.
    pub key: String,
    /// The client secret.
    pub secret: Secret,
    /// Shown on the page that asks for access.
    pub name: String,
    /// Uuid of the workspace that owns it.
    pub workspace: String,
    /// What `redirect_uri` must begin with.
    pub callback_url: Option<String>,
    /// Classic scopes; they are set here and not asked for.
    pub scopes: Vec<String>,
    /// Only a private consumer may use client credentials.
    pub private: bool,
    /// The account that client credentials act as.
    pub app_user: String,
    /// Life of its access tokens in seconds.
    pub expires_in: i64,
    /// Seconds that a used refresh token goes on working.
    pub refresh_grace: i64,
}

/// An authorization code.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Code {
    /// The code itself.
    pub code: Secret,
    /// Key of the consumer it was given to.
    pub consumer: String,
    /// Account uuid of the person who granted access.
    pub user: String,
    /// As given on the authorize link.
    pub redirect_uri: Option<String>,
    /// Unix seconds.
    pub expires_at: i64,
}

/// A refresh token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefreshToken {
    /// The token itself.
    pub token: Secret,
    /// Key of the consumer it was given to.
    pub consumer: String,
    /// Account uuid of the person who granted access.
    pub user: String,
    /// Unix seconds: three months without use, or the end of its grace after use.
    pub expires_at: i64,
    /// Whether it was exchanged already.
    pub used: bool,
}

/// Kinds of long-lived credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A person's token: basic authentication with the e-mail, granular scopes.
    ApiToken,
    /// A person's password for one application: basic authentication with the user name.
    AppPassword,
    /// A bearer token of a repository, project or workspace.
    AccessToken,
    /// A bearer token of Data Center.
    DataCenter,
}

/// A long-lived credential.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credential {
    /// Names it in records and controls.
    pub id: String,
    /// How it is used.
    pub kind: CredentialKind,
    /// E-mail or user name, for basic authentication.
    pub login: Option<String>,
    /// The token or password.
    pub secret: Secret,
    /// Account uuid it acts as.
    pub account: String,
    /// What it reaches.
    pub reach: Reach,
    /// Granular scopes of an API token, classic scopes of the others.
    pub scopes: Vec<String>,
    /// What it may do, on Data Center.
    pub permission: Option<Permission>,
    /// Unix seconds; none for one that lives until revoked.
    pub expires_at: Option<i64>,
}

impl State {
    /// The role of a person in a workspace.
    pub fn role(&self, user: &str, workspace: &str) -> Option<Role> {
        if self
            .workspaces
            .iter()
            .any(|w| w.uuid == workspace && w.owner == user)
        {
            return Some(Role::Owner);
        }
        self.member(user, workspace).map(|m| m.role)
    }

    fn member(&self, user: &str, workspace: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|m| m.user == user && m.workspace == workspace)
    }

    /// What a person may do with the repositories of a workspace.
    pub fn permission(&self, user: &str, workspace: &str) -> Option<Permission> {
        match self.role(user, workspace)? {
            Role::Owner => Some(Permission::Admin),
            _ => self.member(user, workspace).map(|m| m.permission),
        }
    }

    /// Whether a credential sees a workspace at all.
    pub fn sees_workspace(&self, reach: &Reach, uuid: &str) -> bool {
        match reach {
            Reach::Workspace { workspace }
            | Reach::Project { workspace, .. }
            | Reach::Repository { workspace, .. } => workspace == uuid,
            Reach::Person { user } => self.role(user, uuid).is_some(),
        }
    }

    /// Whether a credential sees a repository.
    pub fn sees(&self, reach: &Reach, repository: &Repository) -> bool {
        match reach {
            Reach::Workspace { workspace } => *workspace == repository.workspace,
            Reach::Project { workspace, project } => {
                *workspace == repository.workspace && *project == repository.project
            }
            Reach::Repository {
                repository: own, ..
            } => *own == repository.uuid,
            Reach::Person { user } => self.role(user, &repository.workspace).is_some(),
        }
    }

    /// A consumer by its key.
    pub fn consumer(&self, key: &str) -> Option<&Consumer> {
        self.consumers.iter().find(|c| c.key == key)
    }
}
