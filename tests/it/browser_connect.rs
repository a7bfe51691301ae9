//! In a real browser: the workspace is connected by each kind of credential that the console takes, and each thing that
//! can be wrong with one has its advice.

use std::time::Duration;

use bitbucket_sandbox::{NewCredential, Rule, Sandbox};
use serde_json::{Value, json};
use tracebucket::features::links::{CredentialKind, features};

use crate::support::world::{bitbucket_and_app, consumer_at, expect_violations};
use crate::support::{Backend, client};

/// The form of a kind, filled and sent; what the page after it says. With `clicks` on the way.
fn connect(kind: &str, variant: &str, fields: Value, clicks: &[&str], says: &[&str]) -> Value {
    json!({
        "path": format!("/o/acme/connections/new/form/?kind={kind}"), "status": 200, "signed_out": false,
        "name": if variant.starts_with("by_") { "links.detail" } else { "links.connect" }, "variant": variant,
        "fill": fields, "clicks": clicks, "says": says,
    })
}

fn filled(workspace: &str, user: &str, secret: &str) -> Value {
    json!({ "workspace": workspace, "user": user, "secret": secret })
}

fn secret(bitbucket: &Sandbox, new: NewCredential) -> String {
    let made = bitbucket.create_credential(&new).unwrap();
    made.secret.expose().to_owned()
}

fn scopes(kind: CredentialKind) -> Vec<String> {
    let wanted = features::wanted_scopes(kind).into_iter();
    wanted.map(str::to_owned).collect()
}

fn api_token(bitbucket: &Sandbox, leave_out: &str, expires_in: i64) -> String {
    let mut scopes = scopes(CredentialKind::ApiToken);
    scopes.retain(|scope| leave_out.is_empty() || !scope.contains(leave_out));
    let user = "ada".into();
    secret(
        bitbucket,
        NewCredential::ApiToken {
            user,
            scopes,
            expires_in,
        },
    )
}

/// What is wrong with a credential, and what a person can do.
fn mistakes(bitbucket: &Sandbox) -> Vec<Value> {
    let ada = "ada@acme.example";
    let try_token = |variant: &str, workspace: &str, token: &str, says: &[&str]| {
        connect(
            "api_token",
            variant,
            filled(workspace, ada, token),
            &[],
            says,
        )
    };
    let good = api_token(bitbucket, "", 900);
    vec![
        try_token(
            "wrong_token",
            "acme",
            "no-such-token",
            &["Nothing was kept", "e-mail of the Atlassian account"],
        ),
        try_token(
            "expired",
            "acme",
            &api_token(bitbucket, "", -1),
            &["Nothing was kept", "has expired"],
        ),
        try_token(
            "missing_scope",
            "acme",
            &api_token(bitbucket, "repository", 900),
            &["Nothing was kept", "read:repository:bitbucket"],
        ),
        try_token(
            "wrong_workspace",
            "nowhere",
            &good,
            &["Nothing was kept", "There is no such workspace"],
        ),
    ]
}

/// One connection by each kind.
fn ways(bitbucket: &Sandbox, back: &str) -> Vec<Value> {
    let consumer = consumer_at(bitbucket, true, None, back);
    let by_consumer = filled("acme", &consumer.key, consumer.secret.expose());
    let access = |kind: &str, variant: &str, title: &str, new: NewCredential| {
        let fields = json!({ "workspace": "acme", "secret": secret(bitbucket, new) });
        connect(
            kind,
            variant,
            fields,
            &[],
            &[title, "cannot be given the scope", "can be seen"],
        )
    };
    let (name, expires_in) = (String::from("Tracebucket"), None);
    let password = NewCredential::AppPassword {
        user: "ada".into(),
        scopes: scopes(CredentialKind::AppPassword),
    };
    bitbucket.allow_app_passwords(true).unwrap();
    let acts = ["It acts as", "can be seen"];
    vec![
        connect(
            "oauth_code",
            "by_consent",
            by_consumer.clone(),
            &["main a.button-primary", "button[value=grant]"],
            &["OAuth consumer, by a person", "It acts as acme Owner"],
        ),
        connect("client_credentials", "by_consumer", by_consumer, &[], &acts),
        connect(
            "api_token",
            "by_api_token",
            filled("acme", "ada@acme.example", &api_token(bitbucket, "", 900)),
            &[],
            &acts,
        ),
        connect(
            "app_password",
            "by_app_password",
            filled("acme", "ada", &secret(bitbucket, password)),
            &[],
            &acts,
        ),
        access(
            "workspace_token",
            "by_workspace_token",
            "Workspace access token",
            NewCredential::WorkspaceAccessToken {
                workspace: "acme".into(),
                name: name.clone(),
                scopes: scopes(CredentialKind::WorkspaceToken),
                expires_in,
            },
        ),
        access(
            "project_token",
            "by_project_token",
            "Project access token",
            NewCredential::ProjectAccessToken {
                workspace: "acme".into(),
                project: "MAIN".into(),
                name: name.clone(),
                scopes: scopes(CredentialKind::ProjectToken),
                expires_in,
            },
        ),
        access(
            "repository_token",
            "by_repository_token",
            "Repository access token",
            NewCredential::RepositoryAccessToken {
                repo: "acme/shop".into(),
                name,
                scopes: scopes(CredentialKind::RepositoryToken),
                expires_in,
            },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients and Chromium"]
async fn each_kind_and_each_mistake() {
    let (bitbucket, t, _folder) = bitbucket_and_app(Backend::Sqlite).await;
    let tenant = t.tenant("acme").await;
    let cookie = t.session(&tenant.owner).await;
    let mut pages = ways(&bitbucket, &t.url("/extensions/bitbucket/oauth/callback/"));
    let made = pages.len();
    pages.extend(mistakes(&bitbucket));
    let config = json!({ "base": t.base, "cookie": cookie, "pages": pages }).to_string();
    let script = client::node("browser/looks.mjs", &[config]);
    let said = client::run(script, "", Duration::from_secs(600)).await;
    assert_eq!(said.last().expect("a last word")["done"], true, "{said:?}");
    let path = "/api/0/organizations/acme/integrations/";
    let kept = t.get(path, &tenant.token, 200).await;
    assert_eq!(kept.as_array().unwrap().len(), made, "{kept}");
    expect_violations(&bitbucket, &[Rule::BasicCredential, Rule::Scope]);
}
