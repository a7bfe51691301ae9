//! Adding many repositories in one go: a job that a page shows the progress of.
//!
//! What is to be added is written down first, one row for each repository. The job then takes them in slices; each
//! slice is one write, so a process that dies goes on where it was and adds nothing twice. Whatever a search finds is
//! taken from the pages of Bitbucket's list, a hundred repositories a call; a few names are asked for one by one. Only
//! what is being worked on is in memory.

pub mod pages;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::{self, Connected, client_for_link, remember};
use super::hooks::forget_cached;
use super::repos::{facts, fetch, require_in_use, take};
use super::store::{self, Bulk, BulkItem, NewBulk, RepoFacts, Taken};
use super::{BulkId, BulkState, ItemState, LinkError, LinkId, REPO_PROVIDER};
use crate::app::App;
use crate::bitbucket::RepoRef;
use crate::bitbucket::page::Cursor;
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::features::audit;
use crate::kit::db::Tx;
use crate::kit::jobs::{Attempt, Job, Queue, Verdict, enqueue};

/// Repositories that are written at once.
const SLICE: i64 = 40;
/// Of these so many are asked for at the same time.
const PARALLEL: usize = 4;
/// From so many on a list of a hundred a call is cheaper than asking for each.
const WORTH_A_LIST: usize = 50;
/// Repositories that one form may name.
const MAX_PICKS: usize = 10_000;

/// What a person wants to add.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// `workspace/slug` of each that was picked, on Data Center `PROJECT/slug`.
    pub picks: Vec<String>,
    /// The search that showed them.
    pub search: String,
    /// Everything that the search finds.
    pub all: bool,
}

/// Writes down what is to be added, and leaves the rest to a job.
///
/// # Errors
/// 404 for another tenant's connection, 400 for nothing or far too many.
pub async fn add_many(
    app: &App,
    org: OrgId,
    link: LinkId,
    wish: Wish,
    actor: &str,
) -> AppResult<BulkId> {
    let picks: BTreeSet<String> = wish
        .picks
        .iter()
        .map(|name| name.trim().to_owned())
        .collect();
    if !wish.all && picks.is_empty() {
        return Err(AppError::invalid("Choose at least one repository."));
    }
    if picks.len() > MAX_PICKS {
        return Err(AppError::invalid(format!(
            "At most {MAX_PICKS} repositories can be picked; take all of a search instead."
        )));
    }
    let (actor, now) = (actor.to_owned(), app.clock.now());
    app.db
        .write(move |tx| {
            store::find_link(tx, org, link)?.ok_or_else(AppError::not_found)?;
            let listed = wish.all || picks.len() > WORTH_A_LIST;
            let new = NewBulk {
                link,
                actor: &actor,
                search: listed.then_some(wish.search.trim()),
                takes_all: wish.all,
            };
            let id = store::insert_bulk(tx, org, &new, now)?;
            for name in picks.iter().filter(|_| !wish.all) {
                let reason = RepoRef::from_full_name(name).is_err();
                let reason = reason.then_some("It is not the name of a repository.");
                store::insert_pick(tx, org, id, name, reason)?;
            }
            store::recount(tx, id, now)?;
            enqueue(tx, &AddRepos { org, bulk: id }, now)?;
            let data = json!({ "picked": picks.len(), "all": wish.all, "search": wish.search });
            let target = link.to_string();
            audit::record(tx, Some(org), &actor, "links.add_many", &target, &data, now)?;
            Ok::<_, AppError>(id)
        })
        .await
}

/// Tries what failed once more, and goes on with what was stopped.
///
/// # Errors
/// 404 for another tenant's.
pub(super) async fn retry(app: &App, org: OrgId, link: LinkId, id: BulkId) -> AppResult<()> {
    let now = app.clock.now();
    app.db
        .write(move |tx| {
            let bulk = store::find_bulk(tx, org, id)?
                .filter(|bulk| bulk.link_id == link)
                .ok_or_else(AppError::not_found)?;
            if matches!(bulk.state, BulkState::Done | BulkState::Stopped) {
                store::retry_bulk(tx, &bulk, now)?;
                enqueue(tx, &AddRepos { org, bulk: id }, now)?;
            }
            Ok::<_, AppError>(())
        })
        .await
}

/// Adds what was written down.
#[derive(Debug, Serialize, Deserialize)]
pub struct AddRepos {
    /// Tenant.
    pub org: OrgId,
    /// What was written down.
    pub bulk: BulkId,
}

impl Job for AddRepos {
    type State = App;
    const KIND: &'static str = "links.add_repos";

    const QUEUE: Queue = Queue::Sync;

    fn dedupe_key(&self) -> Option<String> {
        Some(self.bulk.to_string())
    }

    fn org_id(&self) -> Option<i64> {
        Some(self.org.0)
    }

    async fn run(self, app: App, attempt: Attempt) -> anyhow::Result<Verdict> {
        let Err(error) = work(&app, self.org, self.bulk).await else {
            return Ok(Verdict::Done);
        };
        let goes_on = error.is_temporary() && !attempt.last;
        if !matches!(error, LinkError::App(_)) {
            let state = (!goes_on).then_some(BulkState::Stopped);
            hold(&app, self.org, self.bulk, state, &error.to_string()).await?;
        }
        match error {
            LinkError::App(error) => Err(error.into()),
            error if goes_on => error.verdict(attempt.number),
            // It is on the page, with a button to go on.
            error => Ok(Verdict::Drop(error.to_string())),
        }
    }
}

async fn hold(
    app: &App,
    org: OrgId,
    id: BulkId,
    state: Option<BulkState>,
    problem: &str,
) -> AppResult<()> {
    let (problem, now) = (problem.to_owned(), app.clock.now());
    app.db
        .write(move |tx| Ok(store::hold_bulk(tx, org, id, state, &problem, now)?))
        .await
}

async fn work(app: &App, org: OrgId, id: BulkId) -> Result<(), LinkError> {
    loop {
        let bulk = app
            .db
            .read(move |conn| Ok::<_, LinkError>(store::find_bulk(conn, org, id)?))
            .await?;
        let Some(bulk) = bulk else {
            return Ok(());
        };
        match bulk.state {
            BulkState::Listing => list_page(app, &bulk).await?,
            BulkState::Adding => add_slice(app, &bulk).await?,
            BulkState::Done | BulkState::Stopped => return Ok(()),
        }
    }
}

/// Notes one page of Bitbucket's list.
async fn list_page(app: &App, bulk: &Bulk) -> Result<(), LinkError> {
    let connected = client_for_link(app, bulk.org_id, bulk.link_id)
        .await?
        .for_feature("repositories");
    let text = bulk.search.clone().unwrap_or_default();
    let cursor = bulk.cursor.clone().map(Cursor);
    let page = connected
        .host
        .repositories_page(&text, cursor.as_ref())
        .await;
    remember(app, &connected.link, &page).await?;
    let page = page?;
    let listed: Vec<RepoFacts> = page
        .items
        .into_iter()
        .map(|repository| facts(&connected.link, repository))
        .collect();
    // A link that leads to its own page would never end.
    let next = page.next.filter(|next| Some(next) != cursor.as_ref());
    let (bulk, now) = (bulk.clone(), app.clock.now());
    app.db
        .write(move |tx| {
            for facts in &listed {
                store::note_listed(tx, &bulk, facts)?;
            }
            let more = bulk.takes_all || store::count_unlisted(tx, bulk.id)? > 0;
            match next.as_ref().filter(|_| more) {
                Some(next) => {
                    store::move_bulk(tx, &bulk, BulkState::Listing, Some(&next.0), now)?;
                }
                None => store::move_bulk(tx, &bulk, BulkState::Adding, None, now)?,
            }
            Ok::<_, LinkError>(store::recount(tx, bulk.id, now)?)
        })
        .await
}

/// What is known of one before it is written.
enum Looked {
    There(RepoFacts),
    Refused(String),
}

/// Adds the next slice; without one it is done.
async fn add_slice(app: &App, bulk: &Bulk) -> Result<(), LinkError> {
    let id = bulk.id;
    let items = app
        .db
        .read(move |conn| Ok::<_, LinkError>(store::waiting_items(conn, id, SLICE)?))
        .await?;
    if items.is_empty() {
        let (bulk, now) = (bulk.clone(), app.clock.now());
        return app
            .db
            .write(move |tx| {
                Ok::<_, LinkError>(store::move_bulk(tx, &bulk, BulkState::Done, None, now)?)
            })
            .await;
    }
    let connected = client_for_link(app, bulk.org_id, bulk.link_id)
        .await?
        .for_feature("repositories");
    let (looked, trouble) = look(app, &connected, items).await;
    write_slice(app, bulk, connected, looked).await?;
    trouble.map_or(Ok(()), Err)
}

/// Asks for what the list has not told. What concerns all of them and not one ends it, with what is known so far.
async fn look(
    app: &App,
    connected: &Connected,
    items: Vec<BulkItem>,
) -> (Vec<(i64, Looked)>, Option<LinkError>) {
    let ask = |item: BulkItem| async move {
        let known = known_facts(app, connected, &item);
        let found = match known {
            Some(facts) => Ok(facts),
            None => fetch(app, connected, &item.name).await,
        };
        (item.id, found)
    };
    let mut asked = stream::iter(items).map(ask).buffered(PARALLEL);
    let (mut looked, mut trouble) = (Vec::new(), None);
    while let Some((id, found)) = asked.next().await {
        match found {
            Ok(facts) => looked.push((id, Looked::There(facts))),
            Err(error) if concerns_all(&error) => {
                trouble = Some(error);
                break;
            }
            Err(error) => looked.push((id, Looked::Refused(error.to_string()))),
        }
    }
    (looked, trouble)
}

/// Whether the next repository would meet the same.
fn concerns_all(error: &LinkError) -> bool {
    match error {
        LinkError::Upstream(upstream) => {
            client::is_temporary(upstream)
                || upstream.kind() == crate::bitbucket::Kind::Unauthorized
        }
        LinkError::Off(_) | LinkError::Broken(_) | LinkError::NotFound | LinkError::App(_) => true,
        LinkError::Invalid(_) | LinkError::Exists => false,
    }
}

/// What the list has told of one, where it tells all that is needed.
fn known_facts(app: &App, connected: &Connected, item: &BulkItem) -> Option<RepoFacts> {
    if !connected.host.lists_main_branches() {
        return None;
    }
    Some(RepoFacts {
        provider: REPO_PROVIDER,
        external_id: item.external_id.clone()?,
        name: item.name.clone(),
        url: app.bitbucket.web_repository(&item.name),
        main_branch: item.main_branch.clone(),
        has_tracker: item.has_tracker,
    })
}

async fn write_slice(
    app: &App,
    bulk: &Bulk,
    connected: Connected,
    looked: Vec<(i64, Looked)>,
) -> Result<(), LinkError> {
    let (bulk, sealer, now) = (bulk.clone(), Arc::clone(&app.sealer), app.clock.now());
    app.db
        .write(move |tx| {
            require_in_use(tx, &connected.link)?;
            for (item, looked) in &looked {
                let (state, reason) = match looked {
                    Looked::Refused(reason) => (ItemState::Failed, Some(reason.as_str())),
                    Looked::There(facts) => {
                        let taken = take(tx, &sealer, &connected.link, facts, now, now)?;
                        (note_taken(tx, &bulk, &taken, now)?, None)
                    }
                };
                store::end_item(tx, *item, state, reason)?;
            }
            Ok::<_, LinkError>(store::recount(tx, bulk.id, now)?)
        })
        .await?;
    forget_cached(app);
    Ok(())
}

fn note_taken(
    tx: &mut Tx<'_>,
    bulk: &Bulk,
    taken: &Taken,
    now: crate::kit::clock::Micros,
) -> AppResult<ItemState> {
    let repo = match taken {
        Taken::Exists(_) | Taken::Twin(_) => return Ok(ItemState::Known),
        Taken::Revived(repo) | Taken::Adopted(repo) | Taken::Inserted(repo) => repo,
    };
    let data = json!({ "repository": repo.name, "externalId": repo.external_id });
    let (org, action) = (Some(bulk.org_id), "links.add_repository");
    audit::record(
        tx,
        org,
        &bulk.actor,
        action,
        &repo.id.to_string(),
        &data,
        now,
    )?;
    Ok(ItemState::Added)
}

/// What a page shows of it.
pub(super) fn part(bulk: &Bulk, hooks: &HashMap<super::HookState, i64>) -> serde_json::Value {
    let count = |state| hooks.get(&state).copied().unwrap_or(0);
    let running = matches!(bulk.state, BulkState::Listing | BulkState::Adding);
    let done = bulk.added + bulk.known + bulk.failed;
    json!({
        "id": bulk.id.to_string(), "state": bulk.state, "running": running, "problem": bulk.problem,
        "total": bulk.total, "done": done, "added": bulk.added, "known": bulk.known, "failed": bulk.failed,
        "started_at": bulk.created_at, "search": bulk.search, "all": bulk.takes_all,
        "hooks_pending": count(super::HookState::Pending),
        "hooks_active": count(super::HookState::Active),
        "hooks_failed": count(super::HookState::Failed),
    })
}
