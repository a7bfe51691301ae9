//! Following redirects by our own rules (bitbucket.md §4.7), because a Connect token is good for one
//! URL only and credentials must never reach another host.

use reqwest::header::LOCATION;
use reqwest::{Method, Request, Response, StatusCode};
use url::Url;

use super::egress::{Egress, EgressError};
use super::policy::same_origin;

/// Redirects followed in one call.
pub const MAX_HOPS: usize = 5;

/// Whether a hop may carry the caller's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The origin that was asked for: sign again, for the new URL.
    Credentials,
    /// Another host, or any host after another one: no `Authorization`.
    Anonymous,
}

/// Why following failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedirectError {
    /// A request failed, or its URL is forbidden.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// More than [`MAX_HOPS`] redirects.
    #[error("{host} redirects in a loop or too often")]
    TooMany {
        /// Host of the last answer.
        host: String,
    },
    /// No `Location`, or one that is no URL.
    #[error("{host} redirects without a usable target")]
    BadLocation {
        /// Host of the last answer.
        host: String,
    },
    /// From https to something less.
    #[error("{host} redirects away from https")]
    Downgrade {
        /// Host of the last answer.
        host: String,
    },
    /// The request for a hop could not be built or signed.
    #[error("the request cannot be built: {0}")]
    Build(String),
}

/// Sends a request and follows redirects of GET and HEAD. `build` makes the request for each hop,
/// after its URL is known; it must sign only with [`Trust::Credentials`]. A redirect of another
/// method is returned as the response it is.
pub async fn send_following<F>(
    egress: &Egress,
    first: Url,
    mut build: F,
) -> Result<Response, RedirectError>
where
    F: FnMut(&Url, Trust) -> Result<Request, RedirectError>,
{
    let mut url = first;
    let mut trust = Trust::Credentials;
    for _ in 0..=MAX_HOPS {
        let request = build(&url, trust)?;
        let may_follow = matches!(*request.method(), Method::GET | Method::HEAD);
        let response = egress.send(request).await?;
        if !may_follow || !is_redirect(response.status()) {
            return Ok(response);
        }
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        (url, trust) = next_hop(&url, trust, location)?;
    }
    Err(RedirectError::TooMany {
        host: host_of(&url),
    })
}

/// Where a redirect leads and what it may carry.
pub fn next_hop(
    current: &Url,
    trust: Trust,
    location: Option<&str>,
) -> Result<(Url, Trust), RedirectError> {
    let host = || host_of(current);
    let target = location
        .filter(|text| !text.trim().is_empty())
        .and_then(|text| current.join(text.trim()).ok());
    let mut target = target.ok_or_else(|| RedirectError::BadLocation { host: host() })?;
    target.set_fragment(None);
    if current.scheme() == "https" && target.scheme() != "https" {
        return Err(RedirectError::Downgrade { host: host() });
    }
    // Once elsewhere, a foreign host would choose the URL that we sign; so trust does not return.
    let keep = trust == Trust::Credentials && same_origin(current, &target);
    Ok((
        target,
        if keep {
            Trust::Credentials
        } else {
            Trust::Anonymous
        },
    ))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::super::egress::EgressConfig;
    use super::super::policy::Refusal;
    use super::super::test_server::{Answer, TestServer};
    use super::*;
    use crate::kit::clock::Clock;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn hop(from: &str, trust: Trust, location: &str) -> Result<(String, Trust), String> {
        next_hop(&url(from), trust, Some(location))
            .map(|(target, trust)| (target.to_string(), trust))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_same_origin_keeps_credentials_and_others_lose_them_for_good() {
        let api = "https://api.example.org/api/a";
        let kept = hop(api, Trust::Credentials, "/api/b?x=1#frag").unwrap();
        assert_eq!(
            kept,
            (
                "https://api.example.org/api/b?x=1".to_owned(),
                Trust::Credentials
            )
        );
        let lost = hop(api, Trust::Credentials, "https://storage.example.net/file").unwrap();
        assert_eq!(lost.1, Trust::Anonymous);
        let back = hop(&lost.0, lost.1, "https://api.example.org/api/delete").unwrap();
        assert_eq!(back.1, Trust::Anonymous);
        assert_eq!(
            hop(api, Trust::Credentials, "https://api.example.org:8443/")
                .unwrap()
                .1,
            Trust::Anonymous
        );
    }

    #[test]
    fn downgrades_and_empty_targets_are_errors() {
        let api = "https://api.example.org/api/a";
        assert!(
            hop(api, Trust::Credentials, "http://api.example.org/")
                .unwrap_err()
                .contains("away from https")
        );
        assert!(
            hop(api, Trust::Credentials, "ftp://x/")
                .unwrap_err()
                .contains("away from https")
        );
        assert!(
            hop(api, Trust::Credentials, " ")
                .unwrap_err()
                .contains("without a usable target")
        );
        assert!(next_hop(&url(api), Trust::Credentials, None).is_err());
    }

    async fn follow(servers: &[&TestServer], method: Method) -> Result<u16, RedirectError> {
        let origins = servers.iter().map(|server| server.url()).collect();
        let egress = Egress::new(
            EgressConfig {
                dev: true,
                origins,
                ..EgressConfig::default()
            },
            Clock::system(),
        )?;
        let first = servers[0].url().join("/start").unwrap();
        let response = send_following(&egress, first, |url, trust| {
            let mut request = egress.request(method.clone(), url.clone());
            if trust == Trust::Credentials {
                request = request.header("authorization", format!("for {}", url.path()));
            }
            request
                .build()
                .map_err(|error| RedirectError::Build(error.to_string()))
        })
        .await?;
        Ok(response.status().as_u16())
    }

    #[tokio::test]
    async fn each_hop_is_signed_for_its_own_url_and_foreign_hops_not_at_all() {
        let storage = TestServer::start(vec![Answer::new(200)]).await;
        let away = storage.url().join("/file").unwrap();
        let api = TestServer::start(vec![
            Answer::new(302).header("location", "/moved"),
            Answer::new(307).header("location", away.as_str()),
        ])
        .await;
        assert_eq!(follow(&[&api, &storage], Method::GET).await.unwrap(), 200);
        let asked = api.requests();
        assert!(asked[0].contains("authorization: for /start"));
        assert!(asked[1].contains("authorization: for /moved"));
        assert!(!storage.requests()[0].contains("authorization"));
    }

    #[tokio::test]
    async fn a_loop_ends_and_a_post_is_not_followed() {
        let again = Answer::new(302).header("location", "/start");
        let server = TestServer::start(vec![again.clone(); 20]).await;
        let error = follow(&[&server], Method::GET).await.unwrap_err();
        assert!(matches!(error, RedirectError::TooMany { .. }), "{error}");
        assert_eq!(server.requests().len(), MAX_HOPS + 1);
        let server = TestServer::start(vec![again]).await;
        assert_eq!(follow(&[&server], Method::POST).await.unwrap(), 302);
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_hop_to_a_private_address_is_refused() {
        let server = TestServer::start(vec![
            Answer::new(302).header("location", "https://169.254.169.254/"),
        ])
        .await;
        let error = follow(&[&server], Method::GET).await.unwrap_err();
        let refused = matches!(
            error,
            RedirectError::Egress(EgressError::Refused(Refusal::PrivateAddress { .. }))
        );
        assert!(refused, "{error}");
    }
}
