//! The main job up to commits and resolve, and the raw material of suspects through the seam.

use std::path::Path;

use bitbucket_sandbox::{Action, Fault};
use tracebucket::bitbucket::host::{BuildState, BuildStatus, ChangeKind, Range};
use tracebucket::bitbucket::page::Caps;
use tracebucket::features::links::HookState;

use super::*;
use crate::support::world::{commit, git};

const MIB: usize = 1024 * 1024;

/// A diff without the abbreviated hashes of its blobs, whose length is git's taste.
fn plain(diff: &str) -> String {
    let lines = diff.lines().filter(|line| !line.starts_with("index "));
    lines.collect::<Vec<_>>().join("\n")
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Line, count and commit of each span, as `git blame` sees it.
fn blame(repo: &Path, at: &str, path: &str) -> Vec<(u64, u64, String)> {
    let text = git(repo, &["blame", "--porcelain", at, "--", path]);
    let mut spans = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let [hash, _, line, count] = words.as_slice()
            && hash.len() == 40
            && let (Ok(line), Ok(count)) = (line.parse(), count.parse())
        {
            spans.push((line, count, (*hash).to_owned()));
        }
    }
    spans
}

on_a_server! {
    async fn a_push_that_fixes_resolves_the_error(world) {
        let link = world.link().await;
        assert_eq!((link.kind.as_str(), link.title()), ("data_center", "Our server"));
        let (repo, hook) = world.row().await;
        assert_eq!(repo.name, "ACME/shop");
        assert_eq!(repo.provider.as_deref(), Some("integrations:bitbucket_server"));
        assert_eq!(repo.url.as_deref(), Some(format!("{}/projects/ACME/repos/shop", world.bitbucket.url()).as_str()));
        assert_eq!(hook.state, HookState::Active, "{hook:?}");
        let hooks = world.server_hooks();
        assert_eq!(hooks.len(), 1);
        let path = format!("/extensions/bitbucket-server/webhook/{}/{}/", world.tenant.org.id, world.integration);
        assert_eq!(hooks[0]["url"], world.t.url(&path));
        assert_eq!(hooks[0]["secret"].as_str().unwrap().len(), 64);

        world.crash("ZeroDivisionError", "division by zero", "discount_per_item").await;
        let group = world.newest_group().await;
        assert_eq!(group["shortId"], "ACME-SHOP-1");
        let id = group["id"].as_str().unwrap();

        // More commits than a page has, and than a webhook tells; the fix is among the oldest of them.
        let dora = world.clone_shop();
        commit(&dora, "pricing.py", "share = voucher / len(items)\n", "Add vouchers");
        git(&dora, &["push", "-q", "origin", "HEAD:main"]);
        world.delivered().await;
        assert_eq!(world.group(id).await["status"], "unresolved");
        let fix = commit(&dora, "pricing.py", "share = voucher / max(len(items), 1)\n", "Fixes ACME-SHOP-1");
        for number in 0..120 {
            git(&dora, &["commit", "-q", "--allow-empty", "-m", &format!("Step {number}")]);
        }
        git(&dora, &["push", "-q", "origin", "HEAD:main"]);
        world.delivered().await;
        let resolved = world.group(id).await;
        assert_eq!(resolved["status"], "resolved", "{resolved}");
        assert_eq!(resolved["statusDetails"]["inCommit"]["commit"], fix.as_str(), "{resolved}");
        let (repo, _) = world.row().await;
        assert_eq!(repo.main_branch.as_deref(), Some("main"));
        let shown = open(&world.t, &world.t.session(&world.tenant.owner).await, &format!("/o/acme/errors/{id}/")).await;
        let page_of_fix = format!("{}/projects/ACME/repos/shop/commits/{fix}", world.bitbucket.url());
        assert!(shown.text.contains(&page_of_fix), "{page_of_fix}: {}", shown.text);
        world.finish().await;
    }

    async fn branches_tags_deletions_and_rewrites(world) {
        for name in ["branch", "main", "rewrite"] {
            world.crash(&format!("{name}Error"), name, name).await;
        }
        let dora = world.clone_shop();
        let first = commit(&dora, "a.py", "1\n", "First");
        git(&dora, &["push", "-q", "origin", "HEAD:main"]);
        world.delivered().await;
        let groups = world.t.get("/api/0/organizations/acme/issues/?query=&sort=new", &world.tenant.token, 200).await;
        let status = |name: &str| {
            let wanted = format!("{name}Error: {name}");
            let group = groups.as_array().unwrap().iter().find(|group| group["title"] == wanted.as_str()).unwrap();
            (group["id"].as_str().unwrap().to_owned(), group["shortId"].as_str().unwrap().to_owned())
        };
        let (branch, main, rewrite) = (status("branch"), status("main"), status("rewrite"));

        // A branch is made: its commits are read, nothing is resolved. A tag is no branch.
        git(&dora, &["checkout", "-q", "-b", "fix/cart"]);
        commit(&dora, "a.py", "2\n", &format!("Fixes {}", branch.1));
        git(&dora, &["tag", "v1"]);
        git(&dora, &["push", "-q", "origin", "fix/cart", "v1"]);
        world.delivered().await;
        assert_eq!(world.group(&branch.0).await["status"], "unresolved");
        // The merge brings it to the main branch; the branch is deleted in the same push.
        git(&dora, &["checkout", "-q", "main"]);
        git(&dora, &["merge", "-q", "--no-ff", "-m", "Merge", "fix/cart"]);
        git(&dora, &["push", "-q", "origin", "main", ":fix/cart"]);
        world.delivered().await;
        assert_eq!(world.group(&branch.0).await["status"], "resolved");

        commit(&dora, "a.py", "3\n", &format!("Fixes {}", main.1));
        git(&dora, &["push", "-q", "origin", "main"]);
        world.delivered().await;
        assert_eq!(world.group(&main.0).await["status"], "resolved");

        // History is written anew: what was before is gone, and the new commits are read all the same.
        git(&dora, &["reset", "-q", "--hard", &first]);
        commit(&dora, "a.py", "4\n", &format!("Fixes {}", rewrite.1));
        git(&dora, &["push", "-q", "--force", "origin", "main"]);
        world.delivered().await;
        assert_eq!(world.group(&rewrite.0).await["status"], "resolved");
        git(&dora, &["push", "-q", "origin", ":v1"]);
        world.delivered().await;
        world.finish().await;
    }

    async fn the_seam_answers_as_git_does(world) {
        let dora = world.clone_shop();
        commit(&dora, "cart.py", "one\ntwo\nthree\nfour\nfive\nsix\n", "First");
        std::fs::create_dir(dora.join("shop")).unwrap();
        commit(&dora, "shop/keep.txt", "kept\n", "Second");
        let third = commit(&dora, "cart.py", "one\n2\nthree\nfour\nfive\nsix\n", "Third");
        git(&dora, &["mv", "cart.py", "shop/cart.py"]);
        let fourth = commit(&dora, "shop/cart.py", "one\n2\nthree\nfour\nfive\nsix\nseven\n", "Fourth");
        git(&dora, &["rm", "-q", "shop/keep.txt"]);
        let fifth = commit(&dora, "new.txt", "new\n", "Fifth");
        git(&dora, &["push", "-q", "origin", "HEAD:main", "HEAD:refs/heads/feature/x"]);
        world.delivered().await;

        let id = RepoId(world.repo.parse().unwrap());
        let (_, repo, connected) = links::client_for_repo(&world.t.app, world.tenant.org.id, id).await.unwrap();
        let host = &connected.host;
        assert!(connected.cloud().is_err(), "nothing of Cloud alone");
        let off: Vec<&str> = host.capabilities().iter().filter(|one| one.off.is_some()).map(|one| one.key).collect();
        assert_eq!(off, ["issues", "pipelines", "deployments"]);
        host.probe().await.unwrap();

        let range = host.commit_range(&repo, "main", Some(&third), Caps::DEFAULT).await.unwrap();
        let hashes: Vec<String> = range.items.iter().map(|commit| commit.hash.clone()).collect();
        assert_eq!(hashes, lines(&git(&dora, &["rev-list", &format!("{third}..main")])));
        let one = host.commit(&repo, &fourth).await.unwrap();
        assert_eq!(one.message.as_deref(), Some("Fourth"));
        let signature = one.author.as_ref().unwrap().signature();
        assert_eq!(signature.email.as_deref(), Some("dora@acme.example"));
        let at = git(&dora, &["show", "-s", "--format=%at", &fourth]);
        assert_eq!(one.moment().unwrap().secs().to_string(), at);
        assert_eq!(one.parents[0].hash.as_deref(), Some(third.as_str()));

        // Changed files, of a commit and of a range.
        let of_commit = host.changes(&repo, Range::of_commit(&fourth), Caps::DEFAULT).await.unwrap().items;
        assert_eq!(of_commit.len(), 1);
        assert_eq!((of_commit[0].kind, of_commit[0].path.as_str(), of_commit[0].old_path.as_deref()),
            (ChangeKind::Renamed, "shop/cart.py", Some("cart.py")));
        let both = Range { from: Some(&fourth), to: &fifth };
        let mut kinds: Vec<String> = host.changes(&repo, both, Caps::DEFAULT).await.unwrap().items.iter()
            .map(|change| format!("{}\t{}", match change.kind { ChangeKind::Added => "A", ChangeKind::Removed => "D", _ => "?" }, change.path))
            .collect();
        kinds.sort();
        let mut own = lines(&git(&dora, &["diff", "--name-status", &fourth, &fifth]));
        own.sort();
        assert_eq!(kinds, own);

        // Diffs and files, byte by byte.
        let diff = host.diff(&repo, Range::of_commit(&fourth), None, MIB).await.unwrap();
        let own = git(&dora, &["diff", "-M", &third, &fourth]);
        assert_eq!(plain(&String::from_utf8(diff).unwrap()), plain(&own));
        let narrow = host.diff(&repo, both, Some("new.txt"), MIB).await.unwrap();
        let own = git(&dora, &["diff", &fourth, &fifth, "--", "new.txt"]);
        assert_eq!(plain(&String::from_utf8(narrow).unwrap()), plain(&own));
        assert!(host.diff(&repo, both, None, 10).await.is_err(), "longer than the limit");
        let file = host.file(&repo, &third, "cart.py", MIB).await.unwrap();
        assert_eq!(String::from_utf8(file).unwrap().trim(), git(&dora, &["show", &format!("{third}:cart.py")]));
        assert!(host.file(&repo, &fifth, "cart.py", MIB).await.unwrap_err().is_absent());

        // History over the rename, and blame.
        let history = host.history(&repo, "main", "shop/cart.py", Caps::DEFAULT).await.unwrap();
        let hashes: Vec<String> = history.items.iter().map(|version| version.hash.clone()).collect();
        assert_eq!(hashes, lines(&git(&dora, &["log", "--follow", "--format=%H", "main", "--", "shop/cart.py"])));
        assert!(history.complete && history.items[0].commit.is_some());
        let spans = host.blame(&repo, "main", "shop/cart.py").await.unwrap().unwrap();
        let spans: Vec<_> = spans.into_iter().map(|span| (span.line, span.lines, span.hash)).collect();
        assert_eq!(spans, blame(&dora, "main", "shop/cart.py"));

        let branches = host.branches(&repo, Caps::DEFAULT).await.unwrap().items;
        let names: Vec<String> = branches.iter().map(|branch| branch.name.clone()).collect();
        assert_eq!(names, ["feature/x", "main"]);
        assert!(branches.iter().all(|branch| branch.head.as_deref() == Some(fifth.as_str())));
        assert!(host.pull_requests(&repo, "OPEN", Caps::DEFAULT).await.unwrap().items.is_empty());
        assert!(host.pull_requests_of(&repo, &fifth, Caps::DEFAULT).await.unwrap().items.is_empty());
        let status = BuildStatus { key: "tracebucket", state: BuildState::Failed, url: "https://tracker.example/1", name: "Errors", description: "2 new errors" };
        host.set_build_status(&repo, &fifth, &status).await.unwrap();
        let file = world.folder.path().join("bitbucket").join("state.json");
        let state: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!((&state["dc_builds"][0]["commit"], &state["dc_builds"][0]["body"]["state"]), (&json!(fifth), &json!("FAILED")));
        world.finish().await;
    }

    async fn a_pause_that_the_server_asks_for_holds_for_everybody(world) {
        let id = RepoId(world.repo.parse().unwrap());
        let other = match world.t.app.db.url().is_sqlite() {
            true => None,
            false => Some(world.t.beside().await),
        };
        let (_, repo, connected) = links::client_for_repo(&world.t.app, world.tenant.org.id, id).await.unwrap();
        let refusal = Action::Status { status: 429, retry_after: Some(600), body: None };
        world.bitbucket.add_fault(Fault::once("GET", "/branches", refusal));
        let error = connected.host.branches(&repo, Caps::DEFAULT).await.unwrap_err();
        assert_eq!(error.status(), Some(429));
        world.bitbucket.clear_calls();
        for app in [Some(&world.t.app), other.as_ref()].into_iter().flatten() {
            let (_, repo, connected) = links::client_for_repo(app, world.tenant.org.id, id).await.unwrap();
            let error = connected.host.commit(&repo, &"a".repeat(40)).await.unwrap_err();
            assert!(error.out_of_budget(), "{error:?}");
        }
        assert!(world.bitbucket.call_counts().is_empty(), "{:?}", world.bitbucket.call_counts());
        let cookie = world.t.session(&world.tenant.owner).await;
        let shown = open(&world.t, &cookie, &format!("/o/acme/connections/{}/", world.integration)).await;
        assert!(shown.text.contains("Bitbucket asked us to wait"), "{}", shown.text);
        assert!(!shown.text.contains("Hourly budget"), "nobody counts the hour there");
        world.finish().await;
    }

    async fn the_repository_leaves_without_its_hook(world) {
        let path = format!("{REPOS}{}/", world.repo);
        world.t.send("DELETE", &path, &world.tenant.token, Value::Null, 202).await;
        world.t.run_jobs().await;
        assert!(world.server_hooks().is_empty());
        // Again, and the whole connection.
        world.add_shop_of("ACME/shop", 201).await;
        world.t.run_jobs().await;
        assert_eq!(world.server_hooks().len(), 1);
        let cookie = world.t.session(&world.tenant.owner).await;
        let detail = format!("/o/acme/connections/{}/", world.integration);
        let csrf = hidden(&open(&world.t, &cookie, &detail).await.text, "csrf");
        let ended = world.t.http.post(world.t.url(&format!("{detail}disconnect/"))).header("cookie", &cookie).header("origin", &world.t.base);
        assert_eq!(page(ended.form(&[("csrf", csrf)])).await.status, 303);
        world.t.run_jobs().await;
        assert!(world.server_hooks().is_empty());
        world.finish().await;
    }
}
