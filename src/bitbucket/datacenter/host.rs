//! Data Center behind the seam.

use super::DataCenter;
use crate::bitbucket::cloud::{Hook, HookSpec};
use crate::bitbucket::host::{
    Answer, BlameSpan, BuildStatus, Capability, CodeHost, FileChange, FileVersion, HostedBranch,
    HostedRepo, PullRequest, Range, off, on,
};
use crate::bitbucket::page::{Caps, Cursor, Listing, Page};
use crate::bitbucket::paths::RepoRef;
use crate::bitbucket::wire::Commit;

/// Every supported version (bitbucket.md §7).
pub(crate) const CAPABILITIES: &[Capability] = &[
    on("repositories", "Repositories"),
    on("commits", "Commits"),
    on("diffs", "Changed files and diffs"),
    on("files", "Files"),
    on("history", "History of a file"),
    on("blame", "Blame"),
    on("branches", "Branches"),
    on("pull_requests", "Pull requests"),
    on("build_status", "Build status"),
    on("hooks", "Webhooks"),
    off(
        "issues",
        "Issues",
        "Data Center has no issues of its own; tickets go elsewhere.",
        None,
    ),
    off(
        "pipelines",
        "Pipelines",
        "Data Center has no pipelines; builds come from other servers.",
        None,
    ),
    off(
        "deployments",
        "Deployments",
        "Data Center has no list of deployments.",
        None,
    ),
];

impl CodeHost for DataCenter {
    fn capabilities(&self) -> &'static [Capability] {
        CAPABILITIES
    }

    fn lists_main_branches(&self) -> bool {
        false
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(self.ask_once())
    }

    fn repository<'a>(&'a self, repo: &'a RepoRef) -> Answer<'a, HostedRepo> {
        Box::pin(self.repository(repo))
    }

    fn repositories<'a>(&'a self, text: &'a str, caps: Caps) -> Answer<'a, Listing<HostedRepo>> {
        Box::pin(self.repositories(text, caps))
    }

    fn repositories_page<'a>(
        &'a self,
        text: &'a str,
        from: Option<&'a Cursor>,
    ) -> Answer<'a, Page<HostedRepo>> {
        Box::pin(self.repositories_page(text, from))
    }

    fn commit<'a>(&'a self, repo: &'a RepoRef, hash: &'a str) -> Answer<'a, Commit> {
        Box::pin(self.commit(repo, hash))
    }

    fn commit_range<'a>(
        &'a self,
        repo: &'a RepoRef,
        include: &'a str,
        exclude: Option<&'a str>,
        caps: Caps,
    ) -> Answer<'a, Listing<Commit>> {
        Box::pin(self.commits(repo, include, exclude, caps))
    }

    fn changes<'a>(
        &'a self,
        repo: &'a RepoRef,
        range: Range<'a>,
        caps: Caps,
    ) -> Answer<'a, Listing<FileChange>> {
        Box::pin(self.changes(repo, range, caps))
    }

    fn diff<'a>(
        &'a self,
        repo: &'a RepoRef,
        range: Range<'a>,
        path: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(self.diff(repo, range, path, limit))
    }

    fn file<'a>(
        &'a self,
        repo: &'a RepoRef,
        at: &'a str,
        path: &'a str,
        limit: usize,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(self.file(repo, at, path, limit))
    }

    fn history<'a>(
        &'a self,
        repo: &'a RepoRef,
        at: &'a str,
        path: &'a str,
        caps: Caps,
    ) -> Answer<'a, Listing<FileVersion>> {
        Box::pin(self.history(repo, at, path, caps))
    }

    fn blame<'a>(
        &'a self,
        repo: &'a RepoRef,
        at: &'a str,
        path: &'a str,
    ) -> Answer<'a, Option<Vec<BlameSpan>>> {
        Box::pin(async move { self.blame(repo, at, path).await.map(Some) })
    }

    fn branches<'a>(&'a self, repo: &'a RepoRef, caps: Caps) -> Answer<'a, Listing<HostedBranch>> {
        Box::pin(self.branches(repo, caps))
    }

    fn pull_requests<'a>(
        &'a self,
        repo: &'a RepoRef,
        state: &'a str,
        caps: Caps,
    ) -> Answer<'a, Listing<PullRequest>> {
        Box::pin(self.pull_requests(repo, state, caps))
    }

    fn pull_requests_of<'a>(
        &'a self,
        repo: &'a RepoRef,
        hash: &'a str,
        caps: Caps,
    ) -> Answer<'a, Listing<PullRequest>> {
        Box::pin(self.pull_requests_of(repo, hash, caps))
    }

    fn comment_pull_request<'a>(
        &'a self,
        repo: &'a RepoRef,
        id: u64,
        text: &'a str,
    ) -> Answer<'a, u64> {
        Box::pin(self.comment_pull_request(repo, id, text))
    }

    fn set_build_status<'a>(
        &'a self,
        repo: &'a RepoRef,
        hash: &'a str,
        status: &'a BuildStatus<'a>,
    ) -> Answer<'a, ()> {
        Box::pin(self.set_build_status(repo, hash, status))
    }

    fn hooks<'a>(&'a self, repo: &'a RepoRef, caps: Caps) -> Answer<'a, Listing<Hook>> {
        Box::pin(self.hooks(repo, caps))
    }

    fn create_hook<'a>(&'a self, repo: &'a RepoRef, spec: &'a HookSpec<'a>) -> Answer<'a, Hook> {
        Box::pin(self.create_hook(repo, spec))
    }

    fn update_hook<'a>(
        &'a self,
        repo: &'a RepoRef,
        id: &'a str,
        spec: &'a HookSpec<'a>,
    ) -> Answer<'a, Hook> {
        Box::pin(self.update_hook(repo, id, spec))
    }

    fn delete_hook<'a>(&'a self, repo: &'a RepoRef, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.delete_hook(repo, id))
    }
}
