//! The table of API paths. The only place that writes `/2.0/`, and the only place that encodes a
//! value into a path (sentry.md §15.1, bitbucket.md §3.2 and §4.6).

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;

use crate::atlassian::lifecycle::BracedUuid;

/// What every path starts with; `next` links must start with it too.
pub const API_PREFIX: &str = "/2.0/";

/// Everything but unreserved characters: braces, slashes in branch names, spaces, `%`.
const IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Stable name, used in logs and metrics.
    pub name: &'static str,
    /// Template with `{placeholders}`; `{repo}` stands for two segments.
    pub template: &'static str,
    /// Methods, each with the classic scope it needs (empty: none).
    pub operations: &'static [(&'static str, &'static str)],
}

const ADDONS: Row = Row {
    name: "addons",
    template: "/2.0/addon",
    operations: &[("PUT", ""), ("DELETE", "")],
};
const WORKSPACE: Row = Row {
    name: "workspace",
    template: "/2.0/workspaces/{workspace}",
    operations: &[("GET", "")],
};
const WORKSPACE_HOOKS: Row = Row {
    name: "workspace_hooks",
    template: "/2.0/workspaces/{workspace}/hooks",
    operations: &[("GET", "webhook"), ("POST", "webhook")],
};
const REPOSITORIES: Row = Row {
    name: "repositories",
    template: "/2.0/repositories/{workspace}",
    operations: &[("GET", "repository")],
};
const REPOSITORY: Row = Row {
    name: "repository",
    template: "/2.0/repositories/{repo}",
    operations: &[("GET", "repository")],
};
const REPOSITORY_HOOKS: Row = Row {
    name: "repository_hooks",
    template: "/2.0/repositories/{repo}/hooks",
    operations: &[("GET", "webhook"), ("POST", "webhook")],
};
const REPOSITORY_HOOK: Row = Row {
    name: "repository_hook",
    template: "/2.0/repositories/{repo}/hooks/{uid}",
    operations: &[
        ("GET", "webhook"),
        ("PUT", "webhook"),
        ("DELETE", "webhook"),
    ],
};
const COMMITS: Row = Row {
    name: "commits",
    template: "/2.0/repositories/{repo}/commits",
    operations: &[("GET", "repository")],
};
const REPOSITORY_COMMITS: Row = Row {
    name: "repository_commits",
    template: "/2.0/repositories/{repo}/commits/{revision}",
    operations: &[("GET", "repository")],
};
const COMMIT: Row = Row {
    name: "commit",
    template: "/2.0/repositories/{repo}/commit/{commit}",
    operations: &[("GET", "repository")],
};
const REPOSITORY_DIFF: Row = Row {
    name: "repository_diff",
    template: "/2.0/repositories/{repo}/diff/{spec}",
    operations: &[("GET", "repository")],
};
const DIFFSTAT: Row = Row {
    name: "diffstat",
    template: "/2.0/repositories/{repo}/diffstat/{spec}",
    operations: &[("GET", "repository")],
};
const BRANCHES: Row = Row {
    name: "branches",
    template: "/2.0/repositories/{repo}/refs/branches",
    operations: &[("GET", "repository")],
};
const BRANCH: Row = Row {
    name: "branch",
    template: "/2.0/repositories/{repo}/refs/branches/{name}",
    operations: &[("GET", "repository")],
};
const SOURCE: Row = Row {
    name: "source",
    template: "/2.0/repositories/{repo}/src/{sha}/{path}",
    operations: &[("GET", "repository")],
};
const ISSUES: Row = Row {
    name: "issues",
    template: "/2.0/repositories/{repo}/issues",
    operations: &[("GET", "issue"), ("POST", "issue:write")],
};
const ISSUE: Row = Row {
    name: "issue",
    template: "/2.0/repositories/{repo}/issues/{issue_id}",
    operations: &[("GET", "issue"), ("PUT", "issue:write")],
};
const ISSUE_COMMENTS: Row = Row {
    name: "issue_comments",
    template: "/2.0/repositories/{repo}/issues/{issue_id}/comments",
    operations: &[("GET", "issue"), ("POST", "issue:write")],
};

/// Every row. [`BitbucketApiPath`] has one variant for each.
pub const TABLE: [Row; 18] = [
    ADDONS,
    WORKSPACE,
    WORKSPACE_HOOKS,
    REPOSITORIES,
    REPOSITORY,
    REPOSITORY_HOOKS,
    REPOSITORY_HOOK,
    COMMITS,
    REPOSITORY_COMMITS,
    COMMIT,
    REPOSITORY_DIFF,
    DIFFSTAT,
    BRANCHES,
    BRANCH,
    SOURCE,
    ISSUES,
    ISSUE,
    ISSUE_COMMENTS,
];

/// A value that cannot stand in a path: empty, a dot segment, or with control characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is empty or holds characters that cannot stand in an API path")]
pub struct PathError(pub &'static str);

/// A repository as paths name it: `workspace/slug`, or by uuid, which survives renames.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepoRef {
    workspace: String,
    repo: String,
}

impl RepoRef {
    /// From `workspace/slug`; each part may also be a uuid in braces.
    pub fn from_full_name(full_name: &str) -> Result<Self, PathError> {
        let (workspace, repo) = full_name.split_once('/').ok_or(PathError("repository"))?;
        check_segment("workspace", workspace)?;
        check_segment("repository", repo)?;
        if repo.contains('/') {
            return Err(PathError("repository"));
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
}

impl BitbucketApiPath<'_> {
    /// The row of the table.
    pub const fn row(&self) -> &'static Row {
        match self {
            Self::Addons => &ADDONS,
            Self::Workspace { .. } => &WORKSPACE,
            Self::WorkspaceHooks { .. } => &WORKSPACE_HOOKS,
            Self::Repositories { .. } => &REPOSITORIES,
            Self::Repository { .. } => &REPOSITORY,
            Self::RepositoryHooks { .. } => &REPOSITORY_HOOKS,
            Self::RepositoryHook { .. } => &REPOSITORY_HOOK,
            Self::Commits { .. } => &COMMITS,
            Self::RepositoryCommits { .. } => &REPOSITORY_COMMITS,
            Self::Commit { .. } => &COMMIT,
            Self::RepositoryDiff { .. } => &REPOSITORY_DIFF,
            Self::Diffstat { .. } => &DIFFSTAT,
            Self::Branches { .. } => &BRANCHES,
            Self::Branch { .. } => &BRANCH,
            Self::Source { .. } => &SOURCE,
            Self::Issues { .. } => &ISSUES,
            Self::Issue { .. } => &ISSUE,
            Self::IssueComments { .. } => &ISSUE_COMMENTS,
        }
    }

    /// Name of the row.
    pub const fn name(&self) -> &'static str {
        self.row().name
    }

    /// The classic scope that `method` needs here; `None` if the table does not know the method.
    pub fn scope(&self, method: &Method) -> Option<&'static str> {
        self.row()
            .operations
            .iter()
            .find(|(known, _)| *known == method.as_str())
            .map(|(_, scope)| *scope)
    }

    /// The encoded path. Dot segments are refused, because URL parsers would resolve them and the
    /// call would reach another resource.
    pub fn render(&self) -> Result<String, PathError> {
        let template = self.row().template;
        let mut text = String::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (placeholder, after) = after.split_once('}').unwrap_or((after, ""));
            text.push_str(before);
            self.push_value(&mut text, placeholder)?;
            rest = after;
        }
        text.push_str(rest);
        Ok(text)
    }

    fn push_value(&self, text: &mut String, placeholder: &str) -> Result<(), PathError> {
        match (placeholder, *self) {
            (
                "workspace",
                Self::Workspace { workspace }
                | Self::WorkspaceHooks { workspace }
                | Self::Repositories { workspace },
            ) => push_segment(text, "workspace", workspace),
            ("repo", _) => {
                let repo = self.repo().ok_or(PathError("repository"))?;
                push_segment(text, "workspace", &repo.workspace)?;
                text.push('/');
                push_segment(text, "repository", &repo.repo)
            }
            ("uid", Self::RepositoryHook { uid, .. }) => push_segment(text, "hook", uid),
            ("revision", Self::RepositoryCommits { revision, .. }) => {
                push_segment(text, "revision", revision)
            }
            ("commit", Self::Commit { commit, .. }) => push_segment(text, "commit", commit),
            ("spec", Self::RepositoryDiff { spec, .. } | Self::Diffstat { spec, .. }) => {
                push_segment(text, "diff spec", spec)
            }
            ("name", Self::Branch { name, .. }) => push_segment(text, "branch", name),
            ("sha", Self::Source { sha, .. }) => push_segment(text, "revision", sha),
            ("path", Self::Source { path, .. }) => push_file_path(text, path),
            ("issue_id", Self::Issue { issue_id, .. } | Self::IssueComments { issue_id, .. }) => {
                text.push_str(&issue_id.to_string());
                Ok(())
            }
            _ => Err(PathError("placeholder")),
        }
    }

    const fn repo(&self) -> Option<&RepoRef> {
        match self {
            Self::Addons
            | Self::Workspace { .. }
            | Self::WorkspaceHooks { .. }
            | Self::Repositories { .. } => None,
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

fn check_segment(what: &'static str, value: &str) -> Result<(), PathError> {
    if value.is_empty() || value == "." || value == ".." || value.chars().any(char::is_control) {
        return Err(PathError(what));
    }
    Ok(())
}

fn push_segment(text: &mut String, what: &'static str, value: &str) -> Result<(), PathError> {
    check_segment(what, value)?;
    text.extend(utf8_percent_encode(value, IN_SEGMENT));
    Ok(())
}

/// Keeps slashes; the root is the empty path, which leaves the trailing slash it needs.
fn push_file_path(text: &mut String, path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Ok(());
    }
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            text.push('/');
        }
        push_segment(text, "file path", segment)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
