//! Commits, newest first.

use super::{Call, Caps, Cloud, Listing, PAGE_SIZE};
use crate::bitbucket::error::Error;
use crate::bitbucket::paths::{BitbucketApiPath, RepoRef};
use crate::bitbucket::wire::Commit;

impl Cloud {
    /// One commit.
    pub async fn commit(&self, repo: &RepoRef, hash: &str) -> Result<Commit, Error> {
        self.object(Call::get(BitbucketApiPath::Commit { repo, commit: hash }))
            .await
    }

    /// Commits reachable from `include` and not from `exclude`, in topological order.
    pub async fn commit_range(
        &self,
        repo: &RepoRef,
        include: &[&str],
        exclude: &[&str],
        caps: Caps,
    ) -> Result<Listing<Commit>, Error> {
        let mut call = Call::get(BitbucketApiPath::Commits { repo });
        for revision in include {
            call = call.query("include", *revision);
        }
        for revision in exclude {
            call = call.query("exclude", *revision);
        }
        self.list(call.query("pagelen", PAGE_SIZE), caps).await
    }

    /// The newest `count` commits behind `revision` (hash or ref), or of all refs.
    pub async fn recent_commits(
        &self,
        repo: &RepoRef,
        revision: Option<&str>,
        count: usize,
    ) -> Result<Vec<Commit>, Error> {
        let call = match revision {
            // A ref with a slash is safer as a parameter than in the path (bitbucket.md §3.4).
            Some(revision) if revision.contains('/') => {
                Call::get(BitbucketApiPath::Commits { repo }).query("include", revision)
            }
            Some(revision) => Call::get(BitbucketApiPath::RepositoryCommits { repo, revision }),
            None => Call::get(BitbucketApiPath::Commits { repo }),
        };
        let call = call.query("pagelen", count.clamp(10, 100).to_string());
        Ok(self.list(call, Caps::items(count)).await?.items)
    }
}
