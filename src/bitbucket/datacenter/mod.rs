//! Bitbucket Data Center (bitbucket.md §7): the calls that the product makes, over the transport of the Cloud client.
//!
//! Lists are walked by `nextPageStart`, which is never computed. Dates are milliseconds, ids are numbers, refs have full
//! names; [`wire`] turns all of that into what [`super::host`] promises.

pub mod events;
mod host;
mod resources;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt::Display;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

pub(crate) use host::CAPABILITIES;
pub use resources::{Identity, Permission};
pub use wire::{Properties, web_page};

use super::behind::Caller;
use super::call::{Answer, Call};
use super::client::{Client, DEFAULT_TIMEOUT};
use super::error::{Error, Kind};
use super::json;
use super::meta::Meta;
use super::page::{Caps, Cursor, Listing, Page};
use super::wire::soft;

/// Items per page that we ask for; servers cut it to their own limit.
const PAGE_SIZE: &str = "100";

/// A server as one token sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DataCenter {
    client: Client,
    caller: Caller,
    timeout: Duration,
}

/// Where a server is, as people and our tables write it: `host[:port][/context]`.
#[must_use]
pub fn server_name(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    let port = base
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    format!("{host}{port}{}", base.path().trim_end_matches('/'))
}

/// The id of a repository over all servers: numbers are unique on one server only.
#[must_use]
pub fn repository_id(server: &str, number: impl Display) -> String {
    format!("{server}#{number}")
}

/// One page. Only `values`, `isLastPage` and `nextPageStart` are looked at.
#[derive(Debug, Default, Deserialize)]
struct Envelope {
    #[serde(default, deserialize_with = "soft")]
    values: Option<Vec<Value>>,
    #[serde(default, rename = "isLastPage", deserialize_with = "soft")]
    is_last: Option<bool>,
    #[serde(default, rename = "nextPageStart", deserialize_with = "soft")]
    next: Option<u64>,
}

impl DataCenter {
    pub(super) fn new(client: Client, caller: Caller) -> Self {
        Self {
            client,
            caller,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    pub(super) fn caller_mut(&mut self) -> &mut Caller {
        &mut self.caller
    }

    /// The address of the server, with its context path.
    pub fn base(&self) -> &Url {
        &self.client.base
    }

    /// See [`server_name`].
    pub fn server(&self) -> String {
        server_name(self.base())
    }

    async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        self.send_as(&self.caller, call).await
    }

    async fn send_as(&self, caller: &Caller, call: Call<'_>) -> Result<Answer, Error> {
        let call = call.timeout(self.timeout);
        let url = self.client.url_of(&call)?;
        self.client.send(caller, &call, url).await
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

    /// One page: the first, or the one a cursor names. Its start is told by the page before and never computed.
    async fn page<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        from: Option<&Cursor>,
    ) -> Result<Page<T>, Error> {
        let call = call.query("limit", PAGE_SIZE);
        let garbage = |text: &str| call.error(Kind::Garbage, text);
        let start = match from {
            Some(Cursor(start)) => Some(
                start
                    .parse::<u64>()
                    .map_err(|_| garbage("the start of the next page is no number"))?,
            ),
            None => None,
        };
        let here = match start {
            Some(start) => call.clone().query("start", start.to_string()),
            None => call.clone(),
        };
        let answer = self.send(here).await?;
        let found: Envelope =
            json::read(&answer.body).map_err(|_| garbage("the answer is not a page of a list"))?;
        let values = found
            .values
            .ok_or_else(|| garbage("the answer is not a page of a list"))?;
        let total = values.len();
        let items: Vec<T> = values
            .into_iter()
            .filter_map(|value| serde_json::from_value(value).ok())
            .collect();
        let next = found.next.filter(|_| found.is_last == Some(false));
        if next.is_some() && next <= start {
            return Err(garbage("the next page does not come after this one"));
        }
        Ok(Page {
            skipped: total - items.len(),
            items,
            next: next.map(|start| Cursor(start.to_string())),
            meta: answer.meta,
        })
    }

    /// A list, walked from page to page up to the caps.
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
            meta: Meta::default(),
        };
        for _ in 0..caps.pages {
            let page: Page<T> = self.page(call.clone(), listing.next.as_ref()).await?;
            listing.items.extend(page.items);
            listing.skipped += page.skipped;
            listing.next = page.next;
            listing.meta = page.meta;
            if listing.next.is_none() || listing.items.len() >= caps.items {
                break;
            }
        }
        listing.complete = listing.next.is_none() && listing.items.len() <= caps.items;
        listing.items.truncate(caps.items);
        Ok(listing)
    }
}
