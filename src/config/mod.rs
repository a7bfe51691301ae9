//! Configuration: one table of settings, read from the environment and `tracebucket.toml`.
//!
//! Every setting has one environment variable (`TRACEBUCKET_…`, which wins), one key in the file and one row in
//! [`SETTINGS`], from which docs/CONFIGURATION.md is made. Unknown keys are refused: a typo must not be silent.

mod load;
mod settings;

use std::time::Duration;

use url::Url;

use crate::kit::crypto::secret::Secret;

pub use load::{ConfigError, Sources};
pub use settings::{SETTINGS, Setting, reference_page};

/// Everything that the operator decides; validated as a whole, constant after start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address and port of the HTTP server.
    pub listen: String,
    /// Scheme, host and optional port under which browsers and Bitbucket reach us; no path.
    pub public_url: Url,
    /// Where the data is; may hold a password.
    pub database_url: Secret,
    /// Sealing keys, `id:base64,…`; `None` only with `--dev` (the key file is used).
    pub secret_keys: Option<Secret>,
    /// Base URL of the Bitbucket Cloud API.
    pub bitbucket_api_url: Url,
    /// Base URL of Bitbucket's web pages.
    pub bitbucket_web_url: Url,
    /// Bytes of Bitbucket's answers that are kept for another time; 0 keeps none.
    pub bitbucket_cache: u64,
    /// Key of the Connect app: `iss` of what we sign.
    pub app_key: String,
    /// Hosts and networks that may be private.
    pub egress_allow: Vec<String>,
    /// How long events are kept.
    pub retention: Duration,
    /// How long bodies of inbound webhooks are kept; their keys twice that.
    pub deliveries: Duration,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Filter of log lines, in the syntax of tracing.
    pub log: String,
    /// Relaxed rules for a machine of one's own.
    pub dev: bool,
}

impl Config {
    /// True when browsers reach us over https: cookies are then marked Secure.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// An absolute URL of ours for a path that begins with `/`.
    #[must_use]
    pub fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}
