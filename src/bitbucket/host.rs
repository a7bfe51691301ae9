//! What Bitbucket Cloud and Data Center both do, behind one seam (architecture: a trait with two real sides).
//!
//! Features that need only repositories, commits, files, hooks, pull requests and build status take a [`CodeHost`].
//! What one product alone has (issues, pipelines) is asked of [`Host`] by its own name. [`CodeHost::capabilities`] says
//! what a side cannot do, why, and since when.

use std::fmt;
use std::ops::Deref;

use futures_util::future::BoxFuture;

use super::behind::{Behind, Caller, Priority};
use super::cloud::{Cloud, CloudHost, Hook, HookSpec};
use super::datacenter::DataCenter;
use super::error::Error;
use super::page::{Caps, Cursor, Listing, Page};
use super::paths::RepoRef;
use super::wire::Commit;

/// The answer of a call of the seam.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// A repository as its host shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedRepo {
    /// Survives renames and is unique over all hosts: the uuid in braces on Cloud, `server#number` on Data Center.
    pub id: String,
    /// `workspace/slug` or `PROJECT/slug`.
    pub full_name: String,
    /// Its page for people.
    pub url: String,
    /// Main branch; `None` in an empty repository. Lists of Data Center do not tell it
    /// ([`CodeHost::lists_main_branches`]).
    pub main_branch: Option<String>,
    /// Whether it has an issue tracker; `None` when the host does not say.
    pub has_tracker: Option<bool>,
    /// Uuid of its workspace, in braces; `None` where there are no workspaces, or the answer does not say.
    pub workspace: Option<String>,
}

/// Two commits to compare: tree against tree, wherever their branches parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<'a> {
    /// The older side; `None` is the first parent of the newer.
    pub from: Option<&'a str>,
    /// The newer side.
    pub to: &'a str,
}

impl<'a> Range<'a> {
    /// A commit against its first parent.
    pub const fn of_commit(hash: &'a str) -> Self {
        Self {
            from: None,
            to: hash,
        }
    }
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its content or mode changed.
    Modified,
    /// It has another path, and perhaps another content.
    Renamed,
    /// It was made out of another, which stays.
    Copied,
}

/// A file that a commit or range changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// What happened.
    pub kind: ChangeKind,
    /// Its path; the old one of a removed file.
    pub path: String,
    /// Where it was before, if elsewhere.
    pub old_path: Option<String>,
}

/// A commit that changed a file.
#[derive(Debug, Clone)]
pub struct FileVersion {
    /// Its hash.
    pub hash: String,
    /// What the file was called then, where the host says so.
    pub path: Option<String>,
    /// The commit, where the host sends it along.
    pub commit: Option<Commit>,
}

/// Lines that stand together and come from one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlameSpan {
    /// First line, from 1.
    pub line: u64,
    /// How many.
    pub lines: u64,
    /// Commit that wrote them.
    pub hash: String,
    /// Who wrote them, if told.
    pub author: Option<String>,
    /// Address of who wrote them, if told.
    pub email: Option<String>,
}

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedBranch {
    /// Name, with slashes as they are.
    pub name: String,
    /// Its newest commit.
    pub head: Option<String>,
}

/// A pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullRequest {
    /// Number in its repository.
    pub id: u64,
    /// Title.
    pub title: String,
    /// `OPEN`, `MERGED`, `DECLINED`, `SUPERSEDED` (Cloud only).
    pub state: String,
    /// Branch with the changes.
    pub source: Option<String>,
    /// Branch that they go to.
    pub target: Option<String>,
    /// Name of who opened it.
    pub author: Option<String>,
    /// Its page for people.
    pub url: Option<String>,
}

/// How a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildState {
    /// It runs.
    InProgress,
    /// It is well.
    Successful,
    /// It failed.
    Failed,
    /// Somebody ended it.
    Stopped,
}

/// A build status to set on a commit.
#[derive(Debug, Clone)]
pub struct BuildStatus<'a> {
    /// Names the build; the same key replaces.
    pub key: &'a str,
    /// How it stands.
    pub state: BuildState,
    /// Page about it.
    pub url: &'a str,
    /// Title.
    pub name: &'a str,
    /// One sentence.
    pub description: &'a str,
}

/// Something a host can or cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// Stable key.
    pub key: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Why not; `None` when it works.
    pub off: Option<Off>,
}

/// Why a host cannot do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Off {
    /// One sentence.
    pub reason: &'static str,
    /// Since when, ISO 8601; `None` when it never could.
    pub since: Option<&'static str>,
}

/// A capability that works.
pub(super) const fn on(key: &'static str, name: &'static str) -> Capability {
    Capability {
        key,
        name,
        off: None,
    }
}

/// A capability that does not.
pub(super) const fn off(
    key: &'static str,
    name: &'static str,
    reason: &'static str,
    since: Option<&'static str>,
) -> Capability {
    Capability {
        key,
        name,
        off: Some(Off { reason, since }),
    }
}

/// What every host of code does. Each method is one documented call, or one list walked with a cap.
pub trait CodeHost: fmt::Debug + Send + Sync {
    /// What works and what does not, with the reason.
    fn capabilities(&self) -> &'static [Capability];

    /// Whether lists of repositories tell the main branch.
    fn lists_main_branches(&self) -> bool;

    /// One signed read without repeats and redirects: does the host still know us?
    fn probe(&self) -> Answer<'_, ()>;

    /// One repository.
    fn repository<'a>(&'a self, repo: &'a RepoRef) -> Answer<'a, HostedRepo>;

    /// Repositories by name, exact matches first where the host can; an empty text finds all.
    fn repositories<'a>(&'a self, text: &'a str, caps: Caps) -> Answer<'a, Listing<HostedRepo>>;

    /// One page of the repositories whose name contains a text, of all for an empty one; the first, or the one that a
    /// cursor of the same call names.
    fn repositories_page<'a>(
        &'a self,
        text: &'a str,
        from: Option<&'a Cursor>,
    ) -> Answer<'a, Page<HostedRepo>>;

    /// One commit.
    fn commit<'a>(&'a self, repo: &'a RepoRef, hash: &'a str) -> Answer<'a, Commit>;

    /// Commits that `include` has and `exclude` has not, newest first.
    fn commit_range<'a>(
        &'a self,
        repo: &'a RepoRef,
        include: &'a str,
        exclude: Option<&'a str>,
        caps: Caps,
    ) -> Answer<'a, Listing<Commit>>;

    /// Files that differ.
    fn changes<'a>(
        &'a self,
        repo: &'a RepoRef,
        range: Range<'a>,
        caps: Caps,
    ) -> Answer<'a, Listing<FileChange>>;

    /// The unified diff, of one file if `path` is given; at most `limit` bytes.
    fn diff<'a>(
        &'a self,
        repo: &'a RepoRef,
        range: Range<'a>,
        path: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<u8>>;

    /// The bytes of a file at a commit or ref; at most `limit`.
    fn file<'a>(
        &'a self,
        repo: &'a RepoRef,
        at: &'a str,
        path: &'a str,
        limit: usize,
    ) -> Answer<'a, Vec<u8>>;

    /// Commits that changed a file, newest first, from `at` backwards and over its renames.
    fn history<'a>(
        &'a self,
        repo: &'a RepoRef,
        at: &'a str,
        path: &'a str,
        caps: Caps,
    ) -> Answer<'a, Listing<FileVersion>>;

    /// Who wrote which lines of a file; `None` where the host has no such call.
    fn blame<'a>(
        &'a self,
        repo: &'a RepoRef,
        at: &'a str,
        path: &'a str,
    ) -> Answer<'a, Option<Vec<BlameSpan>>>;

    /// All branches, up to the caps.
    fn branches<'a>(&'a self, repo: &'a RepoRef, caps: Caps) -> Answer<'a, Listing<HostedBranch>>;

    /// Pull requests in a state (`OPEN`, `MERGED`, `DECLINED`), newest first.
    fn pull_requests<'a>(
        &'a self,
        repo: &'a RepoRef,
        state: &'a str,
        caps: Caps,
    ) -> Answer<'a, Listing<PullRequest>>;

    /// Pull requests that bring a commit; not complete while the host still looks for them. Absent where a repository
    /// on Cloud was never asked for them on its own pages (bitbucket.md §3.4).
    fn pull_requests_of<'a>(
        &'a self,
        repo: &'a RepoRef,
        hash: &'a str,
        caps: Caps,
    ) -> Answer<'a, Listing<PullRequest>>;

    /// Comments on a pull request; answers the id of the comment. Never repeated by itself.
    fn comment_pull_request<'a>(
        &'a self,
        repo: &'a RepoRef,
        id: u64,
        text: &'a str,
    ) -> Answer<'a, u64>;

    /// Sets the status of a build of a commit; the same key replaces.
    fn set_build_status<'a>(
        &'a self,
        repo: &'a RepoRef,
        hash: &'a str,
        status: &'a BuildStatus<'a>,
    ) -> Answer<'a, ()>;

    /// All webhooks of a repository, up to the caps.
    fn hooks<'a>(&'a self, repo: &'a RepoRef, caps: Caps) -> Answer<'a, Listing<Hook>>;

    /// Creates a webhook.
    fn create_hook<'a>(&'a self, repo: &'a RepoRef, spec: &'a HookSpec<'a>) -> Answer<'a, Hook>;

    /// Replaces a webhook, its secret included.
    fn update_hook<'a>(
        &'a self,
        repo: &'a RepoRef,
        id: &'a str,
        spec: &'a HookSpec<'a>,
    ) -> Answer<'a, Hook>;

    /// Deletes a webhook. One that is not there any more counts as deleted.
    fn delete_hook<'a>(&'a self, repo: &'a RepoRef, id: &'a str) -> Answer<'a, ()>;
}

/// One of the two products. Calls of the seam go to it directly.
#[derive(Debug, Clone)]
pub enum Host {
    /// Bitbucket Cloud, or a server that speaks like it, seen from one workspace.
    Cloud(CloudHost),
    /// Bitbucket Data Center.
    DataCenter(DataCenter),
}

impl Host {
    /// Bitbucket Cloud, for what Data Center does not have.
    pub const fn cloud(&self) -> Option<&Cloud> {
        match self {
            Self::Cloud(host) => Some(host.cloud()),
            Self::DataCenter(_) => None,
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Caller)) -> Self {
        change(match &mut self {
            Self::Cloud(host) => host.caller_mut(),
            Self::DataCenter(server) => server.caller_mut(),
        });
        self
    }

    /// The same with a shared budget, kept answers and a log, for somebody who waits.
    #[must_use]
    pub fn with_behind(self, behind: Behind, priority: Priority) -> Self {
        self.change(|caller| {
            caller.behind = Some(behind);
            caller.priority = priority;
        })
    }

    /// The same in the name of a part of the product, for the log.
    #[must_use]
    pub fn for_feature(self, feature: &'static str) -> Self {
        self.change(|caller| caller.feature = feature)
    }
}

impl Deref for Host {
    type Target = dyn CodeHost;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Cloud(host) => host,
            Self::DataCenter(server) => server,
        }
    }
}
