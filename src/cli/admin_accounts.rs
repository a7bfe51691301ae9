//! `admin org|project|user|token create`: the accounts of a server, from the command line.

use std::io::Read;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::admin::{explain, require_org};
use super::output;
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{self, NewProject, OrgId, Role, ScopeSet, User};
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::crypto::Secret;
use crate::kit::db::{Conn, Tx};

/// Who does it, in the audit log.
const ACTOR: &str = "admin command";
/// Longest password that is read, in bytes.
const MAX_PASSWORD: u64 = 4_096;

#[derive(Debug, Subcommand)]
pub(super) enum OrgCommand {
    /// Makes an organization.
    Create {
        #[arg(long)]
        slug: String,
        #[arg(long)]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ProjectCommand {
    /// Makes a project and prints its id, slug and DSN.
    Create {
        #[arg(long)]
        org: String,
        #[arg(long)]
        slug: String,
        #[arg(long, default_value = "other")]
        platform: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Makes a user, or gives an existing one a role.
    Create {
        #[arg(long)]
        email: String,
        #[arg(long)]
        org: String,
        #[arg(long, value_parser = parse_role)]
        role: Role,
        #[arg(long, default_value = "")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Makes a token of an organization or of a user and prints it, once.
    Create {
        /// The organization that the token acts for.
        #[arg(long, required_unless_present = "user", conflicts_with = "user")]
        org: Option<String>,
        /// E-mail of the user that the token acts as, in every organization where the user is a member.
        #[arg(long)]
        user: Option<String>,
        #[arg(long)]
        name: String,
        /// Scope names with commas.
        #[arg(long)]
        scopes: String,
    },
}

fn parse_role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "must be owner, manager or member".to_owned())
}

/// What was done, in the organization's audit log.
fn record(
    tx: &mut Tx<'_>,
    org: OrgId,
    action: &'static str,
    subject: &str,
    data: &Value,
    now: Micros,
) -> AppResult<()> {
    audit::record(tx, Some(org), ACTOR, action, subject, data, now)?;
    Ok(())
}

pub(super) async fn org(app: &App, command: OrgCommand, as_json: bool) -> anyhow::Result<()> {
    let OrgCommand::Create { slug, name } = command;
    let now = app.clock.now();
    let org = app
        .db
        .write(move |tx| {
            let org = accounts::create_org(tx, &slug, &name, now)?;
            record(tx, org.id, "accounts.create_org", &slug, &json!({}), now)?;
            Ok::<_, AppError>(org)
        })
        .await
        .map_err(explain)?;
    let value = json!({ "id": org.id.to_string(), "slug": org.slug });
    let text = format!("Organization {} has id {}", org.slug, org.id);
    output::value(as_json, &value, &text);
    Ok(())
}

pub(super) async fn project(app: &App, command: ProjectCommand) -> anyhow::Result<()> {
    let ProjectCommand::Create {
        org,
        slug,
        platform,
    } = command;
    let now = app.clock.now();
    let new = NewProject {
        name: slug.clone(),
        slug,
        platform,
    };
    let (project, key) = app
        .db
        .write(move |tx| {
            let org = require_org(tx, &org)?.id;
            let made = accounts::create_project(tx, org, &new, now)?;
            record(
                tx,
                org,
                "accounts.create_project",
                &new.slug,
                &json!({}),
                now,
            )?;
            Ok::<_, AppError>(made)
        })
        .await
        .map_err(explain)?;
    let dsn = accounts::dsn(&app.config.public_url, &key);
    let value = json!({ "id": project.id.to_string(), "slug": project.slug, "dsn": dsn });
    output::line(&value.to_string());
    Ok(())
}

pub(super) async fn user(app: &App, command: UserCommand, as_json: bool) -> anyhow::Result<()> {
    let UserCommand::Create {
        email,
        org,
        role,
        name,
    } = command;
    let mut password = String::new();
    std::io::stdin()
        .take(MAX_PASSWORD)
        .read_to_string(&mut password)
        .context("cannot read the password")?;
    let password = Secret::new(password.trim_end_matches(['\r', '\n']).to_owned());
    let hash = accounts::hash_password(password).await.map_err(explain)?;
    let now = app.clock.now();
    let user = app
        .db
        .write(move |tx| {
            let org = require_org(tx, &org)?.id;
            let user = accounts::create_member(tx, org, &email, &name, &hash, role, now)?;
            let data = json!({ "role": role });
            record(tx, org, "accounts.create_user", &email, &data, now)?;
            Ok::<_, AppError>(user)
        })
        .await
        .map_err(explain)?;
    let value = json!({ "id": user.id.to_string(), "email": user.email, "role": role });
    output::value(as_json, &value, &format!("{} is {role}", user.email));
    Ok(())
}

fn require_user(conn: &mut Conn, email: &str) -> AppResult<User> {
    let found = accounts::user_by_email(conn, &email.trim().to_lowercase())?;
    found.ok_or_else(|| AppError::not_found().caused_by(anyhow::anyhow!("no user {email:?}")))
}

pub(super) async fn token(app: &App, command: TokenCommand, as_json: bool) -> anyhow::Result<()> {
    let TokenCommand::Create {
        org,
        user,
        name,
        scopes,
    } = command;
    let scopes = match ScopeSet::parse(&scopes) {
        Ok(scopes) if scopes != ScopeSet::NONE => scopes,
        Ok(_) => bail!("name at least one scope"),
        Err(unknown) => bail!(
            "unknown scope {unknown:?}; there are: {}",
            ScopeSet::all().to_text()
        ),
    };
    let now = app.clock.now();
    let public_url = app.config.public_url.to_string();
    let token = app
        .db
        .write(move |tx| {
            if let Some(email) = &user {
                let user = require_user(tx, email)?;
                return accounts::create_user_token(tx, user.id, ACTOR, &name, scopes, now);
            }
            let org = require_org(tx, org.as_deref().unwrap_or_default())?;
            let token = accounts::create_org_token(tx, &org, &name, scopes, &public_url, now)?;
            let data = json!({ "scopes": scopes.names() });
            record(tx, org.id, "accounts.create_token", &name, &data, now)?;
            Ok::<_, AppError>(token)
        })
        .await
        .map_err(explain)?;
    output::value(as_json, &json!({ "token": token }), &token);
    Ok(())
}
