//! Linking a ticket that exists, and unlinking.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::backend::RemoteTicket;
use super::comments::{self, BY_LINKING, PostComment};
use super::create::{SAFETY_DELAY, log_linked};
use super::store::{self, Comment, Made, NewTicket, Ticket};
use super::{TicketError, TicketId, TicketStatus, backends};
use crate::app::App;
use crate::features::accounts::{Org, OrgId, Project};
use crate::features::groups::{self, Activity, ActivityKind, Actor, Group, GroupId};
use crate::features::links::{LinkId, RepoId};
use crate::kit::clock::Micros;
use crate::kit::crypto::random_hex;
use crate::kit::db::Tx;
use crate::kit::jobs::enqueue_at;
use crate::sentry::text;

/// Longest comment that is taken, in bytes.
const MAX_COMMENT: usize = 30_000;

/// The form of a link.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkForm {
    /// `workspace/repository`.
    pub repo: String,
    /// Number of the issue, also as `#12`.
    #[serde(rename = "externalIssue", deserialize_with = "number_or_text")]
    pub external_issue: String,
    /// Posted on the issue when not empty.
    pub comment: String,
}

/// Sentry's select sends a number, a person types text.
fn number_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(match value {
        serde_json::Value::String(text) => text,
        serde_json::Value::Number(number) => number.to_string(),
        _ => String::new(),
    })
}

/// Links an issue to a group.
///
/// # Errors
/// See [`TicketError`].
pub async fn link(
    app: &App,
    org: &Org,
    group: &Group,
    project: &Project,
    link: LinkId,
    form: &LinkForm,
    actor: &Actor,
) -> Result<Ticket, TicketError> {
    let typed = form.external_issue.trim().trim_start_matches('#');
    if typed.is_empty() {
        return Err(TicketError::Field(
            "externalIssue",
            "Issue ID is required".into(),
        ));
    }
    let number: i64 = typed
        .parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or(TicketError::Field(
            "externalIssue",
            "This is not the number of an issue.".into(),
        ))?;
    if form.repo.trim().is_empty() {
        return Err(TicketError::Field("repo", "Repository is required".into()));
    }
    let repo = form.repo.trim().to_owned();
    let opened = backends::open(app, org.id, link, &repo).await?;
    let backend = opened.backend;
    if !backend.capabilities().link {
        return Err(TicketError::Refused(
            "Issues of this tracker cannot be linked.".into(),
        ));
    }
    let remote = backend.get(number).await?;
    let url = backend.url(number);
    let mut comment = text::clean(&form.comment).into_owned();
    text::cut_bytes(&mut comment, MAX_COMMENT);
    let place = Place {
        link,
        repo,
        row: opened.repo,
        url,
        comment: Some(comment).filter(|comment| !comment.trim().is_empty()),
    };
    let (ticket, comment) = store_link(app, org.id, group, project, place, remote, actor).await?;
    if let Some(comment) = comment {
        comments::post_now(app, backend.as_ref(), &ticket, &comment).await?;
    }
    Ok(ticket)
}

/// Where a ticket that is to be linked lives.
struct Place {
    link: LinkId,
    repo: String,
    row: Option<RepoId>,
    url: String,
    comment: Option<String>,
}

async fn store_link(
    app: &App,
    org: OrgId,
    group: &Group,
    project: &Project,
    place: Place,
    remote: RemoteTicket,
    actor: &Actor,
) -> Result<(Ticket, Option<Comment>), TicketError> {
    let Place {
        link,
        repo,
        row,
        url,
        comment,
    } = place;
    let (group, project, actor, now) = (group.id, project.id, actor.clone(), app.clock.now());
    app.db
        .write(move |tx| {
            let made = Made {
                key: format!("{repo}#{}", remote.number),
                number: remote.number,
                url: url.clone(),
                title: remote.title.clone(),
                description: remote.description.clone(),
                state: remote.state.clone(),
            };
            let known = store::find_by_key(tx, org, link, &made.key)?;
            let ticket = match known {
                Some(ticket) => {
                    store::refresh(tx, org, ticket.id, &made, now)?;
                    ticket
                }
                None => {
                    let new = NewTicket {
                        repo: row,
                        repo_name: repo.clone(),
                        created_by: actor.name.clone(),
                        ..reference_to(org, group, link, &made)
                    };
                    let ticket = store::insert(tx, &new, now)?.ok_or(TicketError::AlreadyLinked)?;
                    store::set_linked(tx, org, ticket.id, &made, now)?;
                    ticket
                }
            };
            if !store::join(tx, org, group, ticket.id, now)? {
                return Err(TicketError::AlreadyLinked);
            }
            let for_group = Ticket {
                group_id: group,
                marker: format!("{}:{}", ticket.marker, now.0),
                ..ticket.clone()
            };
            log_linked(tx, &for_group, &made, false, &actor, now)?;
            store::set_default(tx, org, link, project, "repo", &repo)?;
            let comment = match &comment {
                Some(text) => Some(put_comment(tx, &for_group, &made, text, now)?),
                None => None,
            };
            let ticket = store::find(tx, org, ticket.id)?.ok_or(TicketError::NotFound)?;
            Ok((ticket, comment))
        })
        .await
}

/// The row of a ticket that was made elsewhere; its marker stands in no text.
fn reference_to(org: OrgId, group: GroupId, link: LinkId, made: &Made) -> NewTicket {
    let marker = format!("tb-{}", random_hex(10));
    NewTicket {
        org,
        group,
        link,
        repo: None,
        client_key: marker.clone(),
        marker,
        state: TicketStatus::Pending,
        repo_name: String::new(),
        title: made.title.clone(),
        description: made.description.clone(),
        draft: "{}".to_owned(),
        created_by: String::new(),
    }
}

/// Writes down what the person says on the ticket, with a safety job: once the link is there the comment comes too.
fn put_comment(
    tx: &mut Tx<'_>,
    ticket: &Ticket,
    made: &Made,
    text: &str,
    now: Micros,
) -> Result<Comment, TicketError> {
    let (marker, body) = comments::with_marker(text, &made.url);
    let reason = format!("{BY_LINKING}{}:{}", ticket.group_id, now.0);
    let comment = store::put_comment(tx, ticket.org_id, ticket.id, &reason, &marker, &body, now)?;
    let safety = PostComment {
        org: ticket.org_id,
        ticket: ticket.id,
        comment: comment.id,
        link: ticket.link_id,
    };
    enqueue_at(tx, &safety, now.plus(SAFETY_DELAY), now)?;
    Ok(comment)
}

/// Takes a ticket off a group; nothing is deleted in the tracker. A pending or refused one is given up.
///
/// # Errors
/// [`TicketError::NotFound`] when the organization has no such ticket at this link.
pub async fn unlink(
    app: &App,
    org: OrgId,
    group: GroupId,
    link: Option<LinkId>,
    id: TicketId,
    actor: &Actor,
) -> Result<(), TicketError> {
    let (actor, now) = (actor.clone(), app.clock.now());
    app.db
        .write(move |tx| {
            let ticket = store::hold(tx, org, id)?
                .filter(|ticket| link.is_none_or(|link| link == ticket.link_id))
                .ok_or(TicketError::NotFound)?;
            if ticket.state == TicketStatus::Pending {
                return Err(TicketError::Refused("The issue is being created; unlink it when it is there.".into()));
            }
            if store::part(tx, org, group, &ticket)? {
                let data = json!({
                    "title": ticket.title, "provider": "Bitbucket", "location": ticket.url, "label": ticket.ticket_key,
                });
                groups::log(tx, org, group, &Activity::new(ActivityKind::UnlinkIssue, &actor, data), now)?;
            }
            Ok(())
        })
        .await
}
