//! What each feature needs of a credential: the one table behind the scope diff, the forms and docs/CONNECTIONS.md.

use serde::{Deserialize, Serialize};

use super::CredentialKind;
use crate::atlassian::descriptor;
use crate::bitbucket::host::Capability;
use crate::bitbucket::{cloud, datacenter};

/// Something the product does with a connection.
#[derive(Debug)]
pub struct Feature {
    /// Stable key.
    pub key: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// What does not work without it.
    pub without: &'static str,
    /// Classic scopes: OAuth, access tokens, app passwords, Connect.
    pub classic: &'static [&'static str],
    /// Granular scopes: API tokens (bitbucket.md §6; none implies another).
    pub granular: &'static [&'static str],
    /// Permissions of Data Center.
    pub data_center: &'static [&'static str],
}

/// Every feature, the most basic first. Scopes as in bitbucket.md §3.2 and §6.
pub const FEATURES: &[Feature] = &[
    Feature {
        key: "repositories",
        name: "Repositories, commits and files",
        without: "Nothing works: repositories cannot be found or added.",
        classic: &["repository"],
        granular: &["read:repository:bitbucket", "read:workspace:bitbucket"],
        data_center: &["REPO_READ"],
    },
    Feature {
        key: "pushes",
        name: "Webhooks for pushes",
        without: "Commits do not resolve errors, because nobody tells us of pushes.",
        classic: &["webhook", "repository"],
        granular: &[
            "read:webhook:bitbucket",
            "write:webhook:bitbucket",
            "delete:webhook:bitbucket",
            "read:repository:bitbucket",
        ],
        data_center: &["REPO_ADMIN"],
    },
    Feature {
        key: "pull_requests",
        name: "Pull requests",
        without: "Merged pull requests are not heard of; pushes still are.",
        classic: &["pullrequest"],
        granular: &["read:pullrequest:bitbucket"],
        data_center: &["REPO_READ"],
    },
    Feature {
        key: "tickets",
        name: "Create and update Bitbucket issues",
        without: "Errors cannot become Bitbucket issues.",
        classic: &["issue:write"],
        granular: &["read:issue:bitbucket", "write:issue:bitbucket"],
        data_center: &["issues"],
    },
    Feature {
        key: "account",
        name: "Show who is connected",
        without: "The test cannot say in whose name the connection acts.",
        classic: &["account"],
        granular: &["read:user:bitbucket"],
        data_center: &[],
    },
];

/// An event that the webhook of a repository may ask for.
#[derive(Debug)]
pub struct HookEvent {
    /// Bitbucket's name of it (bitbucket.md §5.1).
    pub key: &'static str,
    /// Classic scope that reads what the event carries; without it the whole webhook is refused.
    classic: &'static str,
    /// The same of an API token.
    granular: &'static str,
    /// Only where there is an issue tracker.
    tracker: bool,
}

/// Every event that is asked for, the most basic first. `repo:deleted` is for workspace hooks: when one arrives it is
/// believed, but a repository's own hook cannot ask for it. That a repository is gone shows when its hook is checked.
const HOOK_EVENTS: &[HookEvent] = &[
    event(
        "repo:push",
        "repository",
        "read:repository:bitbucket",
        false,
    ),
    event(
        "pullrequest:fulfilled",
        "pullrequest",
        "read:pullrequest:bitbucket",
        false,
    ),
    event(
        "repo:updated",
        "repository",
        "read:repository:bitbucket",
        false,
    ),
    event("issue:updated", "issue", "read:issue:bitbucket", true),
    event(
        "issue:comment_created",
        "issue",
        "read:issue:bitbucket",
        true,
    ),
];

/// What a repository of Data Center tells us, the most basic first (bitbucket.md §7).
const SERVER_EVENTS: &[&str] = &[
    "repo:refs_changed",
    "repo:modified",
    "pr:opened",
    "pr:from_ref_updated",
    "pr:merged",
    "pr:declined",
    "pr:deleted",
];

const fn event(
    key: &'static str,
    classic: &'static str,
    granular: &'static str,
    tracker: bool,
) -> HookEvent {
    HookEvent {
        key,
        classic,
        granular,
        tracker,
    }
}

/// The events that a webhook asks for with these scopes, in a fixed order. Where Bitbucket does not tell the scopes,
/// those that everything else needs too. Who may register a webhook on Data Center may ask for every event.
#[must_use]
pub fn hook_events(
    kind: CredentialKind,
    granted: Option<&[String]>,
    tracker: bool,
) -> Vec<&'static str> {
    if kind == CredentialKind::DataCenter {
        return SERVER_EVENTS.to_vec();
    }
    let wanted = |event: &&HookEvent| {
        let scope = if kind.is_granular() {
            event.granular
        } else {
            event.classic
        };
        let may = granted.map_or(event.classic == "repository", |granted| {
            allows(granted, scope)
        });
        may && (tracker || !event.tracker)
    };
    HOOK_EVENTS
        .iter()
        .filter(wanted)
        .map(|event| event.key)
        .collect()
}

/// All events that a credential of this kind could ask for.
#[must_use]
pub fn possible_events(kind: CredentialKind, tracker: bool) -> Vec<&'static str> {
    if kind == CredentialKind::DataCenter {
        return SERVER_EVENTS.to_vec();
    }
    let possible = HOOK_EVENTS.iter().filter(|event| {
        let scope = if kind.is_granular() {
            event.granular
        } else {
            event.classic
        };
        kind.can_hold(scope) && (tracker || !event.tracker)
    });
    possible.map(|event| event.key).collect()
}

/// Of these the ones that every Bitbucket of the kind knows, for one that has refused them together.
#[must_use]
pub fn basic_events(kind: CredentialKind, wanted: &[&'static str]) -> Vec<&'static str> {
    let is_basic = |event: &&&str| match kind {
        CredentialKind::DataCenter => **event == "repo:refs_changed",
        _ => !event.starts_with("issue:"),
    };
    wanted.iter().filter(is_basic).copied().collect()
}

/// A feature held against what a credential has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureState {
    /// Key of the feature.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// `on`, `off`, or `unknown` when Bitbucket does not tell the scopes.
    pub state: String,
    /// Scopes that are there.
    pub present: Vec<String>,
    /// Scopes that are not.
    pub missing: Vec<String>,
    /// What is off because of it.
    pub reason: Option<String>,
}

impl CredentialKind {
    /// Whether its scopes have the granular names.
    #[must_use]
    pub const fn is_granular(self) -> bool {
        matches!(self, Self::ApiToken)
    }

    /// What people call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::ConnectJwt => "Connect app",
            Self::ConnectBearer => "Connect app with access tokens",
            Self::OauthCode => "OAuth consumer, by a person",
            Self::ClientCredentials => "OAuth consumer, by itself",
            Self::ApiToken => "API token",
            Self::RepositoryToken => "Repository access token",
            Self::ProjectToken => "Project access token",
            Self::WorkspaceToken => "Workspace access token",
            Self::AppPassword => "App password",
            Self::DataCenter => "Data Center HTTP access token",
        }
    }

    /// Whether a credential of this kind can hold a scope at all (bitbucket.md §6).
    #[must_use]
    pub fn can_hold(self, scope: &str) -> bool {
        match self {
            Self::ConnectJwt | Self::ConnectBearer => allows(&descriptor::SCOPES, scope),
            Self::RepositoryToken | Self::ProjectToken => ACCESS_TOKEN.contains(&scope),
            Self::WorkspaceToken => ACCESS_TOKEN.contains(&scope) || scope == "account",
            Self::OauthCode | Self::ClientCredentials | Self::ApiToken | Self::AppPassword => true,
            Self::DataCenter => scope.starts_with("REPO_"),
        }
    }
}

/// Of the scopes we ask for, those that an access token may hold.
const ACCESS_TOKEN: &[&str] = &["repository", "pullrequest", "webhook"];

impl Feature {
    /// The scopes in the words of a kind.
    #[must_use]
    pub const fn needs(&self, kind: CredentialKind) -> &'static [&'static str] {
        match kind {
            CredentialKind::DataCenter => self.data_center,
            _ if kind.is_granular() => self.granular,
            _ => self.classic,
        }
    }

    /// Whether any credential of this kind can do it.
    #[must_use]
    pub fn is_possible(&self, kind: CredentialKind) -> bool {
        self.impossible(kind).is_empty()
    }

    /// The scopes that no credential of this kind can hold.
    #[must_use]
    pub fn impossible(&self, kind: CredentialKind) -> Vec<&'static str> {
        let needs = self.needs(kind).iter().copied();
        needs.filter(|scope| !kind.can_hold(scope)).collect()
    }
}

/// Whether any credential of a kind can do a feature, by its key.
#[must_use]
pub(super) fn is_possible(key: &str, kind: CredentialKind) -> bool {
    let mut features = FEATURES.iter().filter(|feature| feature.key == key);
    features.all(|feature| feature.is_possible(kind))
}

/// What a classic scope brings with it (bitbucket.md §6).
const fn implied(scope: &str) -> &'static [&'static str] {
    match scope.as_bytes() {
        b"repository:write" | b"pullrequest" | b"project" => &["repository"],
        b"pullrequest:write" => &["pullrequest", "repository:write"],
        b"issue:write" => &["issue"],
        b"account:write" => &["account"],
        b"snippet:write" => &["snippet"],
        b"pipeline:write" => &["pipeline"],
        b"runner:write" => &["runner"],
        b"REPO_ADMIN" => &["REPO_WRITE"],
        b"REPO_WRITE" => &["REPO_READ"],
        _ => &[],
    }
}

fn allows<S: AsRef<str>>(granted: &[S], wanted: &str) -> bool {
    granted.iter().any(|scope| reaches(scope.as_ref(), wanted))
}

fn reaches(scope: &str, wanted: &str) -> bool {
    scope == wanted || implied(scope).iter().any(|next| reaches(next, wanted))
}

/// Every feature against the scopes of a credential; `None` when Bitbucket does not tell them.
#[must_use]
pub fn diff(kind: CredentialKind, granted: Option<&[String]>) -> Vec<FeatureState> {
    let state = |feature: &Feature| {
        let needed = feature.needs(kind);
        let has = |scope: &&&str| granted.is_some_and(|granted| allows(granted, scope));
        let owned = |scopes: Vec<&&str>| {
            scopes
                .into_iter()
                .map(|scope| (*scope).to_owned())
                .collect()
        };
        let (present, missing): (Vec<&&str>, Vec<&&str>) = needed.iter().partition(has);
        let impossible = feature.impossible(kind);
        let (state, reason) = match granted {
            None if impossible.is_empty() => ("unknown", None),
            Some(_) if missing.is_empty() => ("on", None),
            _ if impossible.is_empty() => ("off", Some(feature.without.to_owned())),
            _ if kind == CredentialKind::DataCenter => (
                "off",
                Some(format!(
                    "{} Data Center has none; tickets go elsewhere.",
                    feature.without
                )),
            ),
            _ => (
                "off",
                Some(format!(
                    "{} A credential of this kind ({}) cannot be given the scope {}.",
                    feature.without,
                    kind.title(),
                    impossible.join(", ")
                )),
            ),
        };
        FeatureState {
            key: feature.key.to_owned(),
            name: feature.name.to_owned(),
            state: state.to_owned(),
            present: owned(present),
            missing: if granted.is_some() {
                owned(missing)
            } else {
                Vec::new()
            },
            reason,
        }
    };
    FEATURES.iter().map(state).collect()
}

/// The scopes to give a credential of this kind, each once, in the order of the features.
#[must_use]
pub fn wanted_scopes(kind: CredentialKind) -> Vec<&'static str> {
    let mut scopes: Vec<&'static str> = Vec::new();
    let possible = FEATURES.iter().filter(|feature| feature.is_possible(kind));
    for scope in possible.flat_map(|feature| feature.needs(kind)) {
        if !scopes.contains(scope) {
            scopes.push(scope);
        }
    }
    scopes
}

/// docs/CONNECTIONS.md, made from the table.
#[must_use]
pub fn reference_page() -> String {
    let kinds = CredentialKind::ALL;
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut page = String::from(
        "# Connections\n\nMade from `src/features/links/features.rs`; a test keeps this page and the code in step. The test of a \
         connection shows the same table with what its credential really has.\n\n## Which feature works over which connection\n\n\
         A cell has the scopes that the feature needs, on Data Center the permissions; – means that a credential of this kind \
         cannot have them.\n\n",
    );
    let head = std::iter::once("feature".to_owned())
        .chain(kinds.iter().map(|kind| kind.title().to_owned()));
    page.push_str(&row(head.collect()));
    page.push_str(&row(vec!["---".to_owned(); kinds.len() + 1]));
    for feature in FEATURES {
        let cell = |kind: &CredentialKind| {
            let scopes = feature
                .needs(*kind)
                .iter()
                .map(|scope| format!("`{scope}`"));
            if feature.is_possible(*kind) && feature.needs(*kind).is_empty() {
                "✓".to_owned()
            } else if feature.is_possible(*kind) {
                scopes.collect::<Vec<_>>().join(" ")
            } else {
                "–".to_owned()
            }
        };
        page.push_str(&row(std::iter::once(feature.name.to_owned())
            .chain(kinds.iter().map(cell))
            .collect()));
    }
    page.push_str("\n## What is off without it\n\n");
    for feature in FEATURES {
        page.push_str(&format!("- **{}**: {}\n", feature.name, feature.without));
    }
    page.push_str("\n## Scopes to give\n\n");
    for kind in kinds {
        let scopes: Vec<String> = wanted_scopes(*kind)
            .iter()
            .map(|scope| format!("`{scope}`"))
            .collect();
        page.push_str(&format!("- {}: {}\n", kind.title(), scopes.join(" ")));
    }
    page.push_str(&hosts());
    page
}

/// What Bitbucket itself can do, whatever the credential.
fn hosts() -> String {
    let mut part = String::from(
        "\n## What each Bitbucket can do\n\n| | bitbucket.org | Data Center |\n| --- | --- | --- |\n",
    );
    let mut why = String::new();
    for (cloud, server) in cloud::CAPABILITIES.iter().zip(datacenter::CAPABILITIES) {
        let mut cell = |host: &str, one: &Capability| match one.off {
            None => "✓",
            Some(off) => {
                let since = off
                    .since
                    .map(|day| format!(" Since {day}."))
                    .unwrap_or_default();
                why.push_str(&format!(
                    "- **{}** on {host}: {}{since}\n",
                    one.name, off.reason
                ));
                "–"
            }
        };
        let cells = [cell("bitbucket.org", cloud), cell("Data Center", server)];
        part.push_str(&format!("| {} | {} |\n", cloud.name, cells.join(" | ")));
    }
    format!("{part}\n{why}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn states(kind: CredentialKind, granted: &[&str]) -> Vec<(String, String)> {
        let granted: Vec<String> = granted.iter().map(|scope| (*scope).to_owned()).collect();
        let all = diff(kind, Some(&granted));
        all.into_iter()
            .map(|feature| (feature.key, feature.state))
            .collect()
    }

    #[test]
    fn one_missing_scope_switches_one_feature_off() {
        let all = wanted_scopes(CredentialKind::OauthCode);
        assert!(
            states(CredentialKind::OauthCode, &all)
                .iter()
                .all(|(_, state)| state == "on")
        );
        let without: Vec<&str> = all
            .iter()
            .copied()
            .filter(|scope| *scope != "issue:write")
            .collect();
        for (key, state) in states(CredentialKind::OauthCode, &without) {
            assert_eq!(state, if key == "tickets" { "off" } else { "on" }, "{key}");
        }
    }

    #[test]
    fn classic_scopes_imply_others_and_granular_ones_do_not() {
        let one = |kind, scope: &str| {
            let states = states(kind, &[scope]);
            states
                .into_iter()
                .filter(|(_, state)| state == "on")
                .map(|(key, _)| key)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            one(CredentialKind::OauthCode, "pullrequest:write"),
            ["repositories", "pull_requests"]
        );
        assert!(one(CredentialKind::ApiToken, "write:repository:bitbucket").is_empty());
        assert!(one(CredentialKind::OauthCode, "issue").is_empty());
    }

    #[test]
    fn what_a_kind_cannot_have_says_so_and_what_is_not_told_is_unknown() {
        let token = diff(
            CredentialKind::WorkspaceToken,
            Some(&["repository".to_owned()]),
        );
        let tickets = token
            .iter()
            .find(|feature| feature.key == "tickets")
            .unwrap();
        assert!(
            tickets
                .reason
                .as_deref()
                .unwrap()
                .contains("cannot be given"),
            "{tickets:?}"
        );
        let silent = diff(CredentialKind::OauthCode, None);
        assert!(
            silent
                .iter()
                .all(|feature| feature.state == "unknown" && feature.missing.is_empty())
        );
        assert!(!wanted_scopes(CredentialKind::RepositoryToken).contains(&"account"));
    }

    #[test]
    fn a_webhook_asks_for_what_the_scopes_allow() {
        use CredentialKind as K;
        let ask = |kind, granted: &[&str], tracker| {
            let granted: Vec<String> = granted.iter().map(|scope| (*scope).to_owned()).collect();
            hook_events(kind, Some(&granted), tracker)
        };
        let pushes = ["repo:push", "repo:updated"];
        let with_pulls = ["repo:push", "pullrequest:fulfilled", "repo:updated"];
        assert_eq!(
            ask(K::OauthCode, &["webhook", "repository:write"], true),
            pushes
        );
        assert_eq!(
            ask(K::OauthCode, &["webhook", "pullrequest"], true),
            with_pulls
        );
        let all = ask(K::ConnectJwt, &descriptor::SCOPES, true);
        assert_eq!(all.len(), HOOK_EVENTS.len());
        assert_eq!(ask(K::ConnectJwt, &descriptor::SCOPES, false), with_pulls);
        let granular = [
            "write:webhook:bitbucket",
            "read:repository:bitbucket",
            "issue",
        ];
        assert_eq!(ask(K::ApiToken, &granular, true), pushes);
        assert!(ask(K::ApiToken, &["repository"], true).is_empty());
        assert_eq!(hook_events(K::OauthCode, None, true), pushes);
        assert_eq!(possible_events(K::WorkspaceToken, true), with_pulls);
        assert_eq!(possible_events(K::ApiToken, true).len(), HOOK_EVENTS.len());
        assert_eq!(basic_events(K::ConnectJwt, &all), with_pulls);
        let server = ask(K::DataCenter, &["REPO_READ"], true);
        assert_eq!(server, SERVER_EVENTS);
        assert_eq!(possible_events(K::DataCenter, false), SERVER_EVENTS);
        assert_eq!(basic_events(K::DataCenter, &server), ["repo:refs_changed"]);
    }

    #[test]
    fn data_center_has_permissions_and_no_issues() {
        let on = |granted: &[&str]| {
            let states = states(CredentialKind::DataCenter, granted);
            states
                .into_iter()
                .filter(|(_, state)| state == "on")
                .map(|(key, _)| key)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            on(&["REPO_ADMIN"]),
            ["repositories", "pushes", "pull_requests", "account"]
        );
        assert_eq!(
            on(&["REPO_READ"]),
            ["repositories", "pull_requests", "account"]
        );
        assert_eq!(
            wanted_scopes(CredentialKind::DataCenter),
            ["REPO_READ", "REPO_ADMIN"]
        );
        let keys = |all: &[Capability]| all.iter().map(|one| one.key).collect::<Vec<_>>();
        assert_eq!(keys(cloud::CAPABILITIES), keys(datacenter::CAPABILITIES));
    }

    #[test]
    fn the_page_is_in_step() {
        let committed = include_str!("../../../docs/CONNECTIONS.md");
        assert_eq!(
            committed,
            reference_page(),
            "run: tracebucket docs connections > docs/CONNECTIONS.md"
        );
    }
}
