//! Tickets: issues of a tracker that belong to groups.
//!
//! A ticket is written down as an intent before the tracker is called, with a marker that travels in its text. So
//! whatever crashes or times out, the one who comes later (the caller again, or the safety job) finds what was made
//! before making it again. Once linked, the ticket follows its group: resolved means one comment and the state
//! `resolved`, a regression means `open` again.

pub mod api;
mod backend;
mod backends;
mod comments;
mod create;
mod forms;
mod jobs;
mod link;
pub mod pages;
mod store;
mod sync;

use std::borrow::Cow;

use serde_json::json;

use crate::app::App;
use crate::bitbucket::Kind;
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::features::groups::{Group, GroupId};
use crate::features::links::{self, LinkError};
use crate::kit::db::{Conn, DbError};
use crate::kit::ids::{row_id, text_enum};

pub use backend::{
    BackendError, BoxFuture, Capabilities, FieldKind, FormField, TicketBackend, TicketState,
};
pub use comments::PostComment;
pub use create::{CreateForm, create, retry};
pub use forms::{DefaultText, Fields, default_text, repo_choices};
pub use jobs::{FinishCreate, ResumePending, SyncStatus};
pub use link::{LinkForm, link, unlink};
pub use store::{Badge, Ticket, badges_of, list_of_group, list_of_link};

row_id! {
    /// Row id of a ticket; `/api/0` calls it the external issue's id.
    TicketId
}

text_enum! {
    /// Where a ticket stands with us.
    TicketStatus {
        /// Being created.
        Pending = "pending",
        /// It exists and is linked.
        Linked = "linked",
        /// The tracker refused it; the reason is beside it.
        Failed = "failed",
        /// It is gone on the other side, or its tracker is: only a reference.
        Gone = "gone",
    }
}

text_enum! {
    /// Where tickets live.
    BackendKind {
        /// The issue tracker of a Bitbucket repository.
        BitbucketIssues = "bitbucket_issues",
    }
}

/// Why a ticket was not made or linked.
#[derive(Debug)]
pub enum TicketError {
    /// A field of the form is wrong.
    Field(&'static str, Cow<'static, str>),
    /// The tracker does not take these fields, by the name of the field, or `non_field_errors`.
    Fields(Vec<(&'static str, String)>),
    /// The tracker, or the state of the connection, says no; the text says why and what to do.
    Refused(String),
    /// The group has this ticket already.
    AlreadyLinked,
    /// Nobody answered in time. Nothing is lost: the ticket is being created.
    Pending,
    /// The other side has trouble and nothing was made; again after these seconds.
    Busy(String, u64),
    /// Too many calls were made to the other side; again after these seconds, and no failure of this work.
    Limited(String, u64),
    /// No such link, ticket or group here.
    NotFound,
    /// A failure of ours.
    App(AppError),
}

impl From<AppError> for TicketError {
    fn from(error: AppError) -> Self {
        Self::App(error)
    }
}

impl From<DbError> for TicketError {
    fn from(error: DbError) -> Self {
        Self::App(error.into())
    }
}

impl From<diesel::result::Error> for TicketError {
    fn from(error: diesel::result::Error) -> Self {
        Self::App(error.into())
    }
}

impl From<LinkError> for TicketError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::NotFound => Self::NotFound,
            LinkError::App(error) => Self::App(error),
            // Work waits until somebody has re-authorised the connection.
            LinkError::Broken(reason) => Self::Busy(reason, BROKEN_SECS),
            LinkError::Upstream(error) if error.kind() == Kind::RateLimited => {
                let wait = error
                    .retry_after()
                    .map_or(RETRY_SECS, |after| after.as_secs().max(1));
                Self::Limited(LinkError::Upstream(error).to_string(), wait)
            }
            other if other.is_temporary() => Self::Busy(other.to_string(), RETRY_SECS),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<BackendError> for TicketError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Refused(text) | BackendError::TrackerGone(text) => Self::Refused(text),
            BackendError::Fields(fields) => Self::Fields(fields),
            BackendError::NotFound => {
                Self::Refused("There is no such issue in this repository.".into())
            }
            BackendError::Later {
                text,
                after,
                limited,
                ..
            } => {
                let wait = after.map_or(RETRY_SECS, |after| after.as_secs().max(1));
                match limited {
                    true => Self::Limited(text, wait),
                    false => Self::Busy(text, wait),
                }
            }
        }
    }
}

/// Refused fields in one line, for where there is no form to show them in.
fn fields_text(fields: &[(&'static str, String)]) -> String {
    let parts: Vec<_> = fields
        .iter()
        .map(|(field, text)| match *field {
            backend::NO_FIELD => text.clone(),
            field => format!("{}: {text}", field.replace('_', " ")),
        })
        .collect();
    parts.join("; ")
}

/// What a caller is told to wait while the connection needs a person.
const BROKEN_SECS: u64 = 3_600;
/// What a caller is told to wait when the other side did not say.
const RETRY_SECS: u64 = 10;

impl From<TicketError> for AppError {
    /// The shapes of sentry.md §7.3.
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::Field(field, text) => Self::field(field, text),
            TicketError::Fields(fields) => {
                let text = fields_text(&fields);
                let mut body = serde_json::Map::new();
                for (field, text) in fields {
                    let texts = body.entry(field).or_insert_with(|| json!([]));
                    if let Some(texts) = texts.as_array_mut() {
                        texts.push(json!(text));
                    }
                }
                Self::invalid(text).with_body(body.into())
            }
            TicketError::Refused(text) => {
                let body = json!({ "non_field_errors": [text] });
                Self::invalid(text).with_body(body)
            }
            TicketError::AlreadyLinked => Self::invalid("That issue is already linked"),
            TicketError::Pending => Self::unavailable(
                "Something went wrong while communicating with Bitbucket. The issue is being created; ask again shortly.",
                RETRY_SECS,
            ),
            TicketError::Busy(text, seconds) | TicketError::Limited(text, seconds) => {
                Self::unavailable(
                    "Something went wrong while communicating with Bitbucket",
                    seconds,
                )
                .caused_by(anyhow::anyhow!(text))
            }
            TicketError::NotFound => Self::not_found(),
            TicketError::App(error) => error,
        }
    }
}

/// The tickets of a group with what the page of the group needs to know about each link.
///
/// # Errors
/// When a query fails.
pub fn links_with_tickets(
    conn: &mut Conn,
    org: OrgId,
    group: GroupId,
) -> AppResult<Vec<(links::Link, Vec<Ticket>)>> {
    let tickets = store::list_of_group(conn, org, group)?;
    let links = links::list_links(conn, org)?;
    Ok(links
        .into_iter()
        .map(|link| {
            let own = tickets
                .iter()
                .filter(|ticket| ticket.link_id == link.id)
                .cloned()
                .collect();
            (link, own)
        })
        .collect())
}

/// Absolute address of a group's page, as it stands in tickets.
#[must_use]
pub fn permalink(app: &App, org_slug: &str, group: GroupId) -> String {
    app.config.absolute(&Group::permalink_path(org_slug, group))
}
