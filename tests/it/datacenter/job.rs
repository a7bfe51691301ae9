//! The main job up to commits and resolve. What the seam answers is in `code_host`.

use bitbucket_sandbox::{Action, Fault};
use tracebucket::bitbucket::page::Caps;
use tracebucket::features::links::HookState;

use super::*;
use crate::support::world::{commit, git};

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

    async fn the_connection_is_the_server_and_nothing_of_cloud(world) {
        let id = RepoId(world.repo.parse().unwrap());
        let (_, repo, connected) = links::client_for_repo(&world.t.app, world.tenant.org.id, id).await.unwrap();
        assert!(connected.cloud().is_err(), "nothing of Cloud alone");
        let found = connected.host.repository(&repo).await.unwrap();
        assert_eq!(found.full_name, "ACME/shop");
        connected.host.probe().await.unwrap();
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
