//! Bitbucket Cloud behind the seam: a workspace, and the calls that Data Center has too.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{
    Branch, Call, Caps, ChangedFile, Cloud, Cursor, Hook, HookSpec, Listing, PAGE_SIZE, Page,
};
use crate::atlassian::lifecycle::BracedUuid;
use crate::bitbucket::behind::Caller;
use crate::bitbucket::error::{Error, Kind};
use crate::bitbucket::host::{
    Answer, BlameSpan, BuildState, BuildStatus, Capability, ChangeKind, CodeHost, FileChange,
    FileVersion, HostedBranch, HostedRepo, PullRequest, Range, off, on,
};
use crate::bitbucket::paths::rows::{commits, pull_requests, reports, source};
use crate::bitbucket::paths::{BitbucketApiPath, RepoRef, Resource};
use crate::bitbucket::wire::{Account, Commit, Links, NamedRef, Repository, soft};

/// The one host that has no issues any more (bitbucket.md §2).
const SERVICE: &str = "bitbucket.org";
const NO_BLAME: &str =
    "Bitbucket Cloud has no call for it; the history of the file is read instead.";

/// bitbucket.org.
pub(crate) const CAPABILITIES: &[Capability] = &[
    on("repositories", "Repositories"),
    on("commits", "Commits"),
    on("diffs", "Changed files and diffs"),
    on("files", "Files"),
    on("history", "History of a file"),
    off("blame", "Blame", NO_BLAME, None),
    on("branches", "Branches"),
    on("pull_requests", "Pull requests"),
    on("build_status", "Build status"),
    on("hooks", "Webhooks"),
    off(
        "issues",
        "Issues",
        "Atlassian has shut down Bitbucket Issues; tickets go elsewhere.",
        Some("2026-08-20"),
    ),
    on("pipelines", "Pipelines"),
    on("deployments", "Deployments"),
];

/// A server that speaks like it: whether a repository has issues is asked of each (bitbucket.md §2.2).
const COMPATIBLE: &[Capability] = &[
    on("repositories", "Repositories"),
    on("commits", "Commits"),
    on("diffs", "Changed files and diffs"),
    on("files", "Files"),
    on("history", "History of a file"),
    off("blame", "Blame", NO_BLAME, None),
    on("branches", "Branches"),
    on("pull_requests", "Pull requests"),
    on("build_status", "Build status"),
    on("hooks", "Webhooks"),
    on("issues", "Issues"),
    on("pipelines", "Pipelines"),
    on("deployments", "Deployments"),
];

/// The API seen from one workspace.
#[derive(Debug, Clone)]
pub struct CloudHost {
    cloud: Cloud,
    workspace: String,
}

impl CloudHost {
    /// `workspace` is its uuid in braces, or its id.
    pub fn new(cloud: Cloud, workspace: String) -> Self {
        Self { cloud, workspace }
    }

    /// The whole API.
    pub const fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    pub(in crate::bitbucket) fn caller_mut(&mut self) -> &mut Caller {
        self.cloud.caller_mut()
    }

    fn hosted(&self, found: &Repository) -> Option<HostedRepo> {
        let uuid = BracedUuid::parse(found.uuid.as_deref()?)?;
        let full_name = found
            .full_name
            .clone()
            .filter(|name| RepoRef::from_full_name(name).is_ok())?;
        Some(HostedRepo {
            id: uuid.as_str().to_owned(),
            url: self.cloud.client().web_repository(&full_name),
            full_name,
            main_branch: found
                .mainbranch
                .as_ref()
                .and_then(|branch| branch.name.clone()),
            has_tracker: found.has_issues,
            workspace: found
                .workspace
                .as_ref()
                .and_then(|workspace| workspace.uuid.clone()),
        })
    }

    /// A page of pull requests of a row that lists them.
    async fn listed_pulls(
        &self,
        call: Call<'_>,
        caps: Caps,
    ) -> Result<Listing<PullRequest>, Error> {
        let found: Listing<WirePull> = self.cloud.list(call, caps).await?;
        Ok(found.keep(|pull| Some(pull.shown())))
    }
}

/// A row with the repository of the call.
fn row<'a>(
    row: &'static Resource,
    repo: &'a RepoRef,
    more: &'a [(&'static str, &'a str)],
) -> BitbucketApiPath<'a> {
    BitbucketApiPath::Row {
        row,
        repo: Some(repo),
        more,
    }
}

/// Cloud names the newer side first (bitbucket.md §3.4).
fn spec(range: Range<'_>) -> String {
    match range.from {
        Some(from) => format!("{}..{from}", range.to),
        None => range.to.to_owned(),
    }
}

fn change(file: ChangedFile) -> Option<FileChange> {
    let old = file.old.and_then(|side| side.path);
    let new = file.new.and_then(|side| side.path);
    let kind = match file.status.as_deref() {
        Some("added") => ChangeKind::Added,
        Some("removed") => ChangeKind::Removed,
        Some("renamed") => ChangeKind::Renamed,
        _ => ChangeKind::Modified,
    };
    let path = new.or_else(|| old.clone())?;
    Some(FileChange {
        kind,
        old_path: old.filter(|old| *old != path),
        path,
    })
}

#[derive(Debug, Default, Deserialize)]
struct HistoryEntry {
    #[serde(default, deserialize_with = "soft")]
    path: Option<String>,
    #[serde(default, deserialize_with = "soft")]
    commit: Option<Commit>,
}

#[derive(Debug, Default, Deserialize)]
struct PullEnd {
    #[serde(default, deserialize_with = "soft")]
    branch: NamedRef,
}

#[derive(Debug, Deserialize)]
struct WirePull {
    id: u64,
    #[serde(default, deserialize_with = "soft")]
    title: String,
    #[serde(default, deserialize_with = "soft")]
    state: String,
    #[serde(default, deserialize_with = "soft")]
    source: PullEnd,
    #[serde(default, deserialize_with = "soft")]
    destination: PullEnd,
    #[serde(default, deserialize_with = "soft")]
    author: Account,
    #[serde(default, deserialize_with = "soft")]
    links: Links,
}

impl WirePull {
    fn shown(self) -> PullRequest {
        PullRequest {
            id: self.id,
            url: self.links.html_url().map(str::to_owned),
            title: self.title,
            state: self.state,
            source: self.source.branch.name,
            target: self.destination.branch.name,
            author: self.author.display_name,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Made {
    id: u64,
}

impl CodeHost for CloudHost {
    fn capabilities(&self) -> &'static [Capability] {
        if self.cloud.client().web.host_str() == Some(SERVICE) {
            CAPABILITIES
        } else {
            COMPATIBLE
        }
    }

    fn lists_main_branches(&self) -> bool {
        true
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let Some(workspace) = BracedUuid::parse(&self.workspace) else {
                let text = "its workspace has no valid uuid; connect it again";
                return Err(Error::of_credential(Kind::BadCall, text));
            };
            self.cloud.prove_workspace(&workspace).await
        })
    }

    fn repository<'a>(&'a self, repo: &'a RepoRef) -> Answer<'a, HostedRepo> {
        Box::pin(async move {
            let found = self.cloud.repository(repo).await?;
            self.hosted(&found).ok_or_else(|| {
                Call::get(BitbucketApiPath::Repository { repo }).error(
                    Kind::Garbage,
                    "the answer has no uuid or no name of the repository",
                )
            })
        })
    }

    fn repositories<'a>(&'a self, text: &'a str, caps: Caps) -> Answer<'a, Listing<HostedRepo>> {
        Box::pin(async move {
            let found = self
                .cloud
                .search_repositories(&self.workspace, text, caps)
                .await?;
            Ok(found.keep(|repository| self.hosted(&repository)))
        })
    }

    fn repositories_page<'a>(
        &'a self,
        text: &'a str,
        from: Option<&'a Cursor>,
    ) -> Answer<'a, Page<HostedRepo>> {
        Box::pin(async move {
            let found = self.cloud.found_page(&self.workspace, text, from).await?;
            Ok(found.keep(|repository| self.hosted(&repository)))
        })
    }

    fn commit<'a>(&'a self, repo: &'a RepoRef, hash: &'a str) -> Answer<'a, Commit> {
        Box::pin(self.cloud.commit(repo, hash))
    }

    fn commit_range<'a>(
        &'a self,
        repo: &'a RepoRef,
        include: &'a str,
        exclude: Option<&'a str>,
        caps: Caps,
    ) -> Answer<'a, Listing<Commit>> {
        Box::pin(async move {
            self.cloud
                .commit_range(repo, &[include], exclude.as_slice(), caps)
                .await
        })
    }

    fn changes<'a>(
        &'a self,
        repo: &'a RepoRef,
        range: Range<'a>,
        caps: Caps,
    ) -> Answer<'a, Listing<FileChange>> {
        Box::pin(async move {
            let found = self.cloud.diffstat(repo, &spec(range), caps).await?;
            Ok(found.keep(change))
        })
    }

    fn diff<'a>(
        &'a self,
        repo: &'a RepoRef,
        range: Range<'a>,
        path: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            self.cloud
                .diff(repo, &spec(range), path.as_slice(), limit)
                .await
        })
    }

    fn file<'a>(
        &'a self,
        repo: &'a RepoRef,
        at: &'a str,
        path: &'a str,
        limit: usize,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(self.cloud.source(repo, at, path, limit))
    }

    fn history<'a>(
        &'a self,
        repo: &'a RepoRef,
        at: &'a str,
        path: &'a str,
        caps: Caps,
    ) -> Answer<'a, Listing<FileVersion>> {
        Box::pin(async move {
            let more = [("commit", at), ("path", path)];
            let call =
                Call::get(row(&source::FILE_HISTORY, repo, &more)).query("pagelen", PAGE_SIZE);
            let found: Listing<HistoryEntry> = self.cloud.list(call, caps).await?;
            Ok(found.keep(|entry| {
                let commit = entry.commit?;
                Some(FileVersion {
                    hash: commit.hash.clone(),
                    path: entry.path,
                    // Without `fields` the service sends the hash alone.
                    commit: Some(commit).filter(|commit| commit.date.is_some()),
                })
            }))
        })
    }

    fn blame<'a>(
        &'a self,
        _: &'a RepoRef,
        _: &'a str,
        _: &'a str,
    ) -> Answer<'a, Option<Vec<BlameSpan>>> {
        Box::pin(async { Ok(None) })
    }

    fn branches<'a>(&'a self, repo: &'a RepoRef, caps: Caps) -> Answer<'a, Listing<HostedBranch>> {
        Box::pin(async move {
            let found = self.cloud.branches(repo, caps).await?;
            Ok(found.keep(|Branch { name, target }| {
                Some(HostedBranch {
                    name: name?,
                    head: target.and_then(|target| target.hash),
                })
            }))
        })
    }

    fn pull_requests<'a>(
        &'a self,
        repo: &'a RepoRef,
        state: &'a str,
        caps: Caps,
    ) -> Answer<'a, Listing<PullRequest>> {
        // 50 is the most that this list gives (bitbucket.md §4.1). Nothing promises an order of its own.
        let call = Call::get(row(&pull_requests::PULL_REQUESTS, repo, &[]))
            .query("state", state)
            .query("sort", "-created_on")
            .query("pagelen", "50");
        Box::pin(self.listed_pulls(call, caps))
    }

    fn pull_requests_of<'a>(
        &'a self,
        repo: &'a RepoRef,
        hash: &'a str,
        caps: Caps,
    ) -> Answer<'a, Listing<PullRequest>> {
        Box::pin(async move {
            let more = [("commit", hash)];
            let call = Call::get(row(&commits::COMMIT_PULL_REQUESTS, repo, &more));
            self.listed_pulls(call, caps).await
        })
    }

    fn comment_pull_request<'a>(
        &'a self,
        repo: &'a RepoRef,
        id: u64,
        text: &'a str,
    ) -> Answer<'a, u64> {
        Box::pin(async move {
            let id = id.to_string();
            let more = [("pull_request_id", id.as_str())];
            let path = row(&pull_requests::PULL_REQUEST_COMMENTS, repo, &more);
            let call = Call::new(Method::POST, path).body(json!({"content": {"raw": text}}));
            let made: Made = self.cloud.object(call).await?;
            Ok(made.id)
        })
    }

    fn set_build_status<'a>(
        &'a self,
        repo: &'a RepoRef,
        hash: &'a str,
        status: &'a BuildStatus<'a>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let more = [("commit", hash)];
            let body = json!({
                "key": status.key, "url": status.url, "name": status.name,
                "description": status.description,
                "state": match status.state {
                    BuildState::InProgress => "INPROGRESS",
                    BuildState::Successful => "SUCCESSFUL",
                    BuildState::Failed => "FAILED",
                    BuildState::Stopped => "STOPPED",
                },
            });
            let path = row(&reports::BUILD_STATUSES, repo, &more);
            self.cloud
                .send(Call::new(Method::POST, path).body(body))
                .await
                .map(drop)
        })
    }

    fn hooks<'a>(&'a self, repo: &'a RepoRef, caps: Caps) -> Answer<'a, Listing<Hook>> {
        Box::pin(self.cloud.hooks(repo, caps))
    }

    fn create_hook<'a>(&'a self, repo: &'a RepoRef, spec: &'a HookSpec<'a>) -> Answer<'a, Hook> {
        Box::pin(self.cloud.create_hook(repo, spec))
    }

    fn update_hook<'a>(
        &'a self,
        repo: &'a RepoRef,
        id: &'a str,
        spec: &'a HookSpec<'a>,
    ) -> Answer<'a, Hook> {
        Box::pin(self.cloud.update_hook(repo, id, spec))
    }

    fn delete_hook<'a>(&'a self, repo: &'a RepoRef, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.cloud.delete_hook(repo, id))
    }
}
