use serde::{Deserialize, Serialize};

use super::Secret;

/// A webhook of Data Center; it belongs to one repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DcHook {
    /// From 1, unique in the sandbox.
    pub id: u64,
    /// Uuid of the repository.
    pub repository: String,
    /// Shown to people.
    pub name: String,
    /// Where deliveries go.
    pub url: String,
    /// Inactive hooks get nothing.
    pub active: bool,
    /// Event keys.
    pub events: Vec<String>,
    /// Signs deliveries.
    pub secret: Option<Secret>,
    /// Milliseconds since 1970.
    pub created: i64,
    /// Milliseconds since 1970.
    pub updated: i64,
}

/// A build status of Data Center.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DcBuild {
    /// Uuid of the repository.
    pub repository: String,
    /// Full hash.
    pub commit: String,
    /// Names the build.
    pub key: String,
    /// As it was sent.
    pub body: serde_json::Value,
}
