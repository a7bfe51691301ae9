use bitbucket_sandbox::model::Tracker;
use serde_json::json;

use crate::kit::{Kit, REPO};

#[tokio::test]
async fn an_issue_lives() {
    let kit = Kit::start().await;
    let body = json!({
        "title": "Cart total <b> is wrong", "content": {"raw": "line 1\n<script>"},
        "kind": "bug", "priority": "critical",
    });
    let made = kit
        .call("POST", &format!("{REPO}/issues"), Some(body), 201)
        .await;
    assert_eq!(made["type"], "issue");
    assert_eq!(made["id"], 1);
    assert_eq!(made["state"], "new");
    assert_eq!(made["reporter"]["username"], "acme");
    assert_eq!(made["content"]["raw"], "line 1\n<script>");
    assert_eq!(made["content"]["html"], "<p>line 1<br>&lt;script&gt;</p>");
    assert_eq!(
        made["links"]["html"]["href"],
        kit.url("/acme/shop/issues/1")
    );
    assert_eq!(kit.get(&format!("{REPO}/issues/1")).await, made);

    let put = json!({"state": "resolved"});
    let changed = kit
        .call("PUT", &format!("{REPO}/issues/1"), Some(put), 200)
        .await;
    assert_eq!(changed["state"], "resolved");
    assert_eq!(changed["title"], made["title"]);
    assert_eq!(changed["priority"], "critical");
    assert_eq!(kit.sandbox.issues("acme/shop")[0].state, "resolved");

    let second = json!({"title": "Second"});
    let second = kit
        .call("POST", &format!("{REPO}/issues"), Some(second), 201)
        .await;
    assert_eq!(
        (second["id"].clone(), second["kind"].clone()),
        (json!(2), json!("bug"))
    );
    assert_eq!(
        kit.send("DELETE", &format!("{REPO}/issues/2"), None)
            .await
            .status(),
        204
    );
    assert_eq!(
        kit.send("GET", &format!("{REPO}/issues/2"), None)
            .await
            .status(),
        404
    );
    let third = kit
        .call(
            "POST",
            &format!("{REPO}/issues"),
            Some(json!({"title": "3"})),
            201,
        )
        .await;
    assert_eq!(third["id"], 3, "numbers are not used twice");
    kit.assert_clean();
}

#[tokio::test]
async fn search_sort_and_pages() {
    let kit = Kit::start().await;
    for number in 1..=12 {
        let body = json!({"title": format!("Error {number} in \"cart\""), "content": {"raw": format!("marker-{number}.")}});
        kit.call("POST", &format!("{REPO}/issues"), Some(body), 201)
            .await;
    }
    let titled = kit
        .get(&format!("{REPO}/issues?q=title~%22error+12%22"))
        .await;
    assert_eq!(titled["values"].as_array().unwrap().len(), 1);
    assert_eq!(titled["values"][0]["id"], 12);
    let marked = kit
        .get(&format!(
            "{REPO}/issues?q=content.raw%20~%20%22marker-7.%22"
        ))
        .await;
    assert_eq!(marked["values"][0]["id"], 7);
    let quoted = kit
        .get(&format!(
            "{REPO}/issues?q=title~%22%5C%22cart%5C%22%22&pagelen=50"
        ))
        .await;
    assert_eq!(quoted["size"], 12);

    let ids = |values: Vec<serde_json::Value>| -> Vec<i64> {
        values.iter().map(|v| v["id"].as_i64().unwrap()).collect()
    };
    let sorted = kit.all(&format!("{REPO}/issues?sort=id&pagelen=5")).await;
    assert_eq!(ids(sorted), (1..=12).collect::<Vec<_>>());
    let newest = kit.all(&format!("{REPO}/issues?pagelen=5")).await;
    assert_eq!(ids(newest), (1..=12).rev().collect::<Vec<_>>());
    let last = kit.get(&format!("{REPO}/issues?pagelen=5&page=3")).await;
    assert!(last.get("next").is_none() && last["previous"].is_string());
    kit.assert_clean();
}

#[tokio::test]
async fn comments_live() {
    let kit = Kit::start().await;
    kit.call(
        "POST",
        &format!("{REPO}/issues"),
        Some(json!({"title": "x"})),
        201,
    )
    .await;
    let list = format!("{REPO}/issues/1/comments");
    let body = json!({"content": {"raw": "fixed in abc"}});
    let made = kit.call("POST", &list, Some(body), 201).await;
    assert_eq!(made["type"], "issue_comment");
    assert_eq!(made["content"]["raw"], "fixed in abc");
    assert_eq!(made["issue"]["id"], 1);
    let one = format!("{list}/{}", made["id"]);
    let put = kit
        .call(
            "PUT",
            &one,
            Some(json!({"content": {"raw": "changed"}})),
            200,
        )
        .await;
    assert_eq!(put["content"]["raw"], "changed");
    assert!(put["updated_on"].is_string());
    assert_eq!(kit.get(&one).await, put);
    assert_eq!(kit.get(&list).await["size"], 1);
    let found = kit.get(&format!("{list}?q=content.raw~%22chan%22")).await;
    assert_eq!(found["size"], 1);
    assert_eq!(kit.send("DELETE", &one, None).await.status(), 204);
    assert_eq!(kit.send("GET", &one, None).await.status(), 404);
    assert_eq!(kit.get(&list).await["size"], 0);
    kit.assert_clean();
}

#[tokio::test]
async fn changes_fire_hooks() {
    let kit = Kit::start().await;
    kit.hook(
        &["issue:created", "issue:updated", "issue:comment_created"],
        None,
    )
    .await;
    kit.call(
        "POST",
        &format!("{REPO}/issues"),
        Some(json!({"title": "x"})),
        201,
    )
    .await;
    let comments = format!("{REPO}/issues/1/comments");
    kit.call(
        "POST",
        &comments,
        Some(json!({"content": {"raw": "hm"}})),
        201,
    )
    .await;
    let issue = format!("{REPO}/issues/1");
    kit.call("PUT", &issue, Some(json!({"state": "closed"})), 200)
        .await;
    kit.call("PUT", &issue, Some(json!({"state": "closed"})), 200)
        .await;
    kit.settle().await;
    let mut seen: Vec<_> = kit
        .app
        .seen("/hook")
        .iter()
        .map(|s| (s.headers["x-event-key"].clone(), s.json()))
        .collect();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let keys: Vec<_> = seen.iter().map(|s| s.0.as_str()).collect();
    assert_eq!(
        keys,
        ["issue:comment_created", "issue:created", "issue:updated"]
    );
    assert_eq!(seen[0].1["comment"]["content"]["raw"], "hm");
    assert_eq!(
        seen[2].1["changes"]["state"],
        json!({"old": "new", "new": "closed"})
    );
}

#[tokio::test]
async fn a_repository_without_tracker() {
    let kit = Kit::start().await;
    kit.sandbox.set_tracker("acme/shop", Tracker::Off).unwrap();
    let answer = kit
        .call(
            "POST",
            &format!("{REPO}/issues"),
            Some(json!({"title": "x"})),
            404,
        )
        .await;
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no issue tracker")
    );
    assert_eq!(kit.get(REPO).await["has_issues"], false);
    let set = json!({"repo": "acme/shop", "tracker": "removed"});
    assert_eq!(kit.control("POST", "tracker", Some(set)).await.0, 204);
    let answer = kit.call("GET", &format!("{REPO}/issues"), None, 410).await;
    assert!(answer["error"]["data"]["announcement_url"].is_string());
    kit.assert_clean();
}
