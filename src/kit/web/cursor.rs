//! Paging as Sentry's clients know it (sentry.md §10.3): a cursor `value:offset:is_prev` in the query
//! and a `Link` header with a previous and a next entry.
//!
//! Two ways to page share the header. [`PageRequest::offset_page`] counts rows (`0:100:0`), for lists
//! that are short or sorted by something that is not unique. [`PageRequest::keyed_page`] continues
//! after a unique key (`4711:0:0`), for long lists that grow while they are read.

use std::fmt;
use std::str::FromStr;

/// Rows of a page when the client names no number, and the most it may name (sentry.md §10.3).
pub const DEFAULT_PER_PAGE: usize = 100;

/// A place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Key of the row at the edge of the page; 0 when paging by offset.
    pub value: i64,
    /// Rows to skip.
    pub offset: u32,
    /// Whether the page before that place is meant.
    pub is_prev: bool,
}

/// The text is no `value:offset:is_prev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor")]
pub struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut parts = text.split(':');
        let (Some(value), Some(offset), Some(is_prev), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadCursor);
        };
        Ok(Self {
            value: value.parse().map_err(|_| BadCursor)?,
            offset: offset.parse().map_err(|_| BadCursor)?,
            is_prev: match is_prev {
                "0" => false,
                "1" => true,
                _ => return Err(BadCursor),
            },
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}",
            self.value,
            self.offset,
            u8::from(self.is_prev)
        )
    }
}

/// Which page a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    cursor: Option<Cursor>,
    per_page: usize,
}

/// Where a keyed query starts; keys are unique, positive, and the list runs from high to low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRange {
    /// From the top: `ORDER BY key DESC`.
    First,
    /// `WHERE key < … ORDER BY key DESC`.
    Below(i64),
    /// `WHERE key > … ORDER BY key ASC`; [`PageRequest::keyed_page`] turns the rows round.
    Above(i64),
}

impl PageRequest {
    /// Reads the `cursor` and `per_page` of a query. An empty cursor is the first page, as
    /// sentry-cli sends it; `per_page` beyond [`DEFAULT_PER_PAGE`] is cut, an unreadable one ignored.
    ///
    /// # Errors
    /// A cursor that is neither empty nor well formed.
    pub fn from_query(cursor: Option<&str>, per_page: Option<&str>) -> Result<Self, BadCursor> {
        let cursor = cursor
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::parse)
            .transpose()?;
        let per_page = per_page
            .and_then(|text| text.trim().parse::<usize>().ok())
            .unwrap_or(DEFAULT_PER_PAGE);
        Ok(Self {
            cursor,
            per_page: per_page.clamp(1, DEFAULT_PER_PAGE),
        })
    }

    /// Rows to ask the database for: one more than a page, to see whether more follow.
    pub fn sql_limit(&self) -> i64 {
        i64::try_from(self.per_page)
            .unwrap_or(i64::MAX)
            .saturating_add(1)
    }

    /// Rows to skip when paging by offset.
    pub fn sql_offset(&self) -> i64 {
        i64::from(self.cursor.unwrap_or_default().offset)
    }

    /// Rows to look at when paging by key.
    pub fn key_range(&self) -> KeyRange {
        match self.cursor {
            None | Some(Cursor { value: ..=0, .. }) => KeyRange::First,
            Some(Cursor {
                value,
                is_prev: true,
                ..
            }) => KeyRange::Above(value),
            Some(Cursor {
                value,
                is_prev: false,
                ..
            }) => KeyRange::Below(value),
        }
    }

    /// The page made of rows that were read with [`Self::sql_offset`] and [`Self::sql_limit`].
    pub fn offset_page<T>(&self, mut rows: Vec<T>) -> Page<T> {
        let size = u32::try_from(self.per_page).unwrap_or(u32::MAX);
        let offset = self.cursor.unwrap_or_default().offset;
        let has_next = rows.len() > self.per_page;
        rows.truncate(self.per_page);
        Page {
            rows,
            previous: Edge {
                cursor: Cursor {
                    value: 0,
                    offset: offset.saturating_sub(size),
                    is_prev: true,
                },
                has_results: offset > 0,
            },
            next: Edge {
                cursor: Cursor {
                    value: 0,
                    offset: offset.saturating_add(size),
                    is_prev: false,
                },
                has_results: has_next,
            },
        }
    }

    /// The page made of rows that were read with [`Self::key_range`] and [`Self::sql_limit`].
    pub fn keyed_page<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> i64) -> Page<T> {
        let more = rows.len() > self.per_page;
        rows.truncate(self.per_page);
        let range = self.key_range();
        let (has_previous, has_next) = match range {
            KeyRange::First => (false, more),
            KeyRange::Below(_) => (true, more),
            KeyRange::Above(_) => (more, true),
        };
        if matches!(range, KeyRange::Above(_)) {
            rows.reverse();
        }
        let asked = self.cursor.unwrap_or_default().value;
        let edge = |row: Option<&T>, is_prev, has_results| Edge {
            cursor: Cursor {
                value: row.map_or(asked, &key),
                offset: 0,
                is_prev,
            },
            has_results,
        };
        let previous = edge(rows.first(), true, has_previous);
        let next = edge(rows.last(), false, has_next);
        Page {
            rows,
            previous,
            next,
        }
    }
}

/// One end of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Where the neighbouring page begins.
    pub cursor: Cursor,
    /// Whether that page holds anything.
    pub has_results: bool,
}

/// A page of rows and its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// At most `per_page` rows.
    pub rows: Vec<T>,
    /// Towards the start of the list.
    pub previous: Edge,
    /// Towards its end.
    pub next: Edge,
}

impl<T> Page<T> {
    /// The same page with other rows.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            rows: self.rows.into_iter().map(change).collect(),
            previous: self.previous,
            next: self.next,
        }
    }

    /// The value of the `Link` header. `url` is absolute and has no query; `query` is the request's
    /// own, still encoded, and loses its `cursor`.
    pub fn link_header(&self, url: &str, query: &str) -> String {
        let mut base = header_safe(url);
        base.push('?');
        let kept = query.split('&').filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !pair.is_empty() && name != "cursor"
        });
        base.push_str(&kept.map(header_safe).collect::<Vec<_>>().join("&"));
        let entry = |edge: &Edge, rel: &str| {
            let Edge {
                cursor,
                has_results,
            } = edge;
            format!(
                r#"<{base}&cursor={cursor}>; rel="{rel}"; results="{has_results}"; cursor="{cursor}""#
            )
        };
        format!(
            "{}, {}",
            entry(&self.previous, "previous"),
            entry(&self.next, "next")
        )
    }
}

/// Leaves out what would end the URL, the entry or the header early; none of it is legal in a URL.
fn header_safe(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"'))
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(cursor: &str, per_page: &str) -> PageRequest {
        PageRequest::from_query(Some(cursor), Some(per_page)).unwrap()
    }

    #[test]
    fn the_first_page_has_an_empty_cursor() {
        let first = PageRequest::from_query(None, None).unwrap();
        assert_eq!(PageRequest::from_query(Some(""), None), Ok(first));
        assert_eq!(
            (first.sql_offset(), first.sql_limit(), first.key_range()),
            (0, 101, KeyRange::First)
        );
        assert_eq!(request("", "7").sql_limit(), 8);
        assert_eq!(request("", "1000").sql_limit(), 101);
        assert_eq!(request("", "0").sql_limit(), 2);
        assert_eq!(request("", "x").sql_limit(), 101);
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in [
            "0",
            "0:1",
            "0:1:2",
            "0:1:0:0",
            "a:0:0",
            "0:-1:0",
            "0:0:true",
            "0:4294967296:0",
            "9223372036854775808:0:0",
        ] {
            assert_eq!(
                PageRequest::from_query(Some(text), None),
                Err(BadCursor),
                "{text}"
            );
        }
    }

    #[test]
    fn the_link_header_has_the_form_clients_parse() {
        let page = request("", "100").offset_page((0..101).collect());
        assert_eq!(page.rows.len(), 100);
        assert_eq!(
            page.link_header("https://h/api/0/organizations/o/repos/", "cursor="),
            "<https://h/api/0/organizations/o/repos/?&cursor=0:0:1>; rel=\"previous\"; results=\"false\"; cursor=\"0:0:1\", \
             <https://h/api/0/organizations/o/repos/?&cursor=0:100:0>; rel=\"next\"; results=\"true\"; cursor=\"0:100:0\""
        );
        let last = request("0:100:0", "100").offset_page(vec![1]);
        assert_eq!(
            last.link_header(
                "https://h/x/",
                "query=is%3Aunresolved&cursor=0:100:0&sort=date"
            ),
            "<https://h/x/?query=is%3Aunresolved&sort=date&cursor=0:0:1>; rel=\"previous\"; results=\"true\"; cursor=\"0:0:1\", \
             <https://h/x/?query=is%3Aunresolved&sort=date&cursor=0:200:0>; rel=\"next\"; results=\"false\"; cursor=\"0:200:0\""
        );
    }

    #[test]
    fn a_query_cannot_break_out_of_the_header() {
        let page = request("", "1").offset_page(vec![1]);
        let header = page.link_header("https://h/", "q=\">; rel=\"next\"\r\nX: y");
        assert_eq!(header.matches("rel=\"").count(), 2);
        assert!(header.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
    }

    #[test]
    fn keyed_pages_walk_there_and_back() {
        // A list of keys 10, 9, … 1 in pages of four.
        let read = |request: &PageRequest| {
            let limit = usize::try_from(request.sql_limit()).unwrap();
            let rows: Vec<i64> = match request.key_range() {
                KeyRange::First => (1..=10).rev().take(limit).collect(),
                KeyRange::Below(key) => (1..=10)
                    .rev()
                    .filter(|row| *row < key)
                    .take(limit)
                    .collect(),
                KeyRange::Above(key) => (1..=10).filter(|row| *row > key).take(limit).collect(),
            };
            request.keyed_page(rows, |row| *row)
        };
        let follow = |edge: Edge| request(&edge.cursor.to_string(), "4");
        let first = read(&request("", "4"));
        assert_eq!(
            (first.rows.clone(), first.previous.has_results),
            (vec![10, 9, 8, 7], false)
        );
        let second = read(&follow(first.next));
        assert_eq!(
            (second.rows.clone(), second.next.has_results),
            (vec![6, 5, 4, 3], true)
        );
        let third = read(&follow(second.next));
        assert_eq!(
            (third.rows.clone(), third.next.has_results),
            (vec![2, 1], false)
        );
        assert!(read(&follow(third.next)).rows.is_empty());
        assert_eq!(read(&follow(third.previous)), second);
        assert_eq!(read(&follow(second.previous)).rows, first.rows);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn cursors_round_trip(value: i64, offset: u32, is_prev: bool) {
            let cursor = Cursor { value, offset, is_prev };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_text_gives_an_answer(cursor in "[0-9:-]{0,30}|\\PC*", per_page in "[0-9]{0,30}|\\PC*", query in "\\PC*") {
            if let Ok(request) = PageRequest::from_query(Some(&cursor), Some(&per_page)) {
                let _ = request.keyed_page(vec![1], |row| *row);
                let header = request.offset_page(vec![1]).link_header("https://h/", &query);
                prop_assert!(header.is_ascii());
            }
        }

        #[test]
        fn offset_pages_cover_a_list_once(total in 0..500_usize, per_page in 1..=100_usize) {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let request = request(&cursor, &per_page.to_string());
                let limit = usize::try_from(request.sql_limit()).unwrap();
                let skip = usize::try_from(request.sql_offset()).unwrap();
                let page = request.offset_page((0..total).skip(skip).take(limit).collect());
                seen.extend(page.rows);
                if !page.next.has_results {
                    break;
                }
                cursor = page.next.cursor.to_string();
            }
            prop_assert_eq!(seen, (0..total).collect::<Vec<_>>());
        }
    }
}
