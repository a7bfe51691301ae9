use serde::{Deserialize, Serialize};

/// Values of `state` of a build (bitbucket.md §3.3).
pub const BUILD_STATES: &[&str] = &["SUCCESSFUL", "FAILED", "INPROGRESS", "STOPPED"];

/// A build status of a commit on Cloud.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CommitStatus {
    /// Uuid of the repository.
    pub repository: String,
    /// Full hash.
    pub commit: String,
    /// Names the build; the same key replaces.
    pub key: String,
    /// One of [`BUILD_STATES`].
    pub state: String,
    /// Page about it; may hold `{names}` that the service fills in.
    pub url: String,
    /// Title.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Branch it was built for.
    pub refname: Option<String>,
    /// RFC 3339.
    pub created_on: String,
    /// RFC 3339.
    pub updated_on: String,
}
