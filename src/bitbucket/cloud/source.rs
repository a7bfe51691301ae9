//! Diffs and files.

use serde::Deserialize;

use super::{Call, Caps, Cloud, Listing};
use crate::bitbucket::error::Error;
use crate::bitbucket::paths::{BitbucketApiPath, RepoRef};
use crate::bitbucket::wire::soft;

/// One side of a changed file.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct FileSide {
    /// Path in the repository.
    #[serde(default, deserialize_with = "soft")]
    pub path: Option<String>,
}

/// A file that a commit or range changed.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ChangedFile {
    /// `added`, `removed`, `modified`, `renamed`.
    #[serde(default, deserialize_with = "soft")]
    pub status: Option<String>,
    /// Lines added.
    #[serde(default, deserialize_with = "soft")]
    pub lines_added: Option<u64>,
    /// Lines removed.
    #[serde(default, deserialize_with = "soft")]
    pub lines_removed: Option<u64>,
    /// Before; absent for an added file.
    #[serde(default, deserialize_with = "soft")]
    pub old: Option<FileSide>,
    /// After; absent for a removed file.
    #[serde(default, deserialize_with = "soft")]
    pub new: Option<FileSide>,
}

impl Cloud {
    /// Files changed by a commit (against its first parent) or by `source..destination`.
    pub async fn diffstat(
        &self,
        repo: &RepoRef,
        spec: &str,
        caps: Caps,
    ) -> Result<Listing<ChangedFile>, Error> {
        self.list(Call::get(BitbucketApiPath::Diffstat { repo, spec }), caps)
            .await
    }

    /// The raw diff, narrowed to `paths` if any are given; at most `limit` bytes.
    pub async fn diff(
        &self,
        repo: &RepoRef,
        spec: &str,
        paths: &[&str],
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let mut call = Call::get(BitbucketApiPath::RepositoryDiff { repo, spec }).raw(limit);
        for path in paths {
            call = call.query("path", *path);
        }
        Ok(self.send(call).await?.body)
    }

    /// The bytes of a file at a commit; at most `limit`. A directory gives its listing as JSON.
    pub async fn source(
        &self,
        repo: &RepoRef,
        sha: &str,
        path: &str,
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        Ok(self
            .send(Call::get(BitbucketApiPath::Source { repo, sha, path }).raw(limit))
            .await?
            .body)
    }
}
