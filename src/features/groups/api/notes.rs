//! `/api/0` of notes (sentry.md §16: `…/comments/`, also under the name `…/notes/`).

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{Org, Scope, need};
use crate::features::groups::store::activity;
use crate::features::groups::wire::Around;
use crate::features::groups::{
    ActivityId, ActivityKind, Actor, GroupAccess, GroupId, add_note, delete_note, edit_note,
};
use crate::kit::db::Conn;
use crate::kit::web::json::Json;
use crate::sentry::wire::Note;

/// Notes of one answer.
const MAX_NOTES: i64 = 100;

fn text_of(body: &Value) -> AppResult<String> {
    let text = body.get("text").and_then(Value::as_str);
    text.map(str::to_owned)
        .ok_or_else(|| AppError::invalid("“text” is missing."))
}

fn note_id(req: &HttpRequest) -> AppResult<ActivityId> {
    req.match_info()
        .get("note")
        .and_then(|id| id.parse().ok())
        .ok_or_else(AppError::not_found)
}

fn one(conn: &mut Conn, app: &App, org: &Org, group: GroupId, note: ActivityId) -> AppResult<Note> {
    let row = activity::find_note(conn, org.id, group, note)?.ok_or_else(AppError::not_found)?;
    let around = Around::load(conn, app, org, &[], std::slice::from_ref(&row))?;
    Ok(around.note(&row))
}

/// `GET …/comments/`: the notes of a group, newest first.
///
/// # Errors
/// 404.
pub async fn list(
    app: web::Data<App>,
    access: GroupAccess<need::EventRead>,
) -> AppResult<HttpResponse> {
    let (org, group, state) = (access.org, access.group.id, app.clone());
    let notes = app
        .db
        .read(move |conn| {
            let rows = activity::list(conn, org.id, group, Some(ActivityKind::Note), MAX_NOTES)?;
            let around = Around::load(conn, &state, &org, &[], &rows)?;
            Ok::<_, AppError>(rows.iter().map(|row| around.note(row)).collect::<Vec<_>>())
        })
        .await?;
    Ok(HttpResponse::Ok().json(notes))
}

/// `POST …/comments/`: writes a note; 201.
///
/// # Errors
/// 400 for an empty or very long text, 404.
pub async fn create(
    app: web::Data<App>,
    access: GroupAccess<need::EventWrite>,
    body: Json<Value>,
) -> AppResult<HttpResponse> {
    let text = text_of(&body)?;
    let (actor, now, state) = (Actor::of(&access.caller), app.clock.now(), app.clone());
    let (org, group) = (access.org, access.group.id);
    let note = app
        .db
        .write(move |tx| {
            let note = add_note(tx, org.id, group, &actor, &text, now)?;
            one(tx, &state, &org, group, note)
        })
        .await?;
    Ok(HttpResponse::Created().json(note))
}

/// `PUT …/comments/{note}/`: replaces the text of a note.
///
/// # Errors
/// 400 for an empty or very long text, 403 for somebody else's note, 404.
pub async fn edit(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
    body: Json<Value>,
) -> AppResult<HttpResponse> {
    let (note, text, may_all) = (
        note_id(&req)?,
        text_of(&body)?,
        access.may(Scope::EventAdmin),
    );
    let (actor, now, state) = (Actor::of(&access.caller), app.clock.now(), app.clone());
    let (org, group) = (access.org, access.group.id);
    let note = app
        .db
        .write(move |tx| {
            edit_note(tx, org.id, group, note, &actor, may_all, &text, now)?;
            one(tx, &state, &org, group, note)
        })
        .await?;
    Ok(HttpResponse::Ok().json(note))
}

/// `DELETE …/comments/{note}/`: takes a note back; 204.
///
/// # Errors
/// 403 for somebody else's note, 404.
pub async fn delete(
    app: web::Data<App>,
    req: HttpRequest,
    access: GroupAccess<need::EventWrite>,
) -> AppResult<HttpResponse> {
    let (note, may_all) = (note_id(&req)?, access.may(Scope::EventAdmin));
    let (actor, now) = (Actor::of(&access.caller), app.clock.now());
    let (org, group) = (access.org.id, access.group.id);
    app.db
        .write(move |tx| delete_note(tx, org, group, note, &actor, may_all, now))
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
