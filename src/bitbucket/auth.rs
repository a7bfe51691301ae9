//! How a call proves who makes it.

use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use zeroize::Zeroizing;

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
}

/// The credential cannot sign: the secret is empty or not fit for a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored credential is empty or unreadable")]
pub struct CredentialError;

impl Credential {
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
        });
        let mut value = HeaderValue::from_str(&text).map_err(|_| CredentialError)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }
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
    fn unusable_secrets_are_errors() {
        for token in ["", "a\nb"] {
            let result = Credential::Bearer(token.into()).apply(&mut request(), Micros(0));
            assert_eq!(result, Err(CredentialError));
        }
    }
}
