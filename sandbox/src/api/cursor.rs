//! Opaque pages of commit lists: they keep the hashes the first page began with, so that a push
//! between two pages neither doubles nor skips a commit.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::core::lock;
use crate::git::log::Range;

/// How many handed out pages are remembered.
const KEPT: usize = 10_000;

/// Where the next page begins.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) repository: String,
    pub(crate) range: Range,
    pub(crate) offset: usize,
}

/// Pages that were handed out.
#[derive(Default)]
pub(crate) struct Cursors(Mutex<VecDeque<(String, Cursor)>>);

impl Cursors {
    /// Remembers a page; gives its opaque name.
    pub(crate) fn issue(&self, cursor: Cursor) -> String {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let mut pages = lock(&self.0);
        if pages.len() == KEPT {
            pages.pop_front();
        }
        pages.push_back((name.clone(), cursor));
        name
    }

    /// A page of this repository by its name.
    pub(crate) fn find(&self, name: &str, repository: &str) -> Option<Cursor> {
        let pages = lock(&self.0);
        let found = pages
            .iter()
            .rev()
            .find(|(n, c)| n == name && c.repository == repository);
        found.map(|(_, cursor)| cursor.clone())
    }
}
