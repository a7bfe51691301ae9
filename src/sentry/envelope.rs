//! Envelopes: a header line and items, cut apart without copying (sentry.md §11.4, §11.5).

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::sentry::event::MAX_EVENT;
use crate::sentry::event_id::EventId;
use crate::sentry::lenient::{Key, Slot, record};
use crate::sentry::ratelimit::Category;

/// Items of one envelope; real SDKs send a handful.
pub const MAX_ITEMS: usize = 1000;
/// Largest check-in, in bytes.
pub const MAX_CHECK_IN: usize = 100_000;
/// Largest attachment and largest sum of attachments, in bytes.
pub const MAX_ATTACHMENTS: usize = 100_000_000;
/// Largest profile, in bytes.
pub const MAX_PROFILE: usize = 50_000_000;
/// Largest replay item as sent, in bytes.
pub const MAX_REPLAY: usize = 10_000_000;

/// Why an envelope is refused. Positions of items count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The first line is no JSON object.
    #[error("the envelope header is not a JSON object")]
    BadHeader,
    /// `sent_at` appears twice.
    #[error("the envelope header holds sent_at twice")]
    DuplicateSentAt,
    /// `event_id` is neither 32 hex digits nor a dashed UUID.
    #[error("the envelope header holds a malformed event_id")]
    BadEventId,
    /// The header line of an item is no JSON object with a `type`.
    #[error("the header of item {item} is not a JSON object with a type")]
    BadItemHeader {
        /// Position of the item.
        item: usize,
    },
    /// `length` is no whole number.
    #[error("the length of item {item} is not a whole number")]
    BadLength {
        /// Position of the item.
        item: usize,
    },
    /// The payload is shorter than its `length`.
    #[error("the payload of item {item} is shorter than its length")]
    Truncated {
        /// Position of the item.
        item: usize,
    },
    /// Something else than a line end follows the payload.
    #[error("the payload of item {item} is not followed by a line end")]
    BadEnd {
        /// Position of the item.
        item: usize,
    },
    /// More than [`MAX_ITEMS`].
    #[error("the envelope holds more than {MAX_ITEMS} items")]
    TooManyItems,
    /// Two events, or an event and a transaction.
    #[error("the envelope holds more than one event")]
    SeveralEvents,
    /// The event is larger than allowed.
    #[error("the event is larger than {MAX_EVENT} bytes")]
    EventTooLarge,
}

impl EnvelopeError {
    /// Stable code for error answers and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadHeader => "invalid_envelope_header",
            Self::DuplicateSentAt => "duplicate_sent_at",
            Self::BadEventId => "invalid_event_id",
            Self::BadItemHeader { .. } => "invalid_item_header",
            Self::BadLength { .. } => "invalid_item_length",
            Self::Truncated { .. } => "truncated_item",
            Self::BadEnd { .. } => "invalid_item_end",
            Self::TooManyItems => "too_many_items",
            Self::SeveralEvents => "several_events",
            Self::EventTooLarge => "event_too_large",
        }
    }

    /// Whether the answer is 413 rather than 400.
    pub fn is_too_large(self) -> bool {
        matches!(self, Self::EventTooLarge | Self::TooManyItems)
    }
}

/// First line of an envelope. Unknown keys are fine; the whole line stays in [`Envelope::header_line`].
#[derive(Debug, Clone, Default)]
pub struct Header<'a> {
    /// Id of the event; wins over the one in the payload.
    pub event_id: Option<EventId>,
    /// The client's DSN, not yet parsed.
    pub dsn: Option<Cow<'a, str>>,
    /// When the client sent it, by its own clock; nothing when unreadable.
    pub sent_at: Option<DateTime<Utc>>,
    /// Why the header cannot be used although it is JSON.
    fault: Option<EnvelopeError>,
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut header = Header::default();
        let mut sent_at = false;
        while let Some(key) = map.next_key::<Key<'de>>()? {
            match &*key.0 {
                "event_id" => match map.next_value::<Slot<EventId>>()? {
                    Slot::Value(id) => header.event_id = Some(id),
                    Slot::Absent => {}
                    Slot::Bad => header.fault = Some(EnvelopeError::BadEventId),
                },
                "dsn" => header.dsn = map.next_value::<Slot<Cow<'de, str>>>()?.into_option(),
                "sent_at" => {
                    header.sent_at = map.next_value::<Slot<DateTime<Utc>>>()?.into_option();
                    if std::mem::replace(&mut sent_at, true) {
                        header.fault = Some(EnvelopeError::DuplicateSentAt);
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(header)
    }
}

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_map(HeaderVisitor)
            .map_err(D::Error::custom)
    }
}

macro_rules! item_kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $category:expr;)*) => {
        /// What an item is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ItemKind {
            $($(#[$doc])* $name,)*
            /// A type that we do not know: skipped, never an error.
            Unknown,
        }

        impl ItemKind {
            fn from_wire(text: &str) -> Self {
                match text { $($text => Self::$name,)* _ => Self::Unknown }
            }

            /// The rate-limit category the item counts in.
            pub fn category(self) -> Category {
                match self { $(Self::$name => $category,)* Self::Unknown => Category::Default }
            }
        }
    };
}

item_kinds! {
    /// An error or a message.
    Event = "event", Category::Error;
    /// A performance transaction.
    Transaction = "transaction", Category::Transaction;
    /// A file.
    Attachment = "attachment", Category::Attachment;
    /// One session update.
    Session = "session", Category::Session;
    /// Sessions counted by the client.
    Sessions = "sessions", Category::Session;
    /// Words of a user, old form.
    UserReport = "user_report", Category::Feedback;
    /// Words of a user.
    Feedback = "feedback", Category::Feedback;
    /// What the client itself dropped.
    ClientReport = "client_report", Category::Internal;
    /// Description of a replay.
    ReplayEvent = "replay_event", Category::Replay;
    /// Data of a replay.
    ReplayRecording = "replay_recording", Category::Replay;
    /// A profile.
    Profile = "profile", Category::Profile;
    /// A piece of a continuous profile.
    ProfileChunk = "profile_chunk", Category::ProfileChunk;
    /// A check-in of a cron monitor.
    CheckIn = "check_in", Category::Monitor;
    /// Metrics.
    Statsd = "statsd", Category::Default;
    /// Names of metrics.
    MetricMeta = "metric_meta", Category::Default;
    /// A span.
    Span = "span", Category::Span;
    /// Log lines.
    Log = "log", Category::LogItem;
    /// Trace metrics.
    TraceMetric = "trace_metric", Category::TraceMetric;
    /// A security report of a browser.
    Security = "security", Category::Security;
    /// A crash report of the Unreal engine.
    UnrealReport = "unreal_report", Category::Error;
    /// A form with an event inside.
    FormData = "form_data", Category::Error;
}

impl ItemKind {
    /// Largest payload, in bytes; nothing when the limit of the whole body is enough.
    pub fn limit(self) -> Option<usize> {
        match self {
            Self::Event | Self::Transaction | Self::Span | Self::Statsd | Self::TraceMetric => {
                Some(MAX_EVENT)
            }
            Self::CheckIn => Some(MAX_CHECK_IN),
            Self::Attachment => Some(MAX_ATTACHMENTS),
            Self::Profile | Self::ProfileChunk => Some(MAX_PROFILE),
            Self::ReplayEvent | Self::ReplayRecording => Some(MAX_REPLAY),
            _ => None,
        }
    }
}

record! {
    struct ItemHeader<'a> {
        kind: Cow<'a, str> = "type",
        length: usize = "length",
    }
}

impl crate::sentry::lenient::Lenient<'_> for usize {
    fn from_number(number: crate::sentry::lenient::Number) -> Option<Self> {
        use crate::sentry::lenient::Number;
        match number {
            Number::Int(n) => Self::try_from(n).ok(),
            Number::Big(n) => Self::try_from(n).ok(),
            Number::Float(_) => None,
        }
    }
}

/// One item, borrowed from the envelope.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// What it is.
    pub kind: ItemKind,
    /// Its header line as sent.
    pub header_line: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
    /// Whether it is larger than its kind may be. Such an item counts as dropped; a too large event
    /// refuses the envelope instead.
    pub oversized: bool,
}

/// An envelope, borrowed from the decoded request body.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// What its first line says.
    pub header: Header<'a>,
    /// The first line as sent.
    pub header_line: &'a [u8],
    /// Its items, unknown ones included.
    pub items: Vec<Item<'a>>,
}

impl<'a> Envelope<'a> {
    /// Cuts an envelope apart.
    ///
    /// # Errors
    /// See [`EnvelopeError`]. An item of an unknown type is no error, nor is an envelope of none.
    pub fn parse(body: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (header_line, mut rest) = split_line(body);
        let header = std::str::from_utf8(header_line)
            .ok()
            .and_then(|line| serde_json::from_str(line).ok());
        let header: Header<'a> = header.ok_or(EnvelopeError::BadHeader)?;
        if let Some(fault) = header.fault {
            return Err(fault);
        }
        let mut items = Vec::new();
        let mut attachments = 0_usize;
        while !rest.is_empty() {
            // Line ends after the last item are nothing; between items they are.
            if rest.first().is_some_and(u8::is_ascii_whitespace) && rest.trim_ascii().is_empty() {
                break;
            }
            if items.len() >= MAX_ITEMS {
                return Err(EnvelopeError::TooManyItems);
            }
            let (mut item, tail) = parse_item(rest, items.len())?;
            if item.kind == ItemKind::Attachment {
                attachments = attachments.saturating_add(item.payload.len());
                item.oversized |= attachments > MAX_ATTACHMENTS;
            }
            items.push(item);
            rest = tail;
        }
        let count = |kind| {
            items
                .iter()
                .filter(|item: &&Item<'_>| item.kind == kind)
                .count()
        };
        let events = count(ItemKind::Event);
        if events > 1 || (events == 1 && count(ItemKind::Transaction) > 0) {
            return Err(EnvelopeError::SeveralEvents);
        }
        if items
            .iter()
            .any(|item| item.kind == ItemKind::Event && item.oversized)
        {
            return Err(EnvelopeError::EventTooLarge);
        }
        Ok(Self {
            header,
            header_line,
            items,
        })
    }

    /// The payload of the event, if there is one.
    pub fn event(&self) -> Option<&'a [u8]> {
        self.items
            .iter()
            .find(|item| item.kind == ItemKind::Event)
            .map(|item| item.payload)
    }
}

/// Checks a body of `/store/`: one JSON event, sent without an envelope.
///
/// # Errors
/// When it is larger than an event may be.
pub fn store_event(body: &[u8]) -> Result<&[u8], EnvelopeError> {
    if body.len() > MAX_EVENT {
        Err(EnvelopeError::EventTooLarge)
    } else {
        Ok(body)
    }
}

/// The first line without its LF, and what follows.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', bytes).and_then(|at| bytes.split_at_checked(at)) {
        Some((line, rest)) => (line, rest.get(1..).unwrap_or_default()),
        None => (bytes, &[]),
    }
}

fn parse_item(bytes: &[u8], item: usize) -> Result<(Item<'_>, &[u8]), EnvelopeError> {
    let (header_line, rest) = split_line(bytes);
    let header = std::str::from_utf8(header_line)
        .ok()
        .and_then(|line| serde_json::from_str(line).ok());
    let header = header
        .and_then(Slot::<ItemHeader<'_>>::into_option)
        .ok_or(EnvelopeError::BadItemHeader { item })?;
    let kind = header
        .kind
        .text()
        .map(ItemKind::from_wire)
        .ok_or(EnvelopeError::BadItemHeader { item })?;
    let (payload, rest) = match header.length {
        Slot::Bad => return Err(EnvelopeError::BadLength { item }),
        Slot::Absent => split_line(rest),
        Slot::Value(length) => {
            let (payload, tail) = rest
                .split_at_checked(length)
                .ok_or(EnvelopeError::Truncated { item })?;
            match tail.split_first() {
                None => (payload, tail),
                Some((b'\n', tail)) => (payload, tail),
                Some(_) => return Err(EnvelopeError::BadEnd { item }),
            }
        }
    };
    let oversized = kind.limit().is_some_and(|limit| payload.len() > limit);
    Ok((
        Item {
            kind,
            header_line,
            payload,
            oversized,
        },
        rest,
    ))
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
