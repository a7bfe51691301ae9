//! The main job, end to end, over HTTP, with a Bitbucket that judges and real git.

use serde_json::json;

use crate::support::Backend;
use crate::support::world::{Way, World, commit, git};

async fn the_main_job(world: World) {
    let repo = world.clone_repo("dora");
    commit(
        &repo,
        "pricing.py",
        "share = voucher / len(items)\n",
        "Add vouchers",
    );
    git(&repo, &["push", "-q", "origin", "HEAD:main"]);
    world.settle().await;

    world
        .crash("ZeroDivisionError", "division by zero", "discount_per_item")
        .await;
    let group = world.newest_group().await;
    let id = group["id"].as_str().unwrap();
    assert_eq!(group["shortId"], "ACME-SHOP-1");
    assert_eq!(group["title"], "ZeroDivisionError: division by zero");

    // What the button asks for, and what it sends.
    let path = world.ticket_path(id);
    let config = world
        .t
        .get(&format!("{path}?action=create"), &world.tenant.token, 200)
        .await;
    let field = |name: &str| {
        config["createIssueConfig"]
            .as_array()
            .unwrap()
            .iter()
            .find(|f| f["name"] == name)
            .unwrap()["default"]
            .clone()
    };
    let form = json!({ "repo": "acme/shop", "title": field("title"), "description": field("description"),
                       "issue_type": "bug", "priority": "major" });
    let ticket = world
        .t
        .send("POST", &path, &world.tenant.token, form.clone(), 201)
        .await;
    assert_eq!(ticket["key"], "acme/shop#1", "{ticket}");
    // The same click again is the same ticket.
    let again = world
        .t
        .send("POST", &path, &world.tenant.token, form, 201)
        .await;
    assert_eq!(again["id"], ticket["id"]);
    let issues = world.bitbucket.issues("acme/shop");
    assert_eq!(issues.len(), 1);
    assert_eq!(issues[0].title, "ZeroDivisionError: division by zero");
    assert!(
        issues[0].content.contains("discount_per_item"),
        "{}",
        issues[0].content
    );
    assert!(
        issues[0].content.contains("ACME-SHOP-1"),
        "{}",
        issues[0].content
    );

    // A fix on a branch changes nothing yet; on the main branch it does.
    git(&repo, &["checkout", "-q", "-b", "fix"]);
    commit(
        &repo,
        "pricing.py",
        "share = voucher / max(len(items), 1)\n",
        "Fixes ACME-SHOP-1",
    );
    git(&repo, &["push", "-q", "origin", "fix"]);
    world.settle().await;
    assert_eq!(
        world.group(id).await["status"],
        "unresolved",
        "not on main yet"
    );
    git(&repo, &["push", "-q", "origin", "HEAD:main"]);
    world.settle().await;
    assert_eq!(world.group(id).await["status"], "resolved");
    let issue = &world.bitbucket.issues("acme/shop")[0];
    assert_eq!(issue.state, "resolved");
    assert_eq!(issue.comments.len(), 1, "{:?}", issue.comments);

    // It happens again: both reopen.
    world
        .crash("ZeroDivisionError", "division by zero", "discount_per_item")
        .await;
    world.t.run_jobs().await;
    assert_eq!(world.group(id).await["status"], "unresolved");
    assert_eq!(world.bitbucket.issues("acme/shop")[0].state, "open");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_on_sqlite() {
    the_main_job(World::new(Backend::Sqlite).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_on_postgres() {
    the_main_job(World::new(Backend::Postgres).await).await;
}

/// An access token cannot have the scope of issues (bitbucket.md §6): tickets are refused with the reason, everything
/// else works.
async fn the_main_job_without_tickets(backend: Backend) {
    let world = World::over(backend, Way::WorkspaceToken).await;
    let repo = world.clone_repo("dora");
    commit(&repo, "pricing.py", "share = 1\n", "Add vouchers");
    git(&repo, &["push", "-q", "origin", "HEAD:main"]);
    world.settle().await;
    world
        .crash("ZeroDivisionError", "division by zero", "discount_per_item")
        .await;
    let group = world.newest_group().await;
    let id = group["id"].as_str().unwrap();
    let form = json!({ "repo": "acme/shop", "title": "No", "description": "", "issue_type": "bug", "priority": "major" });
    let refused = world
        .t
        .send(
            "POST",
            &world.ticket_path(id),
            &world.tenant.token,
            form,
            400,
        )
        .await;
    assert!(refused.to_string().contains("scope"), "{refused}");
    assert!(world.bitbucket.issues("acme/shop").is_empty());
    commit(&repo, "pricing.py", "share = 2\n", "Fixes ACME-SHOP-1");
    git(&repo, &["push", "-q", "origin", "HEAD:main"]);
    world.settle().await;
    assert_eq!(world.group(id).await["status"], "resolved");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_oauth_on_sqlite() {
    the_main_job(World::over(Backend::Sqlite, Way::Oauth).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_oauth_on_postgres() {
    the_main_job(World::over(Backend::Postgres, Way::Oauth).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_an_api_token_on_sqlite() {
    the_main_job(World::over(Backend::Sqlite, Way::ApiToken).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_an_api_token_on_postgres() {
    the_main_job(World::over(Backend::Postgres, Way::ApiToken).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_workspace_token_on_sqlite() {
    the_main_job_without_tickets(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_workspace_token_on_postgres() {
    the_main_job_without_tickets(Backend::Postgres).await;
}
