//! For every rule: a wrong call is refused and recorded.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bitbucket_sandbox::model::Secret;
use bitbucket_sandbox::protocol::{jwt, qsh};
use bitbucket_sandbox::{InstallRequest, NewRepository, NewToken, Rule};
use serde_json::{Value, json};

use crate::app::KEY;
use crate::kit::{Kit, REPO, now};

/// Sends a request exactly as written; gives the status.
fn raw(kit: &Kit, head: &str) -> u16 {
    let address = kit.sandbox.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{head}\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

async fn authorized(kit: &Kit, header: &str) -> u16 {
    authorized_at(kit, header, REPO).await
}

async fn authorized_at(kit: &Kit, header: &str, target: &str) -> u16 {
    let request = kit
        .http
        .get(kit.url(target))
        .header("Authorization", header);
    request.send().await.unwrap().status().as_u16()
}

/// Right claims for `GET REPO`.
fn claims(kit: &Kit) -> Value {
    json!({
        "iss": KEY, "sub": kit.client_key, "iat": now(), "exp": now() + 300,
        "qsh": qsh::hash("GET", REPO, ""),
    })
}

fn signed(kit: &Kit, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = claims(kit);
    change(&mut claims);
    format!("JWT {}", jwt::sign(&claims, &Secret::new(kit.secret())))
}

fn remove(name: &'static str) -> impl FnOnce(&mut Value) {
    move |claims| {
        claims.as_object_mut().unwrap().remove(name);
    }
}

/// A token with another header, signed all the same.
fn with_header(kit: &Kit, header: &Value) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
    use hmac::Mac as _;
    let input = format!(
        "{}.{}",
        B64.encode(header.to_string()),
        B64.encode(claims(kit).to_string())
    );
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(kit.secret().as_bytes()).unwrap();
    mac.update(input.as_bytes());
    format!("JWT {input}.{}", B64.encode(mac.finalize().into_bytes()))
}

/// The book of rules shown so far.
pub(crate) struct Book {
    pub(crate) kit: Kit,
    shown: BTreeSet<Rule>,
}

impl Book {
    /// The last call got `status` and broke exactly `rule`.
    pub(crate) fn expect(&mut self, rule: Rule, status: u16, got: u16, what: &str) {
        let broken = self.kit.broken();
        assert_eq!((got, broken.as_slice()), (status, &[rule][..]), "{what}");
        self.shown.insert(rule);
    }
}

#[tokio::test]
async fn every_rule_is_enforced() {
    let mut book = Book {
        kit: Kit::start().await,
        shown: BTreeSet::new(),
    };
    tokens(&mut book).await;
    requests(&mut book).await;
    bodies(&mut book).await;
    reach(&mut book).await;
    installs(&mut book).await;
    crate::oauth::rules(&mut book).await;
    crate::credentials::rules(&mut book).await;
    crate::people::rules(&mut book).await;
    crate::data_center::rules(&mut book).await;
    crate::pull_rules::rules(&mut book).await;
    let all: BTreeSet<Rule> = Rule::ALL.iter().copied().collect();
    let missing: Vec<_> = all.difference(&book.shown).collect();
    assert!(missing.is_empty(), "no wrong call shown for {missing:?}");
}

async fn tokens(book: &mut Book) {
    let good = signed(&book.kit, |_| ());
    assert_eq!(authorized(&book.kit, &good).await, 200);
    book.kit.assert_clean();

    let secret_of = |text: &str| Secret::new(text);
    let cases = [
        (Rule::AuthScheme, good.replacen("JWT", "jwt", 1)),
        (Rule::AuthScheme, good.replacen("JWT ", "JWT", 1)),
        (Rule::AuthScheme, "Digest YTpi".to_owned()),
        (Rule::BearerToken, good.replacen("JWT", "Bearer", 1)),
        (Rule::JwtMalformed, "JWT a.b".to_owned()),
        (Rule::JwtMalformed, "JWT e30.e30.***".to_owned()),
        (Rule::JwtMalformed, "JWT WzFd.e30.".to_owned()),
        (
            Rule::JwtAlgorithm,
            with_header(&book.kit, &json!({"alg": "none", "typ": "JWT"})),
        ),
        (
            Rule::JwtAlgorithm,
            with_header(&book.kit, &json!({"alg": "RS256", "typ": "JWT"})),
        ),
        (
            Rule::JwtAlgorithm,
            with_header(&book.kit, &json!({"alg": "hs256", "typ": "JWT"})),
        ),
        (
            Rule::JwtAlgorithm,
            with_header(&book.kit, &json!({"typ": "JWT"})),
        ),
        (
            Rule::JwtKid,
            with_header(&book.kit, &json!({"alg": "HS256", "kid": "1"})),
        ),
        (Rule::JwtSubject, signed(&book.kit, remove("sub"))),
        (
            Rule::JwtSubject,
            signed(&book.kit, |c| c["sub"] = json!("connection:99")),
        ),
        (Rule::JwtIssuer, signed(&book.kit, remove("iss"))),
        (
            Rule::JwtIssuer,
            signed(&book.kit, |c| c["iss"] = json!("other.app")),
        ),
        (
            Rule::JwtSignature,
            format!("JWT {}", jwt::sign(&claims(&book.kit), &secret_of("wrong"))),
        ),
        (Rule::JwtIssuedAt, signed(&book.kit, remove("iat"))),
        (
            Rule::JwtIssuedAt,
            signed(&book.kit, |c| c["iat"] = json!(now() + 120)),
        ),
        (
            Rule::JwtIssuedAt,
            signed(&book.kit, |c| c["iat"] = json!("now")),
        ),
        (Rule::JwtExpiry, signed(&book.kit, remove("exp"))),
        (
            Rule::JwtExpiry,
            signed(&book.kit, |c| {
                c["iat"] = json!(now() - 400);
                c["exp"] = json!(now() - 100);
            }),
        ),
        (
            Rule::JwtLifetime,
            signed(&book.kit, |c| c["exp"] = json!(now() + 600)),
        ),
        (Rule::JwtQsh, signed(&book.kit, remove("qsh"))),
        (
            Rule::JwtQsh,
            signed(&book.kit, |c| c["qsh"] = json!(qsh::hash("POST", REPO, ""))),
        ),
        (
            Rule::JwtQsh,
            signed(&book.kit, |c| c["qsh"] = json!("context-qsh")),
        ),
    ];
    for (rule, header) in cases {
        let got = authorized(&book.kit, &header).await;
        book.expect(rule, 401, got, &header);
    }
    // The right token of another query.
    let got = authorized_at(&book.kit, &good, &format!("{REPO}?fields=uuid")).await;
    book.expect(Rule::JwtQsh, 401, got, "another query");

    let got = book
        .kit
        .http
        .get(book.kit.url(REPO))
        .send()
        .await
        .unwrap()
        .status()
        .as_u16();
    book.expect(Rule::AuthMissing, 401, got, "no header");
    let token = good.trim_start_matches("JWT ");
    for name in ["jwt", "access_token"] {
        let target = format!("{REPO}?{name}={token}");
        let got = authorized_at(&book.kit, &good, &target).await;
        book.expect(Rule::TokenInQuery, 401, got, name);
    }
    let expired = NewToken {
        workspace: "acme".into(),
        scopes: vec!["repository".into()],
        expires_in: Some(-1),
    };
    let expired = book.kit.sandbox.create_token(&expired).unwrap();
    let got = authorized(&book.kit, &format!("Bearer {}", expired.expose())).await;
    book.expect(Rule::BearerToken, 401, got, "expired");
}

async fn requests(book: &mut Book) {
    let got = raw(&book.kit, "GET /2.0/repositories/{}/{abc} HTTP/1.1");
    book.expect(Rule::LiteralBrace, 400, got, "braces");
    for target in [
        "/2.0/addons",
        "/2.0/repositories/acme//shop",
        "/2.0/user/nothing",
        "/2.0",
    ] {
        let got = book.kit.send("GET", target, None).await.status().as_u16();
        book.expect(Rule::UnknownRoute, 404, got, target);
    }
    let got = book
        .kit
        .http
        .get(book.kit.url("/site/nothing"))
        .send()
        .await
        .unwrap()
        .status();
    book.expect(Rule::UnknownRoute, 404, got.as_u16(), "site");
    let got = book
        .kit
        .http
        .get(book.kit.url("/rest/api/1.0"))
        .send()
        .await
        .unwrap()
        .status();
    book.expect(Rule::UnknownRoute, 404, got.as_u16(), "page");
    for (method, target) in [("DELETE", REPO), ("PATCH", "/2.0/addon")] {
        let got = book.kit.send(method, target, None).await.status().as_u16();
        book.expect(Rule::WrongMethod, 405, got, target);
    }
    let got = book
        .kit
        .send("GET", &format!("{REPO}/issues?pageLen=5"), None)
        .await
        .status();
    book.expect(
        Rule::UnknownParameter,
        200,
        got.as_u16(),
        "ignored, but recorded",
    );

    for tail in [
        "issues?q=title~cart",
        "issues?q=title~%22a%22b%22",
        "issues?sort=id,title",
        "commits?path=../x",
        "diffstat/HEAD?renames=maybe",
        "pullrequests?state=open",
    ] {
        seed(&book.kit).await;
        let got = book
            .kit
            .send("GET", &format!("{REPO}/{tail}"), None)
            .await
            .status()
            .as_u16();
        book.expect(Rule::BadQuery, 400, got, tail);
    }
    for tail in [
        "issues?pagelen=101",
        "issues?pagelen=0",
        "issues?page=x",
        "commits?pagelen=1000",
    ] {
        let got = book
            .kit
            .send("GET", &format!("{REPO}/{tail}"), None)
            .await
            .status()
            .as_u16();
        book.expect(Rule::BadPage, 400, got, tail);
    }
    let got = book
        .kit
        .send("GET", &format!("{REPO}/commits?page=2"), None)
        .await
        .status();
    book.expect(Rule::BadPage, 404, got.as_u16(), "a page that was built");
}

async fn seed(kit: &Kit) {
    let request = bitbucket_sandbox::CommitRequest {
        repo: "acme/shop".into(),
        message: "Seed".into(),
        files: [("a".to_owned(), "1".to_owned())].into(),
        ..Default::default()
    };
    kit.sandbox.commit(request).await.unwrap();
}

async fn bodies(book: &mut Book) {
    let issues = format!("{REPO}/issues");
    let hooks = format!("{REPO}/hooks");
    let made = book
        .kit
        .call("POST", &issues, Some(json!({"title": "x"})), 201)
        .await;
    let comments = format!("{issues}/{}/comments", made["id"]);
    let url = "https://tracker.example/hook";
    let long = "x".repeat(129);
    let cases = [
        (&issues, json!({})),
        (&issues, json!({"title": "  "})),
        (&issues, json!({"title": 3})),
        (&issues, json!({"title": "x".repeat(256)})),
        (&issues, json!({"title": "x", "kind": "defect"})),
        (&issues, json!({"title": "x", "priority": "high"})),
        (&issues, json!({"title": "x", "state": "done"})),
        (&issues, json!({"title": "x", "content": "text"})),
        (&issues, json!({"title": "x", "content": {"raw": 1}})),
        (
            &issues,
            json!({"title": "x", "content": {"raw": "a", "text": "b"}}),
        ),
        (
            &issues,
            json!({"title": "x", "assignee": {"username": "ada"}}),
        ),
        (&issues, json!({"title": "x", "milestone": {"name": "M1"}})),
        (&issues, json!({"title": "x", "description": "y"})),
        (&comments, json!({})),
        (&comments, json!({"content": {"raw": " "}})),
        (&comments, json!({"content": {"raw": "x"}, "issue": 1})),
        (&hooks, json!({"events": ["repo:push"]})),
        (&hooks, json!({"url": "/relative", "events": ["repo:push"]})),
        (
            &hooks,
            json!({"url": "ftp://a.example/x", "events": ["repo:push"]}),
        ),
        (&hooks, json!({"url": url})),
        (&hooks, json!({"url": url, "events": []})),
        (&hooks, json!({"url": url, "events": ["push"]})),
        (
            &hooks,
            json!({"url": url, "events": ["repo:push", "repo:push"]}),
        ),
        (&hooks, json!({"url": url, "events": ["repo:transfer"]})),
        (
            &hooks,
            json!({"url": url, "events": ["repo:push"], "secret": long}),
        ),
        (
            &hooks,
            json!({"url": url, "events": ["repo:push"], "active": "yes"}),
        ),
        (
            &hooks,
            json!({"url": url, "events": ["repo:push"], "name": "x"}),
        ),
    ];
    for (target, body) in cases {
        let what = body.to_string();
        let answer = book.kit.send("POST", target, Some(body)).await;
        let got = answer.status().as_u16();
        let text: Value = answer.json().await.unwrap();
        assert!(text["error"]["fields"].is_object(), "{what}: {text}");
        book.expect(Rule::BodyField, 400, got, &what);
    }
    let got = book
        .kit
        .send(
            "PUT",
            &format!("{issues}/1"),
            Some(json!({"state": "done"})),
        )
        .await;
    book.expect(Rule::BodyField, 400, got.status().as_u16(), "update");
    assert_eq!(
        book.kit.sandbox.issues("acme/shop").len(),
        1,
        "nothing was made"
    );
    assert_eq!(book.kit.get(&hooks).await["size"], 0);

    for (kind, body) in [
        ("application/json", "[1]"),
        ("application/json", "{"),
        ("text/plain", r#"{"title": "x"}"#),
        ("application/x-www-form-urlencoded", "title=x"),
    ] {
        let answer = book
            .kit
            .http
            .post(book.kit.url(&issues))
            .header("Authorization", book.kit.authorization("POST", &issues))
            .header("Content-Type", kind)
            .body(body)
            .send()
            .await
            .unwrap();
        book.expect(Rule::BodyFormat, 400, answer.status().as_u16(), body);
    }
}

async fn reach(book: &mut Book) {
    // What the credential may not do.
    let scopes = vec!["issue".to_owned(), "webhook".to_owned()];
    let token = NewToken {
        workspace: "acme".into(),
        scopes,
        expires_in: None,
    };
    let token = book.kit.sandbox.create_token(&token).unwrap();
    let hook = json!({"url": "https://a.example/", "events": ["repo:push"]});
    let cases = [
        ("GET", REPO.to_owned(), None),
        (
            "POST",
            format!("{REPO}/issues"),
            Some(json!({"title": "x"})),
        ),
        ("POST", format!("{REPO}/src"), None),
        ("POST", format!("{REPO}/hooks"), Some(hook)),
    ];
    for (method, target, body) in cases {
        let method_name = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = book
            .kit
            .http
            .request(method_name, book.kit.url(&target))
            .bearer_auth(token.expose());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let got = answer.status().as_u16();
        let text: Value = answer.json().await.unwrap();
        assert!(text["error"]["detail"]["required"].is_array(), "{text}");
        book.expect(Rule::Scope, 403, got, &target);
    }
    let addon = book
        .kit
        .http
        .put(book.kit.url("/2.0/addon"))
        .bearer_auth(token.expose());
    let got = addon
        .json(&json!({}))
        .send()
        .await
        .unwrap()
        .status()
        .as_u16();
    book.expect(Rule::Scope, 403, got, "addon takes a JWT only");

    // Another workspace.
    let other = book.kit.sandbox.create_workspace("other").unwrap();
    let repo = book
        .kit
        .sandbox
        .create_repository(NewRepository::new("other", "theirs"))
        .await
        .unwrap();
    let uuid = |u: &str| u.replace('{', "%7B").replace('}', "%7D");
    let cases = [
        (404, "/2.0/repositories/other/theirs".to_owned()),
        (
            404,
            format!("/2.0/repositories/%7B%7D/{}", uuid(&repo.uuid)),
        ),
        (403, "/2.0/repositories/other".to_owned()),
        (403, format!("/2.0/workspaces/{}/hooks", uuid(&other.uuid))),
    ];
    for (status, target) in cases {
        let got = book.kit.send("GET", &target, None).await.status().as_u16();
        book.expect(Rule::ForeignWorkspace, status, got, &target);
    }
}

async fn installs(book: &mut Book) {
    let form = |book: &Book, authorization: Option<String>, body: &'static str| {
        let mut request = book
            .kit
            .http
            .post(book.kit.url("/site/oauth2/access_token"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body);
        if let Some(header) = authorization {
            request = request.header("Authorization", header);
        }
        request.send()
    };
    let got = form(book, None, "scope=issue").await.unwrap().status();
    book.expect(Rule::TokenRequest, 400, got.as_u16(), "no grant");
    let got = form(book, None, "grant_type=password")
        .await
        .unwrap()
        .status()
        .as_u16();
    book.expect(Rule::TokenRequest, 400, got, "another grant");
    let got = form(book, None, "grant_type=urn:bitbucket:oauth2:jwt")
        .await
        .unwrap()
        .status();
    book.expect(Rule::TokenRequest, 401, got.as_u16(), "no token");
    let header = book.kit.authorization("POST", "/elsewhere");
    let got = form(book, Some(header), "grant_type=urn:bitbucket:oauth2:jwt")
        .await
        .unwrap();
    book.expect(
        Rule::JwtQsh,
        401,
        got.status().as_u16(),
        "the qsh of another path",
    );

    for query in ["", "?descriptor_uri=a&addon_key=b", "?addon_key=unknown"] {
        let url = book.kit.url(&format!("/site/addons/authorize{query}"));
        let got = book
            .kit
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16();
        book.expect(Rule::InstallLink, 400, got, query);
    }
    book.kit
        .app
        .change_descriptor(|d| d["apiMigrations"] = json!({}));
    let url = format!(
        "/site/addons/authorize?descriptor_uri={}",
        qsh::encode(&book.kit.app.descriptor_uri())
    );
    let got = book
        .kit
        .http
        .get(book.kit.url(&url))
        .send()
        .await
        .unwrap()
        .status()
        .as_u16();
    book.expect(Rule::Descriptor, 400, got, "page");
    let request: InstallRequest = book.kit.request("acme");
    assert!(book.kit.sandbox.install(request).await.is_err());
    assert_eq!(book.kit.broken(), [Rule::Descriptor]);
}

#[tokio::test]
async fn tokens_do_not_show_up_in_the_records() {
    let kit = Kit::start().await;
    let target = format!("{REPO}?jwt=very-secret&x=1");
    authorized_at(&kit, "JWT very-secret", &target).await;
    let (_, state) = kit.control("GET", "state", None).await;
    let (_, calls) = kit.control("GET", "calls", None).await;
    let (_, violations) = kit.control("GET", "violations", None).await;
    for text in [state.to_string(), calls.to_string(), violations.to_string()] {
        assert!(
            !text.contains("very-secret") && !text.contains(&kit.secret()),
            "{text}"
        );
    }
    assert!(violations.to_string().contains("jwt=…"));
}

#[tokio::test]
async fn absent_things_are_no_violation() {
    let kit = Kit::start().await;
    for tail in [
        "issues/9",
        "issues/x",
        "hooks/%7Bnone%7D",
        "commit/abcdef",
        "src/main/x",
        "refs/tags/v9",
    ] {
        assert_eq!(
            kit.send("GET", &format!("{REPO}/{tail}"), None)
                .await
                .status(),
            404,
            "{tail}"
        );
    }
    kit.assert_clean();
}
