//! Fields of an event that SDKs write in several ways: levels, times, tags, lists of texts; and the
//! repair of JSON text before it is read (clients.md §2).

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use crate::sentry::event_id::EventId;
use crate::sentry::lenient::{Key, Lenient, Number, Slot, record};
use crate::sentry::text::one_line;

/// Tags that are kept.
pub const MAX_TAGS: usize = 200;
/// Longest tag key, tag value, environment, release and similar names, in characters.
pub const MAX_NAME: usize = 200;
/// Parts of a fingerprint that are kept.
const MAX_FINGERPRINT: usize = 32;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// For developers only.
    Debug,
    /// Nothing bad.
    Info,
    /// May become bad.
    Warning,
    /// Bad; what an event is that does not say.
    #[default]
    Error,
    /// The program ended.
    Fatal,
}

impl Level {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

impl<'de> Lenient<'de> for Level {
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "debug" | "trace" | "sample" => Some(Self::Debug),
            "info" | "log" => Some(Self::Info),
            "warning" | "warn" => Some(Self::Warning),
            "error" => Some(Self::Error),
            "fatal" | "critical" => Some(Self::Fatal),
            _ => None,
        }
    }

    /// Python's numbers.
    fn from_number(number: Number) -> Option<Self> {
        match number {
            Number::Int(10) => Some(Self::Debug),
            Number::Int(20) => Some(Self::Info),
            Number::Int(30) => Some(Self::Warning),
            Number::Int(40) => Some(Self::Error),
            Number::Int(50) => Some(Self::Fatal),
            _ => None,
        }
    }
}

/// Seconds since 1970 as a number, a numeric text, or an ISO time; without an offset UTC is meant.
impl<'de> Lenient<'de> for DateTime<Utc> {
    fn from_number(number: Number) -> Option<Self> {
        // From 1970 to the year 9999; what lies outside is no time but a mistake.
        const END: f64 = 253_402_300_800.0;
        match number {
            Number::Int(seconds) if (0..253_402_300_800).contains(&seconds) => {
                Self::from_timestamp(seconds, 0)
            }
            Number::Float(seconds) if (0.0..END).contains(&seconds) =>
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "below 2^63: the guard bounds the seconds"
                )]
                Self::from_timestamp_micros((seconds * 1e6).round() as i64)
            }
            _ => None,
        }
    }

    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        let text = text.trim();
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Some(time.to_utc());
        }
        if let Ok(time) = text.parse::<NaiveDateTime>() {
            return Some(time.and_utc());
        }
        Self::from_number(Number::Float(text.parse().ok()?))
    }
}

impl<'de> Lenient<'de> for EventId {
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        text.trim().parse().ok()
    }
}

/// A tag: key and value, cut to [`MAX_NAME`] characters each, without control characters.
pub type Tag<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Tags as an object, as a list of pairs, or as a list of `{key, value}`.
pub(super) struct Tags<'a>(pub(super) Vec<Tag<'a>>);

impl<'a> Tags<'a> {
    fn add(&mut self, key: Cow<'a, str>, value: Slot<Cow<'a, str>>) {
        let (key, Slot::Value(value)) = (name(key), value) else {
            return;
        };
        if !key.is_empty() && self.0.len() < MAX_TAGS {
            self.0.push((key, name(value)));
        }
    }
}

impl<'de> Lenient<'de> for Tags<'de> {
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        let mut tags = Self(Vec::new());
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let value = map.next_value()?;
            tags.add(key.0, value);
        }
        Ok(Some(tags))
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut tags = Self(Vec::new());
        while let Some(slot) = list.next_element::<Slot<Pair<'de>>>()? {
            if let Slot::Value(Pair {
                key: Slot::Value(key),
                value,
            }) = slot
            {
                tags.add(key, value);
            }
        }
        Ok(Some(tags))
    }
}

/// One tag of a list.
struct Pair<'a> {
    key: Slot<Cow<'a, str>>,
    value: Slot<Cow<'a, str>>,
}

record! {
    /// One tag as an object.
    struct KeyValue<'a> {
        key: Cow<'a, str> = "key",
        value: Cow<'a, str> = "value",
    }
}

impl<'de> Lenient<'de> for Pair<'de> {
    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let key = list.next_element()?.unwrap_or_default();
        let value = list.next_element()?.unwrap_or_default();
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(Self { key, value }))
    }

    fn from_map<A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        Ok(KeyValue::from_map(map)?.map(|pair| Self {
            key: pair.key,
            value: pair.value,
        }))
    }
}

/// A list of texts; a text alone counts as a list of one.
pub(super) struct Texts<'a>(pub(super) Vec<Cow<'a, str>>);

impl<'de> Lenient<'de> for Texts<'de> {
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self(vec![text]))
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut texts = Self(Vec::new());
        while let Some(slot) = list.next_element::<Slot<Cow<'de, str>>>()? {
            if let (Slot::Value(text), true) = (slot, texts.0.len() < MAX_FINGERPRINT) {
                texts.0.push(text);
            }
        }
        Ok(Some(texts))
    }
}

/// A name fit for a table column: no control characters, no white space around, at most
/// [`MAX_NAME`] characters.
pub(super) fn name(text: Cow<'_, str>) -> Cow<'_, str> {
    let fits = text.len() <= MAX_NAME
        && !text.contains(char::is_control)
        && text.trim().len() == text.len();
    if fits {
        text
    } else {
        Cow::Owned(one_line(&text).chars().take(MAX_NAME).collect())
    }
}

/// JSON text that the reader can take: bytes that are no UTF-8, lone surrogates and NUL, each of which
/// some SDK sends and none of which a database stores, become U+FFFD.
pub fn readable(payload: &[u8]) -> Cow<'_, str> {
    // The check alone is much faster than the repair, and mostly all there is to do.
    let text = std::str::from_utf8(payload)
        .map_or_else(|_| String::from_utf8_lossy(payload), Cow::Borrowed);
    if memchr::memmem::find(text.as_bytes(), b"\\u").is_none() {
        return text;
    }
    match repaired_escapes(&text) {
        Some(repaired) => Cow::Owned(repaired),
        None => text,
    }
}

/// Replaces `\u0000` and surrogate escapes that have no partner; nothing when there are none.
fn repaired_escapes(text: &str) -> Option<String> {
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0 | 0xd800..=0xdfff) => {
                out.push_str(text.get(copied..at).unwrap_or_default());
                out.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            Some(_) => at += 6,
            // Another escape: two characters, the second of which may be any.
            None => {
                at += 1 + text
                    .get(at + 1..)
                    .and_then(|rest| rest.chars().next())
                    .map_or(1, char::len_utf8)
            }
        }
    }
    (copied > 0).then(|| {
        out.push_str(text.get(copied..).unwrap_or_default());
        out
    })
}
