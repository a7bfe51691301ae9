//! What happens to pull requests, whoever asks for it: the API, a control, or a push.

mod events;

use std::path::Path;
use std::sync::Arc;

use crate::core::Core;
use crate::git::log::{self, Commit, Range};
use crate::git::merge::{self, Merge, Merged};
use crate::git::push::{self, Snapshot};
use crate::git::refs;
use crate::git::write::Signature;
use crate::model::{MergeStrategy, PullEnd, PullRequest, PullState, Repository};
pub(crate) use events::Event;

/// Commits of a pull request that are ever listed.
const LISTED: usize = 10_000;

/// Why something cannot be done: status, the field that is to blame, and a sentence.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) field: Option<&'static str>,
    pub(crate) text: String,
}

impl Refused {
    fn field(field: &'static str, text: impl Into<String>) -> Self {
        Self {
            status: 400,
            field: Some(field),
            text: text.into(),
        }
    }

    fn status(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            field: None,
            text: text.into(),
        }
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!("{error:#}");
        Self::status(500, "The sandbox failed; its log says why.")
    }
}

/// A pull request to open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opening {
    pub(crate) title: String,
    pub(crate) description: String,
    /// Name of a branch.
    pub(crate) source: String,
    /// Name of a branch; the main one when empty.
    pub(crate) destination: String,
    pub(crate) close_source_branch: bool,
    pub(crate) draft: bool,
    /// Account uuids.
    pub(crate) reviewers: Vec<String>,
    /// Account uuid.
    pub(crate) author: String,
}

/// How to merge.
#[derive(Debug, Clone, Default)]
pub(crate) struct Merging {
    pub(crate) strategy: MergeStrategy,
    /// Made of the title when absent.
    pub(crate) message: Option<String>,
    /// As the pull request says when absent.
    pub(crate) close_source_branch: Option<bool>,
    /// Account uuid of who merges.
    pub(crate) by: String,
}

fn end(all: &Snapshot, branch: &str) -> Option<PullEnd> {
    let found = all.get(&format!("refs/heads/{branch}"))?;
    Some(PullEnd {
        branch: branch.to_owned(),
        commit: found.commit.clone(),
    })
}

/// Finds both branches; they must differ, and the source must bring a commit.
async fn ends(dir: &Path, source: &str, destination: &str) -> Result<(PullEnd, PullEnd), Refused> {
    let all = refs::all(dir).await?;
    let missing = |name: &str| format!("there is no branch {name:?}");
    let destination = match destination {
        "" => refs::main_branch(dir).await.unwrap_or_default(),
        named => named.to_owned(),
    };
    let from = end(&all, source).ok_or_else(|| Refused::field("source", missing(source)))?;
    let onto = end(&all, &destination)
        .ok_or_else(|| Refused::field("destination", missing(&destination)))?;
    if refs::is_ancestor(dir, &from.commit, &onto.commit).await {
        return Err(Refused::field(
            "source",
            "There are no changes to be pulled",
        ));
    }
    Ok((from, onto))
}

/// Opens a pull request and tells the hooks.
pub(crate) async fn open(
    core: &Arc<Core>,
    repository: &Repository,
    new: Opening,
) -> Result<PullRequest, Refused> {
    let dir = core.git_dir(repository);
    let (source, destination) = ends(&dir, &new.source, &new.destination).await?;
    let now = core.clock.stamp();
    let mut pull = PullRequest {
        repository: repository.uuid.clone(),
        id: 0,
        title: new.title,
        description: new.description,
        state: PullState::Open,
        author: new.author,
        source,
        destination,
        close_source_branch: new.close_source_branch,
        draft: new.draft,
        reviewers: new.reviewers,
        merge_commit: None,
        closed_by: None,
        reason: String::new(),
        created_on: now.clone(),
        updated_on: now,
        comments: Vec::new(),
    };
    core.store.write(|state| {
        // They are never deleted, so that the last one has the highest number.
        pull.id = state.pulls(&repository.uuid).count() as u64 + 1;
        state.pulls.push(pull.clone());
    })?;
    core.tell(repository, &pull, &Event::Created, &pull.author);
    Ok(pull)
}

/// A pull request that is still open.
fn still_open(core: &Core, repository: &Repository, id: u64) -> Result<PullRequest, Refused> {
    let found = core.store.read(|s| s.pull(&repository.uuid, id).cloned());
    let found = found.ok_or_else(|| Refused::status(404, format!("no pull request {id}")))?;
    match found.state {
        PullState::Open => Ok(found),
        other => Err(Refused::status(
            409,
            format!("This pull request is already {}.", other.name()),
        )),
    }
}

/// Changes an open pull request and tells the hooks. `destination` names another branch.
pub(crate) async fn update(
    core: &Arc<Core>,
    repository: &Repository,
    id: u64,
    destination: Option<&str>,
    by: &str,
    change: impl FnOnce(&mut PullRequest),
) -> Result<PullRequest, Refused> {
    let mut pull = still_open(core, repository, id)?;
    change(&mut pull);
    if let Some(name) = destination {
        let dir = core.git_dir(repository);
        pull.destination = ends(&dir, &pull.source.branch, name).await?.1;
    }
    pull.updated_on = core.clock.stamp();
    keep(core, &pull)?;
    core.tell(repository, &pull, &Event::Updated, by);
    Ok(pull)
}

/// Stores a changed pull request; comments may have come meanwhile and stay.
fn keep(core: &Core, pull: &PullRequest) -> anyhow::Result<()> {
    core.store.write(|state| {
        if let Some(stored) = state.pull_mut(&pull.repository, pull.id) {
            let comments = std::mem::take(&mut stored.comments);
            *stored = pull.clone();
            stored.comments = comments;
        }
    })
}

/// Turns a pull request down and tells the hooks.
pub(crate) fn decline(
    core: &Arc<Core>,
    repository: &Repository,
    id: u64,
    reason: &str,
    by: &str,
) -> Result<PullRequest, Refused> {
    let mut pull = still_open(core, repository, id)?;
    pull.state = PullState::Declined;
    pull.reason = reason.to_owned();
    pull.closed_by = Some(by.to_owned());
    pull.updated_on = core.clock.stamp();
    keep(core, &pull)?;
    core.tell(repository, &pull, &Event::Rejected, by);
    Ok(pull)
}

/// Merges with git, as a push of the destination branch, and tells the hooks of both.
pub(crate) async fn merge(
    core: &Arc<Core>,
    repository: &Repository,
    id: u64,
    how: &Merging,
) -> Result<PullRequest, Refused> {
    let lock = core.push_lock(repository);
    let guard = lock.lock().await;
    let mut pull = still_open(core, repository, id)?;
    let dir = core.git_dir(repository);
    let before = refs::all(&dir).await?;
    let gone = || Refused::status(409, "The destination branch does not exist any more.");
    let onto = end(&before, &pull.destination.branch).ok_or_else(gone)?;
    let hash = commit_of(core, &dir, &pull, &onto, how).await?;
    merge::move_branch(&dir, &onto.branch, &onto.commit, Some(&hash)).await?;
    let source = end(&before, &pull.source.branch);
    if let (true, Some(source)) = (
        how.close_source_branch.unwrap_or(pull.close_source_branch),
        source,
    ) {
        merge::move_branch(&dir, &source.branch, &source.commit, None).await?;
    }
    close(core, &mut pull, onto, hash, &how.by);
    keep(core, &pull)?;
    let name = core
        .store
        .read(|s| s.user(&how.by).map(|u| u.nickname.clone()));
    let pushed = push::after(core, repository, &before, name.as_deref()).await?;
    drop(guard);
    if let Some(pushed) = pushed {
        core.fire_push(repository, pushed);
    }
    core.tell(repository, &pull, &Event::Fulfilled, &how.by);
    Ok(pull)
}

/// Marks a pull request as merged. Its destination stays what it was before, so that its commits
/// can be told.
fn close(core: &Core, pull: &mut PullRequest, onto: PullEnd, hash: String, by: &str) {
    pull.state = PullState::Merged;
    pull.destination = onto;
    pull.merge_commit = Some(hash);
    pull.closed_by = Some(by.to_owned());
    pull.updated_on = core.clock.stamp();
}

/// What the destination is to become.
async fn commit_of(
    core: &Core,
    dir: &Path,
    pull: &PullRequest,
    onto: &PullEnd,
    how: &Merging,
) -> Result<String, Refused> {
    let by = signature(core, &how.by);
    let message = how.message.clone().unwrap_or_else(|| {
        let (branch, id, title) = (&pull.source.branch, pull.id, &pull.title);
        format!("Merged in {branch} (pull request #{id})\n\n{title}\n")
    });
    let wanted = Merge {
        onto: &onto.commit,
        from: &pull.source.commit,
        strategy: how.strategy,
        message: &message,
        by: &by,
    };
    match merge::merge(dir, &wanted).await? {
        Merged::Commit(hash) => Ok(hash),
        Merged::Conflict => {
            let text = "You can't merge until you resolve all merge conflicts.";
            Err(Refused::status(409, text))
        }
        Merged::NotForward => {
            let text = "The destination branch cannot be fast-forwarded.";
            Err(Refused::status(409, text))
        }
    }
}

/// How an account signs a commit.
fn signature(core: &Core, account: &str) -> Signature {
    core.store.read(|state| {
        let person = state.user(account);
        let workspace = state.workspace(account);
        let name = person
            .map(|u| u.display_name.clone())
            .or_else(|| workspace.map(|w| w.name.clone()));
        let email = person.and_then(|u| u.email.clone());
        Signature {
            name: name.unwrap_or_else(|| "Sandbox".to_owned()),
            email: email.unwrap_or_else(|| "sandbox@localhost".to_owned()),
            date: Some(core.clock.stamp()),
        }
    })
}

/// Commits that a pull request brings, newest first.
pub(crate) async fn commits(dir: &Path, pull: &PullRequest) -> anyhow::Result<Vec<Commit>> {
    let range = Range {
        include: vec![pull.source.commit.clone()],
        exclude: vec![pull.destination.commit.clone()],
        ..Range::default()
    };
    log::log(dir, &range, 0, LISTED).await
}

/// Pull requests that bring a commit, oldest first.
pub(crate) async fn of_commit(
    core: &Core,
    repository: &Repository,
    hash: &str,
) -> Vec<PullRequest> {
    let dir = core.git_dir(repository);
    let all: Vec<PullRequest> = core
        .store
        .read(|s| s.pulls(&repository.uuid).cloned().collect());
    let mut found = Vec::new();
    for pull in all {
        let in_source = refs::is_ancestor(&dir, hash, &pull.source.commit).await;
        if in_source && !refs::is_ancestor(&dir, hash, &pull.destination.commit).await {
            found.push(pull);
        }
    }
    found
}

/// Brings open pull requests up to moved branches: a new head of the source is theirs, and one whose
/// commits were pushed to its destination counts as merged. Gives those that changed, and how.
pub(crate) async fn follow(
    core: &Core,
    repository: &Repository,
    now: &Snapshot,
    by: &str,
) -> anyhow::Result<Vec<(PullRequest, Event)>> {
    let dir = core.git_dir(repository);
    let open: Vec<PullRequest> = core.store.read(|state| {
        let all = state.pulls(&repository.uuid);
        all.filter(|p| p.state == PullState::Open)
            .cloned()
            .collect()
    });
    let mut told = Vec::new();
    for mut pull in open {
        let source = end(now, &pull.source.branch).filter(|e| *e != pull.source);
        let target = end(now, &pull.destination.branch).filter(|e| *e != pull.destination);
        if source.is_none() && target.is_none() {
            continue;
        }
        let pushed = source.is_some();
        if let Some(source) = source {
            pull.source = source;
            pull.updated_on = core.clock.stamp();
        }
        let mut event = pushed.then_some(Event::Pushed);
        if let Some(target) = target {
            if refs::is_ancestor(&dir, &pull.source.commit, &target.commit).await {
                let old = pull.destination.clone();
                close(core, &mut pull, old, target.commit, by);
                event = Some(Event::Fulfilled);
            } else {
                pull.destination = target;
            }
        }
        keep(core, &pull)?;
        told.extend(event.map(|event| (pull, event)));
    }
    Ok(told)
}
