//! Signing, paging, repeating, and what is never sent.

use super::*;

#[tokio::test]
async fn the_proof_call_is_signed_and_asks_exactly_once() {
    let uuid = BracedUuid::parse("{e123f456-c789-4a10-b123-456789abcdef}").unwrap();
    let server = TestServer::start(vec![
        page(&json!([])),
        Answer::new(401),
        Answer::new(302).header("location", "/2.0/workspaces"),
        Answer::new(503).header("retry-after", "0"),
    ])
    .await;
    let cloud = cloud(&server);
    cloud.prove_workspace(&uuid).await.unwrap();
    assert_eq!(
        cloud.prove_workspace(&uuid).await.unwrap_err().kind(),
        Kind::Unauthorized
    );
    assert_eq!(
        cloud.prove_workspace(&uuid).await.unwrap_err().kind(),
        Kind::Redirect
    );
    assert_eq!(
        cloud.prove_workspace(&uuid).await.unwrap_err().kind(),
        Kind::Server
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    for request in &requests {
        assert_eq!(
            target(request),
            "/2.0/workspaces/%7Be123f456-c789-4a10-b123-456789abcdef%7D/hooks"
        );
        assert_signed(request);
    }
}

#[tokio::test]
async fn pages_are_followed_and_each_is_signed_anew() {
    let server = TestServer::start(vec![]).await;
    let next = server
        .url()
        .join("/2.0/repositories/acme?ctx=a%2Fb&page=2")
        .unwrap();
    server.then(Answer::json(
        200,
        &json!({"values": [{"full_name": "acme/a"}, "odd"], "next": next.as_str()}),
    ));
    server.then(page(&json!([{"full_name": "acme/b"}])));
    let listing = cloud(&server)
        .repositories("acme", Caps::DEFAULT)
        .await
        .unwrap();
    let names: Vec<_> = listing
        .items
        .iter()
        .filter_map(|repository| repository.full_name.as_deref())
        .collect();
    assert_eq!(names, ["acme/a", "acme/b"]);
    assert_eq!(
        (listing.skipped, listing.complete, listing.next),
        (1, true, None)
    );
    let requests = server.requests();
    assert_eq!(target(&requests[0]), "/2.0/repositories/acme?pagelen=100");
    assert_eq!(
        target(&requests[1]),
        "/2.0/repositories/acme?ctx=a%2Fb&page=2"
    );
    requests.iter().for_each(|request| assert_signed(request));
}

#[tokio::test]
async fn a_next_link_out_of_the_api_is_not_called() {
    let stranger = TestServer::start(vec![]).await;
    let server = TestServer::start(vec![]).await;
    let elsewhere = server.url().join("/3.0/repositories/acme").unwrap();
    let climbing = format!("{}2.0/../internal", server.url());
    let links = [
        stranger.url().join("/2.0/x").unwrap().to_string(),
        elsewhere.to_string(),
        climbing,
        "x".to_owned(),
    ];
    let (client, _) = client(&[&server, &stranger]);
    let cloud = client.for_credential(connect());
    for link in &links {
        server.then(Answer::json(200, &json!({"values": [], "next": link})));
        let error = cloud.repositories("acme", Caps::DEFAULT).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Garbage, "{link}");
        let stored = Cursor(link.clone());
        let error = cloud
            .repositories_page("acme", Some(&stored))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Garbage, "{link}");
    }
    assert_eq!(server.requests().len(), links.len());
    assert!(stranger.requests().is_empty());
}

#[tokio::test]
async fn walks_end_at_their_caps_and_in_loops() {
    let server = TestServer::start(vec![]).await;
    let link = |page: usize| {
        server
            .url()
            .join(&format!("/2.0/repositories/acme?page={page}"))
            .unwrap()
            .to_string()
    };
    let answer = |next: usize| {
        Answer::json(
            200,
            &json!({"values": [{"name": "a"}, {"name": "b"}], "next": link(next)}),
        )
    };
    let cloud = cloud(&server);
    server.then(answer(2));
    server.then(answer(3));
    let listing = cloud.repositories("acme", Caps::items(3)).await.unwrap();
    assert_eq!((listing.items.len(), listing.complete), (3, false));
    assert_eq!(listing.next, Some(Cursor(link(3))));
    server.then(answer(2));
    let listing = cloud
        .repositories(
            "acme",
            Caps {
                pages: 1,
                items: 100,
            },
        )
        .await
        .unwrap();
    assert_eq!((listing.items.len(), listing.complete), (2, false));
    server.then(answer(2));
    server.then(answer(2));
    let error = cloud.repositories("acme", Caps::DEFAULT).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Garbage);
}

#[tokio::test]
async fn a_read_is_repeated_when_the_wait_is_short() {
    let server = TestServer::start(vec![
        Answer::new(503).header("retry-after", "0"),
        Answer::new(429).header("retry-after", "0"),
        Answer::json(200, &json!({"full_name": "acme/shop"})),
    ])
    .await;
    let (client, reports) = client(&[&server]);
    let repository = client
        .for_credential(connect())
        .repository(&repo())
        .await
        .unwrap();
    assert_eq!(repository.full_name.as_deref(), Some("acme/shop"));
    let outcomes: Vec<String> = reports
        .lock()
        .unwrap()
        .iter()
        .map(|(call, outcome)| format!("{call}: {outcome}"))
        .collect();
    assert_eq!(
        outcomes,
        [
            "GET repository: server_error",
            "GET repository: rate_limited",
            "GET repository: ok"
        ]
    );
}

#[tokio::test]
async fn a_read_is_not_repeated_for_long_waits_or_more_than_twice() {
    let server = TestServer::start(vec![
        Answer::new(429).header("retry-after", "60"),
        Answer::new(429),
        Answer::new(503).header("retry-after", "0"),
        Answer::new(503).header("retry-after", "0"),
        Answer::new(503).header("retry-after", "0"),
        Answer::new(200),
    ])
    .await;
    let cloud = cloud(&server);
    let error = cloud.repository(&repo()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry_after()),
        (Kind::RateLimited, Some(Duration::from_secs(60)))
    );
    assert_eq!(
        cloud.repository(&repo()).await.unwrap_err().kind(),
        Kind::RateLimited
    );
    assert_eq!(server.requests().len(), 2);
    assert_eq!(
        cloud.repository(&repo()).await.unwrap_err().kind(),
        Kind::Server
    );
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn half_an_answer_is_asked_for_again_when_reading() {
    let whole = Answer::json(200, &json!({"full_name": "acme/shop"}));
    let server = TestServer::start(vec![whole.clone().half(), whole]).await;
    assert!(cloud(&server).repository(&repo()).await.is_ok());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_write_is_never_repeated() {
    let issue = NewIssue {
        title: "t",
        content: "c",
        kind: "bug",
        priority: "major",
    };
    let answers = [
        (Answer::new(503).header("retry-after", "0"), Kind::Server),
        (
            Answer::new(429).header("retry-after", "0"),
            Kind::RateLimited,
        ),
        (Answer::cut(), Kind::Broken),
        (Answer::json(201, &json!({"id": 1})).half(), Kind::Broken),
        (Answer::new(201).body(b"<html>"), Kind::Garbage),
        (Answer::new(302).header("location", "/2.0/"), Kind::Redirect),
    ];
    for (answer, kind) in answers {
        let server = TestServer::start(vec![answer, Answer::json(201, &json!({"id": 1}))]).await;
        let error = cloud(&server)
            .create_issue(&repo(), &issue)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(server.requests().len(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn slow_and_strange_answers_are_typed_and_leak_nothing() {
    let server = TestServer::start(vec![
        Answer::silence(),
        Answer::new(200).body(b"<html>login</html>"),
        Answer::json(200, &json!({"no": "page"})),
        // Pages of every size are too big.
        Answer::new(555),
        Answer::new(555),
        Answer::new(555),
        problem(403, "Authorization: Bearer token-of-the-test is not enough"),
    ])
    .await;
    let cloud = client(&[&server])
        .0
        .for_credential(Credential::Bearer("token-of-the-test".into()));
    let slow = cloud
        .clone()
        .with_timeout(Duration::from_millis(200))
        .repository(&repo())
        .await
        .unwrap_err();
    assert_eq!(slow.kind(), Kind::Timeout);
    assert_eq!(
        cloud.repository(&repo()).await.unwrap_err().kind(),
        Kind::Garbage
    );
    assert_eq!(
        cloud
            .branches(&repo(), Caps::DEFAULT)
            .await
            .unwrap_err()
            .kind(),
        Kind::Garbage
    );
    assert_eq!(
        cloud
            .diffstat(&repo(), "a", Caps::DEFAULT)
            .await
            .unwrap_err()
            .kind(),
        Kind::TooSlow
    );
    let forbidden = cloud.commit(&repo(), "abc").await.unwrap_err();
    assert_eq!(forbidden.kind(), Kind::Forbidden);
    assert!(!format!("{forbidden} {forbidden:?} {cloud:?}").contains("token-of-the-test"));
}

#[tokio::test]
async fn values_that_cannot_stand_in_a_path_are_not_sent() {
    let server = TestServer::start(vec![]).await;
    let cloud = cloud(&server);
    assert_eq!(
        cloud.workspace("..").await.unwrap_err().kind(),
        Kind::BadCall
    );
    assert_eq!(
        cloud
            .source(&repo(), "abc", "a/../b", 10)
            .await
            .unwrap_err()
            .kind(),
        Kind::BadCall
    );
    assert!(server.requests().is_empty());
}

#[test]
fn web_addresses() {
    let egress = Egress::new(EgressConfig::default(), Clock::fixed(NOW)).unwrap();
    let url = |text: &str| Url::parse(text).unwrap();
    let client = Client::new(
        egress,
        url("https://api.example.org"),
        url("https://example.org"),
        Clock::fixed(NOW),
    );
    assert_eq!(
        client.web_issue("acme/shop", 7),
        "https://example.org/acme/shop/issues/7"
    );
    assert_eq!(
        client.web_commit("acme/shop", "abc"),
        "https://example.org/acme/shop/commits/abc"
    );
}
