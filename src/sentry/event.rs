//! The error event, read from whatever an SDK sends (sentry.md §11, clients.md §2).
//!
//! A field of a wrong type is dropped and named in [`Event::errors`]; the event survives. What only a
//! page shows (variables, contexts, breadcrumbs, …) stays raw JSON and costs nothing on the way in.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use crate::sentry::event_id::EventId;
use crate::sentry::fields::{Tags, Texts, name};
use crate::sentry::frames::{Frame, Stacktrace, Variant};
use crate::sentry::lenient::{AnyText, Faults, Lenient, Many, Slot, record};
use crate::sentry::message::Message;

/// Largest event, in bytes (sentry.md §11.5).
pub const MAX_EVENT: usize = 1_000_000;

pub use crate::sentry::fields::{Level, MAX_NAME, MAX_TAGS, Tag, readable};

/// Why bytes are no event at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event is not a JSON object (line {line}, column {column})")]
pub struct NotAnEvent {
    /// Line of the first byte that does not fit, from 1.
    pub line: usize,
    /// Column of that byte.
    pub column: usize,
}

record! {
    /// The top level; every field is cut out first and read alone, so that one cannot spoil another.
    struct Top<'a> {
        event_id: &'a RawValue = "event_id",
        timestamp: &'a RawValue = "timestamp",
        platform: &'a RawValue = "platform",
        level: &'a RawValue = "level",
        logger: &'a RawValue = "logger",
        transaction: &'a RawValue = "transaction" | "culprit",
        title: &'a RawValue = "title",
        server_name: &'a RawValue = "server_name",
        release: &'a RawValue = "release",
        dist: &'a RawValue = "dist",
        environment: &'a RawValue = "environment",
        message: &'a RawValue = "message",
        logentry: &'a RawValue = "logentry" | "sentry.interfaces.Message",
        exception: &'a RawValue = "exception" | "sentry.interfaces.Exception",
        threads: &'a RawValue = "threads",
        stacktrace: &'a RawValue = "stacktrace" | "sentry.interfaces.Stacktrace",
        tags: &'a RawValue = "tags",
        user: &'a RawValue = "user" | "sentry.interfaces.User",
        request: &'a RawValue = "request" | "sentry.interfaces.Http",
        sdk: &'a RawValue = "sdk",
        fingerprint: &'a RawValue = "fingerprint",
        contexts: &'a RawValue = "contexts",
        breadcrumbs: &'a RawValue = "breadcrumbs" | "sentry.interfaces.Breadcrumbs",
        modules: &'a RawValue = "modules",
        extra: &'a RawValue = "extra",
    }
}

record! {
    /// How the error was caught.
    pub struct Mechanism<'a> {
        /// Name of the integration that caught it.
        kind: Cow<'a, str> = "type",
        /// Whether the program went on.
        handled: bool = "handled",
        /// Whether type and value were made up by the SDK.
        synthetic: bool = "synthetic",
    }
}

record! {
    /// One exception of a chain; the last one in the list is the one that was thrown last.
    pub struct Exception<'a> keep 50 {
        /// Class of the error.
        kind: Cow<'a, str> = "type",
        /// Its message; SDKs also send objects here.
        value: AnyText<'a> = "value",
        /// Module of the class.
        module: Cow<'a, str> = "module",
        /// How it was caught.
        mechanism: Mechanism<'a> = "mechanism",
        /// Where.
        stacktrace: Stacktrace<'a> = "stacktrace" | "sentry.interfaces.Stacktrace",
        /// Thread it happened on.
        thread_id: Cow<'a, str> = "thread_id",
    }
}

impl<'a> Exception<'a> {
    /// The message, unless it is empty.
    pub fn value_text(&self) -> Option<&str> {
        self.value
            .get()
            .map(|value| &*value.0)
            .filter(|value| !value.trim().is_empty())
    }

    /// The frames, oldest first.
    pub fn frames(&self) -> &[Frame<'a>] {
        self.stacktrace.get().map_or(&[], Stacktrace::frames)
    }

    /// How many older frames were not kept.
    pub fn omitted_frames(&self) -> usize {
        self.stacktrace.get().map_or(0, Stacktrace::omitted)
    }

    /// Whether type and value say nothing, because the SDK made them up.
    pub fn is_synthetic(&self) -> bool {
        self.mechanism
            .get()
            .is_some_and(|mechanism| mechanism.synthetic.get() == Some(&true))
    }
}

record! {
    /// A thread of the program.
    pub struct Thread<'a> keep 500 {
        /// Its id.
        id: Cow<'a, str> = "id",
        /// Its name.
        name: Cow<'a, str> = "name",
        /// Whether it ended the program.
        crashed: bool = "crashed",
        /// Whether it was the one that reported.
        current: bool = "current",
        /// What it did, as sent: a program may have hundreds of threads, and one of them matters.
        stacktrace: &'a RawValue = "stacktrace",
    }
}

record! {
    /// Whom it happened to.
    pub struct User<'a> {
        /// Id in the reporting program.
        id: Cow<'a, str> = "id",
        /// E-mail address.
        email: Cow<'a, str> = "email",
        /// Login name.
        username: Cow<'a, str> = "username",
        /// Address, or `{{auto}}` for the address the event came from.
        ip_address: Cow<'a, str> = "ip_address",
        /// Name for people.
        name: Cow<'a, str> = "name",
    }
}

record! {
    /// The HTTP request that was being served.
    pub struct Request<'a> {
        /// Address without the query.
        url: Cow<'a, str> = "url",
        /// Method.
        method: Cow<'a, str> = "method",
    }
}

record! {
    /// The SDK that reported.
    pub struct Sdk<'a> {
        /// Such as `sentry.python`.
        name: Cow<'a, str> = "name",
        /// Its version.
        version: Cow<'a, str> = "version",
    }
}

/// Fields that are shown and never judged.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawParts<'a> {
    /// Contexts: device, runtime, trace, ….
    pub contexts: Option<&'a RawValue>,
    /// What happened before.
    pub breadcrumbs: Option<&'a RawValue>,
    /// Installed packages and versions.
    pub modules: Option<&'a RawValue>,
    /// Free data.
    pub extra: Option<&'a RawValue>,
    /// The request with headers, data and cookies.
    pub request: Option<&'a RawValue>,
    /// The user with fields of the program's own.
    pub user: Option<&'a RawValue>,
}

/// An event.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Id in the payload; the envelope's wins over it (sentry.md §11.5).
    pub event_id: Option<EventId>,
    /// When it happened, by the client's clock.
    pub timestamp: Option<DateTime<Utc>>,
    /// Platform of the SDK; `other` when not told.
    pub platform: Cow<'a, str>,
    /// How bad it is; `error` when not told.
    pub level: Level,
    /// Title that the client wants.
    pub title: Option<Cow<'a, str>>,
    /// Logger that reported.
    pub logger: Option<Cow<'a, str>>,
    /// Route, task or view it happened in.
    pub transaction: Option<Cow<'a, str>>,
    /// Host it happened on.
    pub server_name: Option<Cow<'a, str>>,
    /// Release of the program.
    pub release: Option<Cow<'a, str>>,
    /// Build of the release.
    pub dist: Option<Cow<'a, str>>,
    /// Environment, such as `production`.
    pub environment: Option<Cow<'a, str>>,
    /// Its message.
    pub message: Option<Message<'a>>,
    /// Its exceptions; the last is the main one.
    pub exceptions: Vec<Exception<'a>>,
    /// Its threads.
    pub threads: Vec<Thread<'a>>,
    /// A stack without an exception.
    pub stacktrace: Option<Stacktrace<'a>>,
    /// The stack of the thread that matters, see [`main_thread`].
    pub thread_stack: Option<Stacktrace<'a>>,
    /// The client's own tags.
    pub tags: Vec<Tag<'a>>,
    /// Whom it happened to.
    pub user: Option<User<'a>>,
    /// The request that was being served.
    pub request: Option<Request<'a>>,
    /// The SDK.
    pub sdk: Option<Sdk<'a>>,
    /// How the client wants it grouped; empty when it does not care.
    pub fingerprint: Vec<Cow<'a, str>>,
    /// What is shown and never judged.
    pub raw: RawParts<'a>,
    /// Paths of fields that were dropped because of their type, such as `exception.values.0.type`.
    pub errors: Vec<String>,
}

/// The thread that matters: the crashed, the current or the only one (sentry.md §5.1).
pub fn main_thread<'t, 'a>(threads: &'t [Thread<'a>]) -> Option<&'t Thread<'a>> {
    let flagged = |flag: fn(&Thread<'a>) -> bool| threads.iter().find(|thread| flag(thread));
    flagged(|thread| thread.crashed.get() == Some(&true))
        .or_else(|| flagged(|thread| thread.current.get() == Some(&true)))
        .or(match threads {
            [only] => Some(only),
            _ => None,
        })
}

struct Reader {
    faults: Faults,
}

impl Reader {
    fn read<'a, T: Lenient<'a>>(
        &mut self,
        field: &'static str,
        raw: &Slot<&'a RawValue>,
    ) -> Option<T> {
        let slot = match raw
            .get()
            .map(|raw| serde_json::from_str::<Slot<T>>(raw.get()))
        {
            Some(Ok(slot)) => slot,
            // Valid JSON that no type takes, such as 1e999.
            Some(Err(_)) => Slot::Bad,
            None => Slot::Absent,
        };
        self.faults.slot(field, &slot);
        slot.into_option()
    }

    fn name<'a>(&mut self, field: &'static str, raw: &Slot<&'a RawValue>) -> Option<Cow<'a, str>> {
        self.read::<Cow<'a, str>>(field, raw)
            .map(name)
            .filter(|name| !name.is_empty())
    }
}

impl<'a> Event<'a> {
    /// Reads an event; get the text from [`readable`].
    ///
    /// # Errors
    /// Only when the text is no JSON object; everything else is dropped and noted.
    pub fn parse(text: &'a str) -> Result<Self, NotAnEvent> {
        let top: Slot<Top<'a>> = serde_json::from_str(text).map_err(|error| NotAnEvent {
            line: error.line(),
            column: error.column(),
        })?;
        let top = top.into_option().ok_or(NotAnEvent { line: 1, column: 1 })?;
        let mut reader = Reader {
            faults: Faults::default(),
        };
        let r = &mut reader;
        let message = r.read::<Message<'a>>("message", &top.message);
        let threads = r
            .read::<Many<Thread<'a>>>("threads", &top.threads)
            .unwrap_or_default()
            .items;
        let thread_stack = main_thread(&threads).map_or(Slot::Absent, |thread| thread.stacktrace);
        let event = Self {
            event_id: r.read("event_id", &top.event_id),
            timestamp: r.read("timestamp", &top.timestamp),
            platform: r
                .name("platform", &top.platform)
                .unwrap_or(Cow::Borrowed("other")),
            level: r.read("level", &top.level).unwrap_or_default(),
            title: r.name("title", &top.title),
            logger: r.name("logger", &top.logger),
            transaction: r.name("transaction", &top.transaction),
            server_name: r.name("server_name", &top.server_name),
            release: r.name("release", &top.release),
            dist: r.name("dist", &top.dist),
            environment: r.name("environment", &top.environment),
            message: r.read("logentry", &top.logentry).or(message),
            exceptions: r
                .read::<Many<Exception<'a>>>("exception", &top.exception)
                .unwrap_or_default()
                .items,
            threads,
            thread_stack: r.read("threads.stacktrace", &thread_stack),
            stacktrace: r.read("stacktrace", &top.stacktrace),
            tags: r
                .read::<Tags<'a>>("tags", &top.tags)
                .map_or_else(Vec::new, |tags| tags.0),
            user: r.read("user", &top.user),
            request: r.read("request", &top.request),
            sdk: r.read("sdk", &top.sdk),
            fingerprint: r
                .read::<Texts<'a>>("fingerprint", &top.fingerprint)
                .map_or_else(Vec::new, |texts| texts.0),
            raw: RawParts {
                contexts: top.contexts.into_option(),
                breadcrumbs: top.breadcrumbs.into_option(),
                modules: top.modules.into_option(),
                extra: top.extra.into_option(),
                request: top.request.into_option(),
                user: top.user.into_option(),
            },
            errors: Vec::new(),
        };
        Ok(Self {
            errors: reader.faults.into_paths(),
            ..event
        })
    }

    /// The exception that names the event: the last one.
    pub fn main_exception(&self) -> Option<&Exception<'a>> {
        self.exceptions.last()
    }

    /// The stack of an event whose exceptions have none: its own, else the one of the thread that
    /// matters.
    pub fn loose_frames(&self) -> &[Frame<'a>] {
        self.stacktrace
            .as_ref()
            .or(self.thread_stack.as_ref())
            .map_or(&[], Stacktrace::frames)
    }

    /// All stacks that say where it happened, in the order of the exceptions; the main one is last.
    pub fn stacks(&self) -> Vec<&[Frame<'a>]> {
        let stacks: Vec<_> = self
            .exceptions
            .iter()
            .map(Exception::frames)
            .filter(|frames| !frames.is_empty())
            .collect();
        match self.loose_frames() {
            loose if stacks.is_empty() && !loose.is_empty() => vec![loose],
            _ => stacks,
        }
    }

    /// Which frames speak for the application.
    pub fn variant(&self) -> Variant {
        Variant::of(self.stacks().into_iter().flatten())
    }

    /// The last `limit` frames that speak for the application, oldest first: where to look for the
    /// commit to blame (sentry.md §5.1).
    pub fn suspect_frames(&self, limit: usize) -> Vec<&Frame<'a>> {
        let variant = self.variant();
        let mut frames: Vec<_> = self
            .stacks()
            .into_iter()
            .flatten()
            .filter(|frame| variant.takes(frame))
            .collect();
        frames.drain(..frames.len().saturating_sub(limit));
        frames
    }

    /// Name of the SDK, or nothing.
    pub fn sdk_name(&self) -> &str {
        self.sdk
            .as_ref()
            .and_then(|sdk| sdk.name.text())
            .unwrap_or_default()
    }

    /// Whether this is an error rather than a message.
    pub fn is_error(&self) -> bool {
        !self.exceptions.is_empty()
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
