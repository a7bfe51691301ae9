//! How a call proves who makes it.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use zeroize::Zeroizing;

use super::error::Error;
use crate::atlassian::jwt;
use crate::kit::clock::Micros;
use crate::kit::crypto::Secret;

/// A way to sign calls. Applied per request and only once its final URL is known, because a Connect
/// token is good for one URL.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A Connect installation: each request gets its own token (bitbucket.md §1.6).
    ConnectJwt {
        /// Our app key, the issuer.
        app_key: String,
        /// The tenant, the subject.
        client_key: String,
        /// Shared secret of the installation.
        secret: Secret,
    },
    /// An access token that is sent as it is.
    Bearer(Secret),
    /// HTTP Basic: e-mail and API token, or user name and app password (bitbucket.md §6).
    Basic {
        /// User name or e-mail.
        user: String,
        /// Token or password.
        password: Secret,
    },
    /// None: for the few things that are told to everybody, such as which server this is.
    Nobody,
    /// One of the above, to be asked for before each call.
    Source(Arc<dyn CredentialSource>),
}

/// Where a credential comes from that may change between two calls, and who is told when Bitbucket refuses it.
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// What signs the next call.
    ///
    /// The error says why there is none: it needs a person, or Bitbucket has trouble.
    fn current(&self) -> BoxFuture<'_, Result<Credential, Error>>;

    /// Bitbucket answered 401 to `refused`. Another credential if there is one now; `None` when there is none, and
    /// the source has taken note of it.
    fn after_refusal<'a>(
        &'a self,
        refused: &'a Credential,
    ) -> BoxFuture<'a, Result<Option<Credential>, Error>>;
}

/// The credential cannot sign: the secret is empty or not fit for a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored credential is empty or unreadable")]
pub struct CredentialError;

impl Credential {
    /// The credential itself, not where it comes from.
    pub(super) async fn resolve(&self) -> Result<Self, Error> {
        match self {
            Self::Source(source) => source.current().await,
            own => Ok(own.clone()),
        }
    }

    /// Adds `Authorization` to a request that is otherwise ready to go.
    pub fn apply(&self, request: &mut Request, now: Micros) -> Result<(), CredentialError> {
        let text = Zeroizing::new(match self {
            Self::ConnectJwt {
                app_key,
                client_key,
                secret,
            } => {
                let method = request.method().as_str();
                let token = jwt::sign(app_key, client_key, secret, method, request.url(), now);
                format!("JWT {}", token.map_err(|_| CredentialError)?)
            }
            Self::Bearer(token) if token.expose().is_empty() => return Err(CredentialError),
            Self::Bearer(token) => format!("Bearer {}", token.expose()),
            Self::Basic { user, password } => basic(user, password)?,
            Self::Nobody => return Ok(()),
            Self::Source(_) => return Err(CredentialError),
        });
        let mut value = HeaderValue::from_str(&text).map_err(|_| CredentialError)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }
}

/// A colon ends the user name, so it cannot hold one (RFC 7617).
pub(super) fn basic(user: &str, password: &Secret) -> Result<String, CredentialError> {
    if user.is_empty() || user.contains(':') || password.expose().is_empty() {
        return Err(CredentialError);
    }
    let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
    Ok(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use reqwest::Method;
    use url::Url;

    use super::*;

    fn request() -> Request {
        Request::new(
            Method::GET,
            Url::parse("https://api.example.org/api/repositories/a/b?q=x%20y").unwrap(),
        )
    }

    fn header(request: &Request) -> String {
        request
            .headers()
            .get(AUTHORIZATION)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_connect_credential_signs_this_very_url() {
        let secret = Secret::from("shared");
        let credential = Credential::ConnectJwt {
            app_key: "app".into(),
            client_key: "tenant".into(),
            secret: secret.clone(),
        };
        let mut request = request();
        credential
            .apply(&mut request, Micros::from_unix_seconds(1_000))
            .unwrap();
        let header = header(&request);
        let token = header.strip_prefix("JWT ").unwrap();
        let sent = jwt::Request {
            method: "GET",
            path: "/api/repositories/a/b",
            query: Some("q=x%20y"),
            base_path: "",
        };
        let claims = jwt::verify(token, &secret, &sent, Micros::from_unix_seconds(1_000)).unwrap();
        assert_eq!(
            (claims.issuer.as_str(), claims.subject.as_deref()),
            ("app", Some("tenant"))
        );
        assert!(!format!("{credential:?} {request:?}").contains(token));
        assert!(!format!("{credential:?}").contains("shared"));
    }

    #[test]
    fn a_bearer_token_is_sent_as_it_is() {
        let mut request = request();
        Credential::Bearer("abc".into())
            .apply(&mut request, Micros(0))
            .unwrap();
        assert_eq!(header(&request), "Bearer abc");
        assert!(!format!("{request:?}").contains("abc"));
    }

    #[test]
    fn a_basic_pair_is_encoded_and_a_colon_in_the_name_refused() {
        let pair = |user: &str, password: &str| Credential::Basic {
            user: user.to_owned(),
            password: password.into(),
        };
        let mut request = request();
        pair("ada@acme.example", "to:ken")
            .apply(&mut request, Micros(0))
            .unwrap();
        assert_eq!(header(&request), "Basic YWRhQGFjbWUuZXhhbXBsZTp0bzprZW4=");
        for (user, password) in [("", "x"), ("a:b", "x"), ("a", "")] {
            let result = pair(user, password).apply(&mut request, Micros(0));
            assert_eq!(result, Err(CredentialError));
        }
    }

    #[test]
    fn unusable_secrets_are_errors() {
        for token in ["", "a\nb"] {
            let result = Credential::Bearer(token.into()).apply(&mut request(), Micros(0));
            assert_eq!(result, Err(CredentialError));
        }
    }
}
