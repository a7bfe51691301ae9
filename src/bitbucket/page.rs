//! Lists: the page envelope, its cursor, and how far we walk (bitbucket.md §4.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json;
use super::meta::Meta;
use super::wire::soft;

/// The `next` link of a page, to be given back later as it is. It is checked again when used, so
/// it may be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// How far a list is walked at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Requests.
    pub pages: usize,
    /// Items kept.
    pub items: usize,
}

impl Caps {
    /// 50 pages of 100, the bound that integrations are used to (sentry.md §15.2).
    pub const DEFAULT: Self = Self {
        pages: 50,
        items: 5_000,
    };

    /// At most `items`, in as many pages as that takes.
    pub const fn items(items: usize) -> Self {
        Self { pages: 50, items }
    }
}

/// One page of typed items.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// Items that could be read.
    pub items: Vec<T>,
    /// Items that could not, such as bare strings on plans without the feature.
    pub skipped: usize,
    /// Where the next page is.
    pub next: Option<Cursor>,
    /// What the headers say.
    pub meta: Meta,
}

/// A list walked to its end or to a cap.
#[derive(Debug, Clone)]
pub struct Listing<T> {
    /// Items in the order of the API.
    pub items: Vec<T>,
    /// Items that could not be read.
    pub skipped: usize,
    /// False when a cap ended the walk; `next` then says where to go on.
    pub complete: bool,
    /// Where the first page not read is.
    pub next: Option<Cursor>,
    /// What the headers of the last page that was read say.
    pub meta: Meta,
}

impl<T> Listing<T> {
    /// The same list of something else; items without an answer count as skipped.
    pub(super) fn keep<U>(self, show: impl FnMut(T) -> Option<U>) -> Listing<U> {
        let total = self.items.len();
        let items: Vec<U> = self.items.into_iter().filter_map(show).collect();
        Listing {
            skipped: self.skipped + total - items.len(),
            items,
            complete: self.complete,
            next: self.next,
            meta: self.meta,
        }
    }
}

impl<T> Page<T> {
    /// The same page of something else; items without an answer count as skipped.
    pub(super) fn keep<U>(self, show: impl FnMut(T) -> Option<U>) -> Page<U> {
        let total = self.items.len();
        let items: Vec<U> = self.items.into_iter().filter_map(show).collect();
        Page {
            skipped: self.skipped + total - items.len(),
            items,
            next: self.next,
            meta: self.meta,
        }
    }
}

/// The envelope. Only `values` and `next` are promised by the API.
#[derive(Debug, Default, Deserialize)]
struct Envelope {
    #[serde(default, deserialize_with = "soft")]
    values: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "soft")]
    next: Option<String>,
}

impl<T: serde::de::DeserializeOwned> Page<T> {
    /// Reads a page; items first as they are, then typed, so that one odd item does not lose the
    /// others. `None` if this is no page at all.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let envelope: Envelope = json::read(body).ok()?;
        let values = envelope.values?;
        let total = values.len();
        let items: Vec<T> = values
            .into_iter()
            .filter_map(|value| serde_json::from_value(value).ok())
            .collect();
        let next = envelope.next.filter(|next| !next.is_empty()).map(Cursor);
        Some(Self {
            skipped: total - items.len(),
            items,
            next,
            meta: Meta::default(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bitbucket::wire::Commit;

    #[test]
    fn odd_items_and_empty_links() {
        let page = Page::<Commit>::parse(
            br#"{"values": ["upgrade your plan", {"hash": "abc"}, 7, null], "next": "", "size": "x"}"#,
        )
        .unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!((page.skipped, page.next), (3, None));
        let page = Page::<Commit>::parse(br#"{"values": [], "next": "https://x/api/y"}"#).unwrap();
        assert_eq!(page.next, Some(Cursor("https://x/api/y".into())));
    }

    #[test]
    fn what_is_no_page() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"values": "x"}"#,
            r#"{"type": "error"}"#,
            "<html>",
        ] {
            assert!(Page::<Commit>::parse(body.as_bytes()).is_none(), "{body}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "\\PC{0,60}") {
            let _ = Page::<Commit>::parse(&bytes);
            let _ = Page::<Commit>::parse(format!("{{\"values\":[{text}],\"next\":{text}}}").as_bytes());
        }
    }
}
