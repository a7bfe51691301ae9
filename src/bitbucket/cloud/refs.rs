//! Branches.

use serde::Deserialize;

use super::{Call, Caps, Cloud, Listing, PAGE_SIZE};
use crate::bitbucket::error::Error;
use crate::bitbucket::paths::{BitbucketApiPath, RepoRef};
use crate::bitbucket::wire::{CommitRef, soft};

/// A branch.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Branch {
    /// Name, with slashes as they are.
    #[serde(default, deserialize_with = "soft")]
    pub name: Option<String>,
    /// Its newest commit.
    #[serde(default, deserialize_with = "soft")]
    pub target: Option<CommitRef>,
}

impl Cloud {
    /// All branches, up to the caps.
    pub async fn branches(&self, repo: &RepoRef, caps: Caps) -> Result<Listing<Branch>, Error> {
        self.list(
            Call::get(BitbucketApiPath::Branches { repo }).query("pagelen", PAGE_SIZE),
            caps,
        )
        .await
    }

    /// One branch.
    pub async fn branch(&self, repo: &RepoRef, name: &str) -> Result<Branch, Error> {
        self.object(Call::get(BitbucketApiPath::Branch { repo, name }))
            .await
    }
}
