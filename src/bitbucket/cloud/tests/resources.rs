//! Each resource: what is sent and what is read.

use super::*;

#[tokio::test]
async fn issues_are_created_changed_and_read() {
    let wire = json!({"id": 7, "title": "Boom", "state": "new", "content": {"raw": "c", "html": "<p>c</p>"},
        "links": {"html": {"href": "https://web.example.org/acme/shop/issues/7"}}});
    let server = TestServer::start(vec![
        Answer::json(201, &wire),
        Answer::json(200, &wire),
        Answer::json(200, &wire),
    ])
    .await;
    let (client, _) = client(&[&server]);
    let cloud = client.for_credential(connect());
    let new = NewIssue {
        title: "Boom",
        content: "c",
        kind: "bug",
        priority: "major",
    };
    let created = cloud.create_issue(&repo(), &new).await.unwrap();
    assert_eq!((created.id, created.state.as_deref()), (7, Some("new")));
    assert_eq!(
        created.links.html_url(),
        Some(client.web_issue("acme/shop", 7).as_str())
    );
    let change = IssueChange {
        state: Some("resolved"),
        ..IssueChange::default()
    };
    cloud.update_issue(&repo(), 7, &change).await.unwrap();
    cloud.issue(&repo(), 7).await.unwrap();
    let requests = server.requests();
    assert!(requests[0].starts_with("POST /2.0/repositories/acme/shop/issues HTTP"));
    let expected =
        json!({"title": "Boom", "content": {"raw": "c"}, "kind": "bug", "priority": "major"});
    assert_eq!(body_of(&requests[0]), expected);
    assert!(requests[1].starts_with("PUT /2.0/repositories/acme/shop/issues/7 HTTP"));
    assert_eq!(body_of(&requests[1]), json!({"state": "resolved"}));
    requests.iter().for_each(|request| assert_signed(request));
}

#[tokio::test]
async fn a_missing_tracker_is_recognised() {
    let server = TestServer::start(vec![
        problem(404, "Repository has no issue tracker."),
        Answer::new(410),
    ])
    .await;
    let cloud = cloud(&server);
    assert!(
        cloud
            .search_issues(&repo(), "x", 10)
            .await
            .unwrap_err()
            .tracker_missing()
    );
    assert!(
        cloud
            .recent_issues(&repo(), 10)
            .await
            .unwrap_err()
            .removed()
    );
}

#[tokio::test]
async fn a_marker_is_found_by_query_or_among_the_newest() {
    let marked = json!({"id": 3, "content": {"raw": "text\n[](tracebucket:abc)"}});
    let other = json!({"id": 4, "content": {"raw": "text tracebucket"}});
    let marker = "tracebucket:abc";
    let server = TestServer::start(vec![page(&json!([other, marked]))]).await;
    let found = cloud(&server)
        .find_issue_by_marker(&repo(), marker)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.id, 3);
    assert!(target(&server.requests()[0]).contains("q=content.raw%7E%22tracebucket%3Aabc%22"));

    let server = TestServer::start(vec![
        problem(400, "Invalid field"),
        page(&json!([other, marked])),
    ])
    .await;
    let found = cloud(&server)
        .find_issue_by_marker(&repo(), marker)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.id, 3);
    assert!(target(&server.requests()[1]).contains("sort=-created_on"));

    let server = TestServer::start(vec![page(&json!([])), page(&json!([other]))]).await;
    assert!(
        cloud(&server)
            .find_issue_by_marker(&repo(), marker)
            .await
            .unwrap()
            .is_none()
    );

    let server = TestServer::start(vec![page(&json!([])), Answer::new(404)]).await;
    assert!(
        cloud(&server)
            .find_issue_by_marker(&repo(), marker)
            .await
            .is_err(),
        "unknown is not absent"
    );
}

#[tokio::test]
async fn comments_are_written_and_found() {
    let list = page(
        &json!([{"id": 1, "content": {"raw": "hello"}}, {"id": 2, "content": {"raw": "done tb:9"}}]),
    );
    let server = TestServer::start(vec![
        Answer::json(201, &json!({"id": 5})),
        list.clone(),
        list,
    ])
    .await;
    let cloud = cloud(&server);
    assert_eq!(cloud.create_comment(&repo(), 7, "hi").await.unwrap().id, 5);
    assert_eq!(
        cloud
            .find_comment_by_marker(&repo(), 7, "tb:9")
            .await
            .unwrap()
            .unwrap()
            .id,
        2
    );
    assert!(
        cloud
            .find_comment_by_marker(&repo(), 7, "tb:8")
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        body_of(&server.requests()[0]),
        json!({"content": {"raw": "hi"}})
    );
}

#[tokio::test]
async fn hooks_are_created_listed_changed_and_deleted() {
    let wire = json!({"uuid": "{h}", "url": "https://t.example/hook", "active": true, "events": ["repo:push"], "secret_set": true});
    let server = TestServer::start(vec![
        Answer::json(201, &wire),
        Answer::json(200, &wire),
        page(&json!([wire])),
        Answer::new(204),
        Answer::new(404),
        Answer::new(403),
    ])
    .await;
    let cloud = cloud(&server);
    let secret = Secret::from("hook-secret");
    let spec = HookSpec {
        description: "d",
        url: "https://t.example/hook",
        events: &["repo:push"],
        secret: &secret,
    };
    assert_eq!(
        cloud
            .create_hook(&repo(), &spec)
            .await
            .unwrap()
            .uuid
            .as_deref(),
        Some("{h}")
    );
    cloud.update_hook(&repo(), "{h}", &spec).await.unwrap();
    assert_eq!(
        cloud.hooks(&repo(), Caps::DEFAULT).await.unwrap().items[0].events,
        ["repo:push"]
    );
    cloud.delete_hook(&repo(), "{h}").await.unwrap();
    cloud.delete_hook(&repo(), "{h}").await.unwrap();
    assert_eq!(
        cloud.delete_hook(&repo(), "{h}").await.unwrap_err().kind(),
        Kind::Forbidden
    );
    let requests = server.requests();
    assert_eq!(body_of(&requests[0])["secret"], "hook-secret");
    assert_eq!(
        target(&requests[1]),
        "/2.0/repositories/acme/shop/hooks/%7Bh%7D"
    );
    assert!(!format!("{spec:?}").contains("hook-secret"));
}

#[tokio::test]
async fn a_search_puts_exact_names_first_and_repeats_nothing() {
    let server = TestServer::start(vec![
        page(&json!([{"uuid": "{1}", "name": "shop"}])),
        page(&json!([{"uuid": "{2}", "name": "shop-web"}, {"uuid": "{1}", "name": "shop"}])),
    ])
    .await;
    let found = cloud(&server)
        .search_repositories("acme", "sh\"op\\", Caps::DEFAULT)
        .await
        .unwrap();
    let names: Vec<_> = found
        .items
        .iter()
        .filter_map(|repository| repository.name.as_deref())
        .collect();
    assert_eq!(names, ["shop", "shop-web"]);
    let requests = server.requests();
    assert!(
        target(&requests[0]).contains("q=name%3D%22sh+op%22"),
        "{}",
        target(&requests[0])
    );
    assert!(target(&requests[1]).contains("q=name%7E%22sh+op%22"));
    requests.iter().for_each(|request| assert_signed(request));
}

#[tokio::test]
async fn commits_by_range_and_by_revision() {
    let commits = page(&json!([{"hash": "b"}, {"hash": "a"}]));
    let server = TestServer::start(vec![commits.clone(); 4]).await;
    let cloud = cloud(&server);
    let range = cloud
        .commit_range(&repo(), &["b", "c"], &["a"], Caps::DEFAULT)
        .await
        .unwrap();
    assert_eq!(range.items.len(), 2);
    assert_eq!(
        cloud
            .recent_commits(&repo(), Some("main"), 1)
            .await
            .unwrap()
            .len(),
        1
    );
    cloud
        .recent_commits(&repo(), Some("feature/x"), 10)
        .await
        .unwrap();
    cloud.recent_commits(&repo(), None, 10).await.unwrap();
    let requests = server.requests();
    let targets: Vec<&str> = requests.iter().map(|request| target(request)).collect();
    assert_eq!(
        targets,
        [
            "/2.0/repositories/acme/shop/commits?include=b&include=c&exclude=a&pagelen=100",
            "/2.0/repositories/acme/shop/commits/main?pagelen=10",
            "/2.0/repositories/acme/shop/commits?include=feature%2Fx&pagelen=10",
            "/2.0/repositories/acme/shop/commits?pagelen=10",
        ]
    );
    requests.iter().for_each(|request| assert_signed(request));
}

#[tokio::test]
async fn files_come_raw_capped_and_from_storage_without_credentials() {
    let storage = TestServer::start(vec![Answer::new(200).body(b"\xff\x00big")]).await;
    let server = TestServer::start(vec![
        Answer::new(200).body(b"fn main() {}"),
        Answer::new(200).body(b"123456"),
    ])
    .await;
    let away = storage.url().join("/lfs/1").unwrap();
    server.then(Answer::new(301).header("location", away.as_str()));
    let (client, _) = client(&[&server, &storage]);
    let cloud = client.for_credential(Credential::Bearer("token-of-the-test".into()));
    assert_eq!(
        cloud
            .source(&repo(), "abc", "src/a b.rs", 100)
            .await
            .unwrap(),
        b"fn main() {}"
    );
    assert_eq!(
        cloud
            .diff(&repo(), "a..b", &["x y"], 5)
            .await
            .unwrap_err()
            .kind(),
        Kind::TooLarge
    );
    assert_eq!(
        cloud.source(&repo(), "abc", "big.bin", 100).await.unwrap(),
        b"\xff\x00big"
    );
    let requests = server.requests();
    assert_eq!(
        target(&requests[0]),
        "/2.0/repositories/acme/shop/src/abc/src/a%20b.rs"
    );
    assert_eq!(
        target(&requests[1]),
        "/2.0/repositories/acme/shop/diff/a..b?topic=false&path=x+y"
    );
    assert!(requests[0].contains("authorization: Bearer token-of-the-test"));
    assert!(!storage.requests()[0].contains("token-of-the-test"));
}
