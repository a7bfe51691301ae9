//! The application: everything that a request or job needs, built once from the configuration.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Config;
use crate::kit::clock::Clock;
use crate::kit::crypto::{Sealer, Signer};
use crate::kit::db::Db;
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
    /// Makes pages.
    pub renderer: Renderer,
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
        Ok(Self {
            db,
            parts: Arc::new(Parts {
                config,
                clock,
                sealer: Arc::new(sealer),
                signer,
                renderer: Renderer::new()?,
                caches: Mutex::new(HashMap::new()),
            }),
        })
    }

    /// The same application for background work.
    #[must_use]
    pub fn for_jobs(&self) -> Self {
        Self { db: self.db.for_jobs(), parts: Arc::clone(&self.parts) }
    }

    /// A feature's cache: made empty at first use, shared by all clones.
    pub fn cache<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        let mut caches = self.parts.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = caches.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        // The key is the type, so the downcast always succeeds.
        Arc::clone(entry).downcast::<T>().unwrap_or_default()
    }
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.parts
    }
}
