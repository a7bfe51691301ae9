//! The door for programs: `/api/{project}/envelope/` and `/store/`, as Sentry's SDKs speak to them (sentry.md §11).
//!
//! The DSN's key is the credential. A body is read within a budget of memory that all requests share, decoded,
//! cut into items; its event is read and grouped ([`groups::NewEvent`]), and written in one batched write, so that
//! many events share a commit. The answer is given after COMMIT: what an SDK was told to be accepted is on disk.
//! What we have no use for (transactions, sessions, check-ins, …) is accepted and dropped, because an SDK that
//! is refused would stop sending errors too.

pub mod api;
mod body;
mod keys;
mod reply;

use std::sync::Arc;

use actix_web::web::Bytes;

use crate::app::App;
use crate::features::groups::{self, Known, NewEvent, Recorded};
use crate::kit::clock::Micros;
use crate::kit::db::DbError;
use crate::sentry::auth::{self, Credentials};
use crate::sentry::decode::{DecodeError, MAX_DECODED, decode};
use crate::sentry::envelope::{Envelope, store_event};
use crate::sentry::event_id::EventId;

use body::{Budget, Reserved};
use keys::Key;
use reply::Refusal;

/// Bodies up to this size are decoded and read where they arrived; larger ones on a blocking thread.
const INLINE: usize = 128 * 1024;
/// What a body may become there, in bytes; what becomes larger is decoded again, one such body at a time.
const INLINE_DECODED: usize = 1_200_000;

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
    /// Decodes the body and reads what is in it, for whoever the key belongs to.
    fn open(&self, raw: &[u8], limit: usize, key: Key, now: Micros) -> Result<Opened, Refusal> {
        let body = decode(self.encoding.as_deref(), raw, limit)?;
        let (id, payload) = match self.form {
            Form::Store => (None, Some(store_event(&body)?)),
            Form::Envelope => {
                let envelope = Envelope::parse(&body)?;
                auth::with_envelope(
                    self.credentials.clone(),
                    envelope.header.dsn.as_deref(),
                    &self.project,
                )?;
                (envelope.header.event_id, envelope.event())
            }
        };
        let Some(payload) = payload else {
            return Ok(Opened { id, event: None });
        };
        let event = NewEvent::read(key.org, key.project, payload, id, now)?;
        Ok(Opened {
            id: Some(event.event_id),
            event: Some(event),
        })
    }

    /// The key that an envelope names in its own header.
    fn key_inside(&self, raw: &[u8], limit: usize) -> Result<String, Refusal> {
        let body = decode(self.encoding.as_deref(), raw, limit)?;
        let dsn = match self.form {
            Form::Store => None,
            Form::Envelope => Envelope::parse(&body)?.header.dsn,
        };
        Ok(auth::with_envelope(None, dsn.as_deref(), &self.project)?.public_key)
    }
}

/// A body that was read.
struct Opened {
    /// Id to answer.
    id: Option<EventId>,
    /// The event, if there is one.
    event: Option<NewEvent>,
}

/// Accepts a body whose bytes are all here, and stores its event.
async fn accept(
    app: &App,
    head: Head,
    key: Option<Key>,
    raw: Bytes,
    mut reserved: Reserved,
) -> Result<Option<EventId>, Refusal> {
    let now = app.clock.now();
    let head = Arc::new(head);
    let key = match key {
        Some(key) => key,
        None => {
            let inside = {
                let head = Arc::clone(&head);
                on_right_thread(app, &raw, move |raw, limit| head.key_inside(raw, limit)).await?
            };
            keys::find(app, &inside, &head.project).await?
        }
    };
    let opened =
        on_right_thread(app, &raw, move |raw, limit| head.open(raw, limit, key, now)).await?;
    drop(raw);
    let Some(event) = opened.event else {
        return Ok(opened.id);
    };
    reserved.resize(event.body.len())?;
    store(app, event).await?;
    Ok(opened.id)
}

/// Runs `work` here when the body is small and stays small, else on a blocking thread; of the bodies that become
/// large only one is in memory at a time.
async fn on_right_thread<T, F>(app: &App, raw: &Bytes, work: F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: Fn(&[u8], usize) -> Result<T, Refusal> + Send + 'static,
{
    if raw.len() <= INLINE {
        let limit = INLINE_DECODED;
        match work(raw, limit) {
            Err(refusal) if refusal.is(&DecodeError::TooLarge { max: limit }) => {}
            done => return done,
        }
    }
    let permit = app.cache::<Budget>().large().await?;
    let raw = raw.clone();
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work(&raw, MAX_DECODED)
    });
    done.await.unwrap_or_else(|_| Err(Refusal::internal()))
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
