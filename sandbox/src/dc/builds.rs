//! Build status of a commit (bitbucket.md §7).

use serde_json::{Map, Value};

use super::{Dc, error};
use crate::journal::Rule;
use crate::model::{DcBuild, Permission};
use crate::reply::{Outcome, Reply};

const STATES: &[&str] = &["SUCCESSFUL", "FAILED", "INPROGRESS", "CANCELLED", "UNKNOWN"];
const FIELDS: &[&str] = &[
    "key",
    "state",
    "url",
    "name",
    "description",
    "ref",
    "parent",
    "buildNumber",
    "duration",
    "testResults",
    "lastUpdated",
];

/// The build of a key.
pub(super) async fn get(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let hash = dc.resolve(&repository, dc.arg("commit")).await?;
    let key = dc.param("key");
    let found = dc.core.store.read(|state| {
        let same =
            |b: &&DcBuild| b.repository == repository.uuid && b.commit == hash && b.key == key;
        state.dc_builds.iter().find(same).map(|b| b.body.clone())
    });
    let missing = || {
        let message = format!("There is no build with key '{key}'.");
        error(404, "build.NoSuchBuildStatusException", &message)
    };
    Ok(Reply::json(200, &found.ok_or_else(missing)?))
}

/// Sets a build; the same key replaces.
pub(super) async fn set(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let hash = dc.resolve(&repository, dc.arg("commit")).await?;
    let body = match serde_json::from_slice(&dc.call.body) {
        Ok(Value::Object(map)) if dc.call.content_type() == "application/json" => map,
        _ => return Err(dc.wrong(Rule::BodyFormat, 400, "the body must be a JSON object")),
    };
    if let Some(key) = body.keys().find(|k| !FIELDS.contains(&k.as_str())) {
        return Err(dc.wrong(Rule::BodyField, 400, &format!("there is no field {key:?}")));
    }
    let key = text(&body, "key").filter(|key| key.len() <= 255);
    let known = text(&body, "state").is_some_and(|s| STATES.contains(&s.as_str()));
    let url = text(&body, "url").is_some_and(|u| url::Url::parse(&u).is_ok());
    let (Some(key), true, true) = (key, known, url) else {
        return Err(dc.wrong(
            Rule::BodyField,
            400,
            "key, a known state and an absolute url are needed",
        ));
    };
    dc.core.store.write(|state| {
        state
            .dc_builds
            .retain(|b| b.repository != repository.uuid || b.commit != hash || b.key != key);
        state.dc_builds.push(DcBuild {
            repository: repository.uuid.clone(),
            commit: hash.clone(),
            key: key.clone(),
            body: Value::Object(body.clone()),
        });
    })?;
    Ok(Reply::empty(204))
}

fn text(map: &Map<String, Value>, name: &str) -> Option<String> {
    let given = map.get(name)?.as_str()?;
    Some(given.to_owned()).filter(|t| !t.trim().is_empty())
}
