//! Sending one call: build the URL, look whether the answer is known, ask the budget, sign, send, follow, read; again
//! for reads only.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{
    ACCEPT, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    RETRY_AFTER,
};
use reqwest::{Method, Request, Response, StatusCode};
use url::Url;

use super::attempt::Attempt;
use super::auth::Credential;
use super::behind::{
    AnswerKey, CallRecord, Caller, Group, Heard, KeptAnswer, Refusal, is_immutable,
};
use super::call::{Answer, Call, Place};
use super::cloud::Cloud;
use super::datacenter::DataCenter;
use super::error::{Error, Kind};
use super::meta::Meta;
use super::paths::API_PREFIX;
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
const MAX_VALIDATOR: usize = 200;
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
    /// `ok`, `cached`, `not_modified`, `out_of_budget`, or the code of the error kind.
    pub outcome: &'static str,
    /// Time of this attempt; `None` when nothing was sent.
    pub elapsed: Option<Duration>,
}

type Observer = Arc<dyn Fn(&CallReport) + Send + Sync>;

/// The API of one Bitbucket, without a credential. Clones share everything.
#[derive(Clone)]
pub struct Client {
    pub(super) egress: Egress,
    pub(super) base: Url,
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
        Cloud::new(self.clone(), Caller::plain(credential))
    }

    /// Typed calls to a Data Center server at `base` (with its context path), through a door of its own when it has
    /// certificates of its own.
    pub fn for_server(
        &self,
        egress: Option<Egress>,
        base: Url,
        credential: Credential,
    ) -> DataCenter {
        let client = Self {
            egress: egress.unwrap_or_else(|| self.egress.clone()),
            web: base.clone(),
            base,
            ..self.clone()
        };
        DataCenter::new(client, Caller::plain(credential))
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

    /// The answer of a call: kept, still good, or new. What is new is kept once the caller has understood it
    /// ([`Answer::keep`]).
    pub(super) async fn send(
        &self,
        caller: &Caller,
        call: &Call<'_>,
        url: Url,
    ) -> Result<Answer, Error> {
        let place = caller
            .cache()
            .filter(|_| call.method == Method::GET && call.follow)
            .map(|cache| Place {
                cache: Arc::clone(cache),
                key: AnswerKey::of(&call.method, &url, call.accept),
                immutable: is_immutable(&call.path),
            });
        let known = match &place {
            Some(place) => place.cache.find(place.key).await,
            None => None,
        };
        if let Some(kept) = known
            .as_ref()
            .filter(|kept| kept.immutable && is_immutable(&call.path))
        {
            self.report(caller, call, &Attempt::cached());
            return call.kept(kept, Meta::default());
        }
        let mut answer = self.send_live(caller, call, url, known.as_ref()).await?;
        if answer.status == StatusCode::OK.as_u16() {
            answer.place = place;
        }
        match (answer.status, known) {
            (304, Some(kept)) => call.kept(&kept, answer.meta),
            _ => Ok(answer),
        }
    }

    /// Sends a call. GETs, and what the budget held back, are tried again in place a few times when the wait is short.
    async fn send_live(
        &self,
        caller: &Caller,
        call: &Call<'_>,
        url: Url,
        known: Option<&KeptAnswer>,
    ) -> Result<Answer, Error> {
        let deadline = Instant::now() + call.timeout;
        let mut signer = caller.credential.resolve().await?;
        let (mut attempt, mut renewed) = (1, false);
        loop {
            let result = match self.admit(caller, call).await {
                Ok(()) => {
                    let started = Instant::now();
                    let result = self
                        .send_once(&signer, call, url.clone(), known, deadline)
                        .await;
                    self.report(caller, call, &Attempt::sent(&result, started.elapsed()));
                    tell(caller, call, &result).await;
                    result
                }
                Err(error) => {
                    self.report(caller, call, &Attempt::refused(&error));
                    Err(error)
                }
            };
            let Err(error) = result else { return result };
            if let (Kind::Unauthorized, Credential::Source(source)) =
                (error.kind(), &caller.credential)
            {
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
            // What the budget held back was not sent, so waiting is safe for any method.
            let harmless = call.method == Method::GET || error.out_of_budget();
            let patient = harmless && call.repeat && attempt < READ_ATTEMPTS;
            if !patient || wait > MAX_WAIT_IN_PLACE || wait >= left {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    /// Asks the budget for one request.
    async fn admit(&self, caller: &Caller, call: &Call<'_>) -> Result<(), Error> {
        let Some(behind) = &caller.behind else {
            return Ok(());
        };
        let claimed = behind
            .budget
            .claim(Group::of(&call.path), caller.priority)
            .await;
        claimed.map_err(|refusal: Refusal| Error::refused(&call.method, call.path.name(), &refusal))
    }

    async fn send_once(
        &self,
        credential: &Credential,
        call: &Call<'_>,
        url: Url,
        known: Option<&KeptAnswer>,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let (method, name) = (&call.method, call.path.name());
        let build = |url: &Url, trust: Trust| {
            let mut request = self.build(credential, call, url, trust, deadline)?;
            if let Some(known) = known {
                add_validators(request.headers_mut(), known);
            }
            Ok(request)
        };
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
        let not_modified = status == StatusCode::NOT_MODIFIED && known.is_some();
        if !status.is_success() && !not_modified {
            return Err(self.failure(call, response).await.with_meta(meta));
        }
        let text = |name| {
            let value: Option<&HeaderValue> = response.headers().get(name);
            let value = value.and_then(|value| value.to_str().ok());
            value.filter(|value| value.len() <= MAX_VALIDATOR)
        };
        let (etag, modified) = (text(ETAG), text(LAST_MODIFIED));
        let (etag, modified) = (etag.map(str::to_owned), modified.map(str::to_owned));
        let body = read_capped(response, call.limit)
            .await
            .map_err(|error| Error::from_body(method, name, &error))?;
        Ok(Answer {
            status: status.as_u16(),
            body,
            meta,
            etag,
            modified,
            place: None,
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
        builder = builder.header(ACCEPT, call.accept);
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

    fn report(&self, caller: &Caller, call: &Call<'_>, attempt: &Attempt<'_>) {
        let path = call.path.name();
        let method = static_name(&call.method);
        let elapsed = attempt.elapsed;
        let millis = elapsed.map_or(0, |elapsed| {
            u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
        });
        let (outcome, status) = (attempt.outcome, attempt.status);
        match attempt.error {
            None => tracing::debug!(path, method, outcome, status, millis, "bitbucket call"),
            Some(error) => {
                tracing::info!(path, method, outcome, millis, %error, "bitbucket call failed")
            }
        }
        if let Some(observer) = &self.observer {
            observer(&CallReport {
                path,
                method,
                outcome,
                elapsed,
            });
        }
        if let Some(behind) = &caller.behind {
            behind.log.note(CallRecord {
                at: self.clock.now(),
                feature: caller.feature,
                priority: caller.priority,
                method,
                path: call.path.row().template(),
                outcome,
                status,
                millis,
                request_id: attempt.request_id.map(str::to_owned),
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

/// Asks for the body only if it is another one.
fn add_validators(headers: &mut HeaderMap, known: &KeptAnswer) {
    let value = |text: &Option<String>| HeaderValue::from_str(text.as_deref()?).ok();
    if let Some(etag) = value(&known.etag) {
        headers.insert(IF_NONE_MATCH, etag);
    } else if let Some(modified) = value(&known.modified) {
        headers.insert(IF_MODIFIED_SINCE, modified);
    }
}

/// Tells the budget what the answer said.
async fn tell(caller: &Caller, call: &Call<'_>, result: &Result<Answer, Error>) {
    let Some(behind) = &caller.behind else { return };
    let (budget, refused) = match result {
        Ok(answer) => (answer.meta.budget.clone(), None),
        Err(error) => {
            let refused = error.kind() == Kind::RateLimited;
            (
                error.meta().budget.clone(),
                refused.then(|| error.retry_after()),
            )
        }
    };
    if budget.is_some() || refused.is_some() {
        let heard = Heard { budget, refused };
        behind.budget.heard(Group::of(&call.path), heard).await;
    }
}
