//! The message of an event: a plain text, or a template with its parameters (sentry.md §11.7).

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::sentry::lenient::{AnyText, Lenient, Number, Slot, record};

/// Longest text that formatting makes, in bytes; a template can repeat a parameter many times.
const MAX_FORMATTED: usize = 8192;

record! {
    /// The object form.
    struct LogEntry<'a> {
        formatted: AnyText<'a> = "formatted",
        message: AnyText<'a> = "message",
        params: &'a RawValue = "params",
    }
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// Text for people.
    pub formatted: Cow<'a, str>,
    /// The text before parameters were put in, if the client sent one.
    pub template: Option<Cow<'a, str>>,
    /// The parameters, as sent.
    pub params: Option<&'a RawValue>,
}

impl Message<'_> {
    /// What makes two messages the same: the template, else the text.
    pub fn identity(&self) -> &str {
        self.template.as_deref().unwrap_or(&self.formatted)
    }

    /// Whether there is nothing to read in it.
    pub fn is_empty(&self) -> bool {
        self.formatted.trim().is_empty()
    }
}

/// A message as a string or as an object.
impl<'de> Lenient<'de> for Message<'de> {
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self {
            formatted: text,
            template: None,
            params: None,
        })
    }

    fn from_number(number: Number) -> Option<Self> {
        Cow::from_number(number).and_then(Self::from_text)
    }

    fn from_map<A: serde::de::MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        let Some(entry) = LogEntry::from_map(map)? else {
            return Ok(None);
        };
        let text = |slot: Slot<AnyText<'de>>| {
            slot.into_option()
                .map(|text| text.0)
                .filter(|text| !text.trim().is_empty())
        };
        let (formatted, message, params) = (
            text(entry.formatted),
            text(entry.message),
            entry.params.into_option(),
        );
        Ok(match (formatted, message) {
            (Some(formatted), template) => Some(Self {
                formatted,
                template,
                params,
            }),
            (None, Some(template)) => {
                let formatted = params
                    .and_then(|params| fill_in(&template, params))
                    .map(Cow::Owned);
                let formatted = formatted.unwrap_or_else(|| template.clone());
                Some(Self {
                    formatted,
                    template: Some(template),
                    params,
                })
            }
            (None, None) => None,
        })
    }
}

/// Puts parameters into a template of Python's `%s`, `%(name)s` or `{}`, `{0}`, `{name}` form.
/// Nothing when there is no parameter or no place for one.
fn fill_in(template: &str, params: &RawValue) -> Option<String> {
    let params: Value = serde_json::from_str(params.get()).ok()?;
    let mut next = 0_usize;
    let mut pick = |name: &str| -> Option<String> {
        let value = match &params {
            Value::Array(list) if name.is_empty() => {
                next += 1;
                list.get(next - 1)
            }
            Value::Array(list) => list.get(name.parse::<usize>().ok()?),
            Value::Object(map) => map.get(name),
            _ => None,
        }?;
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    };
    let mut out = String::with_capacity(template.len());
    let mut filled = false;
    let mut rest = template;
    while let Some(at) = rest.find(['%', '{']) {
        let (before, place) = rest.split_at(at);
        out.push_str(before);
        if out.len() > MAX_FORMATTED {
            break;
        }
        let found = if place.starts_with('%') {
            percent(place)
        } else {
            brace(place)
        };
        let value = found.and_then(|(name, length)| Some((pick(name)?, place.get(length..)?)));
        if let Some((value, tail)) = value {
            out.push_str(&value);
            filled = true;
            rest = tail;
        } else if let Some(tail) = place.strip_prefix("%%") {
            out.push('%');
            rest = tail;
        } else {
            let mut letters = place.chars();
            out.extend(letters.next());
            rest = letters.as_str();
        }
    }
    out.push_str(rest);
    crate::sentry::text::cut_bytes(&mut out, MAX_FORMATTED);
    filled.then_some(out)
}

/// Name and length of a `%s` or `%(name)s` at the start of the text.
fn percent(place: &str) -> Option<(&str, usize)> {
    let inside = place.strip_prefix('%')?;
    let (name, inside) = match inside.strip_prefix('(') {
        Some(named) => named.split_once(')')?,
        None => ("", inside),
    };
    let flags = inside
        .trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | '#'));
    let conversion = flags
        .chars()
        .next()
        .filter(|c| "sdifruxXgGeEoc".contains(*c))?;
    Some((name, place.len() - flags.len() + conversion.len_utf8()))
}

/// Name and length of a `{}`, `{0}` or `{name}` at the start of the text.
fn brace(place: &str) -> Option<(&str, usize)> {
    let (inside, _) = place.strip_prefix('{')?.split_once('}')?;
    let name = inside.split([':', '!']).next().unwrap_or_default();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then_some((name, inside.len() + 2))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<(String, Option<String>)> {
        let slot: Slot<Message<'_>> = serde_json::from_str(json).unwrap();
        slot.into_option()
            .map(|m| (m.formatted.into_owned(), m.template.map(Cow::into_owned)))
    }

    fn formatted(json: &str) -> String {
        read(json).unwrap().0
    }

    #[test]
    fn strings_and_objects_are_messages() {
        assert_eq!(read(r#""hello""#), Some(("hello".into(), None)));
        assert_eq!(read("5"), Some(("5".into(), None)));
        assert_eq!(
            read(r#"{"formatted":"a 1","message":"a %s"}"#),
            Some(("a 1".into(), Some("a %s".into())))
        );
        assert_eq!(
            read(r#"{"message":"a"}"#),
            Some(("a".into(), Some("a".into())))
        );
        assert_eq!(
            read(r#"{"message":{"a":1}}"#),
            Some((r#"{"a":1}"#.into(), Some(r#"{"a":1}"#.into())))
        );
        assert_eq!(read("{}"), None);
        assert_eq!(read("[1]"), None);
    }

    #[test]
    fn parameters_are_put_in() {
        assert_eq!(
            formatted(r#"{"message":"boom %s","params":["arg1"]}"#),
            "boom arg1"
        );
        assert_eq!(
            formatted(r#"{"message":"%d of %5.2f, 100%%","params":[1,2.5]}"#),
            "1 of 2.5, 100%"
        );
        assert_eq!(
            formatted(r#"{"message":"%(who)s left","params":{"who":"Ann"}}"#),
            "Ann left"
        );
        assert_eq!(
            formatted(r#"{"message":"{} and {1} and {who}","params":["a","b"]}"#),
            "a and b and {who}"
        );
        assert_eq!(
            formatted(r#"{"message":"{who!r:>5} left","params":{"who":"Ann"}}"#),
            "Ann left"
        );
        assert_eq!(formatted(r#"{"message":"%s %s","params":["a"]}"#), "a %s");
        assert_eq!(formatted(r#"{"message":"100%","params":[1]}"#), "100%");
        assert_eq!(formatted(r#"{"message":"%(é {","params":[1]}"#), "%(é {");
    }

    #[test]
    fn a_template_cannot_blow_up() {
        let json = format!(
            r#"{{"message":"{}","params":{{"a":"{}"}}}}"#,
            "{a}".repeat(10_000),
            "x".repeat(10_000)
        );
        assert!(formatted(&json).len() <= MAX_FORMATTED);
    }
}
