//! Connections that people name: made from a credential that somebody gives, and given a new one later.

use serde_json::json;
use url::Url;

use super::credential::{Access, Stored};
use super::store::{self, Link, NamedFacts};
use super::{CredentialKind, LinkId, LinkStatus, SyncRepos, hooks};
use crate::app::App;
use crate::bitbucket::oauth::{Consumer, Granted};
use crate::error::{AppError, AppResult};
use crate::features::accounts::{OrgId, UserId};
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::crypto::{Secret, random_hex};
use crate::kit::jobs::enqueue;

/// The one host where app passwords are dead (bitbucket.md §2.1).
const CLOUD_HOST: &str = "bitbucket.org";
/// Longest label, in characters.
const MAX_LABEL: usize = 100;
/// Longest purpose, in characters.
const MAX_PURPOSE: usize = 500;

/// A credential as a person or the token endpoint gives it.
#[derive(Debug, Clone)]
pub enum Given {
    /// What an authorization code was exchanged for.
    OauthCode {
        /// The consumer that was allowed.
        consumer: Consumer,
        /// Its first tokens.
        granted: Granted,
    },
    /// A private consumer.
    ClientCredentials {
        /// Key and secret.
        consumer: Consumer,
    },
    /// A person's API token.
    ApiToken {
        /// E-mail of the Atlassian account.
        email: String,
        /// The token.
        token: Secret,
    },
    /// An access token of a repository, project or workspace.
    AccessToken {
        /// The token.
        token: Secret,
    },
    /// User name and app password.
    AppPassword {
        /// User name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An HTTP access token of Data Center.
    DataCenter {
        /// Where the server is, with its context path.
        base: Url,
        /// The token.
        token: Secret,
        /// Authorities that its certificate may come from, as PEM; checked before.
        ca: Option<String>,
    },
}

impl Given {
    fn stored(self, now: Micros) -> AppResult<Stored> {
        Ok(match self {
            Self::OauthCode { consumer, granted } => Stored::OauthCode {
                access: Access::of(&granted, now),
                refresh: granted.refresh.ok_or_else(|| {
                    AppError::upstream("Bitbucket gave no refresh token with the access token.")
                })?,
                key: consumer.key,
                secret: consumer.secret,
            },
            Self::ClientCredentials { consumer } => Stored::ClientCredentials {
                key: consumer.key,
                secret: consumer.secret,
                access: None,
            },
            Self::ApiToken { email, token } => Stored::ApiToken { email, token },
            Self::AccessToken { token } => Stored::AccessToken { token },
            Self::AppPassword { user, password } => Stored::AppPassword { user, password },
            Self::DataCenter { base, token, ca } => Stored::DataCenter {
                base: base.into(),
                token,
                ca,
            },
        })
    }
}

/// A connection to make. The workspace was looked up with the credential before.
#[derive(Debug, Clone)]
pub struct NewConnection {
    /// Must be the kind of `credential`.
    pub kind: CredentialKind,
    /// What signs.
    pub credential: Given,
    /// Uuid of the workspace, in braces; the address of a Data Center server.
    pub workspace_uuid: String,
    /// Its id in web addresses; the name of a Data Center server.
    pub workspace: String,
    /// What people call the connection; empty is the workspace.
    pub label: String,
    /// What it is for.
    pub purpose: String,
    /// Who answers for it.
    pub owner: Option<UserId>,
    /// Only its owner sees and uses it.
    pub private: bool,
    /// When the credential ends, where the person knows it.
    pub expires_at: Option<Micros>,
}

/// Refuses what cannot work at this Bitbucket, with what to do instead.
///
/// # Errors
/// 400 for an app password on bitbucket.org, and for the Connect app.
pub fn check_kind(app: &App, kind: CredentialKind) -> AppResult<()> {
    let host = app.config.bitbucket_web_url.host_str().unwrap_or_default();
    match kind {
        CredentialKind::AppPassword if host == CLOUD_HOST => Err(AppError::invalid(
            "bitbucket.org takes no app passwords since 28 July 2026. Make an API token with scopes in your Atlassian account (id.atlassian.com → Security → API tokens) and use it with your e-mail.",
        )),
        CredentialKind::ConnectJwt => Err(AppError::invalid(
            "The Connect app is installed in Bitbucket and not from here.",
        )),
        _ => Ok(()),
    }
}

/// Makes a connection. The organization may have others to the same workspace.
///
/// # Errors
/// 400 for a kind that cannot be used here or a text that is too long.
pub async fn connect_named(
    app: &App,
    org: OrgId,
    new: NewConnection,
    actor: &str,
) -> AppResult<Link> {
    check_kind(app, new.kind)?;
    check_texts(&new.label, &new.purpose)?;
    if new.private && new.owner.is_none() {
        return Err(AppError::field(
            "private",
            "Only a person can have a connection for themselves.",
        ));
    }
    let now = app.clock.now();
    let stored = new.credential.clone().stored(now)?;
    if !stored.fits(new.kind) {
        return Err(AppError::internal(anyhow::anyhow!(
            "a credential of another kind than {}",
            new.kind
        )));
    }
    let host = app.config.bitbucket_web_url.host_str().unwrap_or_default();
    let domain_name = match new.kind {
        CredentialKind::DataCenter => new.workspace.clone(),
        _ => format!("{host}/{}", new.workspace),
    };
    let (sealer, actor) = (std::sync::Arc::clone(&app.sealer), actor.to_owned());
    let external_id = format!("credential:{}", random_hex(16));
    let link = app
        .db
        .write(move |tx| {
            let facts = NamedFacts {
                kind: new.kind,
                external_id: &external_id,
                workspace_uuid: &new.workspace_uuid,
                name: &new.workspace,
                domain_name: &domain_name,
                label: &new.label,
                purpose: &new.purpose,
                owner: new.owner,
                private: new.private,
            };
            let link = store::insert_named_link(tx, org, &facts, &actor, now)?;
            let sealed = stored.seal(&sealer, link.id)?;
            let until = stored.access().map(|access| access.until);
            store::put_credential(tx, org, link.id, &sealed, until, new.expires_at, now)?;
            let data =
                json!({ "workspace": link.name, "kind": link.kind, "private": link.private });
            audit::record(
                tx,
                Some(org),
                &actor,
                "links.connect",
                &link.id.to_string(),
                &data,
                now,
            )?;
            if !link.private {
                enqueue(tx, &SyncRepos { org, link: link.id }, now)?;
            }
            Ok::<_, AppError>(link)
        })
        .await?;
    hooks::forget_cached(app);
    Ok(link)
}

fn check_texts(label: &str, purpose: &str) -> AppResult<()> {
    if label.chars().count() > MAX_LABEL {
        return Err(AppError::field("label", "At most 100 characters."));
    }
    if purpose.chars().count() > MAX_PURPOSE {
        return Err(AppError::field("purpose", "At most 500 characters."));
    }
    Ok(())
}

/// Changes what people call a connection, what it is for, and when its credential ends; the credential stays.
///
/// # Errors
/// 404 for a connection that `person` does not see, 400 for a text that is too long.
pub(super) async fn describe(
    app: &App,
    org: OrgId,
    id: LinkId,
    person: Option<UserId>,
    (label, purpose): (String, String),
    expires_at: Option<Micros>,
    actor: &str,
) -> AppResult<()> {
    check_texts(&label, &purpose)?;
    let (now, actor) = (app.clock.now(), actor.to_owned());
    app.db
        .write(move |tx| {
            let link = store::find_link_of(tx, org, id, person)?.ok_or_else(AppError::not_found)?;
            store::describe_link(tx, org, id, &label, &purpose, now)?;
            let known = store::find_credential(tx, org, id)?.and_then(|row| row.expires_at);
            if known != expires_at {
                store::set_expiry(tx, org, id, expires_at)?;
            }
            let data = json!({ "was": { "label": link.label, "purpose": link.purpose }, "label": label, "purpose": purpose, "ends": expires_at });
            audit::record(tx, Some(org), &actor, "links.describe", &id.to_string(), &data, now)?;
            Ok::<_, AppError>(())
        })
        .await?;
    hooks::forget_cached(app);
    Ok(())
}

/// Gives a connection a new credential, perhaps of another kind. The link stays the same row: its repositories,
/// hooks, tickets and history with it.
///
/// # Errors
/// 404 for a connection that `person` does not see, 400 for a kind that cannot be used here.
pub async fn reauthorise(
    app: &App,
    org: OrgId,
    id: LinkId,
    person: Option<UserId>,
    (kind, given): (CredentialKind, Given),
    expires_at: Option<Micros>,
    actor: &str,
) -> AppResult<Link> {
    check_kind(app, kind)?;
    let now = app.clock.now();
    let stored = given.stored(now)?;
    let (sealer, actor) = (std::sync::Arc::clone(&app.sealer), actor.to_owned());
    let link = app
        .db
        .write(move |tx| {
            // Nobody disconnects it in between: its credential would stay.
            store::hold_link(tx, org, id)?;
            let link = store::find_link_of(tx, org, id, person)?.ok_or_else(AppError::not_found)?;
            if link.kind.is_connect() || !stored.fits(kind) {
                return Err(AppError::conflict(
                    "A connection of the Connect app is renewed by installing the app again.",
                ));
            }
            let same_server = match &stored {
                Stored::DataCenter { base, .. } => *base == link.workspace_uuid,
                _ => link.kind != CredentialKind::DataCenter,
            };
            if !same_server {
                return Err(AppError::conflict(
                    "A connection stays with its Bitbucket. Make another connection for another one.",
                ));
            }
            let sealed = stored.seal(&sealer, id)?;
            let until = stored.access().map(|access| access.until);
            store::put_credential(tx, org, id, &sealed, until, expires_at, now)?;
            store::set_link_kind(tx, org, id, kind, now)?;
            store::mend_link(tx, org, id, now)?;
            let data = json!({ "workspace": link.name, "kind": kind });
            audit::record(
                tx,
                Some(org),
                &actor,
                "links.reauthorise",
                &id.to_string(),
                &data,
                now,
            )?;
            if link.status == LinkStatus::Broken && !link.private {
                enqueue(tx, &SyncRepos { org, link: id }, now)?;
            }
            store::find_link_of(tx, org, id, person)?.ok_or_else(AppError::not_found)
        })
        .await?;
    hooks::forget_cached(app);
    Ok(link)
}
