use serde::{Deserialize, Serialize};

use super::State;

/// Where a pull request stands (bitbucket.md §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PullState {
    /// It waits to be merged.
    Open,
    /// Its commits are in the destination.
    Merged,
    /// Somebody turned it down.
    Declined,
    /// Another one took its place; the sandbox never makes one.
    Superseded,
}

impl PullState {
    /// Every state.
    pub const ALL: &'static [Self] = &[Self::Open, Self::Merged, Self::Declined, Self::Superseded];

    /// The word of the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Merged => "MERGED",
            Self::Declined => "DECLINED",
            Self::Superseded => "SUPERSEDED",
        }
    }

    /// The state of a word of the API.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| s.name() == word)
    }
}

/// How the commits of a pull request come into its destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeStrategy {
    /// A commit with two parents.
    #[default]
    MergeCommit,
    /// One commit with all changes.
    Squash,
    /// The branch moves to the source, without a commit.
    FastForward,
}

impl MergeStrategy {
    /// The strategies that branches offer, by the words of the API.
    pub const NAMES: &'static [&'static str] = &["merge_commit", "squash", "fast_forward"];

    /// The strategy of a word of the API.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "merge_commit" => Some(Self::MergeCommit),
            "squash" => Some(Self::Squash),
            "fast_forward" => Some(Self::FastForward),
            _ => None,
        }
    }
}

/// One side of a pull request. While it is open the commit follows the branch; then it stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullEnd {
    /// Name of the branch, without a prefix.
    pub branch: String,
    /// Full hash.
    pub commit: String,
}

/// A comment on a pull request as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullComment {
    /// Unique in the sandbox.
    pub id: u64,
    /// `content.raw`.
    pub content: String,
    /// Account uuid in braces.
    pub user: String,
    /// The comment it answers.
    pub parent: Option<u64>,
    /// RFC 3339.
    pub created_on: String,
}

/// A pull request between two branches of one repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullRequest {
    /// Uuid of the repository.
    pub repository: String,
    /// Number within the repository, from 1.
    pub id: u64,
    /// At most 255 characters.
    pub title: String,
    /// Free text.
    pub description: String,
    /// Where it stands.
    pub state: PullState,
    /// Account uuid in braces.
    pub author: String,
    /// Where the changes are.
    pub source: PullEnd,
    /// Where they go to.
    pub destination: PullEnd,
    /// Whether a merge deletes the source branch.
    pub close_source_branch: bool,
    /// Whether it is not ready yet.
    pub draft: bool,
    /// Account uuids in braces.
    pub reviewers: Vec<String>,
    /// Full hash of what the destination became by the merge.
    pub merge_commit: Option<String>,
    /// Account uuid of who merged or declined it.
    pub closed_by: Option<String>,
    /// Why it was declined.
    pub reason: String,
    /// RFC 3339.
    pub created_on: String,
    /// RFC 3339.
    pub updated_on: String,
    /// Oldest first.
    pub comments: Vec<PullComment>,
}

/// Whether commits know their pull requests: the service learns it when an app is added to the
/// repository (bitbucket.md §3.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullLinks {
    /// They do.
    #[default]
    On,
    /// The index is being made: 202.
    Indexing,
    /// Nobody has asked for it yet: 404.
    Off,
}

impl State {
    /// Pull requests of a repository by its uuid, oldest first.
    pub fn pulls<'a>(&'a self, repository: &'a str) -> impl Iterator<Item = &'a PullRequest> {
        self.pulls
            .iter()
            .filter(move |p| p.repository == repository)
    }

    /// A pull request by the uuid of its repository and its number.
    pub fn pull(&self, repository: &str, id: u64) -> Option<&PullRequest> {
        let mut all = self.pulls.iter();
        all.find(|p| p.repository == repository && p.id == id)
    }

    /// A pull request to change.
    pub fn pull_mut(&mut self, repository: &str, id: u64) -> Option<&mut PullRequest> {
        let mut all = self.pulls.iter_mut();
        all.find(|p| p.repository == repository && p.id == id)
    }
}
