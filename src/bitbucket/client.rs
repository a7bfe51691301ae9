//! Sending one call: build the URL, sign it, send it, follow, read, decode; again for reads only.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Request, Response};
use serde_json::Value;
use url::Url;

use super::auth::Credential;
use super::cloud::Cloud;
use super::error::{Error, Kind};
use super::meta::Meta;
use super::paths::{API_PREFIX, BitbucketApiPath};
use crate::kit::clock::Clock;
use crate::kit::http::body::{read_capped, read_start};
use crate::kit::http::egress::Egress;
use crate::kit::http::redirect::{RedirectError, Trust, send_following};
use crate::kit::http::retry::{Verdict, parse_retry_after};

/// Time for one call including its repeats, unless the caller says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest JSON answer we read: a page of 100 items is far below.
pub const MAX_JSON: usize = 8 * 1024 * 1024;

const MAX_ERROR_BODY: usize = 16 * 1024;
const READ_ATTEMPTS: u32 = 3;
/// A longer wait belongs to a job, not to a call that somebody waits for.
const MAX_WAIT_IN_PLACE: Duration = Duration::from_secs(5);

/// What one call was, for metrics. Nothing in it names a tenant.
#[derive(Debug, Clone, Copy)]
pub struct CallReport {
    /// Row of the path table.
    pub path: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// `ok`, or the code of the error kind.
    pub outcome: &'static str,
    /// Time of this attempt.
    pub elapsed: Duration,
}

type Observer = Arc<dyn Fn(&CallReport) + Send + Sync>;

/// The API of one Bitbucket, without a credential. Clones share everything.
#[derive(Clone)]
pub struct Client {
    pub(super) egress: Egress,
    base: Url,
    pub(super) web: Url,
    pub(super) clock: Clock,
    pub(super) observer: Option<Observer>,
}

impl Client {
    /// `base_url` is the API root without the version (`https://api.bitbucket.org`), `web_url` the
    /// site that people see (`https://bitbucket.org`).
    pub fn new(egress: Egress, base_url: Url, web_url: Url, clock: Clock) -> Self {
        Self {
            egress,
            base: base_url,
            web: web_url,
            clock,
            observer: None,
        }
    }

    /// Reports every attempt to `observer`.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&CallReport) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Typed calls made with one credential.
    pub fn for_credential(&self, credential: Credential) -> Cloud {
        Cloud::new(self.clone(), credential)
    }

    /// Page of a repository, by its full name.
    pub fn web_repository(&self, full_name: &str) -> String {
        format!("{}/{full_name}", self.web.as_str().trim_end_matches('/'))
    }

    /// Page of an issue.
    pub fn web_issue(&self, full_name: &str, issue_id: u64) -> String {
        format!("{}/issues/{issue_id}", self.web_repository(full_name))
    }

    /// Page of a commit.
    pub fn web_commit(&self, full_name: &str, hash: &str) -> String {
        format!("{}/commits/{hash}", self.web_repository(full_name))
    }

    /// The URL of a call, exactly as it will be signed and sent.
    pub(super) fn url_of(&self, call: &Call<'_>) -> Result<Url, Error> {
        let (method, name) = (&call.method, call.path.name());
        let bad = |message: &str| Error::without_answer(method, name, Kind::BadCall, message);
        let rendered = call
            .path
            .render()
            .map_err(|error| Error::from_path(method, name, error))?;
        call.path
            .operation(method)
            .ok_or_else(|| bad("the path table does not list this method"))?;
        let path = format!("{}{rendered}", self.base.path().trim_end_matches('/'));
        let mut url = self.base.clone();
        url.set_query(None);
        url.set_path(&path);
        if url.path() != path {
            return Err(bad("the path changes when it is parsed"));
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }

    /// A `next` link, if it stays inside our API: same scheme, host and port, below
    /// [`API_PREFIX`] (bitbucket.md §4.1). Anything else would carry our credential to a stranger.
    pub(super) fn checked_next(&self, next: &str) -> Option<Url> {
        let url = Url::parse(next).ok()?;
        let prefix = format!("{}{API_PREFIX}", self.base.path().trim_end_matches('/'));
        let inside = crate::kit::http::policy::same_origin(&url, &self.base)
            && url.path().starts_with(&prefix);
        (inside && url.username().is_empty() && url.password().is_none()).then_some(url)
    }

    /// Sends a call. GETs are repeated in place a few times when the wait is short; nothing else is.
    pub(super) async fn send(
        &self,
        credential: &Credential,
        call: &Call<'_>,
        url: Url,
    ) -> Result<Answer, Error> {
        let deadline = Instant::now() + call.timeout;
        let mut signer = credential.resolve().await?;
        let (mut attempt, mut renewed) = (1, false);
        loop {
            let started = Instant::now();
            let result = self.send_once(&signer, call, url.clone(), deadline).await;
            self.report(call, &result, started.elapsed());
            let Err(error) = result else { return result };
            if let (Kind::Unauthorized, Credential::Source(source)) = (error.kind(), credential) {
                // Nothing was done, whatever the method: once more with a new credential is safe.
                match source.after_refusal(&signer).await? {
                    Some(fresh) if !renewed => (signer, renewed) = (fresh, true),
                    _ => return Err(error),
                }
                continue;
            }
            let Verdict::Retry(wait) = error.request_verdict(attempt) else {
                return Err(error);
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let patient = call.method == Method::GET && call.repeat && attempt < READ_ATTEMPTS;
            if !patient || wait > MAX_WAIT_IN_PLACE || wait >= left {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn send_once(
        &self,
        credential: &Credential,
        call: &Call<'_>,
        url: Url,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let (method, name) = (&call.method, call.path.name());
        let build = |url: &Url, trust: Trust| self.build(credential, call, url, trust, deadline);
        let response = if call.follow {
            send_following(&self.egress, url, build)
                .await
                .map_err(|error| Error::from_redirect(method, name, &error))?
        } else {
            let request = build(&url, Trust::Credentials)
                .map_err(|error| Error::from_redirect(method, name, &error))?;
            self.egress
                .send(request)
                .await
                .map_err(|error| Error::from_egress(method, name, &error))?
        };
        let status = response.status();
        let meta = Meta::read(response.headers(), self.clock.now());
        if !status.is_success() {
            return Err(self.failure(call, response).await.with_meta(meta));
        }
        let body = read_capped(response, call.limit)
            .await
            .map_err(|error| Error::from_body(method, name, &error))?;
        Ok(Answer {
            status: status.as_u16(),
            body,
            meta,
        })
    }

    fn build(
        &self,
        credential: &Credential,
        call: &Call<'_>,
        url: &Url,
        trust: Trust,
        deadline: Instant,
    ) -> Result<Request, RedirectError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut builder = self
            .egress
            .request(call.method.clone(), url.clone())
            .timeout(left);
        builder = builder.header(ACCEPT, if call.raw { "*/*" } else { "application/json" });
        if let Some(body) = &call.body {
            builder = builder.json(body);
        }
        let mut request = builder
            .build()
            .map_err(|error| RedirectError::Build(error.without_url().to_string()))?;
        if trust == Trust::Credentials {
            credential
                .apply(&mut request, self.clock.now())
                .map_err(|error| RedirectError::Build(error.to_string()))?;
        }
        Ok(request)
    }

    async fn failure(&self, call: &Call<'_>, response: Response) -> Error {
        let status = response.status().as_u16();
        let headers: HeaderMap = response.headers().clone();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let retry_after =
            text(RETRY_AFTER.as_str()).and_then(|value| parse_retry_after(value, self.clock.now()));
        let body = read_start(response, MAX_ERROR_BODY).await;
        let request_id = text("x-request-id");
        Error::from_answer(
            &call.method,
            call.path.name(),
            status,
            &body,
            request_id,
            retry_after,
        )
    }

    fn report(&self, call: &Call<'_>, result: &Result<Answer, Error>, elapsed: Duration) {
        let outcome = result
            .as_ref()
            .map_or_else(|error| error.kind().code(), |_| "ok");
        let path = call.path.name();
        let method = call.method.as_str();
        let millis = elapsed.as_millis();
        match result {
            Ok(answer) => tracing::debug!(
                path,
                method,
                status = answer.status,
                millis,
                "bitbucket call"
            ),
            Err(error) => {
                tracing::info!(path, method, outcome, millis, %error, "bitbucket call failed")
            }
        }
        if let Some(observer) = &self.observer {
            observer(&CallReport {
                path,
                method: static_name(&call.method),
                outcome,
                elapsed,
            });
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

const fn static_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) meta: Meta,
}

/// One call to make.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    path: BitbucketApiPath<'a>,
    method: Method,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    timeout: Duration,
    limit: usize,
    follow: bool,
    repeat: bool,
    raw: bool,
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
            raw: false,
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
        self.raw = true;
        self
    }

    /// One request to one host: what comes back is the answer of exactly this URL.
    pub(super) fn once(mut self) -> Self {
        self.follow = false;
        self.repeat = false;
        self
    }

    pub(super) fn error(&self, kind: Kind, message: &str) -> Error {
        Error::without_answer(&self.method, self.path.name(), kind, message)
    }
}
