//! Webhook payloads: the shapes of bitbucket.md §5.3, odd ones, and arbitrary bytes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn commit(hash: &str) -> Value {
    json!({"type": "commit", "hash": hash, "message": "Fixes SHOP-1", "date": "2026-01-01T00:00:00+00:00",
        "author": {"type": "author", "raw": "Ada Lovelace <ada@example.org>"}, "parents": []})
}

fn side(kind: &str, name: &str, hash: &str) -> Value {
    json!({"type": kind, "name": name, "target": commit(hash), "links": {}})
}

fn body(changes: &Value) -> Vec<u8> {
    json!({
        "actor": {"type": "user", "uuid": "{u}", "display_name": "Ada", "account_id": "1"},
        "repository": {"uuid": "{r}", "full_name": "acme/shop", "links": {"html": {"href": "https://example.org/acme/shop"}}},
        "push": {"changes": changes},
    })
    .to_string()
    .into_bytes()
}

fn push(changes: &Value) -> Push {
    match Event::parse("repo:push", &body(changes)).unwrap() {
        Event::Push(push) => push,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_push_to_a_branch() {
    let push = push(
        &json!([{"old": side("branch", "main", "a"), "new": side("branch", "main", "b"),
        "created": false, "closed": false, "forced": false, "truncated": false, "commits": [commit("b")],
        "links": {"commits": {"href": "https://api.example.org/2.0/x"}}}]),
    );
    assert_eq!(push.repository.uuid.as_deref(), Some("{r}"));
    assert_eq!(
        push.actor.as_ref().unwrap().display_name.as_deref(),
        Some("Ada")
    );
    let change = &push.changes()[0];
    assert_eq!(
        (change.old_hash(), change.new_hash()),
        (Some("a"), Some("b"))
    );
    assert_eq!(change.new.as_ref().unwrap().name.as_deref(), Some("main"));
    assert!(!change.needs_fetch());
    assert_eq!(change.commits[0].message.as_deref(), Some("Fixes SHOP-1"));
    let signature = change.commits[0].author.as_ref().unwrap().signature();
    assert_eq!(signature.email.as_deref(), Some("ada@example.org"));
}

#[test]
fn created_deleted_and_forced_refs_have_a_null_side() {
    let push = push(&json!([
        {"old": null, "new": side("branch", "feature/x", "b"), "created": true, "closed": false, "commits": [commit("b")]},
        {"old": side("branch", "old", "c"), "new": null, "created": false, "closed": true},
        {"old": side("branch", "main", "d"), "new": side("branch", "main", "e"), "forced": true, "truncated": true,
            "commits": [commit("e")]},
        {"old": null, "new": side("tag", "v1", "f"), "created": true},
    ]));
    let [created, deleted, forced, tag] = push.changes() else {
        panic!("{push:?}")
    };
    assert!(created.created && created.old_hash().is_none());
    assert!(deleted.closed && deleted.new_hash().is_none() && !deleted.needs_fetch());
    assert!(forced.forced && forced.needs_fetch());
    assert_eq!(tag.new.as_ref().unwrap().kind.as_deref(), Some("tag"));
    assert!(tag.needs_fetch());
}

#[test]
fn five_commits_may_be_more() {
    let commits: Vec<Value> = (0..5).map(|index| commit(&index.to_string())).collect();
    let push = push(
        &json!([{"old": side("branch", "main", "a"), "new": side("branch", "main", "0"), "commits": commits}]),
    );
    assert!(push.changes()[0].needs_fetch());
}

#[test]
fn odd_shapes_lose_only_themselves() {
    let push = push(&json!([
        "text", null, 7,
        {"old": "odd", "new": {"name": 5, "target": {"hash": "b"}}, "created": null, "truncated": "yes",
            "commits": ["odd", {"no": "hash"}, commit("b")]},
    ]));
    assert_eq!(push.changes().len(), 1);
    let change = &push.changes()[0];
    assert_eq!((change.old_hash(), change.new_hash()), (None, Some("b")));
    assert_eq!(change.commits.len(), 1);
    for odd in [
        json!({}),
        json!({"push": null}),
        json!({"push": {"changes": {}}}),
        json!({"push": []}),
    ] {
        let Ok(Event::Push(push)) = Event::parse("repo:push", odd.to_string().as_bytes()) else {
            panic!("{odd}")
        };
        assert!(push.changes().is_empty());
    }
}

#[test]
fn renames_deletions_and_unknown_events() {
    let updated = json!({"repository": {"uuid": "{r}", "full_name": "acme/new"},
        "changes": {"full_name": {"old": "acme/old", "new": "acme/new"}, "description": {"old": null, "new": "x"}}});
    let Event::RepoUpdated(updated) =
        Event::parse("repo:updated", updated.to_string().as_bytes()).unwrap()
    else {
        panic!()
    };
    let expected = OldNew {
        old: Some("acme/old".into()),
        new: Some("acme/new".into()),
    };
    assert_eq!(updated.full_name_change(), Some(&expected));
    let deleted = Event::parse("repo:deleted", br#"{"repository": {"uuid": "{r}"}}"#).unwrap();
    assert!(
        matches!(deleted, Event::RepoDeleted(deleted) if deleted.repository.uuid.as_deref() == Some("{r}"))
    );
    let other = Event::parse("diagnostics:ping", br#"{"test": true}"#).unwrap();
    assert!(matches!(other, Event::Other { event_key } if event_key == "diagnostics:ping"));
}

#[test]
fn bodies_that_are_no_payload() {
    for body in ["", "[]", "null", "{", "\u{0}", "[{}]"] {
        for key in ["repo:push", "repo:updated", "repo:deleted", "x"] {
            assert_eq!(
                Event::parse(key, body.as_bytes()).unwrap_err(),
                EventError::NotJson,
                "{key} {body}"
            );
        }
        assert_eq!(
            peek_repository_uuid(body.as_bytes()).unwrap_err(),
            EventError::NotJson
        );
    }
    assert_eq!(
        Event::parse("repo:push", b"{\"a\":\"\xff\"}").unwrap_err(),
        EventError::NotJson
    );
    assert_eq!(
        peek_repository_uuid(b"{\"repository\":{\"uuid\":\"{r}\"},\"a\":\"\xff\"}").unwrap_err(),
        EventError::NotJson
    );
}

#[test]
fn the_repository_is_found_without_reading_the_rest() {
    assert_eq!(
        peek_repository_uuid(&body(&json!([{"old": 1}]))).unwrap(),
        "{r}"
    );
    for body in [
        r#"{}"#,
        r#"{"repository": null}"#,
        r#"{"repository": "r"}"#,
        r#"{"repository": {}}"#,
        r#"{"repository": {"uuid": 7}}"#,
        r#"{"repository": {"uuid": ""}}"#,
    ] {
        assert_eq!(
            peek_repository_uuid(body.as_bytes()).unwrap_err(),
            EventError::NoRepository,
            "{body}"
        );
    }
}

/// JSON of any shape, with the keys of a push payload among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("push"),
        Just("changes"),
        Just("old"),
        Just("new"),
        Just("target"),
        Just("hash"),
        Just("commits"),
        Just("repository"),
        Just("uuid"),
        Just("author"),
        Just("raw"),
        Just("full_name"),
        Just("links"),
    ];
    leaf.prop_recursive(5, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC*") {
        for key in ["repo:push", "repo:updated", "repo:deleted", text.as_str()] {
            let _ = Event::parse(key, &bytes);
            let _ = Event::parse(key, text.as_bytes());
        }
        let _ = peek_repository_uuid(&bytes);
    }

    #[test]
    fn every_object_is_a_readable_push(json in any_json()) {
        let wrapped = json!({"push": {"changes": [json.clone()]}, "repository": json}).to_string();
        let parsed = Event::parse("repo:push", wrapped.as_bytes());
        prop_assert!(parsed.is_ok());
        if let Ok(Event::Push(push)) = parsed {
            for change in push.changes() {
                let _ = (change.needs_fetch(), change.old_hash(), change.new_hash());
            }
        }
        let _ = peek_repository_uuid(wrapped.as_bytes());
    }
}
