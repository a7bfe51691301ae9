//! API tokens, access tokens, app passwords, and the scopes of each operation.

use bitbucket_sandbox::model::{Credential, Permission};
use bitbucket_sandbox::protocol::operations;
use bitbucket_sandbox::{NewCredential, NewRepository, RateLimit, Rule};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::kit::{Kit, REPO};
use crate::rules::Book;

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

impl Kit {
    pub(crate) fn api_token(&self, user: &str, scopes: &[&str]) -> Credential {
        let new = NewCredential::ApiToken {
            user: user.into(),
            scopes: texts(scopes),
            expires_in: 3600,
        };
        self.sandbox.create_credential(&new).unwrap()
    }

    fn repository_token(&self, scopes: &[&str], expires_in: Option<i64>) -> Credential {
        let new = NewCredential::RepositoryAccessToken {
            repo: "acme/shop".into(),
            name: "Build bot".into(),
            scopes: texts(scopes),
            expires_in,
        };
        self.sandbox.create_credential(&new).unwrap()
    }

    pub(crate) fn workspace_token(&self, scopes: &[&str]) -> Credential {
        let new = NewCredential::WorkspaceAccessToken {
            workspace: "acme".into(),
            name: "Tracker".into(),
            scopes: texts(scopes),
            expires_in: None,
        };
        self.sandbox.create_credential(&new).unwrap()
    }

    /// A call as this credential is used: basic when it has a login.
    pub(crate) async fn with(
        &self,
        credential: &Credential,
        method: &str,
        target: &str,
        body: Option<Value>,
    ) -> Response {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, self.url(target));
        let secret = credential.secret.expose();
        let request = match &credential.login {
            Some(login) => request.basic_auth(login, Some(secret)),
            None => request.bearer_auth(secret),
        };
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await.unwrap()
    }

    async fn second(&self) {
        let new = NewRepository {
            project: "WEB".into(),
            ..NewRepository::new("acme", "site")
        };
        self.sandbox.create_repository(new).await.unwrap();
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers()[name].to_str().unwrap()
}

async fn names(answer: Response) -> Vec<String> {
    let body: Value = answer.json().await.unwrap();
    let values = body["values"].as_array().unwrap();
    values
        .iter()
        .map(|v| v["slug"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn an_api_token_has_granular_scopes() {
    let kit = Kit::start().await;
    let ada = kit.person("ada", Permission::Admin);
    let token = kit.api_token(
        "ada",
        &["read:repository:bitbucket", "write:issue:bitbucket"],
    );
    assert_eq!(token.login.as_deref(), Some("ada@example.org"));
    let answer = kit.with(&token, "GET", REPO, None).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        header(&answer, "x-oauth-scopes"),
        "read:repository:bitbucket, write:issue:bitbucket"
    );
    assert_eq!(
        header(&answer, "x-accepted-oauth-scopes"),
        "read:repository:bitbucket"
    );
    kit.assert_clean();

    // `write` does not imply `read`, and creation needs both.
    let issue = Some(json!({"title": "x"}));
    let refused = kit
        .with(&token, "POST", &format!("{REPO}/issues"), issue.clone())
        .await;
    assert_eq!(refused.status(), 403);
    assert_eq!(
        header(&refused, "x-accepted-oauth-scopes"),
        "read:issue:bitbucket, write:issue:bitbucket"
    );
    let body: Value = refused.json().await.unwrap();
    assert_eq!(
        body["error"]["detail"],
        json!({
            "required": ["read:issue:bitbucket", "write:issue:bitbucket"],
            "granted": ["read:repository:bitbucket", "write:issue:bitbucket"],
        })
    );
    assert_eq!(kit.broken(), [Rule::Scope]);

    let scopes = [
        "read:issue:bitbucket",
        "write:issue:bitbucket",
        "read:webhook:bitbucket",
        "write:webhook:bitbucket",
    ];
    let token = kit.api_token("ada", &scopes);
    let made = kit
        .with(&token, "POST", &format!("{REPO}/issues"), issue)
        .await;
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    assert_eq!(made["reporter"]["uuid"], ada);
    kit.assert_clean();
    // A hook needs the read scope of its events.
    let hook = |event: &str| Some(json!({"url": "https://a.example/", "events": [event]}));
    let hooks = format!("{REPO}/hooks");
    assert_eq!(
        kit.with(&token, "POST", &hooks, hook("issue:created"))
            .await
            .status(),
        201
    );
    assert_eq!(
        kit.with(&token, "POST", &hooks, hook("repo:push"))
            .await
            .status(),
        403
    );
    assert_eq!(kit.broken(), [Rule::Scope]);
}

#[tokio::test]
async fn access_tokens_end_at_their_resource() {
    let kit = Kit::start().await;
    kit.second().await;
    let site = "/2.0/repositories/acme/site";
    let list = "/2.0/repositories/acme";
    let own = kit.repository_token(&["repository", "webhook"], None);
    assert_eq!(kit.with(&own, "GET", REPO, None).await.status(), 200);
    assert_eq!(
        names(kit.with(&own, "GET", list, None).await).await,
        ["shop"]
    );
    assert_eq!(
        kit.with(&own, "GET", &format!("{REPO}/hooks"), None)
            .await
            .status(),
        200
    );
    kit.assert_clean();
    assert_eq!(kit.with(&own, "GET", site, None).await.status(), 404);
    assert_eq!(kit.broken(), [Rule::ForeignWorkspace]);
    assert_eq!(
        kit.with(&own, "GET", "/2.0/workspaces/acme/hooks", None)
            .await
            .status(),
        403
    );
    assert_eq!(kit.broken(), [Rule::Permission]);

    let project = NewCredential::ProjectAccessToken {
        workspace: "acme".into(),
        project: "WEB".into(),
        name: "Web".into(),
        scopes: texts(&["project"]),
        expires_in: None,
    };
    let project = kit.sandbox.create_credential(&project).unwrap();
    let shown = kit.with(&project, "GET", site, None).await;
    assert_eq!(shown.status(), 200, "project implies repository");
    let shown: Value = shown.json().await.unwrap();
    assert_eq!(shown["project"]["key"], "WEB");
    assert_eq!(
        names(kit.with(&project, "GET", list, None).await).await,
        ["site"]
    );
    kit.assert_clean();
    assert_eq!(kit.with(&project, "GET", REPO, None).await.status(), 404);
    assert_eq!(kit.broken(), [Rule::ForeignWorkspace]);

    let workspace = kit.workspace_token(&["repository", "webhook"]);
    assert_eq!(
        names(kit.with(&workspace, "GET", list, None).await).await,
        ["shop", "site"]
    );
    let hooks = kit
        .with(&workspace, "GET", "/2.0/workspaces/acme/hooks", None)
        .await;
    assert_eq!(hooks.status(), 200);
    assert!(
        !hooks.headers().contains_key("x-ratelimit-limit"),
        "no limit is set"
    );
    kit.assert_clean();

    kit.sandbox.revoke_credential(&workspace.id).unwrap();
    let gone = kit.with(&workspace, "GET", list, None).await;
    assert_eq!(gone.status(), 401);
    let text = gone.text().await.unwrap();
    assert!(
        text.contains("Token is invalid, expired, or not supported"),
        "{text}"
    );
    assert_eq!(kit.broken(), [Rule::BearerToken]);
}

#[tokio::test]
async fn an_app_password_works_on_a_compatible_server() {
    let kit = Kit::start().await;
    kit.person("ada", Permission::Write);
    let new = NewCredential::AppPassword {
        user: "ada".into(),
        scopes: texts(&["issue:write"]),
    };
    let password = kit.sandbox.create_credential(&new).unwrap();
    assert_eq!(password.login.as_deref(), Some("ada"));
    let issues = format!("{REPO}/issues");
    let refused = kit.with(&password, "GET", &issues, None).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.text().await.unwrap(), "");
    assert_eq!(kit.broken(), [Rule::AppPassword]);
    let on = json!({"app_passwords": true});
    assert_eq!(kit.control("POST", "server", Some(on)).await.0, 204);
    let answer = kit.with(&password, "GET", &issues, None).await;
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "x-oauth-scopes")),
        (200, "issue:write")
    );
    kit.assert_clean();
}

#[tokio::test]
async fn hooks_are_for_administrators() {
    let kit = Kit::start().await;
    kit.person("ada", Permission::Write);
    kit.person("bo", Permission::Admin);
    let scopes = ["read:webhook:bitbucket"];
    let (ada, bo) = (kit.api_token("ada", &scopes), kit.api_token("bo", &scopes));
    let owner = kit.sandbox.create_user(&bitbucket_sandbox::NewUser {
        display_name: "Cy".into(),
        nickname: "cy".into(),
        email: Some("cy@example.org".into()),
    });
    assert!(owner.is_ok());
    let (status, _) = kit
        .control(
            "POST",
            "members",
            Some(json!({"workspace": "acme", "user": "cy", "role": "owner"})),
        )
        .await;
    assert_eq!(status, 204);
    let cy = kit.api_token("cy", &scopes);
    let hooks = format!("{REPO}/hooks");
    for (who, repository, workspace) in [(&ada, 403, 403), (&bo, 200, 403), (&cy, 200, 200)] {
        assert_eq!(
            kit.with(who, "GET", &hooks, None).await.status(),
            repository,
            "{who:?}"
        );
        let answer = kit
            .with(who, "GET", "/2.0/workspaces/acme/hooks", None)
            .await;
        assert_eq!(answer.status(), workspace, "{who:?}");
    }
    assert_eq!(kit.broken(), [Rule::Permission; 3]);
}

#[tokio::test]
async fn limits_are_counted_for_each_credential() {
    let kit = Kit::start().await;
    let (one, two) = (
        kit.repository_token(&["repository"], None),
        kit.repository_token(&["repository"], None),
    );
    let limit = json!({"limit": 6, "retry_after": 9, "credential": one.id});
    assert_eq!(kit.control("POST", "limits", Some(limit)).await.0, 204);
    for near in ["false", "false", "false", "false", "true", "true"] {
        let answer = kit.with(&one, "GET", REPO, None).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "x-ratelimit-limit"), "6");
        assert_eq!(header(&answer, "x-ratelimit-resource"), "api");
        assert_eq!(header(&answer, "x-ratelimit-nearlimit"), near);
    }
    let over = kit.with(&one, "GET", REPO, None).await;
    assert_eq!(
        (over.status().as_u16(), header(&over, "retry-after")),
        (429, "9")
    );
    let free = kit.with(&two, "GET", REPO, None).await;
    assert_eq!(free.status(), 200);
    assert!(!free.headers().contains_key("x-ratelimit-limit"));

    // A person's token counts by the person, and is told nothing.
    kit.person("ada", Permission::Write);
    let scopes = ["read:repository:bitbucket"];
    let (first, second) = (kit.api_token("ada", &scopes), kit.api_token("ada", &scopes));
    kit.sandbox.set_limit(Some(RateLimit {
        limit: 1,
        window_seconds: 60,
        retry_after: None,
        credential: Some(format!("user {}", first.account)),
    }));
    let answer = kit.with(&first, "GET", REPO, None).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("x-ratelimit-limit"));
    assert_eq!(kit.with(&second, "GET", REPO, None).await.status(), 429);
    kit.assert_clean();
}

/// Calls every served operation without any scope: all that need one refuse and name it.
#[tokio::test]
async fn every_operation_names_its_scopes() {
    let kit = Kit::start().await;
    let bare = kit.repository_token(&["runner"], None);
    kit.person("ada", Permission::Admin);
    let granular = kit.api_token("ada", &["read:runner:bitbucket"]);
    let mut tried = 0;
    for operation in operations::all().filter(|o| o.is_guarded() && o.api_token) {
        let path = operation
            .path
            .replace("{workspace}", "acme")
            .replace("{repo_slug}", "shop");
        // The sandbox reads these as numbers of issues.
        let shadowed = path.ends_with("/import") || path.ends_with("/export");
        if shadowed
            || path.contains('{')
            || path.contains("/permission")
            || !path.contains("acme/shop")
        {
            continue;
        }
        let answer = kit
            .with(&bare, operation.method, &format!("/2.0{path}"), None)
            .await;
        if matches!(answer.status().as_u16(), 404 | 405) {
            kit.broken();
            continue;
        }
        for (who, scopes) in [
            (&bare, &operation.classic),
            (&granular, &operation.granular),
        ] {
            let answer = kit
                .with(who, operation.method, &format!("/2.0{path}"), None)
                .await;
            assert_eq!(answer.status(), 403, "{} {path}", operation.method);
            assert_eq!(
                header(&answer, "x-accepted-oauth-scopes"),
                scopes.join(", ")
            );
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body["error"]["detail"]["required"], json!(scopes), "{path}");
        }
        tried += 1;
    }
    assert!(tried >= 10, "{tried}");
}

#[tokio::test]
async fn credentials_come_by_control() {
    let kit = Kit::start().await;
    kit.person("ada", Permission::Write);
    let new = json!({
        "kind": "api_token", "user": "ada", "scopes": ["read:repository:bitbucket"], "expires_in": 60,
    });
    let (status, made) = kit.control("POST", "credentials", Some(new)).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        made["label"],
        format!("user {}", made["account"].as_str().unwrap())
    );
    let secret = made["token"].as_str().unwrap();
    let call = || {
        let request = kit.http.get(kit.url(REPO));
        request.basic_auth("ada@example.org", Some(secret)).send()
    };
    assert_eq!(call().await.unwrap().status(), 200);
    let (_, state) = kit.control("GET", "state", None).await;
    assert!(!state.to_string().contains(secret));
    let id = json!({"id": made["id"]});
    assert_eq!(
        kit.control("POST", "credentials/revoke", Some(id)).await.0,
        204
    );
    assert_eq!(call().await.unwrap().status(), 401);
    kit.broken();
    let token = |kind: &str, scope: &str| json!({"kind": kind, "workspace": "acme", "project": "X", "name": "x", "scopes": [scope]});
    for wrong in [
        json!({"kind": "password", "user": "ada"}),
        json!({"kind": "api_token", "user": "ada", "scopes": []}),
        json!({"kind": "api_token", "user": "ada", "scopes": ["repository"], "expires_in": 60}),
        json!({"kind": "api_token", "user": "ada", "scopes": [], "expires_in": 40_000_000}),
        json!({"kind": "api_token", "user": "nobody", "scopes": [], "expires_in": 60}),
        json!({"kind": "repository_access_token", "repo": "acme/none", "name": "x", "scopes": []}),
        json!({"kind": "repository_access_token", "repo": "acme/shop", "name": "x", "scopes": ["account"]}),
        token("project_access_token", "account"),
        token("project_access_token", "issue"),
    ] {
        let answer = kit
            .control("POST", "credentials", Some(wrong.clone()))
            .await;
        assert_eq!(answer.0, 400, "{wrong}");
    }
    kit.assert_clean();
}

/// Every wrong call of this part.
pub(crate) async fn rules(book: &mut Book) {
    let token = book.kit.api_token("ada", &["read:repository:bitbucket"]);
    let secret = token.secret.expose().to_owned();
    for (name, password) in [
        ("ada@example.org", "wrong"),
        ("ada", secret.as_str()),
        ("bo@example.org", secret.as_str()),
    ] {
        let request = book
            .kit
            .http
            .get(book.kit.url(REPO))
            .basic_auth(name, Some(password));
        let answer = request.send().await.unwrap();
        let got = answer.status().as_u16();
        assert!(answer.text().await.unwrap().starts_with("Login failed"));
        book.expect(Rule::BasicCredential, 401, got, name);
    }
    let request = book
        .kit
        .http
        .get(book.kit.url(REPO))
        .header("Authorization", "Basic ***");
    let got = request.send().await.unwrap().status().as_u16();
    book.expect(Rule::BasicCredential, 401, got, "not base64");
    let request = book.kit.http.get(book.kit.url(REPO)).bearer_auth(&secret);
    let got = request.send().await.unwrap().status().as_u16();
    book.expect(
        Rule::BearerToken,
        401,
        got,
        "an API token is no bearer token",
    );
    let old = book.kit.repository_token(&["repository"], Some(-1));
    let got = book
        .kit
        .with(&old, "GET", REPO, None)
        .await
        .status()
        .as_u16();
    book.expect(Rule::BearerToken, 401, got, "expired");
    book.kit
        .sandbox
        .set_clock(Some(chrono::Utc::now() + chrono::Duration::hours(2)));
    let got = book
        .kit
        .with(&token, "GET", REPO, None)
        .await
        .status()
        .as_u16();
    book.expect(Rule::BasicCredential, 401, got, "expired");
    book.kit.sandbox.set_clock(None);

    let new = NewCredential::AppPassword {
        user: "ada".into(),
        scopes: Vec::new(),
    };
    let password = book.kit.sandbox.create_credential(&new).unwrap();
    let got = book
        .kit
        .with(&password, "GET", REPO, None)
        .await
        .status()
        .as_u16();
    book.expect(Rule::AppPassword, 401, got, "removed");
    let hooks = book.kit.api_token("ada", &["read:webhook:bitbucket"]);
    let got = book
        .kit
        .with(&hooks, "GET", &format!("{REPO}/hooks"), None)
        .await;
    book.expect(
        Rule::Permission,
        403,
        got.status().as_u16(),
        "not an administrator",
    );
}
