//! Tokens that act as a person. They belong to no organization: each request is cut to the role that the person has in
//! the organization it is about, so that a token never outlives a membership or a role.

use serde_json::{Value, json};

use super::{OrgId, ScopeSet, UserId, new_user_token, store};
use crate::error::{AppError, AppResult};
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::crypto::TokenHash;
use crate::kit::db::Tx;

/// Makes a token that acts as a user and answers its text, which is stored nowhere. `actor` is who makes it.
///
/// # Errors
/// 400 for a scope that the user has in no organization: it would grant nothing, and its owner would look for the fault
/// elsewhere.
pub fn create_user_token(
    tx: &mut Tx<'_>,
    user: UserId,
    actor: &str,
    name: &str,
    scopes: ScopeSet,
    now: Micros,
) -> AppResult<String> {
    let orgs = store::list_orgs_of(tx, user)?;
    let excess = scopes.without(ScopeSet::of_roles(orgs.iter().map(|(_, role)| *role)));
    if excess != ScopeSet::NONE {
        let excess = excess.names().join(", ");
        let text = format!("No role in any organization allows this: {excess}");
        return Err(AppError::field("scopes", text));
    }
    let token = new_user_token();
    let hash = TokenHash::of(&token);
    store::insert_token(tx, &hash, None, Some(user), name, &token, scopes, now)?;
    let data = json!({ "scopes": scopes.names() });
    record(
        tx,
        user,
        actor,
        "accounts.create_user_token",
        name,
        &data,
        now,
    )?;
    Ok(token)
}

/// Revokes a token of a user. `actor` is who does it.
///
/// # Errors
/// 404 when the user has no such token.
pub fn revoke_user_token(
    tx: &mut Tx<'_>,
    user: UserId,
    actor: &str,
    id: i64,
    now: Micros,
) -> AppResult<()> {
    let name = store::revoke_user_token(tx, user, id, now)?.ok_or_else(AppError::not_found)?;
    let (action, data) = ("accounts.revoke_user_token", json!({}));
    record(tx, user, actor, action, &name, &data, now)
}

/// Tells every organization where the token works; for somebody without one the line belongs to none.
fn record(
    tx: &mut Tx<'_>,
    user: UserId,
    actor: &str,
    action: &'static str,
    name: &str,
    data: &Value,
    now: Micros,
) -> AppResult<()> {
    let orgs = store::list_orgs_of(tx, user)?;
    let mut orgs: Vec<Option<OrgId>> = orgs.into_iter().map(|(org, _)| Some(org.id)).collect();
    if orgs.is_empty() {
        orgs.push(None);
    }
    for org in orgs {
        audit::record(tx, org, actor, action, name, data, now)?;
    }
    Ok(())
}
