//! A group's status, told to its tickets: one comment and the state, per change.

use super::backend::{BackendError, TicketBackend, TicketState};
use super::store::{self, Ticket};
use super::{TicketError, TicketStatus, backends};
use crate::app::App;
use crate::features::accounts::{self, Org, OrgId, Project};
use crate::features::groups::{self, Group, GroupId, GroupStatus};
use crate::kit::crypto::random_hex;
use crate::sentry::text;

/// What a ticket should be told.
struct Change {
    /// Unique per change, so that it is told once.
    reason: String,
    state: TicketState,
    text: String,
}

/// Makes every linked ticket of the group agree with the group's present status.
///
/// # Errors
/// The first ticket that could not be told; those before it were, and running again goes on from there.
pub(super) async fn sync_group(app: &App, org: OrgId, id: GroupId) -> Result<(), TicketError> {
    let (org, group, project, tickets) = app
        .db
        .read(move |conn| {
            let (group, project) = groups::find(conn, org, id)?.ok_or(TicketError::NotFound)?;
            let tickets = store::list_of_group(conn, org, id)?;
            let org = accounts::org_by_id(conn, org)?.ok_or(TicketError::NotFound)?;
            Ok::<_, TicketError>((org, group, project, tickets))
        })
        .await?;
    for ticket in tickets
        .into_iter()
        .filter(|ticket| ticket.state == TicketStatus::Linked)
    {
        if let Some(change) = change_for(app, &org, &group, &project, &ticket) {
            tell(app, &ticket, &change).await?;
        }
    }
    Ok(())
}

/// The change that the ticket has not been told yet.
fn change_for(
    app: &App,
    org: &Org,
    group: &Group,
    project: &Project,
    ticket: &Ticket,
) -> Option<Change> {
    let told = ticket.synced.as_deref().unwrap_or_default();
    let url = super::permalink(app, &org.slug, group.id);
    let name = format!("[{}]({url})", group.short_id(project));
    match group.status {
        GroupStatus::Resolved => {
            let reason = format!("resolved:{}", group.resolved_at.map_or(0, |at| at.0));
            let text = format!("{name} is resolved{}.", how(app, group));
            (told != reason).then_some(Change {
                reason,
                state: TicketState::Resolved,
                text,
            })
        }
        GroupStatus::Unresolved => {
            // Only what was told to be resolved is told to be open again.
            let since = told.strip_prefix("resolved:")?;
            let release = match &group.last_release {
                Some(release) if group.substatus.as_deref() == Some("regressed") => {
                    format!(" It happened again in release {}.", text::one_line(release))
                }
                _ if group.substatus.as_deref() == Some("regressed") => {
                    " It happened again.".to_owned()
                }
                _ => String::new(),
            };
            let text = format!("{name} is unresolved again.{release}");
            Some(Change {
                reason: format!("reopened:{since}"),
                state: TicketState::Open,
                text,
            })
        }
        GroupStatus::Ignored | GroupStatus::Deleting => None,
    }
}

/// ` by commit abc1234 in acme/shop`, or nothing.
fn how(app: &App, group: &Group) -> String {
    let details = group.status_details();
    if let Some(commit) = details.get("inCommit") {
        let field = |name: &str| {
            commit
                .get(name)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
        };
        let (hash, repository) = (field("commit"), field("repository"));
        let short = hash.get(..12).unwrap_or(hash);
        return format!(
            " by commit [{short}]({}) in {repository}",
            app.bitbucket.web_commit(repository, hash)
        );
    }
    match details.get("inRelease").and_then(|value| value.as_str()) {
        Some(version) => format!(" in release {}", text::one_line(version)),
        None if details.contains_key("inNextRelease") => " in the next release".to_owned(),
        None => String::new(),
    }
}

async fn tell(app: &App, ticket: &Ticket, change: &Change) -> Result<(), TicketError> {
    let Some(number) = ticket.number else {
        return Ok(());
    };
    let backend = backends::open(app, ticket.org_id, ticket.link_id, &ticket.repo_name).await?;
    match tell_through(app, backend.as_ref(), ticket, number, change).await {
        Err(Told::Tracker(BackendError::NotFound)) => {
            gone(app, ticket, "The issue was deleted in Bitbucket.").await
        }
        Err(Told::Tracker(BackendError::TrackerGone(text))) => gone(app, ticket, &text).await,
        Err(Told::Tracker(error)) => Err(error.into()),
        Err(Told::Us(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

enum Told {
    Tracker(BackendError),
    Us(TicketError),
}

impl From<BackendError> for Told {
    fn from(error: BackendError) -> Self {
        Self::Tracker(error)
    }
}

impl From<TicketError> for Told {
    fn from(error: TicketError) -> Self {
        Self::Us(error)
    }
}

async fn tell_through(
    app: &App,
    backend: &dyn TicketBackend,
    ticket: &Ticket,
    number: i64,
    change: &Change,
) -> Result<(), Told> {
    comment_once(app, backend, ticket, number, change).await?;
    let remote = backend.get(number).await?;
    let done = remote
        .state
        .as_deref()
        .is_some_and(|state| backend.is_done(state));
    let wanted = change.state == TicketState::Resolved;
    let (word, differs) = match change.state {
        // A ticket that a person closed with another word stays as the person left it.
        TicketState::Resolved => ("resolved", !done),
        TicketState::Open => ("open", done),
    };
    if differs {
        backend.set_state(number, change.state).await?;
    }
    let shown = match remote.state {
        Some(state) if !differs && done == wanted => state,
        _ => word.to_owned(),
    };
    let (org, id, reason, now) = (
        ticket.org_id,
        ticket.id,
        change.reason.clone(),
        app.clock.now(),
    );
    app.db
        .write(move |tx| {
            Ok::<_, TicketError>(store::set_synced(tx, org, id, &reason, &shown, now)?)
        })
        .await?;
    Ok(())
}

/// Posts the comment of a change. Written down first; when it may have been posted before, its marker is looked
/// for.
async fn comment_once(
    app: &App,
    backend: &dyn TicketBackend,
    ticket: &Ticket,
    number: i64,
    change: &Change,
) -> Result<(), Told> {
    let (org, id, reason, now) = (
        ticket.org_id,
        ticket.id,
        change.reason.clone(),
        app.clock.now(),
    );
    let marker = format!("tb-{}", random_hex(10));
    let url = ticket.url.clone().unwrap_or_default();
    let body = format!("{}\n\n[{marker}]({url}#{marker})", change.text);
    let (comment, new) = app
        .db
        .write(move |tx| {
            Ok::<_, TicketError>(store::put_comment(
                tx, org, id, &reason, &marker, &body, now,
            )?)
        })
        .await?;
    if comment.remote_id.is_some() {
        return Ok(());
    }
    let found = if new {
        None
    } else {
        backend.find_comment(number, &comment.marker).await?
    };
    let remote_id = match found {
        Some(remote_id) => remote_id,
        None => backend.comment(number, &comment.body).await?,
    };
    app.db
        .write(move |tx| {
            Ok::<_, TicketError>(store::set_posted(tx, org, comment.id, &remote_id, now)?)
        })
        .await?;
    Ok(())
}

/// The other side has lost it: the link stays as a reference with the reason.
async fn gone(app: &App, ticket: &Ticket, reason: &str) -> Result<(), TicketError> {
    let (org, id, reason, now) = (ticket.org_id, ticket.id, reason.to_owned(), app.clock.now());
    app.db
        .write(move |tx| {
            store::set_state(
                tx,
                org,
                id,
                TicketStatus::Linked,
                TicketStatus::Gone,
                &reason,
                now,
            )?;
            Ok(())
        })
        .await
}
