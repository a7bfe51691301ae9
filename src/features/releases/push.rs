//! What a push brought, complete: the webhook's own commits, or the range that it was cut from.

use std::time::Duration;

use super::fixes::{self, OwnHost, Reference};
use super::store;
use crate::app::App;
use crate::bitbucket::events::{Change, Push};
use crate::bitbucket::page::Caps;
use crate::bitbucket::wire::Commit as WireCommit;
use crate::bitbucket::{CodeHost, Error, Host, Kind, RepoRef};
use crate::error::AppError;
use crate::features::links::{self, LinkError, Repo};
use crate::kit::clock::Micros;
use crate::kit::http::retry::Verdict;
use crate::sentry::text::cut_bytes;

/// Commits of one push and branch that are read at most; the newest are kept.
const MAX_COMMITS: usize = 1_000;
/// Time for all fetches of one push.
const FETCH_TIME: Duration = Duration::from_secs(90);
/// Longest message kept, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;
/// Longest author name and address kept; Sentry's limit for the address (sentry.md §2.4).
const MAX_NAME: usize = 128;
const MAX_EMAIL: usize = 75;

/// A commit as it is stored, and what its message says it fixes.
#[derive(Debug, Clone)]
pub(super) struct PushedCommit {
    pub(super) hash: String,
    pub(super) message: String,
    pub(super) author_name: Option<String>,
    pub(super) author_email: Option<String>,
    pub(super) committed_at: Micros,
    pub(super) references: Vec<Reference>,
}

/// What happened to one branch.
#[derive(Debug, Clone)]
pub(super) struct BranchPush {
    pub(super) name: String,
    pub(super) is_main: bool,
    /// Where it points now; `None` when it was deleted.
    pub(super) head: Option<String>,
    /// What is newly on it, oldest first.
    pub(super) commits: Vec<PushedCommit>,
    /// How many of them the webhook did not bring.
    pub(super) fetched: usize,
}

/// A push that is ready to be stored.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    pub(super) branches: Vec<BranchPush>,
    /// The repository's main branch was not known before and should be stored.
    pub(super) main_is_new: bool,
    /// Why commits are missing that another try could bring; what is here can be stored all the same.
    pub problem: Option<String>,
    /// How long Bitbucket asked us to wait.
    pub retry_after: Option<Duration>,
    /// The problem is that too many calls were made; nothing is wrong with the push.
    pub limited: bool,
    /// Commits are missing for good.
    pub gap: Option<String>,
    /// Bitbucket was asked for commits, which may have taken long.
    pub asked_bitbucket: bool,
}

/// Completes a push with the commits that its webhook left out. No connection is held while Bitbucket is asked.
///
/// # Errors
/// When the database fails. A failure of Bitbucket is no error: see [`Gathered::problem`] and [`Gathered::gap`].
pub async fn gather(app: &App, repo: &Repo, push: &Push) -> Result<Gathered, AppError> {
    let mut gatherer = Gatherer {
        app,
        repo,
        host: None,
        found: Gathered::default(),
        own_host: OwnHost::new(&app.config.public_url),
    };
    match tokio::time::timeout(FETCH_TIME, gatherer.run(push)).await {
        Ok(done) => done?,
        Err(_) => {
            gatherer.found.problem = Some("Bitbucket took too long to list the commits".to_owned())
        }
    }
    Ok(gatherer.found)
}

struct Gatherer<'a> {
    app: &'a App,
    repo: &'a Repo,
    host: Option<(Host, RepoRef)>,
    found: Gathered,
    own_host: Option<OwnHost>,
}

impl Gatherer<'_> {
    async fn run(&mut self, push: &Push) -> Result<(), AppError> {
        let changes: Vec<(&Change, &str)> = push
            .changes()
            .iter()
            .filter_map(|change| Some((change, branch_of(change)?)))
            .collect();
        // What the webhook itself brings is noted first: it is stored whatever happens to the rest.
        let known_main = self.repo.main_branch.clone();
        for (change, name) in &changes {
            let commits = self.convert(&change.commits);
            self.found.branches.push(BranchPush {
                name: (*name).to_owned(),
                is_main: known_main.as_deref() == Some(name),
                head: change
                    .new_hash()
                    .filter(|_| !change.closed)
                    .map(str::to_owned),
                commits,
                fetched: 0,
            });
        }
        let main = match known_main {
            Some(main) => Some(main),
            None if changes.is_empty() => None,
            None => self.fetch_main_branch().await?,
        };
        for (index, (change, name)) in changes.iter().enumerate() {
            if (change.needs_fetch() || change.forced) && !change.closed {
                self.fetch_range(index, change, name, main.as_deref())
                    .await?;
            }
        }
        Ok(())
    }

    /// The main branch is not part of a webhook; an empty repository has none when it is linked.
    async fn fetch_main_branch(&mut self) -> Result<Option<String>, AppError> {
        let Some((host, repo)) = self.host().await? else {
            return Ok(None);
        };
        match host.repository(&repo).await {
            Ok(found) => {
                let main = found.main_branch;
                for branch in &mut self.found.branches {
                    branch.is_main = main.as_deref() == Some(branch.name.as_str());
                }
                self.found.main_is_new = main.is_some();
                Ok(main)
            }
            Err(error) => {
                self.note("the main branch could not be read", &error);
                Ok(None)
            }
        }
    }

    async fn fetch_range(
        &mut self,
        index: usize,
        change: &Change,
        name: &str,
        main: Option<&str>,
    ) -> Result<(), AppError> {
        let Some(new) = change.new_hash() else {
            return Ok(());
        };
        let Some((host, repo)) = self.host().await? else {
            return Ok(());
        };
        let main_head = match main {
            Some(main) if main != name => {
                Some(self.head_of(main).await?.unwrap_or_else(|| main.to_owned()))
            }
            _ => None,
        };
        let exclude = change
            .old_hash()
            .map(str::to_owned)
            .or_else(|| main_head.clone());
        let mut listing = list(&*host, &repo, new, exclude.as_deref()).await;
        // After a rewrite the old head may be gone; what is not on the main branch is then new.
        if listing.as_ref().is_err_and(Error::is_absent) && main_head != exclude {
            listing = list(&*host, &repo, new, main_head.as_deref()).await;
        }
        match listing {
            Ok(listing) => {
                if !listing.complete {
                    self.found.gap = Some(format!(
                        "only the newest {MAX_COMMITS} commits of {name} were read"
                    ));
                }
                let brought = change.commits.len();
                let commits = self.convert(&listing.items);
                if let Some(branch) = self.found.branches.get_mut(index)
                    && commits.len() >= branch.commits.len()
                {
                    branch.fetched = listing.items.len().saturating_sub(brought);
                    branch.commits = commits;
                }
            }
            Err(error) => self.note(
                &format!("the missing commits of {name} could not be fetched"),
                &error,
            ),
        }
        Ok(())
    }

    async fn head_of(&self, branch: &str) -> Result<Option<String>, AppError> {
        let (org, repo, branch) = (self.repo.org_id, self.repo.id, branch.to_owned());
        self.app
            .db
            .read(move |conn| Ok::<_, AppError>(store::branch_head(conn, org, repo, &branch)?))
            .await
    }

    /// The API as this repository's connection sees it; `None` (and a note) without a usable connection.
    async fn host(&mut self) -> Result<Option<(Host, RepoRef)>, AppError> {
        self.found.asked_bitbucket = true;
        if self.host.is_none() {
            match links::client_for_repo(self.app, self.repo.org_id, self.repo.id).await {
                Ok((_, reference, connected)) => {
                    self.host = Some((connected.for_feature("releases").host, reference));
                }
                Err(LinkError::App(error)) => return Err(error),
                // A connection that is switched off is repaired by a person; the delivery is kept for a replay.
                Err(error) => {
                    self.found.problem =
                        Some(format!("missing commits could not be fetched: {error}"));
                    return Ok(None);
                }
            }
        }
        Ok(self.host.clone())
    }

    fn note(&mut self, what: &str, error: &Error) {
        let text = format!("{what}: {error}");
        match error.verdict(1) {
            Verdict::Retry(_) => {
                self.found.limited |= error.kind() == Kind::RateLimited;
                self.found.retry_after = self.found.retry_after.max(error.retry_after());
                self.found.problem = Some(text);
            }
            // A revoked or narrowed connection is repaired by a person; the delivery is kept for a replay.
            _ if !error.is_absent() => self.found.problem = Some(text),
            _ => self.found.gap = Some(text),
        }
    }

    /// Wire commits, newest first, as what is stored, oldest first.
    fn convert(&self, commits: &[WireCommit]) -> Vec<PushedCommit> {
        let now = self.app.clock.now();
        commits
            .iter()
            .rev()
            .filter_map(|commit| pushed(commit, self.own_host.as_ref(), now))
            .collect()
    }
}

async fn list(
    host: &dyn CodeHost,
    repo: &RepoRef,
    new: &str,
    exclude: Option<&str>,
) -> Result<crate::bitbucket::page::Listing<WireCommit>, Error> {
    host.commit_range(repo, new, exclude, Caps::items(MAX_COMMITS))
        .await
}

/// Name of the branch that a change is about; tags are not branches.
fn branch_of(change: &Change) -> Option<&str> {
    let state = change.new.as_ref().or(change.old.as_ref())?;
    let is_tag = state
        .kind
        .as_deref()
        .is_some_and(|kind| kind.contains("tag"));
    state
        .name
        .as_deref()
        .filter(|name| !is_tag && !name.is_empty() && name.len() <= 255)
}

/// A commit as it is stored; `None` for one that asks not to be read, or whose hash is none.
fn pushed(commit: &WireCommit, own_host: Option<&OwnHost>, now: Micros) -> Option<PushedCommit> {
    let is_hash = (7..=64).contains(&commit.hash.len())
        && commit.hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut message = commit.message.clone().unwrap_or_default();
    if !is_hash || fixes::is_skipped(&message) {
        return None;
    }
    let references = fixes::references(&message, own_host);
    cut_bytes(&mut message, MAX_MESSAGE);
    let signature = commit
        .author
        .as_ref()
        .map(|author| author.signature())
        .unwrap_or_default();
    Some(PushedCommit {
        hash: commit.hash.to_ascii_lowercase(),
        message,
        author_name: signature.name.map(|mut name| {
            cut_bytes(&mut name, MAX_NAME);
            name
        }),
        author_email: signature
            .email
            .filter(|email| email.len() <= MAX_EMAIL)
            .map(|email| email.to_lowercase()),
        committed_at: commit.moment().unwrap_or(now),
        references,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn commit(message: &str, raw: &str) -> Option<PushedCommit> {
        let wire: WireCommit = serde_json::from_value(json!({
            "hash": "E0E377D186e4f0e937bdb487a23384fe002df649", "message": message,
            "author": {"raw": raw}, "date": "2017-05-24T01:05:47+00:00",
        }))
        .unwrap();
        pushed(&wire, None, Micros(7))
    }

    /// The recorded push of sentry.md §2.4.
    #[test]
    fn a_recorded_commit() {
        let commit = commit(
            "README.md edited online with Bitbucket",
            "Max Bittker <max@getsentry.com>",
        )
        .unwrap();
        assert_eq!(commit.hash, "e0e377d186e4f0e937bdb487a23384fe002df649");
        assert_eq!(commit.author_name.as_deref(), Some("Max Bittker"));
        assert_eq!(commit.author_email.as_deref(), Some("max@getsentry.com"));
        assert_eq!(
            commit.committed_at.to_rfc3339(),
            "2017-05-24T01:05:47.000000Z"
        );
        assert!(commit.references.is_empty());
    }

    #[test]
    fn the_marker_hides_a_commit_and_odd_authors_are_nobody() {
        assert!(commit("Fixes SHOP-1 #skipsentry", "A <a@b.example>").is_none());
        let long = format!("A <{}@b.example>", "a".repeat(80));
        assert_eq!(commit("x", &long).unwrap().author_email, None);
        assert_eq!(commit("Fixes SHOP-1", "").unwrap().references.len(), 1);
    }

    #[test]
    fn tags_are_not_branches() {
        let change = |json| serde_json::from_value::<Change>(json).unwrap();
        let branch = change(json!({"new": {"type": "branch", "name": "main"}}));
        assert_eq!(branch_of(&branch), Some("main"));
        let gone = change(json!({"old": {"type": "branch", "name": "old"}, "new": null}));
        assert_eq!(branch_of(&gone), Some("old"));
        for kind in ["tag", "annotated_tag"] {
            assert_eq!(
                branch_of(&change(json!({"new": {"type": kind, "name": "v1"}}))),
                None
            );
        }
        assert_eq!(branch_of(&change(json!({}))), None);
    }
}
