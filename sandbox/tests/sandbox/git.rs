use serde_json::Value;

use crate::kit::{Kit, REPO, traced_git};

/// The bodies of all pushes so far.
async fn pushes(kit: &Kit) -> Vec<Value> {
    kit.settle().await;
    kit.app
        .seen("/hook")
        .iter()
        .map(crate::app::Seen::json)
        .collect()
}

#[tokio::test]
async fn clone_push_and_fetch() {
    let kit = Kit::start().await;
    let clone = kit.clone();
    clone.write("src/cart.py", "total = 1\n");
    let hash = clone.commit("Add cart");
    clone.push(&["origin", "main"]);
    let other = kit.clone();
    assert_eq!(other.git(&["rev-parse", "HEAD"]), hash);
    let shown = kit.get(REPO).await;
    assert_eq!(shown["mainbranch"]["name"], "main");
    kit.assert_clean();
}

#[tokio::test]
async fn a_large_push_arrives_compressed_and_in_chunks() {
    let kit = Kit::start().await;
    let clone = kit.clone();
    // Over http.postBuffer git sends the pack in chunks; the first request is gzip when long.
    let noise: String = (0..40_000)
        .map(|n: u64| format!("{:x}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    clone.write("noise.txt", &noise);
    clone.commit("Add noise");
    for branch in 0..40 {
        clone.git(&[
            "branch",
            &format!("topic/{branch:02}-with-a-name-that-makes-the-request-long"),
        ]);
        clone.commit(&format!("Change {branch}"));
    }
    clone.git(&["config", "http.postBuffer", "65536"]);
    let trace = traced_git(&clone.path, &["push", "-q", "origin", "--all"]);
    assert!(trace.contains("transfer-encoding: chunked"), "{trace}");
    let fresh = kit.dir.path().join("fresh");
    let url = kit.url("/acme/shop.git");
    let trace = traced_git(
        kit.dir.path(),
        &["clone", "-q", &url, fresh.to_str().unwrap()],
    );
    assert!(trace.contains("content-encoding: gzip"), "{trace}");
    let main = clone.git(&["rev-parse", "main"]);
    assert_eq!(crate::kit::git(&fresh, &["rev-parse", "HEAD"]), main);
    kit.assert_clean();
}

#[tokio::test]
async fn a_push_that_creates_a_branch() {
    let kit = Kit::start().await;
    kit.hook(&["repo:push"], None).await;
    let clone = kit.clone();
    clone.write("a", "1");
    let hash = clone.commit("Add a");
    clone.push(&["origin", "main"]);
    let body = &pushes(&kit).await[0];
    assert_eq!(body["actor"]["type"], "user");
    assert_eq!(body["repository"]["full_name"], "acme/shop");
    assert_eq!(body["repository"].get("mainbranch"), None);
    let changes = body["push"]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1);
    let change = &changes[0];
    assert_eq!(change["old"], Value::Null);
    assert_eq!(change["new"]["type"], "branch");
    assert_eq!(change["new"]["name"], "main");
    assert_eq!(change["new"]["target"]["hash"], hash.as_str());
    assert_eq!(
        (&change["created"], &change["closed"], &change["forced"]),
        (&true.into(), &false.into(), &false.into())
    );
    assert_eq!(change["truncated"], false);
    assert_eq!(
        change["commits"][0]["author"]["raw"],
        "Ada Lind <ada@example.org>"
    );
    assert_eq!(change["commits"][0]["message"], "Add a\n");
}

#[tokio::test]
async fn five_commits_then_truncated() {
    let kit = Kit::start().await;
    kit.hook(&["repo:push"], None).await;
    let clone = kit.clone();
    let base = clone.commit("Base");
    clone.push(&["origin", "main"]);
    let five: Vec<String> = (0..5).map(|n| clone.commit(&format!("Five {n}"))).collect();
    clone.push(&["origin", "main"]);
    let seven: Vec<String> = (0..7)
        .map(|n| clone.commit(&format!("Seven {n}")))
        .collect();
    clone.push(&["origin", "main"]);
    let bodies = pushes(&kit).await;
    let hashes = |change: &Value| -> Vec<String> {
        change["commits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["hash"].as_str().unwrap().to_owned())
            .collect()
    };
    let find = |new: &str| {
        let changes = bodies.iter().map(|b| &b["push"]["changes"][0]);
        changes
            .into_iter()
            .find(|c| c["new"]["target"]["hash"] == new)
            .unwrap()
    };
    let exact = find(&five[4]);
    assert_eq!(exact["truncated"], false);
    assert_eq!(exact["old"]["target"]["hash"], base.as_str());
    assert_eq!(
        hashes(exact),
        five.iter().rev().cloned().collect::<Vec<_>>()
    );
    let long = find(&seven[6]);
    assert_eq!(long["truncated"], true);
    assert_eq!(
        hashes(long),
        seven.iter().rev().take(5).cloned().collect::<Vec<_>>()
    );

    // The ready link leads to all of them, page by page.
    let link = long["links"]["commits"]["href"].as_str().unwrap();
    let target = link.strip_prefix(kit.sandbox.url()).unwrap();
    let all = kit.all(&format!("{target}&pagelen=3")).await;
    let all: Vec<_> = all
        .iter()
        .map(|c| c["hash"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(all, seven.iter().rev().cloned().collect::<Vec<_>>());
    kit.assert_clean();
}

#[tokio::test]
async fn forced_closed_and_tags_in_one_push() {
    let kit = Kit::start().await;
    kit.hook(&["repo:push"], None).await;
    let clone = kit.clone();
    clone.commit("Base");
    clone.git(&["branch", "topic"]);
    let lost = clone.commit("Lost");
    clone.push(&["origin", "main", "topic"]);
    clone.git(&["reset", "-q", "--hard", "HEAD~1"]);
    let new = clone.commit("Instead");
    clone.git(&["tag", "-a", "v1", "-m", "First release"]);
    clone.git(&["tag", "light"]);
    clone.push(&["--force", "origin", "main", ":topic", "v1", "light"]);
    let bodies = pushes(&kit).await;
    let body = bodies
        .iter()
        .find(|b| b["push"]["changes"].as_array().unwrap().len() == 4)
        .unwrap();
    let change = |name: &str| {
        let list = body["push"]["changes"].as_array().unwrap();
        list.iter()
            .find(|c| c["new"]["name"] == name || c["old"]["name"] == name)
            .unwrap()
    };
    let main = change("main");
    assert_eq!(main["forced"], true);
    assert_eq!(main["old"]["target"]["hash"], lost.as_str());
    assert_eq!(main["commits"].as_array().unwrap().len(), 1);
    let topic = change("topic");
    assert_eq!(
        (&topic["new"], &topic["closed"]),
        (&Value::Null, &true.into())
    );
    assert!(topic.get("links").is_none() && topic.get("commits").is_none());
    let tag = change("v1");
    assert_eq!(tag["new"]["type"], "tag");
    assert_eq!(tag["new"]["target"]["hash"], new.as_str());
    assert_eq!(tag["new"]["message"], "First release\n");
    assert!(tag["links"].get("diff").is_none() && tag["links"]["commits"]["href"].is_string());
    assert_eq!(change("light")["new"]["tagger"], Value::Null);
}

#[tokio::test]
async fn the_first_branch_becomes_the_main_one() {
    let kit = Kit::start().await;
    let clone = kit.clone();
    clone.commit("Base");
    clone.push(&["origin", "main:trunk"]);
    assert_eq!(kit.get(REPO).await["mainbranch"]["name"], "trunk");
}

#[tokio::test]
async fn a_refused_address() {
    let kit = Kit::start().await;
    for path in [
        "/acme/none.git/info/refs?service=git-upload-pack",
        "/acme/%2e%2e.git/info/refs",
    ] {
        assert_eq!(
            kit.http.get(kit.url(path)).send().await.unwrap().status(),
            404,
            "{path}"
        );
    }
    let answer = kit
        .http
        .get(kit.url("/acme/shop.git/config"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
}
