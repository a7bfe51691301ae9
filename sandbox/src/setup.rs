//! Making workspaces, people, repositories, tokens and commits, for tests and demos.

mod pulls;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use crate::api::api_commit;
use crate::core::{Core, braced_uuid};
use crate::git;
use crate::git::write::NewCommit;
use crate::model::{
    App, Bulk, Member, Permission, Repository, Role, Secret, Token, Tracker, User, Workspace,
};
use crate::oauth::known_scopes;
pub use pulls::NewPullRequest;
pub(crate) use pulls::{PullDecline, PullMerge, SetPullLinks};

/// A workspace to make.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewWorkspace {
    /// Lower-case letters, digits, `-`, `_` and `.`.
    pub slug: String,
    /// Shown to people; the slug when absent.
    #[serde(default)]
    pub name: Option<String>,
}

/// A repository to make.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRepository {
    /// Slug or uuid of the workspace.
    pub workspace: String,
    /// Lower-case letters, digits, `-`, `_` and `.`.
    pub slug: String,
    /// Shown to people; the slug when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Shown to people.
    #[serde(default)]
    pub description: String,
    /// Whether the tracker works; true when absent.
    #[serde(default = "yes")]
    pub has_issues: bool,
    /// Key of its project; `MAIN` when absent. The project is made with its first repository.
    #[serde(default = "main_project")]
    pub project: String,
}

fn main_project() -> String {
    "MAIN".to_owned()
}

fn yes() -> bool {
    true
}

impl NewRepository {
    /// A repository with an issue tracker.
    pub fn new(workspace: &str, slug: &str) -> Self {
        Self {
            workspace: workspace.to_owned(),
            slug: slug.to_owned(),
            name: None,
            description: String::new(),
            has_issues: true,
            project: main_project(),
        }
    }
}

/// Many repositories to make as names alone. One gets its git repository when it is first opened.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBulk {
    /// Slug or uuid of the workspace.
    pub workspace: String,
    /// Slugs are `<prefix>-00001` and so on.
    pub prefix: String,
    /// At most 99,999.
    pub count: u32,
}

/// A person to make.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Shown to people.
    pub display_name: String,
    /// Short name; git pushes name their user by it.
    pub nickname: String,
    /// Maps commit authors to this person.
    #[serde(default)]
    pub email: Option<String>,
}

/// A person's place in a workspace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// Slug or uuid.
    pub workspace: String,
    /// Nickname, uuid or account id.
    pub user: String,
    /// Role in the workspace; member when absent.
    #[serde(default = "member")]
    pub role: Role,
    /// What the person may do with its repositories; write when absent.
    #[serde(default = "write")]
    pub permission: Permission,
}

fn member() -> Role {
    Role::Member
}

fn write() -> Permission {
    Permission::Write
}

/// A token to make.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Slug or uuid.
    pub workspace: String,
    /// Classic scope names.
    pub scopes: Vec<String>,
    /// Seconds; none for a token that lives until revoked.
    #[serde(default)]
    pub expires_in: Option<i64>,
}

/// A commit to make without a clone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommitRequest {
    /// `workspace/slug`.
    pub repo: String,
    /// The main branch when empty.
    pub branch: String,
    /// Commit message.
    pub message: String,
    /// `Name <mail>`.
    pub author: Option<String>,
    /// RFC 3339; now when absent.
    pub date: Option<String>,
    /// Path to text.
    pub files: BTreeMap<String, String>,
    /// Paths to delete.
    pub delete: Vec<String>,
}

fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 62
        && !text.starts_with(['-', '.'])
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
        && !text.ends_with(".git")
}

impl Core {
    pub(crate) fn create_workspace(&self, new: &NewWorkspace) -> anyhow::Result<Workspace> {
        ensure!(is_slug(&new.slug), "{:?} is not a slug", new.slug);
        let reserved = ["site", "2.0", "rest", "_sandbox", "avatar.svg"];
        ensure!(
            !reserved.contains(&new.slug.as_str()),
            "{:?} is reserved",
            new.slug
        );
        let name = new.name.clone().unwrap_or_else(|| new.slug.clone());
        let owner = self.user_of(&NewUser {
            display_name: format!("{name} Owner"),
            nickname: format!("{}-owner", new.slug),
            email: None,
        });
        let workspace = Workspace {
            uuid: braced_uuid(),
            slug: new.slug.clone(),
            name,
            owner: owner.uuid.clone(),
            created_on: self.clock.stamp(),
        };
        let fresh = self.store.write(|state| {
            let fresh = state.workspace(&workspace.slug).is_none();
            if fresh {
                state.users.push(owner);
                state.workspaces.push(workspace.clone());
            }
            fresh
        })?;
        ensure!(fresh, "workspace {} exists", new.slug);
        Ok(workspace)
    }

    pub(crate) fn user_of(&self, new: &NewUser) -> User {
        User {
            uuid: braced_uuid(),
            account_id: format!("557058:{}", uuid::Uuid::new_v4()),
            nickname: new.nickname.clone(),
            display_name: new.display_name.clone(),
            email: new.email.clone(),
            created_on: self.clock.stamp(),
            app: false,
        }
    }

    pub(crate) fn create_user(&self, new: &NewUser) -> anyhow::Result<User> {
        let user = self.user_of(new);
        self.store.write(|state| state.users.push(user.clone()))?;
        Ok(user)
    }

    /// Puts a person into a workspace, or changes the place it has.
    pub(crate) fn add_member(&self, new: &NewMember) -> anyhow::Result<()> {
        let user = self.person(&new.user)?;
        let workspace = self
            .store
            .read(|s| s.workspace(&new.workspace).map(|w| w.uuid.clone()))
            .with_context(|| format!("no workspace {:?}", new.workspace))?;
        self.store.write(|state| {
            state
                .members
                .retain(|m| m.user != user || m.workspace != workspace);
            state.members.push(Member {
                workspace,
                user,
                role: new.role,
                permission: new.permission,
            });
        })
    }

    /// Uuid of a person by nickname, uuid or account id.
    pub(crate) fn person(&self, name: &str) -> anyhow::Result<String> {
        let found = self.store.read(|state| {
            let by_name = |u: &&User| u.nickname.eq_ignore_ascii_case(name);
            let user = state.user(name).or(state.users.iter().find(by_name));
            user.filter(|u| !u.app).map(|u| u.uuid.clone())
        });
        found.with_context(|| format!("no person {name:?}"))
    }

    pub(crate) async fn create_repository(
        &self,
        new: &NewRepository,
    ) -> anyhow::Result<Repository> {
        ensure!(is_slug(&new.slug), "{:?} is not a slug", new.slug);
        let workspace = self
            .store
            .read(|state| state.workspace(&new.workspace).cloned())
            .with_context(|| format!("no workspace {:?}", new.workspace))?;
        let now = self.clock.stamp();
        let repository = Repository {
            uuid: braced_uuid(),
            workspace: workspace.uuid,
            slug: new.slug.clone(),
            name: new.name.clone().unwrap_or_else(|| new.slug.clone()),
            description: new.description.clone(),
            tracker: if new.has_issues {
                Tracker::On
            } else {
                Tracker::Off
            },
            main_branch: None,
            created_on: now.clone(),
            updated_on: now,
            issues: Vec::new(),
            last_issue: 0,
            project: new.project.clone(),
            synthetic: false,
        };
        if self
            .store
            .read(|s| s.repository(&new.workspace, &new.slug).is_some())
        {
            bail!("repository {}/{} exists", workspace.slug, new.slug);
        }
        git::init(&self.git_dir(&repository)).await?;
        self.store
            .write(|state| state.repositories.push(repository.clone()))?;
        Ok(repository)
    }

    pub(crate) fn create_bulk(&self, new: &NewBulk) -> anyhow::Result<()> {
        ensure!(is_slug(&new.prefix), "{:?} is not a slug", new.prefix);
        ensure!(new.count <= 99_999, "at most 99,999 repositories");
        let workspace = self
            .store
            .read(|state| state.workspace(&new.workspace).map(|w| w.uuid.clone()))
            .with_context(|| format!("no workspace {:?}", new.workspace))?;
        let bulk = Bulk {
            workspace,
            prefix: new.prefix.clone(),
            count: new.count,
            created_on: self.clock.stamp(),
        };
        let fresh = self.store.write(|state| {
            let same = |b: &Bulk| b.workspace == bulk.workspace && b.prefix == bulk.prefix;
            let fresh = !state.bulks.iter().any(same);
            if fresh {
                state.bulks.push(bulk);
                state.expand();
            }
            fresh
        })?;
        ensure!(fresh, "{:?} was made before", new.prefix);
        Ok(())
    }

    pub(crate) fn set_tracker(&self, full_name: &str, tracker: Tracker) -> anyhow::Result<()> {
        let found = self.store.write(|state| {
            let uuid = state.by_full_name(full_name)?.uuid.clone();
            state.repository_mut(&uuid)?.tracker = tracker;
            Some(())
        })?;
        found.with_context(|| format!("no repository {full_name:?}"))
    }

    pub(crate) fn create_token(&self, new: &NewToken) -> anyhow::Result<Secret> {
        known_scopes(&new.scopes)?;
        let workspace = self
            .store
            .read(|state| state.workspace(&new.workspace).map(|w| w.uuid.clone()))
            .with_context(|| format!("no workspace {:?}", new.workspace))?;
        let token = Secret::random();
        let expires_at = new
            .expires_in
            .map(|life| self.clock.now().timestamp() + life);
        self.store.write(|state| {
            state.tokens.push(Token {
                token: token.clone(),
                workspace,
                scopes: new.scopes.clone(),
                expires_at,
                client_key: None,
                consumer: None,
                account: None,
                personal: false,
            });
        })?;
        Ok(token)
    }

    pub(crate) fn register_app(&self, key: &str, descriptor_uri: &str) -> anyhow::Result<()> {
        self.store.write(|state| {
            state.apps.retain(|app| app.key != key);
            state.apps.push(App {
                key: key.to_owned(),
                descriptor_uri: descriptor_uri.to_owned(),
            });
        })
    }

    pub(crate) async fn commit(
        self: &Arc<Self>,
        request: &CommitRequest,
    ) -> anyhow::Result<String> {
        let repository = self
            .store
            .read(|state| state.by_full_name(&request.repo).cloned())
            .with_context(|| format!("no repository {:?}", request.repo))?;
        let author = request
            .author
            .as_deref()
            .unwrap_or("Sandbox <sandbox@localhost>");
        let (name, mail) = author
            .rsplit_once(" <")
            .and_then(|(name, mail)| Some((name, mail.strip_suffix('>')?)))
            .context("author must be `Name <mail>`")?;
        for path in request.files.keys().chain(&request.delete) {
            ensure!(
                !path.is_empty() && git::is_path(path),
                "{path:?} is not a path"
            );
        }
        let new = NewCommit {
            branch: request.branch.clone(),
            message: request.message.clone(),
            author_name: name.to_owned(),
            author_email: mail.to_owned(),
            date: request.date.clone(),
            files: request
                .files
                .iter()
                .map(|(p, t)| (p.clone(), t.clone().into_bytes()))
                .collect(),
            delete: request.delete.clone(),
            parent: None,
        };
        api_commit(self, &repository, new, None)
            .await
            .map_err(|refused| anyhow::anyhow!("{}", refused.1))
    }
}
