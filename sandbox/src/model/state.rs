use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Code, CommitStatus, Consumer, Credential, Issue, Member, PullLinks, PullRequest, RefreshToken,
    Secret,
};
use crate::protocol::scopes;

/// A workspace; also the account (`type: team`) an app is installed on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Workspace {
    /// In braces.
    pub uuid: String,
    /// Lower case, used in URLs.
    pub slug: String,
    /// Shown to people.
    pub name: String,
    /// Account uuid of the person who owns it.
    pub owner: String,
    /// RFC 3339.
    pub created_on: String,
}

/// A person.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// In braces.
    pub uuid: String,
    /// Atlassian account id.
    pub account_id: String,
    /// Short name.
    pub nickname: String,
    /// Shown to people.
    pub display_name: String,
    /// Maps commit authors to accounts.
    pub email: Option<String>,
    /// RFC 3339.
    pub created_on: String,
    /// Not a person: the account of a consumer or an access token (`type: app_user`).
    #[serde(default)]
    pub app: bool,
}

/// Whether a repository has an issue tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracker {
    /// The tracker works.
    On,
    /// Never enabled: 404 with "no issue tracker".
    Off,
    /// After the removal of the feature: 410 (bitbucket.md §2.2).
    Removed,
}

/// A repository; its objects are in a bare git repository on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repository {
    /// In braces.
    pub uuid: String,
    /// Uuid of the workspace that holds it.
    pub workspace: String,
    /// Lower case, used in URLs.
    pub slug: String,
    /// Shown to people.
    pub name: String,
    /// Shown to people.
    pub description: String,
    /// State of the issue tracker.
    pub tracker: Tracker,
    /// The branch HEAD points to, once it exists.
    pub main_branch: Option<String>,
    /// RFC 3339.
    pub created_on: String,
    /// RFC 3339; the last push.
    pub updated_on: String,
    /// Oldest first.
    pub issues: Vec<Issue>,
    /// Number of the last issue ever made.
    pub last_issue: u64,
    /// Key of its project.
    #[serde(default = "main_project")]
    pub project: String,
    /// Part of a [`super::Bulk`] and not changed since: it is not written.
    #[serde(skip)]
    pub synthetic: bool,
}

fn main_project() -> String {
    "MAIN".to_owned()
}

/// What a hook listens to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "uuid", rename_all = "snake_case")]
pub enum Subject {
    /// One repository, by uuid.
    Repository(String),
    /// Every repository of a workspace, by uuid.
    Workspace(String),
}

/// A webhook subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hook {
    /// In braces.
    pub uuid: String,
    /// Where it listens.
    pub subject: Subject,
    /// Where deliveries go.
    pub url: String,
    /// Free text.
    pub description: String,
    /// Inactive hooks get nothing.
    pub active: bool,
    /// Event keys.
    pub events: Vec<String>,
    /// Signs deliveries; never read back.
    pub secret: Option<Secret>,
    /// RFC 3339.
    pub created_at: String,
}

/// One installation of a Connect app on a workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Install {
    /// `connection:<n>` or `ari:…`.
    pub client_key: String,
    /// Key of the app's descriptor.
    pub app_key: String,
    /// Where the descriptor came from.
    pub descriptor_uri: String,
    /// The descriptor's `baseUrl`.
    pub base_url: String,
    /// Paths of the lifecycle callbacks under `base_url`.
    pub installed_path: String,
    /// Path under `base_url`.
    pub uninstalled_path: String,
    /// Path under `base_url` the browser is sent to after an install.
    pub post_install_path: Option<String>,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// Uuid of the workspace it is installed on.
    pub workspace: String,
    /// HMAC key of both directions.
    pub secret: Secret,
    /// The secret of an install that the app has not answered yet.
    pub new_secret: Option<Secret>,
    /// False after an uninstall; the connection keeps its client key.
    pub live: bool,
    /// RFC 3339.
    pub installed_on: String,
}

/// An access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    /// The bearer text.
    pub token: Secret,
    /// Uuid of the workspace it reaches.
    pub workspace: String,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// Unix seconds; none for a token that lives until revoked.
    pub expires_at: Option<i64>,
    /// The install that exchanged its JWT for it.
    pub client_key: Option<String>,
    /// Key of the consumer it was given to.
    #[serde(default)]
    pub consumer: Option<String>,
    /// Account it acts as when that is not the workspace: a person who granted access, or the
    /// consumer's own account.
    #[serde(default)]
    pub account: Option<String>,
    /// True when it reaches what the person of `account` may see, and not the workspace.
    #[serde(default)]
    pub personal: bool,
}

/// A registered app, for installs by `addon_key`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct App {
    /// Descriptor key.
    pub key: String,
    /// Where its descriptor is.
    pub descriptor_uri: String,
}

/// Everything that survives a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Last `<n>` of `connection:<n>`.
    pub last_connection: u64,
    /// Last comment id.
    pub last_comment: u64,
    /// In order of creation.
    pub workspaces: Vec<Workspace>,
    /// In order of creation.
    pub users: Vec<User>,
    /// In order of creation.
    #[serde(serialize_with = "written")]
    pub repositories: Vec<Repository>,
    /// Repositories that are made from a name and a number.
    pub bulks: Vec<super::Bulk>,
    /// In order of creation.
    pub hooks: Vec<Hook>,
    /// In order of creation.
    pub installs: Vec<Install>,
    /// In order of creation.
    pub tokens: Vec<Token>,
    /// In order of creation.
    pub apps: Vec<App>,
    /// People in workspaces, beside the owners.
    pub members: Vec<Member>,
    /// In order of creation.
    pub consumers: Vec<Consumer>,
    /// Authorization codes that were not used yet.
    pub codes: Vec<Code>,
    /// In order of creation.
    pub refresh_tokens: Vec<RefreshToken>,
    /// In order of creation.
    pub credentials: Vec<Credential>,
    /// Pull requests of all repositories, in order of creation.
    pub pulls: Vec<PullRequest>,
    /// Whether commits know their pull requests, by uuid of the repository; they do where nothing is said.
    pub pull_links: BTreeMap<String, PullLinks>,
    /// Build statuses of Cloud, in order of creation.
    pub statuses: Vec<CommitStatus>,
    /// Webhooks of Data Center, in order of creation.
    pub dc_hooks: Vec<super::DcHook>,
    /// Last id of those.
    pub last_dc_hook: u64,
    /// Build statuses of Data Center.
    pub dc_builds: Vec<super::DcBuild>,
    /// Whether app passwords work, as on compatible servers.
    pub app_passwords: bool,
}

/// Leaves out what [`State::expand`] makes again.
fn written<S: serde::Serializer>(all: &[Repository], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(all.iter().filter(|r| !r.synthetic))
}

impl State {
    /// A workspace by slug or by uuid in braces.
    pub fn workspace(&self, name: &str) -> Option<&Workspace> {
        self.workspaces
            .iter()
            .find(|w| w.uuid.eq_ignore_ascii_case(name) || w.slug.eq_ignore_ascii_case(name))
    }

    /// A repository by the two path parts of its address. The workspace may be `{}` when the
    /// repository is named by uuid (bitbucket.md §4.6).
    pub fn repository(&self, workspace: &str, repo: &str) -> Option<&Repository> {
        if workspace == "{}" {
            return self
                .repositories
                .iter()
                .find(|r| r.uuid.eq_ignore_ascii_case(repo));
        }
        let workspace = self.workspace(workspace)?;
        self.repositories.iter().find(|r| {
            r.workspace == workspace.uuid
                && (r.slug.eq_ignore_ascii_case(repo) || r.uuid.eq_ignore_ascii_case(repo))
        })
    }

    /// A repository by `workspace/slug`.
    pub fn by_full_name(&self, full_name: &str) -> Option<&Repository> {
        let (workspace, slug) = full_name.split_once('/')?;
        self.repository(workspace, slug)
    }

    /// `workspace/slug`.
    pub fn full_name(&self, repository: &Repository) -> String {
        let workspace = self.workspace(&repository.workspace);
        format!("{}/{}", workspace.map_or("", |w| &w.slug), repository.slug)
    }

    /// A repository to change, by uuid.
    pub fn repository_mut(&mut self, uuid: &str) -> Option<&mut Repository> {
        let found = self.repositories.iter_mut().find(|r| r.uuid == uuid)?;
        found.synthetic = false;
        Some(found)
    }

    /// A person by uuid or account id.
    pub fn user(&self, id: &str) -> Option<&User> {
        self.users
            .iter()
            .find(|u| u.uuid == id || u.account_id == id)
    }

    /// An installation by client key, live or not.
    pub fn install(&self, client_key: &str) -> Option<&Install> {
        self.installs.iter().find(|i| i.client_key == client_key)
    }

    /// An installation to change.
    pub fn install_mut(&mut self, client_key: &str) -> Option<&mut Install> {
        self.installs
            .iter_mut()
            .find(|i| i.client_key == client_key)
    }
}

impl Install {
    /// Secrets that verify a token now: during an install call the new one counts already.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.live
            .then_some(&self.secret)
            .into_iter()
            .chain(self.new_secret.as_ref())
    }

    /// Whether the app may do what needs `scope`.
    pub fn allows(&self, scope: &str) -> bool {
        scopes::allows(&self.scopes, scope)
    }
}

impl State {
    /// Every secret in it, live or not.
    pub(crate) fn every_secret(&self) -> Vec<Secret> {
        let installs = self.installs.iter().flat_map(|install| {
            [Some(&install.secret), install.new_secret.as_ref()]
                .into_iter()
                .flatten()
        });
        self.hooks
            .iter()
            .filter_map(|hook| hook.secret.as_ref())
            .chain(installs)
            .chain(self.tokens.iter().map(|token| &token.token))
            .chain(self.consumers.iter().map(|consumer| &consumer.secret))
            .chain(self.codes.iter().map(|code| &code.code))
            .chain(self.refresh_tokens.iter().map(|token| &token.token))
            .chain(self.credentials.iter().map(|credential| &credential.secret))
            .chain(self.dc_hooks.iter().filter_map(|hook| hook.secret.as_ref()))
            .cloned()
            .collect()
    }
}
