//! What `installed` and `uninstalled` have to show before anything is written (sentry.md §1.6 and §15.4,
//! bitbucket.md §1.5; where they differ, bitbucket.md wins).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::cache::authenticate;
use super::store::{self, Installation, SealedInstall};
use super::{InstallStatus, InstallationId};
use crate::app::App;
use crate::atlassian::jwt::{self, JwtError};
use crate::atlassian::lifecycle::{Account, BracedUuid, Installed, LifecycleError};
use crate::bitbucket::{self, Credential, Kind};
use crate::error::AppError;
use crate::kit::crypto::Secret;

/// Longest wait for Bitbucket's answer to the proof call; Bitbucket itself waits for our answer meanwhile.
const PROOF_TIMEOUT: Duration = Duration::from_secs(8);
/// Proof calls at the same time: anybody can ask for one, so they must not become a flood.
const PROOFS_AT_ONCE: usize = 8;
/// What a caller is told to wait when Bitbucket did not say.
const RETRY_AFTER_SECS: u64 = 30;

/// An inbound request as far as its token is about it.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// What the token has to fit.
    pub request: jwt::Request<'a>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
}

/// Why a Connect token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    /// The token itself is not good.
    #[error(transparent)]
    Token(#[from] JwtError),
    /// It names a tenant that is not installed here (any more).
    #[error("the Connect token names a tenant that is not installed here")]
    UnknownTenant,
    /// It could not be looked at.
    #[error(transparent)]
    App(#[from] AppError),
}

impl TokenRefused {
    /// A stable code for logs and error pages.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token(error) => error.code(),
            Self::UnknownTenant => "jwt_unknown_tenant",
            Self::App(error) => error.code(),
        }
    }
}

/// Why an install was not taken. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum InstallRefused {
    /// The body cannot be used.
    #[error(transparent)]
    Body(#[from] LifecycleError),
    /// The tenant lives here and the request is not signed with its secret.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The request is signed, but by another tenant than the body names.
    #[error("the token belongs to another tenant than the body")]
    OtherTenant,
    /// Bitbucket did not accept the secret that came with the install.
    #[error("Bitbucket did not accept the secret that came with the install")]
    Unproven,
    /// Bitbucket could not be asked now.
    #[error("the install could not be proven now")]
    NotNow {
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// Something of ours failed.
    #[error(transparent)]
    App(#[from] AppError),
}

/// The account that the app is installed on, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Principal {
    pub(super) uuid: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) domain_name: String,
    pub(super) icon: Option<String>,
}

impl Principal {
    fn read(uuid: &BracedUuid, account: &Account) -> Self {
        let name = account.name().unwrap_or(uuid.as_str()).to_owned();
        Self {
            uuid: uuid.as_str().to_owned(),
            domain_name: account.domain_name().unwrap_or_else(|| name.clone()),
            name,
            kind: account.kind.clone().unwrap_or_else(|| "team".to_owned()),
            icon: account.avatar_url.clone(),
        }
    }

    fn of(installation: &Installation) -> Self {
        Self {
            uuid: installation.principal_uuid.clone(),
            name: installation.principal_name.clone(),
            kind: installation.principal_type.clone(),
            domain_name: installation.domain_name.clone(),
            icon: installation.icon.clone(),
        }
    }
}

/// An install that has shown what it must and waits to be stored.
#[derive(Debug, Clone)]
pub struct PendingInstall {
    pub(super) client_key: String,
    pub(super) app_key: String,
    pub(super) secret: Secret,
    pub(super) principal: Principal,
    pub(super) installed_by: Option<String>,
    /// The row it was judged against; `None` for a tenant that was unknown.
    pub(super) replaces: Option<(InstallationId, i64)>,
}

/// An uninstall whose token held.
#[derive(Debug, Clone, Copy)]
pub struct PendingUninstall {
    pub(super) id: InstallationId,
    pub(super) generation: i64,
}

/// Judges the body of `installed`; calls Bitbucket when the tenant has no secret here.
///
/// # Errors
/// [`InstallRefused`]; nothing is stored in any case.
pub async fn begin_install(
    app: &App,
    body: &[u8],
    signed: &SignedRequest<'_>,
) -> Result<PendingInstall, InstallRefused> {
    let installed = Installed::parse(body)?;
    let key = installed.client_key.clone();
    let known = app
        .db
        .read(move |conn| Ok::<_, AppError>(store::sealed_by_client_key(conn, &key)?))
        .await?;
    let principal = match &known {
        Some(row) if must_sign(row) => {
            let signer = authenticate(app, signed).await?;
            if signer.installation.client_key != installed.client_key {
                return Err(InstallRefused::OtherTenant);
            }
            // The signature is the proof. A body without a principal leaves what is known; so does one without the
            // id of the workspace, in whose place its display name would stand in addresses.
            match &installed.principal {
                Some(account) => {
                    let uuid = installed.principal_uuid()?;
                    match &account.username {
                        Some(_) => Principal::read(&uuid, account),
                        None => Principal::of(&row.installation),
                    }
                }
                None => Principal::of(&row.installation),
            }
        }
        _ => {
            let uuid = installed.principal_uuid()?;
            prove(app, &installed, &uuid).await?;
            Principal::read(&uuid, &installed.principal.clone().unwrap_or_default())
        }
    };
    Ok(PendingInstall {
        secret: installed.secret()?.clone(),
        client_key: installed.client_key,
        app_key: app.config.app_key.clone(),
        principal,
        installed_by: installed.user.as_ref().and_then(|user| {
            user.display_name
                .clone()
                .or_else(|| user.name().map(str::to_owned))
        }),
        replaces: known.map(|row| (row.installation.id, row.installation.generation)),
    })
}

/// A tenant with a secret here must use it, unless the operator allowed one install without.
fn must_sign(row: &SealedInstall) -> bool {
    row.installation.status == InstallStatus::Live
        && row.sealed_secret.is_some()
        && !row.installation.reset_allowed
}

/// Asks Bitbucket, at the configured address, with the secret that came in the body.
async fn prove(
    app: &App,
    installed: &Installed,
    workspace: &BracedUuid,
) -> Result<(), InstallRefused> {
    let secret = installed.secret()?.clone();
    let gate = Arc::clone(&app.cache::<ProofGate>().0);
    let Ok(_permit) = gate.try_acquire() else {
        return Err(InstallRefused::NotNow {
            retry_after: RETRY_AFTER_SECS,
        });
    };
    let cloud = app
        .bitbucket
        .for_credential(Credential::ConnectJwt {
            app_key: app.config.app_key.clone(),
            client_key: installed.client_key.clone(),
            secret,
        })
        .with_timeout(PROOF_TIMEOUT);
    match cloud.prove_workspace(workspace).await {
        Ok(()) => Ok(()),
        Err(error) if is_refusal(&error) => {
            tracing::warn!(
                status = error.status(),
                "an install was refused: Bitbucket did not accept its secret"
            );
            Err(InstallRefused::Unproven)
        }
        Err(error) => {
            tracing::warn!(%error, "an install could not be proven");
            let retry_after = error
                .retry_after()
                .map_or(RETRY_AFTER_SECS, |wait| wait.as_secs().max(1));
            Err(InstallRefused::NotNow { retry_after })
        }
    }
}

/// Any 4xx but 429 is Bitbucket's no; the rest may be a yes later. A secret that cannot sign is a no too.
fn is_refusal(error: &bitbucket::Error) -> bool {
    match error.status() {
        Some(status) => (400..500).contains(&status) && status != 429,
        None => error.kind() == Kind::BadCall,
    }
}

struct ProofGate(Arc<Semaphore>);

impl Default for ProofGate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PROOFS_AT_ONCE)))
    }
}

/// Judges `uninstalled`: only the tenant's own signature counts; the body may be empty but must not name another.
///
/// # Errors
/// [`InstallRefused`]; nothing is stored in any case.
pub async fn begin_uninstall(
    app: &App,
    body: &[u8],
    signed: &SignedRequest<'_>,
) -> Result<PendingUninstall, InstallRefused> {
    let signer = authenticate(app, signed).await?;
    match Installed::parse(body) {
        Err(LifecycleError::Empty) => {}
        Err(error) => return Err(error.into()),
        Ok(body) if body.client_key != signer.installation.client_key => {
            return Err(InstallRefused::OtherTenant);
        }
        Ok(_) => {}
    }
    Ok(PendingUninstall {
        id: signer.installation.id,
        generation: signer.installation.generation,
    })
}
