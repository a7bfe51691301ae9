//! Webhooks of a repository.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Caps, Cloud, Listing, PAGE_SIZE};
use crate::bitbucket::error::Error;
use crate::bitbucket::paths::{BitbucketApiPath, RepoRef};
use crate::bitbucket::wire::soft;
use crate::kit::crypto::Secret;

/// A hook as Bitbucket shows it. The secret cannot be read back.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Hook {
    /// In braces.
    #[serde(default, deserialize_with = "soft")]
    pub uuid: Option<String>,
    /// Where it posts.
    #[serde(default, deserialize_with = "soft")]
    pub url: Option<String>,
    /// Free text.
    #[serde(default, deserialize_with = "soft")]
    pub description: Option<String>,
    /// Whether it fires.
    #[serde(default, deserialize_with = "soft")]
    pub active: Option<bool>,
    /// Whether deliveries are signed.
    #[serde(default, deserialize_with = "soft")]
    pub secret_set: Option<bool>,
    /// Event keys.
    #[serde(default, deserialize_with = "soft")]
    pub events: Vec<String>,
}

/// A hook to create, or what to change an existing one into.
#[derive(Debug, Clone)]
pub struct HookSpec<'a> {
    /// Free text by which people recognise it.
    pub description: &'a str,
    /// Where it posts.
    pub url: &'a str,
    /// Event keys.
    pub events: &'a [&'a str],
    /// At most 128 characters; signs every delivery.
    pub secret: &'a Secret,
}

impl HookSpec<'_> {
    fn body(&self) -> Value {
        json!({
            "description": self.description,
            "url": self.url,
            "active": true,
            "events": self.events,
            "secret": self.secret.expose(),
        })
    }
}

impl Cloud {
    /// All hooks of a repository, up to the caps.
    pub async fn hooks(&self, repo: &RepoRef, caps: Caps) -> Result<Listing<Hook>, Error> {
        self.list(
            Call::get(BitbucketApiPath::RepositoryHooks { repo }).query("pagelen", PAGE_SIZE),
            caps,
        )
        .await
    }

    /// Creates a hook.
    pub async fn create_hook(&self, repo: &RepoRef, spec: &HookSpec<'_>) -> Result<Hook, Error> {
        let path = BitbucketApiPath::RepositoryHooks { repo };
        self.object(Call::new(Method::POST, path).body(spec.body()))
            .await
    }

    /// Replaces a hook, its secret included.
    pub async fn update_hook(
        &self,
        repo: &RepoRef,
        uuid: &str,
        spec: &HookSpec<'_>,
    ) -> Result<Hook, Error> {
        let path = BitbucketApiPath::RepositoryHook { repo, uid: uuid };
        self.object(Call::new(Method::PUT, path).body(spec.body()))
            .await
    }

    /// Deletes a hook. One that is not there any more counts as deleted.
    pub async fn delete_hook(&self, repo: &RepoRef, uuid: &str) -> Result<(), Error> {
        let path = BitbucketApiPath::RepositoryHook { repo, uid: uuid };
        match self.send(Call::new(Method::DELETE, path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_absent() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
