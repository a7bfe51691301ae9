use std::time::Duration;

use bitbucket_sandbox::model::Secret;
use bitbucket_sandbox::protocol::jwt::hub_signature;
use bitbucket_sandbox::{CommitRequest, DeliverySettings, DeliveryStatus};
use serde_json::json;

use crate::kit::{Kit, REPO};

fn encoded(uuid: &str) -> String {
    uuid.replace('{', "%7B").replace('}', "%7D")
}

impl Kit {
    async fn commit(&self, text: &str) -> String {
        let request = CommitRequest {
            repo: "acme/shop".into(),
            message: format!("Write {} bytes", text.len()),
            files: [("a.txt".to_owned(), text.to_owned())].into(),
            ..CommitRequest::default()
        };
        self.sandbox.commit(request).await.unwrap()
    }
}

#[tokio::test]
async fn a_hook_lives_and_keeps_its_secret() {
    let kit = Kit::start().await;
    let made = kit
        .hook(&["repo:push", "pullrequest:fulfilled"], Some("first"))
        .await;
    assert_eq!(made["type"], "webhook_subscription");
    assert_eq!(made["secret_set"], true);
    assert_eq!(made.get("secret"), None);
    assert_eq!(made["subject_type"], "repository");
    let one = format!("{REPO}/hooks/{}", encoded(made["uuid"].as_str().unwrap()));
    assert_eq!(made["links"]["self"]["href"], kit.url(&one));
    assert_eq!(kit.get(&one).await, made);

    let put = kit
        .call("PUT", &one, Some(json!({"active": true})), 200)
        .await;
    assert_eq!(
        (put["secret_set"].clone(), put["events"].clone()),
        (json!(true), made["events"].clone())
    );
    kit.commit("1").await;
    kit.settle().await;
    let seen = &kit.app.seen("/hook")[0];
    assert_eq!(
        seen.headers["x-hub-signature"],
        hub_signature(&Secret::new("first"), &seen.body)
    );

    let put = kit
        .call("PUT", &one, Some(json!({"secret": null})), 200)
        .await;
    assert_eq!(put["secret_set"], false);
    kit.commit("2").await;
    kit.settle().await;
    assert!(
        !kit.app.seen("/hook")[1]
            .headers
            .contains_key("x-hub-signature")
    );

    assert_eq!(kit.get(&format!("{REPO}/hooks")).await["size"], 1);
    assert_eq!(kit.send("DELETE", &one, None).await.status(), 204);
    assert_eq!(kit.send("GET", &one, None).await.status(), 404);
    kit.assert_clean();
}

#[tokio::test]
async fn a_workspace_hook_hears_every_repository() {
    let kit = Kit::start().await;
    let body =
        json!({"url": format!("{}/hook", kit.app.url), "events": ["repo:push"], "active": true});
    let made = kit
        .call("POST", "/2.0/workspaces/acme/hooks", Some(body), 201)
        .await;
    assert_eq!(made["subject_type"], "workspace");
    kit.commit("1").await;
    kit.settle().await;
    assert_eq!(kit.app.seen("/hook").len(), 1);
    assert_eq!(kit.get("/2.0/workspaces/acme/hooks").await["size"], 1);
    assert_eq!(kit.get(&format!("{REPO}/hooks")).await["size"], 0);
}

#[tokio::test]
async fn event_lists_are_public() {
    let kit = Kit::start().await;
    for (kind, has) in [("repository", false), ("workspace", true)] {
        let answer = kit
            .http
            .get(kit.url(&format!("/2.0/hook_events/{kind}")))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        assert!(text.contains("repo:push"));
        assert_eq!(text.contains("repo:transfer"), has, "{kind}");
    }
    let answer = kit
        .http
        .get(kit.url("/2.0/hook_events/team"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
    kit.assert_clean();
}

#[tokio::test]
async fn headers_and_retries() {
    let kit = Kit::start().await;
    let made = kit.hook(&["repo:push"], Some("s")).await;
    kit.app.answer("/hook", &[500, 302, 200]);
    kit.commit("1").await;
    kit.settle().await;
    let seen = kit.app.seen("/hook");
    assert_eq!(seen.len(), 3);
    let hook = made["uuid"].as_str().unwrap().trim_matches(['{', '}']);
    for (number, try_) in seen.iter().enumerate() {
        let header = |name: &str| try_.headers[name].as_str();
        assert_eq!(header("x-event-key"), "repo:push");
        assert_eq!(header("x-hook-uuid"), hook);
        assert_eq!(header("x-request-uuid"), seen[0].headers["x-request-uuid"]);
        assert_eq!(header("x-attempt-number"), (number + 1).to_string());
        assert_eq!(header("user-agent"), "Bitbucket-Webhooks/2.0");
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(
            header("x-hub-signature"),
            hub_signature(&Secret::new("s"), &try_.body)
        );
    }
    let log = kit.sandbox.deliveries();
    assert_eq!(log[0].status, DeliveryStatus::Delivered);
    let statuses: Vec<_> = log[0].attempts.iter().map(|a| a.status).collect();
    assert_eq!(statuses, [Some(500), Some(302), Some(200)]);
}

#[tokio::test]
async fn three_failures_are_the_end() {
    let kit = Kit::start().await;
    let settings = DeliverySettings {
        delay_ms: 10,
        ..kit.sandbox.delivery_settings()
    };
    kit.sandbox.set_delivery_settings(settings);
    kit.hook(&["repo:push"], None).await;
    kit.app.answer("/hook", &[503]);
    kit.commit("1").await;
    kit.settle().await;
    assert_eq!(kit.app.seen("/hook").len(), 3);
    assert_eq!(kit.sandbox.deliveries()[0].status, DeliveryStatus::Failed);
}

#[tokio::test]
async fn held_doubled_dropped_and_sent_again() {
    let kit = Kit::start().await;
    kit.hook(&["repo:push"], None).await;
    let set = |hold, duplicate, drop| {
        let body = json!({"hold": hold, "duplicate": duplicate, "drop": drop});
        kit.control("POST", "delivery-settings", Some(body))
    };
    assert_eq!(set(true, true, false).await.0, 204);
    kit.commit("1").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(kit.app.seen("/hook").len(), 0, "held");
    assert_eq!(
        kit.control("POST", "deliveries/release", None).await.1["released"],
        1
    );
    kit.settle().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let seen = kit.app.seen("/hook");
    assert_eq!(seen.len(), 2, "doubled");
    assert_eq!(
        seen[0].headers["x-request-uuid"],
        seen[1].headers["x-request-uuid"]
    );

    set(false, false, true).await;
    kit.commit("2").await;
    assert_eq!(kit.sandbox.deliveries()[1].status, DeliveryStatus::Dropped);
    set(false, false, false).await;
    let (_, log) = kit.control("GET", "deliveries", None).await;
    let lost = &log[1];
    let again = format!("deliveries/{}/redeliver", lost["id"]);
    assert_eq!(kit.control("POST", &again, None).await.0, 202);
    assert_eq!(
        kit.control("POST", &again, Some(json!({"fresh": true})))
            .await
            .0,
        202
    );
    kit.settle().await;
    let seen = kit.app.seen("/hook");
    assert_eq!(seen.len(), 4);
    let same = seen[2..]
        .iter()
        .filter(|s| s.headers["x-request-uuid"] == lost["request_uuid"]);
    assert_eq!(same.count(), 1);
    assert_eq!(
        kit.control("POST", "deliveries/99/redeliver", None).await.0,
        404
    );
}

#[tokio::test]
async fn too_large_bodies_are_not_sent() {
    let kit = Kit::start().await;
    kit.hook(&["repo:push"], None).await;
    let request = CommitRequest {
        repo: "acme/shop".into(),
        message: "long ".repeat(20_000),
        files: [("a.txt".to_owned(), "1".to_owned())].into(),
        ..CommitRequest::default()
    };
    kit.sandbox.commit(request).await.unwrap();
    kit.settle().await;
    assert_eq!(kit.sandbox.deliveries()[0].status, DeliveryStatus::TooLarge);
    assert_eq!(kit.app.seen("/hook").len(), 0);
}

#[tokio::test]
async fn inactive_and_other_hooks_hear_nothing() {
    let kit = Kit::start().await;
    let made = kit.hook(&["repo:push"], None).await;
    let one = format!("{REPO}/hooks/{}", encoded(made["uuid"].as_str().unwrap()));
    kit.call("PUT", &one, Some(json!({"active": false})), 200)
        .await;
    kit.hook(&["pullrequest:created"], None).await;
    kit.commit("1").await;
    kit.settle().await;
    assert!(kit.sandbox.deliveries().is_empty());
}
