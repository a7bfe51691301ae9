//! Background work on tickets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::create::{self, Finish};
use super::{TicketError, TicketId, store, sync};
use crate::app::App;
use crate::error::AppError;
use crate::features::accounts::OrgId;
use crate::features::groups::GroupId;
use crate::features::links::{self, LinkId};
use crate::kit::jobs::{Attempt, Job, Queue, Verdict, enqueue};

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

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        match sync::sync_group(&app, self.org, self.group).await {
            Ok(()) => Ok(Verdict::Done),
            Err(error) => verdict(error),
        }
    }
}

/// Finds pending tickets whose safety job is gone (cancelled with their link, or dropped by an operator) and gives
/// them another: it finishes them or says why not.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ResumePending {}

impl ResumePending {
    /// How often it runs.
    pub const EVERY: Duration = Duration::from_secs(600);
    /// A ticket that was touched more recently is left to its own job.
    const UNTOUCHED: Duration = Duration::from_secs(600);
    /// Tickets taken up in one run.
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
        let found = app
            .db
            .read(move |conn| {
                Ok::<_, AppError>(store::forgotten(
                    conn,
                    now.minus(Self::UNTOUCHED),
                    Self::LIMIT,
                )?)
            })
            .await?;
        if found.is_empty() {
            return Ok(Verdict::Done);
        }
        app.db
            .write(move |tx| {
                for (org, ticket, link) in &found {
                    enqueue(
                        tx,
                        &FinishCreate {
                            org: *org,
                            ticket: *ticket,
                            link: *link,
                        },
                        now,
                    )?;
                }
                Ok::<_, AppError>(())
            })
            .await?;
        Ok(Verdict::Done)
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
