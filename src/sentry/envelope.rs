//! Envelopes: a header line and items, cut apart while they arrive (sentry.md §11.4, §11.5).
//!
//! A [`Reader`] takes an envelope in pieces of any size. It keeps the payload of the event; of all other items,
//! which this product has no use for, it counts the bytes and lets them go.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::sentry::event::MAX_EVENT;
use crate::sentry::event_id::EventId;
use crate::sentry::keep::{self, Pieces};
use crate::sentry::lenient::{Key, Slot, record};
use crate::sentry::ratelimit::Category;

/// Items of one envelope; real SDKs send a handful.
pub const MAX_ITEMS: usize = 1000;
/// Longest header line of an envelope or an item, in bytes; real SDKs send a few hundred.
pub const MAX_LINE: usize = 64 * 1024;
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
    /// A header line is longer than [`MAX_LINE`].
    #[error("a header line of the envelope is longer than {MAX_LINE} bytes")]
    LineTooLong,
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
            Self::LineTooLong => "header_too_large",
        }
    }

    /// Whether the answer is 413 rather than 400.
    pub fn is_too_large(self) -> bool {
        matches!(
            self,
            Self::EventTooLarge | Self::TooManyItems | Self::LineTooLong
        )
    }
}

/// First line of an envelope. Unknown keys are fine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Id of the event; wins over the one in the payload.
    pub event_id: Option<EventId>,
    /// The client's DSN, not yet parsed.
    pub dsn: Option<String>,
    /// When the client sent it, by its own clock; nothing when unreadable.
    pub sent_at: Option<DateTime<Utc>>,
    /// Why the header cannot be used although it is JSON.
    fault: Option<EnvelopeError>,
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

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
                "dsn" => {
                    let dsn = map.next_value::<Slot<Cow<'de, str>>>()?.into_option();
                    header.dsn = dsn.map(Cow::into_owned);
                }
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

impl<'de> Deserialize<'de> for Header {
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

/// One item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Length of its payload, in bytes.
    pub size: usize,
    /// Whether it is larger than its kind may be. Such an item counts as dropped; a too large event
    /// refuses the envelope instead.
    pub oversized: bool,
}

/// An envelope that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What its first line says.
    pub header: Header,
    /// Its items, unknown ones included.
    pub items: Vec<Item>,
    /// The payload of the event, if there is one.
    pub event: Option<Pieces>,
}

impl Envelope {
    /// Reads an envelope that is here as a whole.
    ///
    /// # Errors
    /// See [`EnvelopeError`]. An item of an unknown type is no error, nor is an envelope of none.
    pub fn parse(body: &[u8]) -> Result<Self, EnvelopeError> {
        let mut reader = Reader::default();
        reader.push(body)?;
        reader.finish()
    }
}

/// Reads an envelope, or the one event of a `/store/` body, as it arrives.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    /// The header line that is arriving.
    line: Vec<u8>,
    header: Option<Header>,
    items: Vec<Item>,
    event: Option<Pieces>,
    attachments: usize,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// The first line.
    #[default]
    Header,
    /// The header line of an item.
    ItemHeader,
    /// What follows an empty line where an item could start: nothing more may come but white space.
    Blank,
    /// A payload of known length.
    Counted { left: usize },
    /// A payload that ends with its line.
    Line,
    /// What follows a payload of known length: the end of its line.
    LineEnd,
    /// A payload that ends with the body.
    Rest,
}

impl Reader {
    /// A reader for the body of `/store/`: one event, sent without an envelope.
    #[must_use]
    pub fn for_store() -> Self {
        let mut reader = Self {
            state: State::Rest,
            header: Some(Header::default()),
            ..Self::default()
        };
        reader.begin(ItemKind::Event);
        reader
    }

    /// What the first line says, once it has arrived.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Memory that it takes, in bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        let items = self.items.capacity() * std::mem::size_of::<Item>();
        items + self.line.capacity() + self.event.as_ref().map_or(0, Pieces::held)
    }

    /// Memory that it takes at most once so many bytes more have been pushed.
    #[must_use]
    pub fn held_with(&self, more: usize) -> usize {
        // Which item the bytes belong to is not known yet: all may go into the line, or all into the event.
        let line = keep::capacity_with(&self.line, more);
        let event = self
            .event
            .as_ref()
            .map_or(more, |event| event.held_with(more));
        // No item is shorter than eight bytes, and a list doubles when it is full.
        let items = 2 * (self.items.len() + more / 8 + 2).min(MAX_ITEMS);
        line + event + items.max(self.items.capacity()) * std::mem::size_of::<Item>()
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// See [`EnvelopeError`]. After an error the reader is of no use.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), EnvelopeError> {
        while let Some(&next) = bytes.first() {
            bytes = match self.state {
                State::Header | State::ItemHeader => {
                    let (line, rest) = split_line(bytes);
                    if self.line.len() + line.len() > MAX_LINE {
                        return Err(EnvelopeError::LineTooLong);
                    }
                    keep::append(&mut self.line, line);
                    if rest.is_some() {
                        self.header_line()?;
                    }
                    rest.unwrap_or_default()
                }
                State::Blank if bytes.trim_ascii().is_empty() => &[],
                State::Blank => return Err(self.bad_item_header()),
                State::Counted { left } => {
                    let (payload, rest) = bytes.split_at_checked(left).unwrap_or((bytes, &[]));
                    self.payload(payload)?;
                    match left - payload.len() {
                        0 => self.end(State::LineEnd),
                        left => self.state = State::Counted { left },
                    }
                    rest
                }
                State::Line => {
                    let (payload, rest) = split_line(bytes);
                    self.payload(payload)?;
                    if rest.is_some() {
                        self.end(State::ItemHeader);
                    }
                    rest.unwrap_or_default()
                }
                State::LineEnd if next == b'\n' => {
                    self.state = State::ItemHeader;
                    bytes.get(1..).unwrap_or_default()
                }
                State::LineEnd => {
                    let item = self.items.len().saturating_sub(1);
                    return Err(EnvelopeError::BadEnd { item });
                }
                State::Rest => {
                    self.payload(bytes)?;
                    &[]
                }
            };
        }
        Ok(())
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn finish(mut self) -> Result<Envelope, EnvelopeError> {
        let header_line = matches!(self.state, State::Header | State::ItemHeader);
        if header_line && (self.header.is_none() || !self.line.trim_ascii().is_empty()) {
            self.header_line()?;
        }
        match self.state {
            State::Counted { .. } => {
                let item = self.items.len().saturating_sub(1);
                return Err(EnvelopeError::Truncated { item });
            }
            State::Line | State::Rest => self.end(State::Blank),
            State::Header | State::ItemHeader | State::Blank | State::LineEnd => {}
        }
        Ok(Envelope {
            header: self.header.unwrap_or_default(),
            items: self.items,
            event: self.event,
        })
    }

    /// The header line is here as a whole.
    fn header_line(&mut self) -> Result<(), EnvelopeError> {
        let line = std::mem::take(&mut self.line);
        let text = std::str::from_utf8(&line).ok();
        if self.header.is_none() {
            let header: Option<Header> = text.and_then(|line| serde_json::from_str(line).ok());
            let header = header.ok_or(EnvelopeError::BadHeader)?;
            if let Some(fault) = header.fault {
                return Err(fault);
            }
            self.header = Some(header);
            self.state = State::ItemHeader;
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            self.state = State::Blank;
            return Ok(());
        }
        let item = self.items.len();
        if item >= MAX_ITEMS {
            return Err(EnvelopeError::TooManyItems);
        }
        let header = text
            .and_then(|line| serde_json::from_str(line).ok())
            .and_then(Slot::<ItemHeader<'_>>::into_option)
            .ok_or(EnvelopeError::BadItemHeader { item })?;
        let kind = header
            .kind
            .text()
            .map(ItemKind::from_wire)
            .ok_or(EnvelopeError::BadItemHeader { item })?;
        self.only_event(kind)?;
        let length = match header.length {
            Slot::Bad => return Err(EnvelopeError::BadLength { item }),
            Slot::Absent => None,
            Slot::Value(length) => Some(length),
        };
        if kind == ItemKind::Event && length.is_some_and(|length| length > MAX_EVENT) {
            return Err(EnvelopeError::EventTooLarge);
        }
        self.begin(kind);
        match length {
            None => self.state = State::Line,
            Some(0) => self.end(State::LineEnd),
            Some(left) => self.state = State::Counted { left },
        }
        Ok(())
    }

    fn bad_item_header(&self) -> EnvelopeError {
        match self.items.len() {
            MAX_ITEMS.. => EnvelopeError::TooManyItems,
            item => EnvelopeError::BadItemHeader { item },
        }
    }

    /// An envelope holds one event at most, and then no transaction.
    fn only_event(&self, next: ItemKind) -> Result<(), EnvelopeError> {
        let refused: &[ItemKind] = match next {
            ItemKind::Event => &[ItemKind::Event, ItemKind::Transaction],
            ItemKind::Transaction => &[ItemKind::Event],
            _ => &[],
        };
        if self.items.iter().any(|item| refused.contains(&item.kind)) {
            return Err(EnvelopeError::SeveralEvents);
        }
        Ok(())
    }

    fn begin(&mut self, kind: ItemKind) {
        self.items.push(Item {
            kind,
            size: 0,
            oversized: false,
        });
        if kind == ItemKind::Event {
            self.event = Some(Pieces::default());
        }
    }

    fn payload(&mut self, bytes: &[u8]) -> Result<(), EnvelopeError> {
        let Some(item) = self.items.last_mut() else {
            return Ok(());
        };
        item.size = item.size.saturating_add(bytes.len());
        if let (ItemKind::Event, Some(event)) = (item.kind, &mut self.event) {
            if item.size > MAX_EVENT {
                return Err(EnvelopeError::EventTooLarge);
            }
            event.append(bytes);
        }
        Ok(())
    }

    /// The payload of the last item is here as a whole.
    fn end(&mut self, next: State) {
        self.state = next;
        if let Some(item) = self.items.last_mut() {
            item.oversized = item.kind.limit().is_some_and(|limit| item.size > limit);
            if item.kind == ItemKind::Attachment {
                self.attachments = self.attachments.saturating_add(item.size);
                item.oversized |= self.attachments > MAX_ATTACHMENTS;
            }
        }
    }
}

/// The first line without its LF, and what follows when the LF is there.
fn split_line(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'\n', bytes).and_then(|at| bytes.split_at_checked(at)) {
        Some((line, rest)) => (line, Some(rest.get(1..).unwrap_or_default())),
        None => (bytes, None),
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
