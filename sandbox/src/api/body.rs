//! Reads JSON bodies field by field and names everything that is wrong with them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Cx;
use crate::journal::Rule;
use crate::reply::Reply;

/// A body being read.
pub(crate) struct Body {
    map: Map<String, Value>,
    wrong: BTreeMap<String, String>,
}

impl Body {
    /// The body as a JSON object.
    pub(crate) fn read(cx: &Cx) -> Result<Self, Reply> {
        if cx.call.content_type() != "application/json" {
            return Err(cx.wrong(Rule::BodyFormat, 400, "the body must be application/json"));
        }
        match serde_json::from_slice(&cx.call.body) {
            Ok(Value::Object(map)) => Ok(Self {
                map,
                wrong: BTreeMap::new(),
            }),
            _ => Err(cx.wrong(Rule::BodyFormat, 400, "the body is not a JSON object")),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    /// Notes what is wrong with a field.
    pub(crate) fn wrong(&mut self, name: &str, text: impl Into<String>) {
        self.wrong.insert(name.to_owned(), text.into());
    }

    /// A text of at most `max` characters; none when absent.
    pub(crate) fn text(&mut self, name: &str, max: usize) -> Option<String> {
        match self.map.get(name)? {
            Value::String(text) if text.chars().count() <= max => Some(text.clone()),
            Value::String(_) => {
                self.wrong(name, format!("longer than {max} characters"));
                None
            }
            _ => {
                self.wrong(name, "must be a text");
                None
            }
        }
    }

    /// Like [`Body::text`], but must be there and not blank.
    pub(crate) fn needed_text(&mut self, name: &str, max: usize) -> String {
        let text = self.text(name, max).unwrap_or_default();
        if text.trim().is_empty() && !self.wrong.contains_key(name) {
            self.wrong(name, "required key not provided");
        }
        text
    }

    /// One of `values`; none when absent.
    pub(crate) fn choice(&mut self, name: &str, values: &[&str]) -> Option<String> {
        let given = self.map.get(name)?;
        let found = given
            .as_str()
            .filter(|text| values.contains(text))
            .map(str::to_owned);
        if found.is_none() {
            self.wrong(name, format!("must be one of {}", values.join(", ")));
        }
        found
    }

    /// A truth value; none when absent.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let given = self.map.get(name)?.as_bool();
        if given.is_none() {
            self.wrong(name, "must be true or false");
        }
        given
    }

    /// `content.raw`; none when `content` is absent.
    pub(crate) fn content(&mut self) -> Option<String> {
        let content = self.map.get("content")?;
        let known = |map: &Map<String, Value>| {
            map.keys()
                .all(|key| matches!(key.as_str(), "raw" | "markup" | "html" | "type"))
        };
        match (
            content.as_object(),
            content.get("raw").and_then(Value::as_str),
        ) {
            (Some(map), Some(raw)) if known(map) => Some(raw.to_owned()),
            _ => {
                self.wrong("content", "must be {\"raw\": text}");
                None
            }
        }
    }

    /// Refuses the call when something was wrong or a field is not one of `known`.
    pub(crate) fn finish(mut self, cx: &Cx, known: &[&str]) -> Result<(), Reply> {
        self.judge(cx, known)
    }

    /// Like [`Body::finish`], for a body that is looked at once more.
    pub(crate) fn judge(&mut self, cx: &Cx, known: &[&str]) -> Result<(), Reply> {
        let extra: Vec<String> = self
            .map
            .keys()
            .filter(|key| !known.contains(&key.as_str()))
            .cloned()
            .collect();
        for key in extra {
            self.wrong(&key, "extra keys not allowed");
        }
        if self.wrong.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = self
            .wrong
            .iter()
            .map(|(k, v)| format!("{k}: {v}"))
            .collect();
        let (call, detail) = (&cx.call, list.join("; "));
        cx.core.violation(
            Rule::BodyField,
            &call.method,
            &call.target(),
            detail.as_str(),
        );
        let fields: BTreeMap<&String, [&String; 1]> =
            self.wrong.iter().map(|(k, v)| (k, [v])).collect();
        Err(Reply::json(
            400,
            &json!({"type": "error", "error": {
                "message": "Bad request", "detail": detail, "fields": fields,
            }}),
        ))
    }
}
