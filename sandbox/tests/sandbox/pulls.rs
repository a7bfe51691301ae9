//! Pull requests on real branches, and the build statuses of their commits.

use bitbucket_sandbox::model::{MergeStrategy, Permission, PullLinks, PullState};
use bitbucket_sandbox::{NewCredential, NewPullRequest, NewToken};
use serde_json::{Value, json};

use crate::kit::{Clone, Kit, REPO};

/// Base commit on `main`; two commits on `fix/cart` and one on `side`; hashes in this order.
pub(crate) fn branches(kit: &Kit) -> (Clone, Vec<String>) {
    let clone = kit.clone();
    clone.write("cart.py", "a = 1\nb = 2\nc = 3\nd = 4\n");
    let mut hashes = vec![clone.commit("Base")];
    clone.git(&["checkout", "-q", "-b", "fix/cart"]);
    clone.write("cart.py", "a = 2\nb = 2\nc = 3\nd = 4\n");
    hashes.push(clone.commit("Fix a"));
    clone.write("cart test.py", "assert True\n");
    hashes.push(clone.commit("Test a"));
    clone.git(&["checkout", "-q", "-b", "side", "main"]);
    clone.write("cart.py", "a = 3\nb = 2\nc = 3\nd = 4\n");
    hashes.push(clone.commit("Other a"));
    clone.push(&["origin", "main", "fix/cart", "side"]);
    (clone, hashes)
}

impl Kit {
    /// A call by a token that may do everything with pull requests.
    pub(crate) async fn write(
        &self,
        method: &str,
        target: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let new = NewToken {
            workspace: "acme".into(),
            scopes: vec!["pullrequest:write".into()],
            expires_in: None,
        };
        let token = self.sandbox.create_token(&new).unwrap();
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, self.url(target));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.bearer_auth(token.expose()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    async fn wrote(&self, method: &str, target: &str, body: Value, expected: u16) -> Value {
        let (status, answer) = self.write(method, target, Some(body)).await;
        assert_eq!(status, expected, "{method} {target}: {answer}");
        answer
    }

    pub(crate) async fn open(&self, source: &str, destination: &str) -> Value {
        let body = json!({
            "title": format!("Take {source}"), "source": {"branch": {"name": source}},
            "destination": {"branch": {"name": destination}},
        });
        self.wrote("POST", &format!("{REPO}/pullrequests"), body, 201)
            .await
    }
}

fn ids(values: &[Value]) -> Vec<u64> {
    values.iter().map(|v| v["id"].as_u64().unwrap()).collect()
}

fn hashes_of(values: &[Value]) -> Vec<&str> {
    values.iter().map(|v| v["hash"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_pull_request_lives() {
    let kit = Kit::start().await;
    let (_clone, h) = branches(&kit);
    let body = json!({
        "title": "Fix the cart", "description": "a was wrong",
        "source": {"branch": {"name": "fix/cart"}}, "close_source_branch": true,
    });
    let pulls = format!("{REPO}/pullrequests");
    let made = kit.wrote("POST", &pulls, body, 201).await;
    assert_eq!((&made["id"], &made["state"]), (&json!(1), &json!("OPEN")));
    assert_eq!(made["source"]["branch"]["name"], "fix/cart");
    assert_eq!(made["source"]["commit"]["hash"], h[2][..12]);
    assert_eq!(made["destination"]["branch"]["name"], "main");
    assert_eq!(made["author"]["username"], "acme");
    let one = format!("{pulls}/1");
    assert_eq!(kit.get(&one).await, made);
    let commits = kit.all(&format!("{one}/commits?pagelen=1")).await;
    assert_eq!(hashes_of(&commits), [&h[1], &h[2]], "in the order of time");

    let answer = kit.send("GET", &format!("{one}/diffstat"), None).await;
    assert_eq!(answer.status(), 302);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let stat = kit
        .get(location.strip_prefix(kit.sandbox.url()).unwrap())
        .await;
    assert_eq!(stat["size"], 2);

    let change =
        json!({"title": "Fix the cart at last", "destination": {"branch": {"name": "side"}}});
    let changed = kit.wrote("PUT", &one, change, 200).await;
    assert_eq!(changed["title"], "Fix the cart at last");
    assert_eq!(changed["destination"]["commit"]["hash"], h[3][..12]);
    assert_eq!(changed["description"], "a was wrong");

    let (status, declined) = kit.write("POST", &format!("{one}/decline"), None).await;
    assert_eq!((status, &declined["state"]), (200, &json!("DECLINED")));
    let (status, _) = kit.write("POST", &format!("{one}/decline"), None).await;
    assert_eq!(status, 409, "once is enough");
    assert_eq!(
        kit.send("GET", &format!("{pulls}/2"), None).await.status(),
        404
    );
    kit.assert_clean();
}

#[tokio::test]
async fn lists_are_by_state_and_in_pages() {
    let kit = Kit::start().await;
    let (clone, h) = branches(&kit);
    for number in 0..3 {
        clone.git(&["checkout", "-q", "-b", &format!("b{number}"), &h[2]]);
        clone.commit("More");
        clone.push(&["origin", &format!("b{number}")]);
        kit.open(&format!("b{number}"), "main").await;
    }
    kit.open("side", "main").await;
    kit.sandbox
        .decline_pull_request("acme/shop", 2, "no")
        .unwrap();
    let pulls = format!("{REPO}/pullrequests");
    assert_eq!(
        ids(&kit.all(&format!("{pulls}?pagelen=1")).await),
        [4, 3, 1]
    );
    assert_eq!(ids(&kit.all(&format!("{pulls}?state=DECLINED")).await), [2]);
    assert_eq!(kit.get(&format!("{pulls}?state=MERGED")).await["size"], 0);
    let both = format!("{pulls}?state=OPEN&state=DECLINED&sort=id&pagelen=3");
    assert_eq!(ids(&kit.all(&both).await), [1, 2, 3, 4]);
    let found = format!("{pulls}?q=source.branch.name%3D%22side%22");
    let found = kit.all(&found).await;
    assert_eq!(ids(&found), [4]);
    assert_eq!(found[0].get("participants"), None, "lists leave them out");
    kit.assert_clean();
}

#[tokio::test]
async fn merges_are_gits() {
    let kit = Kit::start().await;
    let (clone, h) = branches(&kit);
    let merge = |id: u64| format!("{REPO}/pullrequests/{id}/merge");
    kit.open("fix/cart", "main").await;
    kit.open("side", "main").await;
    let body = json!({"type": "x", "merge_strategy": "fast_forward", "close_source_branch": true});
    let merged = kit.wrote("POST", &merge(1), body, 200).await;
    assert_eq!(merged["state"], "MERGED");
    assert_eq!(merged["merge_commit"]["hash"], h[2][..12]);
    assert_eq!(merged["closed_by"]["username"], "acme");
    clone.git(&["fetch", "-q", "--prune"]);
    assert_eq!(clone.git(&["rev-parse", "origin/main"]), h[2]);
    let left = clone.git(&["branch", "-r", "--format=%(refname:short)"]);
    assert!(!left.contains("fix/cart"), "{left}");

    // The other one changed the same line.
    let (status, answer) = kit.write("POST", &merge(2), None).await;
    assert_eq!(status, 409, "{answer}");
    let ahead = json!({"merge_strategy": "fast_forward"});
    kit.wrote("POST", &merge(2), ahead, 409).await;
    clone.git(&["checkout", "-q", "side"]);
    clone.git(&["merge", "-q", "-s", "ours", "-m", "Settle", "origin/main"]);
    let settled = clone.git(&["rev-parse", "HEAD"]);
    clone.push(&["origin", "side"]);
    let open = kit.get(&format!("{REPO}/pullrequests/2")).await;
    assert_eq!(
        open["source"]["commit"]["hash"],
        settled[..12],
        "it follows its branch"
    );

    let (status, merged) = kit.write("POST", &merge(2), None).await;
    assert_eq!(status, 200, "{merged}");
    clone.git(&["fetch", "-q"]);
    let head = clone.git(&["rev-parse", "origin/main"]);
    assert_eq!(merged["merge_commit"]["hash"], head[..12]);
    assert_eq!(
        clone.git(&["log", "-1", "--format=%P", &head]),
        format!("{} {settled}", h[2])
    );
    let message = clone.git(&["log", "-1", "--format=%B", &head]);
    assert_eq!(message, "Merged in side (pull request #2)\n\nTake side");
    assert_eq!(
        clone.git(&["show", "origin/main:cart.py"]).lines().next(),
        Some("a = 3")
    );
    let (status, _) = kit.write("POST", &merge(2), None).await;
    assert_eq!(status, 409, "it is merged already");
    kit.assert_clean();
}

#[tokio::test]
async fn a_squash_is_one_commit_and_a_push_of_everything_a_merge() {
    let kit = Kit::start().await;
    let (clone, h) = branches(&kit);
    kit.open("fix/cart", "main").await;
    let body = json!({"merge_strategy": "squash", "message": "All of it"});
    let target = format!("{REPO}/pullrequests/1/merge");
    let merged = kit.wrote("POST", &target, body, 200).await;
    clone.git(&["fetch", "-q"]);
    let seen = clone.git(&["log", "-1", "--format=%P %s", "origin/main"]);
    assert_eq!(seen, format!("{} All of it", h[0]));
    assert_eq!(
        clone.git(&["diff", "origin/main", &h[2]]),
        "",
        "all changes are in it"
    );
    assert_ne!(merged["merge_commit"]["hash"], h[2][..12]);

    clone.git(&["checkout", "-q", "-B", "later", "origin/main"]);
    clone.write("later.py", "1\n");
    let last = clone.commit("Later");
    clone.push(&["origin", "later"]);
    let new = NewPullRequest {
        repo: "acme/shop".into(),
        title: "Later".into(),
        source: "later".into(),
        ..NewPullRequest::default()
    };
    assert_eq!(kit.sandbox.open_pull_request(new).await.unwrap().id, 2);
    clone.push(&["origin", "later:main"]);
    let found = kit.sandbox.pull_requests("acme/shop");
    assert_eq!(found[1].state, PullState::Merged, "whoever pushed it");
    assert_eq!(found[1].merge_commit.as_deref(), Some(last.as_str()));
    kit.assert_clean();
}

#[tokio::test]
async fn commits_know_their_pull_requests() {
    let kit = Kit::start().await;
    let (_clone, h) = branches(&kit);
    kit.open("fix/cart", "main").await;
    kit.open("fix/cart", "side").await;
    let of = |hash: &str| format!("{REPO}/commit/{hash}/pullrequests");
    assert_eq!(ids(&kit.all(&of(&h[1])).await), [1, 2]);
    assert_eq!(kit.get(&of(&h[0])).await["size"], 0, "it was there before");
    let done = kit
        .sandbox
        .merge_pull_request("acme/shop", 1, MergeStrategy::MergeCommit)
        .await
        .unwrap();
    assert_eq!(ids(&kit.all(&of(&h[2])).await), [1, 2], "merged ones too");
    let merge = done.merge_commit.unwrap();
    assert_eq!(kit.get(&of(&merge)).await["size"], 0, "nobody reviewed it");
    kit.sandbox
        .set_pull_request_links("acme/shop", PullLinks::Indexing)
        .unwrap();
    assert_eq!(kit.call("GET", &of(&h[1]), None, 202).await["size"], 0);
    let off = json!({"repo": "acme/shop", "links": "off"});
    assert_eq!(
        kit.control("POST", "pull-requests/links", Some(off))
            .await
            .0,
        204
    );
    kit.call("GET", &of(&h[1]), None, 404).await;
    kit.assert_clean();
}

#[tokio::test]
async fn comments_and_hooks() {
    let kit = Kit::start().await;
    let (clone, h) = branches(&kit);
    kit.hook(
        &[
            "pullrequest:created",
            "pullrequest:updated",
            "pullrequest:fulfilled",
            "pullrequest:rejected",
            "pullrequest:comment_created",
        ],
        None,
    )
    .await;
    let one = format!("{REPO}/pullrequests/1");
    kit.open("fix/cart", "main").await;
    kit.wrote("PUT", &one, json!({"description": "why"}), 200)
        .await;
    let comments = format!("{one}/comments");
    let text = json!({"content": {"raw": "Good"}});
    let made = kit.call("POST", &comments, Some(text), 201).await;
    assert_eq!(made["type"], "pullrequest_comment");
    let answer = json!({"content": {"raw": "Yes"}, "parent": {"id": made["id"]}});
    let second = kit.call("POST", &comments, Some(answer), 201).await;
    assert_eq!(second["parent"]["id"], made["id"]);
    assert_eq!(kit.get(&format!("{comments}/{}", made["id"])).await, made);
    assert_eq!(
        ids(&kit.all(&format!("{comments}?pagelen=1")).await),
        [made["id"].as_u64().unwrap(), second["id"].as_u64().unwrap()]
    );
    assert_eq!(kit.get(&one).await["comment_count"], 2);
    assert_eq!(
        kit.send("GET", &format!("{comments}/99"), None)
            .await
            .status(),
        404
    );

    clone.git(&["checkout", "-q", "fix/cart"]);
    clone.commit("One more");
    clone.push(&["origin", "fix/cart"]);
    kit.sandbox
        .merge_pull_request("acme/shop", 1, MergeStrategy::Squash)
        .await
        .unwrap();
    kit.open("side", "fix/cart").await;
    kit.sandbox
        .decline_pull_request("acme/shop", 2, "not now")
        .unwrap();
    kit.settle().await;
    let mut seen: Vec<_> = kit
        .app
        .seen("/hook")
        .iter()
        .map(|s| (s.headers["x-event-key"].clone(), s.json()))
        .collect();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let keys: Vec<&str> = seen.iter().map(|s| s.0.as_str()).collect();
    assert_eq!(
        keys,
        [
            "pullrequest:comment_created",
            "pullrequest:comment_created",
            "pullrequest:created",
            "pullrequest:created",
            "pullrequest:fulfilled",
            "pullrequest:rejected",
            "pullrequest:updated",
            "pullrequest:updated",
        ]
    );
    assert!(seen[0].1["comment"]["content"]["raw"].is_string());
    let merged = &seen[4].1["pullrequest"];
    assert_eq!(merged["merge_commit"]["hash"].as_str().unwrap().len(), 12);
    assert_eq!(merged["closed_by"]["type"], "user");
    assert_eq!(seen[5].1["pullrequest"]["reason"], "not now");
    assert_eq!(
        seen[5].1["pullrequest"]["source"]["commit"]["hash"],
        h[3][..12]
    );
    assert_eq!(seen[5].1["repository"]["full_name"], "acme/shop");
    kit.assert_clean();
}

#[tokio::test]
async fn build_statuses_live() {
    let kit = Kit::start().await;
    let (_clone, h) = branches(&kit);
    kit.hook(
        &["repo:commit_status_created", "repo:commit_status_updated"],
        None,
    )
    .await;
    let list = format!("{REPO}/commit/{}/statuses", h[2]);
    let build = json!({
        "key": "unit/tests", "state": "INPROGRESS", "name": "Tests", "description": "They run.",
        "url": "https://ci.example/{repository.full_name}/1", "refname": "fix/cart",
    });
    let made = kit
        .call("POST", &format!("{list}/build"), Some(build.clone()), 201)
        .await;
    assert_eq!(
        (&made["type"], &made["refname"]),
        (&json!("build"), &json!("fix/cart"))
    );
    assert_eq!(made["commit"]["hash"], h[2].as_str());
    let mut done = build;
    done["state"] = json!("SUCCESSFUL");
    kit.call("POST", &format!("{list}/build"), Some(done), 200)
        .await;
    let one = format!("{list}/build/unit%2Ftests");
    assert_eq!(kit.get(&one).await["state"], "SUCCESSFUL");
    let put = json!({"state": "FAILED"});
    let failed = kit.call("PUT", &one, Some(put), 200).await;
    assert_eq!(
        (&failed["state"], &failed["name"]),
        (&json!("FAILED"), &json!("Tests"))
    );
    let lint = json!({"key": "lint", "state": "STOPPED"});
    kit.call("POST", &format!("{list}/build"), Some(lint), 201)
        .await;
    assert_eq!(kit.get(&list).await["size"], 2);
    assert_eq!(kit.get(&format!("{list}?refname=main")).await["size"], 1);
    kit.open("fix/cart", "main").await;
    let of_pull = kit.get(&format!("{REPO}/pullrequests/1/statuses")).await;
    assert_eq!(of_pull["size"], 2);
    assert_eq!(kit.sandbox.build_statuses("acme/shop").len(), 2);
    kit.call("GET", &format!("{list}/build/none"), None, 404)
        .await;
    kit.call("PUT", &format!("{list}/build/none"), Some(json!({})), 404)
        .await;
    kit.settle().await;
    let events: Vec<_> = kit
        .app
        .seen("/hook")
        .iter()
        .map(|s| s.headers["x-event-key"].clone())
        .collect();
    assert_eq!(events.len(), 4);
    kit.assert_clean();
}

#[tokio::test]
async fn data_center_has_the_same() {
    let kit = Kit::start().await;
    let (_clone, h) = branches(&kit);
    kit.person("ada", Permission::Write);
    let new = NewCredential::DataCenterToken {
        user: "ada".into(),
        permission: Permission::Read,
        expires_in: None,
    };
    let ada = kit.sandbox.create_credential(&new).unwrap();
    let shop = "/rest/api/latest/projects/ACME/repos/shop";
    kit.open("fix/cart", "main").await;
    kit.open("side", "main").await;
    kit.sandbox
        .merge_pull_request("acme/shop", 1, MergeStrategy::MergeCommit)
        .await
        .unwrap();
    let get = async |tail: &str| -> Value {
        let answer = kit.with(&ada, "GET", &format!("{shop}/{tail}"), None).await;
        assert_eq!(answer.status(), 200, "{tail}");
        answer.json().await.unwrap()
    };
    let listed = async |tail: &str| ids(get(tail).await["values"].as_array().unwrap());
    assert_eq!(listed("pull-requests").await, [2]);
    assert_eq!(listed("pull-requests?state=ALL").await, [2, 1]);
    assert_eq!(
        listed("pull-requests?state=ALL&order=OLDEST&limit=1").await,
        [1]
    );
    assert_eq!(
        listed("pull-requests?direction=OUTGOING&at=refs/heads/side").await,
        [2]
    );
    assert!(listed("pull-requests?at=refs/heads/side").await.is_empty());
    assert_eq!(
        listed(&format!("commits/{}/pull-requests", h[1])).await,
        [1]
    );
    let one = get("pull-requests/1").await;
    assert_eq!(
        (&one["state"], &one["closed"]),
        (&json!("MERGED"), &json!(true))
    );
    assert_eq!(one["fromRef"]["latestCommit"], h[2].as_str());
    assert!(one["properties"]["mergeCommit"]["id"].is_string());

    let comments = format!("{shop}/pull-requests/2/comments");
    let answer = kit
        .with(&ada, "POST", &comments, Some(json!({"text": "Hm"})))
        .await;
    assert_eq!(answer.status(), 201);
    let made: Value = answer.json().await.unwrap();
    assert_eq!(
        (&made["text"], &made["author"]["name"]),
        (&json!("Hm"), &json!("ada"))
    );
    let again = get(&format!("pull-requests/2/comments/{}", made["id"])).await;
    assert_eq!(again, made);
    let missing = kit
        .with(&ada, "GET", &format!("{shop}/pull-requests/9"), None)
        .await;
    assert_eq!(missing.status(), 404);
    kit.assert_clean();
}

#[tokio::test]
async fn controls_open_merge_and_decline() {
    let kit = Kit::start().await;
    let (clone, h) = branches(&kit);
    let new = |source: &str| json!({"repo": "acme/shop", "title": "By hand", "source": source, "close_source_branch": true});
    for (id, source) in [(1, "fix/cart"), (2, "side")] {
        let (status, made) = kit
            .control("POST", "pull-requests", Some(new(source)))
            .await;
        assert_eq!((status, &made["id"]), (201, &json!(id)), "{made}");
    }
    let (status, made) = kit
        .control("POST", "pull-requests", Some(new("none")))
        .await;
    assert_eq!(status, 400, "{made}");
    let merge = json!({"repo": "acme/shop", "id": 1, "strategy": "fast_forward"});
    let (status, merged) = kit
        .control("POST", "pull-requests/merge", Some(merge))
        .await;
    assert_eq!((status, &merged["state"]), (200, &json!("MERGED")));
    assert_eq!(merged["merge_commit"], h[2].as_str());
    let decline = json!({"repo": "acme/shop", "id": 2, "reason": "no"});
    let (status, declined) = kit
        .control("POST", "pull-requests/decline", Some(decline.clone()))
        .await;
    assert_eq!((status, &declined["state"]), (200, &json!("DECLINED")));
    let (status, _) = kit
        .control("POST", "pull-requests/decline", Some(decline))
        .await;
    assert_eq!(status, 400, "it is closed");
    clone.git(&["fetch", "-q", "--prune"]);
    let left = clone.git(&["branch", "-r", "--format=%(refname:lstrip=3)"]);
    assert_eq!(left.lines().collect::<Vec<_>>(), ["main", "side"]);
    kit.assert_clean();
}
