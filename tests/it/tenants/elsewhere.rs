//! Routes whose path names no organization: what stands for the wall between tenants there.

use bitbucket_sandbox::InstallRequest;
use bitbucket_sandbox::protocol::qsh;
use serde_json::{Value, json};
use tracebucket::features::accounts::{self, Role, Scope, ScopeSet, UserId};
use tracebucket::kit::clock::Clock;
use tracebucket::kit::crypto::{Secret, hmac_sha256};

use super::side::{Side, newest};
use super::{OTHER, OWNER, Two, dump};
use crate::installs::{forge, hs256, install_body};
use crate::support::Tenant;
use crate::support::sdk::{auth, envelope, error, event_id};
use crate::support::world::hidden;

const SETUP: &str = "/extensions/bitbucket/setup/";
const CONFIRM: &str = "/extensions/bitbucket/setup/confirm/";
const CALLBACK: &str = "/extensions/bitbucket/oauth/callback/";
const TOKENS: &str = "/account/tokens/";
const INSTALLED: &str = "/extensions/bitbucket/installed/";
const UNINSTALLED: &str = "/extensions/bitbucket/uninstalled/";

/// Shows that a route keeps tenants apart; false when there is no story for it.
pub async fn holds(two: &Two, method: &str, path: &'static str) -> bool {
    match (method, path) {
        // Say the same to everybody, and name nobody.
        ("get", "/healthz" | "/readyz" | "/metrics" | "/extensions/bitbucket/descriptor/") => {
            two.names_nobody(path).await;
        }
        ("get", "/sign-in/") => two.names_nobody(path).await,
        ("get", "/static/{name}") => two.static_files_name_nobody().await,
        // Who asks decides: each sees its own organizations.
        ("get", "/") => two.root_leads_home().await,
        ("get", "/api/0/" | "/api/0/organizations/") => two.token_decides(path).await,
        // Gone once anybody has signed up.
        ("get" | "post", "/welcome/") => two.welcome_is_gone(method).await,
        // The code is for one new member of one organization; somebody else's session cannot use it.
        ("get" | "post", "/join/") => two.an_invitation_is_for_the_invited(method).await,
        // A session is one person's: it opens that person's organizations, and ends alone.
        ("post", "/sign-in/") => two.signing_in_opens_the_own_organization().await,
        ("post", "/sign-out/") => two.signing_out_ends_one_session().await,
        // A token is its person's.
        ("get" | "post", TOKENS) => two.own_tokens_are_listed(method).await,
        ("post", "/account/tokens/{token}/revoke/") => two.another_persons_token_stays().await,
        // The signature with the tenant's own secret decides.
        ("post", INSTALLED) => two.another_tenant_cannot_install().await,
        ("post", UNINSTALLED) => two.another_tenant_cannot_uninstall().await,
        ("post", "/extensions/bitbucket/organizations/{organization_id}/webhook/") => {
            two.another_hook_is_refused().await;
        }
        ("post", "/extensions/bitbucket-server/webhook/{organization_id}/{link}/") => {
            two.another_server_hook_is_refused().await;
        }
        // Bitbucket's token names the installation; session and role decide which organization it is linked to.
        ("get", SETUP) => two.setup_offers_own_organizations().await,
        ("get" | "post", CONFIRM) => two.confirm_needs_the_organization(method).await,
        // The state belongs to the session that asked for it.
        ("get", CALLBACK) => two.another_session_cannot_come_back().await,
        // The key is of one project.
        ("post", "/api/{project}/envelope/" | "/api/{project}/store/") => {
            two.key_opens_its_project_only(path).await;
        }
        // The answer to a browser's question before it sends: the same for any project, there or not.
        ("options", "/api/{project}/envelope/" | "/api/{project}/store/") => {
            two.preflight_is_the_same(path).await;
        }
        _ => return false,
    }
    true
}

fn now() -> i64 {
    Clock::system().now().secs()
}

/// A token of one tenant's installation, signed with any secret.
fn token(issuer: &str, secret: &str, method: &str, path: &str) -> String {
    let claims = json!({ "iss": issuer, "iat": now(), "exp": now() + 180, "qsh": qsh::hash(method, path, "") });
    forge(&hs256(), &claims, secret)
}

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

impl Two {
    /// Runs `what` and fails when the database is another afterwards.
    async fn unchanged(&self, what: &str, tries: impl Future<Output = ()>) {
        let before = self.dump.rows(&self.t).await;
        tries.await;
        dump::assert_same(&before, &self.dump.rows(&self.t).await, what);
    }

    async fn another_session_cannot_come_back(&self) {
        let form = [
            ("workspace", OWNER),
            ("user", "key"),
            ("secret", "secret"),
            ("csrf", self.a.session.csrf.as_str()),
        ];
        let path = format!("/o/{OWNER}/connections/new/form/?kind=oauth_code");
        let page = self
            .form_as(&path, &self.a.session.cookie, &form)
            .send()
            .await
            .unwrap();
        assert_eq!(page.status(), 200);
        let html = page.text().await.unwrap();
        let state = html.split("state=").nth(1).unwrap();
        let state: String = state.chars().take_while(char::is_ascii_hexdigit).collect();
        let back = format!("{CALLBACK}?state={state}&error=access_denied");
        self.unchanged(CALLBACK, async {
            for session in [&self.b.session, &self.of_both, &self.a_member] {
                assert_eq!(status(self.get_as(&back, &session.cookie)).await, 400);
            }
        })
        .await;
        // It is good for the one who asked, once.
        assert_eq!(
            status(self.get_as(&back, &self.a.session.cookie)).await,
            303
        );
        assert_eq!(
            status(self.get_as(&back, &self.a.session.cookie)).await,
            400
        );
    }

    fn secret(&self, side: &Side) -> String {
        self.bitbucket
            .shared_secret(&side.client_key)
            .unwrap()
            .expose()
            .to_owned()
    }

    fn get_as(&self, path: &str, cookie: &str) -> reqwest::RequestBuilder {
        self.t
            .http
            .get(self.t.url(path))
            .header("cookie", cookie)
            .header("accept", "text/html")
    }

    fn form_as(&self, path: &str, cookie: &str, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
        self.t
            .http
            .post(self.t.url(path))
            .header("cookie", cookie)
            .header("origin", &self.t.base)
            .form(form)
    }

    async fn names_nobody(&self, path: &str) {
        self.unchanged(path, async {
            let response = self.t.http.get(self.t.url(path)).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            let text = response.text().await.unwrap();
            assert!(
                !text.contains(OWNER) && !text.contains(OTHER),
                "{path}: {text}"
            );
        })
        .await;
    }

    async fn static_files_name_nobody(&self) {
        let page = self
            .t
            .http
            .get(self.t.url("/sign-in/"))
            .send()
            .await
            .unwrap();
        let html = page.text().await.unwrap();
        let names: Vec<&str> = html
            .split("\"/static/")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(!names.is_empty(), "{html}");
        for name in names {
            self.names_nobody(&format!("/static/{name}")).await;
        }
    }

    async fn root_leads_home(&self) {
        for side in [&self.a, &self.b] {
            let answer = self.get_as("/", &side.session.cookie).send().await.unwrap();
            assert_eq!(
                answer.headers()["location"],
                format!("/o/{}/errors/", side.word)
            );
        }
    }

    async fn token_decides(&self, path: &str) {
        for (side, other) in [(&self.a, OTHER), (&self.b, OWNER)] {
            for token in [&side.tenant.token, &side.user_token] {
                let answer = self.t.get(path, token, 200).await.to_string();
                assert!(!answer.contains(other), "{path}: {answer}");
            }
            let person = self.t.get(path, &side.user_token, 200).await.to_string();
            assert!(person.contains(side.word), "{path}: {person}");
        }
        self.t.get(path, &self.a_unscoped, 403).await;
    }

    async fn welcome_is_gone(&self, method: &str) {
        self.unchanged("/welcome/", async {
            let html = self
                .get_as("/sign-in/", "")
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            let csrf = hidden(&html, "csrf");
            let form = [
                ("org_name", "New"),
                ("org_slug", "new"),
                ("email", "new@new.example"),
                ("password", "a long enough password"),
                ("code", "0000"),
                ("csrf", &csrf),
            ];
            let request = match method {
                "get" => self.get_as("/welcome/", &self.b.session.cookie),
                _ => self.form_as("/welcome/", "", &form),
            };
            assert_eq!(status(request).await, 404);
        })
        .await;
    }

    async fn an_invitation_is_for_the_invited(&self, method: &str) {
        let code = self.a.invite(&self.t).await;
        let session = &self.b.session;
        self.unchanged("/join/", async {
            let path = format!("/join/?code={code}");
            let shown = self.get_as(&path, &session.cookie).send().await.unwrap();
            assert_eq!(shown.status(), 200);
            if method == "post" {
                let form = [("code", code.as_str()), ("csrf", &session.csrf)];
                let sent = self.form_as("/join/", &session.cookie, &form);
                let answer = sent.send().await.unwrap();
                assert_eq!(answer.status(), 200, "the page again, nothing done");
                let settings = format!("/o/{OWNER}/settings/");
                let own = self.get_as(&settings, &session.cookie);
                assert_eq!(status(own).await, 404);
            }
        })
        .await;
        let html = self.get_as(&format!("/join/?code={code}"), "");
        let csrf = hidden(&html.send().await.unwrap().text().await.unwrap(), "csrf");
        let form = [
            ("code", code.as_str()),
            ("csrf", &csrf),
            ("name", "Ina Invited"),
            ("password", "correct horse battery"),
        ];
        let joined = self.form_as("/join/", "", &form);
        assert_eq!(status(joined).await, 303, "the invited person can");
    }

    async fn signing_in_opens_the_own_organization(&self) {
        let hash = accounts::hash_password(Secret::new("correct horse battery".into()))
            .await
            .unwrap();
        let (org, now) = (self.b.tenant.org.id, self.t.app.clock.now());
        let email = format!("new@{OTHER}.example");
        let of = email.clone();
        let made = self.t.app.db.write(move |tx| {
            accounts::create_member(tx, org, &of, "Nia New", &hash, Role::Member, now)
        });
        made.await.unwrap();
        let html = self
            .get_as("/sign-in/", "")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let csrf = hidden(&html, "csrf");
        let next = format!("/o/{OWNER}/settings/");
        let form = [
            ("email", email.as_str()),
            ("password", "correct horse battery"),
            ("next", &next),
            ("csrf", &csrf),
        ];
        let answer = self.form_as("/sign-in/", "", &form).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let cookies = answer.headers().get_all("set-cookie").iter();
        let mut cookies = cookies.filter_map(|cookie| cookie.to_str().unwrap().split(';').next());
        let cookie = cookies
            .find(|cookie| cookie.starts_with("tracebucket="))
            .unwrap();
        assert_eq!(
            status(self.get_as(&format!("/o/{OTHER}/settings/"), cookie)).await,
            200
        );
        assert_eq!(status(self.get_as(&next, cookie)).await, 404);
    }

    async fn signing_out_ends_one_session(&self) {
        let session = super::Session::open(&self.t, &self.b.tenant.owner, OTHER).await;
        let form = [("csrf", session.csrf.as_str())];
        assert_eq!(
            status(self.form_as("/sign-out/", &session.cookie, &form)).await,
            303
        );
        let settings =
            |word: &str, cookie: &str| status(self.get_as(&format!("/o/{word}/settings/"), cookie));
        assert_eq!(settings(OTHER, &session.cookie).await, 303, "ended");
        assert_eq!(settings(OTHER, &self.b.session.cookie).await, 200);
        assert_eq!(settings(OWNER, &self.a.session.cookie).await, 200);
    }

    async fn own_tokens_are_listed(&self, method: &str) {
        for (side, other) in [(&self.a, OTHER), (&self.b, OWNER)] {
            let csrf = side.session.csrf.as_str();
            let form = [("name", side.word), ("scopes", "org:read"), ("csrf", csrf)];
            let request = match method {
                "post" => self.form_as(TOKENS, &side.session.cookie, &form),
                _ => self.get_as(TOKENS, &side.session.cookie),
            };
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let html = answer.text().await.unwrap();
            assert!(html.contains("<strong>own</strong>") && !html.contains(other));
        }
        let own = |cookie: &str| self.get_as(TOKENS, cookie).send();
        let html = own(&self.of_both.cookie)
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(!html.contains("<strong>own</strong>"), "of another member");
    }

    async fn another_persons_token_stays(&self) {
        let id = self.token_id(self.a.tenant.owner.id).await;
        let path = format!("{TOKENS}{id}/revoke/");
        self.unchanged(&path, async {
            for session in [&self.b.session, &self.of_both, &self.a_member] {
                let form = [("csrf", session.csrf.as_str())];
                assert_eq!(
                    status(self.form_as(&path, &session.cookie, &form)).await,
                    404
                );
            }
        })
        .await;
        let form = [("csrf", self.a.session.csrf.as_str())];
        let spare = self.spare_token(self.a.tenant.owner.id).await;
        let path = format!("{TOKENS}{spare}/revoke/");
        assert_eq!(
            status(self.form_as(&path, &self.a.session.cookie, &form)).await,
            303
        );
        self.t.get("/api/0/", &self.a.user_token, 200).await;
    }

    /// The newest token of a person.
    async fn token_id(&self, user: UserId) -> String {
        newest(&self.t, "api_tokens", &format!("user_id = {user}")).await
    }

    async fn spare_token(&self, user: UserId) -> String {
        let (now, scopes) = (self.t.app.clock.now(), ScopeSet::of(&[Scope::OrgRead]));
        let made =
            self.t.app.db.write(move |tx| {
                accounts::create_user_token(tx, user, "tests", "spare", scopes, now)
            });
        made.await.unwrap();
        self.token_id(user).await
    }

    async fn another_tenant_cannot_install(&self) {
        let again = self.bitbucket.install(InstallRequest {
            workspace: OWNER.into(),
            descriptor_uri: Some(self.t.url("/extensions/bitbucket/descriptor/")),
            client_key: Some(self.a.client_key.clone()),
            ..InstallRequest::default()
        });
        assert_eq!(again.await.unwrap().status, 200, "with its own signature");
        self.t.run_jobs().await;
        let uuid = "{e123f456-c789-4a10-b123-456789abcdef}";
        let body = install_body(&self.a.client_key, "a new secret", uuid);
        self.lifecycle_refuses(INSTALLED, &body, &[401, 403]).await;
    }

    async fn another_tenant_cannot_uninstall(&self) {
        let (spare, _) = self.a.fresh_install(&self.t, &self.bitbucket).await;
        assert_eq!(
            self.bitbucket.uninstall(&spare).await.unwrap().0,
            200,
            "with its own signature"
        );
        self.t.run_jobs().await;
        let body = json!({ "clientKey": self.a.client_key, "eventType": "uninstalled" });
        self.lifecycle_refuses(UNINSTALLED, &body, &[400]).await;
    }

    /// Unsigned, signed as the other tenant, and signed by the other tenant in the name of this one.
    async fn lifecycle_refuses(&self, path: &str, body: &Value, expected: &[u16]) {
        self.unchanged(path, async {
            let secret = self.secret(&self.b);
            for token in [
                None,
                Some(token(&self.b.client_key, &secret, "POST", path)),
                Some(token(&self.a.client_key, &secret, "POST", path)),
            ] {
                let mut request = self.t.http.post(self.t.url(path)).body(body.to_string());
                if let Some(token) = &token {
                    request = request.header("authorization", format!("JWT {token}"));
                }
                let got = status(request).await;
                assert!(expected.contains(&got), "{path}: {got} for {token:?}");
            }
        })
        .await;
    }

    async fn another_hook_is_refused(&self) {
        let (a, b) = (&self.a, &self.b);
        let own = a.webhook(&self.t, a.tenant.org.id, &a.hook_secret);
        assert_eq!(status(own).await, 204);
        self.t.run_jobs().await;
        self.unchanged("webhook", async {
            for (org, secret, expected) in [
                // The repository is not the other organization's, whoever signed.
                (b.tenant.org.id, &a.hook_secret, 404),
                (b.tenant.org.id, &b.hook_secret, 404),
                (a.tenant.org.id, &b.hook_secret, 400),
            ] {
                assert_eq!(status(a.webhook(&self.t, org, secret)).await, expected);
            }
        })
        .await;
    }

    async fn another_server_hook_is_refused(&self) {
        let a = self.a.server_repo(&self.t, &self.bitbucket).await;
        let b = self.b.server_repo(&self.t, &self.bitbucket).await;
        let (of_a, of_b) = (self.a.tenant.org.id, self.b.tenant.org.id);
        let send = |org, link: &str, number: &str, secret: &str| {
            let body = format!("{{\"repository\":{{\"id\":{number}}},\"changes\":[]}}");
            let tag = hex::encode(hmac_sha256(secret.as_bytes(), body.as_bytes()));
            let path = format!("/extensions/bitbucket-server/webhook/{org}/{link}/");
            let request = self.t.http.post(self.t.url(&path));
            status(
                request
                    .header("X-Event-Key", "repo:refs_changed")
                    .header("X-Request-Id", uuid::Uuid::new_v4().to_string())
                    .header("X-Hub-Signature", format!("sha256={tag}"))
                    .body(body),
            )
        };
        assert_eq!(send(of_a, &a.link, &a.number, &a.secret).await, 204);
        self.t.run_jobs().await;
        self.unchanged("webhook of a server", async {
            for (org, link, number, secret, expected) in [
                (of_b, &a.link, &a.number, &a.secret, 404),
                (of_b, &b.link, &a.number, &a.secret, 404),
                (of_a, &b.link, &a.number, &a.secret, 404),
                (of_a, &a.link, &b.number, &b.secret, 404),
                (of_a, &a.link, &a.number, &b.secret, 400),
            ] {
                assert_eq!(send(org, link, number, secret).await, expected);
            }
            let path = format!("/extensions/bitbucket-server/webhook/{of_b}/{}/", a.link);
            let ping = self.t.http.post(self.t.url(&path));
            let ping = ping.header("X-Event-Key", "diagnostics:ping").body("{}");
            assert_eq!(status(ping).await, 404);
        })
        .await;
    }

    async fn setup_offers_own_organizations(&self) {
        let link = self
            .bitbucket
            .signed_url(&self.a.client_key, SETUP)
            .unwrap();
        let page = async |cookie: &str| {
            let request = self
                .t
                .http
                .get(&link)
                .header("cookie", cookie)
                .header("accept", "text/html");
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.text().await.unwrap()
        };
        self.unchanged(SETUP, async {
            for (side, other) in [(&self.a, OTHER), (&self.b, OWNER)] {
                let html = page(&side.session.cookie).await;
                assert!(html.contains(&format!("value=\"{}\"", side.word)), "{html}");
                assert!(!html.contains(&format!("value=\"{other}\"")), "{html}");
            }
            let forged = token(&self.a.client_key, &self.secret(&self.b), "GET", SETUP);
            let request = self
                .get_as(SETUP, &self.b.session.cookie)
                .query(&[("jwt", forged)]);
            assert_eq!(status(request).await, 401);
        })
        .await;
    }

    async fn confirm_needs_the_organization(&self, method: &str) {
        let (_, redirect) = self.a.fresh_install(&self.t, &self.bitbucket).await;
        let page = self
            .t
            .http
            .get(&redirect)
            .header("cookie", &self.a.session.cookie);
        let html = page.send().await.unwrap().text().await.unwrap();
        let claim = hidden(&html, "claim");
        let request = |side: &Side| match method {
            "get" => self
                .get_as(CONFIRM, &side.session.cookie)
                .query(&[("claim", claim.as_str()), ("org", OWNER)]),
            _ => {
                let form = [
                    ("claim", claim.as_str()),
                    ("org", OWNER),
                    ("csrf", &side.session.csrf),
                ];
                self.form_as(CONFIRM, &side.session.cookie, &form)
            }
        };
        self.unchanged(CONFIRM, async {
            assert_eq!(status(request(&self.b)).await, 404);
        })
        .await;
        let ok = if method == "get" { 200 } else { 303 };
        assert_eq!(status(request(&self.a)).await, ok);
        self.unchanged(CONFIRM, async {
            assert_eq!(
                status(request(&self.b)).await,
                404,
                "also after its owner has confirmed"
            );
        })
        .await;
    }

    async fn key_opens_its_project_only(&self, path: &str) {
        let (a, b) = (&self.a.tenant, &self.b.tenant);
        let send = |project: &Tenant, key: &Tenant| {
            let (id, event) = (event_id(), error("TenantError", "pay"));
            let body = if path.ends_with("envelope/") {
                envelope(&id, &event)
            } else {
                event.to_string().into_bytes()
            };
            let path = path.replace("{project}", &project.project.id.to_string());
            let request = self
                .t
                .http
                .post(self.t.url(&path))
                .header("x-sentry-auth", auth(key));
            status(request.body(body))
        };
        assert_eq!(send(a, a).await, 200);
        assert_eq!(send(b, b).await, 200);
        self.unchanged(path, async {
            assert_eq!(send(a, b).await, 403);
            assert_eq!(send(b, a).await, 403);
        })
        .await;
    }

    async fn preflight_is_the_same(&self, path: &str) {
        self.unchanged(path, async {
            let mut answers = Vec::new();
            for project in [
                self.a.tenant.project.id.to_string(),
                self.b.tenant.project.id.to_string(),
                "987654".into(),
            ] {
                let url = self.t.url(&path.replace("{project}", &project));
                let request = self
                    .t
                    .http
                    .request(reqwest::Method::OPTIONS, url)
                    .header("origin", "https://shop.example");
                let answer = request.send().await.unwrap();
                let mut headers: Vec<String> = answer
                    .headers()
                    .iter()
                    .map(|(name, value)| format!("{name}: {value:?}"))
                    .collect();
                headers.retain(|line| {
                    !line.starts_with("date:") && !line.starts_with("x-request-id:")
                });
                answers.push((
                    answer.status().as_u16(),
                    headers,
                    answer.text().await.unwrap(),
                ));
            }
            assert_eq!(answers[0].0, 200);
            assert!(
                answers.iter().all(|answer| *answer == answers[0]),
                "{answers:?}"
            );
        })
        .await;
    }
}
