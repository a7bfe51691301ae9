//! OAuth 2.0 of Bitbucket Cloud: the address that asks a person, and the token endpoint (bitbucket.md §1.6, §2.4, §6).

use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::auth::{Credential, basic};
use super::client::{CallReport, Client};
use super::error::{Error, Kind};
use super::meta::scopes;
use super::wire::soft;
use crate::kit::crypto::Secret;
use crate::kit::http::body::read_capped;
use crate::kit::http::retry::parse_retry_after;

/// Name of the token endpoint in logs and metrics.
const NAME: &str = "oauth_token";
const TIMEOUT: Duration = Duration::from_secs(20);
const MAX_ANSWER: usize = 64 * 1024;
/// What we assume when an answer does not say how long its token lives.
const USUAL_LIFE: u64 = 3_600;
/// No token is believed to live longer than this many seconds.
const LONGEST_LIFE: u64 = 90 * 24 * 3_600;

/// An OAuth consumer.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Its key.
    pub key: String,
    /// Its secret.
    pub secret: Secret,
}

/// What is given for an access token.
#[derive(Debug)]
pub enum Grant<'a> {
    /// The code that a browser brought, with the address it came to.
    Code {
        /// Consumer that asked.
        consumer: &'a Consumer,
        /// Good once.
        code: &'a Secret,
        /// As it stood on the authorize address.
        redirect_uri: &'a str,
    },
    /// A refresh token; the answer has the next one.
    Refresh {
        /// Consumer it was given to.
        consumer: &'a Consumer,
        /// Good once.
        token: &'a Secret,
    },
    /// The consumer's own account.
    ClientCredentials {
        /// A private consumer.
        consumer: &'a Consumer,
    },
    /// A Connect installation; must be [`Credential::ConnectJwt`].
    Connect(&'a Credential),
}

impl Grant<'_> {
    /// Whether it is still good after it was used.
    const fn is_lasting(&self) -> bool {
        match self {
            Self::ClientCredentials { .. } | Self::Connect(_) => true,
            Self::Code { .. } | Self::Refresh { .. } => false,
        }
    }
}

/// An access token and what came with it.
#[derive(Debug, Clone)]
pub struct Granted {
    /// Sent as `Bearer`.
    pub access: Secret,
    /// For the next access token; the one that was used is worth nothing any more.
    pub refresh: Option<Secret>,
    /// How long the access token is good.
    pub life: Duration,
    /// Scopes, sorted; `None` when the answer does not say.
    pub scopes: Option<Vec<String>>,
}

/// Why there is no token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GrantError {
    /// Bitbucket refuses what was given, and will refuse it again.
    #[error("Bitbucket refused the grant: {code}: {detail}")]
    Refused {
        /// The error code of RFC 6749 §5.2, such as `invalid_grant`.
        code: String,
        /// Bitbucket's words, redacted.
        detail: String,
    },
    /// The call failed; another try may work.
    #[error(transparent)]
    Call(#[from] Error),
}

/// The answer of the endpoint. `scope` was `scopes` before May 2026.
#[derive(Deserialize)]
struct Wire {
    access_token: Secret,
    #[serde(default)]
    refresh_token: Option<Secret>,
    #[serde(default, deserialize_with = "soft")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "soft")]
    scope: Option<String>,
    #[serde(default, deserialize_with = "soft")]
    scopes: Option<String>,
}

impl Client {
    fn oauth_url(&self, page: &str) -> Url {
        let mut url = self.web.clone();
        url.set_query(None);
        url.set_path(&format!(
            "{}/site/oauth2/{page}",
            self.web.path().trim_end_matches('/')
        ));
        url
    }

    /// Where a browser asks its person to allow access. Scopes are set on the consumer, not here.
    pub fn authorize_url(&self, key: &str, state: &str, redirect_uri: &str) -> Url {
        let mut url = self.oauth_url("authorize");
        url.query_pairs_mut()
            .append_pair("client_id", key)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", state);
        url
    }

    /// Exchanges a grant for an access token: one request, not followed; one more when the exchange broke off and the
    /// grant is good more than once.
    pub async fn exchange(&self, grant: &Grant<'_>) -> Result<Granted, GrantError> {
        let started = Instant::now();
        let mut result = self.exchange_once(grant).await;
        if let Err(GrantError::Call(error)) = &result
            && error.kind() == Kind::Broken
            && grant.is_lasting()
        {
            result = self.exchange_once(grant).await;
        }
        let outcome = match &result {
            Ok(_) => "ok",
            Err(GrantError::Refused { .. }) => "refused",
            Err(GrantError::Call(error)) => error.kind().code(),
        };
        tracing::debug!(outcome, "bitbucket token");
        if let Some(observer) = &self.observer {
            observer(&CallReport {
                path: NAME,
                method: "POST",
                outcome,
                elapsed: Some(started.elapsed()),
            });
        }
        result
    }

    async fn exchange_once(&self, grant: &Grant<'_>) -> Result<Granted, GrantError> {
        let request = self.grant_request(grant)?;
        let method = Method::POST;
        let response = self
            .egress
            .send(request)
            .await
            .map_err(|error| Error::from_egress(&method, NAME, &error))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| parse_retry_after(value, self.clock.now()));
        let body = read_capped(response, MAX_ANSWER)
            .await
            .map_err(|error| Error::from_body(&method, NAME, &error))?;
        if status.is_success() {
            return read(&body).ok_or_else(|| failure(Kind::Garbage, "the answer holds no token"));
        }
        let error = Error::from_answer(&method, NAME, status.as_u16(), &body, None, retry_after);
        Err(match (error.kind(), code(&body)) {
            (Kind::Invalid | Kind::Unauthorized | Kind::Forbidden, Some(code)) => {
                let detail = error.message().to_owned();
                GrantError::Refused { code, detail }
            }
            (Kind::Unauthorized, None) => GrantError::Refused {
                code: "invalid_client".to_owned(),
                detail: error.message().to_owned(),
            },
            _ => GrantError::Call(error),
        })
    }

    fn grant_request(&self, grant: &Grant<'_>) -> Result<Request, GrantError> {
        let bad = || failure(Kind::BadCall, "the stored credential is unusable");
        let (name, more): (_, Vec<(&str, &str)>) = match grant {
            Grant::Code {
                code, redirect_uri, ..
            } => (
                "authorization_code",
                vec![("code", code.expose()), ("redirect_uri", *redirect_uri)],
            ),
            Grant::Refresh { token, .. } => {
                ("refresh_token", vec![("refresh_token", token.expose())])
            }
            Grant::ClientCredentials { .. } => ("client_credentials", Vec::new()),
            Grant::Connect(_) => ("urn:bitbucket:oauth2:jwt", Vec::new()),
        };
        let form: Vec<(&str, &str)> = [("grant_type", name)].into_iter().chain(more).collect();
        let mut request = self
            .egress
            .request(Method::POST, self.oauth_url("access_token"))
            .timeout(TIMEOUT)
            .header(ACCEPT, "application/json")
            .form(&form)
            .build()
            .map_err(|_| bad())?;
        match grant {
            Grant::Code { consumer, .. }
            | Grant::Refresh { consumer, .. }
            | Grant::ClientCredentials { consumer } => {
                let text = basic(&consumer.key, &consumer.secret).map_err(|_| bad())?;
                let mut value = HeaderValue::from_str(&text).map_err(|_| bad())?;
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            Grant::Connect(credential) => credential
                .apply(&mut request, self.clock.now())
                .map_err(|_| bad())?,
        }
        Ok(request)
    }
}

fn failure(kind: Kind, message: &str) -> GrantError {
    GrantError::Call(Error::without_answer(&Method::POST, NAME, kind, message))
}

fn read(body: &[u8]) -> Option<Granted> {
    let wire: Wire = serde_json::from_slice(body).ok()?;
    let some = |secret: Secret| (!secret.expose().is_empty()).then_some(secret);
    Some(Granted {
        access: some(wire.access_token)?,
        refresh: wire.refresh_token.and_then(some),
        life: Duration::from_secs(wire.expires_in.unwrap_or(USUAL_LIFE).min(LONGEST_LIFE)),
        scopes: wire.scope.or(wire.scopes).map(|text| scopes(&text)),
    })
}

/// The error code of an answer that refuses the grant itself; trouble on their side is none.
fn code(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let code = value.get("error")?.as_str()?;
    let known = [
        "invalid_grant",
        "invalid_client",
        "unauthorized_client",
        "invalid_request",
        "invalid_scope",
        "unsupported_grant_type",
        "access_denied",
    ];
    known.contains(&code).then(|| code.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_the_scopes_and_any_life_are_read() {
        let read = |text: &str| read(text.as_bytes());
        let new = read(r#"{"access_token":"a","expires_in":7200,"scope":"webhook repository","refresh_token":"r"}"#).unwrap();
        assert_eq!(new.life, Duration::from_secs(7_200));
        assert_eq!(new.scopes.unwrap(), ["repository", "webhook"]);
        assert_eq!(new.refresh.unwrap().expose(), "r");
        let old = read(r#"{"access_token":"a","scopes":"issue"}"#).unwrap();
        assert_eq!(
            (old.life.as_secs(), old.scopes.unwrap()),
            (3_600, vec!["issue".to_owned()])
        );
        assert!(old.refresh.is_none());
        let odd = read(r#"{"access_token":"a","expires_in":"soon","scope":null}"#).unwrap();
        assert_eq!((odd.life.as_secs(), odd.scopes), (3_600, None));
        let ever = read(r#"{"access_token":"a","expires_in":18446744073709551615}"#).unwrap();
        assert_eq!(ever.life.as_secs(), LONGEST_LIFE);
        for body in [
            "",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":7}"#,
            "[]",
        ] {
            assert!(read(body).is_none(), "{body}");
        }
    }

    #[test]
    fn only_known_codes_refuse_the_grant() {
        assert_eq!(
            code(br#"{"error":"invalid_grant"}"#).unwrap(),
            "invalid_grant"
        );
        assert_eq!(code(br#"{"error":"temporarily_unavailable"}"#), None);
        assert_eq!(code(br#"{"type":"error","error":{"message":"no"}}"#), None);
        assert_eq!(code(b"<html>"), None);
    }
}
