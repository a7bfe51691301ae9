//! A small cache for rows that hot requests need and that seldom change.
//!
//! An entry lives for [`LIFE`], so that another process sees a change soon. In this process a change is seen at
//! once: whoever commits one calls [`FreshCache::forget`], and a reader that began before it cannot put its
//! older row back, because it holds a ticket of the time before.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Micros;

/// How long an entry is believed.
pub const LIFE: Duration = Duration::from_secs(1);
/// Entries kept; at more the cache starts again empty.
const MAX_ENTRIES: usize = 10_000;

/// Values by key, each believed for a moment.
pub struct FreshCache<K, V> {
    inner: Mutex<Inner<K, V>>,
}

struct Inner<K, V> {
    /// Counts the changes: a value read under an older count is not kept.
    changes: u64,
    entries: HashMap<K, (V, Micros)>,
}

/// The right to keep a value that is read from the database after it was taken.
#[derive(Debug, Clone, Copy)]
pub struct Ticket(u64);

impl<K, V> Default for FreshCache<K, V> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                changes: 0,
                entries: HashMap::new(),
            }),
        }
    }
}

impl<K: Eq + Hash, V: Clone> FreshCache<K, V> {
    /// The value of `key`, if it was read less than [`LIFE`] ago.
    pub fn get<Q>(&self, key: &Q, now: Micros) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let inner = self.lock();
        let (value, read_at) = inner.entries.get(key)?;
        (now.since(*read_at) < LIFE).then(|| value.clone())
    }

    /// To be taken before reading the database.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.lock().changes)
    }

    /// Keeps a value, unless something changed since the ticket was taken.
    pub fn put(&self, ticket: Ticket, key: K, value: V, now: Micros) {
        let mut inner = self.lock();
        if inner.changes != ticket.0 {
            return;
        }
        if inner.entries.len() >= MAX_ENTRIES {
            inner.entries.clear();
        }
        inner.entries.insert(key, (value, now));
    }

    /// Forgets everything. To be called after a change has committed.
    pub fn forget(&self) {
        let mut inner = self.lock();
        inner.changes = inner.changes.wrapping_add(1);
        inner.entries.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(10_000_000);

    #[test]
    fn an_entry_lives_for_a_moment() {
        let cache = FreshCache::<String, u8>::default();
        cache.put(cache.ticket(), "a".to_owned(), 1, NOW);
        assert_eq!(
            cache.get("a", NOW.plus(LIFE - Duration::from_micros(1))),
            Some(1)
        );
        assert_eq!(cache.get("a", NOW.plus(LIFE)), None);
        assert_eq!(cache.get("b", NOW), None);
    }

    #[test]
    fn a_change_is_seen_at_once_and_an_older_read_is_not_kept() {
        let cache = FreshCache::<String, u8>::default();
        let before = cache.ticket();
        cache.put(before, "a".to_owned(), 1, NOW);
        cache.forget();
        assert_eq!(cache.get("a", NOW), None);
        cache.put(before, "a".to_owned(), 1, NOW);
        assert_eq!(cache.get("a", NOW), None, "read before the change");
        cache.put(cache.ticket(), "a".to_owned(), 2, NOW);
        assert_eq!(cache.get("a", NOW), Some(2));
    }

    #[test]
    fn memory_is_bounded() {
        let cache = FreshCache::<usize, u8>::default();
        for key in 0..=MAX_ENTRIES {
            cache.put(cache.ticket(), key, 0, NOW);
        }
        assert_eq!(cache.get(&MAX_ENTRIES, NOW), Some(0));
        assert!(cache.lock().entries.len() <= MAX_ENTRIES);
    }
}
