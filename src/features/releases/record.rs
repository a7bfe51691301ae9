//! The one write of a push.

use std::collections::HashMap;

use diesel::QueryResult;
use serde_json::json;

use super::fixes::Reference;
use super::push::{BranchPush, Gathered, PushedCommit};
use super::{CommitId, store};
use crate::app::App;
use crate::features::accounts::{self, OrgId, Project, ResolvePolicy};
use crate::features::groups::{self, Activity, ActivityKind, Actor, Group, GroupId, Resolution};
use crate::features::links::{self, Repo, SyncRepos};
use crate::kit::clock::Micros;
use crate::kit::db::Tx;
use crate::kit::jobs::enqueue;
use crate::sentry::shortid::ShortId;

/// A group that a push was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Row id.
    pub group: GroupId,
    /// Qualified short id, such as `SHOP-1F`.
    pub short_id: String,
}

/// What a push came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Branch, commits that the push brought to it, how many of those were fetched.
    pub branches: Vec<(String, usize, usize)>,
    /// Branches that are gone.
    pub deleted: Vec<String>,
    /// Groups that a commit newly says it fixes.
    pub referenced: Vec<Touched>,
    /// Groups that this push resolved.
    pub resolved: Vec<Touched>,
}

/// Stores a push: its commits, what they fix, where its branches point. `received_at` is when the push arrived.
/// Reading the same push again changes nothing.
///
/// # Errors
/// When a statement fails.
pub fn record_push(
    tx: &mut Tx<'_>,
    app: &App,
    repo: &Repo,
    push: &Gathered,
    received_at: Micros,
    now: Micros,
) -> QueryResult<Recorded> {
    let mut recorder = Recorder {
        app,
        repo,
        now,
        groups: HashMap::new(),
        recorded: Recorded::default(),
    };
    if let (true, Some(link)) = (push.main_is_new, repo.link_id) {
        enqueue(
            tx,
            &SyncRepos {
                org: repo.org_id,
                link,
            },
            now,
        )?;
    }
    for branch in &push.branches {
        match &branch.head {
            Some(head) => {
                recorder.branch(tx, branch)?;
                store::set_branch_head(tx, repo.org_id, repo.id, &branch.name, head, received_at)?;
            }
            None => {
                store::remove_branch_head(tx, repo.org_id, repo.id, &branch.name, received_at)?;
                recorder.recorded.deleted.push(branch.name.clone());
            }
        }
    }
    Ok(recorder.recorded)
}

struct Recorder<'a> {
    app: &'a App,
    repo: &'a Repo,
    now: Micros,
    /// Groups by reference: a message of a later commit often names the same one.
    groups: HashMap<Reference, Option<(Group, Project)>>,
    recorded: Recorded,
}

impl Recorder<'_> {
    fn org(&self) -> OrgId {
        self.repo.org_id
    }

    fn branch(&mut self, tx: &mut Tx<'_>, branch: &BranchPush) -> QueryResult<()> {
        let (org, repo, is_main) = (self.org(), self.repo.id, branch.is_main);
        let known = store::insert_commits(tx, org, repo, &branch.commits, is_main, self.now)?;
        let arrives = |met: &store::Met| is_main && !met.was_on_main;
        let late: Vec<CommitId> = (known.values())
            .filter(|met| arrives(met) && !met.is_new)
            .map(|met| met.id)
            .collect();
        store::set_on_main(tx, org, &late)?;
        for commit in branch
            .commits
            .iter()
            .filter(|commit| !commit.references.is_empty())
        {
            if let Some(met) = known.get(&commit.hash) {
                self.fixes(tx, commit, met.id, arrives(met))?;
            }
        }
        self.recorded
            .branches
            .push((branch.name.clone(), branch.commits.len(), branch.fetched));
        Ok(())
    }

    /// Every group that a commit names: linked and told of it once; resolved when the commit arrives on the main
    /// branch, if that is what the project waits for.
    fn fixes(
        &mut self,
        tx: &mut Tx<'_>,
        commit: &PushedCommit,
        id: CommitId,
        newly_on_main: bool,
    ) -> QueryResult<()> {
        let mut author = None;
        let url = links::commit_url(self.app, self.repo, &commit.hash);
        for reference in &commit.references {
            let Some((group, project)) = self.group(tx, reference)? else {
                continue;
            };
            let touched = Touched {
                group: group.id,
                short_id: group.short_id(&project),
            };
            let actor = match &author {
                Some(actor) => actor,
                None => author.insert(self.author(tx, commit)?),
            };
            if store::link_group(tx, self.org(), group.id, id, self.now)? {
                let data = json!({"commit": commit.hash, "repository": self.repo.name, "url": url});
                let what = Activity::new(ActivityKind::ReferencedInCommit, actor, data)
                    .once(commit.hash.as_str());
                groups::log(tx, self.org(), group.id, &what, self.now)?;
                self.recorded.referenced.push(touched.clone());
            }
            let resolution = Resolution::InCommit {
                commit: commit.hash.clone(),
                repository: self.repo.name.clone(),
                url: Some(url.clone()),
            };
            if newly_on_main
                && resolves_on_main(&project)
                && groups::resolve(tx, self.org(), group.id, actor, &resolution, self.now)?
            {
                self.recorded.resolved.push(touched);
            }
        }
        Ok(())
    }

    /// The group that a reference names in this organization, whatever its project.
    fn group(
        &mut self,
        tx: &mut Tx<'_>,
        reference: &Reference,
    ) -> QueryResult<Option<(Group, Project)>> {
        if let Some(found) = self.groups.get(reference) {
            return Ok(found.clone());
        }
        let found = match reference {
            Reference::ShortId(text) => match text.parse::<ShortId>() {
                Ok(id) => groups::find_by_short_id(tx, self.org(), &id)?,
                Err(_) => None,
            },
            Reference::GroupId(id) => groups::find(tx, self.org(), GroupId(*id))?,
        };
        self.groups.insert(reference.clone(), found.clone());
        Ok(found)
    }

    /// The member of this organization who wrote the commit, else the name that git has.
    fn author(&self, tx: &mut Tx<'_>, commit: &PushedCommit) -> QueryResult<Actor> {
        if let Some(email) = &commit.author_email
            && let Some(user) = accounts::user_by_email(tx, email)?
            && user.active
            && accounts::find_member(tx, self.org(), user.id)?.is_some()
        {
            let name = if user.name.is_empty() {
                user.email
            } else {
                user.name
            };
            return Ok(Actor {
                user: Some(user.id),
                name,
            });
        }
        let name = commit
            .author_name
            .clone()
            .or_else(|| commit.author_email.clone());
        Ok(Actor {
            user: None,
            name: name.unwrap_or_else(|| "unknown author".to_owned()),
        })
    }
}

/// Whether a commit on the main branch is what the project waits for. `auto` waits for a release only in a project
/// that has releases whose commits were set through the API; none can be stored yet.
fn resolves_on_main(project: &Project) -> bool {
    matches!(
        project.resolve_policy,
        ResolvePolicy::Auto | ResolvePolicy::OnMain
    )
}
