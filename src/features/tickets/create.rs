//! Making a ticket, exactly once whatever happens in between.
//!
//! One write puts down the intent (with its marker) and a safety job. Then, with no connection held, the tracker is
//! called; one write links the result. Whoever finishes a pending ticket first claims it, so that two never call
//! together, and a call whose fate is unknown is followed by a search for the marker before another.

use std::time::Duration;

use diesel::QueryResult;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::backend::{BackendError, Draft, RemoteTicket, TicketBackend};
use super::forms::{self, ISSUE_TYPES, MAX_TITLE, PRIORITIES};
use super::jobs::FinishCreate;
use super::store::{self, Made, NewTicket, Ticket};
use super::{TicketError, TicketId, TicketStatus, backends};
use crate::app::App;
use crate::features::accounts::{Org, OrgId, Project};
use crate::features::groups::{self, Activity, ActivityKind, Actor, Group, GroupStatus};
use crate::features::links::{self, LinkId};
use crate::kit::clock::Micros;
use crate::kit::crypto::{random_hex, sha256};
use crate::kit::db::Tx;
use crate::kit::jobs::{cancel, enqueue, enqueue_at};
use crate::sentry::text;

/// When the safety job looks after a ticket that nobody finished.
const SAFETY_DELAY: Duration = Duration::from_secs(60);
/// How long one may take to finish; longer than all its calls together.
const CLAIM: Duration = Duration::from_secs(50);
/// A call that broke off may still arrive: the marker is looked for, and only after this long without it is the
/// ticket made again.
const SETTLE: Duration = Duration::from_secs(10);
/// How long a caller waits for another one that is finishing the same ticket.
const PATIENCE: Duration = Duration::from_secs(12);
/// Longest description that is taken, in bytes.
const MAX_DESCRIPTION: usize = 60_000;

/// The form of a new ticket.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateForm {
    /// `workspace/repository`.
    pub repo: String,
    /// One line.
    pub title: String,
    /// Markdown.
    pub description: String,
    /// One of [`ISSUE_TYPES`]; `bug` when empty.
    pub issue_type: String,
    /// One of [`PRIORITIES`]; `trivial` when empty.
    pub priority: String,
}

impl CreateForm {
    fn check(&self) -> Result<Draft, TicketError> {
        if self.repo.trim().is_empty() {
            return Err(TicketError::Field("repo", "Repository is required".into()));
        }
        let title = text::one_line(&self.title);
        if title.is_empty() {
            return Err(TicketError::Field("title", "A title is required.".into()));
        }
        if title.chars().count() > MAX_TITLE {
            return Err(TicketError::Field(
                "title",
                "A title has at most 255 characters.".into(),
            ));
        }
        let or = |value: &str, default: &str| {
            if value.is_empty() {
                default.to_owned()
            } else {
                value.to_owned()
            }
        };
        let kind = forms::one_of(ISSUE_TYPES, &or(&self.issue_type, "bug"))
            .map_err(|text| TicketError::Field("issue_type", text))?;
        let priority = forms::one_of(PRIORITIES, &or(&self.priority, "trivial"))
            .map_err(|text| TicketError::Field("priority", text))?;
        let mut description = text::clean(&self.description).into_owned();
        text::cut_bytes(&mut description, MAX_DESCRIPTION);
        Ok(Draft {
            title,
            description,
            kind,
            priority,
        })
    }

    /// The client key of a caller that names none: the same form is the same ticket.
    fn hash(&self) -> String {
        let form = json!([
            self.repo,
            self.title,
            self.description,
            self.issue_type,
            self.priority
        ]);
        format!("form:{}", hex::encode(sha256(form.to_string().as_bytes())))
    }
}

/// Makes a ticket for a group, or answers the one that the same client key has made.
///
/// # Errors
/// See [`TicketError`]; after [`TicketError::Pending`] the ticket will still come.
#[expect(clippy::too_many_arguments, reason = "who, where and what of a ticket")]
pub async fn create(
    app: &App,
    org: &Org,
    group: &Group,
    project: &Project,
    link: LinkId,
    form: &CreateForm,
    client_key: Option<&str>,
    actor: &Actor,
) -> Result<Ticket, TicketError> {
    let mut draft = form.check()?;
    let opened = backends::open(app, org.id, link, form.repo.trim()).await?;
    let marker = format!("tb-{}", random_hex(10));
    let url = super::permalink(app, &org.slug, group.id);
    draft.description = format!(
        "{}\n\n[{marker}]({url}#{marker})",
        draft.description.trim_end()
    );
    let new = NewTicket {
        org: org.id,
        group: group.id,
        link,
        repo: opened.repo,
        client_key: client_key.map_or_else(
            || form.hash(),
            |key| format!("key:{}", text::cut_chars(key, 200)),
        ),
        marker,
        state: TicketStatus::Pending,
        repo_name: form.repo.trim().to_owned(),
        title: draft.title.clone(),
        description: String::new(),
        draft: serde_json::to_string(&draft)
            .map_err(|error| TicketError::App(crate::error::AppError::internal(error)))?,
        created_by: actor.name.clone(),
    };
    let ticket = put_intent(app, new, project).await?;
    if ticket.state == TicketStatus::Linked || ticket.state == TicketStatus::Gone {
        return Ok(ticket);
    }
    finish_or_wait(app, org.id, ticket.id, Some(opened.backend)).await
}

/// Tries a refused ticket again, as it was asked for.
///
/// # Errors
/// See [`TicketError`].
pub async fn retry(app: &App, org: OrgId, id: TicketId) -> Result<Ticket, TicketError> {
    let now = app.clock.now();
    app.db
        .write(move |tx| {
            let ticket = store::find(tx, org, id)?.ok_or(TicketError::NotFound)?;
            if store::reopen(tx, org, id, now)? {
                enqueue_at(
                    tx,
                    &FinishCreate {
                        org,
                        ticket: id,
                        link: ticket.link_id,
                    },
                    now.plus(SAFETY_DELAY),
                    now,
                )?;
            }
            Ok::<_, TicketError>(())
        })
        .await?;
    finish_or_wait(app, org, id, None).await
}

async fn put_intent(app: &App, new: NewTicket, project: &Project) -> Result<Ticket, TicketError> {
    let (now, project) = (app.clock.now(), project.id);
    app.db
        .write(move |tx| {
            let ticket = match store::insert(tx, &new, now)? {
                Some(ticket) => ticket,
                None => {
                    let known = store::find_by_client_key(tx, new.org, new.group, &new.client_key)?
                        .ok_or(TicketError::NotFound)?;
                    let again = match (known.state, known.attempted_at) {
                        // What a call of unknown fate may have made has the old marker in it.
                        (TicketStatus::Failed, Some(_)) => {
                            store::reopen(tx, new.org, known.id, now)?
                        }
                        (TicketStatus::Failed, None) => {
                            store::revive(tx, new.org, known.id, &new, now)?
                        }
                        _ => false,
                    };
                    if !again {
                        return Ok(known);
                    }
                    store::find(tx, new.org, known.id)?.ok_or(TicketError::NotFound)?
                }
            };
            store::set_default(tx, new.org, new.link, project, "repo", &new.repo_name)?;
            let safety = FinishCreate {
                org: new.org,
                ticket: ticket.id,
                link: new.link,
            };
            enqueue_at(tx, &safety, now.plus(SAFETY_DELAY), now)?;
            Ok::<_, TicketError>(ticket)
        })
        .await
}

/// How finishing went.
pub(super) enum Finish {
    /// It is linked, refused, or was before.
    Ended(Box<Ticket>),
    /// Somebody else is at it.
    Taken,
}

async fn finish_or_wait(
    app: &App,
    org: OrgId,
    id: TicketId,
    backend: Option<std::sync::Arc<dyn TicketBackend>>,
) -> Result<Ticket, TicketError> {
    let started = tokio::time::Instant::now();
    loop {
        match finish(app, org, id, backend.clone()).await? {
            Finish::Ended(ticket) => {
                return match (ticket.state, ticket.last_error.clone()) {
                    (TicketStatus::Failed, reason) => {
                        Err(TicketError::Refused(reason.unwrap_or_default()))
                    }
                    _ => Ok(*ticket),
                };
            }
            Finish::Taken if started.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(250)).await
            }
            Finish::Taken => return Err(TicketError::Pending),
        }
    }
}

/// This process, to tell its claims from those of one that died.
#[derive(Debug)]
struct ProcessName(String);

impl Default for ProcessName {
    fn default() -> Self {
        Self(random_hex(8))
    }
}

/// Finishes a pending ticket: looks for it where a call may have made it, makes it where none did, and links it.
///
/// # Errors
/// [`TicketError::Pending`] when the fate of a call is unknown, [`TicketError::Busy`] when the tracker has
/// trouble: the safety job goes on from there.
pub(super) async fn finish(
    app: &App,
    org: OrgId,
    id: TicketId,
    backend: Option<std::sync::Arc<dyn TicketBackend>>,
) -> Result<Finish, TicketError> {
    // One claim is one call, so two calls of this process do not take it from each other either.
    let owner = format!("{}:{}", app.cache::<ProcessName>().0, random_hex(4));
    let Some(ticket) = claim(app, org, id, &owner).await? else {
        let ticket = app
            .db
            .read(move |conn| store::find(conn, org, id)?.ok_or(TicketError::NotFound))
            .await?;
        return Ok(match ticket.state {
            TicketStatus::Pending => Finish::Taken,
            _ => Finish::Ended(Box::new(ticket)),
        });
    };
    let done = finish_claimed(app, &ticket, &owner, backend).await;
    match done {
        Ok(made) => link_made(app, ticket, made)
            .await
            .map(|ticket| Finish::Ended(Box::new(ticket))),
        Err(TicketError::Refused(reason)) => refuse(app, &ticket, reason)
            .await
            .map(|t| Finish::Ended(Box::new(t))),
        Err(TicketError::Field(_, reason)) => refuse(app, &ticket, reason.into_owned())
            .await
            .map(|t| Finish::Ended(Box::new(t))),
        Err(TicketError::NotFound) => {
            let reason = "The connection to this workspace was removed.".to_owned();
            refuse(app, &ticket, reason)
                .await
                .map(|t| Finish::Ended(Box::new(t)))
        }
        Err(error) => {
            let text = match &error {
                TicketError::Busy(text, _) => text.clone(),
                _ => "No answer in time; looking whether the ticket was made.".to_owned(),
            };
            app.db
                .write(move |tx| {
                    Ok::<_, TicketError>(store::release(tx, org, id, &owner, Some(&text))?)
                })
                .await?;
            Err(error)
        }
    }
}

async fn claim(
    app: &App,
    org: OrgId,
    id: TicketId,
    owner: &str,
) -> Result<Option<Ticket>, TicketError> {
    let (owner, now) = (owner.to_owned(), app.clock.now());
    // One server per SQLite file: a claim of another process is a dead one's.
    let process = app
        .db
        .url()
        .is_sqlite()
        .then(|| app.cache::<ProcessName>().0.clone());
    app.db
        .write(move |tx| {
            Ok::<_, TicketError>(store::claim(
                tx,
                org,
                id,
                &owner,
                process.as_deref(),
                CLAIM,
                now,
            )?)
        })
        .await
}

async fn finish_claimed(
    app: &App,
    ticket: &Ticket,
    owner: &str,
    backend: Option<std::sync::Arc<dyn TicketBackend>>,
) -> Result<RemoteTicket, TicketError> {
    let backend = match backend {
        Some(backend) => backend,
        None => backends::open_for(app, ticket).await?,
    };
    let draft: Draft = serde_json::from_str(&ticket.draft).map_err(|error| {
        TicketError::Refused(format!("The stored form cannot be read: {error}"))
    })?;
    if let Some(attempted) = ticket.attempted_at {
        if let Some(found) = backend.find(&ticket.marker).await? {
            return Ok(found);
        }
        if app.clock.now() < attempted.plus(SETTLE) {
            return Err(TicketError::Pending);
        }
    }
    note_attempt(app, ticket, owner, Some(app.clock.now())).await?;
    match backend.create(&draft).await {
        Ok(made) => Ok(made),
        Err(BackendError::Later {
            unknown_fate: true, ..
        }) => Err(TicketError::Pending),
        Err(error) => {
            note_attempt(app, ticket, owner, None).await?;
            Err(error.into())
        }
    }
}

async fn note_attempt(
    app: &App,
    ticket: &Ticket,
    owner: &str,
    at: Option<Micros>,
) -> Result<(), TicketError> {
    let (org, id, owner) = (ticket.org_id, ticket.id, owner.to_owned());
    let still_ours = app
        .db
        .write(move |tx| Ok::<_, TicketError>(store::note_attempt(tx, org, id, &owner, at)?))
        .await?;
    if still_ours {
        Ok(())
    } else {
        Err(TicketError::Pending)
    }
}

async fn refuse(app: &App, ticket: &Ticket, reason: String) -> Result<Ticket, TicketError> {
    let (org, id, now) = (ticket.org_id, ticket.id, app.clock.now());
    app.db
        .write(move |tx| {
            store::set_state(
                tx,
                org,
                id,
                TicketStatus::Pending,
                TicketStatus::Failed,
                &reason,
                now,
            )?;
            cancel::<FinishCreate>(tx, &FinishCreate::key(id))?;
            store::find(tx, org, id)?.ok_or(TicketError::NotFound)
        })
        .await
}

async fn link_made(app: &App, ticket: Ticket, remote: RemoteTicket) -> Result<Ticket, TicketError> {
    let now = app.clock.now();
    let made = Made {
        key: format!("{}#{}", ticket.repo_name, remote.number),
        number: remote.number,
        url: app.bitbucket.web_issue(
            &ticket.repo_name,
            u64::try_from(remote.number).unwrap_or_default(),
        ),
        title: remote.title,
        state: remote.state,
    };
    app.db
        .write(move |tx| {
            let org = ticket.org_id;
            cancel::<FinishCreate>(tx, &FinishCreate::key(ticket.id))?;
            if let Some(twin) = store::find_by_key(tx, org, ticket.link_id, &made.key)? {
                // Somebody linked the new issue by hand in between: that row is the ticket, this one ends.
                store::join(tx, org, ticket.group_id, twin.id, now)?;
                store::part(tx, org, ticket.group_id, &ticket)?;
                return Ok(twin);
            }
            if store::set_linked(tx, org, ticket.id, &made, now)? {
                store::join(tx, org, ticket.group_id, ticket.id, now)?;
                log_linked(
                    tx,
                    &ticket,
                    &made,
                    true,
                    &Actor::system(ticket.created_by.clone()),
                    now,
                )?;
                follow_group(tx, &ticket, now)?;
            }
            store::find(tx, org, ticket.id)?.ok_or(TicketError::NotFound)
        })
        .await
}

/// A group that was resolved while its ticket was made tells the ticket.
fn follow_group(tx: &mut Tx<'_>, ticket: &Ticket, now: Micros) -> QueryResult<()> {
    let group = groups::find(tx, ticket.org_id, ticket.group_id)?;
    if group.is_some_and(|(group, _)| group.status == GroupStatus::Resolved) {
        enqueue(
            tx,
            &super::SyncStatus {
                org: ticket.org_id,
                group: ticket.group_id,
            },
            now,
        )?;
    }
    Ok(())
}

/// The activity of a ticket that was made or linked (sentry.md §7.3).
pub(super) fn log_linked(
    tx: &mut Tx<'_>,
    ticket: &Ticket,
    made: &Made,
    new: bool,
    actor: &Actor,
    now: Micros,
) -> QueryResult<()> {
    let data = json!({
        "title": made.title, "provider": "Bitbucket", "location": made.url, "label": made.key, "new": new,
    });
    let activity = Activity::new(ActivityKind::CreateIssue, actor, data)
        .once(format!("{}:{}", ticket.id, ticket.marker));
    groups::log(tx, ticket.org_id, ticket.group_id, &activity, now).map(drop)
}

/// The link that a path names, if the organization uses it.
pub(super) fn require_link(
    conn: &mut crate::kit::db::Conn,
    org: OrgId,
    id: LinkId,
) -> Result<links::Link, TicketError> {
    links::find_link(conn, org, id)?.ok_or(TicketError::NotFound)
}
