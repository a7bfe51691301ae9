//! What Data Center posts to a webhook, in the words of [`crate::bitbucket::events`] (bitbucket.md §7).

use serde::Deserialize;
use serde_json::Value;

use super::wire::{Person, Repository as WireRepository};
use crate::bitbucket::events::{Change, Event, EventError, Push, RefState, RepoUpdated, object};
use crate::bitbucket::wire::{CommitRef, Repository, soft, soft_list};

/// Header with the id of a delivery.
pub const REQUEST_ID_HEADER: &str = "X-Request-Id";
/// Event key of the ping that an admin sends from the settings of a webhook.
pub const PING: &str = "diagnostics:ping";

/// The number of the repository that an **unverified** payload names: only good for finding the secret to verify
/// with. It stands at another place for pull requests and for changes of the repository itself.
pub fn peek_repository_id(body: &[u8]) -> Result<u64, EventError> {
    let value: Value = object(body)?;
    [
        "/repository/id",
        "/pullRequest/toRef/repository/id",
        "/new/id",
    ]
    .iter()
    .find_map(|place| value.pointer(place).and_then(Value::as_u64))
    .ok_or(EventError::NoRepository)
}

/// Reads a payload by its event key. Anything that is not used is [`Event::Other`].
pub fn parse(event_key: &str, body: &[u8]) -> Result<Event, EventError> {
    match event_key {
        "repo:refs_changed" => object(body).map(|event: RefsChanged| Event::Push(event.push())),
        "repo:modified" => object(body).map(|event: Modified| Event::RepoUpdated(event.update())),
        _ => object::<Value>(body).map(|_| Event::Other {
            event_key: event_key.to_owned(),
        }),
    }
}

#[derive(Debug, Deserialize)]
struct RefsChanged {
    #[serde(default, deserialize_with = "soft")]
    actor: Person,
    #[serde(default, deserialize_with = "soft")]
    repository: WireRepository,
    #[serde(default, deserialize_with = "soft_list")]
    changes: Vec<WireChange>,
}

#[derive(Debug, Default, Deserialize)]
struct WireChange {
    #[serde(default, rename = "ref", deserialize_with = "soft")]
    name: WireRef,
    #[serde(default, rename = "fromHash", deserialize_with = "hash")]
    from: Option<String>,
    #[serde(default, rename = "toHash", deserialize_with = "hash")]
    to: Option<String>,
    #[serde(default, rename = "type", deserialize_with = "soft")]
    kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct WireRef {
    #[serde(default, deserialize_with = "soft")]
    id: String,
    #[serde(default, rename = "displayId", deserialize_with = "soft")]
    name: Option<String>,
    #[serde(default, rename = "type", deserialize_with = "soft")]
    kind: Option<String>,
}

/// The zero hash stands for a ref that is not there.
fn hash<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = soft(source)?;
    Ok(text.filter(|hash| hash.bytes().any(|byte| byte != b'0')))
}

impl WireRef {
    fn state(&self, hash: String) -> RefState {
        let is_tag = self.id.starts_with("refs/tags/") || self.kind.as_deref() == Some("TAG");
        let name = self
            .id
            .strip_prefix("refs/heads/")
            .or_else(|| self.id.strip_prefix("refs/tags/"));
        RefState {
            kind: Some(if is_tag { "tag" } else { "branch" }.to_owned()),
            name: name.map(str::to_owned).or_else(|| self.name.clone()),
            target: Some(CommitRef { hash: Some(hash) }),
        }
    }
}

impl WireChange {
    fn shown(self) -> Change {
        let state = |hash: Option<String>| hash.map(|hash| self.name.state(hash));
        let (old, new) = (state(self.from.clone()), state(self.to.clone()));
        Change {
            created: old.is_none(),
            closed: new.is_none() || self.kind == "DELETE",
            // The body has the five newest commits at most: the whole range is always asked for.
            truncated: true,
            old,
            new,
            ..Change::default()
        }
    }
}

impl RefsChanged {
    fn push(self) -> Push {
        let changes = self.changes.into_iter().map(WireChange::shown).collect();
        Push::of(self.actor.account(), named(&self.repository), changes)
    }
}

fn named(repository: &WireRepository) -> Repository {
    Repository {
        full_name: repository.full_name(),
        ..Repository::default()
    }
}

/// The settings of a repository were changed, its name perhaps.
#[derive(Debug, Deserialize)]
struct Modified {
    #[serde(default, deserialize_with = "soft")]
    actor: Person,
    #[serde(default, deserialize_with = "soft")]
    new: WireRepository,
}

impl Modified {
    fn update(self) -> RepoUpdated {
        RepoUpdated::of(self.actor.account(), named(&self.new))
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ZERO: &str = "0000000000000000000000000000000000000000";
    const A: &str = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3";
    const B: &str = "b94a8fe5ccb19ba61c4c0873d391e987982fbbd3";

    fn change(id: &str, kind: &str, from: &str, to: &str) -> Value {
        let name = id.rsplit('/').next().unwrap();
        let sort = if id.starts_with("refs/tags/") {
            "TAG"
        } else {
            "BRANCH"
        };
        json!({
            "ref": {"id": id, "displayId": name, "type": sort}, "refId": id,
            "fromHash": from, "toHash": to, "type": kind,
        })
    }

    fn push(changes: &[Value]) -> Push {
        let body = json!({
            "eventKey": "repo:refs_changed", "date": "2026-11-22T10:00:00+0000",
            "actor": {"name": "ada", "displayName": "Ada Lind", "emailAddress": "ada@acme.example"},
            "repository": {"slug": "shop", "id": 42, "project": {"key": "ACME"}},
            "changes": changes,
        });
        match parse("repo:refs_changed", body.to_string().as_bytes()).unwrap() {
            Event::Push(push) => push,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refs_that_are_made_moved_and_deleted() {
        let push = push(&[
            change("refs/heads/feature/cart", "ADD", ZERO, A),
            change("refs/heads/main", "UPDATE", A, B),
            change("refs/heads/old", "DELETE", B, ZERO),
            change("refs/tags/v1", "ADD", ZERO, A),
        ]);
        assert_eq!(push.repository.full_name.as_deref(), Some("ACME/shop"));
        assert_eq!(
            push.actor.as_ref().unwrap().display_name.as_deref(),
            Some("Ada Lind")
        );
        let [made, moved, gone, tag] = push.changes() else {
            panic!()
        };
        assert_eq!((made.old_hash(), made.new_hash()), (None, Some(A)));
        assert_eq!(
            made.new.as_ref().unwrap().name.as_deref(),
            Some("feature/cart")
        );
        assert!(made.created && !made.closed && made.needs_fetch());
        assert_eq!((moved.old_hash(), moved.new_hash()), (Some(A), Some(B)));
        assert!(!moved.created && moved.needs_fetch());
        assert_eq!((gone.old_hash(), gone.new_hash()), (Some(B), None));
        assert!(gone.closed && !gone.needs_fetch());
        assert_eq!(tag.new.as_ref().unwrap().kind.as_deref(), Some("tag"));
    }

    #[test]
    fn the_repository_is_found_where_each_event_has_it() {
        let peek = |value: Value| peek_repository_id(value.to_string().as_bytes());
        assert_eq!(peek(json!({"repository": {"id": 7}})), Ok(7));
        assert_eq!(
            peek(json!({"pullRequest": {"toRef": {"repository": {"id": 8}}}})),
            Ok(8)
        );
        assert_eq!(peek(json!({"old": {"id": 9}, "new": {"id": 9}})), Ok(9));
        for odd in [
            json!({}),
            json!({"repository": {"id": "7"}}),
            json!({"repository": 7}),
        ] {
            assert_eq!(peek(odd), Err(EventError::NoRepository));
        }
        for bytes in [&b""[..], b"[]", b"null", b"{", b"\xff"] {
            assert_eq!(peek_repository_id(bytes), Err(EventError::NotJson));
        }
    }

    #[test]
    fn a_rename_and_what_is_not_used() {
        let body =
            json!({"new": {"id": 1, "slug": "store", "project": {"key": "ACME"}}}).to_string();
        let Event::RepoUpdated(update) = parse("repo:modified", body.as_bytes()).unwrap() else {
            panic!()
        };
        assert_eq!(update.repository.full_name.as_deref(), Some("ACME/store"));
        assert!(matches!(
            parse("pr:opened", b"{}").unwrap(),
            Event::Other { .. }
        ));
        assert!(parse("repo:refs_changed", b"[]").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\{\"(changes|repository|new)\":[\\[\\]{}\",:a-z0-9]{0,40}\\}") {
            for body in [bytes.as_slice(), text.as_bytes()] {
                for key in ["repo:refs_changed", "repo:modified", "pr:merged"] {
                    let _ = parse(key, body);
                }
                let _ = peek_repository_id(body);
            }
        }
    }
}
