//! From a link to a Bitbucket client that signs as the link, and what its failures mean to a caller.

use std::sync::Arc;
use std::time::Duration;

use super::store::{self, Link, Repo, SealedCredential};
use super::token::LinkSource;
use super::{CredentialKind, LinkId, LinkStatus, RepoId, RepoStatus, server};
use crate::app::App;
use crate::bitbucket::cloud::CloudHost;
use crate::bitbucket::{self, Cloud, Credential, Host, Kind, Priority, RepoRef};
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::features::calls::{self, BudgetKey};
use crate::features::installs::{self, SealedInstall};
use crate::kit::db::{DbError, Lane};
use crate::kit::jobs::Verdict;

/// What a caller is told to wait when Bitbucket has trouble and did not say how long.
const RETRY_AFTER_SECS: u64 = 30;
/// How long work waits that a broken link holds up.
const WHILE_BROKEN: Duration = Duration::from_secs(3_600);
const REFUSED: &str = "Bitbucket does not accept our signature any more. Install the app again in the workspace, or disconnect it here.";

/// A link and a client that calls in its name.
#[derive(Debug, Clone)]
pub struct Connected {
    /// The link.
    pub link: Link,
    /// Signs every call as the link.
    pub host: Host,
}

impl Connected {
    /// Bitbucket Cloud, for what Data Center does not have.
    ///
    /// # Errors
    /// [`LinkError::Off`] for a link to Data Center.
    pub fn cloud(&self) -> Result<&Cloud, LinkError> {
        self.host.cloud().ok_or_else(|| {
            LinkError::Off("Bitbucket Data Center has no issues and nothing else that only Bitbucket Cloud has.".to_owned())
        })
    }

    /// The same in the name of a part of the product, for the log of calls.
    #[must_use]
    pub fn for_feature(mut self, feature: &'static str) -> Self {
        self.host = self.host.for_feature(feature);
        self
    }
}

/// Why something about a link or a repository was not done.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Not there, or another tenant's.
    #[error("there is no such connection or repository")]
    NotFound,
    /// It is there and cannot be used; the text says why.
    #[error("{0}")]
    Off(String),
    /// Bitbucket refuses its credential, and a person must give a new one; the text says how.
    #[error("{0}")]
    Broken(String),
    /// The request is wrong; the text says how.
    #[error("{0}")]
    Invalid(String),
    /// The repository is in use already.
    #[error("A repository with that configuration already exists")]
    Exists,
    /// Bitbucket refused or failed.
    #[error("{}", describe(.0))]
    Upstream(bitbucket::Error),
    /// Something of ours failed.
    #[error(transparent)]
    App(#[from] AppError),
}

impl From<bitbucket::Error> for LinkError {
    fn from(error: bitbucket::Error) -> Self {
        Self::Upstream(error)
    }
}

impl From<DbError> for LinkError {
    fn from(error: DbError) -> Self {
        Self::App(error.into())
    }
}

impl From<diesel::result::Error> for LinkError {
    fn from(error: diesel::result::Error) -> Self {
        Self::App(error.into())
    }
}

impl From<LinkError> for AppError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::NotFound => Self::not_found(),
            LinkError::Off(_) | LinkError::Broken(_) | LinkError::Exists => {
                Self::conflict(error.to_string())
            }
            LinkError::Invalid(text) => Self::invalid(text),
            LinkError::Upstream(error) => upstream_error(&error),
            LinkError::App(error) => error,
        }
    }
}

impl LinkError {
    /// True when the same may work later without anybody doing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Upstream(error) if is_temporary(error))
    }

    /// True when too many calls were made: nothing is wrong with this one.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        matches!(self, Self::Upstream(error) if error.kind() == Kind::RateLimited)
    }

    /// How a job ends that met this. `attempt` counts from 1.
    ///
    /// # Errors
    /// Passes a failure of ours on, to be tried again by the schedule.
    pub fn verdict(self, attempt: i32) -> anyhow::Result<Verdict> {
        use crate::kit::http::retry::Verdict as Retry;
        match self {
            Self::App(error) if error.code() != "not_found" => Err(error.into()),
            // Nothing is sent until somebody has re-authorised the link: the work waits, and costs nothing.
            Self::Broken(reason) => Ok(Verdict::Retry {
                after: Some(WHILE_BROKEN),
                reason,
            }),
            Self::Upstream(error) => {
                let reason = describe(&error);
                Ok(match error.verdict(u32::try_from(attempt).unwrap_or(1)) {
                    // Somebody's hour is spent: that is no fault of this work, and does not count against it.
                    Retry::Retry(after) if error.kind() == Kind::RateLimited => {
                        Verdict::Postpone { after, reason }
                    }
                    Retry::Retry(after) => Verdict::Retry {
                        after: Some(after),
                        reason,
                    },
                    Retry::Never | Retry::GoneForever => Verdict::Drop(reason),
                })
            }
            other => Ok(Verdict::Drop(other.to_string())),
        }
    }
}

pub(super) fn is_temporary(error: &bitbucket::Error) -> bool {
    match error.kind() {
        Kind::RateLimited
        | Kind::Server
        | Kind::TooSlow
        | Kind::Timeout
        | Kind::Broken
        | Kind::Unreachable
        | Kind::Resting
        | Kind::Busy
        | Kind::Garbage => true,
        Kind::Unauthorized
        | Kind::PlanLimit
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::Conflict
        | Kind::Gone
        | Kind::Invalid
        | Kind::Redirect
        | Kind::TooLarge
        | Kind::Refused
        | Kind::BadCall => false,
    }
}

/// What Bitbucket said, and what to do about it.
pub(super) fn describe(error: &bitbucket::Error) -> String {
    if error.lacks_credential() {
        return error.message().to_owned();
    }
    let said = match (error.status(), error.message()) {
        (Some(status), "") => format!("Bitbucket answered {status}."),
        (Some(status), message) => format!("Bitbucket answered {status}: {message}."),
        (None, message) if error.out_of_budget() => format!("Not sent: {message}."),
        (None, _) => String::new(),
    };
    format!("{said} {}", error.advice())
        .trim()
        .replace("..", ".")
}

/// A failed call as an answer: 503 with `Retry-After` when it may work later, else 502.
#[must_use]
pub fn upstream_error(error: &bitbucket::Error) -> AppError {
    let detail = describe(error);
    let answer = if is_temporary(error) {
        let wait = error
            .retry_after()
            .unwrap_or(Duration::from_secs(RETRY_AFTER_SECS));
        AppError::unavailable(detail, wait.as_secs().max(1))
    } else {
        AppError::upstream(detail)
    };
    answer.caused_by(error.clone())
}

/// A client for a link that is in use.
///
/// # Errors
/// [`LinkError::NotFound`] for another tenant's link, [`LinkError::Off`] for one that cannot be used now.
pub async fn client_for_link(app: &App, org: OrgId, id: LinkId) -> Result<Connected, LinkError> {
    let connected = client_for_any_link(app, org, id).await?;
    let reason = || connected.link.status_reason.clone().unwrap_or_default();
    match connected.link.status {
        LinkStatus::Active if connected.link.private => Err(LinkError::NotFound),
        LinkStatus::Active => Ok(connected),
        LinkStatus::Removed => Err(LinkError::NotFound),
        LinkStatus::Broken => Err(LinkError::Broken(reason())),
        LinkStatus::Disabled => Err(off(&connected.link)),
    }
}

pub(super) fn off(link: &Link) -> LinkError {
    LinkError::Off(
        link.status_reason
            .clone()
            .unwrap_or_else(|| "The connection is disabled.".to_owned()),
    )
}

/// Also for a link that was disconnected, so that its hooks can be removed, or that is broken, so that it can be
/// tested. The one place where a link becomes a client.
pub(super) async fn client_for_any_link(
    app: &App,
    org: OrgId,
    id: LinkId,
) -> Result<Connected, LinkError> {
    let (link, install, row) = app
        .db
        .read(move |conn| {
            let link = store::find_any_link(conn, org, id)?.ok_or(LinkError::NotFound)?;
            let install = match link.installation_id {
                Some(installation) => installs::find_sealed(conn, installation)?,
                None => None,
            };
            let row = store::find_credential(conn, org, id)?;
            Ok::<_, LinkError>((link, install, row))
        })
        .await?;
    // A tenant id that moved to another workspace must not act for the old one.
    let install =
        install.filter(|install| install.installation.principal_uuid == link.workspace_uuid);
    let mut budget = installation_budget(&link);
    let credential = match (link.kind, row) {
        (CredentialKind::ConnectJwt, _) => signature(app, install.as_ref())?,
        (CredentialKind::ConnectBearer, _) if signature(app, install.as_ref())?.is_none() => None,
        (_, None) => None,
        (CredentialKind::DataCenter, Some(row)) => {
            let behind = calls::behind(app, org, link.id.0, budget.uncounted());
            let host = server::host_of(app, org, &row)?.with_behind(behind, priority(app));
            return Ok(Connected { link, host });
        }
        (_, Some(row)) => {
            let source = LinkSource::new(app, org, &row)?;
            budget = source.counted_by().map_or(budget, |by| BudgetKey::of(&by));
            Some(Credential::Source(Arc::new(source)))
        }
    };
    let Some(credential) = credential else {
        return Err(off(&link));
    };
    let cloud = app.bitbucket.for_credential(credential);
    let host = Host::Cloud(CloudHost::new(cloud, link.workspace_uuid.clone()))
        .with_behind(calls::behind(app, org, link.id.0, budget), priority(app));
    Ok(Connected { link, host })
}

/// Requests come from people, jobs keep the two sides in step.
fn priority(app: &App) -> Priority {
    match app.db.lane() {
        Lane::Inbound => Priority::Interactive,
        Lane::Jobs => Priority::Sync,
    }
}

/// Bitbucket counts the calls of an installation together, whoever uses it (bitbucket.md §4.5).
fn installation_budget(link: &Link) -> BudgetKey {
    BudgetKey::of(&match link.installation_id {
        Some(installation) => format!("installation {installation}"),
        None => format!("link {}", link.id),
    })
}

/// Whose budget the calls of a link are charged to.
pub(super) fn budget_of(app: &App, link: &Link, row: Option<&SealedCredential>) -> BudgetKey {
    if link.kind == CredentialKind::DataCenter {
        return installation_budget(link).uncounted();
    }
    row.and_then(|row| LinkSource::new(app, link.org_id, row).ok()?.counted_by())
        .map_or_else(|| installation_budget(link), |by| BudgetKey::of(&by))
}

pub(super) fn signature(
    app: &App,
    install: Option<&SealedInstall>,
) -> AppResult<Option<Credential>> {
    match install {
        Some(install) => install.credential(&app.sealer).map_err(AppError::internal),
        None => Ok(None),
    }
}

/// A client for an active repository, and how paths name it: by uuids, which survive renames, or on Data Center by
/// its name.
///
/// # Errors
/// As [`client_for_link`]; also [`LinkError::Off`] for a repository that is not in use.
pub async fn client_for_repo(
    app: &App,
    org: OrgId,
    id: RepoId,
) -> Result<(Repo, RepoRef, Connected), LinkError> {
    let repo = app
        .db
        .read(move |conn| store::find_repo(conn, org, id)?.ok_or(LinkError::NotFound))
        .await?;
    if repo.status != RepoStatus::Active {
        return Err(LinkError::Off(format!(
            "The repository {} is not in use.",
            repo.name
        )));
    }
    let link = repo
        .link_id
        .ok_or_else(|| LinkError::Off(format!("The repository {} is not linked.", repo.name)))?;
    let connected = client_for_link(app, org, link).await?;
    let reference = reference(&connected.link, &repo)?;
    Ok((repo, reference, connected))
}

pub(super) fn reference(link: &Link, repo: &Repo) -> Result<RepoRef, LinkError> {
    let name = match link.kind {
        // Nothing there can be called by its number.
        CredentialKind::DataCenter => repo.name.clone(),
        _ => {
            let external = repo.external_id.as_deref().unwrap_or_default();
            format!("{}/{external}", link.workspace_uuid)
        }
    };
    RepoRef::from_full_name(&name).map_err(|error| {
        LinkError::Off(format!(
            "The repository {} cannot be named: {error}",
            repo.name
        ))
    })
}

/// Notes on the link whether Bitbucket still accepts its signature, when that has changed.
pub(super) async fn remember<T>(
    app: &App,
    link: &Link,
    result: &Result<T, bitbucket::Error>,
) -> AppResult<()> {
    let reason = match result {
        Ok(_) => None,
        Err(error) if error.kind() == Kind::Unauthorized => Some(REFUSED),
        Err(_) => return Ok(()),
    };
    // Any other kind is broken by its source, where the refusal arrives.
    let is_signature = link.kind == CredentialKind::ConnectJwt;
    if !is_signature || link.status != LinkStatus::Active || link.status_reason.as_deref() == reason
    {
        return Ok(());
    }
    let (org, id, now) = (link.org_id, link.id, app.clock.now());
    app.db
        .write(move |tx| Ok(store::set_link_reason(tx, org, id, reason, now)?))
        .await
}
