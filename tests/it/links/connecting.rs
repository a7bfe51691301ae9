//! Connecting by the forms of the console, without script.

use bitbucket_sandbox::{Access, NewCredential, Rule};
use serde_json::Value;
use tracebucket::features::links::{CredentialKind, features};

use super::INTEGRATIONS;
use crate::support::world::{bitbucket_and_app, consumer_at, expect_violations, hidden};
use crate::support::{Backend, TestApp};

struct Browser<'a> {
    t: &'a TestApp,
    cookie: String,
}

struct Page {
    status: u16,
    location: String,
    text: String,
}

impl Browser<'_> {
    async fn read(request: reqwest::RequestBuilder) -> Page {
        let response = request.send().await.unwrap();
        let location = response.headers().get("location");
        Page {
            status: response.status().as_u16(),
            location: location
                .map(|to| to.to_str().unwrap().to_owned())
                .unwrap_or_default(),
            text: response.text().await.unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Page {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            self.t.url(path)
        };
        Self::read(
            self.t
                .http
                .get(url)
                .header("cookie", &self.cookie)
                .header("accept", "text/html"),
        )
        .await
    }

    /// Fills the form that is at an address.
    async fn fill(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let csrf = hidden(&page.text, "csrf");
        let form: Vec<(&str, &str)> = fields
            .iter()
            .copied()
            .chain([("csrf", csrf.as_str())])
            .collect();
        let request = self
            .t
            .http
            .post(self.t.url(path))
            .header("cookie", &self.cookie);
        Self::read(
            request
                .header("origin", &self.t.base)
                .header("accept", "text/html")
                .form(&form),
        )
        .await
    }
}

fn form(kind: &str) -> String {
    format!("/o/acme/connections/new/form/?kind={kind}")
}

async fn connecting(backend: Backend) {
    let (bitbucket, t, _folder) = bitbucket_and_app(backend).await;
    let tenant = t.tenant("acme").await;
    let browser = Browser {
        cookie: t.session(&tenant.owner).await,
        t: &t,
    };
    let choice = browser.get("/o/acme/connections/new/").await;
    assert_eq!(choice.status, 200);
    for kind in [
        "oauth_code",
        "api_token",
        "workspace_token",
        "repository_token",
        "data_center",
    ] {
        assert!(choice.text.contains(&form(kind)), "{kind}");
    }
    assert_eq!(browser.get(&form("connect_jwt")).await.status, 404);

    // An API token: first a wrong one, then the good one.
    let back = t.url("/extensions/bitbucket/oauth/callback/");
    let own = consumer_at(&bitbucket, true, None, &back);
    let scopes = features::wanted_scopes(CredentialKind::ApiToken);
    let token = bitbucket
        .create_credential(&NewCredential::ApiToken {
            user: "ada".into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            expires_in: 86_400,
        })
        .unwrap();
    let with = |secret| {
        [
            ("workspace", "acme"),
            ("user", "ada@acme.example"),
            ("secret", secret),
            ("label", "Shop team"),
            ("expires_on", "2030-01-31"),
        ]
    };
    let wrong = browser
        .fill(&form("api_token"), &with("planted-wrong-token"))
        .await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains("e-mail of the Atlassian account"),
        "{}",
        wrong.text
    );
    assert!(wrong.text.contains("Shop team") && !wrong.text.contains("planted-wrong-token"));
    assert_eq!(
        t.get(INTEGRATIONS, &tenant.token, 200).await,
        Value::Array(Vec::new())
    );
    let good = browser
        .fill(&form("api_token"), &with(token.secret.expose()))
        .await;
    assert_eq!(good.status, 303, "{}", good.text);
    let detail = browser.get(&good.location).await;
    for text in [
        "Shop team",
        "API token",
        "It acts as Ada Lind",
        "Create and update Bitbucket issues",
        "2030",
    ] {
        assert!(detail.text.contains(text), "{text}: {}", detail.text);
    }

    // OAuth: the browser goes to Bitbucket, Ada allows, it comes back with the code.
    let fields = [
        ("workspace", "acme"),
        ("user", own.key.as_str()),
        ("secret", own.secret.expose()),
        ("label", "By consent"),
        ("private", "on"),
    ];
    let allow = browser.fill(&form("oauth_code"), &fields).await;
    assert_eq!(allow.status, 200, "{}", allow.text);
    assert!(!allow.text.contains(own.secret.expose()));
    let state: String = allow
        .text
        .split("state=")
        .nth(1)
        .unwrap()
        .chars()
        .take(64)
        .collect();
    let code = |redirect_uri: &str| {
        let access = Access {
            key: own.key.clone(),
            user: "ada".into(),
            redirect_uri: Some(redirect_uri.into()),
        };
        bitbucket.grant(&access).unwrap().expose().to_owned()
    };
    let come_back = format!("{back}?state={state}&code={}", code(&back));
    let kept = browser.get(&come_back).await;
    assert_eq!(kept.status, 303, "{}", kept.text);
    let detail = browser.get(&kept.location).await;
    assert!(
        detail.text.contains("By consent") && detail.text.contains("just for you"),
        "{}",
        detail.text
    );
    assert_eq!(
        browser.get(&come_back).await.status,
        400,
        "a state is good once"
    );
    // Nobody else sees it.
    let colleague = Browser {
        cookie: t
            .session(
                &t.member(&tenant.org, tracebucket::features::accounts::Role::Owner)
                    .await,
            )
            .await,
        t: &t,
    };
    assert_eq!(colleague.get(&kept.location).await.status, 404);
    let list = colleague.get("/o/acme/connections/").await;
    assert!(
        list.text.contains("Shop team") && !list.text.contains("By consent"),
        "{}",
        list.text
    );

    // Client credentials, and a test by the button.
    let fields = [
        ("workspace", "acme"),
        ("user", own.key.as_str()),
        ("secret", own.secret.expose()),
    ];
    let machine = browser.fill(&form("client_credentials"), &fields).await;
    assert_eq!(machine.status, 303, "{}", machine.text);
    let csrf = hidden(&browser.get(&machine.location).await.text, "csrf");
    let again = t.http.post(t.url(&format!("{}test/", machine.location)));
    let again = again
        .header("cookie", &browser.cookie)
        .header("origin", &t.base)
        .form(&[("csrf", csrf)]);
    assert_eq!(Browser::read(again).await.location, machine.location);

    // The token is taken back; a new one mends the very same connection.
    bitbucket.revoke_credential(&token.id).unwrap();
    let next = bitbucket
        .create_credential(&NewCredential::ApiToken {
            user: "ada".into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            expires_in: 86_400,
        })
        .unwrap();
    let renew = format!("{}reauthorise/", good.location);
    let fields = [
        ("user", "ada@acme.example"),
        ("secret", next.secret.expose()),
    ];
    let mended = browser.fill(&renew, &fields).await;
    assert_eq!(
        (mended.status, mended.location.as_str()),
        (303, good.location.as_str()),
        "{}",
        mended.text
    );
    expect_violations(&bitbucket, &[Rule::BasicCredential]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_on_sqlite() {
    connecting(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_on_postgres() {
    connecting(Backend::Postgres).await;
}
