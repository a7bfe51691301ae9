//! Integrations and repositories as Sentry's clients know them (sentry.md §8).

use serde_json::{Map, Value, json};

use super::config::LinkConfig;
use super::store::{Link, Repo};
use super::{
    CredentialKind, LinkStatus, PROVIDER, REPO_PROVIDER, RepoStatus, SERVER_PROVIDER,
    SERVER_REPO_PROVIDER,
};
use crate::atlassian::descriptor::SCOPES;
use crate::kit::clock::Micros;
use crate::sentry::wire::{
    Integration, IntegrationProvider, NamedId, OrgIntegration, Repository, StringId, Time,
};

const NAME: &str = "Bitbucket";
const SERVER_NAME: &str = "Bitbucket Data Center";
/// Sorted, as the wire wants it.
pub(super) const FEATURES: [&str; 4] = ["codeowners", "commits", "issue-basic", "stacktrace-link"];

fn time(at: Micros) -> Time {
    Time(chrono::DateTime::from_timestamp_micros(at.0).unwrap_or_default())
}

fn provider(kind: CredentialKind) -> IntegrationProvider {
    let key = kind.provider();
    IntegrationProvider {
        key: key.to_owned(),
        slug: key.to_owned(),
        name: if key == SERVER_PROVIDER {
            SERVER_NAME
        } else {
            NAME
        }
        .to_owned(),
        can_add: true,
        can_disable: false,
        features: FEATURES.iter().map(|&feature| feature.to_owned()).collect(),
        aspects: Map::new(),
    }
}

/// The provider as the directory shows it (sentry.md §8.1).
pub(super) fn directory_entry() -> Value {
    let feature = |gate: &str, description: &str| json!({ "featureGate": format!("integrations-{gate}"), "description": description });
    json!({
        "key": PROVIDER,
        "slug": PROVIDER,
        "name": NAME,
        "metadata": {
            "description": "Connect a Bitbucket workspace: create and link issues, resolve errors by commits.",
            "features": [
                feature("commits", "Follow commits and releases of your repositories."),
                feature("issue-basic", "Create Bitbucket issues from errors, and link existing ones."),
                feature("stacktrace-link", "Open the source line of a stack frame in Bitbucket."),
                feature("codeowners", "Import CODEOWNERS of your repositories."),
            ],
            "author": "Tracebucket",
            "noun": "Installation",
            "issue_url": "",
            "source_url": "",
            "aspects": {},
        },
        "canAdd": true,
        "canDisable": false,
        "features": FEATURES,
        "setupDialog": { "url": "/extensions/bitbucket/descriptor/", "width": 600, "height": 600 },
    })
}

/// A link that Bitbucket refuses is shown as disabled, although nobody has disabled it (sentry.md §8.2).
fn status(link: &Link) -> &'static str {
    match (link.status, &link.status_reason) {
        (LinkStatus::Active, None) => "active",
        _ => "disabled",
    }
}

/// The base shape of an integration (sentry.md §8.2).
#[must_use]
pub fn integration_object(link: &Link) -> Integration {
    Integration {
        id: StringId(link.id.0),
        name: link.name.clone(),
        icon: link.icon.clone(),
        domain_name: Some(link.domain_name.clone()),
        account_type: Some(link.account_type.clone()),
        scopes: Some(SCOPES.iter().map(|&scope| scope.to_owned()).collect()),
        status: status(link).to_owned(),
        provider: provider(link.kind),
    }
}

/// An integration as its organization sees it (sentry.md §8.2).
#[must_use]
pub fn org_integration_object(link: &Link) -> OrgIntegration {
    OrgIntegration {
        integration: integration_object(link),
        config_organization: LinkConfig::fields(),
        config_data: link.config().to_map(),
        external_id: link.external_id.clone(),
        organization_id: link.org_id.0,
        organization_integration_status: status(link).to_owned(),
        grace_period_end: None,
    }
}

/// A repository (sentry.md §8.4).
#[must_use]
pub fn repository_object(repo: &Repo) -> Repository {
    let provider = match repo.provider.as_deref() {
        Some(REPO_PROVIDER) => Some((REPO_PROVIDER, NAME)),
        Some(SERVER_REPO_PROVIDER) => Some((SERVER_REPO_PROVIDER, SERVER_NAME)),
        _ => None,
    };
    Repository {
        id: StringId(repo.id.0),
        name: repo.name.clone(),
        url: repo.url.clone(),
        provider: match provider {
            Some((id, name)) => NamedId {
                id: id.to_owned(),
                name: name.to_owned(),
            },
            None => Repository::unknown_provider(),
        },
        // Sentry has no word for a repository that is gone.
        status: match repo.status {
            RepoStatus::Gone => RepoStatus::Disabled,
            status => status,
        }
        .as_str()
        .to_owned(),
        date_created: time(repo.created_at),
        integration_id: repo.link_id.map(|link| StringId(link.0)),
        external_slug: provider.map(|_| repo.name.clone()),
        external_id: repo.external_id.clone(),
    }
}
