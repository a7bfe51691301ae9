//! A group's status, told to its tickets: one comment and the state, per change.

use std::collections::HashSet;

use super::backend::{BackendError, TicketBackend, TicketState};
use super::comments::{Failed, post, post_missing, with_marker};
use super::store::{self, Ticket};
use super::{TicketError, TicketStatus, backends};
use crate::app::App;
use crate::features::accounts::{self, Org, OrgId, Project};
use crate::features::groups::{self, Group, GroupId, GroupStatus};
use crate::features::links::{self, LinkId};
use crate::features::releases;
use crate::kit::db::Conn;
use crate::sentry::text;

/// What a ticket should be told.
struct Change {
    /// Unique per change, so that it is told once.
    reason: String,
    state: TicketState,
    text: String,
}

/// What the comments need to know of a group.
struct Facts {
    org: Org,
    group: Group,
    project: Project,
    /// Who wrote the commit that resolved it.
    author: Option<String>,
}

/// A linked ticket, and the last thing that was written down for it to be told.
struct Told {
    ticket: Ticket,
    last: String,
}

/// Makes every linked ticket of the group agree with the group's present status. A ticket that refuses gets the
/// reason beside it and does not keep the others from being told; so does one that cannot be told now when this was
/// the `last` try.
///
/// # Errors
/// When a ticket could not be told now; running again goes on from there.
pub(super) async fn sync_group(
    app: &App,
    org: OrgId,
    id: GroupId,
    last: bool,
) -> Result<(), TicketError> {
    let (facts, tickets) = app.db.read(move |conn| read(conn, org, id)).await?;
    let mut later = None;
    for Told { ticket, last: told } in tickets {
        let Some(change) = change_for(app, &facts, &ticket, &told) else {
            continue;
        };
        match tell(app, &ticket, &change).await {
            Ok(()) => {}
            Err(TicketError::Refused(text)) => not_told(app, &ticket, &text).await?,
            Err(TicketError::Busy(text, wait)) => {
                if last {
                    not_told(app, &ticket, &text).await?;
                }
                later = Some(TicketError::Busy(text, wait));
            }
            Err(error) => later = Some(error),
        }
    }
    later.map_or(Ok(()), Err)
}

/// Puts the reason beside a ticket that was not told of its group.
async fn not_told(app: &App, ticket: &Ticket, text: &str) -> Result<(), TicketError> {
    let (org, id, text, now) = (ticket.org_id, ticket.id, text.to_owned(), app.clock.now());
    tracing::warn!(
        ticket = id.0,
        text,
        "a ticket could not be told of its group"
    );
    app.db
        .write(move |tx| Ok(store::set_error(tx, org, id, &text, now)?))
        .await
}

fn read(conn: &mut Conn, org: OrgId, id: GroupId) -> Result<(Facts, Vec<Told>), TicketError> {
    let (group, project) = groups::find(conn, org, id)?.ok_or(TicketError::NotFound)?;
    let following: HashSet<LinkId> = links::list_links(conn, org)?
        .iter()
        .filter(|link| link.config().sync_status_forward)
        .map(|link| link.id)
        .collect();
    let mut tickets = Vec::new();
    for ticket in store::list_of_group(conn, org, id)? {
        if ticket.state == TicketStatus::Linked && following.contains(&ticket.link_id) {
            let last = store::last_reason(conn, org, ticket.id)?.unwrap_or_default();
            tickets.push(Told { ticket, last });
        }
    }
    let author = match commit_field(&group, "commit") {
        Some(hash) => releases::fixing_commit(conn, org, id, &hash)?
            .and_then(|c| c.author_name.or(c.author_email)),
        None => None,
    };
    let org = accounts::org_by_id(conn, org)?.ok_or(TicketError::NotFound)?;
    Ok((
        Facts {
            org,
            group,
            project,
            author,
        },
        tickets,
    ))
}

/// A field of the commit that resolved a group, if a commit did.
fn commit_field(group: &Group, name: &str) -> Option<String> {
    Some(
        group
            .status_details()
            .get("inCommit")?
            .get(name)?
            .as_str()?
            .to_owned(),
    )
}

/// The change that the ticket has not been told yet. `last` is what was written down last: it may have been told,
/// even if nobody lived to note it.
fn change_for(app: &App, facts: &Facts, ticket: &Ticket, last: &str) -> Option<Change> {
    let Facts {
        org,
        group,
        project,
        ..
    } = facts;
    let url = super::permalink(app, &org.slug, group.id);
    let name = format!("[{}]({url})", group.short_id(project));
    let reason = reason_for(group, ticket, last)?;
    match group.status {
        GroupStatus::Resolved => Some(Change {
            reason,
            state: TicketState::Resolved,
            text: format!("{name} is resolved{}.", how(app, facts)),
        }),
        GroupStatus::Unresolved => {
            let release = match (&group.last_release, group.substatus.as_deref()) {
                (Some(release), Some("regressed")) => {
                    format!(" It happened again in release {}.", text::one_line(release))
                }
                (None, Some("regressed")) => " It happened again.".to_owned(),
                _ => String::new(),
            };
            Some(Change {
                reason,
                state: TicketState::Open,
                text: format!("{name} is unresolved again.{release}"),
            })
        }
        GroupStatus::Ignored | GroupStatus::Deleting => None,
    }
}

/// The name of the change that a ticket of the group has not been told yet; `last` as in [`change_for`].
fn reason_for(group: &Group, ticket: &Ticket, last: &str) -> Option<String> {
    let reason = match group.status {
        GroupStatus::Resolved => {
            format!("resolved:{}", group.resolved_at.map_or(0, |at| at.0))
        }
        GroupStatus::Unresolved => {
            // Only what was told to be resolved is told to be open again.
            let since = last
                .strip_prefix("resolved:")
                .or_else(|| last.strip_prefix("reopened:"))?;
            format!("reopened:{since}")
        }
        GroupStatus::Ignored | GroupStatus::Deleting => return None,
    };
    (ticket.synced.as_ref() != Some(&reason)).then_some(reason)
}

/// The groups of a ticket that it has not been told of. One that is resolved speaks for a ticket of several groups.
pub(super) fn untold(conn: &mut Conn, ticket: &Ticket) -> Result<Vec<GroupId>, TicketError> {
    let last = store::last_reason(conn, ticket.org_id, ticket.id)?.unwrap_or_default();
    let (mut resolved, mut others) = (Vec::new(), Vec::new());
    for id in store::groups_of(conn, ticket.org_id, ticket.id)? {
        let Some((group, _)) = groups::find(conn, ticket.org_id, id)? else {
            continue;
        };
        let list = match group.status {
            GroupStatus::Resolved => &mut resolved,
            _ => &mut others,
        };
        list.push((id, reason_for(&group, ticket, &last).is_some()));
    }
    let speaking = if resolved.is_empty() {
        others
    } else {
        resolved
    };
    Ok(speaking
        .into_iter()
        .filter(|(_, untold)| *untold)
        .map(|(id, _)| id)
        .collect())
}

/// ` by commit abc1234 of Ada in acme/shop`, or nothing.
fn how(app: &App, facts: &Facts) -> String {
    let details = facts.group.status_details();
    if let (Some(hash), Some(repository)) = (
        commit_field(&facts.group, "commit"),
        commit_field(&facts.group, "repository"),
    ) {
        let short = hash.get(..12).unwrap_or(&hash);
        let author = facts
            .author
            .as_deref()
            .map(|name| format!(" of {}", text::one_line(name)))
            .unwrap_or_default();
        return format!(
            " by commit [{short}]({}){author} in {repository}",
            commit_field(&facts.group, "url")
                .unwrap_or_else(|| app.bitbucket.web_commit(&repository, &hash))
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
    let backend = backends::open_for(app, ticket).await?;
    match tell_through(app, backend.as_ref(), ticket, number, change).await {
        Err(Failed::Tracker(BackendError::NotFound)) => {
            gone(app, ticket, "The issue was deleted in Bitbucket.").await
        }
        Err(Failed::Tracker(BackendError::TrackerGone(text))) => gone(app, ticket, &text).await,
        Err(Failed::Tracker(error)) => Err(error.into()),
        Err(Failed::Us(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

async fn tell_through(
    app: &App,
    backend: &dyn TicketBackend,
    ticket: &Ticket,
    number: i64,
    change: &Change,
) -> Result<(), Failed> {
    comment_once(app, backend, ticket, change).await?;
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
    if differs && backend.capabilities().set_state {
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

/// Posts the comment of a change, written down first.
async fn comment_once(
    app: &App,
    backend: &dyn TicketBackend,
    ticket: &Ticket,
    change: &Change,
) -> Result<(), Failed> {
    let (org, id, reason, now) = (
        ticket.org_id,
        ticket.id,
        change.reason.clone(),
        app.clock.now(),
    );
    let (marker, body) = with_marker(&change.text, ticket.url.as_deref().unwrap_or_default());
    let comment = app
        .db
        .write(move |tx| {
            Ok::<_, TicketError>(store::put_comment(
                tx, org, id, &reason, &marker, &body, now,
            )?)
        })
        .await?;
    post(app, backend, ticket, &comment).await
}

/// Tells a ticket again what it did not take: comments that are missing, then its group's status. One that was lost
/// on the other side is looked for first.
///
/// # Errors
/// [`TicketError::Refused`] when it is refused again; the reason is then beside the ticket as before.
pub(super) async fn tell_again(
    app: &App,
    group: GroupId,
    ticket: &Ticket,
) -> Result<(), TicketError> {
    let (org, id, now) = (ticket.org_id, ticket.id, app.clock.now());
    let missing = async {
        let backend = backends::open_for(app, ticket).await?;
        if let (TicketStatus::Gone, Some(number)) = (ticket.state, ticket.number) {
            backend.get(number).await?;
        }
        post_missing(app, backend.as_ref(), ticket).await
    };
    match missing.await.map_err(TicketError::from) {
        Err(TicketError::Refused(text)) => {
            let reason = text.clone();
            app.db
                .write(move |tx| Ok::<_, TicketError>(store::set_error(tx, org, id, &reason, now)?))
                .await?;
            return Err(TicketError::Refused(text));
        }
        done => done?,
    }
    app.db
        .write(move |tx| Ok::<_, TicketError>(store::clear_error(tx, org, id, now)?))
        .await?;
    sync_group(app, org, group, false).await?;
    let told = app
        .db
        .read(move |conn| store::find(conn, org, id)?.ok_or(TicketError::NotFound))
        .await?;
    told.last_error
        .map_or(Ok(()), |reason| Err(TicketError::Refused(reason)))
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
