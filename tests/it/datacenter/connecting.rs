//! The form, its advice, and what becomes of a token later.

use tracebucket::features::links::{HookState, LinkStatus};

use super::*;
use crate::support::both;

/// What the page says when the form is sent with these.
async fn advice(t: &TestApp, cookie: &str, fields: &[(&str, &str)], expected: &str) {
    let refused = fill(t, cookie, FORM, fields).await;
    assert_eq!(refused.status, 400, "{expected}: {}", refused.text);
    let text = refused.text.replace("&#x27;", "'").replace("&quot;", "\"");
    assert!(text.contains(expected), "{expected}: {text}");
    assert!(
        !text.contains("planted"),
        "a secret came back: {}",
        refused.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_on_sqlite() {
    refusals(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_on_postgres() {
    refusals(Backend::Postgres).await;
}

async fn refusals(backend: Backend) {
    let (bitbucket, t, _folder) = bitbucket_and_app(backend).await;
    let tenant = t.tenant("acme").await;
    let cookie = t.session(&tenant.owner).await;
    let (base, secret) = (bitbucket.url(), "planted-token");
    let say = |base: String, expected: &'static str| {
        let (t, cookie) = (&t, &cookie);
        async move {
            let fields = [("workspace", base.as_str()), ("secret", secret)];
            advice(t, cookie, &fields, expected).await;
        }
    };
    say(base.to_owned(), "does not know this HTTP access token").await;
    // The token was shown to Bitbucket alone.
    for path in ["/nope", "/2.0"] {
        let wrong = format!("{base}{path}");
        say(wrong, "not the base URL of a Bitbucket Data Center").await;
    }
    let wrong = bitbucket.take_violations();
    assert!(
        wrong
            .iter()
            .any(|one| one.rule == bitbucket_sandbox::Rule::BearerToken),
        "the wrong token was judged: {wrong:#?}"
    );
    say("not an address".into(), "must be a whole address").await;
    say(
        format!("{base}/projects/ACME"),
        "an address inside Bitbucket",
    )
    .await;
    say(format!("{base}/?x=1"), "neither ? nor #").await;
    // The operator's own network is not the tenant's to look at.
    for private in [
        "https://10.0.0.7",
        "https://127.0.0.1:9",
        "https://[::1]/bitbucket",
        "https://169.254.169.254",
        "http://git.example.org",
    ] {
        say(private.into(), "egress_allow").await;
    }
    say("https://localhost:9".into(), "egress_allow").await;
    let with_ca =
        |ca: &'static str| [("workspace", base), ("secret", secret), ("ca", ca)].map(|pair| pair);
    advice(
        &t,
        &cookie,
        &with_ca("nonsense"),
        "The CA bundle cannot be used",
    )
    .await;
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    advice(
        &t,
        &cookie,
        &with_ca(broken),
        "The CA bundle cannot be used",
    )
    .await;
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
    let refused = fill(&t, &cookie, FORM, &with_ca(key)).await;
    assert!(
        refused.status == 400 && refused.text.contains("holds a private key"),
        "{}",
        refused.text
    );
    let links = t
        .get(
            "/api/0/organizations/acme/integrations/",
            &tenant.token,
            200,
        )
        .await;
    assert_eq!(links, json!([]), "nothing was kept");
    expect_violations(&bitbucket, &[]);
}

both! {
    async fn the_form_needs_a_manager_of_the_organization(t) {
        let acme = t.tenant("acme").await;
        let other = t.tenant("other").await;
        let stranger = t.session(&other.owner).await;
        assert_eq!(open(&t, &stranger, FORM).await.status, 404);
        let member = t.member(&acme.org, tracebucket::features::accounts::Role::Member).await;
        let member = t.session(&member).await;
        assert_eq!(open(&t, &member, FORM).await.status, 403);
    }
}

on_a_server! {
    async fn the_page_shows_the_test_and_the_api_the_provider(world) {
        let cookie = world.t.session(&world.tenant.owner).await;
        let detail = open(&world.t, &cookie, &format!("/o/acme/connections/{}/", world.integration)).await;
        for text in ["Our server", "Data Center HTTP access token", "Bitbucket Data Center 10.2.0 is there", "It acts as Ada Lind", "REPO_ADMIN on at least one", "ACME/shop"] {
            assert!(detail.text.contains(text), "{text}: {}", detail.text);
        }
        let all = world.t.get("/api/0/organizations/acme/integrations/?provider_key=bitbucket_server", &world.tenant.token, 200).await;
        assert_eq!((&all[0]["provider"]["key"], &all[0]["id"]), (&json!("bitbucket_server"), &json!(world.integration)));
        let none = world.t.get("/api/0/organizations/acme/integrations/?provider_key=bitbucket", &world.tenant.token, 200).await;
        assert_eq!(none, json!([]));
        let repos = world.t.get(REPOS, &world.tenant.token, 200).await;
        assert_eq!(repos[0]["provider"]["id"], "integrations:bitbucket_server");
        let found = world.t.get(&format!("/api/0/organizations/acme/integrations/{}/repos/?search=sho", world.integration), &world.tenant.token, 200).await;
        assert_eq!((&found["repos"][0]["identifier"], &found["repos"][0]["isInstalled"]), (&json!("ACME/shop"), &json!(true)), "{found}");
        world.add_shop_of("ACME/shop", 400).await;
        world.add_shop_of("ACME/none", 400).await;
        world.add_shop_of("shop", 400).await;
        assert_eq!(world.server_hooks().len(), 1);
        // The periodic probe and the doctor ask the same server.
        let report = links::test_connection(&world.t.app, world.tenant.org.id, LinkId(world.integration.parse().unwrap()), None, Some(RepoId(world.repo.parse().unwrap()))).await.unwrap();
        assert!(report.ok && report.steps.iter().all(|step| step.state == "ok"), "{report:#?}");
        assert_eq!(world.server_hooks().len(), 1, "the probe took its hook away");
        let findings = links::check_connections(&world.t.app).await.unwrap();
        assert!(findings[0].in_use && findings[0].problem.is_none(), "{findings:?}");
        world.finish().await;
    }

    async fn many_are_added_by_a_job(world) {
        let bulk = bitbucket_sandbox::NewBulk { workspace: "acme".into(), prefix: "svc".into(), count: 120 };
        world.bitbucket.create_bulk(&bulk).unwrap();
        let (org, link) = (world.tenant.org.id, LinkId(world.integration.parse().unwrap()));
        let picks = vec!["ACME/svc-00007".to_owned(), "ACME/none".to_owned(), "ACME/shop".to_owned()];
        let (some, all) = (
            links::Wish { picks, ..links::Wish::default() },
            links::Wish { search: "svc".into(), all: true, ..links::Wish::default() },
        );
        let cookie = world.t.session(&world.tenant.owner).await;
        for (wish, expected) in [
            (some, ["3 of 3", "1 added", "1 here already", "1 not added"]),
            (all, ["120 of 120", "119 added", "1 here already", "0 not added"]),
        ] {
            let id = links::add_many(&world.t.app, org, link, wish, "Olga").await.unwrap();
            world.t.run_jobs().await;
            let shown = open(&world.t, &cookie, &format!("/o/acme/connections/{link}/adding/{id}/")).await;
            for text in expected {
                assert!(shown.text.contains(text), "{text}: {}", shown.text);
            }
        }
        assert_eq!(world.server_hooks().len(), 121);
        // The list does not tell the main branch; the repository does.
        let rows = world.t.app.db.read(move |conn| Ok::<_, AppError>(links::list_repos(conn, org, &links::RepoFilter::default(), 0, 1_000)?)).await.unwrap();
        assert!(rows.len() == 121 && rows.iter().all(|repo| repo.provider.as_deref() == Some("integrations:bitbucket_server")), "{rows:?}");
        expect_violations(&world.bitbucket, &[]);
    }

    async fn a_token_without_rights_says_what_is_missing(world) {
        let cookie = world.t.session(&world.tenant.owner).await;
        let weak = token_of(&world.bitbucket, "ada", Permission::Read);
        let kept = fill(&world.t, &cookie, FORM, &[("workspace", world.bitbucket.url()), ("secret", &weak), ("label", "Reader")]).await;
        assert_eq!(kept.status, 303, "{}", kept.text);
        let detail = open(&world.t, &cookie, &kept.location).await;
        assert!(detail.text.contains("only admins may register webhooks") && detail.text.contains("nobody tells us of pushes"), "{}", detail.text);
        world.t.run_jobs().await;
        // The repository moves to the connection that may not register hooks: it works, and says what does not.
        let csrf = hidden(&detail.text, "csrf");
        let path = format!("/o/acme/connections/{}/repos/{}/move/", world.integration, world.repo);
        let to = id_of(&kept.location);
        let moved = world.t.http.post(world.t.url(&path)).header("cookie", &cookie).header("origin", &world.t.base);
        let moved = page(moved.header("accept", "text/html").form(&[("csrf", csrf.as_str()), ("to", to.as_str())])).await;
        assert_eq!(moved.status, 303, "{}", moved.text);
        world.t.run_jobs().await;
        let (repo, hook) = world.row().await;
        assert_eq!(repo.link_id.map(|link| link.to_string()), Some(to.clone()), "{}", moved.location);
        assert_eq!(hook.state, HookState::Failed, "{hook:?}");
        assert!(hook.last_error.as_deref().unwrap().contains("not permitted"), "{hook:?}");
        // It is not the credential that is refused: the connection stays.
        let id = LinkId(to.parse().unwrap());
        let org = world.tenant.org.id;
        let link = world.t.app.db.read(move |conn| Ok::<_, AppError>(links::find_link(conn, org, id)?)).await.unwrap().unwrap();
        assert_eq!(link.status, LinkStatus::Active, "{link:?}");
        expect_violations(&world.bitbucket, &[Rule::Permission]);
    }

    async fn a_token_that_was_taken_back_breaks_and_a_new_one_mends(world) {
        let cookie = world.t.session(&world.tenant.owner).await;
        let file = world.folder.path().join("bitbucket").join("state.json");
        let state: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let id = state["credentials"].as_array().unwrap().iter().find(|one| one["kind"] == "data_center").unwrap()["id"].as_str().unwrap().to_owned();
        world.bitbucket.revoke_credential(&id).unwrap();
        let link = LinkId(world.integration.parse().unwrap());
        let report = links::test_connection(&world.t.app, world.tenant.org.id, link, None, None).await.unwrap();
        assert!(!report.ok && report.refused, "{report:#?}");
        assert_eq!(world.link().await.status, LinkStatus::Broken);
        let renew = format!("/o/acme/connections/{link}/reauthorise/");
        let fresh = token_of(&world.bitbucket, "ada", Permission::Admin);
        let mended = fill(&world.t, &cookie, &renew, &[("secret", &fresh)]).await;
        assert_eq!(mended.status, 303, "{}", mended.text);
        let link = world.link().await;
        assert_eq!((link.status, link.workspace_uuid.as_str()), (LinkStatus::Active, format!("{}/", world.bitbucket.url()).as_str()));
        world.bitbucket.take_violations();
    }
}
