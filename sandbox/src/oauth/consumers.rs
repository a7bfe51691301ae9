//! Making consumers, and granting access without a browser, for tests and demos.

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::core::Core;
use crate::model::{Code, Consumer, Secret};
use crate::protocol::scopes;
use crate::setup::NewUser;

/// Life of an access token in seconds (bitbucket.md §2.4).
pub(super) const LIFE: i64 = 3600;
/// Life of an authorization code in seconds.
const CODE_LIFE: i64 = 600;

/// A consumer to make.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewConsumer {
    /// Slug or uuid of the workspace that owns it.
    pub workspace: String,
    /// Shown on the page that asks for access.
    pub name: String,
    /// What `redirect_uri` must begin with; without it there is no authorization code.
    pub callback_url: Option<String>,
    /// Classic scope names.
    pub scopes: Vec<String>,
    /// Whether client credentials may be used.
    pub private: bool,
    /// Life of its access tokens in seconds; an hour when absent.
    pub expires_in: Option<i64>,
    /// Seconds that a used refresh token goes on working; it dies at use when absent.
    pub refresh_grace: Option<i64>,
}

/// What to change about a consumer; absent keys stay.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeConsumer {
    /// Its key.
    pub key: String,
    /// Scopes of tokens issued from now on.
    pub scopes: Option<Vec<String>>,
    /// Life of access tokens issued from now on, in seconds.
    pub expires_in: Option<i64>,
    /// Seconds that a used refresh token goes on working.
    pub refresh_grace: Option<i64>,
    /// Forget every token, refresh token and code it was given, as when people take access back.
    pub revoke: bool,
    /// Make a new secret; the old one stops working.
    pub new_secret: bool,
}

/// Access that a person grants without a browser.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Key of the consumer.
    pub key: String,
    /// Nickname, uuid or account id of the person.
    pub user: String,
    /// As it would stand on the authorize link.
    pub redirect_uri: Option<String>,
}

pub(crate) fn known_scopes(names: &[String]) -> anyhow::Result<()> {
    for scope in names {
        ensure!(
            scopes::KNOWN.contains(&scope.as_str()),
            "unknown scope {scope:?}"
        );
    }
    Ok(())
}

impl Core {
    pub(crate) fn create_consumer(&self, new: &NewConsumer) -> anyhow::Result<Consumer> {
        known_scopes(&new.scopes)?;
        let callback = new.callback_url.as_deref();
        ensure!(
            callback.is_none_or(|text| url::Url::parse(text).is_ok_and(|u| u.has_host())),
            "callback_url must be an absolute URL"
        );
        let workspace = self
            .store
            .read(|s| s.workspace(&new.workspace).map(|w| w.uuid.clone()))
            .with_context(|| format!("no workspace {:?}", new.workspace))?;
        let key = Secret::random()
            .expose()
            .chars()
            .take(18)
            .collect::<String>();
        let name = if new.name.is_empty() { &key } else { &new.name };
        let mut account = self.user_of(&NewUser {
            display_name: name.clone(),
            nickname: format!("app-{key}"),
            email: None,
        });
        account.app = true;
        let consumer = Consumer {
            name: name.clone(),
            secret: Secret::random(),
            workspace,
            callback_url: new.callback_url.clone(),
            scopes: new.scopes.clone(),
            private: new.private,
            app_user: account.uuid.clone(),
            expires_in: new.expires_in.unwrap_or(LIFE),
            refresh_grace: new.refresh_grace.unwrap_or(0),
            key,
        };
        self.store.write(|state| {
            state.users.push(account);
            state.consumers.push(consumer.clone());
        })?;
        Ok(consumer)
    }

    pub(crate) fn change_consumer(&self, change: &ChangeConsumer) -> anyhow::Result<Consumer> {
        known_scopes(change.scopes.as_deref().unwrap_or_default())?;
        let changed = self.store.write(|state| {
            let found = state.consumers.iter_mut().find(|c| c.key == change.key)?;
            if let Some(scopes) = &change.scopes {
                found.scopes.clone_from(scopes);
            }
            if change.new_secret {
                found.secret = Secret::random();
            }
            found.expires_in = change.expires_in.unwrap_or(found.expires_in);
            found.refresh_grace = change.refresh_grace.unwrap_or(found.refresh_grace);
            let changed = found.clone();
            if change.revoke {
                let key = &change.key;
                state.tokens.retain(|t| t.consumer.as_ref() != Some(key));
                state.refresh_tokens.retain(|t| t.consumer != *key);
                state.codes.retain(|c| c.consumer != *key);
            }
            Some(changed)
        })?;
        changed.with_context(|| format!("no consumer {:?}", change.key))
    }

    /// Makes the code that a granted authorize link gives.
    pub(crate) fn grant(&self, access: &Access) -> anyhow::Result<Secret> {
        let consumer = self.store.read(|s| s.consumer(&access.key).cloned());
        let consumer = consumer.with_context(|| format!("no consumer {:?}", access.key))?;
        let user = self.person(&access.user)?;
        ensure!(
            consumer.callback_url.is_some(),
            "the consumer has no callback URL"
        );
        let code = Secret::random();
        self.store.write(|state| {
            state.codes.push(Code {
                code: code.clone(),
                consumer: consumer.key,
                user,
                redirect_uri: access.redirect_uri.clone(),
                expires_at: self.clock.now().timestamp() + CODE_LIFE,
            });
        })?;
        Ok(code)
    }
}
