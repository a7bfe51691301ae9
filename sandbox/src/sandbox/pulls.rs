//! Pull requests and build statuses, for a test in the same process.

use std::sync::Arc;

use super::Sandbox;
use crate::model::{CommitStatus, MergeStrategy, PullLinks, PullRequest};
use crate::setup::{NewPullRequest, PullDecline, PullMerge, SetPullLinks};

impl Sandbox {
    /// Opens a pull request and fires the hooks of both kinds of server.
    ///
    /// # Errors
    /// When the repository, a branch or the author is missing, or the source brings no commit.
    pub async fn open_pull_request(&self, new: NewPullRequest) -> anyhow::Result<PullRequest> {
        let core = Arc::clone(&self.core);
        let opened = self
            .core
            .runtime
            .spawn(async move { core.open_pull(&new).await });
        opened.await?
    }

    /// Merges a pull request of `workspace/slug` with git, as the owner of the workspace, and fires the hooks.
    ///
    /// # Errors
    /// When there is none of this number, it is not open, or git cannot merge it that way.
    pub async fn merge_pull_request(
        &self,
        full_name: &str,
        id: u64,
        strategy: MergeStrategy,
    ) -> anyhow::Result<PullRequest> {
        let core = Arc::clone(&self.core);
        let merge = PullMerge {
            repo: full_name.to_owned(),
            id,
            strategy,
        };
        let merged = self
            .core
            .runtime
            .spawn(async move { core.merge_pull(&merge).await });
        merged.await?
    }

    /// Declines a pull request of `workspace/slug`, as the owner of the workspace, and fires the hooks.
    ///
    /// # Errors
    /// When there is none of this number, or it is not open.
    pub fn decline_pull_request(
        &self,
        full_name: &str,
        id: u64,
        reason: &str,
    ) -> anyhow::Result<PullRequest> {
        self.core.decline_pull(&PullDecline {
            repo: full_name.to_owned(),
            id,
            reason: reason.to_owned(),
        })
    }

    /// Whether commits of `workspace/slug` know their pull requests; they do at first.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn set_pull_request_links(&self, full_name: &str, links: PullLinks) -> anyhow::Result<()> {
        self.core.set_pull_links(&SetPullLinks {
            repo: full_name.to_owned(),
            links,
        })
    }

    /// Pull requests of `workspace/slug`, oldest first.
    pub fn pull_requests(&self, full_name: &str) -> Vec<PullRequest> {
        self.core.store.read(|s| {
            let found = s.by_full_name(full_name);
            found.map_or_else(Vec::new, |r| s.pulls(&r.uuid).cloned().collect())
        })
    }

    /// Build statuses of `workspace/slug` on Cloud, the last set one last.
    pub fn build_statuses(&self, full_name: &str) -> Vec<CommitStatus> {
        self.core.store.read(|s| {
            let found = s.by_full_name(full_name);
            let of = |uuid: &str| {
                let all = s.statuses.iter().filter(|one| one.repository == uuid);
                all.cloned().collect()
            };
            found.map_or_else(Vec::new, |r| of(&r.uuid))
        })
    }
}
