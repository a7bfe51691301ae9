//! Tags of a group, counted over its last events: exact counters per tag would cost every event several writes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Group;
use super::store::events::{self, EventsOf};
use crate::error::AppResult;
use crate::kit::db::Conn;
use crate::kit::web::cursor::KeyRange;
use crate::sentry::event::{Event, User};

/// Events that are looked at.
const SAMPLE: i64 = 50;
/// Events in memory at once; each may be a megabyte.
const AT_ONCE: usize = 5;
/// Tags, and values of one tag, that are shown.
const SHOWN: usize = 12;

/// A tag and its most frequent values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TagCounts {
    /// Key.
    pub(super) key: String,
    /// Events of the sample that have it.
    pub(super) total: usize,
    /// Values, the most frequent first.
    pub(super) values: Vec<TagValue>,
}

/// A value of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TagValue {
    /// The value.
    pub(super) value: String,
    /// Events of the sample that have it.
    pub(super) count: usize,
    /// Share of the events that have the tag, in percent.
    pub(super) percent: usize,
}

/// The tags of one event, well-known fields first.
pub(super) fn of_event(event: &Event<'_>) -> Vec<(String, String)> {
    let known = [
        ("environment", event.environment.as_deref()),
        ("release", event.release.as_deref()),
        ("server_name", event.server_name.as_deref()),
        ("transaction", event.transaction.as_deref()),
        ("logger", event.logger.as_deref()),
    ];
    let mut tags: Vec<_> = known
        .iter()
        .filter_map(|(key, value)| Some(((*key).to_owned(), (*value)?.to_owned())))
        .collect();
    for (key, value) in &event.tags {
        if !tags.iter().any(|(known, _)| *known == **key) {
            tags.push((key.clone().into_owned(), value.clone().into_owned()));
        }
    }
    if let Some(user) = event.user.as_ref().and_then(user_tag) {
        tags.push(("user".to_owned(), user));
    }
    tags
}

fn user_tag(user: &User<'_>) -> Option<String> {
    let known = [
        ("id", &user.id),
        ("email", &user.email),
        ("username", &user.username),
        ("ip", &user.ip_address),
    ];
    known.iter().find_map(|(key, value)| {
        Some(format!(
            "{key}:{}",
            crate::sentry::text::one_line(value.text()?)
        ))
    })
}

/// Counts the tags of a group's last events.
pub(super) fn sample(conn: &mut Conn, group: &Group) -> AppResult<Vec<TagCounts>> {
    let rows = events::page(conn, EventsOf::Group(group.id), KeyRange::First, SAMPLE)?;
    let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for some in rows.chunks(AT_ONCE) {
        for stored in events::load(conn, some)? {
            for (key, value) in of_event(&stored.event()?) {
                *counts.entry(key).or_default().entry(value).or_default() += 1;
            }
        }
    }
    Ok(rank(counts))
}

/// The most frequent tags and values first; equals by name.
fn rank(counts: BTreeMap<String, BTreeMap<String, usize>>) -> Vec<TagCounts> {
    let mut tags: Vec<TagCounts> = counts
        .into_iter()
        .map(|(key, values)| {
            let total = values.values().sum::<usize>().max(1);
            let mut values: Vec<_> = values
                .into_iter()
                .map(|(value, count)| TagValue {
                    percent: count * 100 / total,
                    value,
                    count,
                })
                .collect();
            values.sort_by_key(|value| std::cmp::Reverse(value.count));
            values.truncate(SHOWN);
            TagCounts { key, total, values }
        })
        .collect();
    tags.sort_by_key(|tag| std::cmp::Reverse(tag.total));
    tags.truncate(SHOWN);
    tags
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_come_first() {
        let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        counts
            .entry("browser".into())
            .or_default()
            .extend([("a".to_owned(), 1), ("b".to_owned(), 3)]);
        counts
            .entry("os".into())
            .or_default()
            .insert("x".into(), 10);
        let tags = rank(counts);
        assert_eq!((tags[0].key.as_str(), tags[0].total), ("os", 10));
        let values: Vec<_> = tags[1]
            .values
            .iter()
            .map(|value| (value.value.as_str(), value.percent))
            .collect();
        assert_eq!(values, [("b", 75), ("a", 25)]);
    }

    #[test]
    fn an_events_own_tags_do_not_replace_its_fields() {
        let event = Event::parse(
            r#"{"environment":"prod","tags":{"environment":"x","k":"v"},"user":{"email":"a@b"}}"#,
        )
        .unwrap();
        let tags = of_event(&event);
        let expected = [("environment", "prod"), ("k", "v"), ("user", "email:a@b")];
        assert_eq!(tags, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
}
