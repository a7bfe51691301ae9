//! Notes: activities that people write and may change.

use serde_json::json;

use super::store::{self, activity};
use super::{
    Activity, ActivityId, ActivityKind, Actor, GroupId, NoteAdded, NoteDeleted, NoteEdited, log,
};
use crate::error::{AppError, AppResult};
use crate::features::accounts::OrgId;
use crate::kit::clock::Micros;
use crate::kit::db::Tx;
use crate::kit::jobs::emit;

/// Longest note, in characters.
const MAX_NOTE: usize = 10_000;

/// The text of a note, checked.
fn checked(text: &str) -> AppResult<&str> {
    let text = text.trim();
    if text.is_empty() {
        return Err(AppError::invalid("A note needs some text."));
    }
    if text.chars().count() > MAX_NOTE || text.contains('\0') {
        return Err(AppError::invalid(format!(
            "A note has at most {MAX_NOTE} characters, and no NUL."
        )));
    }
    Ok(text)
}

/// Writes a note on a group that the caller has found in the organization.
///
/// # Errors
/// 400 for an empty or very long text.
pub fn add_note(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    actor: &Actor,
    text: &str,
    now: Micros,
) -> AppResult<ActivityId> {
    let data = json!({ "text": checked(text)? });
    if !store::count_note(tx, org, group, 1)? {
        return Err(AppError::not_found());
    }
    let note = log(
        tx,
        org,
        group,
        &Activity::new(ActivityKind::Note, actor, data),
        now,
    )?;
    let note =
        note.ok_or_else(|| AppError::internal(anyhow::anyhow!("a note has no ident to clash on")))?;
    emit(tx, &NoteAdded { org, group, note }, now)?;
    Ok(note)
}

/// Who may change a note: its author, or somebody who may change everybody's.
fn require_author(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    note: ActivityId,
    actor: &Actor,
    may_change_all: bool,
) -> AppResult<()> {
    let row = activity::find_note(tx, org, group, note)?.ok_or_else(AppError::not_found)?;
    let own = match actor.user {
        Some(user) => row.user_id == Some(user),
        None => row.user_id.is_none() && row.actor == actor.name,
    };
    if own || may_change_all {
        return Ok(());
    }
    Err(AppError::forbidden(
        "Only the author of a note, or someone with event:admin, may change it.",
    ))
}

/// Replaces the text of a note.
///
/// # Errors
/// 400 for an empty or very long text, 403 for somebody else's note, 404 when there is none.
#[expect(clippy::too_many_arguments, reason = "who, where, what, when")]
pub fn edit_note(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    note: ActivityId,
    actor: &Actor,
    may_change_all: bool,
    text: &str,
    now: Micros,
) -> AppResult<()> {
    let data = json!({ "text": checked(text)? });
    require_author(tx, org, group, note, actor, may_change_all)?;
    activity::set_note(tx, org, group, note, &data.to_string())?;
    emit(tx, &NoteEdited { org, group, note }, now)?;
    Ok(())
}

/// Takes a note back.
///
/// # Errors
/// 403 for somebody else's note, 404 when there is none.
pub fn delete_note(
    tx: &mut Tx<'_>,
    org: OrgId,
    group: GroupId,
    note: ActivityId,
    actor: &Actor,
    may_change_all: bool,
    now: Micros,
) -> AppResult<()> {
    require_author(tx, org, group, note, actor, may_change_all)?;
    if activity::delete_note(tx, org, group, note)? {
        store::count_note(tx, org, group, -1)?;
        emit(tx, &NoteDeleted { org, group, note }, now)?;
    }
    Ok(())
}
