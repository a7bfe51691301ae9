//! Whom a DSN key belongs to, remembered for a moment: the hot path must not ask the database per event.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::reply::Refusal;
use crate::app::App;
use crate::features::accounts::{self, OrgId, ProjectId};
use crate::kit::clock::Micros;
use crate::kit::db::DbError;

/// How long an answer is believed. While one request asks again, the others still use the old answer, so a key
/// that was switched off works for at most twice this time.
const FRESH: Duration = Duration::from_secs(2);
/// Keys remembered at most, unknown ones included.
const REMEMBERED: usize = 10_000;

/// Whose key it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) org: OrgId,
    pub(super) project: ProjectId,
}

/// Public keys, when they were asked for, and what the answer was.
#[derive(Default)]
struct Keys(Mutex<HashMap<String, (Micros, Option<Key>)>>);

impl Keys {
    /// The answer that is remembered, unless this caller should ask again.
    fn recall(&self, public_key: &str, now: Micros) -> Option<Option<Key>> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, key) = keys.get_mut(public_key)?;
        if now.since(*asked) < FRESH {
            return Some(*key);
        }
        *asked = now;
        None
    }

    fn remember(&self, public_key: &str, key: Option<Key>, now: Micros) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= REMEMBERED && !keys.contains_key(public_key) {
            keys.retain(|_, (asked, _)| now.since(*asked) < FRESH);
            if keys.len() >= REMEMBERED {
                keys.clear();
            }
        }
        keys.insert(public_key.to_owned(), (now, key));
    }
}

/// The owner of a key that may send to the project of the path.
pub(super) async fn find(app: &App, public_key: &str, project: &str) -> Result<Key, Refusal> {
    let (keys, now) = (app.cache::<Keys>(), app.clock.now());
    let key = match keys.recall(public_key, now) {
        Some(key) => key,
        None => {
            let wanted = public_key.to_owned();
            let found = app
                .db
                .read(move |conn| Ok::<_, DbError>(accounts::find_key(conn, &wanted)?))
                .await?;
            let key = found.filter(|key| key.active).map(|key| Key {
                org: key.org_id,
                project: key.project_id,
            });
            keys.remember(public_key, key, now);
            key
        }
    };
    key.filter(|key| project.parse() == Ok(key.project))
        .ok_or_else(Refusal::unknown_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asks_again_and_the_others_go_on() {
        let keys = Keys::default();
        let now = Micros(1);
        assert!(keys.recall("a", now).is_none());
        keys.remember(
            "a",
            Some(Key {
                org: OrgId(1),
                project: ProjectId(2),
            }),
            now,
        );
        keys.remember("b", None, now);
        assert!(keys.recall("a", now).is_some_and(|key| key.is_some()));
        assert!(keys.recall("b", now).is_some_and(|key| key.is_none()));
        let later = now.plus(FRESH);
        assert!(keys.recall("a", later).is_none());
        assert!(keys.recall("a", later).is_some());
    }

    #[test]
    fn made_up_keys_take_a_bounded_place() {
        let keys = Keys::default();
        for number in 0..3 * REMEMBERED {
            keys.remember(&number.to_string(), None, Micros(1));
        }
        assert!(keys.0.lock().is_ok_and(|keys| keys.len() <= REMEMBERED));
    }
}
