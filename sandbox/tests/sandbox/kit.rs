//! A sandbox with a workspace, a repository and an installed app.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bitbucket_sandbox::model::Secret;
use bitbucket_sandbox::protocol::{jwt, qsh};
use bitbucket_sandbox::{InstallRequest, NewRepository, Rule, Sandbox, SandboxConfig};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{App, KEY};

pub(crate) struct Kit {
    pub(crate) sandbox: Sandbox,
    pub(crate) app: App,
    pub(crate) client_key: String,
    pub(crate) http: reqwest::Client,
    pub(crate) dir: TempDir,
}

pub(crate) const REPO: &str = "/2.0/repositories/acme/shop";

pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// A right token of an app for Bitbucket.
pub(crate) fn token(
    app_key: &str,
    client_key: &str,
    secret: &str,
    method: &str,
    path: &str,
    query: &str,
) -> String {
    let claims = json!({
        "iss": app_key, "sub": client_key, "iat": now(), "exp": now() + 300,
        "qsh": qsh::hash(method, path, query),
    });
    jwt::sign(&claims, &Secret::new(secret))
}

impl Kit {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(SandboxConfig::new(dir.path().join("data"))).unwrap();
        sandbox.create_workspace("acme").unwrap();
        sandbox
            .create_repository(NewRepository::new("acme", "shop"))
            .await
            .unwrap();
        let app = App::start();
        let mut kit = Self {
            sandbox,
            app,
            client_key: String::new(),
            http: http(),
            dir,
        };
        kit.client_key = kit.install("acme").await;
        kit
    }

    pub(crate) async fn install(&self, workspace: &str) -> String {
        let installed = self.sandbox.install(self.request(workspace)).await.unwrap();
        assert!(installed.ok(), "{installed:?}");
        installed.client_key
    }

    pub(crate) fn request(&self, workspace: &str) -> InstallRequest {
        InstallRequest {
            workspace: workspace.to_owned(),
            descriptor_uri: Some(self.app.descriptor_uri()),
            ..InstallRequest::default()
        }
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("{}{target}", self.sandbox.url())
    }

    pub(crate) fn secret(&self) -> String {
        self.sandbox
            .shared_secret(&self.client_key)
            .unwrap()
            .expose()
            .to_owned()
    }

    /// A right `Authorization` for a call to `target` (path and query).
    pub(crate) fn authorization(&self, method: &str, target: &str) -> String {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        format!(
            "JWT {}",
            token(KEY, &self.client_key, &self.secret(), method, path, query)
        )
    }

    pub(crate) async fn send(&self, method: &str, target: &str, body: Option<Value>) -> Response {
        self.try_send(method, target, body).await.unwrap()
    }

    pub(crate) async fn try_send(
        &self,
        method: &str,
        target: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Response> {
        let mut request = self
            .http
            .request(
                Method::from_bytes(method.as_bytes()).unwrap(),
                self.url(target),
            )
            .header("Authorization", self.authorization(method, target));
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await
    }

    /// A call that must succeed with this status; gives its JSON.
    pub(crate) async fn call(
        &self,
        method: &str,
        target: &str,
        body: Option<Value>,
        status: u16,
    ) -> Value {
        let answer = self.send(method, target, body).await;
        let (got, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(got, status, "{method} {target}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub(crate) async fn get(&self, target: &str) -> Value {
        self.call("GET", target, None, 200).await
    }

    /// All values of a paged list, by following `next`.
    pub(crate) async fn all(&self, target: &str) -> Vec<Value> {
        let mut values = Vec::new();
        let mut target = Some(target.to_owned());
        while let Some(here) = target {
            let page = self.get(&here).await;
            values.extend(page["values"].as_array().unwrap().iter().cloned());
            target = page["next"]
                .as_str()
                .map(|next| next.strip_prefix(self.sandbox.url()).unwrap().to_owned());
        }
        values
    }

    /// Calls a control below `/_sandbox/`.
    pub(crate) async fn control(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .http
            .request(method, self.url(&format!("/_sandbox/{path}")));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.sandbox.violations(), [], "no rule may be broken");
    }

    pub(crate) fn broken(&self) -> Vec<Rule> {
        self.sandbox
            .take_violations()
            .into_iter()
            .map(|v| v.rule)
            .collect()
    }

    pub(crate) async fn settle(&self) {
        assert!(
            self.sandbox.settle(Duration::from_secs(20)).await,
            "deliveries did not settle"
        );
    }

    /// A hook on the shop repository that delivers to the app.
    pub(crate) async fn hook(&self, events: &[&str], secret: Option<&str>) -> Value {
        let body = json!({
            "description": "a hook", "url": format!("{}/hook", self.app.url), "active": true,
            "events": events, "secret": secret,
        });
        self.call("POST", &format!("{REPO}/hooks"), Some(body), 201)
            .await
    }

    /// A clone of the shop repository.
    pub(crate) fn clone(&self) -> Clone {
        let path = self
            .dir
            .path()
            .join(format!("clone-{}", uuid::Uuid::new_v4()));
        let clone = Clone { path };
        git(
            self.dir.path(),
            &[
                "clone",
                "-q",
                &self.url("/acme/shop.git"),
                clone.path.to_str().unwrap(),
            ],
        );
        clone.git(&["checkout", "-q", "-B", "main"]);
        clone
    }
}

pub(crate) struct Clone {
    pub(crate) path: PathBuf,
}

impl Clone {
    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.path, args)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.path.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// Commits everything; gives the hash.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn push(&self, args: &[&str]) {
        let mut all = vec!["push", "-q"];
        all.extend(args);
        self.git(&all);
    }
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = plain_git(dir, args).output().unwrap();
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Runs git and gives the record of its HTTP traffic, in lower case.
pub(crate) fn traced_git(dir: &Path, args: &[&str]) -> String {
    let output = plain_git(dir, args)
        .env("GIT_TRACE_CURL", "1")
        .env("GIT_TRACE_CURL_NO_DATA", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}");
    String::from_utf8_lossy(&output.stderr).to_lowercase()
}

/// git without the configuration of this machine.
fn plain_git(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .args([
            "-c",
            "user.name=Ada Lind",
            "-c",
            "user.email=ada@example.org",
        ])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("GIT_DIR");
    command
}
