//! Pull requests and build statuses.

use bitbucket_sandbox::NewPullRequest;
use bitbucket_sandbox::model::{MergeStrategy, PullLinks};
use serde_json::Value;
use tracebucket::bitbucket::host::{BuildState, BuildStatus, PullRequest};
use tracebucket::bitbucket::page::Caps;

use super::{Scene, on_both_sides};
use crate::support::world::commit;

const SHOP: &str = "acme/shop";
/// More than the longest page of the list on Cloud.
const MANY: u64 = 53;

impl Scene {
    async fn open(&self, source: &str, title: &str) -> u64 {
        let new = NewPullRequest {
            repo: SHOP.into(),
            title: title.into(),
            source: source.into(),
            author: Some("ada".into()),
            ..NewPullRequest::default()
        };
        self.bitbucket.open_pull_request(new).await.unwrap().id
    }

    async fn pulls(&self, state: &str) -> Vec<u64> {
        let found = self
            .host
            .pull_requests(&self.repo, state, Caps::DEFAULT)
            .await
            .unwrap();
        assert!(found.complete);
        found.items.iter().map(|pull| pull.id).collect()
    }

    async fn pulls_of(&self, hash: &str) -> Vec<u64> {
        let found = self
            .host
            .pull_requests_of(&self.repo, hash, Caps::DEFAULT)
            .await
            .unwrap();
        let mut ids: Vec<u64> = found.items.iter().map(|pull| pull.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Builds of a commit as the server has them: key, state, name, description and address.
    fn builds(&self, hash: &str) -> Vec<[String; 5]> {
        let file = self.folder.path().join("bitbucket/state.json");
        let state: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let field = if state["statuses"].as_array().unwrap().is_empty() {
            "dc_builds"
        } else {
            "statuses"
        };
        let of = state[field]
            .as_array()
            .unwrap()
            .iter()
            .filter(|build| build["commit"] == hash);
        of.map(|build| {
            let said = if build["body"].is_object() {
                &build["body"]
            } else {
                build
            };
            ["key", "state", "name", "description", "url"]
                .map(|name| said[name].as_str().unwrap().to_owned())
        })
        .collect()
    }
}

on_both_sides! {
    async fn pull_requests_are_listed_by_state(scene) {
        let one = scene.open("fix/rounding", "Round “down”").await;
        scene.git(&["checkout", "-q", "-b", "wish/one", "main"]);
        let wish = commit(&scene.work, "wish.txt", "more\n", "Wish");
        scene.git(&["push", "-q", "origin", "wish/one"]);
        let two = scene.open("wish/one", "A wish").await;
        scene.bitbucket.decline_pull_request(SHOP, two, "no").unwrap();
        let three = scene.open("wish/one", "The same wish").await;
        assert_eq!(scene.pulls("OPEN").await, [three, one]);
        assert_eq!(scene.pulls("DECLINED").await, [two]);
        assert!(scene.pulls("MERGED").await.is_empty());
        // The newest is the one that was opened last, whatever happened to an older one since.
        scene.git(&["checkout", "-q", "fix/rounding"]);
        let third = commit(&scene.work, "shop/round.py", "floor = int\n", "Round without help");
        scene.git(&["push", "-q", "origin", "fix/rounding"]);
        assert_eq!(scene.pulls("OPEN").await, [three, one]);

        let found = scene.host.pull_requests(&scene.repo, "OPEN", Caps::DEFAULT).await.unwrap();
        let page = format!("{}/acme/shop/pull-requests/{one}", scene.bitbucket.url());
        assert_eq!(found.items[1], PullRequest {
            id: one,
            title: "Round “down”".into(),
            state: "OPEN".into(),
            source: Some("fix/rounding".into()),
            target: Some("main".into()),
            author: Some("Ada Lind".into()),
            url: Some(page),
        });
        assert_eq!(scene.pulls_of(&third).await, [one]);
        assert_eq!(scene.pulls_of(&scene.history.fix[0]).await, [one]);
        assert_eq!(scene.pulls_of(&wish).await, [two, three]);
        assert!(scene.pulls_of(&scene.history.root).await.is_empty());

        let done = scene.bitbucket.merge_pull_request(SHOP, one, MergeStrategy::MergeCommit).await.unwrap();
        assert_eq!(scene.pulls("OPEN").await, [three]);
        assert_eq!(scene.pulls("MERGED").await, [one]);
        assert_eq!(scene.pulls_of(&third).await, [one]);
        let range = scene.host.commit_range(&scene.repo, "main", Some(&scene.history.head), Caps::DEFAULT).await.unwrap();
        assert_eq!(range.items[0].hash, done.merge_commit.unwrap());
        scene.git(&["fetch", "-q"]);
        assert_eq!(range.items.len(), scene.lines(&["rev-list", &format!("{}..origin/main", scene.history.head)]).len());
    }

    async fn many_pull_requests_are_walked(scene) {
        let refs: Vec<String> = (0..MANY).map(|at| format!("fix/rounding:refs/heads/many/{at:02}")).collect();
        let mut push = vec!["push", "-q", "origin"];
        push.extend(refs.iter().map(String::as_str));
        scene.git(&push);
        for at in 0..MANY {
            scene.open(&format!("many/{at:02}"), "One of many").await;
        }
        let all: Vec<u64> = (1..=MANY).rev().collect();
        assert_eq!(scene.pulls("OPEN").await, all);
        let few = scene.host.pull_requests(&scene.repo, "OPEN", Caps::items(5)).await.unwrap();
        assert_eq!((few.items.len(), few.complete), (5, false));
        let of = scene.pulls_of(&scene.history.fix[0]).await;
        assert_eq!(of.len() as u64, MANY);
    }

    async fn commits_may_not_know_their_pull_requests_yet(scene) {
        let one = scene.open("fix/rounding", "Round").await;
        let hash = &scene.history.fix[0];
        let ask = async || scene.host.pull_requests_of(&scene.repo, hash, Caps::DEFAULT).await;
        scene.bitbucket.set_pull_request_links(SHOP, PullLinks::Indexing).unwrap();
        let found = ask().await.unwrap();
        // Data Center has always known them.
        let knows = scene.side == Side::DataCenter;
        assert_eq!((found.items.len(), found.complete), (usize::from(knows), knows));
        scene.bitbucket.set_pull_request_links(SHOP, PullLinks::Off).unwrap();
        match ask().await {
            Ok(found) => assert!(knows && found.items[0].id == one),
            Err(error) => assert!(!knows && error.is_absent(), "{error:?}"),
        }
        scene.bitbucket.set_pull_request_links(SHOP, PullLinks::On).unwrap();
        assert_eq!(scene.pulls_of(hash).await, [one]);
    }

    async fn comments_are_said_once(scene) {
        let one = scene.open("fix/rounding", "Round").await;
        let text = "Fixes **2** errors:\n\n* <b>a</b> – ünicode";
        let id = scene.host.comment_pull_request(&scene.repo, one, text).await.unwrap();
        let said = scene.bitbucket.pull_requests(SHOP).remove(0).comments;
        let said: Vec<_> = said.iter().map(|comment| (comment.id, comment.content.as_str())).collect();
        assert_eq!(said, [(id, text)]);
        let missing = scene.host.comment_pull_request(&scene.repo, 99, "x").await.unwrap_err();
        assert!(missing.is_absent(), "{missing:?}");
    }

    async fn builds_are_set_and_replaced(scene) {
        let hash = &scene.history.head;
        let stopped = if scene.side == Side::Cloud { "STOPPED" } else { "CANCELLED" };
        for (state, word) in [
            (BuildState::InProgress, "INPROGRESS"),
            (BuildState::Successful, "SUCCESSFUL"),
            (BuildState::Failed, "FAILED"),
            (BuildState::Stopped, stopped),
        ] {
            let status = BuildStatus {
                key: "tracebucket",
                state,
                url: "https://tracker.example/o/acme/?a=1&b=%20",
                name: "Errors",
                description: "2 new errors",
            };
            scene.host.set_build_status(&scene.repo, hash, &status).await.unwrap();
            let own = ["tracebucket", word, status.name, status.description, status.url].map(str::to_owned);
            assert_eq!(scene.builds(hash), [own]);
        }
        let status = BuildStatus { key: "x", state: BuildState::Failed, url: "https://x.example/", name: "x", description: "x" };
        let missing = scene.host.set_build_status(&scene.repo, &"0".repeat(40), &status).await.unwrap_err();
        assert!(missing.is_absent(), "{missing:?}");
    }
}
