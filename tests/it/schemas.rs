//! Each route of the Bitbucket stand-in, asked once, answers as Bitbucket's own document says; where the live service
//! differs the stand-in follows the service, and each difference is in the list of exceptions.

use bitbucket_sandbox::{NewToken, Rule};
use serde_json::{Value, json};

use crate::support::Backend;
use crate::support::schemas::{EXCEPTIONS, judge};
use crate::support::world::{World, allow, commit, consumer, expect_violations, git};

/// A caller with every scope.
struct Caller<'a> {
    world: &'a World,
    http: reqwest::Client,
    token: String,
}

impl Caller<'_> {
    async fn call(&self, method: &str, path: &str, body: Option<Value>, expected: u16) -> Value {
        let url = format!("{}/2.0{path}", self.world.bitbucket.url());
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert_eq!(status, expected, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Value {
        self.call("GET", path, None, 200).await
    }
}

fn encoded(uuid: &Value) -> String {
    uuid.as_str()
        .unwrap()
        .replace('{', "%7B")
        .replace('}', "%7D")
}

async fn issues(caller: &Caller<'_>, repo: &str) {
    let new =
        json!({ "title": "Judged", "content": { "raw": "x" }, "kind": "bug", "priority": "major" });
    let made = caller
        .call("POST", &format!("{repo}/issues"), Some(new), 201)
        .await;
    let issue = format!("{repo}/issues/{}", made["id"]);
    caller
        .call("PUT", &issue, Some(json!({ "state": "resolved" })), 200)
        .await;
    caller.get(&issue).await;
    caller.get(&format!("{repo}/issues")).await;
    let text = json!({ "content": { "raw": "Fixed." } });
    let comment = caller
        .call("POST", &format!("{issue}/comments"), Some(text), 201)
        .await;
    caller.get(&format!("{issue}/comments")).await;
    caller
        .get(&format!("{issue}/comments/{}", comment["id"]))
        .await;
    caller
        .call("GET", &format!("{repo}/issues/999"), None, 404)
        .await;
    caller
        .call("POST", &format!("{issue}/comments"), Some(json!({})), 400)
        .await;
}

async fn hooks(caller: &Caller<'_>, subject: &str) {
    let spec = json!({ "description": "x", "url": "https://x.example/", "active": true, "events": ["repo:push"] });
    let made = caller
        .call("POST", &format!("{subject}/hooks"), Some(spec.clone()), 201)
        .await;
    let hook = format!("{subject}/hooks/{}", encoded(&made["uuid"]));
    caller.get(&hook).await;
    caller.call("PUT", &hook, Some(spec), 200).await;
    caller.get(&format!("{subject}/hooks")).await;
    caller.call("DELETE", &hook, None, 204).await;
    caller.call("GET", &hook, None, 404).await;
}

async fn code(caller: &Caller<'_>, repo: &str) {
    let listed = caller.get(&format!("{repo}/commits?include=main")).await;
    let hash = listed["values"][0]["hash"].as_str().unwrap().to_owned();
    let first = listed["values"][1]["hash"].as_str().unwrap();
    for path in [
        format!("commits/{hash}"),
        format!("commit/{hash}"),
        format!("diffstat/{hash}"),
        format!("diffstat/{first}"),
        format!("src/{hash}/"),
        format!("filehistory/{hash}/pricing.py"),
        "refs".to_owned(),
        "refs/branches".to_owned(),
        "refs/branches/main".to_owned(),
        "refs/tags".to_owned(),
        "refs/tags/v1".to_owned(),
    ] {
        caller.get(&format!("{repo}/{path}")).await;
    }
    caller
        .call(
            "GET",
            &format!("{repo}/commit/0000000000000000000000000000000000000000"),
            None,
            404,
        )
        .await;
    caller
        .call("GET", &format!("{repo}/refs/branches/none"), None, 404)
        .await;
}

async fn builds(caller: &Caller<'_>, repo: &str) {
    let statuses = format!("{repo}/commit/main/statuses");
    let build = json!({ "key": "unit", "state": "INPROGRESS", "url": "https://ci.example/1", "refname": "more" });
    for expected in [201, 200] {
        let path = format!("{statuses}/build");
        caller
            .call("POST", &path, Some(build.clone()), expected)
            .await;
    }
    let one = format!("{statuses}/build/unit");
    caller
        .call("PUT", &one, Some(json!({ "state": "STOPPED" })), 200)
        .await;
    caller.get(&one).await;
    caller.get(&statuses).await;
    caller
        .call("GET", &format!("{statuses}/build/none"), None, 404)
        .await;
    // No branch of its own: nothing to say about it.
    let plain = json!({ "key": "lint", "state": "FAILED" });
    caller
        .call("POST", &format!("{statuses}/build"), Some(plain), 201)
        .await;
}

async fn pulls(caller: &Caller<'_>, repo: &str) {
    let pulls = format!("{repo}/pullrequests");
    let new = json!({ "title": "Judged", "description": "x", "source": { "branch": { "name": "more" } } });
    for _ in 0..2 {
        caller.call("POST", &pulls, Some(new.clone()), 201).await;
    }
    caller.call("POST", &pulls, Some(json!({})), 400).await;
    let (one, other) = (format!("{pulls}/1"), format!("{pulls}/2"));
    let text = json!({ "content": { "raw": "Good." } });
    let comments = format!("{one}/comments");
    let said = caller.call("POST", &comments, Some(text), 201).await;
    let answer = json!({ "content": { "raw": "Yes." }, "parent": { "id": said["id"] } });
    caller.call("POST", &comments, Some(answer), 201).await;
    caller.get(&comments).await;
    caller.get(&format!("{comments}/{}", said["id"])).await;
    caller
        .call("GET", &format!("{comments}/999"), None, 404)
        .await;
    caller.get(&pulls).await;
    caller
        .get(&format!("{repo}/commit/more/pullrequests"))
        .await;
    caller.get(&format!("{one}/statuses")).await;
    caller
        .call("PUT", &one, Some(json!({ "title": "Judged again" })), 200)
        .await;
    caller
        .call("POST", &format!("{other}/decline"), None, 200)
        .await;
    caller
        .call("POST", &format!("{one}/merge"), None, 200)
        .await;
    caller.get(&one).await;
    caller.get(&format!("{pulls}?state=MERGED")).await;
    caller.call("GET", &format!("{pulls}/999"), None, 404).await;
}

async fn people(caller: &Caller<'_>, ada: &Caller<'_>) {
    let me = ada.get("/user").await;
    ada.get(&format!("/users/{}", encoded(&me["uuid"]))).await;
    ada.get("/user/workspaces").await;
    ada.get("/user/workspaces/acme/permission").await;
    ada.get("/user/workspaces/acme/permissions/repositories")
        .await;
    caller.get("/workspaces/acme").await;
    caller.call("GET", "/workspaces/nowhere", None, 404).await;
    caller.get("/workspaces/acme/members").await;
    caller.get("/workspaces/acme/permissions").await;
    caller
        .get("/workspaces/acme/permissions/repositories")
        .await;
    let projects = caller.get("/workspaces/acme/projects").await;
    caller
        .get(&format!(
            "/workspaces/acme/projects/{}",
            projects["values"][0]["key"].as_str().unwrap()
        ))
        .await;
    caller.get("/hook_events").await;
    caller.get("/hook_events/repository").await;
    caller.get("/hook_events/workspace").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stand_in_answers_as_the_document_says() {
    let world = World::new(Backend::Sqlite).await;
    let clone = world.clone_repo("work");
    commit(&clone, "pricing.py", "share = 1\n", "Begin");
    commit(&clone, "pricing.py", "share = 2\n", "Go on");
    git(&clone, &["tag", "-a", "v1", "-m", "One"]);
    git(&clone, &["push", "-q", "origin", "HEAD:main", "v1"]);
    commit(&clone, "pricing.py", "share = 3\n", "Offer more");
    git(&clone, &["push", "-q", "origin", "HEAD:more"]);
    world.settle().await;
    let consumer = consumer(&world.bitbucket, false, None);
    let granted = allow(&world.t.app, &world.bitbucket, &consumer).await;
    let scopes = [
        "account",
        "email",
        "repository:admin",
        "pullrequest:write",
        "webhook",
        "issue:write",
        "project",
    ];
    let new = NewToken {
        workspace: "acme".into(),
        scopes: scopes.map(str::to_owned).into(),
        expires_in: None,
    };
    let caller = Caller {
        world: &world,
        http: reqwest::Client::new(),
        token: world
            .bitbucket
            .create_token(&new)
            .unwrap()
            .expose()
            .to_owned(),
    };
    let ada = Caller {
        world: &world,
        http: reqwest::Client::new(),
        token: granted.access.expose().to_owned(),
    };
    let repo = "/repositories/acme/shop";
    caller.get("/repositories/acme").await;
    caller.get(repo).await;
    caller
        .call("GET", "/repositories/acme/none", None, 404)
        .await;
    people(&caller, &ada).await;
    code(&caller, repo).await;
    builds(&caller, repo).await;
    pulls(&caller, repo).await;
    hooks(&caller, repo).await;
    hooks(&caller, "/workspaces/acme").await;
    issues(&caller, repo).await;
    let findings = judge(&world.bitbucket.take_answers());
    assert!(findings.wrong.is_empty(), "{:#?}", findings.wrong);
    assert!(findings.judged.len() > 65, "{:#?}", findings.judged);
    let unneeded: Vec<_> = (0..EXCEPTIONS.len())
        .filter(|number| !findings.excused.contains(number))
        .map(|number| (EXCEPTIONS[number].schema, EXCEPTIONS[number].because))
        .collect();
    assert!(unneeded.is_empty(), "no answer needs {unneeded:?}");
    expect_violations(&world.bitbucket, &[Rule::BodyField]);
}
