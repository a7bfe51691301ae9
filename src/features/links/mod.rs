//! Which workspaces an organization works with, and which of their repositories.
//!
//! A **link** joins an organization to a workspace through an installation; one installation may serve several
//! organizations. A **repository** is added by hand, or was known from releases before and is adopted when its
//! workspace is linked. Each added repository gets one webhook at Bitbucket with a secret of its own, registered
//! and repaired by a job and never by a request. When the workspace removes the app, its links and repositories
//! are disabled and their waiting jobs cancelled; commits, tickets and hook secrets stay, and an install that is
//! proven for the same workspace takes everything up again.
//!
//! Other features call Bitbucket through [`client_for_link`] and [`client_for_repo`], and the webhook door asks
//! [`repo_secrets`] whose signature to expect.

pub mod actions;
pub mod api;
pub mod bulk;
pub mod check;
mod client;
mod config;
pub mod connecting;
mod credential;
mod digest;
mod doctor;
pub mod features;
mod hooks;
mod jobs;
pub mod lifecycle;
mod named;
pub mod pages;
mod probe;
mod repos;
mod server;
mod server_check;
pub mod setup;
mod signing;
mod store;
mod sync;
mod token;
mod wire;

use serde_json::json;

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::features::audit;
use crate::features::installs::{self, InstallStatus, Installation, InstallationId};
use crate::kit::clock::Micros;
use crate::kit::db::Tx;
use crate::kit::ids::{row_id, text_enum};
use crate::kit::jobs::{cancel_ordered, enqueue};

pub use bulk::{AddRepos, Wish, add_many};
pub use client::{Connected, LinkError, client_for_link, client_for_repo, upstream_error};
pub use config::LinkConfig;
pub use credential::reseal_credentials;
pub use digest::{Concern, Digest};
pub use doctor::{Finding, check_connections, check_secrets};
pub use hooks::{
    RepoSecrets, ensure_hook, forget_cached, note_delivery, repair_hook, repo_secrets, reseal,
    rotate_secret,
};
pub use jobs::{CheckHooks, EnsureHook, ForgetCredential, RemoveHook, SyncRepos};
pub use named::{Given, NewConnection, check_kind, connect_named, reauthorise};
pub use probe::{LookAfter, ProbeLink, test_connection, warning};
pub use repos::{
    FoundRepo, HookStart, add_repository, note_rename, remove_repository, repo_for_release,
    repository_gone, search_repositories,
};
pub use server::{commit_url, server_link_listens, server_repo_secrets};
pub use signing::sign_by;
pub use store::{
    Hook, Link, LinkInUse, Repo, RepoFilter, count_repos, find_hook, find_link, find_repo,
    find_repo_by_external, find_repo_by_name, hooks_of, links_in_use, list_links, list_repos,
    repos_by_ids, repos_of_link,
};
pub use wire::{integration_object, org_integration_object, repository_object};

/// Key of Bitbucket Cloud, in links and in `/api/0`.
pub const PROVIDER: &str = "bitbucket";
/// The same as repositories name it.
pub const REPO_PROVIDER: &str = "integrations:bitbucket";
/// Key of Bitbucket Data Center; Sentry's name for it is older than the product's.
pub const SERVER_PROVIDER: &str = "bitbucket_server";
/// The same as repositories name it.
pub const SERVER_REPO_PROVIDER: &str = "integrations:bitbucket_server";

row_id! {
    /// Row id of a link; `/api/0` calls it the integration id.
    LinkId
}
row_id! {
    /// Row id of a repository.
    RepoId
}

row_id! {
    /// Row id of many repositories that are added in one go.
    BulkId
}

text_enum! {
    /// How far many repositories are that are added in one go.
    BulkState {
        /// Bitbucket's list is being read.
        Listing = "listing",
        /// They are being added.
        Adding = "adding",
        /// Each is added or has a reason why not.
        Done = "done",
        /// It does not go on by itself; the reason is beside it.
        Stopped = "stopped",
    }
}

text_enum! {
    /// What became of one of them.
    ItemState {
        /// Nothing yet.
        Waiting = "waiting",
        /// It is in use now.
        Added = "added",
        /// It was in use before.
        Known = "known",
        /// It was not added; the reason is beside it.
        Failed = "failed",
    }
}

text_enum! {
    /// Whether a link can be used.
    LinkStatus {
        /// It works, as far as we know.
        Active = "active",
        /// The workspace removed the app, or gave its tenant id to another workspace.
        Disabled = "disabled",
        /// Bitbucket refuses its credential; nothing calls until somebody re-authorises it or a probe succeeds.
        Broken = "broken",
        /// The organization disconnected it; only history refers to it.
        Removed = "removed",
    }
}

text_enum! {
    /// How a link proves to Bitbucket who calls (bitbucket.md §6).
    CredentialKind {
        /// A Connect installation that signs every call.
        ConnectJwt = "connect_jwt",
        /// A Connect installation that exchanges its signature for access tokens.
        ConnectBearer = "connect_bearer",
        /// An OAuth consumer that a person has allowed to act for them.
        OauthCode = "oauth_code",
        /// A private OAuth consumer that acts for itself.
        ClientCredentials = "client_credentials",
        /// A person's API token, with the e-mail of the Atlassian account.
        ApiToken = "api_token",
        /// An access token of one repository.
        RepositoryToken = "repository_token",
        /// An access token of a project.
        ProjectToken = "project_token",
        /// An access token of a workspace.
        WorkspaceToken = "workspace_token",
        /// User name and app password, for servers that still take them.
        AppPassword = "app_password",
        /// An HTTP access token of a Bitbucket Data Center server.
        DataCenter = "data_center",
    }
}

impl CredentialKind {
    /// Whether an installation of the Connect app is behind it.
    #[must_use]
    pub const fn is_connect(self) -> bool {
        matches!(self, Self::ConnectJwt | Self::ConnectBearer)
    }

    /// Key of the provider that its links belong to.
    #[must_use]
    pub const fn provider(self) -> &'static str {
        match self {
            Self::DataCenter => SERVER_PROVIDER,
            _ => PROVIDER,
        }
    }
}

text_enum! {
    /// Whether a repository is used (sentry.md §8.4).
    RepoStatus {
        /// In use.
        Active = "active",
        /// Its link is disabled.
        Disabled = "disabled",
        /// Somebody hid it; its hook is gone.
        Hidden = "hidden",
        /// Removed; its commits and tickets stay.
        Removed = "pending_deletion",
        /// Deleted in Bitbucket, or out of the connection's sight; its hook is forgotten, its commits and tickets stay.
        Gone = "gone",
    }
}

text_enum! {
    /// Where a repository's webhook stands.
    HookState {
        /// There is none, and none is wanted.
        None = "none",
        /// A job will register or renew it.
        Pending = "pending",
        /// Registered.
        Active = "active",
        /// Bitbucket refused it; the reason is beside it.
        Failed = "failed",
    }
}

text_enum! {
    /// What was wrong with a webhook at Bitbucket when somebody looked.
    HookFinding {
        /// It was not there any more.
        Missing = "missing",
        /// It asked for other events than it should.
        WrongEvents = "wrong_events",
        /// Somebody had switched it off.
        SwitchedOff = "switched_off",
        /// It posted to another address.
        WrongAddress = "wrong_address",
    }
}

/// Jobs that work on one link share this order key: they run one after the other, and an uninstall cancels all
/// that wait.
#[must_use]
pub fn order_key(link: LinkId) -> String {
    format!("link:{link}")
}

/// Links an organization to the workspace of a live installation; again for a link that exists, which then is
/// renewed. The caller has shown a claim on the installation and the right to manage the organization.
///
/// # Errors
/// 409 when the app was removed or installed again meanwhile.
pub async fn connect(
    app: &App,
    org: OrgId,
    installation: &Installation,
    actor: &str,
) -> AppResult<Link> {
    let (id, generation, actor, now) = (
        installation.id,
        installation.generation,
        actor.to_owned(),
        app.clock.now(),
    );
    let link = app
        .db
        .write(move |tx| {
            let installation = installs::find(tx, id)?
                .filter(|found| found.status == InstallStatus::Live && found.generation == generation)
                .ok_or_else(|| AppError::conflict("The app was removed from the workspace or installed again. Start again from Bitbucket."))?;
            link_to(tx, org, &installation, &actor, now)
        })
        .await?;
    hooks::forget_cached(app);
    Ok(link)
}

fn link_to(
    tx: &mut Tx<'_>,
    org: OrgId,
    installation: &Installation,
    actor: &str,
    now: Micros,
) -> AppResult<Link> {
    let facts = store::LinkFacts {
        installation_id: installation.id,
        external_id: &installation.client_key,
        workspace_uuid: &installation.principal_uuid,
        name: &installation.principal_name,
        domain_name: &installation.domain_name,
        account_type: &installation.principal_type,
        icon: installation.icon.as_deref(),
    };
    let (link, renewed) = store::put_link(tx, org, &facts, actor, now)?;
    if renewed {
        let data = json!({ "workspace": link.name, "workspaceUuid": link.workspace_uuid });
        audit::record(
            tx,
            Some(org),
            actor,
            "links.connect",
            &link.id.to_string(),
            &data,
            now,
        )?;
        store::move_repos(
            tx,
            org,
            link.id,
            &[RepoStatus::Disabled],
            RepoStatus::Active,
            now,
        )?;
    }
    // What was removed or hidden before an uninstall called its job off.
    remove_hooks(
        tx,
        org,
        link.id,
        &[RepoStatus::Removed, RepoStatus::Hidden],
        now,
    )?;
    enqueue(tx, &SyncRepos { org, link: link.id }, now)?;
    Ok(link)
}

/// Asks for the hooks of a link's repositories to be removed, those of these statuses that have one.
fn remove_hooks(
    tx: &mut Tx<'_>,
    org: OrgId,
    link: LinkId,
    statuses: &[RepoStatus],
    now: Micros,
) -> AppResult<()> {
    for repo in store::repos_with_hook(tx, org, link, statuses)? {
        enqueue(tx, &RemoveHook { org, repo, link }, now)?;
    }
    Ok(())
}

/// Ends a link: its repositories are removed, their hooks deleted by jobs, its waiting jobs cancelled. What is
/// known of commits and tickets stays.
///
/// # Errors
/// 404 for another tenant's link or one that is disconnected already.
pub async fn disconnect(app: &App, org: OrgId, id: LinkId, actor: &str) -> AppResult<()> {
    let (actor, now) = (actor.to_owned(), app.clock.now());
    app.db
        .write(move |tx| {
            let link = store::hold_link(tx, org, id)?
                .filter(|link| link.status != LinkStatus::Removed && !link.private)
                .ok_or_else(AppError::not_found)?;
            cancel_ordered(tx, &order_key(id))?;
            store::set_link_status(tx, org, id, LinkStatus::Removed, None, now)?;
            let in_use = [RepoStatus::Active, RepoStatus::Disabled, RepoStatus::Hidden];
            store::move_repos(tx, org, id, &in_use, RepoStatus::Removed, now)?;
            // Also of repositories that were removed before: their jobs are cancelled with the others.
            remove_hooks(tx, org, id, &[RepoStatus::Removed], now)?;
            enqueue(tx, &ForgetCredential { org, link: id }, now)?;
            let data = json!({ "workspace": link.name });
            audit::record(
                tx,
                Some(org),
                &actor,
                "links.disconnect",
                &id.to_string(),
                &data,
                now,
            )?;
            Ok::<_, AppError>(())
        })
        .await?;
    hooks::forget_cached(app);
    Ok(())
}

/// Brings the links of an installation in line with what it has become, in the write that changed it.
///
/// # Errors
/// When a statement fails.
pub fn follow_installation(
    tx: &mut Tx<'_>,
    installation: &Installation,
    now: Micros,
) -> AppResult<()> {
    const ACTOR: &str = "Bitbucket";
    for found in store::links_of_installation(tx, installation.id)? {
        let (org, id) = (found.org_id, found.id);
        // Somebody may disconnect it at this moment.
        let Some(link) = store::hold_link(tx, org, id)? else {
            continue;
        };
        let reason = match installation.status {
            InstallStatus::Uninstalled => Some("The workspace has removed the app."),
            InstallStatus::Live if installation.principal_uuid != link.workspace_uuid => {
                Some("The app was installed again for another workspace.")
            }
            InstallStatus::Live => None,
        };
        match (reason, link.status) {
            (Some(reason), LinkStatus::Active | LinkStatus::Broken) => {
                store::set_link_status(tx, org, id, LinkStatus::Disabled, Some(reason), now)?;
                store::move_repos(
                    tx,
                    org,
                    id,
                    &[RepoStatus::Active],
                    RepoStatus::Disabled,
                    now,
                )?;
                cancel_ordered(tx, &order_key(id))?;
                audit::record(
                    tx,
                    Some(org),
                    ACTOR,
                    "links.disable",
                    &id.to_string(),
                    &json!({ "reason": reason }),
                    now,
                )?;
            }
            // Also for a link that was active all the time: names may have changed, hooks may be gone.
            (None, LinkStatus::Active | LinkStatus::Broken | LinkStatus::Disabled) => {
                link_to(tx, org, installation, ACTOR, now)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The organization's link to an installation, if it is in use.
pub(crate) fn is_linked(links: &[Link], installation: InstallationId) -> bool {
    links
        .iter()
        .any(|link| link.installation_id == Some(installation) && link.status == LinkStatus::Active)
}
