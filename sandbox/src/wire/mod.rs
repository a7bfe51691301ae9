//! Objects as the API shows them (bitbucket.md §3.3).

mod accounts;
mod commits;
mod issues;
mod pulls;

pub(crate) use accounts::{
    event_repository, hook, principal, project, repository, repository_stub, user, workspace,
    workspace_stub,
};
pub(crate) use commits::{commit, commit_stub, reference};
pub(crate) use issues::{account, comment, issue};
pub(crate) use pulls::{pull, pull_comment, status};

use serde_json::{Value, json};

/// `{"href": url}`.
pub(crate) fn link(href: String) -> Value {
    json!({ "href": href })
}
