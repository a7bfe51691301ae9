//! The door for programs: `/api/{project}/envelope/` and `/store/`, as Sentry's SDKs speak to them (sentry.md §11).
//!
//! The DSN's key is the credential. A body is decoded and cut into items while it arrives, within a budget of memory
//! that all requests share ([`budget`]); its event is read and grouped ([`groups::NewEvent`]), and written in one batched write, so that
//! many events share a commit. The answer is given after COMMIT: what an SDK was told to be accepted is on disk.
//! What we have no use for (transactions, sessions, check-ins, …) is accepted and dropped, because an SDK that
//! is refused would stop sending errors too.

pub mod api;
mod body;
mod budget;
mod keys;
mod reply;

use std::sync::Arc;

use actix_web::web::Payload;

use crate::app::App;
use crate::features::groups::{self, Known, NewEvent, Recorded};
use crate::kit::db::DbError;
use crate::sentry::auth::{self, Credentials};
use crate::sentry::envelope::{Envelope, Header};
use crate::sentry::event_id::EventId;

use body::Arrival;
use budget::{Budget, Reserved};
use keys::Key;
use reply::Refusal;

/// Events up to this size, in bytes, are read where they arrived; larger ones on a blocking thread, one at a time.
const INLINE: usize = 128 * 1024;

/// What kind of body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Items with headers.
    Envelope,
    /// One event, as JSON.
    Store,
}

/// A request, but for its body.
#[derive(Debug, Clone)]
struct Head {
    form: Form,
    /// Project id of the path, as sent.
    project: String,
    /// What header and query say.
    credentials: Option<Credentials>,
    /// `Content-Encoding`.
    encoding: Option<String>,
}

impl Head {
    /// Whose event it is, by all that names a key. A key that was named outside the body has been looked up.
    async fn judge(&self, app: &App, header: &Header, key: Option<Key>) -> Result<Key, Refusal> {
        let dsn = header.dsn.as_deref();
        let credentials = auth::with_envelope(self.credentials.clone(), dsn, &self.project)?;
        match key {
            Some(key) => Ok(key),
            None => keys::find(app, &credentials.public_key, &self.project).await,
        }
    }
}

/// Reads a body as it arrives, and stores its event; answers the id of the event, if it held or named one.
async fn receive(
    app: &App,
    head: Head,
    payload: Payload,
    announced: Option<usize>,
) -> Result<Option<EventId>, Refusal> {
    let budget = app.cache::<Budget>();
    let (key, envelope, mut reserved) = arrive(app, &budget, &head, payload, announced).await?;
    let id = envelope.header.event_id;
    let Some(payload) = envelope.event else {
        return Ok(id);
    };
    let (now, large) = (app.clock.now(), payload.len() > INLINE);
    let read = move || {
        let payload = payload.into_bytes();
        NewEvent::read(key.org, key.project, &payload, id, now)
    };
    let event = if large {
        let turn = reserved.turn().await?;
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read()
        });
        read.await.map_err(|_| Refusal::internal())??
    } else {
        read()?
    };
    let id = event.event_id;
    // Once here, once in the statement that writes it.
    reserved.resize(2 * event.body.len()).await?;
    store(app, event).await?;
    Ok(Some(id))
}

/// Reads a body to its end. Whoever names no good key is refused as soon as that can be known.
async fn arrive(
    app: &App,
    budget: &Budget,
    head: &Head,
    payload: Payload,
    announced: Option<usize>,
) -> Result<(Key, Envelope, Reserved), Refusal> {
    let named = match &head.credentials {
        Some(credentials) => Some(keys::find(app, &credentials.public_key, &head.project).await?),
        None => None,
    };
    let encoding = head.encoding.as_deref();
    let mut arrival = Arrival::new(budget, payload, announced, head.form, encoding)?;
    let mut judged = None;
    while arrival.more().await? {
        if let (None, Some(header)) = (judged, arrival.header()) {
            judged = Some(head.judge(app, header, named).await?);
        }
    }
    let (envelope, reserved) = arrival.finish()?;
    let key = match judged {
        Some(key) => key,
        None => head.judge(app, &envelope.header, named).await?,
    };
    Ok((key, envelope, reserved))
}

/// Writes the event and learns where it went.
async fn store(app: &App, event: NewEvent) -> Result<(), Refusal> {
    let known = app.cache::<Known>();
    // A hint is good for one run of the closure: when it runs again, the hint may be why.
    let mut hint = known.hint(&event);
    let event = Arc::new(event);
    let recorded = {
        let event = Arc::clone(&event);
        app.db
            .write_batched(move |tx| Ok::<_, DbError>(groups::record(tx, &event, hint.take())?))
            .await?
    };
    known.learn(&event, recorded);
    match recorded {
        Recorded::NoProject => Err(Refusal::unknown_key()),
        Recorded::Counted(_) | Recorded::CountedOnce(_) | Recorded::Duplicate => Ok(()),
    }
}
