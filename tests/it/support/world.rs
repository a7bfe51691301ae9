//! The application with a Bitbucket beside it: install, link, repository, as a person would.

use std::path::{Path, PathBuf};
use std::process::Command;

use bitbucket_sandbox::{
    Access, InstallRequest, NewConsumer, NewCredential, NewMember, NewRepository, NewUser, Rule,
    Sandbox, SandboxConfig,
};
use serde_json::{Value, json};
use tracebucket::app::App;
use tracebucket::bitbucket::Credential;
use tracebucket::bitbucket::oauth::{Consumer, Grant, Granted};
use tracebucket::features::links::{self, CredentialKind, Given, NewConnection, check};

use super::{Backend, Options, PATIENCE, Tenant, TestApp, answer};

/// Bitbucket, the application, one organization linked to one workspace with one repository.
pub struct World {
    pub t: TestApp,
    pub bitbucket: Sandbox,
    pub tenant: Tenant,
    pub client_key: String,
    /// Id of the integration in `/api/0`.
    pub integration: String,
    /// Row id of the repository in `/api/0`.
    pub repo: String,
    pub folder: tempfile::TempDir,
}

/// A Bitbucket with the workspace `acme` and the empty repository `acme/shop`, and an application that knows
/// where it is.
pub async fn bitbucket_and_app(backend: Backend) -> (Sandbox, TestApp, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("bitbucket");
    let bitbucket = tokio::task::spawn_blocking(move || {
        Sandbox::start(SandboxConfig {
            strict: true,
            ..SandboxConfig::new(data)
        })
    })
    .await
    .unwrap()
    .unwrap();
    bitbucket.create_workspace("acme").unwrap();
    bitbucket
        .create_repository(NewRepository::new("acme", "shop"))
        .await
        .unwrap();
    let settings = vec![
        ("bitbucket_api_url", bitbucket.url().to_owned()),
        ("bitbucket_web_url", bitbucket.url().to_owned()),
    ];
    let t = TestApp::start_with(
        backend,
        Options {
            settings,
            clock: None,
        },
    )
    .await;
    (bitbucket, t, folder)
}

/// Installs the app in `workspace` through the real handshake; answers the client key and where the browser goes.
pub async fn install(t: &TestApp, bitbucket: &Sandbox, workspace: &str) -> (String, String) {
    let installed = bitbucket
        .install(InstallRequest {
            workspace: workspace.into(),
            descriptor_uri: Some(t.url("/extensions/bitbucket/descriptor/")),
            ..InstallRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(installed.status, 200, "{installed:?}");
    (
        installed.client_key.clone(),
        installed.redirect.expect("the app has a setup page"),
    )
}

/// The value of a hidden field of a page.
pub fn hidden(html: &str, name: &str) -> String {
    let marker = format!("name=\"{name}\" value=\"");
    let start = html
        .find(&marker)
        .unwrap_or_else(|| panic!("no field {name} in {html}"))
        + marker.len();
    let value = &html[start..];
    value[..value.find('"').unwrap()]
        .replace("&amp;", "&")
        .replace("&#x2F;", "/")
}

/// Walks the setup pages as the signed-in user of `cookie` and links the workspace to `org`.
pub async fn link_by_hand(t: &TestApp, redirect: &str, cookie: &str, org: &str) {
    let page = t
        .http
        .get(redirect)
        .header("cookie", cookie)
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 200, "the setup page");
    let html = page.text().await.unwrap();
    let claim = hidden(&html, "claim");
    let confirm = t
        .http
        .get(t.url("/extensions/bitbucket/setup/confirm/"))
        .query(&[("claim", claim.as_str()), ("org", org)])
        .header("cookie", cookie)
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(confirm.status(), 200, "the confirm page");
    let html = confirm.text().await.unwrap();
    let form = [
        ("claim", hidden(&html, "claim")),
        ("org", org.to_owned()),
        ("csrf", hidden(&html, "csrf")),
    ];
    let linked = t
        .http
        .post(t.url("/extensions/bitbucket/setup/confirm/"))
        .header("cookie", cookie)
        .header("origin", &t.base)
        .form(&form)
        .send()
        .await
        .unwrap();
    assert!(
        linked.status().is_redirection() || linked.status().is_success(),
        "{}",
        linked.status()
    );
}

/// Where the consumers of the tests send a browser back to.
pub const BACK: &str = "https://tracker.example/extensions/bitbucket/oauth/callback/";

/// A consumer of `acme` with what the product asks for, and Ada, who may allow it.
pub fn consumer(bitbucket: &Sandbox, private: bool, grace: Option<i64>) -> Consumer {
    consumer_at(bitbucket, private, grace, BACK)
}

/// The same with another callback URL.
pub fn consumer_at(
    bitbucket: &Sandbox,
    private: bool,
    grace: Option<i64>,
    callback: &str,
) -> Consumer {
    let ada = NewUser {
        display_name: "Ada Lind".into(),
        nickname: "ada".into(),
        email: Some("ada@acme.example".into()),
    };
    bitbucket.create_user(&ada).unwrap();
    let member =
        json!({ "workspace": "acme", "user": "ada", "role": "owner", "permission": "admin" });
    bitbucket
        .add_member(&serde_json::from_value::<NewMember>(member).unwrap())
        .unwrap();
    let scopes = links::features::wanted_scopes(CredentialKind::OauthCode);
    let made = bitbucket
        .create_consumer(&NewConsumer {
            workspace: "acme".into(),
            name: "Tracebucket".into(),
            callback_url: Some(callback.into()),
            scopes: scopes.into_iter().map(str::to_owned).collect(),
            private,
            refresh_grace: grace,
            ..NewConsumer::default()
        })
        .unwrap();
    Consumer {
        key: made.key.clone(),
        secret: made.secret.expose().into(),
    }
}

/// What Ada's consent gives, without the browser.
pub async fn allow(app: &App, bitbucket: &Sandbox, consumer: &Consumer) -> Granted {
    let code = bitbucket
        .grant(&Access {
            key: consumer.key.clone(),
            user: "ada".into(),
            redirect_uri: Some(BACK.into()),
        })
        .unwrap();
    let code = code.expose().into();
    let grant = Grant::Code {
        consumer,
        code: &code,
        redirect_uri: BACK,
    };
    app.bitbucket.exchange(&grant).await.unwrap()
}

/// A way to connect without the Connect app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Oauth,
    ApiToken,
    WorkspaceToken,
}

/// The credential of a way, and what signs with it.
async fn credential(
    t: &TestApp,
    bitbucket: &Sandbox,
    way: Way,
) -> (CredentialKind, Given, Credential) {
    match way {
        Way::Oauth => {
            let consumer = consumer(bitbucket, false, None);
            let granted = allow(&t.app, bitbucket, &consumer).await;
            let signs = Credential::Bearer(granted.access.clone());
            (
                CredentialKind::OauthCode,
                Given::OauthCode { consumer, granted },
                signs,
            )
        }
        Way::ApiToken => {
            consumer(bitbucket, false, None);
            let scopes = links::features::wanted_scopes(CredentialKind::ApiToken);
            let made = bitbucket
                .create_credential(&NewCredential::ApiToken {
                    user: "ada".into(),
                    scopes: scopes.into_iter().map(str::to_owned).collect(),
                    expires_in: 86_400,
                })
                .unwrap();
            let (email, token) = ("ada@acme.example".to_owned(), made.secret.expose());
            let signs = Credential::Basic {
                user: email.clone(),
                password: token.into(),
            };
            let given = Given::ApiToken {
                email,
                token: token.into(),
            };
            (CredentialKind::ApiToken, given, signs)
        }
        Way::WorkspaceToken => {
            let scopes = links::features::wanted_scopes(CredentialKind::WorkspaceToken);
            let made = bitbucket
                .create_credential(&NewCredential::WorkspaceAccessToken {
                    workspace: "acme".into(),
                    name: "tracebucket".into(),
                    scopes: scopes.into_iter().map(str::to_owned).collect(),
                    expires_in: None,
                })
                .unwrap();
            let token = made.secret.expose();
            let given = Given::AccessToken {
                token: token.into(),
            };
            (
                CredentialKind::WorkspaceToken,
                given,
                Credential::Bearer(token.into()),
            )
        }
    }
}

impl World {
    /// The same as [`World::new`] without the Connect app.
    pub async fn over(backend: Backend, way: Way) -> Self {
        let (bitbucket, t, folder) = bitbucket_and_app(backend).await;
        let tenant = t.tenant("acme").await;
        let (kind, given, signs) = credential(&t, &bitbucket, way).await;
        let cloud = t.app.bitbucket.for_credential(signs);
        let report = check::run(&cloud, kind, "acme", None, t.app.clock.now()).await;
        assert!(report.ok, "{report:#?}");
        for feature in &report.features {
            let possible = way != Way::WorkspaceToken || feature.key != "tickets";
            assert_eq!(
                feature.state,
                if possible { "on" } else { "off" },
                "{feature:?}"
            );
        }
        let new = NewConnection {
            kind,
            credential: given,
            workspace_uuid: report.workspace_uuid.unwrap(),
            workspace: report.workspace.unwrap(),
            label: format!("{way:?}"),
            purpose: String::new(),
            owner: Some(tenant.owner.id),
            private: false,
            expires_at: None,
        };
        let link = links::connect_named(&t.app, tenant.org.id, new, "Olga Owner")
            .await
            .unwrap();
        t.run_jobs().await;
        let mut world = Self {
            t,
            bitbucket,
            tenant,
            client_key: String::new(),
            integration: link.id.to_string(),
            repo: String::new(),
            folder,
        };
        world.repo = world.add_shop().await;
        world
    }

    async fn add_shop(&self) -> String {
        let body = json!({ "provider": "integrations:bitbucket", "installation": self.integration, "identifier": "acme/shop" });
        let path = "/api/0/organizations/acme/repos/";
        let repo = self
            .t
            .send("POST", path, &self.tenant.token, body, 201)
            .await;
        self.t.run_jobs().await;
        repo["id"].as_str().unwrap().to_owned()
    }

    /// Everything up to a repository with a live hook.
    pub async fn new(backend: Backend) -> Self {
        let (bitbucket, t, folder) = bitbucket_and_app(backend).await;
        let tenant = t.tenant("acme").await;
        let (client_key, redirect) = install(&t, &bitbucket, "acme").await;
        let cookie = t.session(&tenant.owner).await;
        link_by_hand(&t, &redirect, &cookie, "acme").await;
        t.run_jobs().await;
        let integrations = t
            .get(
                "/api/0/organizations/acme/integrations/",
                &tenant.token,
                200,
            )
            .await;
        let integration = integrations[0]["id"]
            .as_str()
            .expect("an integration")
            .to_owned();
        let body = json!({ "provider": "integrations:bitbucket", "installation": integration, "identifier": "acme/shop" });
        let repo = t
            .send(
                "POST",
                "/api/0/organizations/acme/repos/",
                &tenant.token,
                body,
                201,
            )
            .await;
        t.run_jobs().await;
        let repo = repo["id"].as_str().unwrap().to_owned();
        Self {
            t,
            bitbucket,
            tenant,
            client_key,
            integration,
            repo,
            folder,
        }
    }

    /// Sends an error event as an SDK would; answers its event id.
    pub async fn crash(&self, kind: &str, value: &str, function: &str) -> String {
        let id = tracebucket::kit::crypto::random_hex(16);
        let event = json!({
            "event_id": id, "platform": "python", "level": "error", "timestamp": 1_795_305_604.5,
            "exception": { "values": [{ "type": kind, "value": value, "stacktrace": { "frames": [
                { "filename": "shop/app.py", "function": "handle", "lineno": 12, "in_app": true, "context_line": "    checkout(cart)" },
                { "filename": "shop/pricing.py", "function": function, "lineno": 48, "in_app": true,
                  "context_line": "    share = voucher / len(items)" },
            ] } }] },
        })
        .to_string();
        let envelope = format!(
            "{{\"event_id\":\"{id}\"}}\n{{\"type\":\"event\",\"length\":{}}}\n{event}\n",
            event.len()
        );
        let path = format!("/api/{}/envelope/", self.tenant.project.id);
        let auth = format!(
            "Sentry sentry_key={}, sentry_version=7, sentry_client=test/1",
            self.tenant.key.public_key
        );
        answer(
            self.t
                .http
                .post(self.t.url(&path))
                .header("x-sentry-auth", auth)
                .body(envelope),
            200,
        )
        .await;
        id
    }

    /// The newest group of the organization, whatever its state.
    pub async fn newest_group(&self) -> Value {
        let groups = self
            .t
            .get(
                "/api/0/organizations/acme/issues/?query=&sort=new",
                &self.tenant.token,
                200,
            )
            .await;
        groups[0].clone()
    }

    /// One group.
    pub async fn group(&self, id: &str) -> Value {
        self.t
            .get(
                &format!("/api/0/organizations/acme/issues/{id}/"),
                &self.tenant.token,
                200,
            )
            .await
    }

    /// The ticket endpoint of a group.
    pub fn ticket_path(&self, group: &str) -> String {
        format!(
            "/api/0/organizations/acme/issues/{group}/integrations/{}/",
            self.integration
        )
    }

    /// Clones the repository with real git.
    pub fn clone_repo(&self, name: &str) -> PathBuf {
        let target = self.folder.path().join(name);
        git(
            self.folder.path(),
            &["clone", "-q", &self.bitbucket.clone_url("acme/shop"), name],
        );
        target
    }

    /// Waits until Bitbucket has delivered its webhooks, then runs our jobs.
    pub async fn settle(&self) {
        assert!(
            self.bitbucket.settle(PATIENCE).await,
            "webhooks were delivered"
        );
        self.t.run_jobs().await;
    }

    /// Nothing went wrong that nobody looked at.
    pub async fn finish(&self) {
        let violations = self.bitbucket.take_violations();
        assert!(violations.is_empty(), "{violations:#?}");
        super::schemas::hold(&self.bitbucket.take_answers());
        let dead = self.t.dead_jobs().await;
        assert!(dead.is_empty(), "{dead:#?}");
    }
}

/// Judges the rules of Bitbucket that were broken so far, and forgets them: every one is among `caused`, which the test
/// broke on purpose, and each of those was broken.
pub fn expect_violations(bitbucket: &Sandbox, caused: &[Rule]) {
    let violations = bitbucket.take_violations();
    let others: Vec<_> = (violations
        .iter()
        .filter(|found| !caused.contains(&found.rule)))
    .collect();
    assert!(others.is_empty(), "{others:#?}");
    for rule in caused {
        let met = violations.iter().any(|violation| violation.rule == *rule);
        assert!(met, "{rule:?} was not broken: {violations:#?}");
    }
}

/// Runs git as Dora Dev; panics with its words when it fails.
pub fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args([
            "-c",
            "user.name=Dora Dev",
            "-c",
            "user.email=dora@acme.example",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git is installed");
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Writes a file and commits it.
pub fn commit(repo: &Path, file: &str, content: &str, message: &str) -> String {
    std::fs::write(repo.join(file), content).unwrap();
    git(repo, &["add", "."]);
    git(repo, &["commit", "-q", "-m", message]);
    git(repo, &["rev-parse", "HEAD"])
}
