//! Installing and uninstalling an app: lifecycle callbacks and the redirect that follows
//! (bitbucket.md §1.4–1.6).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::descriptor::{self, Descriptor};
use crate::core::Core;
use crate::journal::Rule;
use crate::model::{Install, Secret};
use crate::protocol::{jwt, qsh};
use crate::wire;

/// What to install, and where.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstallRequest {
    /// Slug or uuid.
    pub workspace: String,
    /// Absolute URL of the descriptor.
    pub descriptor_uri: Option<String>,
    /// Key of a registered app, instead of `descriptor_uri`.
    pub addon_key: Option<String>,
    /// Make this client key instead of the workspace's own; for tests of a connection that moves.
    pub client_key: Option<String>,
    /// Keep the shared secret of an earlier install of the same connection.
    pub keep_secret: bool,
}

/// How an install went.
#[derive(Debug, Clone, Serialize)]
pub struct Installed {
    /// The client key, also when the app refused.
    #[serde(rename = "clientKey")]
    pub client_key: String,
    /// Where the browser is sent: `baseUrl` + post-install path + `?jwt=…`. None when the app
    /// refused or has no such module.
    pub redirect: Option<String>,
    /// Status of the app's answer to `installed`; 0 when there was none.
    pub status: u16,
    /// Start of that answer, or why there was none.
    pub body: String,
}

impl Installed {
    /// Whether the app took the install.
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why an install could not even be tried.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Vec<String>);

/// Runs a whole install.
pub(crate) async fn install(core: &Core, request: &InstallRequest) -> Result<Installed, Refused> {
    let uri = descriptor_uri(core, request)?;
    let descriptor = descriptor::fetch(core, &uri).await.map_err(|wrong| {
        core.violation(Rule::Descriptor, "GET", &uri, wrong.join("; "));
        Refused(wrong)
    })?;
    let Prepared { install, before } = prepare(core, request, &uri, &descriptor)?;
    let body = lifecycle_body(core, &install, "installed");
    // Only a live install has a secret that the app knows already.
    let known = install.live.then_some(&install.secret);
    let (status, text) = call(core, &install, &install.installed_path, &body, known).await;
    let taken = (200..300).contains(&status);
    finish(core, &install, before, taken)?;
    let redirect = match (&install.post_install_path, taken) {
        (Some(path), true) => signed_url(core, &install.client_key, path),
        _ => None,
    };
    Ok(Installed {
        client_key: install.client_key,
        redirect,
        status,
        body: text,
    })
}

fn descriptor_uri(core: &Core, request: &InstallRequest) -> Result<String, Refused> {
    match (&request.descriptor_uri, &request.addon_key) {
        (Some(uri), None) => Ok(uri.clone()),
        (None, Some(key)) => core
            .store
            .read(|s| {
                s.apps
                    .iter()
                    .find(|a| a.key == *key)
                    .map(|a| a.descriptor_uri.clone())
            })
            .ok_or_else(|| Refused(vec!["no app is registered under this addon_key".to_owned()])),
        _ => Err(Refused(vec![
            "exactly one of descriptor_uri and addon_key".to_owned(),
        ])),
    }
}

/// An install the app has not answered yet, and what it replaces.
struct Prepared {
    install: Install,
    before: Option<Install>,
}

/// Writes the install down as one that is being answered: the new secret verifies already,
/// because the app proves it by a call back before it answers.
fn prepare(
    core: &Core,
    request: &InstallRequest,
    uri: &str,
    descriptor: &Descriptor,
) -> Result<Prepared, Refused> {
    let now = core.clock.stamp();
    let prepared = core.store.write(|state| {
        let workspace = state.workspace(&request.workspace)?.uuid.clone();
        let before = state.installs.iter().find(|i| match &request.client_key {
            Some(key) => i.client_key == *key,
            None => i.workspace == workspace && i.app_key == descriptor.key,
        });
        let before = before.cloned();
        let client_key = match (&request.client_key, &before) {
            (Some(key), _) => key.clone(),
            (None, Some(before)) => before.client_key.clone(),
            (None, None) if request.addon_key.is_some() => {
                let uuid = workspace.trim_matches(['{', '}']);
                format!("ari:cloud:bitbucket::app/{uuid}/{}", descriptor.key)
            }
            (None, None) => {
                state.last_connection += 1;
                format!("connection:{}", state.last_connection)
            }
        };
        let fresh = match &before {
            Some(before) if request.keep_secret => before.secret.clone(),
            _ => Secret::random(),
        };
        let install = Install {
            client_key,
            app_key: descriptor.key.clone(),
            descriptor_uri: uri.to_owned(),
            base_url: descriptor.base_url.clone(),
            installed_path: descriptor.installed.clone(),
            uninstalled_path: descriptor.uninstalled.clone(),
            post_install_path: descriptor.post_install.clone(),
            scopes: descriptor.scopes.clone(),
            workspace,
            secret: before
                .as_ref()
                .map_or_else(|| fresh.clone(), |b| b.secret.clone()),
            new_secret: Some(fresh),
            live: before.as_ref().is_some_and(|b| b.live),
            installed_on: now,
        };
        match state.install_mut(&install.client_key) {
            // Until the app has answered, a live install keeps everything but the new secret.
            Some(stored) if stored.live => stored.new_secret = install.new_secret.clone(),
            Some(stored) => *stored = install.clone(),
            None => state.installs.push(install.clone()),
        }
        Some(Prepared { install, before })
    });
    match prepared {
        Ok(Some(prepared)) => Ok(prepared),
        Ok(None) => Err(Refused(vec!["no such workspace".to_owned()])),
        Err(error) => Err(Refused(vec![error.to_string()])),
    }
}

/// Keeps the install, or puts back what [`prepare`] replaced.
fn finish(
    core: &Core,
    install: &Install,
    before: Option<Install>,
    taken: bool,
) -> Result<(), Refused> {
    let write = core.store.write(
        |state| match (state.install_mut(&install.client_key), before) {
            (Some(stored), _) if taken => {
                *stored = install.clone();
                stored.live = true;
                if let Some(secret) = stored.new_secret.take() {
                    stored.secret = secret;
                }
            }
            (Some(stored), Some(before)) => *stored = before,
            _ => state
                .installs
                .retain(|i| i.client_key != install.client_key),
        },
    );
    write.map_err(|error| Refused(vec![error.to_string()]))
}

/// Uninstalls: marks the install dead after a signed `uninstalled` call. The app's answer does
/// not matter to Bitbucket; it is given back for tests.
pub(crate) async fn uninstall(core: &Core, client_key: &str) -> Option<(u16, String)> {
    let install = core
        .store
        .read(|s| s.install(client_key).filter(|i| i.live).cloned())?;
    let body = lifecycle_body(core, &install, "uninstalled");
    let answer = call(
        core,
        &install,
        &install.uninstalled_path,
        &body,
        Some(&install.secret),
    )
    .await;
    let stored = core.store.write(|state| {
        if let Some(stored) = state.install_mut(client_key) {
            stored.live = false;
        }
    });
    if let Err(error) = stored {
        tracing::error!("{error:#}");
    }
    Some(answer)
}

/// A URL of the app with a fresh `jwt` parameter, as the browser is sent to it.
pub(crate) fn signed_url(core: &Core, client_key: &str, path: &str) -> Option<String> {
    let install = core.store.read(|s| s.install(client_key).cloned())?;
    let mut url = Url::parse(&format!("{}{path}", install.base_url)).ok()?;
    let token = token(core, &install, &install.secret, "GET", &url);
    url.query_pairs_mut().append_pair("jwt", &token);
    Some(url.into())
}

/// A token of Bitbucket for the app: `iss` is the client key, `qsh` covers the path below
/// `baseUrl` (bitbucket.md §1.6–1.7).
pub(crate) fn token(
    core: &Core,
    install: &Install,
    secret: &Secret,
    method: &str,
    url: &Url,
) -> String {
    let base = Url::parse(&install.base_url)
        .map(|u| u.path().to_owned())
        .unwrap_or_default();
    let path = url.path();
    let path = path
        .strip_prefix(base.trim_end_matches('/'))
        .unwrap_or(path);
    let now = core.clock.now().timestamp();
    let user = core.store.read(|s| {
        let owner = s.workspace(&install.workspace).map(|w| w.owner.clone());
        owner.and_then(|uuid| s.user(&uuid).map(|u| u.account_id.clone()))
    });
    let claims = json!({
        "iss": install.client_key, "sub": user, "aud": [install.client_key],
        "iat": now, "exp": now + 180,
        "qsh": qsh::hash(method, path, url.query().unwrap_or_default()),
    });
    jwt::sign(&claims, secret)
}

fn lifecycle_body(core: &Core, install: &Install, event: &str) -> Value {
    core.store.read(|state| {
        let workspace = state.workspace(&install.workspace);
        let owner = workspace.and_then(|w| state.user(&w.owner));
        let mut body = json!({
            "key": install.app_key, "eventType": event, "productType": "bitbucket",
            "clientKey": install.client_key, "publicKey": "unused",
            "baseUrl": core.public_url, "baseApiUrl": core.public_url,
            "principal": workspace.map(|w| wire::principal(core, w)),
            "user": owner.map(|u| wire::user(core, u)),
        });
        if let (Some(secret), "installed", Some(map)) =
            (&install.new_secret, event, body.as_object_mut())
        {
            map.insert("sharedSecret".to_owned(), json!(secret.expose()));
        }
        body
    })
}

async fn call(
    core: &Core,
    install: &Install,
    path: &str,
    body: &Value,
    secret: Option<&Secret>,
) -> (u16, String) {
    let Ok(url) = Url::parse(&format!("{}{path}", install.base_url)) else {
        return (0, "the callback is not a URL".to_owned());
    };
    let mut request = core
        .http
        .post(url.clone())
        .timeout(Duration::from_secs(30))
        .json(body);
    if let Some(secret) = secret {
        let token = token(core, install, secret, "POST", &url);
        request = request.header("Authorization", format!("JWT {token}"));
    }
    match request.send().await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap_or_default();
            (status, text.chars().take(2048).collect())
        }
        Err(error) => (0, error.without_url().to_string()),
    }
}
