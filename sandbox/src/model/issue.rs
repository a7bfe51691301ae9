use serde::{Deserialize, Serialize};

/// Values of `kind` (bitbucket.md §3.3).
pub const KINDS: &[&str] = &["bug", "enhancement", "proposal", "task"];
/// Values of `priority`.
pub const PRIORITIES: &[&str] = &["trivial", "minor", "major", "critical", "blocker"];
/// Values of `state`.
pub const STATES: &[&str] = &[
    "submitted",
    "new",
    "open",
    "resolved",
    "on hold",
    "invalid",
    "duplicate",
    "wontfix",
    "closed",
];

/// One issue of a repository's tracker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Issue {
    /// Number within the repository, from 1.
    pub id: u64,
    /// At most 255 characters.
    pub title: String,
    /// `content.raw`.
    pub content: String,
    /// One of [`KINDS`].
    pub kind: String,
    /// One of [`PRIORITIES`].
    pub priority: String,
    /// One of [`STATES`].
    pub state: String,
    /// Account uuid in braces.
    pub reporter: String,
    /// Account uuid in braces.
    pub assignee: Option<String>,
    /// RFC 3339.
    pub created_on: String,
    /// RFC 3339.
    pub updated_on: String,
    /// Oldest first; deleted ones are gone.
    pub comments: Vec<Comment>,
}

/// One comment of an issue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comment {
    /// Unique in the sandbox.
    pub id: u64,
    /// `content.raw`.
    pub content: String,
    /// Account uuid in braces.
    pub user: String,
    /// RFC 3339.
    pub created_on: String,
    /// RFC 3339; absent until the first edit.
    pub updated_on: Option<String>,
}
