//! What an event is called: title, culprit, metadata and location (sentry.md §11.7).

use std::borrow::Cow;

use serde::Serialize;

use crate::sentry::event::Event;
use crate::sentry::frames::{Frame, crash_frame};
use crate::sentry::text::{clean, cut_chars, one_line};

/// Longest first line of a value or message in a title, in characters.
const MAX_TITLE_VALUE: usize = 100;
/// Longest exception type, in characters.
const MAX_TYPE: usize = 128;
/// Longest exception value, in characters.
const MAX_VALUE: usize = 1024;
/// Longest culprit, in characters.
const MAX_CULPRIT: usize = 200;
/// Longest file or function name in the metadata, in characters.
const MAX_PLACE: usize = 256;

/// What the `metadata` of a group or event holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// Class of the main exception; absent when the SDK made it up.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Message of the main exception.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// File of the crash frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Function of the crash frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Title of an event that is no error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// What an event is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `error` or `default`, the `type` of Sentry's answers.
    pub kind: &'static str,
    /// One line for lists.
    pub title: String,
    /// Where it happened, for people; may be empty.
    pub culprit: String,
    /// The parts of the title.
    pub metadata: Metadata,
}

impl Description {
    /// The file it happened in.
    pub fn location(&self) -> Option<&str> {
        self.metadata.filename.as_deref()
    }
}

/// Names an event.
pub fn describe(event: &Event<'_>) -> Description {
    let metadata = metadata(event);
    let title = match &event.title {
        Some(title) => one_line(title),
        None if event.is_error() => error_title(&metadata),
        None => metadata
            .title
            .clone()
            .unwrap_or_else(|| "<unlabeled event>".to_owned()),
    };
    Description {
        kind: if event.is_error() { "error" } else { "default" },
        title: if title.is_empty() {
            "<untitled>".to_owned()
        } else {
            title
        },
        culprit: culprit(event),
        metadata,
    }
}

fn metadata(event: &Event<'_>) -> Metadata {
    let Some(exception) = event.main_exception() else {
        let line = event
            .message
            .as_ref()
            .and_then(|message| first_line(&message.formatted));
        return Metadata {
            title: line.map(|line| cut_chars(&line, MAX_TITLE_VALUE).into_owned()),
            ..Metadata::default()
        };
    };
    let kind = (!exception.is_synthetic()).then(|| {
        let kind = exception
            .kind
            .text()
            .map(one_line)
            .filter(|kind| !kind.is_empty());
        cut(&kind.unwrap_or_else(|| "Error".to_owned()), MAX_TYPE)
    });
    let frames = if exception.frames().is_empty() {
        event.loose_frames()
    } else {
        exception.frames()
    };
    let frame = crash_frame(frames);
    let place = |text: Option<&str>| {
        text.map(|text| cut(&one_line(text), MAX_PLACE))
            .filter(|text| !text.is_empty())
    };
    Metadata {
        kind,
        value: exception
            .value_text()
            .map(|value| cut(&clean(value), MAX_VALUE)),
        filename: place(frame.and_then(Frame::file)),
        function: place(frame.and_then(Frame::function_name)),
        title: None,
    }
}

fn error_title(metadata: &Metadata) -> String {
    let Some(kind) = &metadata.kind else {
        return metadata
            .function
            .clone()
            .unwrap_or_else(|| "<unknown>".to_owned());
    };
    match metadata.value.as_deref().and_then(first_line) {
        Some(line) => format!("{kind}: {}", cut_chars(&line, MAX_TITLE_VALUE)),
        None => kind.clone(),
    }
}

/// The first line with something on it.
fn first_line(text: &str) -> Option<String> {
    // Only so much is looked at: a message of a megabyte has its first line near the start.
    text.lines()
        .take(100)
        .map(one_line)
        .find(|line| !line.is_empty())
}

fn culprit(event: &Event<'_>) -> String {
    if let Some(transaction) = &event.transaction {
        return cut(transaction, MAX_CULPRIT);
    }
    if event
        .main_exception()
        .is_some_and(|exception| exception.is_synthetic())
    {
        return String::new();
    }
    let from_frames = event
        .stacks()
        .last()
        .and_then(|frames| crash_frame(frames))
        .and_then(|frame| place(frame, event));
    let culprit = from_frames.or_else(|| event.request.as_ref()?.url.text().map(one_line));
    culprit
        .map(|text| cut(&text, MAX_CULPRIT))
        .unwrap_or_default()
}

/// A frame in words, by the custom of its platform.
fn place(frame: &Frame<'_>, event: &Event<'_>) -> Option<String> {
    let function = frame
        .function_name()
        .map_or(Cow::Borrowed("?"), |name| Cow::Owned(one_line(name)));
    let platform = frame.platform.text().unwrap_or(&event.platform);
    if matches!(platform, "native" | "objc" | "cocoa") {
        return Some(function.into_owned());
    }
    let file = one_line(frame.module.text().or_else(|| frame.file())?);
    Some(match platform {
        "javascript" | "node" => format!("{function}({file})"),
        _ => format!("{file} in {function}"),
    })
}

fn cut(text: &str, max: usize) -> String {
    cut_chars(text, max).into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(json: &str) -> Description {
        describe(&Event::parse(json).unwrap())
    }

    #[test]
    fn errors_are_type_and_first_line() {
        let error = read(
            r#"{"platform":"python","exception":[{"type":"Outer"},{"type":"ZeroDivisionError","value":"\n division  by zero\nmore",
                "stacktrace":{"frames":[{"filename":"a.py","module":"shop.a","function":"total","in_app":true},{"filename":"lib.py","function":"x","in_app":false}]}}]}"#,
        );
        assert_eq!(error.kind, "error");
        assert_eq!(error.title, "ZeroDivisionError: division by zero");
        assert_eq!(error.culprit, "shop.a in total");
        assert_eq!(error.location(), Some("a.py"));
        assert_eq!(error.metadata.function.as_deref(), Some("total"));
        assert_eq!(
            error.metadata.value.as_deref(),
            Some("\n division  by zero\nmore")
        );
    }

    #[test]
    fn the_example_of_the_reference() {
        let error = read(
            r#"{"platform":"javascript","exception":{"values":[{"type":"ReferenceError","value":"blooopy is not defined","stacktrace":{"frames":[{"filename":"runner"}]}}]}}"#,
        );
        assert_eq!(
            (error.title.as_str(), error.culprit.as_str()),
            ("ReferenceError: blooopy is not defined", "?(runner)")
        );
    }

    #[test]
    fn missing_parts_have_stand_ins() {
        assert_eq!(read(r#"{"exception":[{"value":"x"}]}"#).title, "Error: x");
        assert_eq!(
            read(r#"{"exception":[{"type":"E","value":" \n "}]}"#).title,
            "E"
        );
        assert_eq!(read("{}").title, "<unlabeled event>");
        assert_eq!(read(r#"{"title":"\u0007"}"#).title, "<unlabeled event>");
        assert_eq!(
            read(r#"{"title":"mine","exception":[{"type":"E"}]}"#).title,
            "mine"
        );
        let synthetic = r#"{"exception":[{"type":"E","value":"v","mechanism":{"synthetic":true},"stacktrace":{"frames":[{"function":"f","module":"m"}]}}]}"#;
        let synthetic = read(synthetic);
        assert_eq!(
            (synthetic.title.as_str(), synthetic.culprit.as_str()),
            ("f", "")
        );
        assert_eq!(synthetic.metadata.kind, None);
        assert_eq!(
            read(r#"{"exception":[{"mechanism":{"synthetic":true}}]}"#).title,
            "<unknown>"
        );
    }

    #[test]
    fn messages_are_their_first_line() {
        let message = read(
            r#"{"logentry":{"message":"boom %s\nmore","params":["a"]},"request":{"url":"https://h/p"}}"#,
        );
        assert_eq!(
            (
                message.kind,
                message.title.as_str(),
                message.culprit.as_str()
            ),
            ("default", "boom a", "https://h/p")
        );
        assert_eq!(
            message.metadata,
            Metadata {
                title: Some("boom a".into()),
                ..Metadata::default()
            }
        );
    }

    #[test]
    fn culprits_follow_the_platform() {
        let culprit = |platform: &str, frame: &str| {
            read(&format!(r#"{{"platform":"{platform}","exception":[{{"type":"E","stacktrace":{{"frames":[{frame}]}}}}]}}"#)).culprit
        };
        let full = r#"{"filename":"f.x","module":"m","function":"g"}"#;
        assert_eq!(culprit("native", full), "g");
        assert_eq!(culprit("cocoa", "{}"), "?");
        assert_eq!(culprit("node", full), "g(m)");
        assert_eq!(
            culprit("node", r#"{"filename":"f.x","function":"g"}"#),
            "g(f.x)"
        );
        assert_eq!(culprit("java", full), "m in g");
        assert_eq!(culprit("python", r#"{"module":"m"}"#), "m in ?");
        assert_eq!(culprit("python", r#"{"function":"g"}"#), "");
        assert_eq!(
            culprit("python", r#"{"platform":"node","filename":"f.x"}"#),
            "?(f.x)"
        );
        let last_with_frames = r#"{"exception":[{"stacktrace":{"frames":[{"module":"m","function":"g"}]}},{"type":"B"}]}"#;
        assert_eq!(read(last_with_frames).culprit, "m in g");
        assert_eq!(
            read(r#"{"transaction":"/cart","exception":[{"type":"B"}]}"#).culprit,
            "/cart"
        );
    }

    #[test]
    fn everything_is_cut_between_characters() {
        let long = "é".repeat(3000);
        let error = read(&format!(
            r#"{{"exception":[{{"type":"{long}","value":"{long}","stacktrace":{{"frames":[{{"module":"{long}","filename":"{long}"}}]}}}}]}}"#
        ));
        let count = |text: &str| text.chars().count();
        assert_eq!(count(&error.title), MAX_TYPE + 2 + MAX_TITLE_VALUE);
        assert!(error.title.ends_with("é..."));
        assert_eq!(count(error.metadata.value.as_deref().unwrap()), MAX_VALUE);
        assert_eq!(count(&error.culprit), MAX_CULPRIT);
        assert_eq!(
            count(&read(&format!(r#"{{"message":"{long}"}}"#)).title),
            MAX_TITLE_VALUE
        );
    }
}
