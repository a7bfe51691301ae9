//! Webhook deliveries (bitbucket.md §5.2): signed, repeated, and kept in a log that a restart
//! forgets. On demand they are held, dropped, doubled or sent again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::{Core, lock};
use crate::git::push::Pushed;
use crate::model::{DcHook, Hook, Repository, Secret, Subject};
use crate::protocol::jwt::hub_signature;

/// Bodies over this many bytes are not sent at all.
const SIZE_LIMIT: usize = 256 * 1024;
/// How many deliveries the log keeps.
const KEPT: usize = 5_000;

/// How deliveries behave.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliverySettings {
    /// Send every delivery twice, with the same `X-Request-UUID`.
    pub duplicate: bool,
    /// Keep deliveries until they are released.
    pub hold: bool,
    /// Record deliveries and never send them.
    pub drop: bool,
    /// Tries before a delivery counts as failed; Bitbucket makes three.
    pub attempts: u32,
    /// Milliseconds between two tries.
    pub delay_ms: u64,
    /// Milliseconds to wait for an answer; Bitbucket waits ten seconds.
    pub timeout_ms: u64,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            duplicate: false,
            hold: false,
            drop: false,
            attempts: 3,
            delay_ms: 200,
            timeout_ms: 10_000,
        }
    }
}

/// Which kind of server sends a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavor {
    /// Bitbucket Cloud.
    Cloud,
    /// Bitbucket Data Center.
    DataCenter,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// On its way.
    Sending,
    /// Waiting to be released.
    Held,
    /// Answered 2xx.
    Delivered,
    /// Every try failed.
    Failed,
    /// Never sent, as told.
    Dropped,
    /// Never sent: over 256 KB.
    TooLarge,
}

/// One try.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// Value of `X-Attempt-Number`.
    pub number: u32,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// RFC 3339.
    pub at: String,
}

/// One event for one hook.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// Number in the log, from 1.
    pub id: u64,
    /// Which kind of server sends it.
    pub flavor: Flavor,
    /// Uuid in braces; a number on Data Center.
    pub hook: String,
    /// Event key.
    pub event: String,
    /// Repository uuid.
    pub repository: String,
    /// Where it goes.
    pub url: String,
    /// Value of `X-Request-UUID`, on Data Center of `X-Request-Id`.
    pub request_uuid: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
    /// Length of the body in bytes.
    pub size: usize,
    /// RFC 3339.
    pub created_on: String,
    #[serde(skip)]
    body: Bytes,
    #[serde(skip)]
    secret: Option<Secret>,
}

impl Delivery {
    /// The JSON body as sent.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// A hook that an event goes to.
struct Target {
    flavor: Flavor,
    hook: String,
    url: String,
    secret: Option<Secret>,
}

#[derive(Default)]
pub(crate) struct Deliveries {
    log: Mutex<Log>,
    settings: Mutex<DeliverySettings>,
}

#[derive(Default)]
struct Log {
    last: u64,
    entries: Vec<Delivery>,
}

impl Deliveries {
    pub(crate) fn settings(&self) -> DeliverySettings {
        lock(&self.settings).clone()
    }

    pub(crate) fn set(&self, settings: DeliverySettings) {
        *lock(&self.settings) = settings;
    }

    pub(crate) fn list(&self) -> Vec<Delivery> {
        lock(&self.log).entries.clone()
    }

    pub(crate) fn clear(&self) {
        lock(&self.log).entries.clear();
    }

    /// Whether something is still on its way.
    pub(crate) fn busy(&self) -> bool {
        lock(&self.log)
            .entries
            .iter()
            .any(|d| d.status == DeliveryStatus::Sending)
    }

    fn add(&self, mut delivery: Delivery) -> u64 {
        let mut log = lock(&self.log);
        log.last += 1;
        delivery.id = log.last;
        if log.entries.len() >= KEPT
            && let Some(done) = log
                .entries
                .iter()
                .position(|d| d.status != DeliveryStatus::Sending)
        {
            log.entries.remove(done);
        }
        log.entries.push(delivery);
        log.last
    }

    fn get(&self, id: u64) -> Option<Delivery> {
        lock(&self.log).entries.iter().find(|d| d.id == id).cloned()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Delivery)) {
        if let Some(found) = lock(&self.log).entries.iter_mut().find(|d| d.id == id) {
            change(found);
        }
    }
}

impl Core {
    /// Hands an event to every active hook that listens to it.
    pub(crate) fn fire(self: &Arc<Self>, event: &str, repository: &Repository, body: Value) {
        let hooks = self.store.read(|state| {
            let listening = state.hooks.iter().filter(|hook| {
                let subject = match &hook.subject {
                    Subject::Repository(uuid) => *uuid == repository.uuid,
                    Subject::Workspace(uuid) => *uuid == repository.workspace,
                };
                subject && hook.active && hook.events.iter().any(|e| e == event)
            });
            let target = |hook: &Hook| Target {
                flavor: Flavor::Cloud,
                hook: hook.uuid.clone(),
                url: hook.url.clone(),
                secret: hook.secret.clone(),
            };
            listening.map(target).collect::<Vec<_>>()
        });
        self.queue(event, repository, &body, hooks);
    }

    /// Hands a push, and what it did to pull requests, to the hooks of both kinds of server.
    pub(crate) fn fire_push(self: &Arc<Self>, repository: &Repository, pushed: Pushed) {
        self.fire("repo:push", repository, pushed.cloud);
        self.fire_server("repo:refs_changed", repository, &pushed.data_center);
        for (pull, event) in &pushed.pulls {
            self.tell(repository, pull, event, &pushed.actor);
        }
    }

    /// Hands an event to the active hooks of Data Center that listen to it.
    pub(crate) fn fire_server(
        self: &Arc<Self>,
        event: &str,
        repository: &Repository,
        body: &Value,
    ) {
        let hooks = self.store.read(|state| {
            let listening = state.dc_hooks.iter().filter(|hook| {
                hook.repository == repository.uuid
                    && hook.active
                    && hook.events.iter().any(|e| e == event)
            });
            let target = |hook: &DcHook| Target {
                flavor: Flavor::DataCenter,
                hook: hook.id.to_string(),
                url: hook.url.clone(),
                secret: hook.secret.clone(),
            };
            listening.map(target).collect::<Vec<_>>()
        });
        self.queue(event, repository, body, hooks);
    }

    fn queue(
        self: &Arc<Self>,
        event: &str,
        repository: &Repository,
        body: &Value,
        targets: Vec<Target>,
    ) {
        let bytes = Bytes::from(body.to_string());
        let settings = self.deliveries.settings();
        for target in targets {
            let status = if target.flavor == Flavor::Cloud && bytes.len() > SIZE_LIMIT {
                DeliveryStatus::TooLarge
            } else if settings.drop {
                DeliveryStatus::Dropped
            } else if settings.hold {
                DeliveryStatus::Held
            } else {
                DeliveryStatus::Sending
            };
            let id = self.deliveries.add(Delivery {
                id: 0,
                flavor: target.flavor,
                hook: target.hook,
                event: event.to_owned(),
                repository: repository.uuid.clone(),
                url: target.url,
                request_uuid: uuid::Uuid::new_v4().to_string(),
                status,
                attempts: Vec::new(),
                size: bytes.len(),
                created_on: self.clock.stamp(),
                body: bytes.clone(),
                secret: target.secret,
            });
            if status == DeliveryStatus::Sending {
                self.send(id, settings.duplicate);
            }
        }
    }

    /// Sends the ping of Data Center once; gives the status of the answer, or why there was none.
    pub(crate) async fn ping(&self, url: &str, secret: Option<&Secret>) -> Result<u16, String> {
        let body = r#"{"test":true}"#;
        let mut request = self
            .http
            .post(url)
            .timeout(Duration::from_millis(self.deliveries.settings().timeout_ms))
            .header("Content-Type", "application/json")
            .header("X-Event-Key", "diagnostics:ping")
            .header("X-Request-Id", uuid::Uuid::new_v4().to_string());
        if let Some(secret) = secret {
            request = request.header("X-Hub-Signature", hub_signature(secret, body.as_bytes()));
        }
        let answer = request.body(body).send().await;
        answer
            .map(|a| a.status().as_u16())
            .map_err(|e| e.without_url().to_string())
    }

    /// Sends what was held; gives how many.
    pub(crate) fn release_deliveries(self: &Arc<Self>) -> usize {
        let held: Vec<u64> = {
            let mut log = lock(&self.deliveries.log);
            let held = log
                .entries
                .iter_mut()
                .filter(|d| d.status == DeliveryStatus::Held);
            held.map(|d| {
                d.status = DeliveryStatus::Sending;
                d.id
            })
            .collect()
        };
        let duplicate = self.deliveries.settings().duplicate;
        for id in &held {
            self.send(*id, duplicate);
        }
        held.len()
    }

    /// Sends a delivery of the log again; with `fresh` under a new `X-Request-UUID`. False when
    /// the log has no such delivery.
    pub(crate) fn redeliver(self: &Arc<Self>, id: u64, fresh: bool) -> bool {
        let Some(mut delivery) = self.deliveries.get(id) else {
            return false;
        };
        if fresh {
            delivery.request_uuid = uuid::Uuid::new_v4().to_string();
        }
        delivery.attempts.clear();
        delivery.status = DeliveryStatus::Sending;
        delivery.created_on = self.clock.stamp();
        let id = self.deliveries.add(delivery);
        self.send(id, false);
        true
    }

    fn send(self: &Arc<Self>, id: u64, twice: bool) {
        let core = Arc::clone(self);
        self.runtime.spawn(async move {
            let Some(delivery) = core.deliveries.get(id) else {
                return;
            };
            if twice {
                tokio::join!(core.tries(&delivery), core.tries(&delivery));
            } else {
                core.tries(&delivery).await;
            }
        });
    }

    async fn tries(&self, delivery: &Delivery) {
        let settings = self.deliveries.settings();
        let attempts = settings.attempts.max(1);
        for number in 1..=attempts {
            if number > 1 {
                tokio::time::sleep(Duration::from_millis(settings.delay_ms)).await;
            }
            let attempt = self.attempt(delivery, number, settings.timeout_ms).await;
            let delivered = attempt.status.is_some_and(|s| (200..300).contains(&s));
            let last = number == attempts;
            self.deliveries.change(delivery.id, |stored| {
                stored.attempts.push(attempt);
                if delivered {
                    stored.status = DeliveryStatus::Delivered;
                } else if last && stored.status == DeliveryStatus::Sending {
                    stored.status = DeliveryStatus::Failed;
                }
            });
            if delivered {
                return;
            }
        }
    }

    async fn attempt(&self, delivery: &Delivery, number: u32, timeout_ms: u64) -> Attempt {
        let begun = Instant::now();
        let mut request = self
            .http
            .post(&delivery.url)
            .timeout(Duration::from_millis(timeout_ms))
            .header("Content-Type", "application/json")
            .header("X-Event-Key", &delivery.event);
        request = match delivery.flavor {
            Flavor::Cloud => request
                .header("X-Hook-UUID", delivery.hook.trim_matches(['{', '}']))
                .header("X-Request-UUID", &delivery.request_uuid)
                .header("X-Attempt-Number", number),
            Flavor::DataCenter => request.header("X-Request-Id", &delivery.request_uuid),
        };
        if let Some(secret) = &delivery.secret {
            request = request.header("X-Hub-Signature", hub_signature(secret, &delivery.body));
        }
        let answer = request.body(delivery.body.clone()).send().await;
        let (status, error) = match answer {
            Ok(answer) => (Some(answer.status().as_u16()), None),
            Err(error) if error.is_timeout() => (None, Some("TIMEOUT".to_owned())),
            Err(error) => (None, Some(error.without_url().to_string())),
        };
        Attempt {
            number,
            status,
            error,
            ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            at: self.clock.stamp(),
        }
    }
}
