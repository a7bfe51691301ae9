//! The credential of a link at work: standing ones as they are, access tokens renewed before they end.
//!
//! One renewal at a time, over threads (a gate per link) and processes (a lease in the row, claimed by a guarded
//! update). What Bitbucket gives is saved under the next version before anybody uses it, because the refresh token
//! before it is dead. A process that dies in between leaves a lease behind; when it ends the next one tries with what
//! is stored, and Bitbucket either still takes it or says `invalid_grant`, which breaks the link until somebody
//! re-authorises it. Nothing here tries twice.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde_json::json;
use zeroize::Zeroizing;

use super::credential::{Access, Stored};
use super::store::{self, SealedCredential};
use super::{LinkId, LinkStatus};
use crate::app::App;
use crate::bitbucket::oauth::{Grant, GrantError, Granted};
use crate::bitbucket::{Credential, CredentialSource, Error, Kind};
use crate::error::AppError;
use crate::features::accounts::OrgId;
use crate::features::audit;
use crate::features::installs;
use crate::kit::crypto::{Secret, random_hex};

/// Longer than the token endpoint may take, and a crash costs no more than this.
const LEASE: Duration = Duration::from_secs(60);
/// How long a call waits for another process that is renewing.
const PATIENCE: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(50);
/// A token refused at this age is not too old: the account or the consumer is refused.
const BRAND_NEW: Duration = Duration::from_secs(60);
/// Tries to save what Bitbucket gave: it cannot be had again.
const SAVES: u32 = 5;

/// Signs for one link; made for one piece of work.
pub(super) struct LinkSource {
    app: App,
    org: OrgId,
    link: LinkId,
    held: Mutex<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    version: i64,
    stored: Stored,
}

/// One renewal per link and process.
#[derive(Default)]
struct Gates(Mutex<HashMap<LinkId, Arc<tokio::sync::Mutex<()>>>>);

impl Gates {
    fn of(&self, link: LinkId) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(link).or_default())
    }
}

/// What happened to a claimed renewal.
enum Renewal {
    Done(Held),
    /// Somebody has changed the credential meanwhile: look again.
    Overtaken,
}

fn busy(_: AppError) -> Error {
    Error::of_credential(Kind::Busy, "the stored credential could not be read")
}

fn broken(reason: &str) -> Error {
    Error::of_credential(Kind::Unauthorized, reason)
}

impl LinkSource {
    pub(super) fn new(app: &App, org: OrgId, row: &SealedCredential) -> Result<Self, AppError> {
        let stored = Stored::open(&app.sealer, row.link_id, &row.sealed)?;
        Ok(Self {
            app: app.clone(),
            org,
            link: row.link_id,
            held: Mutex::new(Some(Held {
                version: row.version,
                stored,
            })),
        })
    }

    /// What Bitbucket counts the calls of this credential by (bitbucket.md §4.5), secret or not; `None` for a Connect
    /// installation, which is counted as a whole, and for Data Center, which counts nothing.
    pub(super) fn counted_by(&self) -> Option<Zeroizing<String>> {
        let text = match self.held()?.stored {
            Stored::OauthCode { key, .. } | Stored::ClientCredentials { key, .. } => {
                format!("consumer {key}")
            }
            Stored::ApiToken { email, .. } => format!("account {}", email.to_lowercase()),
            Stored::AppPassword { user, .. } => format!("account {}", user.to_lowercase()),
            Stored::AccessToken { token } => format!("token {}", token.expose()),
            Stored::ConnectBearer { .. } | Stored::DataCenter { .. } => return None,
        };
        Some(Zeroizing::new(text))
    }

    fn held(&self) -> Option<Held> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn hold(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }

    /// What signs now, unless it must be renewed first.
    fn usable(&self, held: &Held) -> Option<Credential> {
        if let Some(standing) = held.stored.standing() {
            return Some(standing);
        }
        let access = held.stored.access()?;
        access
            .is_fresh(self.app.clock.now())
            .then(|| Credential::Bearer(access.token.clone()))
    }

    async fn load(&self) -> Result<(LinkStatus, Option<String>, SealedCredential, Held), Error> {
        let (org, link) = (self.org, self.link);
        let found = self
            .app
            .db
            .read(move |conn| {
                let Some(found) = store::find_any_link(conn, org, link)? else {
                    return Ok(None);
                };
                Ok::<_, AppError>(store::find_credential(conn, org, link)?.map(|row| (found, row)))
            })
            .await
            .map_err(busy)?;
        let (link, row) =
            found.ok_or_else(|| broken("The connection has no credential any more."))?;
        let stored = Stored::open(&self.app.sealer, self.link, &row.sealed).map_err(|error| {
            tracing::error!(link = %self.link, ?error, "a credential cannot be opened");
            Error::of_credential(
                Kind::BadCall,
                "the stored credential cannot be opened with the configured keys",
            )
        })?;
        let held = Held {
            version: row.version,
            stored,
        };
        Ok((link.status, link.status_reason, row, held))
    }

    /// A good access token that is not the refused one; asks Bitbucket for one when there is none.
    async fn renew(&self, refused: Option<&Secret>) -> Result<Credential, Error> {
        let gate = self.app.cache::<Gates>().of(self.link);
        let _one_at_a_time = gate.lock().await;
        let until = Instant::now() + PATIENCE;
        loop {
            let (status, reason, row, held) = self.load().await?;
            let is_refused =
                |access: &Access| refused.is_some_and(|old| old.expose() == access.token.expose());
            if let Some(credential) = self.usable(&held)
                && !held.stored.access().is_some_and(is_refused)
            {
                self.hold(held);
                return Ok(credential);
            }
            if status == LinkStatus::Broken {
                return Err(broken(&reason.unwrap_or_default()));
            }
            let owner = random_hex(8);
            if self.claim(&row, &owner).await? {
                match self.renew_claimed(&row, &held.stored, &owner).await? {
                    Renewal::Done(held) => {
                        let access = held.stored.access().map(|access| access.token.clone());
                        self.hold(held);
                        return access
                            .map(Credential::Bearer)
                            .ok_or_else(|| broken("The connection has no access token."));
                    }
                    Renewal::Overtaken => continue,
                }
            }
            if Instant::now() >= until {
                return Err(Error::of_credential(
                    Kind::Busy,
                    "another process is renewing the access token",
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn claim(&self, row: &SealedCredential, owner: &str) -> Result<bool, Error> {
        let (org, row, owner, now) = (
            self.org,
            row.clone(),
            owner.to_owned(),
            self.app.clock.now(),
        );
        self.app
            .db
            .write(move |tx| {
                Ok::<_, AppError>(store::claim_refresh(tx, org, &row, &owner, LEASE, now)?)
            })
            .await
            .map_err(busy)
    }

    async fn renew_claimed(
        &self,
        row: &SealedCredential,
        stored: &Stored,
        owner: &str,
    ) -> Result<Renewal, Error> {
        match self.ask(stored).await {
            Ok(granted) => {
                self.save(row, stored.renewed(&granted, self.app.clock.now()))
                    .await
            }
            Err(GrantError::Refused { code, detail }) => {
                let reason = refusal(stored, &code);
                tracing::info!(link = %self.link, code, detail, "Bitbucket refused to renew an access token");
                if self.mark_broken(row.version, reason).await? {
                    Err(broken(reason))
                } else {
                    Ok(Renewal::Overtaken)
                }
            }
            Err(GrantError::Call(error)) => {
                let (org, link, owner) = (self.org, self.link, owner.to_owned());
                let released = self
                    .app
                    .db
                    .write(move |tx| {
                        Ok::<_, AppError>(store::release_refresh(tx, org, link, &owner)?)
                    })
                    .await;
                if let Err(error) = released {
                    tracing::warn!(link = %self.link, ?error, "a lease could not be given back; it ends by itself");
                }
                Err(error)
            }
        }
    }

    async fn ask(&self, stored: &Stored) -> Result<Granted, GrantError> {
        match stored {
            Stored::OauthCode { refresh, .. } => {
                let consumer = stored.consumer().ok_or_else(|| broken("no consumer"))?;
                let grant = Grant::Refresh {
                    consumer: &consumer,
                    token: refresh,
                };
                self.app.bitbucket.exchange(&grant).await
            }
            Stored::ClientCredentials { .. } => {
                let consumer = stored.consumer().ok_or_else(|| broken("no consumer"))?;
                let grant = Grant::ClientCredentials {
                    consumer: &consumer,
                };
                self.app.bitbucket.exchange(&grant).await
            }
            Stored::ConnectBearer { .. } => {
                let signature = self.signature().await?;
                self.app
                    .bitbucket
                    .exchange(&Grant::Connect(&signature))
                    .await
            }
            Stored::ApiToken { .. }
            | Stored::AccessToken { .. }
            | Stored::AppPassword { .. }
            | Stored::DataCenter { .. } => Err(broken("this credential is not renewed").into()),
        }
    }

    /// The Connect installation of the link, whose signature is exchanged for tokens.
    async fn signature(&self) -> Result<Credential, Error> {
        let (org, link) = (self.org, self.link);
        let install = self
            .app
            .db
            .read(move |conn| {
                let link = store::find_any_link(conn, org, link)?;
                match link.and_then(|link| link.installation_id) {
                    Some(id) => Ok::<_, AppError>(installs::find_sealed(conn, id)?),
                    None => Ok(None),
                }
            })
            .await
            .map_err(busy)?;
        install
            .and_then(|install| install.credential(&self.app.sealer).ok().flatten())
            .ok_or_else(|| broken("The workspace has removed the app."))
    }

    /// Saves what cannot be had again.
    async fn save(&self, row: &SealedCredential, stored: Stored) -> Result<Renewal, Error> {
        let sealed = stored.seal(&self.app.sealer, self.link).map_err(busy)?;
        let until = stored.access().map(|access| access.until);
        let mut tries = 1;
        loop {
            let (org, row, sealed) = (self.org, row.clone(), sealed.clone());
            let version = row.version + 1;
            let saved = self
                .app
                .db
                .write(move |tx| {
                    Ok::<_, AppError>(store::save_refreshed(tx, org, &row, &sealed, until)?)
                })
                .await;
            match saved {
                Ok(true) => return Ok(Renewal::Done(Held { version, stored })),
                Ok(false) => return Ok(Renewal::Overtaken),
                Err(error) if tries >= SAVES => return Err(busy(error)),
                Err(_) => tokio::time::sleep(POLL * tries).await,
            }
            tries += 1;
        }
    }

    /// Breaks the link, if its credential is still of this version.
    async fn mark_broken(&self, version: i64, reason: &'static str) -> Result<bool, Error> {
        let (org, link, now) = (self.org, self.link, self.app.clock.now());
        self.app
            .db
            .write(move |tx| {
                if !store::is_version(tx, org, link, version)? {
                    return Ok(false);
                }
                if store::break_link(tx, org, link, reason, now)? {
                    let data = json!({ "reason": reason });
                    audit::record(
                        tx,
                        Some(org),
                        "Bitbucket",
                        "links.break",
                        &link.to_string(),
                        &data,
                        now,
                    )?;
                }
                Ok::<_, AppError>(true)
            })
            .await
            .map_err(busy)
    }

    async fn refused(&self, credential: &Credential) -> Result<Option<Credential>, Error> {
        let Some(held) = self.held() else {
            return Ok(None);
        };
        let Credential::Bearer(token) = credential else {
            self.mark_broken(held.version, STANDING_REFUSED).await?;
            return Ok(None);
        };
        let Some(access) = held.stored.access() else {
            self.mark_broken(held.version, STANDING_REFUSED).await?;
            return Ok(None);
        };
        let age = self.app.clock.now().since(access.obtained);
        if access.token.expose() == token.expose()
            && age < BRAND_NEW
            && self.is_current(held.version).await?
        {
            self.mark_broken(held.version, NEW_TOKEN_REFUSED).await?;
            return Ok(None);
        }
        self.renew(Some(token)).await.map(Some)
    }

    async fn is_current(&self, version: i64) -> Result<bool, Error> {
        Ok(self.load().await?.2.version == version)
    }
}

const STANDING_REFUSED: &str = "Bitbucket does not accept this credential any more: it was revoked or has expired. Re-authorise the connection with a new one.";
const NEW_TOKEN_REFUSED: &str = "Bitbucket refuses an access token that it has just issued. Look whether the account still belongs to the workspace, then re-authorise the connection.";

/// What to tell a person when the token endpoint says no.
fn refusal(stored: &Stored, code: &str) -> &'static str {
    match (stored, code) {
        (_, "invalid_client" | "unauthorized_client") => {
            "Bitbucket does not know the OAuth consumer any more, or its secret was replaced. Re-authorise the connection with the key and secret it has now; for client credentials it must be a private consumer."
        }
        (Stored::OauthCode { .. }, _) => {
            "Bitbucket has ended this access: somebody took it back, or it was not used for three months. Re-authorise the connection."
        }
        (Stored::ConnectBearer { .. }, _) => {
            "Bitbucket does not accept the signature of the app any more. Install the app again in the workspace."
        }
        _ => "Bitbucket gives no access token to this consumer. Re-authorise the connection.",
    }
}

impl CredentialSource for LinkSource {
    fn current(&self) -> BoxFuture<'_, Result<Credential, Error>> {
        Box::pin(async move {
            match self.held().and_then(|held| self.usable(&held)) {
                Some(credential) => Ok(credential),
                None => self.renew(None).await,
            }
        })
    }

    fn after_refusal<'a>(
        &'a self,
        refused: &'a Credential,
    ) -> BoxFuture<'a, Result<Option<Credential>, Error>> {
        Box::pin(self.refused(refused))
    }
}

impl fmt::Debug for LinkSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LinkSource({})", self.link)
    }
}
