//! Bitbucket Cloud, one file per resource. Each method is one documented call, or one list walked
//! with a cap.

mod access;
mod comments;
mod commits;
mod hooks;
mod issues;
mod refs;
mod repositories;
mod source;
mod workspaces;

use std::time::Duration;

use serde::de::DeserializeOwned;

pub use comments::Comment;
pub use hooks::{Hook, HookSpec};
pub use issues::{Issue, IssueChange, NewIssue};
pub use refs::Branch;
pub use source::{ChangedFile, FileSide};

use super::auth::Credential;
use super::client::{Answer, Call, Client, DEFAULT_TIMEOUT};
use super::error::{Error, Kind};
use super::json;
use super::page::{Caps, Cursor, Listing, Page};

/// Items per page that we ask for: the most the API gives.
const PAGE_SIZE: &str = "100";

/// The API as one credential sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cloud {
    client: Client,
    credential: Credential,
    timeout: Duration,
}

impl Cloud {
    pub(super) fn new(client: Client, credential: Credential) -> Self {
        Self {
            client,
            credential,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// The same with another time limit for each call (repeats and redirects included).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The client behind it, for web addresses.
    pub fn client(&self) -> &Client {
        &self.client
    }

    async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        let call = call.timeout(self.timeout);
        let url = self.client.url_of(&call)?;
        self.client.send(&self.credential, &call, url).await
    }

    /// One object.
    async fn object<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Error> {
        let garbage = call.error(
            Kind::Garbage,
            "the answer is not the object that was asked for",
        );
        let answer = self.send(call).await?;
        json::read(&answer.body).map_err(|_| garbage)
    }

    /// One page: the first, or the one a cursor names.
    async fn page<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        from: Option<&Cursor>,
    ) -> Result<Page<T>, Error> {
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
        let answer = self.client.send(&self.credential, &call, url).await?;
        Page::parse(&answer.body)
            .ok_or_else(|| call.error(Kind::Garbage, "the answer is not a page of a list"))
    }

    /// A list, walked by its `next` links up to the caps.
    async fn list<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        caps: Caps,
    ) -> Result<Listing<T>, Error> {
        let mut listing = Listing {
            items: Vec::new(),
            skipped: 0,
            complete: false,
            next: None,
        };
        for _ in 0..caps.pages {
            let page: Page<T> = self.page(call.clone(), listing.next.as_ref()).await?;
            if page.next.is_some() && page.next == listing.next {
                return Err(call.error(
                    Kind::Garbage,
                    "the link to the next page leads to the same page",
                ));
            }
            listing.items.extend(page.items);
            listing.skipped += page.skipped;
            listing.next = page.next;
            if listing.next.is_none() || listing.items.len() >= caps.items {
                break;
            }
        }
        listing.complete = listing.next.is_none() && listing.items.len() <= caps.items;
        listing.items.truncate(caps.items);
        Ok(listing)
    }
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
