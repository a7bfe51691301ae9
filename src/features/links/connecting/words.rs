//! What the page and the forms say of each kind of credential.

use serde_json::{Value, json};

use crate::app::App;
use crate::features::links::features::wanted_scopes;
use crate::features::links::{CredentialKind, server};

/// Where a workspace, a project and a repository stand in an address, until they are known.
const UNKNOWN: [&str; 4] = ["WORKSPACE", "PROJECT", "REPOSITORY", "BASE-URL"];

/// Where a person makes tokens.
fn server_page(app: &App, base: &str) -> String {
    let base = server::parse_base(app, base).map_or_else(
        |_| "BASE-URL".to_owned(),
        |base| base.as_str().trim_end_matches('/').to_owned(),
    );
    format!("{base}/plugins/servlet/access-tokens/manage")
}

/// How the form of a kind looks: label of the name field (none for tokens alone), label of the secret, where to get it.
/// `workspace` is put into addresses when it is a name.
pub(super) fn words(app: &App, kind: CredentialKind, workspace: &str) -> Value {
    let web = app
        .config
        .bitbucket_web_url
        .as_str()
        .trim_end_matches('/')
        .to_owned();
    let atlassian = "https://id.atlassian.com/manage-profile/security/api-tokens".to_owned();
    let (have, user, secret, page, hint) = match kind {
        CredentialKind::OauthCode => (
            "A workspace admin account",
            Some("Key of the OAuth consumer"),
            "Secret of the OAuth consumer",
            format!("{web}/WORKSPACE/workspace/settings/api"),
            "In Bitbucket: Workspace settings → OAuth consumers → Add consumer. Give it the callback URL and the permissions that the form shows.",
        ),
        CredentialKind::ClientCredentials => (
            "An OAuth consumer that acts for itself",
            Some("Key of the OAuth consumer"),
            "Secret of the OAuth consumer",
            format!("{web}/WORKSPACE/workspace/settings/api"),
            "In Bitbucket: Workspace settings → OAuth consumers. Mark “This is a private consumer”.",
        ),
        CredentialKind::ApiToken => (
            "An API token of a person",
            Some("E-mail of the Atlassian account"),
            "API token",
            atlassian,
            "In your Atlassian account: Security → API tokens → Create API token with scopes → Bitbucket.",
        ),
        CredentialKind::WorkspaceToken => (
            "A workspace access token",
            None,
            "Access token",
            format!("{web}/WORKSPACE/workspace/settings/access-tokens"),
            "In Bitbucket: Workspace settings → Access tokens (Premium plan).",
        ),
        CredentialKind::ProjectToken => (
            "A project access token",
            None,
            "Access token",
            format!("{web}/WORKSPACE/workspace/projects/PROJECT/settings/access-tokens"),
            "In Bitbucket: Project settings → Access tokens.",
        ),
        CredentialKind::RepositoryToken => (
            "A repository access token",
            None,
            "Access token",
            format!("{web}/WORKSPACE/REPOSITORY/admin/access-tokens"),
            "In Bitbucket: Repository settings → Access tokens.",
        ),
        CredentialKind::DataCenter => (
            "A Data Center server",
            None,
            "HTTP access token",
            server_page(app, workspace),
            "In Bitbucket Data Center: your picture → Manage account → HTTP access tokens, or the settings of a project or a repository → HTTP access tokens. Give it repository admin: only admins may register webhooks.",
        ),
        _ => (
            "A user name and an app password",
            Some("User name"),
            "App password",
            web,
            "Only for servers that still take them; bitbucket.org does not.",
        ),
    };
    let is_name = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !text.is_empty() && text.bytes().all(is_plain)
    };
    let page = if is_name(workspace) {
        page.replace("WORKSPACE", workspace)
    } else {
        page
    };
    json!({
        "page_is_whole": !UNKNOWN.iter().any(|word| page.contains(word)),
        "kind": kind, "title": kind.title(), "have": have, "user_label": user, "secret_label": secret,
        "is_server": kind == CredentialKind::DataCenter,
        "page_url": page, "hint": hint, "scopes": wanted_scopes(kind).join(" "),
        "asks_expiry": !matches!(kind, CredentialKind::OauthCode | CredentialKind::ClientCredentials),
    })
}
