//! What stands behind a call: answers that are kept, a budget that refuses, and a log; and what a 555 leads to.

use std::collections::{HashMap, VecDeque};

use futures_util::future::BoxFuture;

use super::*;
use crate::bitbucket::behind::{
    AnswerCache, AnswerKey, CallLog, CallRecord, Group, Heard, KeptAnswer, RateBudget, Refusal,
};

const HASH: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// All three seams in memory.
#[derive(Debug, Default)]
struct Memory {
    kept: Mutex<HashMap<AnswerKey, KeptAnswer>>,
    refusals: Mutex<VecDeque<Refusal>>,
    claims: Mutex<Vec<(Group, Priority)>>,
    heard: Mutex<Vec<Heard>>,
    log: Mutex<Vec<CallRecord>>,
}

impl AnswerCache for Memory {
    fn find(&self, key: AnswerKey) -> BoxFuture<'_, Option<KeptAnswer>> {
        Box::pin(async move { self.kept.lock().unwrap().get(&key).cloned() })
    }

    fn keep(&self, key: AnswerKey, answer: KeptAnswer) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.kept.lock().unwrap().insert(key, answer);
        })
    }
}

impl RateBudget for Memory {
    fn claim(&self, group: Group, priority: Priority) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            self.claims.lock().unwrap().push((group, priority));
            match self.refusals.lock().unwrap().pop_front() {
                Some(refusal) => Err(refusal),
                None => Ok(()),
            }
        })
    }

    fn heard(&self, _: Group, heard: Heard) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.heard.lock().unwrap().push(heard) })
    }
}

impl CallLog for Memory {
    fn note(&self, record: CallRecord) {
        self.log.lock().unwrap().push(record);
    }
}

impl Memory {
    fn outcomes(&self) -> Vec<&'static str> {
        let log = self.log.lock().unwrap();
        log.iter().map(|record| record.outcome).collect()
    }
}

fn with_memory(server: &TestServer) -> (Cloud, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    let behind = Behind {
        budget: Arc::clone(&memory) as Arc<dyn RateBudget>,
        cache: Some(Arc::clone(&memory) as Arc<dyn AnswerCache>),
        log: Arc::clone(&memory) as Arc<dyn CallLog>,
    };
    (cloud(server).with_behind(behind), memory)
}

#[tokio::test]
async fn what_a_hash_names_is_asked_for_once_and_errors_are_not_kept() {
    let server = TestServer::start(vec![
        problem(404, "no such commit"),
        Answer::json(200, &json!({"odd": true})),
        Answer::json(200, &json!({"hash": HASH})),
        Answer::new(200).body(b"<html>a proxy says hello</html>"),
        Answer::new(200).body(b"diff --git a/x b/x\n"),
        Answer::json(200, &json!({"hash": OTHER})),
    ])
    .await;
    let (cloud, memory) = with_memory(&server);
    let repo = repo();
    assert!(cloud.commit(&repo, HASH).await.is_err());
    assert!(cloud.commit(&repo, HASH).await.is_err(), "not a commit");
    for _ in 0..3 {
        assert_eq!(cloud.commit(&repo, HASH).await.unwrap().hash, HASH);
    }
    cloud.diff(&repo, HASH, &[], 1_000).await.unwrap();
    for _ in 0..2 {
        let diff = cloud.diff(&repo, HASH, &[], 1_000).await.unwrap();
        assert_eq!(diff, b"diff --git a/x b/x\n");
    }
    let error = cloud.diff(&repo, HASH, &[], 3).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge, "a kept answer is no longer");
    assert_eq!(server.requests().len(), 5);
    // A short hash may come to mean something else.
    cloud.commit(&repo, "89abcde").await.unwrap();
    let error = cloud.commit(&repo, "89abcde").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(
        memory.outcomes()[..5],
        ["not_found", "ok", "ok", "cached", "cached"]
    );
    assert_eq!(memory.claims.lock().unwrap().len(), 7, "one per request");
}

#[tokio::test]
async fn a_marked_answer_is_asked_for_with_its_mark() {
    let server = TestServer::start(vec![
        Answer::json(200, &json!({"full_name": "acme/shop"})).header("etag", "\"one\""),
        Answer::new(304),
        Answer::json(200, &json!({"full_name": "acme/store"}))
            .header("last-modified", "Sun, 22 Nov 2026 12:00:00 GMT"),
        Answer::new(304),
    ])
    .await;
    let (cloud, memory) = with_memory(&server);
    let mut names = Vec::new();
    for _ in 0..4 {
        let found = cloud.repository(&repo()).await.unwrap();
        names.push(found.full_name.unwrap());
    }
    assert_eq!(
        names,
        ["acme/shop", "acme/shop", "acme/store", "acme/store"]
    );
    let requests = server.requests();
    assert!(!requests[0].contains("if-none-match"));
    assert!(requests[1].contains("if-none-match: \"one\""));
    assert!(requests[2].contains("if-none-match: \"one\""));
    assert!(requests[3].contains("if-modified-since: Sun, 22 Nov 2026 12:00:00 GMT"));
    assert!(!requests[3].contains("if-none-match"));
    assert_eq!(
        memory.outcomes(),
        ["ok", "not_modified", "ok", "not_modified"]
    );
}

#[tokio::test]
async fn a_spent_budget_sends_nothing_and_a_short_wait_is_waited_for() {
    let server = TestServer::start(vec![page(&json!([])), page(&json!([]))]).await;
    let (cloud, memory) = with_memory(&server);
    let wait = |millis| Refusal::Wait {
        after: Duration::from_millis(millis),
        reason: "the hour is over",
    };
    memory
        .refusals
        .lock()
        .unwrap()
        .extend([wait(600_000), Refusal::Unavailable, wait(1)]);
    let cloud = cloud.with_priority(Priority::Backfill).for_feature("tests");
    let error = cloud.branches(&repo(), Caps::DEFAULT).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry_after(), error.out_of_budget()),
        (Kind::RateLimited, Some(Duration::from_secs(600)), true)
    );
    // The next claim finds nobody to ask, which may pass; the one after that is told to wait a moment.
    cloud.branches(&repo(), Caps::DEFAULT).await.unwrap();
    assert_eq!(server.requests().len(), 1);
    memory.refusals.lock().unwrap().push_back(wait(600_000));
    let hooked = cloud.hooks(&repo(), Caps::DEFAULT).await.unwrap_err();
    assert!(hooked.out_of_budget());
    assert_eq!(server.requests().len(), 1);
    let claims = memory.claims.lock().unwrap().clone();
    assert_eq!(claims.first(), Some(&(Group::Data, Priority::Backfill)));
    assert_eq!(claims.last(), Some(&(Group::Hooks, Priority::Backfill)));
    let log = memory.log.lock().unwrap();
    assert_eq!(
        (log[0].outcome, log[0].status, log[0].feature),
        ("out_of_budget", None, "tests")
    );
    assert_eq!(
        log[0].path,
        "/repositories/{workspace}/{repo_slug}/refs/branches"
    );
}

#[tokio::test]
async fn what_an_answer_says_of_the_budget_is_passed_on() {
    let server = TestServer::start(vec![
        page(&json!([]))
            .header("x-ratelimit-limit", "700")
            .header("x-ratelimit-nearlimit", "true"),
        Answer::new(429).header("retry-after", "77"),
        Answer::new(404),
    ])
    .await;
    let (cloud, memory) = with_memory(&server);
    cloud.branches(&repo(), Caps::DEFAULT).await.unwrap();
    cloud.branches(&repo(), Caps::DEFAULT).await.unwrap_err();
    cloud.branches(&repo(), Caps::DEFAULT).await.unwrap_err();
    let heard = memory.heard.lock().unwrap();
    assert_eq!(heard.len(), 2, "a 404 says nothing");
    let budget = heard[0].budget.as_ref().unwrap();
    assert_eq!((budget.limit, budget.near), (700, true));
    assert_eq!(heard[1].refused, Some(Some(Duration::from_secs(77))));
}

#[tokio::test]
async fn a_list_that_is_too_big_begins_again_with_smaller_pages() {
    let server = TestServer::start(vec![]).await;
    let next = server
        .url()
        .join("/2.0/repositories/acme/shop/commits?ctx=1")
        .unwrap();
    server.then(Answer::json(
        200,
        &json!({"values": [{"hash": HASH}], "next": next.as_str()}),
    ));
    server.then(Answer::new(555));
    server.then(Answer::new(555));
    server.then(page(&json!([{"hash": HASH}, {"hash": OTHER}])));
    let found = cloud(&server)
        .commit_range(&repo(), &[HASH], &[], Caps::DEFAULT)
        .await
        .unwrap();
    let hashes: Vec<_> = found.items.iter().map(|one| one.hash.as_str()).collect();
    assert_eq!((hashes, found.complete), (vec![HASH, OTHER], true));
    let requests = server.requests();
    let sizes: Vec<_> = [0, 2, 3]
        .iter()
        .map(|index| target(&requests[*index]).rsplit_once('=').unwrap().1)
        .collect();
    assert_eq!(sizes, ["100", "25", "10"]);
    assert_eq!(requests.len(), 4, "no question was asked twice");
    // There is no smaller page than the smallest.
    for _ in 0..3 {
        server.then(Answer::new(555));
    }
    let error = cloud(&server)
        .commit_range(&repo(), &[HASH], &[], Caps::DEFAULT)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::TooSlow);
    assert_eq!(server.requests().len(), 7);
}

fn changed(path: &str, added: u64) -> Value {
    json!({"status": "modified", "lines_added": added, "lines_removed": 0, "old": {"path": path}, "new": {"path": path}})
}

#[tokio::test]
async fn a_diff_that_is_too_big_comes_in_pieces() {
    let renamed =
        json!({"status": "renamed", "old": {"path": "old.py"}, "new": {"path": "new.py"}});
    let server = TestServer::start(vec![
        Answer::new(555),
        page(&json!([changed("a.py", 1), changed("b.py", 1), renamed])),
        Answer::new(555),
        Answer::new(200).body(b"diff a\n"),
        Answer::new(200).body(b"diff b\n"),
        Answer::new(200).body(b"diff c\n"),
    ])
    .await;
    let diff = cloud(&server)
        .diff(&repo(), HASH, &[], 1_000)
        .await
        .unwrap();
    assert_eq!(diff, b"diff a\ndiff b\ndiff c\n");
    let requests = server.requests();
    let asked: Vec<_> = requests
        .iter()
        .map(|request| {
            target(request)
                .split_once('?')
                .map_or("", |(_, query)| query)
        })
        .collect();
    assert_eq!(
        asked,
        [
            "",
            "",
            "path=a.py&path=b.py",
            "path=a.py",
            "path=b.py",
            "path=new.py&path=old.py"
        ]
    );
    requests.iter().for_each(|request| assert_signed(request));
}

#[tokio::test]
async fn a_single_file_that_is_too_big_stays_an_error_and_pieces_keep_to_the_limit() {
    let server = TestServer::start(vec![Answer::new(555)]).await;
    let error = cloud(&server)
        .diff(&repo(), HASH, &["a.py"], 1_000)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::TooSlow);
    assert_eq!(server.requests().len(), 1);
    server.then(Answer::new(555));
    server.then(Answer::new(200).body(b"diff a\n"));
    server.then(Answer::new(200).body(b"diff b\n"));
    let error = cloud(&server)
        .diff(&repo(), HASH, &["a.py", "b.py"], 10)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
}

#[tokio::test]
async fn a_diffstat_that_is_too_big_is_made_of_its_commits() {
    let mut script: Vec<_> = (0..3).map(|_| Answer::new(555)).collect();
    script.push(page(&json!([{"hash": HASH}, {"hash": OTHER}])));
    script.push(page(&json!([])));
    script.push(page(&json!([changed("a.py", 2), changed("b.py", 1)])));
    script.push(page(&json!([changed("a.py", 3), changed("c.py", 1)])));
    let server = TestServer::start(script).await;
    let spec = format!("{HASH}..main");
    let found = cloud(&server)
        .diffstat(&repo(), &spec, Caps::DEFAULT)
        .await
        .unwrap();
    let files: Vec<_> = found
        .items
        .iter()
        .map(|file| (file.path().unwrap(), file.lines_added.unwrap()))
        .collect();
    assert_eq!(files, [("a.py", 5), ("b.py", 1), ("c.py", 1)]);
    assert!(found.complete);
    let requests = server.requests();
    let range = target(&requests[3]);
    assert!(
        range.contains(&format!("include={HASH}")) && range.contains("exclude=main"),
        "{range}"
    );
    let aside = target(&requests[4]);
    assert!(
        aside.contains("include=main") && aside.contains(&format!("exclude={HASH}")),
        "{aside}"
    );
    assert_eq!(requests.len(), 7);
    // What the destination has of its own cannot be told by these commits.
    (0..3).for_each(|_| server.then(Answer::new(555)));
    server.then(page(&json!([{"hash": HASH}])));
    server.then(page(&json!([{"hash": OTHER}])));
    let error = cloud(&server)
        .diffstat(&repo(), &spec, Caps::DEFAULT)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::TooSlow);
}
