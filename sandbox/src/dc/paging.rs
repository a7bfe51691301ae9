//! Pages of Data Center: `start`, `limit`, `nextPageStart`.

use std::collections::HashSet;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::Dc;
use crate::core::lock;
use crate::journal::Rule;
use crate::reply::{Outcome, Reply};

/// Most items of a page; larger limits are cut.
const MOST: usize = 1000;
/// How many handed out pages are remembered.
const KEPT: usize = 100_000;

/// Page starts that were handed out.
#[derive(Default)]
pub(crate) struct Pages(Mutex<HashSet<String>>);

impl Pages {
    fn hand_out(&self, key: String) {
        let mut known = lock(&self.0);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(key);
    }

    fn knows(&self, key: &str) -> bool {
        lock(&self.0).contains(key)
    }
}

/// Where a page begins and how long it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub(super) start: usize,
    pub(super) limit: usize,
}

impl Dc {
    /// The page a call asks for. A `start` that was computed and not taken from `nextPageStart` is
    /// recorded; Data Center serves it.
    pub(super) fn page(&self) -> Result<Page, Reply> {
        self.page_of(25)
    }

    /// Like [`Dc::page`], with another length when the call names none.
    pub(super) fn page_of(&self, length: usize) -> Result<Page, Reply> {
        let number = |name: &str, default: usize, least: usize| match self.call.param(name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(number) if number >= least => Ok(number),
                _ => Err(self.wrong(Rule::BadPage, 400, &format!("{name} is not a page {name}"))),
            },
        };
        let page = Page {
            start: number("start", 0, 0)?,
            limit: number("limit", length, 1)?.min(MOST),
        };
        if page.start > 0 && !self.core.pages.knows(&self.page_key(page.start)) {
            let detail = format!("start={} was not handed out as nextPageStart", page.start);
            let (method, target) = (&self.call.method, self.call.target());
            self.core.violation(Rule::BadPage, method, &target, detail);
        }
        Ok(page)
    }

    /// The list that a start belongs to. The limit may change from page to page.
    fn page_key(&self, start: usize) -> String {
        let mut pairs = self.call.params();
        pairs.retain(|(name, _)| name != "start" && name != "limit");
        pairs.sort();
        format!("{} {pairs:?} {start}", self.call.path)
    }

    /// A page of values; `more` says whether others follow.
    pub(super) fn envelope(&self, page: Page, values: Vec<Value>, more: bool) -> Value {
        let next = page.start + values.len();
        if more {
            self.core.pages.hand_out(self.page_key(next));
        }
        json!({
            "size": values.len(), "limit": page.limit, "start": page.start,
            "isLastPage": !more, "nextPageStart": more.then_some(next), "values": values,
        })
    }

    /// Cuts the asked page out of a list and shows it.
    pub(super) fn list<T>(&self, items: &[T], show: impl Fn(&T) -> Value) -> Outcome {
        let page = self.page()?;
        let here = items.iter().skip(page.start).take(page.limit);
        let values: Vec<Value> = here.map(show).collect();
        let more = page.start + values.len() < items.len();
        Ok(Reply::json(200, &self.envelope(page, values, more)))
    }
}
