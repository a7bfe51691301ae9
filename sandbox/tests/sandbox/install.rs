use bitbucket_sandbox::model::Secret;
use bitbucket_sandbox::protocol::{jwt::Unverified, qsh};
use bitbucket_sandbox::{InstallRequest, Rule};
use serde_json::{Value, json};

use crate::app::KEY;
use crate::kit::Kit;

fn assert_token(
    token: &str,
    secret: &str,
    client_key: &str,
    method: &str,
    path: &str,
    query: &str,
) {
    let token = Unverified::parse(token).unwrap();
    assert!(
        token.signed_by(&Secret::new(secret)),
        "signed with the expected secret"
    );
    assert_eq!(token.text("iss"), Some(client_key));
    assert_eq!(
        token.text("qsh"),
        Some(qsh::hash(method, path, query).as_str())
    );
    assert!(token.seconds("exp").unwrap() > token.seconds("iat").unwrap());
    assert_eq!(token.header["alg"], "HS256");
    assert!(!token.header.contains_key("kid"));
}

#[tokio::test]
async fn first_install_is_unsigned_and_carries_the_secret() {
    let kit = Kit::start().await;
    let seen = kit.app.seen("/installed/");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].token(), None);
    let body = seen[0].json();
    assert_eq!(body["key"], KEY);
    assert_eq!(body["eventType"], "installed");
    assert_eq!(body["productType"], "bitbucket");
    assert_eq!(body["clientKey"], "connection:1");
    assert_eq!(body["sharedSecret"], kit.secret());
    assert_eq!(body["principal"]["type"], "team");
    assert_eq!(body["principal"]["username"], "acme");
    assert!(body["principal"]["uuid"].as_str().unwrap().starts_with('{'));
    assert_eq!(body["user"]["type"], "user");
    kit.assert_clean();
}

#[tokio::test]
async fn the_new_secret_verifies_while_the_app_answers() {
    let kit = Kit::start().await;
    kit.app.prove_at(kit.sandbox.url());
    kit.sandbox.create_workspace("beta").unwrap();
    kit.install("beta").await;
    assert_eq!(kit.app.proofs(), [200]);
    // A live connection too, whose stored secret is another one.
    kit.install("acme").await;
    assert_eq!(kit.app.proofs(), [200, 200]);
    kit.assert_clean();
}

#[tokio::test]
async fn a_refused_install_leaves_nothing() {
    let kit = Kit::start().await;
    kit.app.answer("/installed/", &[401]);
    kit.sandbox.create_workspace("beta").unwrap();
    let installed = kit.sandbox.install(kit.request("beta")).await.unwrap();
    assert_eq!(
        (installed.ok(), installed.status, installed.redirect),
        (false, 401, None)
    );
    assert!(kit.sandbox.shared_secret(&installed.client_key).is_none());
    // A refused re-install leaves the old one as it was.
    let before = kit.secret();
    let again = kit.sandbox.install(kit.request("acme")).await.unwrap();
    assert_eq!(again.client_key, kit.client_key);
    assert_eq!(kit.secret(), before);
    kit.get("/2.0/workspaces/acme").await;
}

#[tokio::test]
async fn a_reinstall_is_signed_with_the_old_secret() {
    let kit = Kit::start().await;
    let old = kit.secret();
    assert_eq!(kit.install("acme").await, kit.client_key);
    let new = kit.secret();
    assert_ne!(old, new);
    let seen = kit.app.seen("/installed/");
    let token = seen[1].token().expect("a signed call");
    assert_token(&token, &old, &kit.client_key, "POST", "/installed/", "");
    assert_eq!(seen[1].json()["sharedSecret"], new);
    // `keep_secret` re-installs without a change.
    let request = InstallRequest {
        keep_secret: true,
        ..kit.request("acme")
    };
    kit.sandbox.install(request).await.unwrap();
    assert_eq!(kit.secret(), new);
}

#[tokio::test]
async fn qsh_leaves_the_path_of_the_base_url_out() {
    let kit = Kit::start().await;
    let base = format!("{}/base", kit.app.url);
    kit.app.change_descriptor(|d| {
        d["baseUrl"] = json!(base);
        d["key"] = json!("other.app");
    });
    let refused = kit.sandbox.install(kit.request("acme")).await.unwrap_err();
    assert!(refused.to_string().contains("served under"), "{refused}");
    assert_eq!(kit.broken(), [Rule::Descriptor]);

    let request = || InstallRequest {
        workspace: "acme".into(),
        descriptor_uri: Some(format!("{base}/descriptor/")),
        ..InstallRequest::default()
    };
    let first = kit.sandbox.install(request()).await.unwrap();
    let secret = kit
        .sandbox
        .shared_secret(&first.client_key)
        .unwrap()
        .expose()
        .to_owned();
    let (_, token) = first
        .redirect
        .as_deref()
        .unwrap()
        .split_once("&jwt=")
        .unwrap();
    assert_token(token, &secret, &first.client_key, "GET", "/setup/", "a=b");
    kit.sandbox.install(request()).await.unwrap();
    let token = kit.app.seen("/base/installed/")[1].token().unwrap();
    assert_token(
        &token,
        &secret,
        &first.client_key,
        "POST",
        "/installed/",
        "",
    );
    kit.assert_clean();
}

#[tokio::test]
async fn the_browser_is_sent_to_the_setup_page_with_a_token() {
    let kit = Kit::start().await;
    let uri = kit.app.descriptor_uri();
    let page = kit
        .http
        .get(kit.url("/site/addons/authorize"))
        .query(&[("descriptor_uri", uri.as_str())])
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    let text = page.text().await.unwrap();
    assert!(
        text.contains("Grant access") && text.contains(r#"value="acme""#),
        "{text}"
    );

    let answer = grant(&kit, &[("workspace", "acme"), ("descriptor_uri", &uri)]).await;
    assert_eq!(answer.status(), 302);
    let location = answer.headers()["location"].to_str().unwrap();
    let query = location
        .strip_prefix(&format!("{}/setup/?", kit.app.url))
        .unwrap();
    let (rest, token) = query.split_once("&jwt=").unwrap();
    assert_eq!(rest, "a=b");
    assert_token(
        token,
        &kit.secret(),
        &kit.client_key,
        "GET",
        "/setup/",
        query,
    );
}

async fn grant(kit: &Kit, fields: &[(&str, &str)]) -> reqwest::Response {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    kit.http
        .post(kit.url("/site/addons/authorize"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_redirect_uri_gets_the_client_key() {
    let kit = Kit::start().await;
    let uri = kit.app.descriptor_uri();
    let back = format!("{}/done?x=1", kit.app.url);
    let fields = [
        ("workspace", "acme"),
        ("descriptor_uri", uri.as_str()),
        ("redirect_uri", &back),
    ];
    let answer = grant(&kit, &fields).await;
    let location = answer.headers()["location"].to_str().unwrap();
    assert_eq!(
        location,
        format!("{}/done?x=1&client_key=connection%3A1", kit.app.url)
    );
    kit.assert_clean();

    let bad = [
        ("workspace", "acme"),
        ("descriptor_uri", uri.as_str()),
        ("redirect_uri", "http://evil.example/"),
    ];
    assert_eq!(grant(&kit, &bad).await.status(), 400);
    assert_eq!(kit.broken(), [Rule::InstallLink]);
}

#[tokio::test]
async fn the_page_says_when_the_app_refuses() {
    let kit = Kit::start().await;
    kit.app.answer("/installed/", &[500]);
    kit.sandbox.create_workspace("beta").unwrap();
    let uri = kit.app.descriptor_uri();
    let answer = grant(&kit, &[("workspace", "beta"), ("descriptor_uri", &uri)]).await;
    assert_eq!(answer.status(), 502);
    assert!(answer.text().await.unwrap().contains("answered 500"));
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let kit = Kit::start().await;
    let answer = kit
        .http
        .post(kit.url("/site/addons/authorize"))
        .header("Origin", "http://evil.example")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!(
            "workspace=acme&descriptor_uri={}",
            kit.app.descriptor_uri()
        ))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(
        kit.app.seen("/installed/").len(),
        1,
        "nothing was installed"
    );
}

#[tokio::test]
async fn a_registered_app_has_an_ari() {
    let kit = Kit::start().await;
    kit.sandbox.create_workspace("beta").unwrap();
    kit.sandbox
        .register_app(KEY, &kit.app.descriptor_uri())
        .unwrap();
    let request = InstallRequest {
        workspace: "beta".into(),
        addon_key: Some(KEY.into()),
        ..InstallRequest::default()
    };
    let installed = kit.sandbox.install(request).await.unwrap();
    assert!(
        installed.client_key.starts_with("ari:cloud:bitbucket::"),
        "{installed:?}"
    );
}

#[tokio::test]
async fn uninstall_is_signed_and_ends_the_secret() {
    let kit = Kit::start().await;
    let secret = kit.secret();
    let (status, answer) = kit
        .control(
            "POST",
            "uninstall",
            Some(json!({"clientKey": kit.client_key})),
        )
        .await;
    assert_eq!((status, answer["status"].clone()), (200, json!(200)));
    let seen = kit.app.seen("/uninstalled/");
    assert_token(
        &seen[0].token().unwrap(),
        &secret,
        &kit.client_key,
        "POST",
        "/uninstalled/",
        "",
    );
    assert_eq!(seen[0].json()["eventType"], "uninstalled");
    assert_eq!(seen[0].json().get("sharedSecret"), None);
    assert_eq!(
        kit.send("GET", "/2.0/workspaces/acme", None).await.status(),
        401
    );
    assert_eq!(kit.broken(), [Rule::JwtSubject]);
    assert_eq!(
        kit.control(
            "POST",
            "uninstall",
            Some(json!({"clientKey": "connection:1"}))
        )
        .await
        .0,
        404
    );

    // Installing again takes the same client key, a new secret, and no signature.
    assert_eq!(kit.install("acme").await, kit.client_key);
    assert_ne!(kit.secret(), secret);
    assert_eq!(kit.app.seen("/installed/")[1].token(), None);
}

#[tokio::test]
async fn a_client_key_can_move_to_another_workspace() {
    let kit = Kit::start().await;
    kit.sandbox.uninstall(&kit.client_key).await.unwrap();
    kit.sandbox.create_workspace("beta").unwrap();
    let request = InstallRequest {
        client_key: Some(kit.client_key.clone()),
        ..kit.request("beta")
    };
    kit.app.prove_at(kit.sandbox.url());
    let installed = kit.sandbox.install(request).await.unwrap();
    assert_eq!(installed.client_key, kit.client_key);
    assert_eq!(
        kit.app.proofs(),
        [200],
        "the proof reaches the new workspace"
    );
    assert_eq!(
        kit.app.seen("/installed/")[1].json()["principal"]["username"],
        "beta"
    );
}

#[tokio::test]
async fn an_app_updates_and_deletes_itself() {
    let kit = Kit::start().await;
    kit.app
        .change_descriptor(|d| d["scopes"] = json!(["repository", "webhook"]));
    assert_eq!(
        kit.send("PUT", "/2.0/addon", Some(json!({})))
            .await
            .status(),
        204
    );
    kit.assert_clean();
    let issues = "/2.0/repositories/acme/shop/issues";
    assert_eq!(
        kit.send("GET", issues, None).await.status(),
        403,
        "the scope is gone"
    );
    assert_eq!(kit.broken(), [Rule::Scope]);
    kit.app
        .change_descriptor(|d| d["scopes"] = json!(["repository", "webhook", "issue"]));
    let grown = kit.send("PUT", "/2.0/addon", Some(json!({}))).await;
    assert_eq!(grown.status(), 400);
    assert_eq!(kit.broken(), [Rule::Descriptor]);
    assert_eq!(kit.send("DELETE", "/2.0/addon", None).await.status(), 204);
    assert_eq!(
        kit.send("GET", "/2.0/workspaces/acme", None).await.status(),
        401
    );
}

#[tokio::test]
async fn a_jwt_is_exchanged_for_a_bearer_token() {
    let kit = Kit::start().await;
    let target = "/site/oauth2/access_token";
    let answer = kit
        .http
        .post(kit.url(target))
        .header("Authorization", kit.authorization("POST", target))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("grant_type=urn%3Abitbucket%3Aoauth2%3Ajwt")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["token_type"], "bearer");
    let get = || {
        kit.http
            .get(kit.url("/2.0/repositories/acme/shop"))
            .bearer_auth(body["access_token"].as_str().unwrap())
            .send()
    };
    assert_eq!(get().await.unwrap().status(), 200);
    kit.assert_clean();
    kit.sandbox.uninstall(&kit.client_key).await.unwrap();
    assert_eq!(
        get().await.unwrap().status(),
        401,
        "the token dies with the install"
    );
    assert_eq!(kit.broken(), [Rule::BearerToken]);
}
