//! What an update asks for. Fields that mean nothing to us (`hasSeen`, `isBookmarked`, `snoozeDuration: null`, …)
//! are accepted and change nothing.

use diesel::QueryResult;
use serde_json::{Map, Value, json};

use super::member;
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::features::accounts::{self, Caller, OrgId, User};
use crate::features::groups::wire::NewStatus;
use crate::features::groups::{Actor, GroupId, Resolution, assign, ignore, resolve, unresolve};
use crate::kit::clock::Micros;
use crate::kit::db::Tx;

/// A checked change.
#[derive(Debug, Clone)]
pub(in crate::features::groups) struct Update {
    actor: Actor,
    status: Option<(NewStatus, Resolution)>,
    /// `Some(None)` takes the assignee off.
    assignee: Option<Option<User>>,
}

impl Update {
    /// A change of status alone.
    pub(in crate::features::groups) fn status(actor: Actor, status: NewStatus) -> Self {
        Self {
            actor,
            status: Some((status, Resolution::ByHand)),
            assignee: None,
        }
    }

    /// Reads the body of a request.
    pub(super) async fn read(
        app: &App,
        org: OrgId,
        caller: &Caller,
        body: &Value,
    ) -> AppResult<Self> {
        let body = body
            .as_object()
            .ok_or_else(|| AppError::invalid("The body must be a JSON object."))?;
        let status = match body.get("status") {
            None | Some(Value::Null) => None,
            Some(word) => Some(read_status(word, body.get("statusDetails"))?),
        };
        let assignee = match body.get("assignedTo") {
            None => None,
            Some(value) => Some(read_assignee(app, org, caller, value).await?),
        };
        Ok(Self {
            actor: Actor::of(caller),
            status,
            assignee,
        })
    }

    /// Makes the change; what is so already stays.
    pub(super) fn apply(
        &self,
        tx: &mut Tx<'_>,
        org: OrgId,
        group: GroupId,
        now: Micros,
    ) -> QueryResult<()> {
        match &self.status {
            None => {}
            Some((NewStatus::Resolved | NewStatus::ResolvedInNextRelease, resolution)) => {
                resolve(tx, org, group, &self.actor, resolution, now)?;
            }
            Some((NewStatus::Unresolved, _)) => {
                unresolve(tx, org, group, &self.actor, now)?;
            }
            Some((NewStatus::Ignored, _)) => {
                ignore(tx, org, group, &self.actor, now)?;
            }
        }
        if let Some(user) = &self.assignee {
            assign(tx, org, group, &self.actor, user.as_ref(), now)?;
        }
        Ok(())
    }

    /// What Sentry answers to a bulk update: the fields that were set.
    pub(super) fn answer(&self) -> Value {
        let mut answer = Map::new();
        if let Some((status, resolution)) = &self.status {
            answer.insert("status".to_owned(), json!(status.status()));
            answer.insert("statusDetails".to_owned(), resolution.details());
        }
        if let Some(user) = &self.assignee {
            let user = user.as_ref().map(
                |user| json!({ "type": "user", "id": user.id.to_string(), "email": user.email }),
            );
            answer.insert("assignedTo".to_owned(), json!(user));
        }
        Value::Object(answer)
    }
}

fn read_status(word: &Value, details: Option<&Value>) -> AppResult<(NewStatus, Resolution)> {
    let status = word.as_str().and_then(NewStatus::parse).ok_or_else(|| {
        AppError::invalid(
            "“status” must be resolved, resolvedInNextRelease, unresolved, ignored or muted.",
        )
    })?;
    let text = |value: &Value| {
        value
            .as_str()
            .map(str::to_owned)
            .filter(|text| !text.is_empty() && !text.contains('\0'))
    };
    let details = |key: &str| details.and_then(|details| details.get(key));
    let resolution = if status == NewStatus::ResolvedInNextRelease
        || details("inNextRelease") == Some(&Value::Bool(true))
    {
        Resolution::InNextRelease
    } else if let Some(version) = details("inRelease").and_then(text) {
        Resolution::InRelease { version }
    } else if let Some(commit) = details("inCommit") {
        let field = |key: &str| {
            let missing = || AppError::invalid("“inCommit” needs “commit” and “repository”.");
            commit.get(key).and_then(text).ok_or_else(missing)
        };
        Resolution::InCommit {
            commit: field("commit")?,
            repository: field("repository")?,
            url: None,
        }
    } else {
        Resolution::ByHand
    };
    Ok((status, resolution))
}

/// `null` and an empty text are nobody; else `me`, an id, `user:` and an id, or an e-mail address.
async fn read_assignee(
    app: &App,
    org: OrgId,
    caller: &Caller,
    value: &Value,
) -> AppResult<Option<User>> {
    let name = match value {
        Value::Null => return Ok(None),
        Value::String(name) if name.is_empty() => return Ok(None),
        Value::String(name) => name.strip_prefix("user:").unwrap_or(name).to_owned(),
        Value::Number(id) => id.to_string(),
        _ => return Err(AppError::invalid("“assignedTo” must be a user.")),
    };
    let unknown = || AppError::invalid("“assignedTo” is not a member of this organization.");
    if name.contains('\0') {
        return Err(unknown());
    }
    let me = caller.user_id();
    app.db
        .read(move |conn| {
            let id = member(conn, org, me, &name)?.ok_or_else(unknown)?;
            accounts::find_user(conn, id)?.ok_or_else(unknown).map(Some)
        })
        .await
}
