//! Inbound webhooks: the door, the log, the queue and the replay.
//!
//! `POST /extensions/bitbucket/organizations/{id}/webhook/` verifies a call of Bitbucket, stores it and answers,
//! all in one write ([`api`]). The stored row is itself the queue entry: [`drain()`] claims rows under a lease and
//! works on them ([`jobs`]), and what they mean for commits and errors is decided by the releases feature.
//!
//! What the door answers, in the order in which it checks (sentry.md §2.1):
//!
//! | situation | answer |
//! | --- | --- |
//! | method not POST | 405 |
//! | body over 1 MiB | 413 |
//! | unknown organization | 400 |
//! | empty body | 400 |
//! | body not JSON | 400 |
//! | no `repository.uuid` | 400 |
//! | no such repository in this organization | 404 |
//! | repository without a secret | 401 `…webhook.missing-secret` |
//! | `X-Hub-Signature` missing or without `=` | 400 `…webhook.missing-signature` |
//! | method part not `sha256` | 400 `…webhook.unsupported-signature-method` |
//! | signature differs | 400 `…webhook.invalid-signature` |
//! | `X-Event-Key` missing | 400 |
//! | same `X-Request-UUID` again | 204, nothing done |
//! | event key that is not used | 204, stored as `ignored` |
//! | else | 204, stored |
//! | the database takes no write now | 503 with `Retry-After` |
//!
//! This differs from Sentry on purpose: the caller's address does not matter, because the signature does; the
//! signature is checked before the event key; a payload without `repository.uuid` is refused and not a crash;
//! a repeated delivery is recognised.
//!
//! `POST /extensions/bitbucket-server/webhook/{id}/{connection}/` is the door for Data Center: the same table, with
//! `repository.id` in place of the uuid, `X-Request-Id` in place of `X-Request-UUID`, and 200 for the ping
//! (`diagnostics:ping`), which names no repository and so cannot be verified; nothing is stored of it. The repository
//! is known by its number and by the server of the connection, and so has its own secret here too.
//!
//! Deliveries of one repository start in the order of their arrival and never overlap. One that failed waits for
//! its retry without holding up the others: everything that a delivery writes is either the same in any order or
//! keeps the newer value.

pub mod api;
mod drain;
mod jobs;
mod outcome;
pub mod pages;
mod store;

use crate::kit::ids::{row_id, text_enum};
use crate::kit::pack as body;

pub use drain::drain;
pub use jobs::Retention;

row_id! {
    /// Row id of a delivery.
    DeliveryId
}

text_enum! {
    /// Who sent a delivery.
    Source {
        /// A webhook of Bitbucket Cloud.
        BitbucketCloud = "bitbucket_cloud",
        /// A webhook of Bitbucket Data Center.
        BitbucketDataCenter = "bitbucket_data_center",
    }
}

text_enum! {
    /// Where a delivery stands.
    DeliveryState {
        /// Waiting for its time, or claimed.
        Ready = "ready",
        /// Worked on.
        Done = "done",
        /// Of a kind that is not used.
        Ignored = "ignored",
        /// Gave up; kept until somebody replays it.
        Dead = "dead",
    }
}

impl Source {
    /// Event keys that the worker does something with.
    const fn used_events(self) -> &'static [&'static str] {
        match self {
            Self::BitbucketCloud => &["repo:push", "repo:updated", "repo:deleted"],
            Self::BitbucketDataCenter => &["repo:refs_changed", "repo:modified"],
        }
    }
}
