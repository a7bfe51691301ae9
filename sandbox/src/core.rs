//! What every part of a running sandbox shares.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::runtime::Handle;

use crate::api::cursor::Cursors;
use crate::dc::Pages;
use crate::deliveries::Deliveries;
use crate::faults::Faults;
use crate::journal::{Journal, Rule, Violation};
use crate::limits::Limits;
use crate::model::Repository;
use crate::store::Store;

/// Locks plain data; a panic of another holder does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shared by the server, the background work and the handle of the library.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
    pub(crate) deliveries: Deliveries,
    pub(crate) cursors: Cursors,
    pub(crate) pages: Pages,
    pub(crate) clock: Clock,
    pub(crate) http: reqwest::Client,
    pub(crate) runtime: Handle,
    pub(crate) public_url: String,
    pub(crate) data_dir: PathBuf,
    pushes: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Core {
    pub(crate) fn new(
        data_dir: PathBuf,
        public_url: String,
        runtime: Handle,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            store: Store::open(&data_dir)?,
            journal: Journal::default(),
            faults: Faults::default(),
            limits: Limits::default(),
            deliveries: Deliveries::default(),
            cursors: Cursors::default(),
            pages: Pages::default(),
            clock: Clock::default(),
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .user_agent("Bitbucket-Webhooks/2.0")
                .build()?,
            runtime,
            public_url: public_url.trim_end_matches('/').to_owned(),
            data_dir,
            pushes: Mutex::default(),
        })
    }

    /// Absolute URL of an API path below `/2.0`.
    pub(crate) fn api(&self, path: &str) -> String {
        format!("{}/2.0{path}", self.public_url)
    }

    /// Absolute URL of a page.
    pub(crate) fn web(&self, path: &str) -> String {
        format!("{}{path}", self.public_url)
    }

    /// Records a broken rule.
    pub(crate) fn violation(
        &self,
        rule: Rule,
        method: &str,
        path: &str,
        detail: impl Into<String>,
    ) {
        self.journal.violation(Violation {
            rule,
            method: method.to_owned(),
            path: path.to_owned(),
            detail: detail.into(),
            at: self.clock.stamp(),
        });
    }

    /// The bare git repository on disk. One that was no more than a name is laid out now.
    pub(crate) fn git_dir(&self, repository: &Repository) -> PathBuf {
        let full_name = self.store.read(|s| s.full_name(repository));
        let dir = self.git_path(&full_name);
        if !dir.exists()
            && let Err(error) = crate::git::lay(&dir)
        {
            tracing::error!("{}: {error}", dir.display());
        }
        dir
    }

    /// Where the bare git repository of `workspace/slug` is, or will be.
    pub(crate) fn git_path(&self, full_name: &str) -> PathBuf {
        self.data_dir.join("git").join(format!("{full_name}.git"))
    }

    /// Held while refs of a repository change, so that before and after belong together.
    pub(crate) fn push_lock(&self, repository: &Repository) -> Arc<tokio::sync::Mutex<()>> {
        lock(&self.pushes)
            .entry(repository.uuid.clone())
            .or_default()
            .clone()
    }
}

/// The time the sandbox judges and stamps by. Tests with a fixed clock set it.
#[derive(Default)]
pub(crate) struct Clock(Mutex<Option<DateTime<Utc>>>);

impl Clock {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        lock(&self.0).unwrap_or_else(Utc::now)
    }

    /// `None` follows the machine again.
    pub(crate) fn set(&self, now: Option<DateTime<Utc>>) {
        *lock(&self.0) = now;
    }

    /// Now as the API writes it: microseconds and `+00:00`.
    pub(crate) fn stamp(&self) -> String {
        self.now().to_rfc3339_opts(SecondsFormat::Micros, false)
    }
}

/// A fresh uuid in braces.
pub(crate) fn braced_uuid() -> String {
    format!("{{{}}}", uuid::Uuid::new_v4())
}
