//! Who belongs to an organization. An owner makes an invitation for one e-mail address and gives its link to the
//! person; the link is shown once and works once, for a week. A new person chooses a password on it, who has an
//! account already signs in with it. So no account exists, and nobody becomes a member, by somebody else's doing
//! alone. An organization always keeps an owner.

use std::time::Duration;

use serde_json::json;

use super::store::{self, InvitationRow};
use super::{Org, OrgId, Role, User, UserId, check_email};
use crate::error::{AppError, AppResult};
use crate::features::audit;
use crate::kit::clock::Micros;
use crate::kit::crypto::{TokenHash, random_hex};
use crate::kit::db::{Conn, Tx};

/// How long an invitation can be used.
pub const INVITATION_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// Makes an invitation and answers its code, which is stored only as a hash. One that the e-mail has already is
/// replaced: its link is dead.
///
/// # Errors
/// 400 for something that is not an e-mail address, 409 for a member.
pub fn invite(
    tx: &mut Tx<'_>,
    org: OrgId,
    actor: &str,
    email: &str,
    role: Role,
    now: Micros,
) -> AppResult<String> {
    let email = check_email(email)?;
    if let Some(user) = store::user_by_email(tx, &email)?
        && store::find_member(tx, org, user.id)?.is_some()
    {
        return Err(AppError::conflict(format!(
            "{email} is a member already; change the role in the list above."
        )));
    }
    let code = random_hex(32);
    store::put_invitation(
        tx,
        org,
        &email,
        role,
        &TokenHash::of(&code),
        actor,
        now,
        now.plus(INVITATION_LIFE),
    )?;
    let data = json!({ "role": role });
    audit::record(tx, Some(org), actor, "accounts.invite", &email, &data, now)?;
    Ok(code)
}

/// Makes an invitation useless before it was used.
///
/// # Errors
/// 404 when it was used, withdrawn, or is of another organization.
pub fn withdraw(tx: &mut Tx<'_>, org: OrgId, actor: &str, id: i64, now: Micros) -> AppResult<()> {
    let email = store::take_invitation(tx, org, id)?.ok_or_else(AppError::not_found)?;
    let action = "accounts.withdraw_invitation";
    audit::record(tx, Some(org), actor, action, &email, &json!({}), now)?;
    Ok(())
}

/// What a code leads to.
#[derive(Debug, Clone)]
pub struct Invitation {
    pub(super) row: InvitationRow,
    /// Who invites.
    pub org: Org,
    /// The account of the invited e-mail, if there is one.
    pub account: Option<User>,
}

/// The open invitation of a code.
///
/// # Errors
/// When the query fails.
pub fn find_invitation(conn: &mut Conn, code: &str, now: Micros) -> AppResult<Option<Invitation>> {
    let Some(row) = store::find_invitation(conn, &TokenHash::of(code), now)? else {
        return Ok(None);
    };
    let org = store::org_by_id(conn, row.org_id)?.ok_or_else(AppError::not_found)?;
    let account = store::user_by_email(conn, &row.email)?;
    Ok(Some(Invitation { row, org, account }))
}

/// Who takes an invitation up.
#[derive(Debug)]
pub enum Joiner<'a> {
    /// The signed-in person.
    Account(UserId),
    /// Somebody new, with the name and the password's hash they chose.
    New {
        /// May be empty.
        name: &'a str,
        /// An argon2 hash.
        password_hash: &'a str,
    },
}

/// Uses an invitation up and makes its e-mail a member.
///
/// # Errors
/// 404 when it is not open any more; 409 when the account is not the invited one, or came up meanwhile.
pub(super) fn join(
    tx: &mut Tx<'_>,
    code: &str,
    joiner: &Joiner<'_>,
    now: Micros,
) -> AppResult<(Org, User)> {
    let Invitation { row, org, account } =
        find_invitation(tx, code, now)?.ok_or_else(AppError::not_found)?;
    // Of two who send the same link at once, one takes the row.
    store::take_invitation(tx, org.id, row.id)?.ok_or_else(AppError::not_found)?;
    let user = match (joiner, account) {
        (Joiner::Account(id), Some(user)) if user.id == *id && user.active => user,
        (
            Joiner::New {
                name,
                password_hash,
            },
            None,
        ) => store::insert_user(tx, &row.email, name.trim(), password_hash, now)?,
        _ => {
            return Err(AppError::conflict(format!(
                "This invitation is for {}. Sign in with that account.",
                row.email
            )));
        }
    };
    give_role(tx, org.id, user.id, row.role, now)?;
    let data = json!({ "role": row.role, "invited_by": row.invited_by });
    audit::record(
        tx,
        Some(org.id),
        &user.email,
        "accounts.join",
        &user.email,
        &data,
        now,
    )?;
    Ok((org, user))
}

/// Gives a user a role in an organization, or changes it.
///
/// # Errors
/// 409 when this would take the last owner away.
pub(super) fn give_role(
    tx: &mut Tx<'_>,
    org: OrgId,
    user: UserId,
    role: Role,
    now: Micros,
) -> AppResult<()> {
    if role != Role::Owner {
        keep_an_owner(tx, org, user)?;
    }
    Ok(store::set_member(tx, org, user, role, now)?)
}

/// Changes the role of a member.
///
/// # Errors
/// 404 for who is not a member, 409 for the last owner.
pub fn change_role(
    tx: &mut Tx<'_>,
    org: OrgId,
    actor: &str,
    user: UserId,
    role: Role,
    now: Micros,
) -> AppResult<User> {
    let (member, before) = require_member(tx, org, user)?;
    give_role(tx, org, user, role, now)?;
    let data = json!({ "from": before, "to": role });
    audit::record(
        tx,
        Some(org),
        actor,
        "accounts.change_role",
        &member.email,
        &data,
        now,
    )?;
    Ok(member)
}

/// Takes a member out of the organization. The account stays, for other organizations.
///
/// # Errors
/// 404 for who is not a member, 409 for the last owner.
pub fn remove(
    tx: &mut Tx<'_>,
    org: OrgId,
    actor: &str,
    user: UserId,
    now: Micros,
) -> AppResult<User> {
    let (member, role) = require_member(tx, org, user)?;
    keep_an_owner(tx, org, user)?;
    store::delete_member(tx, org, user)?;
    let data = json!({ "role": role });
    audit::record(
        tx,
        Some(org),
        actor,
        "accounts.remove_member",
        &member.email,
        &data,
        now,
    )?;
    Ok(member)
}

fn require_member(tx: &mut Tx<'_>, org: OrgId, user: UserId) -> AppResult<(User, Role)> {
    let role = store::find_member(tx, org, user)?.ok_or_else(AppError::not_found)?;
    let member = store::find_user(tx, user)?.ok_or_else(AppError::not_found)?;
    Ok((member, role))
}

/// Refuses when `user` is the only owner. Two owners who demote each other at the same moment are kept apart by the
/// lock: the rule spans rows.
fn keep_an_owner(tx: &mut Tx<'_>, org: OrgId, user: UserId) -> AppResult<()> {
    tx.lock_key(&format!("accounts:owners:{org}"))?;
    let is_owner = store::find_member(tx, org, user)? == Some(Role::Owner);
    if is_owner && store::count_owners(tx, org)? == 1 {
        return Err(AppError::conflict(
            "An organization needs an owner. Make somebody else an owner first.",
        ));
    }
    Ok(())
}
