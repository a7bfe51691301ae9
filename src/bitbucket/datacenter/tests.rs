//! The client against a scripted server on this machine: what no git repository of the sandbox shows.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use serde_json::{Value, json};

use super::*;
use crate::bitbucket::auth::Credential;
use crate::bitbucket::cloud::HookSpec;
use crate::bitbucket::paths::RepoRef;
use crate::kit::clock::Clock;
use crate::kit::crypto::Secret;
use crate::kit::http::test_server::{Answer as Scripted, TestServer};
use crate::kit::http::{Egress, EgressConfig};

fn server(at: &TestServer, context: &str) -> DataCenter {
    let egress = Egress::new(
        EgressConfig {
            dev: true,
            origins: vec![at.url()],
            ..EgressConfig::default()
        },
        Clock::system(),
    )
    .unwrap();
    let base = at.url().join(context).unwrap();
    let client = Client::new(egress, base.clone(), base.clone(), Clock::system());
    client.for_server(None, base, Credential::Bearer("tok".into()))
}

fn repo() -> RepoRef {
    RepoRef::from_full_name("~ada/shop").unwrap()
}

fn page(values: &Value, next: Option<u64>) -> Scripted {
    let body = json!({"values": values, "isLastPage": next.is_none(), "nextPageStart": next, "start": 0, "limit": 1});
    Scripted::json(200, &body)
}

fn refusal(status: u16, exception: &str, message: &str) -> Scripted {
    let error = json!({"context": null, "message": message, "exceptionName": exception});
    Scripted::json(status, &json!({"errors": [error]}))
}

fn target(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

#[tokio::test]
async fn pages_are_walked_by_what_the_server_says() {
    let at = TestServer::start(vec![
        page(&json!([{"displayId": "a"}, "odd"]), Some(17)),
        page(&json!([{"displayId": "b"}]), Some(41)),
        page(&json!([{"displayId": "c", "latestCommit": "abc"}]), None),
        page(&json!([]), Some(5)),
        page(&json!([]), Some(5)),
        Scripted::json(200, &json!({"size": 0})),
    ])
    .await;
    let server = server(&at, "/ctx");
    let found = server.branches(&repo(), Caps::DEFAULT).await.unwrap();
    let names: Vec<_> = found.items.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(found.complete && found.skipped == 1);
    let requests = at.requests();
    let path = "/ctx/rest/api/latest/projects/~ada/repos/shop/branches?limit=100";
    assert_eq!(target(&requests[0]), path);
    assert_eq!(target(&requests[1]), format!("{path}&start=17"));
    assert_eq!(target(&requests[2]), format!("{path}&start=41"));
    assert!(
        requests
            .iter()
            .all(|one| one.contains("authorization: Bearer tok"))
    );
    // A server that leads in a circle, and something that is no list.
    for _ in 0..2 {
        let error = server.branches(&repo(), Caps::DEFAULT).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Garbage, "{error}");
    }
}

#[tokio::test]
async fn refusals_say_who_is_refused() {
    let unknown = "com.atlassian.bitbucket.auth.IncorrectPasswordAuthenticationException";
    let known = "com.atlassian.bitbucket.AuthorisationException";
    let missing = "com.atlassian.bitbucket.repository.NoSuchRepositoryException";
    let at = TestServer::start(vec![
        refusal(401, unknown, "Authentication failed."),
        refusal(401, known, "You are not permitted to access this resource"),
        refusal(404, missing, "Repository ~ada/shop does not exist."),
        Scripted::new(429).header("retry-after", "60"),
    ])
    .await;
    let server = server(&at, "/");
    for (kind, text) in [
        (Kind::Unauthorized, "Authentication failed."),
        (Kind::Forbidden, "You are not permitted"),
        (Kind::NotFound, "does not exist"),
        (Kind::RateLimited, ""),
    ] {
        let error = server.commit(&repo(), "abc").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(text), "{error}");
    }
}

#[tokio::test]
async fn the_token_is_not_shown_before_it_is_bitbucket() {
    let other = json!({"version": "1", "displayName": "Jira"});
    let at = TestServer::start(vec![
        Scripted::json(
            200,
            &json!({"version": "9.4.1", "displayName": "Bitbucket"}),
        ),
        Scripted::json(200, &other),
        Scripted::new(200).body(b"<html>"),
        Scripted::new(302).header("location", "/login"),
    ])
    .await;
    let server = server(&at, "/bitbucket");
    let (found, _) = server.properties().await.unwrap();
    assert_eq!(found.version.as_deref(), Some("9.4.1"));
    for kind in [Kind::Garbage, Kind::Garbage, Kind::Redirect] {
        assert_eq!(server.properties().await.unwrap_err().kind(), kind);
    }
    let requests = at.requests();
    assert_eq!(requests.len(), 4);
    for request in &requests {
        assert_eq!(
            target(request),
            "/bitbucket/rest/api/latest/application-properties"
        );
        assert!(
            !request.to_lowercase().contains("authorization"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn pull_requests_comments_and_hooks() {
    let pull = json!({
        "id": 7, "version": 3, "title": "Cart", "state": "OPEN",
        "fromRef": {"id": "refs/heads/fix/cart", "displayId": "fix/cart"}, "toRef": {"displayId": "main"},
        "author": {"user": {"name": "ada", "displayName": "Ada Lind"}},
        "links": {"self": [{"href": "https://git.example.org/projects/A/repos/s/pull-requests/7"}]},
    });
    let at = TestServer::start(vec![
        page(&json!([pull, {"title": "no id"}]), None),
        page(&json!([pull]), None),
        Scripted::json(201, &json!({"id": 99, "text": "hello"})),
        Scripted::json(201, &json!({"id": 5, "name": "h", "url": "https://t.example/", "active": true, "events": ["repo:refs_changed"]})),
        Scripted::new(404),
    ])
    .await;
    let server = server(&at, "/");
    let found = server
        .pull_requests(&repo(), "OPEN", Caps::DEFAULT)
        .await
        .unwrap();
    assert_eq!((found.items.len(), found.skipped), (1, 1));
    let one = &found.items[0];
    assert_eq!(
        (one.id, one.source.as_deref(), one.author.as_deref()),
        (7, Some("fix/cart"), Some("Ada Lind"))
    );
    assert!(one.url.as_deref().unwrap().ends_with("/pull-requests/7"));
    assert_eq!(
        server
            .pull_requests_of(&repo(), "abc", Caps::DEFAULT)
            .await
            .unwrap()
            .items,
        found.items
    );
    assert_eq!(
        server
            .comment_pull_request(&repo(), 7, "hello")
            .await
            .unwrap(),
        99
    );
    let secret = Secret::from("hush");
    let spec = HookSpec {
        description: "h",
        url: "https://t.example/",
        events: &["repo:refs_changed"],
        secret: &secret,
    };
    let hook = server.create_hook(&repo(), &spec).await.unwrap();
    assert_eq!(hook.uuid.as_deref(), Some("5"));
    server.delete_hook(&repo(), "5").await.unwrap();
    let requests = at.requests();
    assert!(target(&requests[2]).ends_with("/pull-requests/7/comments"));
    assert!(
        requests[3].contains("\"configuration\":{\"secret\":\"hush\"}"),
        "{}",
        requests[3]
    );
    assert!(target(&requests[4]).ends_with("/webhooks/5"));
}

#[test]
fn servers_and_pages_have_names() {
    let name = |text: &str| server_name(&text.parse().unwrap());
    assert_eq!(name("https://git.example.org"), "git.example.org");
    assert_eq!(
        name("https://git.example.org:7990/bitbucket"),
        "git.example.org:7990/bitbucket"
    );
    assert_eq!(repository_id("git.example.org", 7), "git.example.org#7");
    let page = |full: &str| web_page("https://git.example.org/bitbucket/", full);
    assert_eq!(
        page("ACME/shop"),
        "https://git.example.org/bitbucket/projects/ACME/repos/shop"
    );
    assert_eq!(
        page("~ada/shop"),
        "https://git.example.org/bitbucket/users/ada/repos/shop"
    );
}
