//! What Bitbucket posts to a webhook (bitbucket.md §5). Read leniently: an odd field reads as absent,
//! an odd item is dropped, an unknown event is no error.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json;
use super::wire::{Account, Commit, CommitRef, Links, Repository, soft, soft_list};

/// Header with the event key.
pub const EVENT_KEY_HEADER: &str = "X-Event-Key";
/// Header with the id of a delivery, the same over its attempts.
pub const REQUEST_UUID_HEADER: &str = "X-Request-UUID";
/// Header with `sha256=<hex>` over the raw body.
pub const SIGNATURE_HEADER: &str = "X-Hub-Signature";

/// Why a payload cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not a JSON object.
    #[error("the payload is not a JSON object")]
    NotJson,
    /// No `repository.uuid`, by which the delivery is assigned.
    #[error("the payload has no repository.uuid")]
    NoRepository,
}

/// A delivery.
#[derive(Debug, Clone)]
pub enum Event {
    /// `repo:push`.
    Push(Push),
    /// `repo:updated`.
    RepoUpdated(RepoUpdated),
    /// `repo:deleted`.
    RepoDeleted(RepoDeleted),
    /// Anything else.
    Other {
        /// Its event key.
        event_key: String,
    },
}

impl Event {
    /// Reads a payload by its event key.
    pub fn parse(event_key: &str, body: &[u8]) -> Result<Self, EventError> {
        match event_key {
            "repo:push" => object(body).map(Self::Push),
            "repo:updated" => object(body).map(Self::RepoUpdated),
            "repo:deleted" => object(body).map(Self::RepoDeleted),
            _ => object::<Value>(body).map(|_| Self::Other {
                event_key: event_key.to_owned(),
            }),
        }
    }
}

/// `repository.uuid` of a payload that is **not verified yet**: only good for finding the secret to
/// verify with. Reads no other field.
pub fn peek_repository_uuid(body: &[u8]) -> Result<String, EventError> {
    #[derive(Deserialize)]
    struct Peek {
        repository: Option<PeekRepository>,
    }
    #[derive(Deserialize)]
    struct PeekRepository {
        uuid: Option<String>,
    }
    match object::<Peek>(body) {
        Ok(peek) => peek
            .repository
            .and_then(|repository| repository.uuid)
            .filter(|uuid| !uuid.is_empty()),
        // Either no JSON at all, or JSON whose repository has another shape.
        Err(error) => {
            object::<Value>(body).map_err(|_| error)?;
            None
        }
    }
    .ok_or(EventError::NoRepository)
}

/// An object in UTF-8. Serde would fill a struct from an array too, by position, and would not look
/// at the bytes of fields that it skips.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, EventError> {
    let text = std::str::from_utf8(body).map_err(|_| EventError::NotJson)?;
    if !text.trim_start().starts_with('{') {
        return Err(EventError::NotJson);
    }
    json::read(text.as_bytes()).map_err(|_| EventError::NotJson)
}

/// `repo:push`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Push {
    /// Who pushed.
    #[serde(default, deserialize_with = "soft")]
    pub actor: Option<Account>,
    /// Where.
    #[serde(default, deserialize_with = "soft")]
    pub repository: Repository,
    /// What.
    #[serde(default, deserialize_with = "soft")]
    push: PushBody,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct PushBody {
    #[serde(default, deserialize_with = "soft_list")]
    changes: Vec<Change>,
}

impl Push {
    /// A push of a host with other words for it.
    pub(super) fn of(actor: Account, repository: Repository, changes: Vec<Change>) -> Self {
        Self {
            actor: Some(actor),
            repository,
            push: PushBody { changes },
        }
    }

    /// One item per branch or tag that moved.
    pub fn changes(&self) -> &[Change] {
        &self.push.changes
    }
}

/// A branch or tag that was created, moved or deleted.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Change {
    /// Before; absent when created.
    #[serde(default, deserialize_with = "soft")]
    pub old: Option<RefState>,
    /// After; absent when deleted.
    #[serde(default, deserialize_with = "soft")]
    pub new: Option<RefState>,
    /// The ref is new.
    #[serde(default, deserialize_with = "soft")]
    pub created: bool,
    /// The ref was deleted.
    #[serde(default, deserialize_with = "soft")]
    pub closed: bool,
    /// History was rewritten.
    #[serde(default, deserialize_with = "soft")]
    pub forced: bool,
    /// More commits were pushed than `commits` holds.
    #[serde(default, deserialize_with = "soft")]
    pub truncated: bool,
    /// At most the five newest commits.
    #[serde(default, deserialize_with = "soft_list")]
    pub commits: Vec<Commit>,
    /// Links; `commits` lists them all.
    #[serde(default, deserialize_with = "soft")]
    pub links: Links,
}

impl Change {
    /// Hash before the push.
    pub fn old_hash(&self) -> Option<&str> {
        self.old.as_ref()?.hash()
    }

    /// Hash after the push.
    pub fn new_hash(&self) -> Option<&str> {
        self.new.as_ref()?.hash()
    }

    /// Whether the missing commits must be fetched: Bitbucket says so, or sends its maximum of five,
    /// or sends none although the ref moved (bitbucket.md §5.3).
    pub fn needs_fetch(&self) -> bool {
        let moved = self.new_hash().is_some() && self.new_hash() != self.old_hash();
        moved && (self.truncated || self.commits.len() >= 5 || self.commits.is_empty())
    }
}

/// State of a ref.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RefState {
    /// `branch` or `tag`; older repositories have others.
    #[serde(default, rename = "type", deserialize_with = "soft")]
    pub kind: Option<String>,
    /// Name.
    #[serde(default, deserialize_with = "soft")]
    pub name: Option<String>,
    /// The commit it points to.
    #[serde(default, deserialize_with = "soft")]
    pub target: Option<CommitRef>,
}

impl RefState {
    /// Hash of the commit it points to.
    pub fn hash(&self) -> Option<&str> {
        self.target.as_ref()?.hash.as_deref()
    }
}

/// `repo:updated`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RepoUpdated {
    /// Who changed it.
    #[serde(default, deserialize_with = "soft")]
    pub actor: Option<Account>,
    /// The repository as it is now.
    #[serde(default, deserialize_with = "soft")]
    pub repository: Repository,
    #[serde(default, deserialize_with = "soft")]
    changes: RepoChanges,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct RepoChanges {
    #[serde(default, deserialize_with = "soft")]
    full_name: Option<OldNew>,
}

/// A value before and after.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct OldNew {
    /// Before.
    #[serde(default, deserialize_with = "soft")]
    pub old: Option<String>,
    /// After.
    #[serde(default, deserialize_with = "soft")]
    pub new: Option<String>,
}

impl RepoUpdated {
    /// A change of a repository at a host with other words for it.
    pub(super) fn of(actor: Account, repository: Repository) -> Self {
        Self {
            actor: Some(actor),
            repository,
            changes: RepoChanges::default(),
        }
    }

    /// The change of `workspace/slug`, if it was renamed or moved.
    pub fn full_name_change(&self) -> Option<&OldNew> {
        self.changes.full_name.as_ref()
    }
}

/// `repo:deleted`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RepoDeleted {
    /// Who deleted it.
    #[serde(default, deserialize_with = "soft")]
    pub actor: Option<Account>,
    /// What was deleted.
    #[serde(default, deserialize_with = "soft")]
    pub repository: Repository,
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
