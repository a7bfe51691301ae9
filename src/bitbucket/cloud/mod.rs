//! Bitbucket Cloud, one file per resource. Each method is one documented call, or one list walked
//! with a cap.

mod access;
mod comments;
mod commits;
mod hooks;
mod host;
mod issues;
mod refs;
mod repositories;
mod source;
mod workspaces;

use std::time::Duration;

use reqwest::StatusCode;
use serde::de::DeserializeOwned;

pub use comments::Comment;
pub use hooks::{Hook, HookSpec};
pub(crate) use host::CAPABILITIES;
pub use host::CloudHost;
pub use issues::{Issue, IssueChange, NewIssue};
pub use refs::Branch;
pub use source::{ChangedFile, FileSide};

use super::behind::{Behind, Caller, Priority};
use super::call::{Answer, Call};
use super::client::{Client, DEFAULT_TIMEOUT};
use super::error::{Error, Kind};
use super::json;
use super::meta::Meta;
use super::page::{Caps, Cursor, Listing, Page};

/// Items per page that we ask for: the most the API gives.
const PAGE_SIZE: &str = "100";
/// What a page holds at most when we do not ask for a size (bitbucket.md §3.4, diffstat).
const USUAL_PAGE: usize = 500;
/// What we ask for after a 555, in this order.
const SMALLER_PAGES: [usize; 2] = [25, 10];

/// The API as one credential sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cloud {
    client: Client,
    caller: Caller,
    timeout: Duration,
}

impl Cloud {
    pub(super) fn new(client: Client, caller: Caller) -> Self {
        Self {
            client,
            caller,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// The same with another time limit for each call (repeats and redirects included).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same with a shared budget, kept answers and a log.
    #[must_use]
    pub fn with_behind(mut self, behind: Behind) -> Self {
        self.caller.behind = Some(behind);
        self
    }

    /// The same for somebody else who waits.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.caller.priority = priority;
        self
    }

    /// The same in the name of a part of the product, for the log.
    #[must_use]
    pub fn for_feature(mut self, feature: &'static str) -> Self {
        self.caller.feature = feature;
        self
    }

    pub(super) fn caller_mut(&mut self) -> &mut Caller {
        &mut self.caller
    }

    /// The client behind it, for web addresses.
    pub fn client(&self) -> &Client {
        &self.client
    }

    async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        let call = call.timeout(self.timeout);
        let url = self.client.url_of(&call)?;
        self.client.send(&self.caller, &call, url).await
    }

    /// One object.
    async fn object<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Error> {
        let garbage = call.error(
            Kind::Garbage,
            "the answer is not the object that was asked for",
        );
        let answer = self.send(call).await?;
        let object = json::read(&answer.body).map_err(|_| garbage)?;
        answer.keep().await;
        Ok(object)
    }

    /// One page: the first, or the one a cursor names.
    async fn page<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        from: Option<&Cursor>,
    ) -> Result<Page<T>, Error> {
        Ok(self.page_and_status(call, from).await?.0)
    }

    async fn page_and_status<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        from: Option<&Cursor>,
    ) -> Result<(Page<T>, u16), Error> {
        let call = call.timeout(self.timeout);
        let url = match from {
            Some(Cursor(next)) => self.client.checked_next(next).ok_or_else(|| {
                call.error(
                    Kind::Garbage,
                    "the link to the next page leads out of the API",
                )
            })?,
            None => self.client.url_of(&call)?,
        };
        let answer = self.client.send(&self.caller, &call, url).await?;
        let page = Page::parse(&answer.body)
            .ok_or_else(|| call.error(Kind::Garbage, "the answer is not a page of a list"))?;
        answer.keep().await;
        let (meta, status) = (answer.meta, answer.status);
        Ok((Page { meta, ..page }, status))
    }

    /// A list, walked by its `next` links up to the caps. Where the pages are too big for Bitbucket to make (555),
    /// the walk begins again with smaller ones: the links of the old walk count in its own pages.
    async fn list<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        caps: Caps,
    ) -> Result<Listing<T>, Error> {
        let (mut call, mut caps) = (call, caps);
        loop {
            let error = match self.walk(call.clone(), caps).await {
                Err(error) if error.kind() == Kind::TooSlow => error,
                other => return other,
            };
            let size = call.page_size();
            let Some(smaller) = smaller_page(size) else {
                return Err(error);
            };
            let ratio = size.unwrap_or(USUAL_PAGE).div_ceil(smaller);
            caps.pages = caps.pages.saturating_mul(ratio);
            call = call.with_page_size(smaller);
        }
    }

    async fn walk<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        caps: Caps,
    ) -> Result<Listing<T>, Error> {
        let mut listing = Listing {
            items: Vec::new(),
            skipped: 0,
            complete: false,
            next: None,
            meta: Meta::default(),
        };
        let mut unfinished = false;
        for _ in 0..caps.pages {
            let (page, status): (Page<T>, u16) = self
                .page_and_status(call.clone(), listing.next.as_ref())
                .await?;
            // Bitbucket has not looked at everything yet (bitbucket.md §3.4).
            unfinished |= status == StatusCode::ACCEPTED.as_u16();
            if page.next.is_some() && page.next == listing.next {
                return Err(call.error(
                    Kind::Garbage,
                    "the link to the next page leads to the same page",
                ));
            }
            listing.items.extend(page.items);
            listing.skipped += page.skipped;
            listing.next = page.next;
            listing.meta = page.meta;
            if listing.next.is_none() || listing.items.len() >= caps.items {
                break;
            }
        }
        let whole = listing.next.is_none() && listing.items.len() <= caps.items;
        listing.complete = whole && !unfinished;
        listing.items.truncate(caps.items);
        Ok(listing)
    }
}

/// The next smaller page to ask for; `None` when it cannot get smaller (bitbucket.md §4.1).
fn smaller_page(size: Option<usize>) -> Option<usize> {
    let size = size.unwrap_or(USUAL_PAGE);
    SMALLER_PAGES
        .iter()
        .copied()
        .find(|smaller| *smaller < size)
}

/// User text as a string of Bitbucket's query language. Quotes and backslashes have no documented
/// escape, so they become spaces (bitbucket.md §4.2).
fn quoted(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|letter| {
            if matches!(letter, '"' | '\\') || letter.is_control() {
                ' '
            } else {
                letter
            }
        })
        .collect();
    format!("\"{}\"", plain.trim())
}

#[cfg(test)]
mod tests;
