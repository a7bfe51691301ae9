use std::time::{Duration, Instant};

use bitbucket_sandbox::{Action, Fault, RateLimit};
use chrono::{TimeZone as _, Utc};
use serde_json::json;

use crate::kit::{Kit, REPO};

fn issues() -> String {
    format!("{REPO}/issues")
}

impl Kit {
    async fn post_issue(&self) -> reqwest::Result<reqwest::Response> {
        self.try_send("POST", &issues(), Some(json!({"title": "x"})))
            .await
    }

    fn fault(&self, action: Action) {
        self.sandbox
            .add_fault(Fault::once("POST", "/issues", action));
    }

    fn count(&self) -> usize {
        self.sandbox.issues("acme/shop").len()
    }
}

#[tokio::test]
async fn a_status_is_answered_instead_of_working() {
    let kit = Kit::start().await;
    let fault = json!({
        "match": {"path_contains": "/issues", "times": 2},
        "action": {"kind": "status", "status": 555, "retry_after": 7, "body": "too slow"},
    });
    assert_eq!(kit.control("POST", "faults", Some(fault)).await.0, 204);
    for _ in 0..2 {
        let answer = kit.post_issue().await.unwrap();
        assert_eq!(answer.status().as_u16(), 555);
        assert_eq!(answer.headers()["retry-after"], "7");
        assert_eq!(answer.text().await.unwrap(), "too slow");
    }
    assert_eq!(kit.post_issue().await.unwrap().status(), 201);
    assert_eq!(kit.count(), 1);
}

#[tokio::test]
async fn a_call_that_breaks_a_rule_does_not_use_a_fault_up() {
    let kit = Kit::start().await;
    kit.fault(Action::DropAfter);
    let answer = kit.http.post(kit.url(&issues())).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(
        kit.control("GET", "faults", None)
            .await
            .1
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(kit.control("DELETE", "faults", None).await.0, 204);
    assert_eq!(kit.post_issue().await.unwrap().status(), 201);
}

#[tokio::test]
async fn slow_and_redirect() {
    let kit = Kit::start().await;
    kit.fault(Action::Slow { ms: 300 });
    let begun = Instant::now();
    assert_eq!(kit.post_issue().await.unwrap().status(), 201);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    kit.fault(Action::Redirect {
        url: "http://elsewhere.example/x".into(),
        status: None,
    });
    let answer = kit.post_issue().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (302, &"http://elsewhere.example/x".parse().unwrap())
    );
    assert_eq!(kit.count(), 1);
}

#[tokio::test]
async fn dropped_connections() {
    let kit = Kit::start().await;
    kit.fault(Action::DropBefore);
    let error = kit.post_issue().await.unwrap_err();
    assert!(error.is_request(), "{error:?}");
    assert_eq!(kit.count(), 0, "nothing was done");
    kit.fault(Action::DropAfter);
    let error = kit.post_issue().await.unwrap_err();
    assert!(error.is_request() && error.status().is_none(), "{error:?}");
    assert_eq!(kit.count(), 1, "the work was done");
    assert_eq!(kit.sandbox.calls().last().unwrap().status, 0);
}

#[tokio::test]
async fn garbage_and_half_answers() {
    let kit = Kit::start().await;
    kit.fault(Action::Garbage);
    let answer = kit.post_issue().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.json::<serde_json::Value>().await.is_err());
    kit.fault(Action::Half);
    let answer = kit.post_issue().await.unwrap();
    assert_eq!(answer.status(), 201);
    let length = answer.content_length().unwrap();
    assert!(length > 100);
    assert!(
        answer.text().await.is_err(),
        "the connection breaks in the middle"
    );
    assert_eq!(kit.count(), 2, "the work was done both times");
    assert_eq!(
        kit.post_issue().await.unwrap().status(),
        201,
        "the next call is well"
    );
}

#[tokio::test]
async fn a_held_call_has_done_its_work() {
    let kit = Kit::start().await;
    kit.fault(Action::HoldAfter { ms: 30_000 });
    let url = kit.url(&issues());
    let header = kit.authorization("POST", &issues());
    let http = kit.http.clone();
    let call = tokio::spawn(async move {
        http.post(url)
            .header("Authorization", header)
            .json(&json!({"title": "x"}))
            .send()
            .await
    });
    wait(|| kit.sandbox.held() == 1).await;
    assert_eq!(kit.count(), 1);
    assert_eq!(kit.control("GET", "held", None).await.1, json!({"held": 1}));
    kit.sandbox.release_held();
    assert_eq!(call.await.unwrap().unwrap().status(), 201);
    assert_eq!(kit.sandbox.held(), 0);

    // The caller is killed while it waits.
    kit.fault(Action::HoldAfter { ms: 30_000 });
    let request = kit.post_issue();
    assert!(
        tokio::time::timeout(Duration::from_millis(300), request)
            .await
            .is_err()
    );
    assert_eq!(kit.count(), 2);
    kit.control("DELETE", "held", None).await;
    wait(|| kit.sandbox.held() == 0).await;
}

async fn wait(done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited for too long");
}

#[tokio::test]
async fn the_work_outlives_its_caller() {
    let kit = Kit::start().await;
    kit.fault(Action::Slow { ms: 400 });
    assert!(
        tokio::time::timeout(Duration::from_millis(100), kit.post_issue())
            .await
            .is_err()
    );
    assert_eq!(kit.count(), 0);
    wait(|| kit.count() == 1).await;
}

#[tokio::test]
async fn rate_limits() {
    let kit = Kit::start().await;
    kit.sandbox.set_limit(Some(RateLimit {
        limit: 2,
        window_seconds: 3600,
        retry_after: None,
        credential: None,
    }));
    for _ in 0..2 {
        kit.get(REPO).await;
    }
    let answer = kit.send("GET", REPO, None).await;
    assert_eq!(answer.status(), 429);
    assert!(!answer.headers().contains_key("retry-after"));
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("Rate limit for this resource has been exceeded")
    );
    let limit = json!({"limit": 0, "retry_after": 3});
    assert_eq!(kit.control("POST", "limits", Some(limit)).await.0, 204);
    assert_eq!(
        kit.send("GET", REPO, None).await.headers()["retry-after"],
        "3"
    );
    assert_eq!(kit.control("DELETE", "limits", None).await.0, 204);
    kit.get(REPO).await;
    kit.assert_clean();
}

#[tokio::test]
async fn the_clock_can_be_set() {
    let kit = Kit::start().await;
    let (status, _) = kit
        .control(
            "POST",
            "clock",
            Some(json!({"now": "2030-01-01T00:00:00Z"})),
        )
        .await;
    assert_eq!(status, 204);
    assert_eq!(
        kit.send("GET", REPO, None).await.status(),
        401,
        "the token is of another time"
    );
    kit.sandbox
        .set_clock(Some(Utc.timestamp_opt(crate::kit::now(), 0).unwrap()));
    kit.get(REPO).await;
    kit.sandbox.set_clock(None);
    kit.get(REPO).await;
}

#[tokio::test]
async fn calls_are_counted_by_template() {
    let kit = Kit::start().await;
    kit.control("DELETE", "calls", None).await;
    kit.get(REPO).await;
    kit.get(REPO).await;
    kit.send("GET", "/2.0/nothing", None).await;
    let (_, calls) = kit.control("GET", "calls", None).await;
    assert_eq!(
        calls["counts"]["GET /2.0/repositories/{workspace}/{repo}"],
        2
    );
    assert_eq!(calls["counts"]["GET -"], 1);
    assert_eq!(calls["recent"][0]["credential"], kit.client_key.as_str());
    assert_eq!(calls["recent"][2]["status"], 404);
}
