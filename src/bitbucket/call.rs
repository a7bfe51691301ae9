//! One call and its answer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::behind::{AnswerCache, AnswerKey, KeptAnswer};
use super::client::{DEFAULT_TIMEOUT, MAX_JSON};
use super::error::{Error, Kind};
use super::meta::Meta;
use super::paths::BitbucketApiPath;

/// Where an answer would be kept.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) cache: Arc<dyn AnswerCache>,
    pub(super) key: AnswerKey,
    pub(super) immutable: bool,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) meta: Meta,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<String>,
    pub(super) place: Option<Place>,
}

impl Answer {
    /// Keeps the answer, if it may be used again. To be called once it was understood: what is no answer of Bitbucket
    /// must not be kept for good.
    pub(super) async fn keep(&self) {
        let Some(place) = &self.place else { return };
        if !place.immutable && self.etag.is_none() && self.modified.is_none() {
            return;
        }
        let kept = KeptAnswer {
            body: self.body.clone(),
            etag: self.etag.clone(),
            modified: self.modified.clone(),
            immutable: place.immutable,
        };
        place.cache.keep(place.key, kept).await;
    }

    /// Whether the answer came with a validator of its own.
    pub(super) const fn has_etag(&self) -> bool {
        self.etag.is_some()
    }
}

/// One call to make.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) path: BitbucketApiPath<'a>,
    pub(super) method: Method,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
    pub(super) timeout: Duration,
    pub(super) limit: usize,
    pub(super) follow: bool,
    pub(super) repeat: bool,
    pub(super) accept: &'static str,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: BitbucketApiPath<'a>) -> Self {
        Self {
            path,
            method,
            query: Vec::new(),
            body: None,
            timeout: DEFAULT_TIMEOUT,
            limit: MAX_JSON,
            follow: true,
            repeat: true,
            accept: "application/json",
        }
    }

    pub(super) fn get(path: BitbucketApiPath<'a>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Raw bytes of at most `limit` instead of JSON.
    pub(super) fn raw(mut self, limit: usize) -> Self {
        self.limit = limit;
        self.accept = "*/*";
        self
    }

    /// In this media type, where the service has several.
    pub(super) fn accept(mut self, media: &'static str) -> Self {
        self.accept = media;
        self
    }

    /// One request to one host: what comes back is the answer of exactly this URL.
    pub(super) fn once(mut self) -> Self {
        self.follow = false;
        self.repeat = false;
        self
    }

    /// The number of items asked for per page, if any.
    pub(super) fn page_size(&self) -> Option<usize> {
        let found = self.query.iter().find(|(name, _)| *name == "pagelen")?;
        found.1.parse().ok()
    }

    /// The same with another number of items per page.
    pub(super) fn with_page_size(mut self, size: usize) -> Self {
        self.query.retain(|(name, _)| *name != "pagelen");
        self.query("pagelen", size.to_string())
    }

    /// An answer that was kept, as if it had just come.
    pub(super) fn kept(&self, kept: &KeptAnswer, meta: Meta) -> Result<Answer, Error> {
        if kept.body.len() > self.limit {
            return Err(self.error(Kind::TooLarge, "the answer is longer than asked for"));
        }
        Ok(Answer {
            status: 200,
            body: kept.body.clone(),
            meta,
            etag: None,
            modified: None,
            place: None,
        })
    }

    pub(super) fn error(&self, kind: Kind, message: &str) -> Error {
        Error::without_answer(&self.method, self.path.name(), kind, message)
    }
}
