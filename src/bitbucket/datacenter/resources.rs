//! The calls, resource by resource.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::wire::{
    Change, Lines, Person, Properties, Ref, Repository, WireCommit, WireHook, WirePull,
};
use super::{Call, Caps, Cursor, DataCenter, Listing, PAGE_SIZE, Page};
use crate::bitbucket::auth::Credential;
use crate::bitbucket::behind::Caller;
use crate::bitbucket::cloud::{Hook, HookSpec};
use crate::bitbucket::error::{Error, Kind};
use crate::bitbucket::host::{
    BlameSpan, BuildState, BuildStatus, FileChange, FileVersion, HostedBranch, HostedRepo,
    PullRequest, Range,
};
use crate::bitbucket::json;
use crate::bitbucket::meta::Meta;
use crate::bitbucket::paths::rows::datacenter as code;
use crate::bitbucket::paths::rows::datacenter_admin as admin;
use crate::bitbucket::paths::rows::datacenter_reviews as reviews;
use crate::bitbucket::paths::{BitbucketApiPath, RepoRef, Resource};
use crate::bitbucket::wire::Commit;

/// Pages of lines read for a blame; beyond that the file is not for people.
const BLAME_PAGES: usize = 50;

/// What a token may do with repositories; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// See them.
    Read,
    /// Push to them.
    Write,
    /// Change their settings and webhooks.
    Admin,
}

impl Permission {
    /// Every permission, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "REPO_READ",
            Self::Write => "REPO_WRITE",
            Self::Admin => "REPO_ADMIN",
        }
    }
}

/// Who a token acts as, and what it sees.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Name of the person or, for a token of a project or repository, of its own account.
    pub name: Option<String>,
    /// Repositories on the first page.
    pub repositories: usize,
    /// Whether there are more.
    pub more: bool,
    /// Headers of the answer.
    pub meta: Meta,
}

pub(super) fn row<'a>(
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

pub(super) const fn plain<'a>(
    row: &'static Resource,
    more: &'a [(&'static str, &'a str)],
) -> BitbucketApiPath<'a> {
    BitbucketApiPath::Row {
        row,
        repo: None,
        more,
    }
}

/// A query parameter where it has a value.
fn with<'a>(call: Call<'a>, name: &'static str, value: Option<&str>) -> Call<'a> {
    match value {
        Some(value) => call.query(name, value),
        None => call,
    }
}

/// `PROJECT/slug` is searched by the part that is a name.
fn name_of(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

impl DataCenter {
    /// Which server this is. Asked without the token, which only Bitbucket shall see; once, and nothing is followed,
    /// so that the answer is of this address.
    pub async fn properties(&self) -> Result<(Properties, Meta), Error> {
        let call = Call::get(plain(&code::DC_APPLICATION_PROPERTIES, &[])).once();
        let garbage = call.error(Kind::Garbage, "this is not a Bitbucket Data Center server");
        let answer = self
            .send_as(&Caller::plain(Credential::Nobody), call)
            .await?;
        let found: Properties = json::read(&answer.body).map_err(|_| garbage.clone())?;
        if found.version.is_none() || found.display_name.as_deref() != Some("Bitbucket") {
            return Err(garbage);
        }
        Ok((found, answer.meta))
    }

    /// Who the token acts as and how much it sees.
    pub async fn identity(&self) -> Result<Identity, Error> {
        let call = self.search_call("").query("limit", PAGE_SIZE);
        let garbage = call.error(Kind::Garbage, "the answer is not a page of a list");
        let answer = self.send(call).await?;
        let page: super::Envelope = json::read(&answer.body).map_err(|_| garbage.clone())?;
        let repositories = page.values.ok_or(garbage)?.len();
        let mut name = answer.meta.user.clone();
        if let Some(slug) = &answer.meta.user {
            let more = [("userSlug", slug.as_str())];
            let person: Result<Person, Error> =
                self.object(Call::get(plain(&admin::DC_USER, &more))).await;
            // A bot of a project or repository has no page of its own.
            name = person.ok().and_then(|person| person.shown()).or(name);
        }
        Ok(Identity {
            name,
            repositories,
            more: page.is_last == Some(false),
            meta: answer.meta,
        })
    }

    /// Whether the token has a permission on any repository.
    pub async fn has_any(&self, permission: Permission) -> Result<bool, Error> {
        let call = self
            .search_call("")
            .query("permission", permission.as_str())
            .query("limit", "1");
        let garbage = call.error(Kind::Garbage, "the answer is not a page of a list");
        let answer = self.send(call).await?;
        let page: super::Envelope = json::read(&answer.body).map_err(|_| garbage.clone())?;
        Ok(!page.values.ok_or(garbage)?.is_empty())
    }

    fn search_call(&self, text: &str) -> Call<'static> {
        let call = Call::get(plain(&code::DC_REPOSITORY_SEARCH, &[]));
        with(
            call,
            "name",
            Some(text.trim()).filter(|text| !text.is_empty()),
        )
    }

    /// One signed read, once.
    pub(super) async fn ask_once(&self) -> Result<(), Error> {
        let call = self.search_call("").query("limit", "1").once();
        let garbage = call.error(Kind::Garbage, "the answer is not a page of a list");
        let answer = self.send(call).await?;
        let page: super::Envelope = json::read(&answer.body).map_err(|_| garbage.clone())?;
        page.values.map(drop).ok_or(garbage)
    }

    fn shown(&self, found: &Repository) -> Option<HostedRepo> {
        found.shown(&self.server(), self.base().as_str())
    }

    /// One repository with its main branch.
    pub async fn repository(&self, repo: &RepoRef) -> Result<HostedRepo, Error> {
        let call = Call::get(row(&code::DC_REPOSITORY, repo, &[]));
        let garbage = call.error(
            Kind::Garbage,
            "the answer has no id or no name of the repository",
        );
        let found: Repository = self.object(call).await?;
        let mut shown = self.shown(&found).ok_or(garbage)?;
        shown.main_branch = self.main_branch(repo).await?;
        Ok(shown)
    }

    /// An empty repository has none: 404, or nothing at all.
    async fn main_branch(&self, repo: &RepoRef) -> Result<Option<String>, Error> {
        let call = Call::get(row(&code::DC_DEFAULT_BRANCH, repo, &[]));
        match self.send(call).await {
            Ok(answer) => Ok(json::read::<Ref>(&answer.body)
                .ok()
                .and_then(|found| found.name)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One page of the repositories that the token sees, by a part of their name.
    pub async fn repositories_page(
        &self,
        text: &str,
        from: Option<&Cursor>,
    ) -> Result<Page<HostedRepo>, Error> {
        let call = self.search_call(name_of(text));
        let found: Page<Repository> = self.page(call, from).await?;
        Ok(found.keep(|repository| self.shown(&repository)))
    }

    /// Repositories that the token sees, by a part of their name.
    pub async fn repositories(&self, text: &str, caps: Caps) -> Result<Listing<HostedRepo>, Error> {
        let call = self.search_call(name_of(text));
        let found: Listing<Repository> = self.list(call, caps).await?;
        let mut found = found.keep(|repository| self.shown(&repository));
        let wanted = text.trim().to_lowercase();
        found.items.sort_by_key(|repo| {
            let full = repo.full_name.to_lowercase();
            let slug = full.split('/').next_back().map(str::to_owned);
            full != wanted && slug.as_deref() != Some(wanted.as_str())
        });
        Ok(found)
    }

    /// One commit.
    pub async fn commit(&self, repo: &RepoRef, hash: &str) -> Result<Commit, Error> {
        let more = [("commitId", hash)];
        let found: WireCommit = self
            .object(Call::get(row(&code::DC_COMMIT, repo, &more)))
            .await?;
        Ok(found.shown())
    }

    /// Commits that `until` has and `since` has not, newest first.
    pub async fn commits(
        &self,
        repo: &RepoRef,
        until: &str,
        since: Option<&str>,
        caps: Caps,
    ) -> Result<Listing<Commit>, Error> {
        let call = Call::get(row(&code::DC_COMMITS, repo, &[])).query("until", until);
        let found: Listing<WireCommit> = self.list(with(call, "since", since), caps).await?;
        Ok(found.keep(|commit| Some(commit.shown())))
    }

    /// Changed files.
    pub async fn changes(
        &self,
        repo: &RepoRef,
        range: Range<'_>,
        caps: Caps,
    ) -> Result<Listing<FileChange>, Error> {
        let more = [("commitId", range.to)];
        let call = Call::get(row(&code::DC_COMMIT_CHANGES, repo, &more));
        let found: Listing<Change> = self.list(with(call, "since", range.from), caps).await?;
        Ok(found.keep(Change::shown))
    }

    /// The diff as text; as JSON it would be cut.
    pub async fn diff(
        &self,
        repo: &RepoRef,
        range: Range<'_>,
        path: Option<&str>,
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let more = [("commitId", range.to), ("path", path.unwrap_or_default())];
        let target = match path {
            Some(_) => row(&code::DC_COMMIT_FILE_DIFF, repo, &more),
            None => row(&code::DC_COMMIT_DIFF, repo, more.get(..1).unwrap_or(&[])),
        };
        let call = Call::get(target).raw(limit).accept("text/plain");
        Ok(self.send(with(call, "since", range.from)).await?.body)
    }

    /// The bytes of a file.
    pub async fn file(
        &self,
        repo: &RepoRef,
        at: &str,
        path: &str,
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let more = [("path", path)];
        let call = Call::get(row(&code::DC_RAW, repo, &more))
            .query("at", at)
            .raw(limit);
        Ok(self.send(call).await?.body)
    }

    /// Commits that changed a file, over its renames.
    pub async fn history(
        &self,
        repo: &RepoRef,
        at: &str,
        path: &str,
        caps: Caps,
    ) -> Result<Listing<FileVersion>, Error> {
        let call = Call::get(row(&code::DC_COMMITS, repo, &[]))
            .query("until", at)
            .query("path", path)
            .query("followRenames", "true");
        let found: Listing<WireCommit> = self.list(call, caps).await?;
        Ok(found.keep(|commit| {
            let commit = commit.shown();
            Some(FileVersion {
                hash: commit.hash.clone(),
                path: None,
                commit: Some(commit),
            })
        }))
    }

    /// Who wrote which lines, over all pages of lines.
    pub async fn blame(
        &self,
        repo: &RepoRef,
        at: &str,
        path: &str,
    ) -> Result<Vec<BlameSpan>, Error> {
        let more = [("path", path)];
        let call = Call::get(row(&code::DC_BROWSE, repo, &more))
            .query("at", at)
            .query("blame", "true")
            .query("limit", "1000");
        let garbage = |text: &str| call.error(Kind::Garbage, text);
        let (mut spans, mut start) = (BTreeMap::new(), None);
        for _ in 0..BLAME_PAGES {
            let here = match start {
                Some(start) => call.clone().query("start", u64::to_string(&start)),
                None => call.clone(),
            };
            let page: Lines = self.object(here).await?;
            let found = page
                .blame
                .ok_or_else(|| garbage("the answer has no blame"))?;
            for span in found {
                spans.entry(span.line).or_insert_with(|| span.shown());
            }
            let next = page.next.filter(|_| page.is_last == Some(false));
            match next {
                None => return Ok(spans.into_values().collect()),
                Some(_) if next <= start => {
                    return Err(garbage("the next page does not come after this one"));
                }
                Some(_) => start = next,
            }
        }
        Err(call.error(Kind::TooLarge, "the file has too many lines"))
    }

    /// Branches.
    pub async fn branches(
        &self,
        repo: &RepoRef,
        caps: Caps,
    ) -> Result<Listing<HostedBranch>, Error> {
        let call = Call::get(row(&code::DC_BRANCHES, repo, &[]));
        let found: Listing<Ref> = self.list(call, caps).await?;
        Ok(found.keep(Ref::shown))
    }

    /// Pull requests into the repository.
    pub async fn pull_requests(
        &self,
        repo: &RepoRef,
        state: &str,
        caps: Caps,
    ) -> Result<Listing<PullRequest>, Error> {
        let call = Call::get(row(&reviews::DC_PULL_REQUESTS, repo, &[]))
            .query("state", state)
            .query("order", "NEWEST");
        let found: Listing<WirePull> = self.list(call, caps).await?;
        Ok(found.keep(|pull| Some(pull.shown())))
    }

    /// Pull requests that bring a commit.
    pub async fn pull_requests_of(
        &self,
        repo: &RepoRef,
        hash: &str,
        caps: Caps,
    ) -> Result<Listing<PullRequest>, Error> {
        let more = [("commitId", hash)];
        let call = Call::get(row(&code::DC_COMMIT_PULL_REQUESTS, repo, &more));
        let found: Listing<WirePull> = self.list(call, caps).await?;
        Ok(found.keep(|pull| Some(pull.shown())))
    }

    /// Comments on a pull request; answers the id of the comment.
    pub async fn comment_pull_request(
        &self,
        repo: &RepoRef,
        id: u64,
        text: &str,
    ) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Made {
            id: u64,
        }
        let id = id.to_string();
        let more = [("pullRequestId", id.as_str())];
        let path = row(&reviews::DC_PULL_REQUEST_COMMENTS, repo, &more);
        let made: Made = self
            .object(Call::new(Method::POST, path).body(json!({"text": text})))
            .await?;
        Ok(made.id)
    }

    /// Sets the status of a build; the same key replaces.
    pub async fn set_build_status(
        &self,
        repo: &RepoRef,
        hash: &str,
        status: &BuildStatus<'_>,
    ) -> Result<(), Error> {
        let more = [("commitId", hash)];
        let body = json!({
            "key": status.key, "url": status.url, "name": status.name,
            "description": status.description,
            "state": match status.state {
                BuildState::InProgress => "INPROGRESS",
                BuildState::Successful => "SUCCESSFUL",
                BuildState::Failed => "FAILED",
                BuildState::Stopped => "CANCELLED",
            },
        });
        let path = row(&reviews::DC_BUILDS, repo, &more);
        self.send(Call::new(Method::POST, path).body(body))
            .await
            .map(drop)
    }

    /// Webhooks of a repository.
    pub async fn hooks(&self, repo: &RepoRef, caps: Caps) -> Result<Listing<Hook>, Error> {
        let call = Call::get(row(&admin::DC_REPOSITORY_HOOKS, repo, &[]));
        let found: Listing<WireHook> = self.list(call, caps).await?;
        Ok(found.keep(|hook| Some(hook.shown())))
    }

    /// Creates a webhook.
    pub async fn create_hook(&self, repo: &RepoRef, spec: &HookSpec<'_>) -> Result<Hook, Error> {
        let path = row(&admin::DC_REPOSITORY_HOOKS, repo, &[]);
        let made: WireHook = self
            .object(Call::new(Method::POST, path).body(hook_body(spec)))
            .await?;
        Ok(made.shown())
    }

    /// Replaces a webhook, its secret included.
    pub async fn update_hook(
        &self,
        repo: &RepoRef,
        id: &str,
        spec: &HookSpec<'_>,
    ) -> Result<Hook, Error> {
        let more = [("webhookId", id)];
        let path = row(&admin::DC_REPOSITORY_HOOK, repo, &more);
        let changed: WireHook = self
            .object(Call::new(Method::PUT, path).body(hook_body(spec)))
            .await?;
        Ok(changed.shown())
    }

    /// Deletes a webhook. One that is not there any more counts as deleted.
    pub async fn delete_hook(&self, repo: &RepoRef, id: &str) -> Result<(), Error> {
        let more = [("webhookId", id)];
        let path = row(&admin::DC_REPOSITORY_HOOK, repo, &more);
        match self.send(Call::new(Method::DELETE, path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_absent() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn hook_body(spec: &HookSpec<'_>) -> serde_json::Value {
    json!({
        "name": spec.description,
        "url": spec.url,
        "active": true,
        "events": spec.events,
        "configuration": {"secret": spec.secret.expose()},
        "sslVerificationRequired": true,
    })
}
