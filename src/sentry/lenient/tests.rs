#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;

record! {
    /// A toy.
    struct Toy<'a> keep 3 {
        name: Cow<'a, str> = "name" | "title",
        line: u32 = "line",
        on: bool = "on",
        raw: &'a RawValue = "raw",
        any: AnyText<'a> = "any",
        parts: Many<Toy<'a>> = "parts",
    }
}

fn read<'a, T: Lenient<'a>>(json: &'a str) -> Slot<T> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn wrong_types_cost_only_their_field_and_are_named() {
    let toy = read::<Toy<'_>>(
        r#"{"name": {"a": [1]}, "line": "12", "on": 1, "any": {"x": 1}, "parts": {"values": [{"line": -1}, 7, null, {"title": 3}]}}"#,
    );
    let toy = toy.get().unwrap();
    assert!(toy.name.is_bad());
    assert_eq!(toy.line.get(), Some(&12));
    assert_eq!(toy.on.get(), Some(&true));
    assert_eq!(toy.any.get().unwrap().0, r#"{"x": 1}"#);
    let parts = toy.parts.get().unwrap();
    assert_eq!(parts.items.len(), 2);
    assert_eq!(parts.items[1].name.text(), Some("3"));
    let mut faults = Faults::default();
    toy.faults(&mut faults);
    assert_eq!(
        faults.into_paths(),
        ["name", "parts.values.1", "parts.values.0.line"]
    );
}

#[test]
fn lists_come_in_three_forms() {
    for json in [
        r#"[{"name":"a"}]"#,
        r#"{"values":[{"name":"a"}]}"#,
        r#"{"name":"a"}"#,
    ] {
        let many = read::<Many<Toy<'_>>>(json);
        assert_eq!(
            many.get().unwrap().items[0].name.text(),
            Some("a"),
            "{json}"
        );
    }
    assert!(read::<Many<Toy<'_>>>("{}").get().unwrap().items.is_empty());
    assert!(read::<Many<Toy<'_>>>(r#"{"values": 3}"#).is_bad());
    assert!(read::<Many<Toy<'_>>>("3").is_bad());
    assert!(matches!(read::<Many<Toy<'_>>>("null"), Slot::Absent));
}

#[test]
fn long_lists_keep_the_last_entries() {
    let json = format!(
        "[{}]",
        (0..20)
            .map(|n| format!(r#"{{"line":{n}}}"#))
            .collect::<Vec<_>>()
            .join(",")
    );
    let many = read::<Many<Toy<'_>>>(&json);
    let many = many.get().unwrap();
    assert_eq!(many.omitted, 17);
    let lines: Vec<_> = many
        .items
        .iter()
        .filter_map(|toy| toy.line.get().copied())
        .collect();
    assert_eq!(lines, [17, 18, 19]);
}

#[test]
fn the_last_of_repeated_keys_wins() {
    assert_eq!(
        read::<Toy<'_>>(r#"{"name":"a","name":"b"}"#)
            .get()
            .unwrap()
            .name
            .text(),
        Some("b")
    );
}
