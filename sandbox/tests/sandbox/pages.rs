use bitbucket_sandbox::NewPullRequest;
use serde_json::json;

use crate::kit::{Kit, REPO};

#[tokio::test]
async fn pages_show_what_there_is_and_escape_it() {
    let kit = Kit::start().await;
    let clone = kit.clone();
    clone.write("a.html", "<b>file</b>\n");
    let hash = clone.commit("Add <i>markup</i>");
    clone.git(&["checkout", "-q", "-b", "more"]);
    clone.commit("More");
    clone.push(&["origin", "main", "more"]);
    let pull = NewPullRequest {
        repo: "acme/shop".into(),
        title: "Take <u>more</u>".into(),
        source: "more".into(),
        ..NewPullRequest::default()
    };
    kit.sandbox.open_pull_request(pull).await.unwrap();
    let issue =
        json!({"title": "Bad <script>alert(1)</script>", "content": {"raw": "<img src=x>"}});
    kit.call("POST", &format!("{REPO}/issues"), Some(issue), 201)
        .await;
    let comment = json!({"content": {"raw": "<u>seen</u>"}});
    kit.call(
        "POST",
        &format!("{REPO}/issues/1/comments"),
        Some(comment),
        201,
    )
    .await;
    kit.hook(&["repo:push"], Some("s")).await;
    let page = async |path: &str| {
        let answer = kit
            .http
            .get(kit.url(path))
            .header("Accept", "text/html")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text().await.unwrap();
        for bad in ["<script", "<img src", "<u>", "<b>file", "<i>"] {
            assert!(!text.contains(bad), "{path} holds {bad}");
        }
        text
    };
    let home = page("/").await;
    for part in [
        "acme/shop",
        "connection:1",
        "/acme/shop.git",
        "No caller broke a rule",
        "/hook",
    ] {
        assert!(home.contains(part), "{part}");
    }
    assert!(page("/acme/").await.contains("acme/shop"));
    let repository = page("/acme/shop").await;
    assert!(repository.contains("Add &lt;i&gt;markup") && repository.contains("git clone"));
    assert!(
        page("/acme/shop/issues")
            .await
            .contains("Bad &lt;script&gt;")
    );
    let issue = page("/acme/shop/issues/1").await;
    assert!(issue.contains("&lt;u&gt;seen") && issue.contains("&lt;img src=x&gt;"));
    assert!(
        page(&format!("/acme/shop/commits/{hash}"))
            .await
            .contains("+&lt;b&gt;file")
    );
    let pull = "Take &lt;u&gt;more";
    assert!(page("/acme/shop/pull-requests").await.contains(pull));
    let one = page("/acme/shop/pull-requests/1").await;
    assert!(one.contains(pull) && one.contains("more → main"));
    kit.assert_clean();
    for path in [
        "/nobody",
        "/acme/none",
        "/acme/shop/issues/9",
        "/acme/shop/pull-requests/9",
        "/acme/shop/commits/--all",
    ] {
        let answer = kit
            .http
            .get(kit.url(path))
            .header("Accept", "text/html")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    kit.assert_clean();
}
