//! Organizations, projects, integrations and repositories (sentry.md §8.2, §8.4, §10.4).

use serde::Serialize;
use serde_json::{Map, Value};

use super::{StringId, Time};

/// An id with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedId {
    /// Id; a word for providers.
    pub id: String,
    /// Name for people.
    pub name: String,
}

/// An organization; every key is mandatory for sentry-cli.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Organization {
    /// Row id.
    pub id: StringId,
    /// Name in URLs.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// When it was made.
    pub date_created: Time,
    /// Always false.
    pub is_early_adopter: bool,
    /// Always false.
    #[serde(rename = "require2FA")]
    pub require_2fa: bool,
    /// Always false.
    pub require_email_verification: bool,
    /// Names of features that are on.
    pub features: Vec<String>,
}

impl Organization {
    /// An organization of this server.
    pub fn new(id: i64, slug: String, name: String, date_created: Time) -> Self {
        Self {
            id: StringId(id),
            slug,
            name,
            date_created,
            is_early_adopter: false,
            require_2fa: false,
            require_email_verification: false,
            features: Vec::new(),
        }
    }
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    /// Row id.
    pub id: StringId,
    /// Name in URLs.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// Platform, if one was chosen.
    pub platform: Option<String>,
    /// When it was made.
    pub date_created: Time,
    /// First event, if there was one.
    pub first_event: Option<Time>,
    /// Always `null`: there are no teams.
    pub team: Option<NamedId>,
    /// Always empty.
    pub teams: Vec<NamedId>,
    /// Names of features that are on.
    pub features: Vec<String>,
    /// Always `active`.
    pub status: String,
    /// Whether the caller belongs to it.
    pub is_member: bool,
    /// Whether the caller may see it.
    pub has_access: bool,
}

/// Who a token belongs to: the answer of `GET /api/0/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthInfo {
    /// The token; `null` for a session.
    pub auth: Option<AuthScopes>,
    /// The user; `null` for an organization's token.
    pub user: Option<AuthUser>,
}

/// What a token may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthScopes {
    /// Sentry's scope names.
    pub scopes: Vec<String>,
}

/// The user of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthUser {
    /// E-mail address.
    pub email: String,
    /// Row id.
    pub id: StringId,
}

/// The provider of an integration, inside an integration object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationProvider {
    /// `bitbucket`, ….
    pub key: String,
    /// The same, for URLs.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// Whether another one can be added.
    pub can_add: bool,
    /// Whether it can be switched off.
    pub can_disable: bool,
    /// Its features, sorted.
    pub features: Vec<String>,
    /// Free settings of the provider.
    pub aspects: Map<String, Value>,
}

/// An integration, base shape (§8.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Integration {
    /// Row id.
    pub id: StringId,
    /// Name for people.
    pub name: String,
    /// Picture, if there is one.
    pub icon: Option<String>,
    /// Such as `bitbucket.org/acme`.
    pub domain_name: Option<String>,
    /// `team` or `user` with Bitbucket.
    pub account_type: Option<String>,
    /// What it may do at the provider.
    pub scopes: Option<Vec<String>>,
    /// `active` or `disabled`.
    pub status: String,
    /// Its provider.
    pub provider: IntegrationProvider,
}

/// An integration as the organization sees it (§8.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrgIntegration {
    /// The base shape.
    #[serde(flatten)]
    pub integration: Integration,
    /// Fields of its settings form.
    pub config_organization: Vec<Value>,
    /// Values of its settings.
    pub config_data: Map<String, Value>,
    /// Id at the provider.
    pub external_id: String,
    /// Row id of the organization: a number here.
    pub organization_id: i64,
    /// `active` or `disabled`.
    pub organization_integration_status: String,
    /// Always `null`.
    pub grace_period_end: Option<Time>,
}

/// A repository (§8.4). sentry-cli compares `url` with the git remote, so there must be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// Row id.
    pub id: StringId,
    /// `workspace/slug`.
    pub name: String,
    /// Web address.
    pub url: Option<String>,
    /// `integrations:bitbucket` and a name.
    pub provider: NamedId,
    /// `active`, `hidden`, `pending_deletion`, ….
    pub status: String,
    /// When it was added.
    pub date_created: Time,
    /// Row id of its integration.
    pub integration_id: Option<StringId>,
    /// The name again, with Bitbucket.
    pub external_slug: Option<String>,
    /// Id at the provider: the UUID with its braces.
    pub external_id: Option<String>,
}

impl Repository {
    /// Provider of a repository that belongs to none (§8.4).
    pub fn unknown_provider() -> NamedId {
        NamedId {
            id: "unknown".to_owned(),
            name: "Unknown Provider".to_owned(),
        }
    }
}
