//! The pages that an admin comes to after installing: whose token, whose session, whose claim.

use super::*;

with_bitbucket! {
    async fn every_wrong_setup_token_is_a_plain_page(bitbucket, t) {
        let (client_key, redirect) = install(&t, &bitbucket, "acme").await;
        let secret = bitbucket.shared_secret(&client_key).unwrap().expose().to_owned();
        let good = claims(&client_key, "GET", SETUP);
        let with = |name: &str, value: Value| { let mut c = good.clone(); c[name] = value; c };
        let without = |name: &str| { let mut c = good.clone(); c.as_object_mut().unwrap().remove(name); c };
        let sign = |claims: &Value| forge(&hs256(), claims, &secret);
        let head = |header: Value| forge(&header, &good, &secret);
        let rows = [
            ("jwt_signature", forge(&hs256(), &good, "guess")),
            ("jwt_signature", forge(&hs256(), &good, "")),
            ("jwt_expired", sign(&with("exp", json!(now() - 61)))),
            ("jwt_not_yet_valid", sign(&with("iat", json!(now() + 75)))),
            ("jwt_not_yet_valid", sign(&with("nbf", json!(now() + 75)))),
            ("jwt_unknown_tenant", sign(&with("iss", json!("connection:404")))),
            ("jwt_algorithm", head(json!({ "typ": "JWT", "alg": "none" }))),
            ("jwt_algorithm", head(json!({ "typ": "JWT", "alg": "RS256" }))),
            ("jwt_algorithm", head(json!({ "typ": "JWT", "alg": "hs256" }))),
            ("jwt_algorithm", head(json!({ "typ": "JWT" }))),
            ("jwt_key_id", head(json!({ "typ": "JWT", "alg": "HS256", "kid": "a" }))),
            ("jwt_key_id", head(json!({ "typ": "JWT", "alg": "RS256", "kid": null }))),
            ("jwt_query_hash", sign(&with("qsh", json!(qsh::hash("GET", CONFIRM, ""))))),
            ("jwt_query_hash", sign(&with("qsh", json!(qsh::hash("POST", SETUP, ""))))),
            ("jwt_query_hash", sign(&with("qsh", json!(qsh::hash("GET", SETUP, "org=acme"))))),
            ("jwt_query_hash", sign(&with("qsh", json!("context-qsh")))),
            ("jwt_missing_claim", sign(&without("iss"))),
            ("jwt_missing_claim", sign(&without("exp"))),
            ("jwt_missing_claim", sign(&without("qsh"))),
            ("jwt_malformed", "abc".to_owned()),
            ("jwt_malformed", "a.b.c".to_owned()),
            ("jwt_malformed", sign(&good).replace('.', "..")),
            ("jwt_malformed", "x".repeat(20_000)),
            ("jwt_missing", String::new()),
        ];
        for (code, token) in &rows {
            let answer = send(t.http.get(t.url(SETUP)).query(&[("jwt", token)])).await;
            assert_eq!(answer.status, 401, "{code}: {token}");
            assert!(answer.body.contains(code), "{code} in {}", answer.body);
            assert!(token.len() < 5 || !answer.body.contains(token.as_str()), "the page does not repeat the token");
        }
        let token = sign(&good);
        let twice = send(t.http.get(t.url(SETUP)).query(&[("jwt", &token), ("jwt", &token)])).await;
        assert_eq!((twice.status, twice.body.contains("jwt_ambiguous")), (401, true));
        let both = t.http.get(t.url(SETUP)).query(&[("jwt", &token)]).header("authorization", format!("JWT {token}"));
        let both = send(both).await;
        assert_eq!((both.status, both.body.contains("jwt_ambiguous")), (401, true));
        assert_eq!(send(t.http.get(t.url(SETUP))).await.status, 401, "no token at all");
        assert_eq!(send(t.http.get(t.url(SETUP)).query(&[("claim", "made.up")])).await.status, 401);

        // What is good is taken: in the query, in the header, within the leeway, with a fresh parameter in the hash.
        let late = sign(&with("exp", json!(now() - 50)));
        let hashed = sign(&with("qsh", json!(qsh::hash("GET", SETUP, "org=acme"))));
        for request in [
            t.http.get(&redirect),
            t.http.get(t.url(SETUP)).query(&[("jwt", &token)]),
            t.http.get(t.url(SETUP)).header("authorization", format!("JWT {token}")),
            t.http.get(t.url(SETUP)).query(&[("jwt", &late)]),
            t.http.get(t.url(SETUP)).query(&[("org", "acme"), ("jwt", hashed.as_str())]),
        ] {
            let answer = send(request).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }

    async fn only_an_owner_or_manager_of_the_organization_links(bitbucket, t) {
        let acme = t.tenant("acme").await;
        let rival = t.tenant("rival").await;
        let member = t.member(&acme.org, Role::Member).await;
        let manager = t.member(&acme.org, Role::Manager).await;
        let (client_key, redirect) = install(&t, &bitbucket, "acme").await;
        let nothing = || async {
            for tenant in [&acme, &rival] {
                let list = t.get(&format!("/api/0/organizations/{}/integrations/", tenant.org.slug), &tenant.token, 200).await;
                assert_eq!(list, json!([]));
            }
        };
        let get = |cookie: String, url: String| send(t.http.get(url).header("cookie", cookie).header("accept", "text/html"));

        // Whose claim? Anybody's with the link; here the other organization's owner has it.
        let rival_cookie = t.session(&rival.owner).await;
        let html = get(rival_cookie.clone(), redirect.clone()).await.body;
        assert!(html.contains("value=\"rival\"") && !html.contains("value=\"acme\""), "{html}");
        let claim = hidden(&html, "claim");
        let confirm = |org: &str| format!("{}?claim={claim}&org={org}", t.url(CONFIRM));

        // Nobody is signed in.
        let signed_out = send(t.http.get(&redirect).header("accept", "text/html")).await;
        assert_eq!(signed_out.status, 200);
        assert!(signed_out.body.contains("/sign-in/?next=%2Fextensions%2Fbitbucket%2Fsetup%2F%3Fclaim%3D"), "{}", signed_out.body);
        let page = t.http.get(confirm("acme")).header("accept", "text/html").send().await.unwrap();
        assert_eq!(page.status(), 303, "to the sign-in page");
        let form = |csrf: &str, org: &str| vec![("claim", claim.clone()), ("org", org.to_owned()), ("csrf", csrf.to_owned())];
        let submit = |cookie: Option<&str>, form: Vec<(&'static str, String)>| {
            let mut request = t.http.post(t.url(CONFIRM)).header("origin", &t.base).form(&form);
            if let Some(cookie) = cookie {
                request = request.header("cookie", cookie);
            }
            send(request)
        };
        assert_eq!(submit(None, form("", "acme")).await.status, 401);
        nothing().await;

        // A plain member of the organization.
        let member_cookie = t.session(&member).await;
        let html = get(member_cookie.clone(), redirect.clone()).await.body;
        assert!(html.contains("not owner or manager"), "{html}");
        assert_eq!(get(member_cookie.clone(), confirm("acme")).await.status, 403);
        let csrf = hidden(&html, "csrf");
        assert_eq!(submit(Some(&member_cookie), form(&csrf, "acme")).await.status, 403);
        nothing().await;

        // The owner of another organization.
        assert_eq!(get(rival_cookie.clone(), confirm("acme")).await.status, 404);
        let page = get(rival_cookie.clone(), confirm("rival")).await;
        assert_eq!(page.status, 200);
        let csrf = hidden(&page.body, "csrf");
        assert_eq!(submit(Some(&rival_cookie), form(&csrf, "acme")).await.status, 404);
        nothing().await;

        // A form of another site, one without its token, one with another's.
        let manager_cookie = t.session(&manager).await;
        let page = get(manager_cookie.clone(), confirm("acme")).await;
        assert!(page.body.contains("Connect to ACME?") && page.body.contains("acme"), "{}", page.body);
        let own = hidden(&page.body, "csrf");
        let foreign = t.http.post(t.url(CONFIRM)).header("origin", "https://evil.example").header("cookie", &manager_cookie).form(&form(&own, "acme"));
        assert_eq!(send(foreign).await.status, 403);
        assert_eq!(submit(Some(&manager_cookie), form("", "acme")).await.status, 403);
        assert_eq!(submit(Some(&manager_cookie), form(&csrf, "acme")).await.status, 403);
        nothing().await;

        // A claim that nobody made.
        let mut made_up = form(&own, "acme");
        made_up[0].1 = format!("{claim}A");
        assert_eq!(submit(Some(&manager_cookie), made_up).await.status, 401);
        nothing().await;

        // The manager.
        assert_eq!(submit(Some(&manager_cookie), form(&own, "acme")).await.status, 303);
        let list = t.get("/api/0/organizations/acme/integrations/", &acme.token, 200).await;
        assert_eq!(list[0]["externalId"], json!(client_key));
        // One installation may serve several organizations; connecting again changes nothing.
        link_by_hand(&t, &redirect, &rival_cookie, "rival").await;
        link_by_hand(&t, &redirect, &manager_cookie, "acme").await;
        for tenant in [&acme, &rival] {
            let list = t.get(&format!("/api/0/organizations/{}/integrations/", tenant.org.slug), &tenant.token, 200).await;
            assert_eq!(list.as_array().unwrap().len(), 1);
        }
    }

    async fn a_claim_ends_with_the_install_it_was_made_for(bitbucket, t) {
        let acme = t.tenant("acme").await;
        let cookie = t.session(&acme.owner).await;
        let (client_key, redirect) = install(&t, &bitbucket, "acme").await;
        let html = send(t.http.get(&redirect).header("cookie", &cookie)).await.body;
        let claim = hidden(&html, "claim");
        let page = || send(t.http.get(t.url(SETUP)).query(&[("claim", &claim)]).header("cookie", &cookie));
        assert_eq!(page().await.status, 200);
        assert_eq!(bitbucket.uninstall(&client_key).await.unwrap().0, 200);
        assert_eq!(page().await.status, 401, "at once, although it was cached");
        assert_eq!(send(t.http.get(&redirect)).await.status, 401);
        install(&t, &bitbucket, "acme").await;
        assert_eq!(page().await.status, 401, "another install");
        assert!(bitbucket.take_violations().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_good_for_ten_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("bitbucket");
    let bitbucket = tokio::task::spawn_blocking(move || Sandbox::start(SandboxConfig::new(data)))
        .await
        .unwrap()
        .unwrap();
    bitbucket.create_workspace("acme").unwrap();
    bitbucket
        .create_repository(NewRepository::new("acme", "shop"))
        .await
        .unwrap();
    let clock = Clock::fixed(Clock::system().now());
    let settings = vec![
        ("bitbucket_api_url", bitbucket.url().to_owned()),
        ("bitbucket_web_url", bitbucket.url().to_owned()),
    ];
    let t = TestApp::start_with(
        Backend::Sqlite,
        Options {
            settings,
            clock: Some(clock.clone()),
        },
    )
    .await;
    let acme = t.tenant("acme").await;
    let cookie = t.session(&acme.owner).await;
    let (_, redirect) = install(&t, &bitbucket, "acme").await;
    let claim = hidden(
        &send(t.http.get(&redirect).header("cookie", &cookie))
            .await
            .body,
        "claim",
    );
    let page = || {
        send(
            t.http
                .get(t.url(SETUP))
                .query(&[("claim", &claim)])
                .header("cookie", &cookie),
        )
    };
    clock.advance(Duration::from_secs(599));
    assert_eq!(page().await.status, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(page().await.status, 401);
}
