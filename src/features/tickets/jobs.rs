//! Background work on tickets.

use std::time::Duration;

use diesel::QueryResult;
use serde::{Deserialize, Serialize};

use super::comments::PostComment;
use super::create::{self, Finish};
use super::{TicketError, TicketId, store, sync};
use crate::app::App;
use crate::error::AppError;
use crate::features::accounts::OrgId;
use crate::features::groups::GroupId;
use crate::features::links::{self, LinkId, LinkInUse};
use crate::kit::clock::Micros;
use crate::kit::db::{Conn, Tx};
use crate::kit::jobs::{Attempt, Job, Queue, Verdict, enqueue, is_under_way};

/// The safety job of an intent: finishes what a crash or a time-out left behind.
#[derive(Debug, Serialize, Deserialize)]
pub struct FinishCreate {
    /// Tenant.
    pub org: OrgId,
    /// The pending ticket.
    pub ticket: TicketId,
    /// Its link; an uninstall cancels the jobs of a link.
    pub link: LinkId,
}

impl FinishCreate {
    /// Its dedupe key.
    pub(super) fn key(ticket: TicketId) -> String {
        ticket.to_string()
    }
}

impl Job for FinishCreate {
    type State = App;
    const KIND: &'static str = "tickets.finish_create";
    const QUEUE: Queue = Queue::Interactive;

    fn dedupe_key(&self) -> Option<String> {
        Some(Self::key(self.ticket))
    }

    fn order_key(&self) -> Option<String> {
        Some(links::order_key(self.link))
    }

    fn org_id(&self) -> Option<i64> {
        Some(self.org.0)
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        match create::finish(&app, self.org, self.ticket, None).await {
            Ok(Finish::Ended(_)) => Ok(Verdict::Done),
            Ok(Finish::Refused(error)) => verdict(error),
            Ok(Finish::Taken) => Ok(again("somebody else is finishing it", None)),
            Err(error) => verdict(error),
        }
    }
}

/// Makes the tickets of a group agree with its status.
#[derive(Debug, Serialize, Deserialize)]
pub struct SyncStatus {
    /// Tenant.
    pub org: OrgId,
    /// The group.
    pub group: GroupId,
}

impl Job for SyncStatus {
    type State = App;
    const KIND: &'static str = "tickets.sync_status";

    fn dedupe_key(&self) -> Option<String> {
        Some(self.group.to_string())
    }

    fn org_id(&self) -> Option<i64> {
        Some(self.org.0)
    }

    async fn run(self, app: App, attempt: Attempt) -> anyhow::Result<Verdict> {
        match sync::sync_group(&app, self.org, self.group, attempt.last).await {
            Ok(()) => Ok(Verdict::Done),
            Err(error) => verdict(error),
        }
    }
}

/// Finds what was left undone because its job is gone (cancelled with its link, ended while the link did not work, or
/// dropped by an operator) and gives it another: tickets to be finished, comments to be posted, changes of groups to
/// be told.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ResumePending {}

impl ResumePending {
    /// How often it runs.
    pub const EVERY: Duration = Duration::from_secs(600);
    /// What was touched more recently is left to its own job.
    const UNTOUCHED: Duration = Duration::from_secs(600);
    /// Tickets or comments taken up in one look.
    const LIMIT: i64 = 500;
}

impl Job for ResumePending {
    type State = App;
    const KIND: &'static str = "tickets.resume_pending";

    fn dedupe_key(&self) -> Option<String> {
        Some("all".to_owned())
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        let now = app.clock.now();
        let left = app
            .db
            .read(move |conn| Left::find(conn, now.minus(Self::UNTOUCHED), Self::LIMIT))
            .await
            .map_err(AppError::from)?;
        if left.is_empty() {
            return Ok(Verdict::Done);
        }
        app.db
            .write(move |tx| left.enqueue(tx, now).map_err(AppError::from))
            .await?;
        Ok(Verdict::Done)
    }
}

/// What was left undone.
#[derive(Default)]
struct Left {
    tickets: Vec<FinishCreate>,
    comments: Vec<PostComment>,
    changes: Vec<SyncStatus>,
}

impl Left {
    fn find(conn: &mut Conn, before: Micros, limit: i64) -> Result<Self, TicketError> {
        let mut left = Self {
            tickets: store::forgotten(conn, before, limit)?
                .into_iter()
                .map(|(org, ticket, link)| FinishCreate { org, ticket, link })
                .collect(),
            ..Self::default()
        };
        for link in links::links_in_use(conn)? {
            left.of_link(conn, &link, before, limit)?;
        }
        Ok(left)
    }

    /// What a link that works can do again. What it refused is taken up once more after it has changed.
    fn of_link(
        &mut self,
        conn: &mut Conn,
        link: &LinkInUse,
        before: Micros,
        limit: i64,
    ) -> Result<(), TicketError> {
        let (org, id, changed_at) = (link.org, link.id, link.changed_at);
        for (ticket, comment) in
            store::forgotten_comments(conn, org, id, changed_at, before, limit)?
        {
            if !is_under_way::<PostComment>(conn, &PostComment::key(comment))? {
                self.comments.push(PostComment {
                    org,
                    ticket,
                    comment,
                    link: id,
                });
            }
        }
        if link.tells_status {
            for ticket in store::refused_before(conn, org, id, changed_at, limit)? {
                let untold = sync::untold(conn, &ticket)?;
                self.changes
                    .extend(untold.into_iter().map(|group| SyncStatus { org, group }));
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.tickets.is_empty() && self.comments.is_empty() && self.changes.is_empty()
    }

    fn enqueue(&self, tx: &mut Tx<'_>, now: Micros) -> QueryResult<()> {
        for job in &self.tickets {
            enqueue(tx, job, now)?;
        }
        for job in &self.comments {
            enqueue(tx, job, now)?;
        }
        for job in &self.changes {
            enqueue(tx, job, now)?;
        }
        Ok(())
    }
}

fn again(reason: &str, after: Option<Duration>) -> Verdict {
    Verdict::Retry {
        after,
        reason: reason.to_owned(),
    }
}

/// What a job does about an error.
pub(super) fn verdict(error: TicketError) -> anyhow::Result<Verdict> {
    Ok(match error {
        TicketError::NotFound => Verdict::Drop("the ticket or its link is gone".into()),
        TicketError::Field(field, text) => Verdict::Drop(format!("{field}: {text}")),
        TicketError::Fields(fields) => Verdict::Drop(super::fields_text(&fields)),
        TicketError::Refused(text) => Verdict::Drop(text),
        TicketError::AlreadyLinked => Verdict::Done,
        TicketError::Pending => again("no answer in time", Some(Duration::from_secs(10))),
        TicketError::Busy(text, seconds) => again(&text, Some(Duration::from_secs(seconds))),
        TicketError::Limited(reason, seconds) => Verdict::Postpone {
            after: Duration::from_secs(seconds),
            reason,
        },
        TicketError::App(error) => return Err(error.into()),
    })
}
