//! Making a ticket, exactly once whatever happens in between.
//!
//! One write puts down the intent (with its marker) and a safety job. Then, with no connection held, the tracker is
//! called; one write links the result. Whoever finishes a pending ticket first claims it, so that two never call
//! together, and a call whose fate is unknown is followed by a search for the marker before another.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use diesel::QueryResult;
use serde::Deserialize;
use serde_json::{Value, json};

use super::backend::{
    BackendError, CALL_LIMIT, Draft, FieldKind, FormField, RemoteTicket, TicketBackend,
};
use super::jobs::FinishCreate;
use super::store::{self, Made, NewTicket, Ticket};
use super::{TicketError, TicketId, TicketStatus, backends, sync};
use crate::app::App;
use crate::features::accounts::{Org, OrgId, Project};
use crate::features::groups::{self, Activity, ActivityKind, Actor, Group, GroupId, GroupStatus};
use crate::features::links::{self, LinkId};
use crate::kit::clock::Micros;
use crate::kit::crypto::{random_hex, sha256};
use crate::kit::db::Tx;
use crate::kit::jobs::{cancel, enqueue, enqueue_at};
use crate::sentry::text;

/// When the safety job looks after a ticket that nobody finished. Longer than the search index of a tracker lags.
pub(super) const SAFETY_DELAY: Duration = Duration::from_secs(60);
/// How long a claim on a pending ticket is good without a sign of life. Who holds one renews it every [`BEAT`], however
/// many calls it makes, so the lease need not cover all of them together: after a crash the ticket is free again in
/// 15 s. It must cover one call: what a claim that was lost has sent is over then, and [`SETTLE`] can be counted on.
const LEASE: Duration = CALL_LIMIT;
/// How often a claim is renewed; two beats may get lost.
const BEAT: Duration = Duration::from_secs(5);
/// A call that broke off may still arrive: the marker is looked for, and only this long after the call was begun
/// without it is the ticket made again. That is the longest call, and ten seconds for what is still on its way.
pub(super) const SETTLE: Duration = Duration::from_secs(CALL_LIMIT.as_secs() + 10);
/// How long a caller waits for another one that is finishing the same ticket: longer than one call, so that the usual
/// wait ends with the ticket, and longer than [`LEASE`], so that who comes right after a crash takes over. Who waits
/// in vain gets the pending ticket.
const PATIENCE: Duration = Duration::from_secs(CALL_LIMIT.as_secs() + 2);

/// The form of a new ticket.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CreateForm {
    /// `workspace/repository`.
    pub repo: String,
    /// One line.
    pub title: String,
    /// Markdown.
    pub description: String,
    /// The tracker's other fields by name, see [`TicketBackend::form_fields`]; others are not looked at.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

impl CreateForm {
    /// Reads the form as the tracker wants it.
    fn check(&self, form: &'static [FormField]) -> Result<Draft, TicketError> {
        let mut draft = Draft {
            title: String::new(),
            description: String::new(),
            fields: BTreeMap::new(),
        };
        for field in form {
            let sent = match field.name {
                "title" => self.title.as_str(),
                "description" => self.description.as_str(),
                name => match self.fields.get(name) {
                    None | Some(Value::Null) => "",
                    Some(Value::String(text)) => text,
                    Some(_) => return Err(TicketError::Field(name, "Send this as text.".into())),
                },
            };
            let value = check_field(field, sent)?;
            match field.name {
                "title" => draft.title = value,
                "description" => draft.description = value,
                name => {
                    draft.fields.insert(name.to_owned(), value);
                }
            }
        }
        Ok(draft)
    }
}

fn check_field(field: &FormField, sent: &str) -> Result<String, TicketError> {
    let wrong = |text: Cow<'static, str>| Err(TicketError::Field(field.name, text));
    match field.kind {
        FieldKind::Line(most) => {
            let line = text::one_line(sent);
            if line.is_empty() {
                return wrong(format!("A {} is required.", field.label.to_lowercase()).into());
            }
            if line.chars().count() > most {
                return wrong(format!("At most {most} characters.").into());
            }
            Ok(line)
        }
        FieldKind::Text(most) => {
            let mut cleaned = text::clean(sent).into_owned();
            text::cut_bytes(&mut cleaned, most);
            Ok(cleaned)
        }
        FieldKind::Choice(known) => {
            let value = if sent.is_empty() { field.default } else { sent };
            if known.iter().any(|(known, _)| *known == value) {
                return Ok(value.to_owned());
            }
            let known: Vec<_> = known.iter().map(|(value, _)| *value).collect();
            wrong(format!("Choose one of: {}.", known.join(", ")).into())
        }
    }
}

/// The client key of a caller that names none: the same form for the same repository is the same ticket.
fn hash_of(repo: &str, draft: &Draft) -> String {
    let form = json!([repo, draft]);
    format!("form:{}", hex::encode(sha256(form.to_string().as_bytes())))
}

/// Makes a ticket for a group, or answers the one that the same client key has made.
///
/// # Errors
/// See [`TicketError`]; after [`TicketError::Pending`] the ticket will still come, and asking again with the same key
/// answers it, with the state `pending` until then.
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
    let client_key = client_key.map(|key| format!("key:{}", text::cut_chars(key, 200)));
    if let Some(key) = &client_key
        && let Some(ticket) = repeated(app, org.id, group.id, link, key).await?
    {
        return Ok(ticket);
    }
    let repo = form.repo.trim();
    if repo.is_empty() {
        return Err(TicketError::Field("repo", "Repository is required".into()));
    }
    let opened = backends::open(app, org.id, link, repo).await?;
    if !opened.backend.capabilities().create {
        return Err(TicketError::Refused(
            "This tracker takes no new issues from here.".into(),
        ));
    }
    let mut draft = form.check(opened.backend.form_fields())?;
    let form_hash = hash_of(repo, &draft);
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
        client_key: client_key.unwrap_or(form_hash),
        marker,
        state: TicketStatus::Pending,
        repo_name: repo.to_owned(),
        title: draft.title.clone(),
        description: String::new(),
        draft: serde_json::to_string(&draft)
            .map_err(|error| TicketError::App(crate::error::AppError::internal(error)))?,
        created_by: actor.name.clone(),
    };
    let (ticket, known) = put_intent(app, new, project).await?;
    if ticket.state == TicketStatus::Linked || ticket.state == TicketStatus::Gone {
        return Ok(ticket);
    }
    match finish_or_wait(app, org.id, ticket.id, Some(opened.backend)).await {
        // The same request again is answered with its ticket, which may still be pending.
        Err(TicketError::Pending | TicketError::Busy(..) | TicketError::Limited(..)) if known => {
            find(app, org.id, ticket.id).await
        }
        ended => ended,
    }
}

/// The ticket that this link made or makes for the same client key, whatever has become of link, repository and form
/// since. A pending one is finished on the way, if that is possible now.
async fn repeated(
    app: &App,
    org: OrgId,
    group: GroupId,
    link: LinkId,
    key: &str,
) -> Result<Option<Ticket>, TicketError> {
    let key = key.to_owned();
    let known = app
        .db
        .read(move |conn| Ok::<_, TicketError>(store::find_by_client_key(conn, org, group, &key)?))
        .await?;
    let Some(ticket) = known.filter(|ticket| ticket.link_id == link) else {
        return Ok(None);
    };
    match ticket.state {
        TicketStatus::Failed => return Ok(None),
        TicketStatus::Linked | TicketStatus::Gone => return Ok(Some(ticket)),
        TicketStatus::Pending => {}
    }
    let backend = match backends::open_for(app, &ticket).await {
        Ok(backend) => backend,
        Err(TicketError::App(error)) => return Err(error.into()),
        Err(_) => return Ok(Some(ticket)),
    };
    match finish_or_wait(app, org, ticket.id, Some(backend)).await {
        Err(TicketError::Pending | TicketError::Busy(..)) => {
            find(app, org, ticket.id).await.map(Some)
        }
        ended => ended.map(Some),
    }
}

async fn find(app: &App, org: OrgId, id: TicketId) -> Result<Ticket, TicketError> {
    app.db
        .read(move |conn| store::find(conn, org, id)?.ok_or(TicketError::NotFound))
        .await
}

/// Tries again what was refused: a ticket that was not made is made as it was asked for, one that exists is told of
/// its error.
///
/// # Errors
/// See [`TicketError`].
pub async fn retry(
    app: &App,
    org: OrgId,
    group: GroupId,
    id: TicketId,
) -> Result<Ticket, TicketError> {
    let ticket = find(app, org, id).await?;
    if matches!(ticket.state, TicketStatus::Linked | TicketStatus::Gone) {
        sync::tell_again(app, group, &ticket).await?;
        return find(app, org, id).await;
    }
    let now = app.clock.now();
    app.db
        .write(move |tx| {
            if store::reopen(tx, org, id, now)? {
                let safety = FinishCreate {
                    org,
                    ticket: id,
                    link: ticket.link_id,
                };
                enqueue_at(tx, &safety, now.plus(SAFETY_DELAY), now)?;
            }
            Ok::<_, TicketError>(())
        })
        .await?;
    finish_or_wait(app, org, id, None).await
}

/// The ticket of this request, and whether it was asked for before and is still being made.
async fn put_intent(
    app: &App,
    new: NewTicket,
    project: &Project,
) -> Result<(Ticket, bool), TicketError> {
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
                        return Ok((known, true));
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
            Ok::<_, TicketError>((ticket, false))
        })
        .await
}

/// How finishing went.
pub(super) enum Finish {
    /// It is linked or was before.
    Ended(Box<Ticket>),
    /// The tracker refused it just now, for this reason.
    Refused(TicketError),
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
            Finish::Refused(error) => return Err(error),
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
        let ticket = find(app, org, id).await?;
        return Ok(match ticket.state {
            TicketStatus::Pending => Finish::Taken,
            _ => Finish::Ended(Box::new(ticket)),
        });
    };
    let done = tokio::select! {
        done = finish_claimed(app, &ticket, &owner, backend) => done,
        () = keep_claim(app, org, id, &owner) => Err(TicketError::Pending),
    };
    let (error, reason) = match done {
        Ok(made) => {
            return link_made(app, ticket, made)
                .await
                .map(|ticket| Finish::Ended(Box::new(ticket)));
        }
        Err(TicketError::NotFound) => {
            let reason = "The connection to this workspace was removed.".to_owned();
            (TicketError::Refused(reason.clone()), reason)
        }
        Err(error) => match &error {
            TicketError::Refused(reason) => (TicketError::Refused(reason.clone()), reason.clone()),
            TicketError::Field(_, reason) => {
                let reason = reason.clone().into_owned();
                (error, reason)
            }
            TicketError::Fields(fields) => {
                let reason = super::fields_text(fields);
                (error, reason)
            }
            later => {
                let text = match later {
                    TicketError::Busy(text, _) | TicketError::Limited(text, _) => text.clone(),
                    _ => "No answer in time; looking whether the ticket was made.".to_owned(),
                };
                release(app, org, id, owner, text).await?;
                return Err(error);
            }
        },
    };
    refuse(app, &ticket, reason).await?;
    Ok(Finish::Refused(error))
}

/// Lets others finish the ticket.
async fn release(
    app: &App,
    org: OrgId,
    id: TicketId,
    owner: String,
    why: String,
) -> Result<(), TicketError> {
    app.db
        .write(move |tx| Ok(store::release(tx, org, id, &owner, Some(&why))?))
        .await
}

/// Renews a claim while its holder works. Ends when the claim is lost: taken by another, or not renewed in time
/// because the database does not answer.
async fn keep_claim(app: &App, org: OrgId, id: TicketId, owner: &str) {
    let mut renewed = tokio::time::Instant::now();
    while renewed.elapsed() < LEASE {
        tokio::time::sleep(BEAT).await;
        let (owner, until) = (owner.to_owned(), app.clock.now().plus(LEASE));
        let beat = app
            .db
            .write(move |tx| Ok::<_, TicketError>(store::extend(tx, org, id, &owner, until)?));
        match beat.await {
            Ok(true) => renewed = tokio::time::Instant::now(),
            Ok(false) => return,
            Err(_) => {}
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
                LEASE,
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
    let until = app.clock.now().plus(LEASE);
    let still_ours = app
        .db
        .write(move |tx| {
            // The lease covers the call that follows, from now.
            Ok::<_, TicketError>(
                store::note_attempt(tx, org, id, &owner, at)?
                    && store::extend(tx, org, id, &owner, until)?,
            )
        })
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
        description: remote.description,
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
