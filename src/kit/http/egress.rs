//! The one door for outgoing HTTP: builds the client, checks every URL and every resolved address,
//! and keeps hosts that fail from being hammered.

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, Request, Response, redirect};
use url::Url;

use super::breaker::{Breaker, BreakerConfig};
use super::policy::{Policy, Refusal};
use crate::kit::clock::Clock;

/// Longest wait for name, TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest life of a request including its body, unless the request sets its own.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest rest of a connection that may be used again: shorter than servers and balancers leave one open (75 s and
/// 60 s are usual), so that a request seldom meets one that is being closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// What we call ourselves.
pub const USER_AGENT: &str = concat!("Tracebucket/", env!("CARGO_PKG_VERSION"));

/// What the operator configured about outgoing calls.
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// Development: configured origins may be plain http.
    pub dev: bool,
    /// Base URLs from the configuration. Their hosts may have private addresses.
    pub origins: Vec<Url>,
    /// Networks that tenants may name besides the public Internet.
    pub allowed_networks: Vec<IpNet>,
}

/// Why a call did not bring a response. No variant holds path, query or headers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EgressError {
    /// The rules forbid the call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The host failed too often; nothing was sent.
    #[error("{host} failed too often, next try in {} s", retry_after.as_secs())]
    Resting {
        /// Host that rests.
        host: String,
        /// When a try is allowed again.
        retry_after: Duration,
    },
    /// No connection: name, TCP or TLS. Nothing was sent.
    #[error("no connection to {host}: {detail}")]
    Connect {
        /// Host of the call.
        host: String,
        /// Cause, without the URL.
        detail: String,
    },
    /// The time is over. The other side may have done the work.
    #[error("{host} did not answer in time")]
    Timeout {
        /// Host of the call.
        host: String,
    },
    /// The exchange broke off. The other side may have done the work.
    #[error("the exchange with {host} broke off: {detail}")]
    Broken {
        /// Host of the call.
        host: String,
        /// Cause, without the URL.
        detail: String,
    },
    /// The client could not be built (no usable root certificates, for example).
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(String),
}

impl EgressError {
    /// Sorts an error of the client library; `host` is what the caller asked for.
    pub fn from_client(host: &str, error: reqwest::Error) -> Self {
        if let Some(refusal) = refusal_in(&error) {
            return Self::Refused(refusal);
        }
        let host = host.to_owned();
        if error.is_connect() {
            return Self::Connect {
                host,
                detail: chain(&error.without_url()),
            };
        }
        if error.is_timeout() {
            return Self::Timeout { host };
        }
        Self::Broken {
            host,
            detail: chain(&error.without_url()),
        }
    }
}

/// A client with its rules. Clones share connections and breakers.
#[derive(Clone)]
pub struct Egress {
    client: Client,
    policy: Arc<Policy>,
    breaker: Arc<Breaker>,
    clock: Clock,
}

impl Egress {
    /// Builds the client. Environment proxies are not used: behind one, the name would be resolved
    /// where our address rules do not reach.
    pub fn new(config: EgressConfig, clock: Clock) -> Result<Self, EgressError> {
        let policy = Arc::new(Policy::new(
            config.dev,
            &config.origins,
            config.allowed_networks,
        )?);
        Self::build(policy, Vec::new(), clock)
    }

    /// The same rules for one tenant's server, whose certificates may also come from the authorities in `pem` (one or
    /// more certificates). Only this value and its clones trust them; it has breakers of its own, so that a wrong
    /// bundle rests nobody else's host.
    ///
    /// # Errors
    /// [`EgressError::Setup`] when `pem` holds no certificate or one that cannot be an authority.
    pub fn trusting(&self, pem: &[u8]) -> Result<Self, EgressError> {
        let roots =
            Certificate::from_pem_bundle(pem).map_err(|error| EgressError::Setup(chain(&error)))?;
        if roots.is_empty() {
            return Err(EgressError::Setup("there is no certificate in it".into()));
        }
        Self::build(Arc::clone(&self.policy), roots, self.clock.clone())
    }

    fn build(
        policy: Arc<Policy>,
        roots: Vec<Certificate>,
        clock: Clock,
    ) -> Result<Self, EgressError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that makes a client"
        )]
        let builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .tls_certs_merge(roots)
            .dns_resolver(GuardedResolver(Arc::clone(&policy)));
        let client = builder
            .build()
            .map_err(|error| EgressError::Setup(chain(&error)))?;
        Ok(Self {
            client,
            policy,
            breaker: Arc::new(Breaker::new(clock.clone(), BreakerConfig::default())),
            clock,
        })
    }

    /// Whether `url` could be called, as far as its text tells: for an address that a tenant gives, before it is kept.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        self.policy.check_url(url)
    }

    /// A request to fill; it is checked when it is sent.
    pub fn request(&self, method: reqwest::Method, url: Url) -> reqwest::RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends one request, follows nothing, repeats nothing. Any status is a response.
    pub async fn send(&self, request: Request) -> Result<Response, EgressError> {
        self.policy.check_url(request.url())?;
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let origin = request.url().authority().to_owned();
        if let Err(retry_after) = self.breaker.admit(&origin) {
            return Err(EgressError::Resting { host, retry_after });
        }
        let outcome = self
            .client
            .execute(request)
            .await
            .map_err(|error| EgressError::from_client(&host, error));
        let healthy = match &outcome {
            // 555 means that this one question was too big (bitbucket.md §4.4).
            Ok(response) => {
                !response.status().is_server_error() || response.status().as_u16() == 555
            }
            Err(EgressError::Refused(_)) => true,
            Err(_) => false,
        };
        self.breaker.record(&origin, healthy);
        outcome
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Egress")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Resolves by the system and drops what the policy forbids, so that a name cannot lead inside.
struct GuardedResolver(Arc<Policy>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found
                .filter(|address| policy.allows_resolved(&host, address.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(
                    Box::new(Refusal::PrivateAddress { host }) as Box<dyn StdError + Send + Sync>
                );
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn refusal_in(error: &reqwest::Error) -> Option<Refusal> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return Some(refusal.clone());
        }
        cause = inner.source();
    }
    None
}

/// The texts of an error and its causes, without repeating one inside the next.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let next = inner.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use reqwest::Method;

    use super::super::test_server::{Answer, TestServer};
    use super::*;

    fn egress(config: EgressConfig) -> Egress {
        Egress::new(config, Clock::system()).unwrap()
    }

    fn get(egress: &Egress, url: &str) -> Request {
        egress
            .request(Method::GET, Url::parse(url).unwrap())
            .build()
            .unwrap()
    }

    #[tokio::test]
    async fn a_configured_plain_origin_is_called_with_our_name_and_not_followed() {
        let server = TestServer::start(vec![
            Answer::new(302).header("location", "http://127.0.0.1:1/"),
        ])
        .await;
        let egress = egress(EgressConfig {
            dev: true,
            origins: vec![server.url()],
            ..EgressConfig::default()
        });
        let response = egress
            .send(get(&egress, server.url().as_str()))
            .await
            .unwrap();
        assert_eq!(response.status(), 302);
        let requests = server.requests();
        assert_eq!(requests.len(), 1);
        assert!(
            requests
                .iter()
                .all(|request| request.contains(&format!("user-agent: {USER_AGENT}")))
        );
    }

    #[tokio::test]
    async fn names_and_numbers_of_this_machine_are_refused_to_strangers() {
        let egress = egress(EgressConfig::default());
        for url in [
            "https://localhost:9/",
            "https://127.0.0.1:9/",
            "https://[::1]:9/",
        ] {
            let error = egress.send(get(&egress, url)).await.unwrap_err();
            assert!(
                matches!(error, EgressError::Refused(Refusal::PrivateAddress { .. })),
                "{url}: {error}"
            );
        }
        let error = egress
            .send(get(&egress, "http://example.org/?jwt=secret"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, EgressError::Refused(Refusal::Scheme { .. })),
            "{error}"
        );
        assert!(!error.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_closed_port_is_a_connect_error_and_repeated_failures_rest_the_host() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let origin = Url::parse(&format!("http://{closed}/?jwt=secret")).unwrap();
        let egress = egress(EgressConfig {
            dev: true,
            origins: vec![origin.clone()],
            ..EgressConfig::default()
        });
        let error = egress
            .send(get(&egress, origin.as_str()))
            .await
            .unwrap_err();
        assert!(matches!(error, EgressError::Connect { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"));
        for _ in 0..50 {
            let _ = egress.send(get(&egress, origin.as_str())).await;
        }
        let error = egress
            .send(get(&egress, origin.as_str()))
            .await
            .unwrap_err();
        assert!(matches!(error, EgressError::Resting { .. }), "{error}");
    }

    #[tokio::test]
    async fn silence_is_a_timeout_and_a_cut_answer_is_broken() {
        let server = TestServer::start(vec![Answer::silence(), Answer::cut()]).await;
        let egress = egress(EgressConfig {
            dev: true,
            origins: vec![server.url()],
            ..EgressConfig::default()
        });
        let mut slow = get(&egress, server.url().as_str());
        *slow.timeout_mut() = Some(Duration::from_millis(100));
        let error = egress.send(slow).await.unwrap_err();
        assert!(matches!(error, EgressError::Timeout { .. }), "{error}");
        let error = egress
            .send(get(&egress, server.url().as_str()))
            .await
            .unwrap_err();
        assert!(matches!(error, EgressError::Broken { .. }), "{error}");
    }

    #[test]
    fn plain_http_needs_development() {
        let origins = vec![Url::parse("http://127.0.0.1:1").unwrap()];
        let config = EgressConfig {
            origins,
            ..EgressConfig::default()
        };
        assert!(matches!(
            Egress::new(config, Clock::system()),
            Err(EgressError::Refused(Refusal::Scheme { .. }))
        ));
    }
}
