//! Releases, commits and deploys (sentry.md §4.5, §10.4, §10.6).

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Repository, StringId, Time};

/// A commit as a release names its last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitRef {
    /// The sha.
    pub id: String,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// The sha.
    pub id: String,
    /// The message.
    pub message: Option<String>,
    /// When it was made.
    pub date_created: Time,
    /// The repository, or an empty object.
    #[serde(serialize_with = "object_or_empty")]
    pub repository: Option<Repository>,
    /// A user object, `{name, email}`, or an empty object.
    pub author: Map<String, Value>,
    /// Kind of suspicion, or an empty text.
    pub suspect_commit_type: String,
}

fn object_or_empty<S: serde::Serializer>(
    value: &Option<Repository>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(repository) => repository.serialize(serializer),
        None => Map::<String, Value>::new().serialize(serializer),
    }
}

/// A changed file of a release's commits (§4.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitFile {
    /// Row id.
    pub id: StringId,
    /// Row id of the organization: a number here.
    pub org_id: i64,
    /// As in [`Commit`].
    pub author: Map<String, Value>,
    /// Message of the commit.
    pub commit_message: Option<String>,
    /// Path in the repository.
    pub filename: String,
    /// `A`, `M` or `D`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the repository.
    pub repo_name: String,
}

/// A version cut into parts (§4.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// Part before `@`.
    pub package: Option<String>,
    /// `{raw}` and, for semantic versions, more.
    pub version: Map<String, Value>,
    /// For people.
    pub description: String,
    /// Build hash, if the version is one.
    pub build_hash: Option<String>,
}

/// A project of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseProject {
    /// Row id: a number here (§10.6).
    pub id: i64,
    /// Name in URLs.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// Platform, if one was chosen.
    pub platform: Option<String>,
    /// All its platforms.
    pub platforms: Vec<String>,
    /// Groups first seen in this release.
    pub new_groups: u64,
}

/// A release (§4.5).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The version.
    pub version: String,
    /// The version for people.
    pub short_version: String,
    /// The version in parts.
    pub version_info: VersionInfo,
    /// `open` or `archived`.
    pub status: String,
    /// Git reference, if told.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Address, if told.
    pub url: Option<String>,
    /// When it was made.
    pub date_created: Time,
    /// When it was finished.
    pub date_released: Option<Time>,
    /// First event.
    pub first_event: Option<Time>,
    /// Last event.
    pub last_event: Option<Time>,
    /// Groups first seen in it.
    pub new_groups: u64,
    /// Its commits.
    pub commit_count: u64,
    /// Its deploys.
    pub deploy_count: u64,
    /// Its last deploy.
    pub last_deploy: Option<Deploy>,
    /// Its newest commit.
    pub last_commit: Option<Commit>,
    /// Who wrote its commits.
    pub authors: Vec<Map<String, Value>>,
    /// Always `null`.
    pub owner: Option<Value>,
    /// Always empty.
    pub data: Map<String, Value>,
    /// Its projects.
    pub projects: Vec<ReleaseProject>,
}

/// A deploy; sentry-cli needs the environment (§10.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deploy {
    /// Row id.
    pub id: StringId,
    /// Environment.
    pub environment: String,
    /// Name, if told.
    pub name: Option<String>,
    /// Address, if told.
    pub url: Option<String>,
    /// Start, if told.
    pub date_started: Option<Time>,
    /// End.
    pub date_finished: Option<Time>,
}
