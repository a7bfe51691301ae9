//! The controls that a test in the same process uses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};

use super::Sandbox;
use crate::connect::install::{self, InstallRequest, Installed};
use crate::credentials::NewCredential;
use crate::deliveries::{Delivery, DeliverySettings};
use crate::faults::Fault;
use crate::journal::{Answer, CallRecord, Violation};
use crate::limits::RateLimit;
use crate::model::{
    Consumer, Credential, Issue, Repository, Secret, State, Tracker, User, Workspace,
};
use crate::oauth::{Access, ChangeConsumer, NewConsumer};
use crate::setup::{
    CommitRequest, NewBulk, NewMember, NewRepository, NewToken, NewUser, NewWorkspace,
};

impl Sandbox {
    /// Makes a workspace.
    ///
    /// # Errors
    /// When the slug is taken or not a slug.
    pub fn create_workspace(&self, slug: &str) -> anyhow::Result<Workspace> {
        self.core.create_workspace(&NewWorkspace {
            slug: slug.to_owned(),
            name: None,
        })
    }

    /// Makes a repository with an empty git repository.
    ///
    /// # Errors
    /// When the workspace is missing, or the slug is taken or not a slug.
    pub async fn create_repository(&self, new: NewRepository) -> anyhow::Result<Repository> {
        let core = Arc::clone(&self.core);
        self.core
            .runtime
            .spawn(async move { core.create_repository(&new).await })
            .await?
    }

    /// Makes many repositories as names alone.
    ///
    /// # Errors
    /// When the workspace is missing, or the prefix is not a slug or was used before.
    pub fn create_bulk(&self, new: &NewBulk) -> anyhow::Result<()> {
        self.core.create_bulk(new)
    }

    /// Makes a person.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn create_user(&self, new: &NewUser) -> anyhow::Result<User> {
        self.core.create_user(new)
    }

    /// Makes a bearer token.
    ///
    /// # Errors
    /// When the workspace is missing or a scope is unknown.
    pub fn create_token(&self, new: &NewToken) -> anyhow::Result<Secret> {
        self.core.create_token(new)
    }

    /// Puts a person into a workspace.
    ///
    /// # Errors
    /// When there is no such person or workspace.
    pub fn add_member(&self, new: &NewMember) -> anyhow::Result<()> {
        self.core.add_member(new)
    }

    /// Makes a long-lived credential.
    ///
    /// # Errors
    /// When its person, workspace or repository is missing, or it cannot hold a scope.
    pub fn create_credential(&self, new: &NewCredential) -> anyhow::Result<Credential> {
        self.core.create_credential(new)
    }

    /// Every secret that was given to anybody, live or not, to look for where none may be.
    pub fn every_secret(&self) -> Vec<Secret> {
        self.core.store.read(State::every_secret)
    }

    /// Takes a credential back.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn revoke_credential(&self, id: &str) -> anyhow::Result<()> {
        self.core.revoke_credential(id)
    }

    /// Whether app passwords work, as on compatible servers; they do not at first.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn allow_app_passwords(&self, allow: bool) -> anyhow::Result<()> {
        self.core.allow_app_passwords(allow)
    }

    /// Makes an OAuth consumer.
    ///
    /// # Errors
    /// When the workspace is missing, a scope is unknown or the callback is no URL.
    pub fn create_consumer(&self, new: &NewConsumer) -> anyhow::Result<Consumer> {
        self.core.create_consumer(new)
    }

    /// Changes a consumer, or takes back what it was given.
    ///
    /// # Errors
    /// When there is no such consumer or a scope is unknown.
    pub fn change_consumer(&self, change: &ChangeConsumer) -> anyhow::Result<Consumer> {
        self.core.change_consumer(change)
    }

    /// Grants a consumer access as a person; gives the authorization code.
    ///
    /// # Errors
    /// When there is no such consumer or person, or the consumer has no callback URL.
    pub fn grant(&self, access: &Access) -> anyhow::Result<Secret> {
        self.core.grant(access)
    }

    /// Sets the issue tracker of `workspace/slug`.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn set_tracker(&self, full_name: &str, tracker: Tracker) -> anyhow::Result<()> {
        self.core.set_tracker(full_name, tracker)
    }

    /// URL to clone `workspace/slug` from and push to.
    pub fn clone_url(&self, full_name: &str) -> String {
        self.core.web(&format!("/{full_name}.git"))
    }

    /// Makes a commit without a clone and fires the hooks; gives its hash.
    ///
    /// # Errors
    /// When the repository is missing or a path or author is not one.
    pub async fn commit(&self, request: CommitRequest) -> anyhow::Result<String> {
        let core = Arc::clone(&self.core);
        self.core
            .runtime
            .spawn(async move { core.commit(&request).await })
            .await?
    }

    /// Registers an app for installs by `addon_key`.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn register_app(&self, key: &str, descriptor_uri: &str) -> anyhow::Result<()> {
        self.core.register_app(key, descriptor_uri)
    }

    /// Installs an app without a browser.
    ///
    /// # Errors
    /// When the workspace is missing or the descriptor is refused. An app that does not take the
    /// install is no error: see [`Installed::ok`].
    pub async fn install(&self, request: InstallRequest) -> anyhow::Result<Installed> {
        let core = Arc::clone(&self.core);
        let done = self
            .core
            .runtime
            .spawn(async move { install::install(&core, &request).await });
        done.await?
            .map_err(|refused| anyhow!("{}", refused.0.join("; ")))
    }

    /// Uninstalls with a signed call; gives status and body of the app's answer.
    ///
    /// # Errors
    /// When no live install has this client key.
    pub async fn uninstall(&self, client_key: &str) -> anyhow::Result<(u16, String)> {
        let (core, key) = (Arc::clone(&self.core), client_key.to_owned());
        let done = self
            .core
            .runtime
            .spawn(async move { install::uninstall(&core, &key).await });
        done.await?.context("no live install has this client key")
    }

    /// A URL below the app's `baseUrl` with a fresh `jwt`, as the browser is sent to it.
    pub fn signed_url(&self, client_key: &str, path: &str) -> Option<String> {
        install::signed_url(&self.core, client_key, path)
    }

    /// The shared secret of an install, for tests that forge or sign calls themselves.
    pub fn shared_secret(&self, client_key: &str) -> Option<Secret> {
        self.core
            .store
            .read(|s| s.install(client_key).map(|i| i.secret.clone()))
    }

    /// Issues of `workspace/slug`, oldest first.
    pub fn issues(&self, full_name: &str) -> Vec<Issue> {
        self.core.store.read(|s| {
            s.by_full_name(full_name)
                .map(|r| r.issues.clone())
                .unwrap_or_default()
        })
    }

    /// Adds a fault.
    pub fn add_fault(&self, fault: Fault) {
        self.core.faults.add(fault);
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.core.faults.clear();
    }

    /// Sets or lifts the rate limit of every credential.
    pub fn set_limit(&self, limit: Option<RateLimit>) {
        self.core.limits.set(limit);
    }

    /// Sets the clock tokens are judged by; `None` follows the machine.
    pub fn set_clock(&self, now: Option<DateTime<Utc>>) {
        self.core.clock.set(now);
    }

    /// Rules broken so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.core.journal.violations()
    }

    /// Rules broken so far; forgets them.
    pub fn take_violations(&self) -> Vec<Violation> {
        self.core.journal.take_violations()
    }

    /// The last whole answers of the API to calls without a fault, oldest first; forgets them. Only a strict sandbox
    /// keeps them.
    pub fn take_answers(&self) -> Vec<Answer> {
        self.core.journal.take_answers()
    }

    /// Number of calls by `METHOD template`.
    pub fn call_counts(&self) -> BTreeMap<String, u64> {
        self.core.journal.counts()
    }

    /// Recent calls, oldest first.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.core.journal.recent()
    }

    /// Forgets calls and counts.
    pub fn clear_calls(&self) {
        self.core.journal.clear_calls();
    }

    /// Number of calls whose work is done and whose answer is held back.
    pub fn held(&self) -> usize {
        self.core.journal.held()
    }

    /// Lets held calls answer.
    pub fn release_held(&self) {
        self.core.journal.release_held();
    }

    /// Webhook deliveries, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.core.deliveries.list()
    }

    /// How deliveries behave now.
    pub fn delivery_settings(&self) -> DeliverySettings {
        self.core.deliveries.settings()
    }

    /// Sets how deliveries behave.
    pub fn set_delivery_settings(&self, settings: DeliverySettings) {
        self.core.deliveries.set(settings);
    }

    /// Sends held deliveries; gives how many.
    pub fn release_deliveries(&self) -> usize {
        self.core.release_deliveries()
    }

    /// Sends a delivery again, with `fresh` under a new request uuid; false when unknown.
    pub fn redeliver(&self, id: u64, fresh: bool) -> bool {
        self.core.redeliver(id, fresh)
    }

    /// Tells the Data Center hooks of `workspace/slug` of a pull request (`pr:opened`, …) that was never opened. False
    /// when there is no such repository.
    pub fn pull_request_event(&self, full_name: &str, event: &str, id: u64) -> bool {
        let found = self.core.store.read(|s| s.by_full_name(full_name).cloned());
        let Some(repository) = found else {
            return false;
        };
        let body = crate::dc::events::imagined(&self.core, &repository, event, id);
        self.core.fire_server(event, &repository, &body);
        true
    }

    /// Waits until no delivery is on its way; false when `limit` passed first.
    pub async fn settle(&self, limit: Duration) -> bool {
        let core = Arc::clone(&self.core);
        let wait = async move {
            while core.deliveries.busy() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let runtime = self.core.runtime.clone();
        runtime
            .spawn(async move { tokio::time::timeout(limit, wait).await.is_ok() })
            .await
            .unwrap_or(false)
    }
}
