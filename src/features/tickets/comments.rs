//! Comments on tickets, each posted once: written down with a marker first, claimed by who posts it, and looked for by
//! the marker before a repeat.

use serde::{Deserialize, Serialize};

use super::backend::{BackendError, TicketBackend};
use super::create::SETTLE;
use super::jobs::verdict;
use super::store::{self, Comment, Ticket};
use super::{TicketError, TicketId, backends};
use crate::app::App;
use crate::features::accounts::OrgId;
use crate::features::links::{self, LinkId};
use crate::kit::clock::Micros;
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

/// What a caller is told to wait while somebody else posts the comment.
const ELSEWHERE_SECS: u64 = 5;

/// Posts a comment that is written down, by one at a time: who does it holds a claim that outlasts its call and what
/// of it may still arrive. A comment that somebody has tried to post before is looked for by its marker.
pub(super) async fn post(
    app: &App,
    backend: &dyn TicketBackend,
    ticket: &Ticket,
    comment: &Comment,
) -> Result<(), Failed> {
    let Some(number) = ticket.number else {
        return Ok(());
    };
    if comment.remote_id.is_some() || !backend.capabilities().comment {
        return Ok(());
    }
    let (org, id, owner) = (ticket.org_id, comment.id, random_hex(8));
    let Some(comment) = claim(app, org, id, &owner).await? else {
        return Ok(());
    };
    let tried = comment.busy_until.is_some();
    let found = if tried {
        match backend.find_comment(number, &comment.marker).await {
            Ok(found) => found,
            Err(error) => {
                hold(app, org, id, &owner, Some(app.clock.now())).await?;
                return Err(error.into());
            }
        }
    } else {
        None
    };
    let remote_id = match found {
        Some(remote_id) => remote_id,
        None => {
            if !hold(app, org, id, &owner, Some(app.clock.now().plus(SETTLE))).await? {
                return Err(elsewhere().into());
            }
            match backend.comment(number, &comment.body).await {
                Ok(remote_id) => remote_id,
                // It may still arrive: nobody looks for it before the claim has run out.
                Err(error) if error.is_of_unknown_fate() => return Err(error.into()),
                Err(error) => {
                    hold(app, org, id, &owner, None).await?;
                    return Err(error.into());
                }
            }
        }
    };
    let now = app.clock.now();
    app.db
        .write(move |tx| {
            cancel::<PostComment>(tx, &PostComment::key(id))?;
            Ok::<_, TicketError>(store::set_posted(tx, org, id, &remote_id, now)?)
        })
        .await?;
    Ok(())
}

fn elsewhere() -> TicketError {
    TicketError::Busy(
        "Somebody else is adding the comment.".into(),
        ELSEWHERE_SECS,
    )
}

/// The comment as it was before it was claimed; `None` when it has arrived.
async fn claim(
    app: &App,
    org: OrgId,
    id: i64,
    owner: &str,
) -> Result<Option<Comment>, TicketError> {
    let (owner, now) = (owner.to_owned(), app.clock.now());
    app.db
        .write(move |tx| {
            let before = store::find_comment(tx, org, id)?.ok_or(TicketError::NotFound)?;
            if before.remote_id.is_some() {
                return Ok(None);
            }
            if store::claim_comment(tx, org, id, &owner, now.plus(SETTLE), now)? {
                return Ok(Some(before));
            }
            Err(elsewhere())
        })
        .await
}

async fn hold(
    app: &App,
    org: OrgId,
    id: i64,
    owner: &str,
    until: Option<Micros>,
) -> Result<bool, TicketError> {
    let owner = owner.to_owned();
    app.db
        .write(move |tx| Ok(store::hold_comment(tx, org, id, &owner, until)?))
        .await
}

/// Posts the comment of a link that was just made. The ticket is linked whatever becomes of it: a tracker in trouble
/// gets it by the safety job, a refusal stands beside the ticket.
pub(super) async fn post_now(
    app: &App,
    backend: &dyn TicketBackend,
    ticket: &Ticket,
    comment: &Comment,
) -> Result<(), TicketError> {
    match post(app, backend, ticket, comment)
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
        post(app, backend, ticket, comment).await?;
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
            post(&app, backend.as_ref(), &ticket, &comment).await
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
