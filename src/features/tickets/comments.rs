//! Comments on tickets, each posted once: written down with a marker first, and looked for by it before a repeat.

use serde::{Deserialize, Serialize};

use super::backend::{BackendError, TicketBackend};
use super::jobs::verdict;
use super::store::{self, Comment, Ticket};
use super::{TicketError, TicketId, backends};
use crate::app::App;
use crate::features::accounts::OrgId;
use crate::features::links::{self, LinkId};
use crate::kit::crypto::random_hex;
use crate::kit::jobs::{Attempt, Job, Queue, Verdict, cancel};

/// What begins the reason of a comment that a person wrote while linking a ticket.
pub(super) const BY_LINKING: &str = "link:";

/// A new marker, and the text with it; the link leads to the ticket itself, so it can be followed.
pub(super) fn with_marker(text: &str, url: &str) -> (String, String) {
    let marker = format!("tb-{}", random_hex(10));
    let body = format!("{}\n\n[{marker}]({url}#{marker})", text.trim_end());
    (marker, body)
}

/// Why a comment or a state did not reach the tracker.
pub(super) enum Failed {
    Tracker(BackendError),
    Us(TicketError),
}

impl From<BackendError> for Failed {
    fn from(error: BackendError) -> Self {
        Self::Tracker(error)
    }
}

impl From<TicketError> for Failed {
    fn from(error: TicketError) -> Self {
        Self::Us(error)
    }
}

impl From<Failed> for TicketError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Tracker(error) => error.into(),
            Failed::Us(error) => error,
        }
    }
}

/// Posts a comment that is written down. `fresh` is true for who has just written it down: nobody else can have
/// posted it.
pub(super) async fn post(
    app: &App,
    backend: &dyn TicketBackend,
    ticket: &Ticket,
    comment: &Comment,
    fresh: bool,
) -> Result<(), Failed> {
    let Some(number) = ticket.number else {
        return Ok(());
    };
    if comment.remote_id.is_some() || !backend.capabilities().comment {
        return Ok(());
    }
    let found = if fresh {
        None
    } else {
        backend.find_comment(number, &comment.marker).await?
    };
    let remote_id = match found {
        Some(remote_id) => remote_id,
        None => backend.comment(number, &comment.body).await?,
    };
    let (org, id, now) = (ticket.org_id, comment.id, app.clock.now());
    app.db
        .write(move |tx| {
            cancel::<PostComment>(tx, &PostComment::key(id))?;
            Ok::<_, TicketError>(store::set_posted(tx, org, id, &remote_id, now)?)
        })
        .await?;
    Ok(())
}

/// Posts the comment of a link that was just made. The ticket is linked whatever becomes of it: a tracker in trouble
/// gets it by the safety job, a refusal stands beside the ticket.
pub(super) async fn post_now(
    app: &App,
    backend: &dyn TicketBackend,
    ticket: &Ticket,
    comment: &Comment,
) -> Result<(), TicketError> {
    match post(app, backend, ticket, comment, true)
        .await
        .map_err(TicketError::from)
    {
        Err(TicketError::Refused(text)) => refused(app, ticket, comment.id, &text).await,
        Err(TicketError::Busy(text, _) | TicketError::Limited(text, _)) => {
            tracing::info!(ticket = ticket.id.0, text, "a comment is left to its job");
            Ok(())
        }
        other => other,
    }
}

async fn refused(app: &App, ticket: &Ticket, comment: i64, text: &str) -> Result<(), TicketError> {
    let (org, id, now) = (ticket.org_id, ticket.id, app.clock.now());
    let text = format!("The comment could not be added. {text}");
    app.db
        .write(move |tx| {
            cancel::<PostComment>(tx, &PostComment::key(comment))?;
            Ok(store::set_error(tx, org, id, &text, now)?)
        })
        .await
}

/// Posts what people wrote while linking this ticket and what has not arrived yet.
pub(super) async fn post_missing(
    app: &App,
    backend: &dyn TicketBackend,
    ticket: &Ticket,
) -> Result<(), Failed> {
    let (org, id) = (ticket.org_id, ticket.id);
    let missing = app
        .db
        .read(move |conn| Ok::<_, TicketError>(store::unposted(conn, org, id, BY_LINKING)?))
        .await?;
    for comment in &missing {
        post(app, backend, ticket, comment, false).await?;
    }
    Ok(())
}

/// The safety job of a comment: posts what a crash or a time-out left behind.
#[derive(Debug, Serialize, Deserialize)]
pub struct PostComment {
    /// Tenant.
    pub org: OrgId,
    /// The ticket.
    pub ticket: TicketId,
    /// Row id of the comment.
    pub comment: i64,
    /// The ticket's link; an uninstall cancels the jobs of a link.
    pub link: LinkId,
}

impl PostComment {
    /// Its dedupe key.
    pub(super) fn key(comment: i64) -> String {
        comment.to_string()
    }
}

impl Job for PostComment {
    type State = App;
    const KIND: &'static str = "tickets.post_comment";
    const QUEUE: Queue = Queue::Interactive;

    fn dedupe_key(&self) -> Option<String> {
        Some(Self::key(self.comment))
    }

    fn order_key(&self) -> Option<String> {
        Some(links::order_key(self.link))
    }

    fn org_id(&self) -> Option<i64> {
        Some(self.org.0)
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        let (org, ticket, id) = (self.org, self.ticket, self.comment);
        let found = app
            .db
            .read(move |conn| {
                let ticket = store::find(conn, org, ticket)?;
                Ok::<_, TicketError>(ticket.zip(store::find_comment(conn, org, id)?))
            })
            .await;
        let (ticket, comment) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Verdict::Drop("the ticket is not linked any more".into())),
            Err(error) => return verdict(error),
        };
        let posted = async {
            let backend = backends::open_for(&app, &ticket).await?;
            post(&app, backend.as_ref(), &ticket, &comment, false).await
        };
        match posted.await.map_err(TicketError::from) {
            Ok(()) => Ok(Verdict::Done),
            Err(TicketError::Refused(text)) => match refused(&app, &ticket, id, &text).await {
                Ok(()) => Ok(Verdict::Drop(text)),
                Err(error) => verdict(error),
            },
            Err(error) => verdict(error),
        }
    }
}
