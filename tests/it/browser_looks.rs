//! Pages that a story does not come by: what is empty, over, gone or refused. Each is judged by axe-core and
//! photographed like the others.

use std::time::Duration;

use bitbucket_sandbox::model::Permission;
use bitbucket_sandbox::{
    Action, Fault, NewBulk, NewCredential, NewMember, NewRepository, NewUser, Rule,
};
use serde_json::{Value, json};
use tracebucket::bitbucket::Credential;
use tracebucket::error::AppError;
use tracebucket::features::accounts::{self, ScopeSet};
use tracebucket::features::links::{CredentialKind, Given, NewConnection};
use tracebucket::features::{links, tickets};
use tracebucket::kit::jobs;

use crate::support::world::{World, expect_violations, git};
use crate::support::{Backend, client};

/// In the words of Bitbucket: they stand in the pictures.
fn refusal(status: u16) -> Action {
    let body = json!({ "type": "error", "error": {
        "message": "Your credentials lack one or more required privilege scopes.",
    } });
    Action::Status {
        status,
        retry_after: None,
        body: Some(body.to_string()),
    }
}

async fn sql(world: &World, statement: &'static str) {
    let done = world.t.app.db.write(move |tx| {
        use diesel::RunQueryDsl;
        diesel::sql_query(statement).execute(tx.conn())?;
        Ok::<_, AppError>(())
    });
    done.await.unwrap();
}

async fn row_id(world: &World, statement: &'static str) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        id: i64,
    }
    let found = world.t.app.db.read(move |conn| {
        use diesel::RunQueryDsl;
        Ok::<_, AppError>(diesel::sql_query(statement).get_result::<Row>(conn)?.id)
    });
    found.await.unwrap()
}

async fn group(world: &World, kind: &str, value: &str) -> String {
    world.crash(kind, value, "discount_per_item").await;
    world.newest_group().await["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A ticket that was made, and one that was not; the first could not be told of its error.
async fn refused_tickets(world: &World) -> String {
    let (t, token) = (&world.t, &world.tenant.token);
    let id = group(world, "KeyError", "'voucher'").await;
    let path = world.ticket_path(&id);
    let form =
        |title: &str| json!({ "repo": "acme/shop", "title": title, "description": "It broke." });
    t.send("POST", &path, token, form("KeyError in the checkout"), 201)
        .await;
    let fault = |method, status| Fault::once(method, "/issues", refusal(status));
    world.bitbucket.add_fault(fault("POST", 403));
    t.send("POST", &path, token, form("Once more"), 400).await;
    world.bitbucket.add_fault(fault("PUT", 403));
    let path = format!("/api/0/organizations/acme/issues/{id}/");
    t.send("PUT", &path, token, json!({ "status": "resolved" }), 200)
        .await;
    t.run_jobs().await;
    id
}

/// Two more repositories; Bitbucket refuses the webhook of the second. Answers the first, for Bitbucket to lose.
async fn broken_repositories(world: &World) -> links::RepoId {
    let (t, org) = (&world.t, world.tenant.org.id);
    let mut rows = Vec::new();
    for slug in ["old-shop", "locked"] {
        let new = NewRepository::new("acme", slug);
        world.bitbucket.create_repository(new).await.unwrap();
        let body = json!({
            "provider": "integrations:bitbucket", "installation": world.integration,
            "identifier": format!("acme/{slug}"),
        });
        let path = "/api/0/organizations/acme/repos/";
        let added = t.send("POST", path, &world.tenant.token, body, 201).await;
        rows.push(links::RepoId(
            added["id"].as_str().unwrap().parse().unwrap(),
        ));
    }
    t.run_jobs().await;
    world
        .bitbucket
        .add_fault(Fault::always("GET", "/hooks", refusal(403)));
    links::repair_hook(&t.app, org, rows[1], "Olga Owner")
        .await
        .unwrap();
    t.run_jobs().await;
    world.bitbucket.clear_faults();
    rows[0]
}

/// A push whose body is not kept any more.
async fn old_delivery(world: &World) -> i64 {
    let clone = world.clone_repo("work");
    std::fs::write(clone.join("README.md"), "The shop.\n").unwrap();
    git(&clone, &["add", "."]);
    git(&clone, &["commit", "-q", "-m", "Begin"]);
    git(&clone, &["push", "-q", "origin", "HEAD:main"]);
    world.settle().await;
    sql(world, "UPDATE deliveries SET body = x''").await;
    row_id(world, "SELECT max(id) AS id FROM deliveries").await
}

async fn waiting_job(world: &World, group: &str) -> i64 {
    let (org, now) = (world.tenant.org.id, world.t.app.clock.now());
    let job = tickets::SyncStatus {
        org,
        group: group.parse().unwrap(),
    };
    let later = now.plus(Duration::from_secs(540));
    let put = world
        .t
        .app
        .db
        .write(move |tx| Ok::<_, AppError>(jobs::enqueue_at(tx, &job, later, now)?));
    put.await.unwrap();
    row_id(world, "SELECT max(id) AS id FROM jobs").await
}

fn page(path: &str, name: &str, variant: &str, says: &[&str]) -> Value {
    json!({ "path": path, "name": name, "variant": variant, "status": 200, "says": says, "signed_out": false })
}

/// The answer to a form.
fn answer(path: &str, name: &str, variant: &str, says: &[&str], fill: Value) -> Value {
    let mut page = page(path, name, variant, says);
    page["fill"] = fill;
    page
}

/// A connection over a workspace access token that may not see pull requests, tested; its id.
async fn tested_connection(world: &World) -> links::LinkId {
    let (t, org) = (&world.t, world.tenant.org.id);
    let made = world
        .bitbucket
        .create_credential(&NewCredential::WorkspaceAccessToken {
            workspace: "acme".into(),
            name: "Tracebucket".into(),
            scopes: vec!["repository".into(), "webhook".into()],
            expires_in: None,
        })
        .unwrap();
    let signs = Credential::Bearer(made.secret.expose().into());
    let cloud = t.app.bitbucket.for_credential(signs);
    let new = NewConnection {
        kind: CredentialKind::WorkspaceToken,
        credential: Given::AccessToken {
            token: made.secret.expose().into(),
        },
        workspace_uuid: cloud.workspace("acme").await.unwrap().uuid.unwrap(),
        workspace: "acme".into(),
        label: "Shop team".into(),
        purpose: "Pushes of the shop, without a person's account.".into(),
        owner: None,
        private: false,
        expires_at: Some(t.app.clock.now().plus(Duration::from_secs(10 * 86_400))),
    };
    let link = links::connect_named(&t.app, org, new, "Olga Owner").await;
    let id = link.unwrap().id;
    links::test_connection(&t.app, org, id, None, None)
        .await
        .unwrap();
    id
}

fn error(path: &str, variant: &str, signed_out: bool) -> Value {
    json!({ "path": path, "name": "error", "variant": variant, "status": 404, "says": [], "signed_out": signed_out })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients and Chromium"]
async fn pages_that_are_empty_over_gone_or_refused() {
    let world = World::new(Backend::Sqlite).await;
    let over = group(&world, "ZeroDivisionError", "division by zero").await;
    sql(&world, "DELETE FROM events").await;
    let refused = refused_tickets(&world).await;
    let delivery = old_delivery(&world).await;
    let lost = broken_repositories(&world).await;
    let ready = waiting_job(&world, &refused).await;
    let dead = waiting_job(&world, &over).await;
    sql(
        &world,
        "UPDATE jobs SET state = 'dead', attempts = 8, \
         last_error = 'Bitbucket answered 503. Bitbucket has trouble. We try again.' \
         WHERE id = (SELECT max(id) FROM jobs)",
    )
    .await;
    // The last thing that happens: a job that lists the workspace would find it again.
    let org = world.tenant.org.id;
    links::repository_gone(&world.t.app, org, lost)
        .await
        .unwrap();
    let connection = format!("/o/acme/connections/{}/", world.integration);
    let tested = tested_connection(&world).await;
    let (owner, now) = (world.tenant.owner.id, world.t.app.clock.now());
    let token = world.t.app.db.write(move |tx| {
        accounts::create_user_token(tx, owner, "tests", "Laptop", ScopeSet::all(), now)
    });
    token.await.unwrap();
    let form = |kind: &str| format!("/o/acme/connections/new/form/?kind={kind}");
    let gone = "does not have this repository any more";
    let pages = [
        page(
            &format!("/o/acme/errors/{over}/"),
            "groups.detail",
            "empty",
            &["No ticket yet"],
        ),
        page(
            &format!("/o/acme/errors/{refused}/"),
            "groups.detail",
            "refused",
            &["Retry", "Try again", "lacks a permission"],
        ),
        page(
            &connection,
            "links.detail",
            "broken",
            &[gone, "Repair", "New secret"],
        ),
        page(
            "/o/acme/connections/",
            "links.list",
            "several",
            &["Shop team"],
        ),
        page(
            &format!("/o/acme/connections/{tested}/"),
            "links.detail",
            "tested",
            &["Shop team", "pullrequest", "is missing"],
        ),
        page(
            "/account/tokens/",
            "accounts.my_tokens",
            "",
            &["Laptop", "acts as owner@acme.example"],
        ),
        page("/o/acme/connections/new/", "links.new", "", &["API token"]),
        page(
            &form("oauth_code"),
            "links.connect",
            "empty",
            &["Callback URL"],
        ),
        answer(
            &form("api_token"),
            "links.connect",
            "refused",
            &["Nothing was kept"],
            json!({ "workspace": "acme", "user": "olga@acme.example", "secret": "no-such-token" }),
        ),
        answer(
            &form("oauth_code"),
            "links.allow",
            "",
            &["Go to Bitbucket"],
            json!({ "workspace": "acme", "user": "k3y", "secret": "any" }),
        ),
        page(
            &format!("/o/acme/deliveries/{delivery}/"),
            "deliveries.detail",
            "empty",
            &["This one is gone"],
        ),
        page(&format!("/o/acme/jobs/{ready}/"), "ops.job", "empty", &[]),
        page(
            &format!("/o/acme/jobs/{dead}/"),
            "ops.job",
            "dead",
            &["Redrive"],
        ),
        error("/o/acme/errors/999999/", "empty", false),
        error("/no/such/page/", "signed_out", true),
    ];
    let cookie = world.t.session(&world.tenant.owner).await;
    let config = json!({ "base": world.t.base, "cookie": cookie, "pages": pages }).to_string();
    let script = client::node("browser/looks.mjs", &[config]);
    let said = client::run(script, "", Duration::from_secs(600)).await;
    assert_eq!(said.last().expect("a last word")["done"], true, "{said:?}");
    expect_violations(&world.bitbucket, &[Rule::BasicCredential, Rule::Scope]);
}

/// Many repositories added at once, while it goes on and at its end; and Bitbucket Data Center.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients and Chromium"]
async fn many_repositories_and_a_server() {
    let world = World::new(Backend::Sqlite).await;
    let (t, org) = (&world.t, world.tenant.org.id);
    let link = links::LinkId(world.integration.parse().unwrap());
    let many = NewBulk {
        workspace: "acme".into(),
        prefix: "svc".into(),
        count: 40,
    };
    world.bitbucket.create_bulk(&many).unwrap();
    let add = async |names: std::ops::Range<u32>| {
        let picks = names.map(|number| format!("acme/svc-{number:05}"));
        let wish = links::Wish {
            picks: picks.collect(),
            search: String::new(),
            all: false,
        };
        links::add_many(&t.app, org, link, wish, "Olga Owner")
            .await
            .unwrap()
    };
    let lost = Fault::always("GET", "/2.0/repositories/acme/svc-00007", refusal(403));
    world.bitbucket.add_fault(lost);
    let done = add(1..12).await;
    t.run_jobs().await;
    world.bitbucket.clear_faults();
    let running = add(12..30).await;
    let adding = |id: links::BulkId| format!("/o/acme/connections/{link}/adding/{id}/");
    let form = "/o/acme/connections/new/form/?kind=data_center";
    let person = NewUser {
        display_name: "Ada Lind".into(),
        nickname: "ada".into(),
        email: Some("ada@acme.example".into()),
    };
    world.bitbucket.create_user(&person).unwrap();
    let member =
        json!({ "workspace": "acme", "user": "ada", "role": "member", "permission": "admin" });
    let member = serde_json::from_value::<NewMember>(member).unwrap();
    world.bitbucket.add_member(&member).unwrap();
    let token = world
        .bitbucket
        .create_credential(&NewCredential::DataCenterToken {
            user: "ada".into(),
            permission: Permission::Admin,
            expires_in: None,
        });
    let pages = [
        page(&adding(running), "links.adding", "", &["0 of 18"]),
        page(
            &adding(done),
            "links.adding",
            "done",
            &["10 added", "svc-00007"],
        ),
        page(
            form,
            "links.connect",
            "data_center",
            &["Base URL", "CA bundle"],
        ),
        answer(
            form,
            "links.detail",
            "by_data_center",
            &["It acts as"],
            json!({ "workspace": world.bitbucket.url(), "secret": token.unwrap().secret.expose() }),
        ),
    ];
    let cookie = t.session(&world.tenant.owner).await;
    let config = json!({ "base": t.base, "cookie": cookie, "pages": pages }).to_string();
    let script = client::node("browser/looks.mjs", &[config]);
    let said = client::run(script, "", Duration::from_secs(600)).await;
    assert_eq!(said.last().expect("a last word")["done"], true, "{said:?}");
    expect_violations(&world.bitbucket, &[]);
}
