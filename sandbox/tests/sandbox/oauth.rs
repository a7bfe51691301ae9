//! OAuth 2.0: the page, the grants, rotation, and every refusal.

use bitbucket_sandbox::model::Consumer;
use bitbucket_sandbox::model::{Permission, Role};
use bitbucket_sandbox::{Access, ChangeConsumer, NewConsumer, NewMember, NewUser, Rule};
use reqwest::Response;
use reqwest::header::LOCATION;
use serde_json::{Value, json};

use crate::kit::{Kit, REPO};
use crate::rules::Book;

const BACK: &str = "https://tracker.example/oauth/callback";

impl Kit {
    pub(crate) fn person(&self, nickname: &str, permission: Permission) -> String {
        let new = NewUser {
            display_name: nickname.to_owned(),
            nickname: nickname.to_owned(),
            email: Some(format!("{nickname}@example.org")),
        };
        let user = self.sandbox.create_user(&new).unwrap();
        let member = NewMember {
            workspace: "acme".into(),
            user: nickname.into(),
            role: Role::Member,
            permission,
        };
        self.sandbox.add_member(&member).unwrap();
        user.uuid
    }

    fn consumer(&self, private: bool) -> Consumer {
        let new = NewConsumer {
            workspace: "acme".into(),
            name: "Tracker".into(),
            callback_url: Some(BACK.into()),
            scopes: vec!["repository".into(), "issue:write".into(), "account".into()],
            private,
            ..NewConsumer::default()
        };
        self.sandbox.create_consumer(&new).unwrap()
    }

    fn code(&self, consumer: &Consumer, redirect_uri: Option<&str>) -> String {
        let access = Access {
            key: consumer.key.clone(),
            user: "ada".into(),
            redirect_uri: redirect_uri.map(str::to_owned),
        };
        self.sandbox.grant(&access).unwrap().expose().to_owned()
    }

    async fn token(&self, consumer: &Consumer, form: &[(&str, &str)]) -> (u16, Value) {
        self.token_as(&consumer.key, consumer.secret.expose(), form)
            .await
    }

    async fn token_as(&self, key: &str, secret: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let request = self.http.post(self.url("/site/oauth2/access_token"));
        let answer = urlencoded(request.basic_auth(key, Some(secret)), form)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    /// A `GET` with a bearer token.
    pub(crate) async fn bearer(&self, token: &Value, target: &str) -> Response {
        let request = self
            .http
            .get(self.url(target))
            .bearer_auth(token.as_str().unwrap());
        request.send().await.unwrap()
    }

    async fn authorize(&self, query: &[(&str, &str)]) -> Response {
        let request = self
            .http
            .get(self.url("/site/oauth2/authorize"))
            .query(query);
        request.send().await.unwrap()
    }

    async fn decide(&self, form: &[(&str, &str)]) -> Response {
        let request = urlencoded(self.http.post(self.url("/site/oauth2/authorize")), form);
        request.send().await.unwrap()
    }
}

fn urlencoded(request: reqwest::RequestBuilder, pairs: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    request
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body)
}

fn location(answer: &Response) -> url::Url {
    url::Url::parse(answer.headers()[LOCATION].to_str().unwrap()).unwrap()
}

fn query(url: &url::Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs.find(|(k, _)| k == name).map(|(_, v)| v.into_owned())
}

#[tokio::test]
async fn a_person_grants_access() {
    let kit = Kit::start().await;
    let ada = kit.person("ada", Permission::Write);
    let consumer = kit.consumer(false);
    let below = format!("{BACK}/second?x=1");
    let link = [
        ("client_id", consumer.key.as_str()),
        ("response_type", "code"),
        ("state", "s <\"1"),
        ("redirect_uri", &below),
    ];
    let page = kit.authorize(&link).await;
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    for part in [
        "Tracker asks for access",
        "issue:write",
        "s &lt;&quot;1",
        "ada",
        "Deny",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(
        !page.contains("app-"),
        "accounts of apps cannot grant: {page}"
    );

    let mut form = link.to_vec();
    form.extend([("decision", "deny"), ("user", &ada)]);
    let back = location(&kit.decide(&form).await);
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(query(&back, "state").as_deref(), Some("s <\"1"));
    assert_eq!(query(&back, "code"), None);

    let mut form = link.to_vec();
    form.extend([("decision", "grant"), ("user", &ada)]);
    let answer = kit.decide(&form).await;
    assert_eq!(answer.status(), 302);
    let back = location(&answer);
    assert!(back.as_str().starts_with(&format!("{below}&code=")));
    assert_eq!(query(&back, "state").as_deref(), Some("s <\"1"));
    let code = query(&back, "code").unwrap();
    let exchange = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &below),
    ];
    let (status, token) = kit.token(&consumer, &exchange).await;
    assert_eq!(status, 200, "{token}");
    assert_eq!(token["token_type"], "bearer");
    assert_eq!(token["expires_in"], 3600);
    assert_eq!(token["scope"], "repository issue:write account");
    assert!(token["scopes"].is_null() && token["refresh_token"].is_string());

    let answer = kit.bearer(&token["access_token"], REPO).await;
    assert_eq!(answer.status(), 200);
    let issues = format!("{REPO}/issues");
    let made = kit
        .http
        .post(kit.url(&issues))
        .bearer_auth(token["access_token"].as_str().unwrap());
    let made: Value = made
        .json(&json!({"title": "x"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(made["reporter"]["uuid"], ada, "the person acts");
    kit.assert_clean();
}

#[tokio::test]
async fn refresh_tokens_rotate() {
    let kit = Kit::start().await;
    kit.person("ada", Permission::Write);
    let consumer = kit.consumer(false);
    let code = kit.code(&consumer, None);
    let (_, first) = kit
        .token(
            &consumer,
            &[("grant_type", "authorization_code"), ("code", &code)],
        )
        .await;
    let refresh = |token: Value| {
        let (kit, consumer) = (&kit, &consumer);
        async move {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", token.as_str().unwrap()),
            ];
            kit.token(consumer, &form).await
        }
    };
    let (status, second) = refresh(first["refresh_token"].clone()).await;
    assert_eq!(status, 200);
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(
        kit.bearer(&second["access_token"], REPO).await.status(),
        200
    );
    assert_eq!(
        kit.bearer(&first["access_token"], REPO).await.status(),
        200,
        "until it expires"
    );
    kit.assert_clean();

    let (status, refused) = refresh(first["refresh_token"].clone()).await;
    assert_eq!(
        (status, refused["error"].as_str()),
        (400, Some("invalid_grant"))
    );
    assert_eq!(kit.broken(), [Rule::RefreshToken]);

    // With a grace the used one works a little longer, and each use gives another.
    let change = ChangeConsumer {
        key: consumer.key.clone(),
        expires_in: Some(7),
        refresh_grace: Some(60),
        ..ChangeConsumer::default()
    };
    kit.sandbox.change_consumer(&change).unwrap();
    let (_, third) = refresh(second["refresh_token"].clone()).await;
    assert_eq!(third["expires_in"], 7);
    let (status, fourth) = refresh(second["refresh_token"].clone()).await;
    assert_eq!(status, 200);
    assert_ne!(third["refresh_token"], fourth["refresh_token"]);
    kit.assert_clean();
    let later = chrono::Utc::now() + chrono::Duration::seconds(61);
    kit.sandbox.set_clock(Some(later));
    assert_eq!(refresh(second["refresh_token"].clone()).await.0, 400);

    // The access token is past its seven seconds, and says so.
    let answer = kit.bearer(&fourth["access_token"], REPO).await;
    assert_eq!(answer.status(), 401);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("Access token expired.")
    );
    // Three months without use.
    let later = chrono::Utc::now() + chrono::Duration::days(91);
    kit.sandbox.set_clock(Some(later));
    assert_eq!(refresh(fourth["refresh_token"].clone()).await.0, 400);
    kit.sandbox.set_clock(None);
    let (status, fifth) = refresh(fourth["refresh_token"].clone()).await;
    assert_eq!(status, 200);
    let change = ChangeConsumer {
        key: consumer.key.clone(),
        revoke: true,
        ..ChangeConsumer::default()
    };
    kit.sandbox.change_consumer(&change).unwrap();
    assert_eq!(refresh(fifth["refresh_token"].clone()).await.0, 400);
    assert_eq!(kit.bearer(&fifth["access_token"], REPO).await.status(), 401);
}

#[tokio::test]
async fn client_credentials_act_as_the_consumer() {
    let kit = Kit::start().await;
    kit.sandbox.create_workspace("other").unwrap();
    let consumer = kit.consumer(true);
    let (status, token) = kit
        .token(&consumer, &[("grant_type", "client_credentials")])
        .await;
    assert_eq!(status, 200);
    assert!(token["refresh_token"].is_null());
    assert_eq!(kit.bearer(&token["access_token"], REPO).await.status(), 200);
    kit.assert_clean();
    let foreign = kit
        .bearer(&token["access_token"], "/2.0/repositories/other")
        .await;
    assert_eq!(foreign.status(), 403);
    assert_eq!(kit.broken(), [Rule::ForeignWorkspace]);
    let made = kit.http.post(kit.url(&format!("{REPO}/issues")));
    let made = made.bearer_auth(token["access_token"].as_str().unwrap());
    let made: Value = made
        .json(&json!({"title": "x"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(made["reporter"]["type"], "app_user");
    assert_eq!(made["reporter"]["display_name"], "Tracker");
}

#[tokio::test]
async fn grants_survive_a_restart_and_come_by_control() {
    let kit = Kit::start().await;
    kit.person("ada", Permission::Write);
    let new = json!({"workspace": "acme", "callback_url": BACK, "scopes": ["repository"], "expires_in": 60});
    let (status, made) = kit.control("POST", "consumers", Some(new)).await;
    assert_eq!((status, made["expires_in"].as_i64()), (201, Some(60)));
    let access = json!({"key": made["key"], "user": "ada"});
    let (status, code) = kit.control("POST", "grants", Some(access)).await;
    assert_eq!(status, 201);
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code["code"].as_str().unwrap()),
    ];
    let (key, secret) = (
        made["key"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    let (status, token) = kit.token_as(key, secret, &form).await;
    assert_eq!((status, token["expires_in"].as_i64()), (200, Some(60)));
    for (path, wrong) in [
        ("consumers", json!({"workspace": "acme", "scopes": ["all"]})),
        ("consumers", json!({"workspace": "none"})),
        (
            "consumers",
            json!({"workspace": "acme", "callback_url": "/relative"}),
        ),
        ("consumers/change", json!({"key": "none"})),
        ("grants", json!({"key": made["key"], "user": "nobody"})),
        ("members", json!({"workspace": "acme", "user": "nobody"})),
    ] {
        assert_eq!(
            kit.control("POST", path, Some(wrong.clone())).await.0,
            400,
            "{wrong}"
        );
    }
    kit.assert_clean();
    let (_, state) = kit.control("GET", "state", None).await;
    assert!(!state.to_string().contains(secret));
}

/// Every wrong call of this part.
pub(crate) async fn rules(book: &mut Book) {
    book.kit.person("ada", Permission::Write);
    let consumer = book.kit.consumer(false);
    let key = consumer.key.as_str();
    let long = format!("{BACK}ish");
    for (status, link) in [
        (400, vec![("client_id", "none"), ("response_type", "code")]),
        (400, vec![("response_type", "code")]),
        (
            400,
            vec![
                ("client_id", key),
                ("response_type", "code"),
                ("redirect_uri", "https://evil.example/"),
            ],
        ),
        (
            400,
            vec![
                ("client_id", key),
                ("response_type", "code"),
                ("redirect_uri", &long),
            ],
        ),
        (
            302,
            vec![
                ("client_id", key),
                ("response_type", "token"),
                ("state", "1"),
            ],
        ),
        (302, vec![("client_id", key), ("state", "1")]),
    ] {
        let answer = book.kit.authorize(&link).await;
        if status == 302 {
            let back = location(&answer);
            assert!(query(&back, "error").is_some(), "{back}");
            assert_eq!(query(&back, "state").as_deref(), Some("1"));
        }
        book.expect(
            Rule::AuthorizeLink,
            status,
            answer.status().as_u16(),
            &format!("{link:?}"),
        );
    }

    let grant = [("grant_type", "client_credentials")];
    for (key, secret) in [(key, "wrong"), ("none", "wrong"), ("", "")] {
        let (got, body) = book.kit.token_as(key, secret, &grant).await;
        assert_eq!(body["error"], "unauthorized_client", "{body}");
        book.expect(Rule::ClientSecret, 401, got, key);
    }
    let (got, _) = book.kit.token(&consumer, &grant).await;
    book.expect(Rule::TokenRequest, 400, got, "not a private consumer");
    let (got, body) = book
        .kit
        .token(
            &consumer,
            &[("grant_type", "password"), ("username", "ada")],
        )
        .await;
    assert_eq!(body["error"], "unsupported_grant_type");
    book.expect(Rule::TokenRequest, 400, got, "password grant");

    let other = book.kit.consumer(false);
    let used = book.kit.code(&consumer, None);
    let exchange = |code: &str| {
        vec![
            ("grant_type", "authorization_code"),
            ("code", code.to_owned().leak() as &str),
        ]
    };
    let (status, token) = book.kit.token(&consumer, &exchange(&used)).await;
    assert_eq!(status, 200);
    let bound = book.kit.code(&consumer, Some(BACK));
    let cases = [
        (&consumer, "none".to_owned()),
        (&consumer, used),
        (&other, book.kit.code(&consumer, None)),
        (&consumer, bound),
    ];
    for (client, code) in cases {
        let (got, body) = book.kit.token(client, &exchange(&code)).await;
        assert_eq!(body["error"], "invalid_grant", "{body}");
        book.expect(Rule::AuthorizationCode, 400, got, &body.to_string());
    }
    let old = book.kit.code(&consumer, None);
    book.kit
        .sandbox
        .set_clock(Some(chrono::Utc::now() + chrono::Duration::minutes(11)));
    let (got, _) = book.kit.token(&consumer, &exchange(&old)).await;
    book.expect(Rule::AuthorizationCode, 400, got, "expired");
    book.kit.sandbox.set_clock(None);

    let refresh = token["refresh_token"].as_str().unwrap().to_owned();
    let form = |text: &str| {
        vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", text.to_owned().leak() as &str),
        ]
    };
    for (client, text) in [(&consumer, "none"), (&other, &refresh)] {
        let (got, body) = book.kit.token(client, &form(text)).await;
        assert_eq!(body["error"], "invalid_grant", "{body}");
        book.expect(Rule::RefreshToken, 400, got, text);
    }

    // A right token in the wrong place.
    let access = token["access_token"].as_str().unwrap();
    let got = book
        .kit
        .http
        .get(book.kit.url(&format!("{REPO}?access_token={access}")))
        .send()
        .await
        .unwrap();
    book.expect(Rule::TokenInQuery, 401, got.status().as_u16(), "query");
    let request = book.kit.http.post(book.kit.url(&format!("{REPO}/commits")));
    let got = urlencoded(request, &[("access_token", access)])
        .send()
        .await
        .unwrap();
    book.expect(Rule::TokenInBody, 401, got.status().as_u16(), "body");
}
