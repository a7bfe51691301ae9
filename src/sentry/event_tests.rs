#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn parse(json: &str) -> Event<'_> {
    Event::parse(json).unwrap()
}

#[test]
fn an_empty_object_is_an_event_with_defaults() {
    let event = parse("{}");
    assert_eq!(event.level, Level::Error);
    assert_eq!(event.platform, "other");
    assert!(event.errors.is_empty() && !event.is_error());
}

#[test]
fn anything_else_is_no_event() {
    for text in [
        "",
        "null",
        "[]",
        "3",
        "\"x\"",
        "{",
        "{}x",
        "{\"a\":}",
        "{\"a\":1,}",
    ] {
        assert!(Event::parse(text).is_err(), "{text}");
    }
    assert_eq!(
        Event::parse("{\n \"a\": ]").unwrap_err(),
        NotAnEvent { line: 2, column: 7 }
    );
}

#[test]
fn exceptions_come_in_three_forms() {
    for json in [
        r#"{"exception":{"values":[{"type":"A"},{"type":"B"}]}}"#,
        r#"{"exception":[{"type":"A"},null,{"type":"B"}]}"#,
        r#"{"sentry.interfaces.Exception":{"values":[{"type":"A"},{"type":"B"}]}}"#,
    ] {
        let event = parse(json);
        assert_eq!(event.exceptions.len(), 2, "{json}");
        assert_eq!(
            event.main_exception().unwrap().kind.text(),
            Some("B"),
            "{json}"
        );
    }
    assert_eq!(
        parse(r#"{"exception":{"type":"B","value":"x"}}"#).exceptions[0].value_text(),
        Some("x")
    );
    assert!(parse(r#"{"exception":null}"#).exceptions.is_empty());
    assert!(
        parse(r#"{"exception":{"values":null}}"#)
            .exceptions
            .is_empty()
    );
}

#[test]
fn bad_types_cost_the_field_and_are_named() {
    let event = parse(
        r#"{"event_id":7,"timestamp":{"a":1},"platform":["x"],"level":"loud","release":{"v":1},"tags":3,
            "user":"me","request":[],"fingerprint":{"a":1},"sdk":1e999,"breadcrumbs":5,
            "exception":{"values":[{"type":{"a":1},"value":{"b":2},"stacktrace":{"frames":[{"lineno":"x","function":"f"},"y",{"in_app":"maybe"}]}}]}}"#,
    );
    assert_eq!(
        event.errors,
        [
            "event_id",
            "timestamp",
            "platform",
            "level",
            "release",
            "exception.values.0.type",
            "exception.values.0.stacktrace.frames.1",
            "exception.values.0.stacktrace.frames.0.lineno",
            "exception.values.0.stacktrace.frames.1.in_app",
            "tags",
            "user",
            "request",
            "sdk",
            "fingerprint",
        ]
    );
    assert_eq!(event.platform, "other");
    assert_eq!(event.exceptions[0].value_text(), Some(r#"{"b":2}"#));
    assert_eq!(event.exceptions[0].frames()[0].function_name(), Some("f"));
}

#[test]
fn times_come_as_numbers_and_texts() {
    let time = |json: &str| parse(json).timestamp.map(|time| time.timestamp_micros());
    for json in [
        r#"{"timestamp":1795305604.799642}"#,
        r#"{"timestamp":"1795305604.799642"}"#,
        r#"{"timestamp":"2026-11-22T00:00:04.799642Z"}"#,
        r#"{"timestamp":"2026-11-22T00:00:04.799642"}"#,
        r#"{"timestamp":"2026-11-22T02:00:04.799642+02:00"}"#,
    ] {
        assert_eq!(time(json), Some(1_795_305_604_799_642), "{json}");
    }
    assert_eq!(
        time(r#"{"timestamp":1795305604}"#),
        Some(1_795_305_604_000_000)
    );
    for json in [
        r#"{"timestamp":-1}"#,
        r#"{"timestamp":1e300}"#,
        r#"{"timestamp":"soon"}"#,
        r#"{"timestamp":"nan"}"#,
        r#"{"timestamp":true}"#,
    ] {
        let event = parse(json);
        assert_eq!((event.timestamp, event.errors.len()), (None, 1), "{json}");
    }
}

#[test]
fn levels_have_words_and_numbers() {
    let level = |json: &str| parse(json).level.as_str();
    assert_eq!(level(r#"{"level":"warning"}"#), "warning");
    assert_eq!(level(r#"{"level":"WARN"}"#), "warning");
    assert_eq!(level(r#"{"level":"log"}"#), "info");
    assert_eq!(level(r#"{"level":"critical"}"#), "fatal");
    assert_eq!(level(r#"{"level":20}"#), "info");
    assert_eq!(level(r#"{"level":null}"#), "error");
    assert_eq!(level(r#"{"exception":[{"type":"A"}]}"#), "error");
}

#[test]
fn tags_come_in_three_forms() {
    for json in [
        r#"{"tags":{"a":"1","b":true,"c":null,"d":[1],"":"x"}}"#,
        r#"{"tags":[["a",1],["b",true],["c"],["","x"],5,null]}"#,
        r#"{"tags":[{"key":"a","value":"1"},{"key":"b","value":"true"},{"key":"c"}]}"#,
    ] {
        let event = parse(json);
        let tags: Vec<(&str, &str)> = event
            .tags
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .collect();
        assert_eq!(tags, [("a", "1"), ("b", "true")], "{json}");
    }
    let long = format!(r#"{{"tags":{{"k\u0000ey":"{}"}}}}"#, "é".repeat(300));
    let event = parse(&long);
    assert_eq!(
        (&*event.tags[0].0, event.tags[0].1.chars().count()),
        ("key", 200)
    );
}

#[test]
fn names_are_fit_for_a_column() {
    let event =
        parse(r#"{"release":" 1.0\n","environment":"","transaction":"a\tb","server_name":5}"#);
    assert_eq!(event.release.as_deref(), Some("1.0"));
    assert_eq!(event.environment, None);
    assert_eq!(event.transaction.as_deref(), Some("a b"));
    assert_eq!(event.server_name.as_deref(), Some("5"));
}

#[test]
fn the_log_entry_wins_over_the_message() {
    let event = parse(r#"{"message":"plain","logentry":{"message":"a %s","params":["b"]}}"#);
    assert_eq!(event.message.unwrap().formatted, "a b");
    assert_eq!(
        parse(r#"{"message":"plain","logentry":{}}"#)
            .message
            .unwrap()
            .formatted,
        "plain"
    );
}

#[test]
fn the_stack_of_the_right_thread_is_taken() {
    let thread = |flags: &str, function: &str| {
        format!(r#"{{{flags}"stacktrace":{{"frames":[{{"function":"{function}"}}]}}}}"#)
    };
    let pick = |threads: &[String]| {
        let json = format!(r#"{{"threads":{{"values":[{}]}}}}"#, threads.join(","));
        parse(&json)
            .loose_frames()
            .first()
            .and_then(|frame| frame.function_name().map(str::to_owned))
    };
    let (plain, current, crashed) = (
        thread("", "p"),
        thread(r#""current":true,"#, "c"),
        thread(r#""crashed":true,"#, "x"),
    );
    assert_eq!(
        pick(&[plain.clone(), current.clone(), crashed.clone()]).as_deref(),
        Some("x")
    );
    assert_eq!(pick(&[plain.clone(), current]).as_deref(), Some("c"));
    assert_eq!(pick(std::slice::from_ref(&plain)).as_deref(), Some("p"));
    assert_eq!(pick(&[plain.clone(), plain]), None);
}

#[test]
fn suspect_frames_are_the_last_own_ones() {
    let json = r#"{"exception":[{"stacktrace":{"frames":[{"function":"a","in_app":true},{"function":"b"}]}},
                               {"stacktrace":{"frames":[{"function":"c","in_app":true},{"function":"d","in_app":true}]}}]}"#;
    let event = parse(json);
    let names: Vec<_> = event
        .suspect_frames(2)
        .iter()
        .filter_map(|frame| frame.function_name())
        .collect();
    assert_eq!(names, ["c", "d"]);
    let unmarked = json.replace(r#","in_app":true"#, "");
    assert_eq!(parse(&unmarked).suspect_frames(25).len(), 4);
}

#[test]
fn unreadable_text_is_repaired() {
    assert_eq!(
        readable(br#"{"a":"\\ud800 \u00e9 \ud83d\ude00"}"#),
        r#"{"a":"\\ud800 \u00e9 \ud83d\ude00"}"#
    );
    assert_eq!(
        readable(br#"["\ud83d","\ude00x","\ud83d\ud83d\ude00","\u0000"]"#),
        r#"["\ufffd","\ufffdx","\ufffd\ud83d\ude00","\ufffd"]"#
    );
    assert_eq!(readable(b"{\"a\":\"\xff\"}"), "{\"a\":\"\u{fffd}\"}");
    let text = readable(br#"{"message":"cut \ud83d"}"#).into_owned();
    assert_eq!(parse(&text).message.unwrap().formatted, "cut \u{fffd}");
    for odd in ["\\", "\\u", "\\u12", "\\u+123", "\\é", "\\ud800\\u"] {
        let _ = readable(odd.as_bytes());
    }
}

#[test]
fn a_million_bytes_of_frames_stay_small() {
    let frames = "{},".repeat(MAX_EVENT / 3);
    let json = format!(
        r#"{{"exception":[{{"stacktrace":{{"frames":[{frames}{{"function":"last"}}]}}}}]}}"#
    );
    let event = parse(&json);
    assert_eq!(
        event.exceptions[0].frames().len(),
        crate::sentry::frames::MAX_FRAMES
    );
    assert_eq!(
        event.exceptions[0].frames().last().unwrap().function_name(),
        Some("last")
    );
    let stack = format!(
        r#"{{"crashed":true,"stacktrace":{{"frames":[{}]}}}}"#,
        "{},".repeat(20) + "{}"
    );
    let json = format!(
        r#"{{"threads":[{}{stack}]}}"#,
        format!("{stack},").repeat(9000)
    );
    let event = parse(&json);
    assert_eq!((event.threads.len(), event.loose_frames().len()), (500, 21));
    let deep = format!(
        r#"{{"extra":{},"exception":[{{"type":{}}}]}}"#,
        "[".repeat(400) + &"]".repeat(400),
        "[".repeat(400) + &"]".repeat(400)
    );
    assert_eq!(parse(&deep).errors.len(), 1);
}

/// JSON of any shape under the keys that matter.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
    ];
    let keys = prop_oneof![
        Just("exception"),
        Just("values"),
        Just("stacktrace"),
        Just("frames"),
        Just("type"),
        Just("value"),
        Just("message"),
        Just("logentry"),
        Just("formatted"),
        Just("params"),
        Just("tags"),
        Just("threads"),
        Just("lineno"),
        Just("function"),
        Just("filename"),
        Just("in_app"),
        Just("timestamp"),
        Just("level"),
        Just("user"),
        Just("fingerprint"),
        Just("mechanism"),
    ];
    leaf.prop_recursive(6, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::vec((keys.clone(), inner), 0..5).prop_map(|pairs| pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_json_object_is_an_event(json in any_json()) {
        let text = json.to_string();
        match Event::parse(&text) {
            Ok(event) => {
                prop_assert!(json.is_object());
                let _ = crate::sentry::grouping::group(&event);
                let _ = crate::sentry::title::describe(&event);
                let _ = crate::sentry::text::event_text(&event, 1000);
            }
            Err(_) => prop_assert!(!json.is_object()),
        }
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\\\ud8c0f\"{}:,a]{0,60}") {
        let _ = Event::parse(&readable(&bytes));
        let _ = Event::parse(&readable(text.as_bytes()));
    }
}
