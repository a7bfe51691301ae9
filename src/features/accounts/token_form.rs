//! What the two pages that make tokens share: the list, the form and its checks.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Scope, ScopeSet, TokenRow};
use crate::kit::clock::Micros;

/// Scopes that the forms offer, with a word about each.
const OFFERED: &[(Scope, &str)] = &[
    (
        Scope::OrgRead,
        "See the organization, its members and integrations",
    ),
    (
        Scope::OrgIntegrations,
        "Use and change connections and repositories",
    ),
    (Scope::OrgCi, "Upload releases from CI"),
    (Scope::ProjectRead, "See projects and their keys"),
    (Scope::ProjectWrite, "Create and change projects"),
    (
        Scope::ProjectReleases,
        "Create releases, set commits and deploys",
    ),
    (Scope::EventRead, "See errors and events"),
    (Scope::EventWrite, "Resolve, ignore and comment errors"),
    (Scope::EventAdmin, "Delete errors"),
];

/// Form of a new token.
#[derive(Deserialize)]
pub struct NewToken {
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
}

/// The form as it is shown: empty, or as it was sent with what to correct.
#[derive(Default)]
pub(super) struct TokenForm {
    name: String,
    chosen: Vec<String>,
    errors: Map<String, Value>,
}

impl NewToken {
    /// Name and scopes, or the form with what to correct.
    pub(super) fn check(self) -> Result<(String, ScopeSet), TokenForm> {
        let name: String = self.name.trim().chars().take(80).collect();
        let mut errors = Map::new();
        if name.is_empty() {
            let text = "Give it a name, so that you know it again.";
            errors.insert("name".into(), json!(text));
        }
        let set = ScopeSet::parse(&self.scopes.join(",")).unwrap_or_default();
        if set == ScopeSet::NONE {
            errors.insert("scopes".into(), json!("Choose at least one scope."));
        }
        if errors.is_empty() {
            return Ok((name, set));
        }
        Err(TokenForm {
            name,
            chosen: self.scopes,
            errors,
        })
    }
}

impl TokenForm {
    /// The form as it was sent, with what is wrong with its scopes.
    pub(super) fn refused(name: String, scopes: ScopeSet, why: &str) -> Self {
        let mut errors = Map::new();
        errors.insert("scopes".into(), json!(why));
        Self {
            name,
            chosen: scopes.names().into_iter().map(str::to_owned).collect(),
            errors,
        }
    }

    /// The scopes to choose from, for who may give the `allowed` ones.
    pub(super) fn offered(&self, allowed: ScopeSet) -> Vec<Value> {
        OFFERED
            .iter()
            .filter(|(scope, _)| allowed.has(*scope))
            .map(|(scope, hint)| {
                let value = scope.as_str();
                let checked = self.chosen.iter().any(|chosen| chosen == value);
                json!({ "value": value, "hint": hint, "checked": checked })
            })
            .collect()
    }

    /// What the template reads as `form`.
    pub(super) fn content(&self) -> Value {
        json!({ "values": { "name": self.name }, "errors": self.errors, "form_error": null })
    }
}

/// A token as the list shows it.
#[derive(Serialize)]
pub(super) struct TokenPart {
    id: String,
    name: String,
    hint: String,
    scopes: Vec<String>,
    created_at: Micros,
    last_used_at: Option<Micros>,
}

impl From<TokenRow> for TokenPart {
    fn from(token: TokenRow) -> Self {
        let kind = match token.org_id {
            Some(_) => "sntrys",
            None => "sntryu",
        };
        Self {
            id: token.id.to_string(),
            name: token.name,
            hint: format!("{kind}_…{}", token.hint),
            scopes: token.scopes.split(',').map(str::to_owned).collect(),
            created_at: token.created_at,
            last_used_at: token.last_used_at,
        }
    }
}
