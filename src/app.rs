//! The application: everything that a request or job needs, built once from the configuration.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use ipnet::IpNet;
use url::Url;

use crate::bitbucket;
use crate::config::Config;
use crate::kit::clock::Clock;
use crate::kit::crypto::{Sealer, Signer};
use crate::kit::db::Db;
use crate::kit::http::{Egress, EgressConfig};
use crate::kit::metrics::Metrics;
use crate::kit::web::render::Renderer;

/// A handle on the application; clones share everything.
#[derive(Clone)]
pub struct App {
    /// The database; of the request lane, or of the job lane in [`App::for_jobs`].
    pub db: Db,
    parts: Arc<Parts>,
}

/// What does not differ between requests and jobs.
pub struct Parts {
    /// What the operator decided.
    pub config: Config,
    /// What time it is.
    pub clock: Clock,
    /// Seals secrets for the database.
    pub sealer: Arc<Sealer>,
    /// Signs short claims that travel through browsers.
    pub signer: Signer,
    /// Figures for operators.
    pub metrics: Arc<Metrics>,
    /// Makes pages.
    pub renderer: Renderer,
    /// The one door for outgoing calls.
    pub egress: Egress,
    /// Bitbucket's API at the configured address, without a credential.
    pub bitbucket: bitbucket::Client,
    /// Per-feature values that are derived from the database and may be lost at any moment.
    caches: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl App {
    /// Puts the parts together.
    ///
    /// # Errors
    /// When a part cannot be built from the configuration.
    pub fn new(config: Config, db: Db, clock: Clock, sealer: Sealer) -> anyhow::Result<Self> {
        let signer = sealer.signer();
        let egress = Egress::new(egress_config(&config)?, clock.clone())?;
        let bitbucket = bitbucket::Client::new(
            egress.clone(),
            config.bitbucket_api_url.clone(),
            config.bitbucket_web_url.clone(),
            clock.clone(),
        );
        let metrics = Arc::new(Metrics::default());
        let counted = Arc::clone(&metrics);
        let bitbucket = bitbucket.with_observer(move |call| {
            counted.call(call.path, call.method, call.outcome, call.elapsed)
        });
        Ok(Self {
            db,
            parts: Arc::new(Parts {
                config,
                clock,
                sealer: Arc::new(sealer),
                signer,
                metrics,
                renderer: Renderer::new()?,
                egress,
                bitbucket,
                caches: Mutex::new(HashMap::new()),
            }),
        })
    }

    /// The same application for background work.
    #[must_use]
    pub fn for_jobs(&self) -> Self {
        Self {
            db: self.db.for_jobs(),
            parts: Arc::clone(&self.parts),
        }
    }

    /// A feature's cache: made empty at first use, shared by all clones.
    pub fn cache<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        let mut caches = self
            .parts
            .caches
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let entry = caches
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(T::default()));
        // The key is the type, so the downcast always succeeds.
        Arc::clone(entry).downcast::<T>().unwrap_or_default()
    }
}

/// What the operator configured may have a private address, everything else may not.
fn egress_config(config: &Config) -> anyhow::Result<EgressConfig> {
    let mut origins = vec![
        config.bitbucket_api_url.clone(),
        config.bitbucket_web_url.clone(),
    ];
    let mut allowed_networks = Vec::new();
    for entry in &config.egress_allow {
        if let Ok(network) = entry.parse::<IpNet>() {
            allowed_networks.push(network);
        } else if let Ok(address) = entry.parse::<IpAddr>() {
            allowed_networks.push(IpNet::from(address));
        } else {
            let host = |scheme: &str| {
                Url::parse(&format!("{scheme}://{entry}/")).with_context(|| {
                    format!("egress_allow: {entry:?} is neither a host nor a CIDR")
                })
            };
            origins.push(host("https")?);
            if config.dev {
                origins.push(host("http")?);
            }
        }
    }
    Ok(EgressConfig {
        dev: config.dev,
        origins,
        allowed_networks,
    })
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.parts
    }
}
