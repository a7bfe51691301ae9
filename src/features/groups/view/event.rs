//! An event as its page shows it.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::AppResult;
use crate::features::groups::store::events::Neighbours;
use crate::features::groups::{StoredEvent, tags};
use crate::kit::clock::Micros;
use crate::sentry::event::{Event, Exception, Level};
use crate::sentry::frames::Frame;
use crate::sentry::lenient::{Lenient, Number};
use crate::sentry::text::{clean, cut_chars, one_line};
use crate::sentry::wire::context;

/// Breadcrumbs, headers, variables and the like that are shown.
const MAX_ITEMS: usize = 100;
/// Longest single value, in characters.
const MAX_VALUE: usize = 2_000;
/// Longest body of a request, in characters.
const MAX_BODY: usize = 20_000;

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Pair {
    name: String,
    value: String,
}

/// A tag.
#[derive(Debug, Clone, Serialize)]
struct Tag {
    key: String,
    value: String,
}

/// An event as its page shows it.
#[derive(Debug, Clone, Serialize)]
pub struct EventView {
    id: String,
    short_event_id: String,
    at: Micros,
    older_id: Option<String>,
    newer_id: Option<String>,
    message: Option<String>,
    tags: Vec<Tag>,
    problems: Vec<String>,
    /// The exceptions, the one that was thrown last first.
    pub exceptions: Vec<ExceptionView>,
    breadcrumbs: Vec<Crumb>,
    request: Option<RequestView>,
    contexts: Vec<Context>,
}

/// An exception.
#[derive(Debug, Clone, Serialize)]
pub struct ExceptionView {
    r#type: String,
    value: Option<String>,
    mechanism: Option<String>,
    handled: Option<bool>,
    has_in_app: bool,
    /// Its frames, the crash first.
    pub frames: Vec<FrameView>,
}

/// A frame.
#[derive(Debug, Clone, Serialize)]
pub struct FrameView {
    /// Path as the program knows it.
    pub filename: Option<String>,
    module: Option<String>,
    function: Option<String>,
    /// Line, from 1.
    pub line_no: Option<u32>,
    col_no: Option<u32>,
    /// Whether the SDK calls it the application's own.
    pub in_app: bool,
    context: Vec<SourceLine>,
    vars: Vec<Pair>,
    /// Page of this line in the repository, for whoever knows the repository.
    pub source_url: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct SourceLine {
    n: i64,
    text: String,
    is_crash: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Crumb {
    at: Micros,
    category: String,
    level: &'static str,
    message: Option<String>,
    data: Vec<Pair>,
}

#[derive(Debug, Clone, Serialize)]
struct RequestView {
    method: Option<String>,
    url: String,
    query: Option<String>,
    body: Option<String>,
    headers: Vec<Pair>,
}

#[derive(Debug, Clone, Serialize)]
struct Context {
    name: String,
    items: Vec<Pair>,
}

impl EventView {
    /// Reads a stored event for its page.
    ///
    /// # Errors
    /// When the stored event is damaged.
    pub(in crate::features::groups) fn new(
        stored: &StoredEvent,
        neighbours: &Neighbours,
    ) -> AppResult<Self> {
        let event = stored.event()?;
        let id = stored.event_id.to_string();
        let mut contexts = contexts(event.raw.contexts);
        contexts.extend(object(event.raw.extra).map(|extra| Context {
            name: "extra".to_owned(),
            items: pairs(extra),
        }));
        Ok(Self {
            id: stored.row.to_string(),
            short_event_id: id.chars().take(8).collect(),
            at: stored.occurred_at,
            older_id: neighbours.older.map(|(row, _)| row.to_string()),
            newer_id: neighbours.newer.map(|(row, _)| row.to_string()),
            message: event
                .message
                .as_ref()
                .map(|message| text(&message.formatted))
                .filter(|text| !text.is_empty()),
            tags: tags::of_event(&event)
                .into_iter()
                .map(|(key, value)| Tag { key, value })
                .collect(),
            problems: event
                .errors
                .iter()
                .map(|field| {
                    format!("The field {field} has a type that it cannot have; it was left out.")
                })
                .collect(),
            exceptions: exceptions(&event),
            breadcrumbs: breadcrumbs(event.raw.breadcrumbs, stored.occurred_at),
            request: request(event.raw.request),
            contexts,
        })
    }
}

/// Harmless text of a bounded length.
fn text(text: &str) -> String {
    cut_chars(&clean(text), MAX_VALUE).into_owned()
}

fn object(raw: Option<&RawValue>) -> Option<Map<String, Value>> {
    serde_json::from_str::<Map<String, Value>>(raw?.get())
        .ok()
        .filter(|map| !map.is_empty())
}

/// A value in one text: strings as they are, everything else as JSON.
fn value_text(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        other => text(&other.to_string()),
    }
}

fn pairs(map: Map<String, Value>) -> Vec<Pair> {
    let shown = map
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .take(MAX_ITEMS);
    shown
        .map(|(name, value)| Pair {
            name: one_line(&name),
            value: value_text(&value),
        })
        .collect()
}

fn exceptions(event: &Event<'_>) -> Vec<ExceptionView> {
    let mut shown: Vec<_> = event.exceptions.iter().rev().map(exception_view).collect();
    if shown.iter().all(|exception| exception.frames.is_empty()) && !event.loose_frames().is_empty()
    {
        // The stack of a thread, or one that came with a message.
        let frames = frames(event.loose_frames());
        let alone = ExceptionView {
            r#type: "Stack".to_owned(),
            value: None,
            mechanism: None,
            handled: None,
            has_in_app: frames.iter().any(|frame| frame.in_app),
            frames,
        };
        shown.push(alone);
    }
    shown
}

fn exception_view(exception: &Exception<'_>) -> ExceptionView {
    let mechanism = exception.mechanism.get();
    let frames = frames(exception.frames());
    ExceptionView {
        r#type: exception
            .kind
            .text()
            .map_or_else(|| "Error".to_owned(), one_line),
        value: exception.value_text().map(text),
        mechanism: mechanism
            .and_then(|mechanism| mechanism.kind.text())
            .map(one_line),
        handled: mechanism.and_then(|mechanism| mechanism.handled.get().copied()),
        has_in_app: frames.iter().any(|frame| frame.in_app),
        frames,
    }
}

/// Frames, the crash first.
fn frames(frames: &[Frame<'_>]) -> Vec<FrameView> {
    frames.iter().rev().map(frame_view).collect()
}

fn frame_view(frame: &Frame<'_>) -> FrameView {
    let line = frame.lineno.get().copied();
    let context = context(frame).into_iter().map(|(n, source)| SourceLine {
        n,
        text: text(&source),
        is_crash: Some(n) == line.map(i64::from),
    });
    FrameView {
        filename: frame.file().map(one_line),
        module: frame.module.text().map(one_line),
        function: frame.function_name().map(one_line),
        line_no: line,
        col_no: frame.colno.get().copied(),
        in_app: frame.is_in_app(),
        context: context.collect(),
        vars: object(frame.vars.get().copied())
            .map(pairs)
            .unwrap_or_default(),
        source_url: None,
    }
}

fn contexts(raw: Option<&RawValue>) -> Vec<Context> {
    let shown = object(raw).into_iter().flatten().take(MAX_ITEMS);
    let contexts = shown.filter_map(|(name, value)| match value {
        Value::Object(map) => Some(Context {
            name: one_line(&name),
            items: pairs(map),
        }),
        _ => None,
    });
    contexts
        .filter(|context| !context.items.is_empty())
        .collect()
}

/// Breadcrumbs, newest first.
fn breadcrumbs(raw: Option<&RawValue>, event_at: Micros) -> Vec<Crumb> {
    let list = match raw.and_then(|raw| serde_json::from_str(raw.get()).ok()) {
        Some(Value::Array(list)) => list,
        Some(Value::Object(mut map)) => match map.remove("values") {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    list.into_iter()
        .rev()
        .take(MAX_ITEMS)
        .filter_map(|crumb| breadcrumb(crumb, event_at))
        .collect()
}

fn breadcrumb(crumb: Value, event_at: Micros) -> Option<Crumb> {
    let Value::Object(mut crumb) = crumb else {
        return None;
    };
    let word = |value: Option<Value>| match value {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
        _ => None,
    };
    let level = word(crumb.remove("level")).and_then(|level| Level::from_text(Cow::Owned(level)));
    let at = crumb.remove("timestamp").and_then(|at| moment(&at));
    let category = word(crumb.remove("category")).or_else(|| word(crumb.remove("type")));
    let data = match crumb.remove("data") {
        Some(Value::Object(data)) => pairs(data),
        _ => Vec::new(),
    };
    Some(Crumb {
        at: at.unwrap_or(event_at),
        category: category.map_or_else(|| "default".to_owned(), |category| one_line(&category)),
        level: level.unwrap_or(Level::Info).as_str(),
        message: word(crumb.remove("message")).map(|message| text(&message)),
        data,
    })
}

fn moment(value: &Value) -> Option<Micros> {
    use chrono::{DateTime, Utc};
    let time: Option<DateTime<Utc>> = match value {
        Value::String(text) => Lenient::from_text(Cow::Borrowed(text.as_str())),
        Value::Number(number) => Lenient::from_number(Number::Float(number.as_f64()?)),
        _ => None,
    };
    time.map(|time| Micros(time.timestamp_micros()))
}

fn request(raw: Option<&RawValue>) -> Option<RequestView> {
    let mut request = object(raw)?;
    let mut word = |key: &str| match request.remove(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let (method, url) = (word("method"), word("url"));
    let query = match request.remove("query_string") {
        Some(Value::String(query)) => query,
        Some(other) => {
            let pairs = named(&other)
                .into_iter()
                .map(|pair| format!("{}={}", pair.name, pair.value));
            pairs.collect::<Vec<_>>().join("&")
        }
        None => String::new(),
    };
    let body = match request.remove("data") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(body)) => body,
        Some(other) => serde_json::to_string_pretty(&other).unwrap_or_default(),
    };
    let mut headers = request
        .remove("headers")
        .map(|headers| named(&headers))
        .unwrap_or_default();
    for header in &mut headers {
        if [
            "cookie",
            "set-cookie",
            "authorization",
            "proxy-authorization",
        ]
        .contains(&header.name.to_lowercase().as_str())
        {
            header.value = "[removed]".to_owned();
        }
    }
    let shown = |text: String, max: usize| {
        let text = cut_chars(&clean(&text), max).into_owned();
        (!text.trim().is_empty()).then_some(text)
    };
    Some(RequestView {
        method: method.map(|method| one_line(&method)),
        url: url.map_or_else(|| "unknown address".to_owned(), |url| text(&url)),
        query: shown(query, MAX_VALUE),
        body: shown(body, MAX_BODY),
        headers,
    })
}

/// Names and values from an object or from a list of pairs.
fn named(value: &Value) -> Vec<Pair> {
    match value {
        Value::Object(map) => pairs(map.clone()),
        Value::Array(list) => {
            let two =
                list.iter()
                    .take(MAX_ITEMS)
                    .filter_map(|item| match item.as_array()?.as_slice() {
                        [Value::String(name), value] => Some(Pair {
                            name: one_line(name),
                            value: value_text(value),
                        }),
                        _ => None,
                    });
            two.collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::features::accounts::ProjectId;
    use crate::features::groups::{EventRow, GroupId};
    use crate::sentry::event_id::EventId;

    fn view(json: &str) -> EventView {
        let stored = StoredEvent {
            row: EventRow(9),
            project: ProjectId(1),
            group: GroupId(1),
            event_id: EventId([0xab; 16]),
            received_at: Micros(5),
            occurred_at: Micros(4),
            text: json.to_owned(),
        };
        EventView::new(&stored, &Neighbours::default()).unwrap()
    }

    #[test]
    fn the_crash_comes_first() {
        let event = view(
            r#"{"exception":{"values":[
                {"type":"KeyError","value":"k","stacktrace":{"frames":[{"filename":"a.py"}]}},
                {"type":"Outer","mechanism":{"type":"django","handled":false},"stacktrace":{"frames":[
                    {"filename":"old.py","in_app":false},
                    {"filename":"new.py","in_app":true,"lineno":3,"pre_context":["one","two"],"context_line":"three",
                     "post_context":["four"],"vars":{"x":"1","y":{"z":2},"n":null}}]}}]}}"#,
        );
        assert_eq!(event.short_event_id, "abababab");
        let outer = &event.exceptions[0];
        assert_eq!(
            (outer.r#type.as_str(), outer.handled, outer.has_in_app),
            ("Outer", Some(false), true)
        );
        let crash = &outer.frames[0];
        assert_eq!(crash.filename.as_deref(), Some("new.py"));
        let lines: Vec<_> = crash
            .context
            .iter()
            .map(|line| (line.n, line.is_crash))
            .collect();
        assert_eq!(lines, [(1, false), (2, false), (3, true), (4, false)]);
        let vars: Vec<_> = crash
            .vars
            .iter()
            .map(|var| (var.name.as_str(), var.value.as_str()))
            .collect();
        assert_eq!(vars, [("x", "1"), ("y", r#"{"z":2}"#)]);
        assert!(!event.exceptions[1].has_in_app);
    }

    #[test]
    fn a_message_with_a_stack_shows_it() {
        let event = view(
            r#"{"message":"hm","threads":[{"current":true,"stacktrace":{"frames":[{"function":"f"}]}}]}"#,
        );
        assert_eq!(event.message.as_deref(), Some("hm"));
        assert_eq!(event.exceptions[0].frames.len(), 1);
    }

    #[test]
    fn breadcrumbs_run_back_in_time() {
        let event = view(
            r#"{"breadcrumbs":{"values":[{"timestamp":1,"category":"a"},7,
                {"timestamp":"1970-01-01T00:00:02Z","level":"critical","type":"http","data":{"status":200}}]}}"#,
        );
        let crumbs: Vec<_> = event
            .breadcrumbs
            .iter()
            .map(|c| (c.at.0, c.category.as_str(), c.level))
            .collect();
        assert_eq!(
            crumbs,
            [(2_000_000, "http", "fatal"), (1_000_000, "a", "info")]
        );
        assert_eq!(event.breadcrumbs[0].data[0].value, "200");
        assert_eq!(
            view(r#"{"breadcrumbs":[{"message":"m"}]}"#).breadcrumbs[0].at,
            Micros(4)
        );
    }

    #[test]
    fn requests_keep_their_secrets() {
        let event = view(
            r#"{"request":{"url":"https://h/p","query_string":[["a","1"],["b","2"]],"data":{"x":1},
                "headers":[["Cookie","session=1"],["Host","h"]]}}"#,
        );
        let request = event.request.unwrap();
        assert_eq!(request.query.as_deref(), Some("a=1&b=2"));
        assert_eq!(request.body.as_deref(), Some("{\n  \"x\": 1\n}"));
        assert_eq!(request.headers[0].value, "[removed]");
        assert_eq!(request.headers[1].value, "h");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_parts_give_a_page(
            key in "breadcrumbs|request|contexts|extra|exception|threads|user|tags",
            value in "(\\{|\\[|\"(values|headers|data|stacktrace|frames|timestamp|vars)\":|[0-9]{1,3}|null|\"x\"|,|\\}|\\]){0,14}",
        ) {
            let json = format!("{{\"{key}\":{value}}}");
            if serde_json::from_str::<Value>(&json).is_ok() {
                let _ = view(&json);
            }
        }
    }
}
