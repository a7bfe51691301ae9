//! Testing a connection: who am I, what do I see, what am I allowed, how are clock and budget. Reads only, unless
//! somebody asks for the write probe.

use serde::{Deserialize, Serialize};

use super::features::{FeatureState, diff};
use super::{CredentialKind, client};
use crate::bitbucket::cloud::{HookSpec, IssueChange, NewIssue};
use crate::bitbucket::{Cloud, Error, Host, Kind, Meta, RepoRef};
use crate::kit::clock::Micros;
use crate::kit::crypto::{Secret, random_hex};

/// A clock that is further off than this breaks signatures, in seconds.
const MAX_SKEW: i64 = 60;

/// What a test found; also kept as JSON beside the link.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Whether the connection can be used.
    pub ok: bool,
    /// True when Bitbucket had trouble: the test says nothing about the credential.
    pub undecided: bool,
    /// Whether Bitbucket refused the credential itself (401).
    pub refused: bool,
    /// What was tried, in order.
    pub steps: Vec<Step>,
    /// In whose name it acts.
    pub account: Option<String>,
    /// Uuid of the workspace, in braces.
    pub workspace_uuid: Option<String>,
    /// Id of the workspace in web addresses.
    pub workspace: Option<String>,
    /// Workspaces that the credential sees, as far as it may ask.
    pub workspaces: Vec<String>,
    /// Scopes that it has; none when Bitbucket does not tell.
    pub scopes: Option<Vec<String>>,
    /// Repositories on the first page.
    pub repositories: Option<usize>,
    /// Whether there are more.
    pub more_repositories: bool,
    /// Bitbucket's clock minus ours, in seconds.
    pub skew: Option<i64>,
    /// Calls per hour, where Bitbucket tells.
    pub budget: Option<u64>,
    /// Less than about a fifth of the budget is left.
    pub budget_near: bool,
    /// Each feature against the scopes.
    pub features: Vec<FeatureState>,
    /// When it was tried.
    pub at: Micros,
}

/// One thing that was tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// What.
    pub name: String,
    /// `ok`, `warn`, `failed` or `skipped`.
    pub state: String,
    /// What came of it.
    pub text: String,
    /// What a person can do.
    pub advice: Option<String>,
}

/// What was asked for when Bitbucket refused: the same status means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Which server this is, of Data Center.
    Server,
    /// `GET /user`.
    Account,
    /// The workspace.
    Workspace,
    /// Its repositories.
    Repositories,
    /// A webhook.
    Hook,
    /// An issue.
    Issue,
}

/// What a person can do about a refusal (bitbucket.md §2–§4, §6; trackers.md §6.3).
#[must_use]
pub fn advice(kind: CredentialKind, asked: Asked, error: &Error) -> &'static str {
    use CredentialKind as K;
    match (error.kind(), kind, asked) {
        (found, K::DataCenter, _) => server_advice(found, asked, error),
        (Kind::Unauthorized, K::ApiToken, _) => {
            "Use the e-mail of the Atlassian account, not the Bitbucket user name; make the token with “Create API token with scopes” for Bitbucket; look whether it was revoked or has expired."
        }
        (Kind::Unauthorized, K::RepositoryToken | K::ProjectToken | K::WorkspaceToken, _) => {
            "Bitbucket does not know this access token: copy it again without blanks, or look whether it was revoked or has expired."
        }
        (Kind::Unauthorized, K::OauthCode | K::ClientCredentials, _) => {
            "Look at key and secret of the consumer, and whether somebody took the access back. For client credentials the consumer must be private."
        }
        (Kind::Unauthorized, K::AppPassword, _) => {
            "User name or password is wrong, or this server takes no app passwords (bitbucket.org does not since 28 July 2026). Use an API token with scopes."
        }
        (Kind::Unauthorized, _, _) => {
            "Compare the clocks of this server and of Bitbucket; if they agree, install the app again in the workspace."
        }
        (
            Kind::Forbidden,
            K::WorkspaceToken | K::OauthCode | K::ClientCredentials,
            Asked::Account,
        ) => "To show the account, give the scope account. Everything else works without it.",
        (Kind::Forbidden, _, Asked::Account) => {
            "This kind of credential cannot tell its account; nothing else depends on it."
        }
        (Kind::Forbidden, _, Asked::Workspace) => {
            "The account has no access to this workspace: invite it, or correct the workspace id. A workspace that was put to sleep must be woken up in Bitbucket."
        }
        (Kind::Forbidden, K::ApiToken, Asked::Repositories) => {
            "Give the token the scope read:repository:bitbucket, and the account access to the workspace. Scopes cannot be added to a token: make a new one."
        }
        (Kind::Forbidden, _, Asked::Repositories) => {
            "Give the credential the scope repository, and its account access to the workspace."
        }
        (Kind::Forbidden, K::ApiToken, Asked::Hook) => {
            "Make a token that also has read, write and delete:webhook:bitbucket; its account must be an admin of the repository."
        }
        (Kind::Forbidden, _, Asked::Hook) => {
            "Give the credential the scope webhook; its account must be an admin of the repository."
        }
        (
            Kind::Forbidden,
            K::RepositoryToken | K::ProjectToken | K::WorkspaceToken,
            Asked::Issue,
        ) => {
            "Access tokens cannot have the scope of issues. Use OAuth or an API token for tickets in Bitbucket."
        }
        (Kind::Forbidden, _, Asked::Issue) => {
            "Give the credential the scope issue:write (API token: read and write:issue:bitbucket)."
        }
        (Kind::NotFound, _, Asked::Issue) => {
            "The repository has no issue tracker, or this account does not see it. bitbucket.org has none since 20 August 2026."
        }
        (Kind::NotFound, _, Asked::Workspace) => {
            "There is no such workspace, or this account does not see it. The id is the part after the host in the address of the workspace."
        }
        (Kind::NotFound, _, _) => {
            "It is not there, or this account does not see it. Look at the name and at the access of the account."
        }
        (Kind::Gone, ..) => "Bitbucket has removed this for good; nothing can be done here.",
        (Kind::RateLimited, ..) => {
            "The budget of this hour is used up. Wait; other tools that use the same credential share it."
        }
        (Kind::PlanLimit, ..) => "The plan of the workspace does not include this.",
        _ => error.advice(),
    }
}

/// The same for Data Center (bitbucket.md §7).
fn server_advice(found: Kind, asked: Asked, error: &Error) -> &'static str {
    const NOT_BITBUCKET: &str = "This is not the base URL of a Bitbucket Data Center server. Take it from Administration → Server settings, with the context path if there is one.";
    match (found, asked) {
        (Kind::Unauthorized, _) => {
            "Bitbucket does not know this HTTP access token: copy it again without blanks, or look whether it was revoked or has expired."
        }
        (Kind::Forbidden, Asked::Hook) => {
            "Only admins of a repository may register webhooks. Make a token with repository admin, of an account that is an admin of the repository."
        }
        (Kind::Forbidden, _) => {
            "The token or its account may not do this. Give the account access to the repositories, and make a token with repository read at least."
        }
        (Kind::Refused, _) => {
            "The operator of Tracebucket decides which private networks may be called: the setting egress_allow. Plain http is never allowed outside of development."
        }
        (Kind::Unreachable, _) if error.message().contains("certificate") => {
            "The certificate of the server comes from an authority that is not known here, or is for another name. Paste the certificate of your authority (PEM) as CA bundle."
        }
        (Kind::Unreachable, _) => {
            "No connection: look at host and port, at DNS and firewalls between Tracebucket and the server, and whether the port speaks TLS."
        }
        (Kind::Redirect, _) => {
            "The server sends us elsewhere. Use the base URL that it shows in Administration → Server settings: https, and with the context path."
        }
        (
            Kind::NotFound | Kind::Garbage | Kind::Gone | Kind::Invalid | Kind::TooLarge,
            Asked::Server,
        ) => NOT_BITBUCKET,
        (Kind::NotFound, _) => {
            "It is not there, or the account of the token does not see it. Look at the name and at the access of the account."
        }
        _ => error.advice(),
    }
}

pub(super) fn step(name: &str, state: &str, text: impl Into<String>) -> Step {
    Step {
        name: name.to_owned(),
        state: state.to_owned(),
        text: text.into(),
        advice: None,
    }
}

impl Report {
    /// The first thing that failed, and what to do about it.
    pub(super) fn why(&self) -> String {
        let failed = self.steps.iter().find(|step| step.state == "failed");
        failed.map_or_else(
            || "The connection does not work.".to_owned(),
            |step| {
                let advice = step.advice.as_deref().unwrap_or_default();
                format!("{}: {} {advice}", step.name, step.text)
            },
        )
    }

    pub(super) fn failed(
        &mut self,
        kind: CredentialKind,
        asked: Asked,
        name: &str,
        state: &str,
        error: &Error,
    ) {
        self.take(error.meta());
        let mut failed = step(name, state, client::describe(error));
        failed.text = match (error.status(), error.message()) {
            (Some(status), "") => format!("Bitbucket answered {status}."),
            (Some(status), said) => format!("Bitbucket answered {status}: {said}"),
            (None, said) => said.to_owned(),
        };
        failed.advice = Some(advice(kind, asked, error).to_owned());
        self.steps.push(failed);
        self.undecided |= client::is_temporary(error);
        self.refused |= error.kind() == Kind::Unauthorized;
    }

    /// Whether a feature is off, so that a step makes no sense; says so then.
    fn skipped(&mut self, feature: &str, name: &str) -> bool {
        let off = |state: &&FeatureState| state.key == feature && state.state == "off";
        let Some(reason) = self
            .features
            .iter()
            .find(off)
            .map(|state| state.reason.clone())
        else {
            return false;
        };
        let mut skipped = step(name, "skipped", "The credential lacks the scope.");
        skipped.advice = reason;
        self.steps.push(skipped);
        true
    }

    pub(super) fn take(&mut self, meta: &Meta) {
        if let Some(scopes) = &meta.scopes {
            self.scopes = Some(scopes.clone());
        }
        self.skew = meta.skew.or(self.skew);
        if let Some(budget) = &meta.budget {
            self.budget = Some(budget.limit);
            self.budget_near = budget.near;
        }
    }
}

/// What is needed to ask in whose name a credential acts.
const ACCOUNT: &str = "account";

/// Tests a credential of a kind against a workspace. `known` are the scopes that the token endpoint told.
pub async fn run(
    cloud: &Cloud,
    kind: CredentialKind,
    workspace: &str,
    known: Option<Vec<String>>,
    now: Micros,
) -> Report {
    let mut report = Report {
        at: now,
        scopes: known,
        ..Report::default()
    };
    // A kind that cannot have the scope is not asked in vain.
    if !kind.can_hold(ACCOUNT) || who(cloud, kind, &mut report).await {
        let found = seen(cloud, kind, workspace, &mut report).await;
        report.ok = repositories(cloud, kind, workspace, &mut report).await
            && (found || report.workspace_uuid.is_some());
    }
    if let Some(skew) = report.skew {
        let (state, text) = if skew.abs() > MAX_SKEW {
            (
                "warn",
                format!(
                    "This clock is {} seconds away from Bitbucket's.",
                    skew.abs()
                ),
            )
        } else {
            ("ok", "The clocks agree.".to_owned())
        };
        let mut clock = step("Clock", state, text);
        clock.advice =
            (state == "warn").then(|| "Let this server follow a time server (NTP).".to_owned());
        report.steps.push(clock);
    }
    report.features = diff(kind, report.scopes.as_deref());
    report
}

/// False when it makes no sense to go on.
async fn who(cloud: &Cloud, kind: CredentialKind, report: &mut Report) -> bool {
    match cloud.me().await {
        Ok((account, meta)) => {
            report.take(&meta);
            let name = account
                .display_name
                .or(account.nickname)
                .or(account.username);
            let name = name.unwrap_or_else(|| "an account without a name".to_owned());
            report
                .steps
                .push(step("Account", "ok", format!("It acts as {name}.")));
            report.account = Some(name);
            true
        }
        Err(error) if matches!(error.kind(), Kind::Forbidden | Kind::NotFound | Kind::Gone) => {
            report.failed(kind, Asked::Account, "Account", "warn", &error);
            true
        }
        Err(error) => {
            report.failed(kind, Asked::Account, "Account", "failed", &error);
            false
        }
    }
}

async fn seen(cloud: &Cloud, kind: CredentialKind, workspace: &str, report: &mut Report) -> bool {
    if kind.can_hold(ACCOUNT)
        && let Ok(found) = cloud.my_workspaces().await
    {
        report.workspaces = found;
    }
    match cloud.workspace(workspace).await {
        Ok(found) => {
            let name = found
                .slug
                .or(found.name)
                .unwrap_or_else(|| workspace.to_owned());
            report
                .steps
                .push(step("Workspace", "ok", format!("{name} is there.")));
            report.workspace = Some(name);
            report.workspace_uuid = found.uuid;
            true
        }
        Err(error) => {
            // Tokens of a repository may not ask for the workspace, but its repositories name it.
            let state = if error.kind() == Kind::Forbidden {
                "warn"
            } else {
                "failed"
            };
            report.failed(kind, Asked::Workspace, "Workspace", state, &error);
            false
        }
    }
}

async fn repositories(
    cloud: &Cloud,
    kind: CredentialKind,
    workspace: &str,
    report: &mut Report,
) -> bool {
    match cloud.first_repositories(workspace).await {
        Ok((page, meta)) => {
            report.take(&meta);
            report.repositories = Some(page.items.len());
            report.more_repositories = page.next.is_some();
            let named = page.items.iter().find_map(|repo| repo.workspace.as_ref());
            if report.workspace_uuid.is_none() {
                report.workspace_uuid = named.and_then(|named| named.uuid.clone());
                report.workspace = named.and_then(|named| named.slug.clone());
            }
            let more = if report.more_repositories {
                " and more"
            } else {
                ""
            };
            let mut seen = step(
                "Repositories",
                "ok",
                format!("{}{more} can be seen.", page.items.len()),
            );
            if page.items.is_empty() {
                seen.state = "warn".to_owned();
                seen.advice =
                    Some("Give the account access to a repository of the workspace.".to_owned());
            }
            report.steps.push(seen);
            true
        }
        Err(error) => {
            report.failed(kind, Asked::Repositories, "Repositories", "failed", &error);
            false
        }
    }
}

/// Makes a webhook and an issue in a repository, and takes both away again. What the scopes do not allow is not tried.
pub async fn probe_writes(
    host: &Host,
    kind: CredentialKind,
    repo: &RepoRef,
    url: &str,
    report: &mut Report,
) {
    if !report.skipped("pushes", "Webhook") {
        probe_hook(host, kind, repo, url, report).await;
    }
    if let Some(cloud) = host.cloud()
        && !report.skipped("tickets", "Issue")
    {
        probe_issue(cloud, kind, repo, report).await;
    }
}

async fn probe_hook(
    host: &Host,
    kind: CredentialKind,
    repo: &RepoRef,
    url: &str,
    report: &mut Report,
) {
    let secret = Secret::new(random_hex(32));
    let spec = HookSpec {
        description: "tracebucket-connection-test",
        url,
        events: match host {
            Host::Cloud(_) => &["repo:push"],
            Host::DataCenter(_) => &["repo:refs_changed"],
        },
        secret: &secret,
    };
    let hook = match host.create_hook(repo, &spec).await {
        Ok(hook) => host.delete_hook(repo, &hook.uuid.unwrap_or_default()).await,
        Err(error) => Err(error),
    };
    match hook {
        Ok(()) => report
            .steps
            .push(step("Webhook", "ok", "One was made and deleted again.")),
        Err(error) => report.failed(kind, Asked::Hook, "Webhook", "failed", &error),
    }
}

async fn probe_issue(cloud: &Cloud, kind: CredentialKind, repo: &RepoRef, report: &mut Report) {
    let new = NewIssue {
        title: "Tracebucket tests its connection",
        content: "This issue was made to test a connection. It is closed at once.",
        kind: "task",
        priority: "trivial",
    };
    let issue = match cloud.create_issue(repo, &new).await {
        Ok(issue) => {
            let change = IssueChange {
                state: Some("closed"),
                ..IssueChange::default()
            };
            cloud.update_issue(repo, issue.id, &change).await.map(drop)
        }
        Err(error) => Err(error),
    };
    match issue {
        Ok(()) => report
            .steps
            .push(step("Issue", "ok", "One was made and closed again.")),
        Err(error) if error.feature_gone() => {
            let mut skipped = step("Issue", "skipped", "The repository has no issue tracker.");
            skipped.advice = Some(advice(kind, Asked::Issue, &error).to_owned());
            report.steps.push(skipped);
        }
        Err(error) => report.failed(kind, Asked::Issue, "Issue", "failed", &error),
    }
}
