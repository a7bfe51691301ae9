//! Connect installs: who may call us in the name of a workspace, and with which secret we call back.
//!
//! Bitbucket posts `installed` when an admin adds the app. The body of a first install is believed by nobody:
//! we call Bitbucket with the secret it brought and store it only when Bitbucket accepts the call. A tenant that
//! lives here already must sign with the secret we have. `uninstalled` forgets the secret and keeps the row, so
//! that a later install, proven like a new one, can be recognised. A browser that comes to `setup/` with a valid
//! token gets a claim on that one installation for ten minutes; it is no session. What an install means for an
//! organization is the business of `links`, which therefore also owns the handlers and the one write of each.

pub mod api;
mod cache;
mod lifecycle;
mod store;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::atlassian::descriptor::Descriptor;
use crate::bitbucket::Credential;
use crate::error::{AppError, AppResult};
use crate::kit::clock::Micros;
use crate::kit::crypto::{SealError, Sealer, Secret};
use crate::kit::db::Tx;
use crate::kit::ids::{row_id, text_enum};

pub use cache::{Opened, authenticate, forget_cached};
pub use lifecycle::{
    InstallRefused, PendingInstall, PendingUninstall, SignedRequest, TokenRefused, begin_install,
    begin_uninstall,
};
pub use store::{Installation, SealedInstall, find, find_by_client_key, find_sealed};

/// How long the claim of a verified `setup/` link is good.
pub const CLAIM_LIFE: std::time::Duration = std::time::Duration::from_secs(600);
const CLAIM_PURPOSE: &str = "connect-setup";

row_id! {
    /// Row id of an installation.
    InstallationId
}

text_enum! {
    /// Whether Bitbucket has the app installed.
    InstallStatus {
        /// Installed; its secret is here.
        Live = "live",
        /// Removed by the workspace; its secret is forgotten.
        Uninstalled = "uninstalled",
    }
}

/// What the app says about itself.
#[must_use]
pub fn descriptor(app: &App) -> Descriptor {
    Descriptor::new(&app.config.public_url, &app.config.app_key)
}

/// Stores a proven or signed install. The row must still be as it was when the proof began.
///
/// # Errors
/// 503 when another install of the same tenant was stored in between: Bitbucket or the admin tries again.
pub fn store_install(
    tx: &mut Tx<'_>,
    sealer: &Sealer,
    install: &PendingInstall,
    now: Micros,
) -> AppResult<Installation> {
    let sealed = sealer.seal(
        &seal_context(&install.client_key),
        install.secret.expose_bytes(),
    );
    store::put(tx, install, &sealed, now)?.ok_or_else(|| {
        AppError::unavailable(
            "Another install of this tenant was in progress; try again.",
            5,
        )
    })
}

/// Marks an installation as removed and forgets its secret. `None` when it changed since the token was checked.
///
/// # Errors
/// When a statement fails.
pub fn store_uninstall(
    tx: &mut Tx<'_>,
    uninstall: &PendingUninstall,
    now: Micros,
) -> AppResult<Option<Installation>> {
    Ok(store::mark_uninstalled(
        tx,
        uninstall.id,
        uninstall.generation,
        now,
    )?)
}

/// Allows one proven install of a live tenant whose secret was lost on the other side.
///
/// # Errors
/// 404 for a client key that was never installed here.
pub fn allow_reset(tx: &mut Tx<'_>, client_key: &str, now: Micros) -> AppResult<Installation> {
    store::allow_reset(tx, client_key, now)?.ok_or_else(AppError::not_found)
}

impl SealedInstall {
    /// How calls for this installation are signed; `None` when the app is not installed any more.
    ///
    /// # Errors
    /// When the sealing key is not configured or the row was tampered with.
    pub fn credential(&self, sealer: &Sealer) -> Result<Option<Credential>, SealError> {
        let secret = self.open(sealer)?;
        Ok(secret.map(|secret| Credential::ConnectJwt {
            app_key: self.installation.app_key.clone(),
            client_key: self.installation.client_key.clone(),
            secret,
        }))
    }

    fn open(&self, sealer: &Sealer) -> Result<Option<Secret>, SealError> {
        match (&self.sealed_secret, self.installation.status) {
            (Some(sealed), InstallStatus::Live) => {
                let plain = sealer.open(&seal_context(&self.installation.client_key), sealed)?;
                Ok(String::from_utf8(plain).ok().map(Secret::new))
            }
            _ => Ok(None),
        }
    }
}

fn seal_context(client_key: &str) -> String {
    format!("installation.secret:{client_key}")
}

/// What the browser of an installing admin carries from page to page.
#[derive(Serialize, Deserialize)]
struct ClaimBody {
    #[serde(rename = "k")]
    client_key: String,
    #[serde(rename = "g")]
    generation: i64,
    #[serde(rename = "e")]
    expires: Micros,
}

/// A claim on this installation as it is now, and when it ends. It proves that Bitbucket sent the browser here;
/// it says nothing about who sits in front of it.
#[must_use]
pub fn issue_claim(app: &App, installation: &Installation) -> (String, Micros) {
    let expires = app.clock.now().plus(CLAIM_LIFE);
    let body = ClaimBody {
        client_key: installation.client_key.clone(),
        generation: installation.generation,
        expires,
    };
    let json = serde_json::to_string(&body).unwrap_or_default();
    (app.signer.sign(CLAIM_PURPOSE, &json, expires), expires)
}

/// The installation of a claim and when the claim ends; `None` when the claim is not ours, too old, or the app was removed or installed
/// again since.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn redeem_claim(app: &App, claim: &str) -> AppResult<Option<(Arc<Opened>, Micros)>> {
    let Ok(json) = app.signer.verify(CLAIM_PURPOSE, claim, app.clock.now()) else {
        return Ok(None);
    };
    let Ok(body) = serde_json::from_str::<ClaimBody>(&json) else {
        return Ok(None);
    };
    let found = cache::opened(app, &body.client_key).await?;
    Ok(found
        .filter(|opened| opened.installation.generation == body.generation)
        .map(|opened| (opened, body.expires)))
}

/// Seals every stored secret under the first key again. Answers how many were changed.
///
/// # Errors
/// When a secret cannot be opened with the configured keys, or the database fails.
pub async fn reseal(app: &App) -> AppResult<usize> {
    const SLICE: i64 = 100;
    let (mut after, mut changed) = (InstallationId(0), 0);
    loop {
        let rows = app
            .db
            .read(move |conn| Ok::<_, AppError>(store::sealed_after(conn, after, SLICE)?))
            .await?;
        let Some((last, ..)) = rows.last() else {
            return Ok(changed);
        };
        after = *last;
        let mut fresh = Vec::new();
        for (id, client_key, sealed) in rows {
            if app.sealer.needs_reseal(&sealed) {
                let context = seal_context(&client_key);
                let plain = Secret::from(
                    String::from_utf8(
                        app.sealer
                            .open(&context, &sealed)
                            .map_err(AppError::internal)?,
                    )
                    .map_err(AppError::internal)?,
                );
                fresh.push((id, sealed, app.sealer.seal(&context, plain.expose_bytes())));
            }
        }
        changed += app
            .db
            .write(move |tx| Ok::<_, AppError>(store::replace_sealed(tx, &fresh)?))
            .await?;
    }
}
