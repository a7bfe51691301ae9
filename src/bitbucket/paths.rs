//! The table of API paths: the only place that writes an API path, and the only one that encodes a
//! value into it (sentry.md §15.1, bitbucket.md §3.2, §4.6, §7).
//!
//! The `rows` hold one row per published path with its methods, scopes and end of life. Two fronts read
//! them: [`BitbucketApiPath`] for the calls that the product makes itself, and [`Operation`] with
//! [`find`] for calls that somebody else describes, by name and values or by method and path.

use std::borrow::Cow;
use std::fmt;

use reqwest::Method;

use crate::atlassian::lifecycle::BracedUuid;

mod encode;
mod operation;
mod route;
pub(in crate::bitbucket) mod rows;

pub use encode::Rule;
pub use operation::{Deprecation, Operation, Resource, Surface};
pub use route::{Params, Route, find};
use rows::{addon, commits, hooks, issues, repositories, source, users, workspaces};

/// What every path of Bitbucket Cloud starts with; `next` links must start with it too.
pub const API_PREFIX: &str = "/2.0/";

const CLOUD_ROOT: &str = "/2.0";

/// Why there is no path, or no operation for one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No row has an operation of that name.
    #[error("there is no API operation named {name:?}")]
    UnknownOperation {
        /// As given.
        name: String,
    },
    /// No row has a path like it.
    #[error("the API has no such path")]
    NoSuchPath,
    /// A row has the path, but not the method.
    #[error("{resource} takes only {allowed}")]
    MethodNotAllowed {
        /// Name of the row.
        resource: &'static str,
        /// Its methods, separated by commas.
        allowed: String,
    },
    /// With query or fragment, a broken escape, or bytes that are not UTF-8.
    #[error("the path is not percent-encoded UTF-8 alone")]
    Malformed,
    /// The template has no such placeholder.
    #[error("{resource} has no parameter {parameter:?}")]
    UnknownParameter {
        /// Name of the row.
        resource: &'static str,
        /// As given.
        parameter: String,
    },
    /// A placeholder got no value.
    #[error("{resource} needs the parameter {parameter}")]
    Missing {
        /// Name of the row.
        resource: &'static str,
        /// The placeholder.
        parameter: &'static str,
    },
    /// The value cannot stand in its place.
    #[error("{parameter} must be {expected}")]
    Invalid {
        /// The placeholder.
        parameter: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// The values spell another path of the API.
    #[error("with these values {resource} would be read as {read_as}")]
    Ambiguous {
        /// Name of the row.
        resource: &'static str,
        /// Name of the row that the server would choose.
        read_as: &'static str,
    },
}

const NOT_A_REPOSITORY: PathError = PathError::Invalid {
    parameter: "repository",
    expected: "`workspace/slug`, each a segment of a path",
};

/// A repository as paths name it: `workspace/slug`, or by uuid, which survives renames; on Data Center
/// `PROJECT/slug`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepoRef {
    workspace: String,
    repo: String,
}

impl RepoRef {
    /// From `workspace/slug`; each part may also be a uuid in braces.
    pub fn from_full_name(full_name: &str) -> Result<Self, PathError> {
        let (workspace, repo) = full_name.split_once('/').ok_or(NOT_A_REPOSITORY)?;
        if !Rule::Segment.allows(workspace) || !Rule::Segment.allows(repo) || repo.contains('/') {
            return Err(NOT_A_REPOSITORY);
        }
        Ok(Self {
            workspace: workspace.to_owned(),
            repo: repo.to_owned(),
        })
    }

    /// By uuid alone, with the empty braces that Bitbucket takes for the workspace.
    pub fn from_uuid(uuid: &BracedUuid) -> Self {
        Self {
            workspace: "{}".to_owned(),
            repo: uuid.as_str().to_owned(),
        }
    }

    /// Workspace id or uuid.
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// Slug or uuid.
    pub fn repo(&self) -> &str {
        &self.repo
    }
}

impl fmt::Display for RepoRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.workspace, self.repo)
    }
}

/// An API path with its values, not yet encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the placeholder of its row")]
pub enum BitbucketApiPath<'a> {
    /// This installation.
    Addons,
    /// The account that calls.
    CurrentUser,
    /// The workspaces that it sees.
    UserWorkspaces,
    /// One workspace, by id or uuid.
    Workspace { workspace: &'a str },
    /// Hooks of a workspace.
    WorkspaceHooks { workspace: &'a str },
    /// Repositories of a workspace.
    Repositories { workspace: &'a str },
    /// One repository.
    Repository { repo: &'a RepoRef },
    /// Hooks of a repository.
    RepositoryHooks { repo: &'a RepoRef },
    /// One hook; `uid` is its uuid.
    RepositoryHook { repo: &'a RepoRef, uid: &'a str },
    /// Commits by `include` and `exclude`.
    Commits { repo: &'a RepoRef },
    /// Commits from a hash or ref backwards.
    RepositoryCommits {
        repo: &'a RepoRef,
        revision: &'a str,
    },
    /// One commit.
    Commit { repo: &'a RepoRef, commit: &'a str },
    /// Raw diff of a commit or a range.
    RepositoryDiff { repo: &'a RepoRef, spec: &'a str },
    /// Changed files of a commit or a range.
    Diffstat { repo: &'a RepoRef, spec: &'a str },
    /// Branches.
    Branches { repo: &'a RepoRef },
    /// One branch; its name may hold slashes.
    Branch { repo: &'a RepoRef, name: &'a str },
    /// A file or directory at a commit; the empty path is the root.
    Source {
        repo: &'a RepoRef,
        sha: &'a str,
        path: &'a str,
    },
    /// Issues of the tracker.
    Issues { repo: &'a RepoRef },
    /// One issue.
    Issue { repo: &'a RepoRef, issue_id: u64 },
    /// Comments of an issue.
    IssueComments { repo: &'a RepoRef, issue_id: u64 },
    /// Any row of the table. `repo` fills the placeholders of its repository, `more` all others.
    Row {
        row: &'static Resource,
        repo: Option<&'a RepoRef>,
        more: &'a [(&'static str, &'a str)],
    },
}

impl<'a> BitbucketApiPath<'a> {
    /// The row of the table.
    pub const fn row(&self) -> &'static Resource {
        match self {
            Self::Addons => &addon::ADDONS,
            Self::CurrentUser => &users::CURRENT_USER,
            Self::UserWorkspaces => &users::USER_WORKSPACES,
            Self::Workspace { .. } => &workspaces::WORKSPACE,
            Self::WorkspaceHooks { .. } => &hooks::WORKSPACE_HOOKS,
            Self::Repositories { .. } => &repositories::REPOSITORIES,
            Self::Repository { .. } => &repositories::REPOSITORY,
            Self::RepositoryHooks { .. } => &hooks::REPOSITORY_HOOKS,
            Self::RepositoryHook { .. } => &hooks::REPOSITORY_HOOK,
            Self::Commits { .. } => &commits::COMMITS,
            Self::RepositoryCommits { .. } => &commits::REPOSITORY_COMMITS,
            Self::Commit { .. } => &commits::COMMIT,
            Self::RepositoryDiff { .. } => &commits::REPOSITORY_DIFF,
            Self::Diffstat { .. } => &commits::DIFFSTAT,
            Self::Branches { .. } => &source::BRANCHES,
            Self::Branch { .. } => &source::BRANCH,
            Self::Source { .. } => &source::SOURCE,
            Self::Issues { .. } => &issues::ISSUES,
            Self::Issue { .. } => &issues::ISSUE,
            Self::IssueComments { .. } => &issues::ISSUE_COMMENTS,
            Self::Row { row, .. } => row,
        }
    }

    /// Name of the row.
    pub const fn name(&self) -> &'static str {
        self.row().name()
    }

    /// The operation of a method; `None` if the table does not know the method.
    pub fn operation(&self, method: &Method) -> Option<Operation> {
        self.row().operation(method)
    }

    /// The encoded path; see [`Resource::render`].
    pub fn render(&self) -> Result<String, PathError> {
        self.row().render(&self.params())
    }

    fn params(&self) -> Vec<(&'static str, Cow<'a, str>)> {
        let mut params = Vec::with_capacity(4);
        if let Some(repo) = self.repo() {
            let (owner, slug) = match self.row().surface() {
                Surface::Cloud => ("workspace", "repo_slug"),
                Surface::DataCenter => ("projectKey", "repositorySlug"),
            };
            params.push((owner, Cow::Borrowed(repo.workspace())));
            params.push((slug, Cow::Borrowed(repo.repo())));
        }
        match *self {
            Self::Workspace { workspace }
            | Self::WorkspaceHooks { workspace }
            | Self::Repositories { workspace } => params.push(("workspace", workspace.into())),
            Self::RepositoryHook { uid, .. } => params.push(("uid", uid.into())),
            Self::RepositoryCommits { revision, .. } => params.push(("revision", revision.into())),
            Self::Commit { commit, .. } => params.push(("commit", commit.into())),
            Self::RepositoryDiff { spec, .. } | Self::Diffstat { spec, .. } => {
                params.push(("spec", spec.into()));
            }
            Self::Branch { name, .. } => params.push(("name", name.into())),
            Self::Source { sha, path, .. } => {
                params.push(("commit", sha.into()));
                params.push(("path", path.into()));
            }
            Self::Issue { issue_id, .. } | Self::IssueComments { issue_id, .. } => {
                params.push(("issue_id", issue_id.to_string().into()));
            }
            Self::Row { more, .. } => {
                params.extend(
                    more.iter()
                        .map(|(name, value)| (*name, Cow::Borrowed(*value))),
                );
            }
            Self::Addons
            | Self::CurrentUser
            | Self::UserWorkspaces
            | Self::Repository { .. }
            | Self::RepositoryHooks { .. }
            | Self::Commits { .. }
            | Self::Branches { .. }
            | Self::Issues { .. } => {}
        }
        params
    }

    const fn repo(&self) -> Option<&'a RepoRef> {
        match self {
            Self::Addons
            | Self::CurrentUser
            | Self::UserWorkspaces
            | Self::Workspace { .. }
            | Self::WorkspaceHooks { .. }
            | Self::Repositories { .. } => None,
            Self::Row { repo, .. } => *repo,
            Self::Repository { repo }
            | Self::RepositoryHooks { repo }
            | Self::RepositoryHook { repo, .. }
            | Self::Commits { repo }
            | Self::RepositoryCommits { repo, .. }
            | Self::Commit { repo, .. }
            | Self::RepositoryDiff { repo, .. }
            | Self::Diffstat { repo, .. }
            | Self::Branches { repo }
            | Self::Branch { repo, .. }
            | Self::Source { repo, .. }
            | Self::Issues { repo }
            | Self::Issue { repo, .. }
            | Self::IssueComments { repo, .. } => Some(repo),
        }
    }
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;

#[cfg(test)]
mod route_tests;
#[cfg(test)]
mod table_tests;
