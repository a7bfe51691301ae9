//! Webhooks of repositories and their secrets.

use super::*;

in_a_world! {
    async fn a_repository_that_is_gone_is_noticed_and_can_come_back(world) {
        let (t, bitbucket) = (&world.t, &world.bitbucket);
        let cookie = t.session(&world.tenant.owner).await;
        let page = async || {
            let path = format!("/o/acme/connections/{}/", world.integration);
            let request = t.http.get(t.url(&path)).header("cookie", &cookie).header("accept", "text/html");
            request.send().await.unwrap().text().await.unwrap()
        };
        let org = world.tenant.org.id;
        let check = async || {
            let repo = world.repo(&world.repo).await;
            links::repair_hook(&t.app, org, repo.id, "test").await.unwrap();
            t.run_jobs().await;
        };
        // Only the hooks answer 404: the repository is there, so it stays in use.
        bitbucket.add_fault(Fault::always("GET", "/hooks", status(404)));
        check().await;
        assert_eq!(world.repo(&world.repo).await.status, RepoStatus::Active);
        bitbucket.clear_faults();
        bitbucket.add_fault(Fault::always("GET", "/2.0/repositories/", status(404)));
        check().await;
        bitbucket.clear_faults();
        assert_eq!(world.repo(&world.repo).await.status, RepoStatus::Gone);
        assert!(world.secrets(&world.repo).await.is_empty(), "its hook and secret are forgotten");
        let html = page().await;
        assert!(html.contains("acme/shop") && html.contains("does not have this repository any more") && !html.contains("/repair/"), "{html}");
        let all = world.get(&format!("{REPOS}?status=")).await;
        assert_eq!((&all[0]["name"], &all[0]["status"]), (&json!("acme/shop"), &json!("disabled")));
        // Added again it is the same row.
        assert_eq!(world.add("acme/shop", 201).await["id"].as_str(), Some(world.repo.as_str()));
        t.run_jobs().await;
        assert_eq!(world.repo(&world.repo).await.status, RepoStatus::Active);
        assert!(!page().await.contains("does not have this repository any more"));
        assert_eq!(world.hooks().len(), 1);
        world.finish().await;
    }

    async fn a_hook_whose_removal_waits_is_removed_when_its_link_goes(world) {
        let (t, repo) = (&world.t, &world.repo);
        t.send("DELETE", &format!("{REPOS}{repo}/"), &world.tenant.token, json!({}), 202).await;
        assert_eq!((world.hooks().len(), world.hook(repo).await.is_some()), (1, true), "the removal waits");
        t.send("DELETE", &format!("{INTEGRATIONS}{}/", world.integration), &world.tenant.token, json!({}), 204).await;
        t.run_jobs().await;
        assert!(world.hooks().is_empty() && world.hook(repo).await.is_none());
        world.finish().await;
    }

    async fn a_hook_whose_removal_was_called_off_is_removed_after_the_return(world) {
        let (t, bitbucket, repo) = (&world.t, &world.bitbucket, &world.repo);
        bitbucket.create_repository(NewRepository::new("acme", "web")).await.unwrap();
        let web = world.add("acme/web", 201).await["id"].as_str().unwrap().to_owned();
        t.run_jobs().await;
        t.send("DELETE", &format!("{REPOS}{repo}/"), &world.tenant.token, json!({}), 202).await;
        t.send("PUT", &format!("{REPOS}{web}/"), &world.tenant.token, json!({ "status": "hidden" }), 200).await;
        assert_eq!(bitbucket.uninstall(&world.client_key).await.unwrap().0, 200);
        t.run_jobs().await;
        assert!(world.hook(repo).await.is_some() && world.hook(&web).await.is_some(), "their jobs are cancelled");
        install(t, bitbucket, "acme").await;
        t.run_jobs().await;
        assert!(world.hook(repo).await.is_none() && world.hook(&web).await.is_none());
        assert!(world.hooks().is_empty());
        assert_eq!((world.repo(repo).await.status, world.repo(&web).await.status), (RepoStatus::Removed, RepoStatus::Hidden));
        world.finish().await;
    }

    async fn hooks_are_registered_once_and_repaired(world) {
        let (t, bitbucket, repo) = (&world.t, &world.bitbucket, &world.repo);
        let hooks = world.hooks();
        assert_eq!(hooks.len(), 1);
        let url = t.url(&format!("/extensions/bitbucket/organizations/{}/webhook/", world.tenant.org.id));
        assert_eq!((hooks[0]["url"].as_str(), hooks[0]["description"].as_str()), (Some(url.as_str()), Some("tracebucket-repo-hook")));
        assert_eq!(hooks[0]["events"], json!(["repo:push", "pullrequest:fulfilled", "repo:updated", "issue:updated", "issue:comment_created"]));
        assert_eq!(hooks[0]["secret"].as_str().unwrap(), world.secrets(repo).await[0], "they have the same secret");
        assert_eq!(world.hook(repo).await.unwrap().state, HookState::Active);

        // The answer is lost after the work: the next try finds the hook.
        bitbucket.create_repository(NewRepository { has_issues: false, ..NewRepository::new("acme", "web") }).await.unwrap();
        bitbucket.add_fault(Fault::once("POST", "/hooks", Action::DropAfter));
        let web = world.add("acme/web", 201).await["id"].as_str().unwrap().to_owned();
        t.run_jobs().await;
        let hook = world.hook(&web).await.unwrap();
        assert_eq!((world.hooks().len(), hook.state, hook.last_error.is_some()), (2, HookState::Pending, true));
        run_later_jobs(t).await;
        assert_eq!((world.hooks().len(), world.hook(&web).await.unwrap().state), (2, HookState::Active));
        assert_eq!(world.hooks()[1]["events"], json!(["repo:push", "pullrequest:fulfilled", "repo:updated"]), "no tracker, no issues");

        // Refused: shown with the reason, and repaired by a click.
        bitbucket.create_repository(NewRepository::new("acme", "api")).await.unwrap();
        bitbucket.add_fault(Fault::always("POST", "/hooks", status(403)));
        let api = world.add("acme/api", 201).await["id"].as_str().unwrap().to_owned();
        t.run_jobs().await;
        let hook = world.hook(&api).await.unwrap();
        assert_eq!((hook.state, hook.last_error.unwrap().contains("403")), (HookState::Failed, true));
        bitbucket.clear_faults();
        let org = world.tenant.org.id;
        links::repair_hook(&t.app, org, RepoId(api.parse().unwrap()), "Olga").await.unwrap();
        t.run_jobs().await;
        assert_eq!((world.hooks().len(), world.hook(&api).await.unwrap().state), (3, HookState::Active));

        // Deleted by hand: repair makes a new one. There twice: repair leaves one. Others' hooks are theirs.
        delete_hooks_by_hand(bitbucket, "acme/api").await;
        let foreign = json!({ "description": "ci", "url": "https://ci.example/", "active": true, "events": ["repo:push"] });
        by_hand(bitbucket, "POST", "/2.0/repositories/acme/api/hooks", Some(foreign)).await;
        let double = json!({ "description": "old", "url": url, "active": true, "events": ["repo:push"] });
        for _ in 0..2 {
            by_hand(bitbucket, "POST", "/2.0/repositories/acme/api/hooks", Some(double.clone())).await;
        }
        links::repair_hook(&t.app, org, RepoId(api.parse().unwrap()), "Olga").await.unwrap();
        t.run_jobs().await;
        let hooks = world.hooks();
        let of_api: Vec<_> = hooks.iter().skip(2).map(|hook| hook["description"].as_str().unwrap()).collect();
        assert_eq!(of_api, ["ci", "tracebucket-repo-hook"]);
        assert_eq!(hooks[3]["secret"].as_str().unwrap(), world.secrets(&api).await[0]);

        // A Bitbucket that knows no issue events gets the pushes.
        bitbucket.create_repository(NewRepository::new("acme", "late")).await.unwrap();
        bitbucket.add_fault(Fault::once("POST", "/hooks", status(400)));
        let late = world.add("acme/late", 201).await["id"].as_str().unwrap().to_owned();
        t.run_jobs().await;
        assert_eq!(world.hook(&late).await.unwrap().state, HookState::Active);
        assert_eq!(world.hooks()[4]["events"], json!(["repo:push", "pullrequest:fulfilled", "repo:updated"]));
        world.finish().await;
    }

    async fn a_check_finds_what_is_wrong_and_puts_it_right(world) {
        let (t, bitbucket, repo) = (&world.t, &world.bitbucket, &world.repo);
        let (org, id) = (world.tenant.org.id, RepoId(repo.parse().unwrap()));
        let link = links::LinkId(world.integration.parse().unwrap());
        let cookie = t.session(&world.tenant.owner).await;
        let page = async || {
            let request = t.http.get(t.url("/o/acme/repos/")).header("cookie", &cookie).header("accept", "text/html");
            request.send().await.unwrap().text().await.unwrap()
        };
        let check = async || {
            let now = t.app.clock.now();
            let job = links::EnsureHook { org, repo: id, link };
            t.app.db.write(move |tx| Ok::<_, AppError>(tracebucket::kit::jobs::enqueue(tx, &job, now)?)).await.unwrap();
            bitbucket.clear_calls();
            t.run_jobs().await;
            bitbucket.calls().len()
        };
        let html = page().await;
        assert!(html.contains("registered") && html.contains("pushes, pull requests, issues"), "{html}");
        assert_eq!(check().await, 1, "a look, and nothing is written");

        let uuid = world.hooks()[0]["uuid"].as_str().unwrap().to_owned();
        let path = format!("/2.0/repositories/acme/shop/hooks/{}", uuid.replace('{', "%7B").replace('}', "%7D"));
        let by_somebody = |change: Value| {
            let mut hook = json!({ "url": world.hooks()[0]["url"], "description": "x", "active": true });
            hook.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            by_hand(bitbucket, "PUT", &path, Some(hook))
        };
        for (change, finding, words) in [
            (json!({ "events": ["repo:push"] }), links::HookFinding::WrongEvents, "was wrong events"),
            (json!({ "active": false }), links::HookFinding::SwitchedOff, "was switched off"),
            (json!({ "url": "https://elsewhere.example/" }), links::HookFinding::WrongAddress, "was wrong address"),
        ] {
            let good = world.hooks()[0].clone();
            by_somebody(change).await;
            assert_eq!(check().await, 2, "a look and a change");
            let hook = world.hook(repo).await.unwrap();
            assert_eq!((hook.state, hook.finding, hook.repaired_at.is_some()), (HookState::Active, Some(finding), true));
            assert_eq!((&world.hooks()[0]["events"], &world.hooks()[0]["active"], &world.hooks()[0]["url"]), (&good["events"], &good["active"], &good["url"]));
            let html = page().await;
            assert!(html.contains(words), "{words}: {html}");
        }

        // What cannot be put right has a name, a reason and a button.
        delete_hooks_by_hand(bitbucket, "acme/shop").await;
        bitbucket.add_fault(Fault::always("POST", "/hooks", status(403)));
        check().await;
        let html = page().await;
        assert!(html.contains("missing") && html.contains("403") && html.contains("/repair/"), "{html}");
        bitbucket.clear_faults();
        links::repair_hook(&t.app, org, id, "Olga").await.unwrap();
        t.run_jobs().await;
        let hook = world.hook(repo).await.unwrap();
        assert_eq!((hook.state, hook.finding, hook.repaired_at.is_some()), (HookState::Active, Some(links::HookFinding::Missing), true));
        assert!(page().await.contains("was missing"));
        world.finish().await;
    }

    async fn a_rotated_secret_is_honoured_beside_the_new_one(world) {
        let (t, repo) = (&world.t, &world.repo);
        let (org, id) = (world.tenant.org.id, RepoId(repo.parse().unwrap()));
        let old = world.secrets(repo).await;
        links::rotate_secret(&t.app, org, id, "Olga").await.unwrap();
        let between = world.secrets(repo).await;
        assert_eq!((between.len(), &between[1]), (2, &old[0]), "before Bitbucket knows the new one");
        assert_eq!(world.hooks()[0]["secret"].as_str().unwrap(), old[0]);
        let busy = links::rotate_secret(&t.app, org, id, "Olga").await.unwrap_err();
        assert_eq!(busy.code(), "conflict", "three secrets would be about");
        t.run_jobs().await;
        assert_eq!(world.hooks()[0]["secret"].as_str().unwrap(), between[0], "the same hook, the new secret");
        assert_eq!(world.hooks().len(), 1);
        assert_eq!(world.secrets(repo).await, between, "for another hour");
        assert_ne!(between[0], old[0]);
        // Both sign.
        let body = b"{}";
        let tags: Vec<_> = between.iter().map(|secret| hmac_sha256(secret.as_bytes(), body)).collect();
        assert_ne!(tags[0], tags[1]);
        // Nobody of another organization can do it.
        let rival = t.tenant("rival").await;
        assert_eq!(links::rotate_secret(&t.app, rival.org.id, id, "Rita").await.unwrap_err().code(), "not_found");
        assert!(links::repo_secrets(&t.app, rival.org.id, &world.repo(repo).await.external_id.unwrap(), true).await.unwrap().is_none());
        world.finish().await;
    }

    async fn a_rename_and_a_delivery_are_noted(world) {
        let (app, id) = (world.t.app.clone(), world.repo.clone());
        let repo = world.repo(&id).await;
        let now = app.clock.now();
        let tx_app = app.clone();
        let renamed = app
            .db
            .write(move |tx| {
                links::note_delivery(tx, repo.id, now);
                links::note_delivery(tx, repo.id, now.minus(Duration::from_secs(9)));
                let odd = links::note_rename(tx, &tx_app, &repo, "no name", now)?;
                let same = links::note_rename(tx, &tx_app, &repo, "acme/shop", now)?;
                Ok::<_, AppError>((odd, same, links::note_rename(tx, &tx_app, &repo, "acme/store", now)?))
            })
            .await
            .unwrap();
        assert_eq!(renamed, (false, false, true));
        let repo = world.repo(&id).await;
        assert_eq!((repo.name.as_str(), repo.url.unwrap()), ("acme/store", format!("{}/acme/store", world.bitbucket.url())));
        assert_eq!(world.hook(&id).await.unwrap().last_delivery_at, Some(now));
        // Calls go by uuid, so the wrong name does not matter, and the next sync puts it right.
        let org = world.tenant.org.id;
        let link = links::LinkId(world.integration.parse().unwrap());
        app.db.write(move |tx| Ok::<_, AppError>(tracebucket::kit::jobs::enqueue(tx, &links::SyncRepos { org, link }, now)?)).await.unwrap();
        world.t.run_jobs().await;
        assert_eq!(world.repo(&id).await.name, "acme/shop");
        world.finish().await;
    }
}

/// A token that may not see pull requests, added without a test, so that nobody knows its scopes.
async fn events_by_scope(backend: Backend) {
    use bitbucket_sandbox::NewCredential;
    let (bitbucket, t, _folder) = bitbucket_and_app(backend).await;
    bitbucket
        .create_repository(NewRepository::new("acme", "web"))
        .await
        .unwrap();
    let acme = t.tenant("acme").await;
    let made = bitbucket
        .create_credential(&NewCredential::WorkspaceAccessToken {
            workspace: "acme".into(),
            name: "tracebucket".into(),
            scopes: vec!["repository".into(), "webhook".into()],
            expires_in: None,
        })
        .unwrap();
    let token = || made.secret.expose().into();
    let cloud = t
        .app
        .bitbucket
        .for_credential(tracebucket::bitbucket::Credential::Bearer(token()));
    let new = links::NewConnection {
        kind: links::CredentialKind::WorkspaceToken,
        credential: links::Given::AccessToken { token: token() },
        workspace_uuid: cloud.workspace("acme").await.unwrap().uuid.unwrap(),
        workspace: "acme".into(),
        label: String::new(),
        purpose: String::new(),
        owner: None,
        private: false,
        expires_at: None,
    };
    let link = links::connect_named(&t.app, acme.org.id, new, "Olga")
        .await
        .unwrap();
    t.run_jobs().await;
    let add = async |name: &str| {
        let body = json!({ "provider": "integrations:bitbucket", "installation": link.id, "identifier": name });
        let repo = t.send("POST", REPOS, &acme.token, body, 201).await;
        bitbucket.clear_calls();
        t.run_jobs().await;
        let (org, id) = (
            acme.org.id,
            RepoId(repo["id"].as_str().unwrap().parse().unwrap()),
        );
        let found = t
            .app
            .db
            .read(move |conn| Ok::<_, AppError>(links::find_hook(conn, org, id)?));
        let hook = found.await.unwrap().unwrap();
        assert_eq!(
            (hook.state, hook.events.as_deref()),
            (HookState::Active, Some("repo:push repo:updated"))
        );
        bitbucket.call_counts().values().sum::<u64>()
    };
    // The headers of the first answer tell the scopes: nothing is asked that must be refused.
    assert_eq!(add("acme/shop").await, 2);
    assert!(bitbucket.take_violations().is_empty());
    // Headers that are lost: what is safe comes first, more is tried and refused, and the hook stays.
    let empty = Action::Status {
        status: 200,
        retry_after: None,
        body: Some(json!({ "values": [] }).to_string()),
    };
    bitbucket.add_fault(Fault::once("GET", "/hooks", empty));
    assert!(add("acme/web").await >= 3);
    let refused = bitbucket.take_violations();
    assert!(!refused.is_empty());
    assert!(
        refused
            .iter()
            .all(|violation| violation.rule == bitbucket_sandbox::Rule::Scope
                && violation.method == "PUT"),
        "{refused:#?}"
    );
    assert!(t.dead_jobs().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_by_scope_on_sqlite() {
    events_by_scope(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_by_scope_on_postgres() {
    events_by_scope(Backend::Postgres).await;
}

/// Runs what waits for its next try.
async fn run_later_jobs(t: &TestApp) {
    for _ in 0..100 {
        t.run_jobs().await;
        let filter = tracebucket::kit::jobs::Filter {
            state: Some(tracebucket::kit::jobs::JobState::Ready),
            kind: Some("links.ensure_hook".into()),
            ..Default::default()
        };
        let left = t
            .app
            .db
            .read(move |conn| Ok::<_, AppError>(tracebucket::kit::jobs::list(conn, &filter, 9)?))
            .await
            .unwrap();
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the job did not end");
}

/// Time, in one story: the previous secret ends after an hour, a hook that vanished comes back within a day, and
/// a Bitbucket that never has time makes the hook failed and the job dead, for a person to look at.
async fn hooks_over_time(backend: Backend) {
    use tracebucket::kit::clock::Clock;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("bitbucket");
    let bitbucket = tokio::task::spawn_blocking(move || {
        Sandbox::start(bitbucket_sandbox::SandboxConfig::new(data))
    })
    .await
    .unwrap()
    .unwrap();
    bitbucket.create_workspace("acme").unwrap();
    bitbucket
        .create_repository(NewRepository::new("acme", "shop"))
        .await
        .unwrap();
    let clock = Clock::fixed(Clock::system().now());
    let settings = vec![
        ("bitbucket_api_url", bitbucket.url().to_owned()),
        ("bitbucket_web_url", bitbucket.url().to_owned()),
    ];
    let t = TestApp::start_with(
        backend,
        crate::support::Options {
            settings,
            clock: Some(clock.clone()),
        },
    )
    .await;
    let acme = t.tenant("acme").await;
    let (client_key, redirect) = install(&t, &bitbucket, "acme").await;
    let cookie = t.session(&acme.owner).await;
    link_by_hand(&t, &redirect, &cookie, "acme").await;
    let advance = |span: Duration| {
        clock.advance(span);
        bitbucket.set_clock(Some(clock.now().to_rfc3339().parse().unwrap()));
    };
    let body = json!({ "provider": "integrations:bitbucket", "installation": 1, "identifier": "acme/shop" });
    let repo = t.send("POST", REPOS, &acme.token, body, 201).await;
    let (id, uuid) = (
        RepoId(repo["id"].as_str().unwrap().parse().unwrap()),
        repo["externalId"].as_str().unwrap().to_owned(),
    );
    t.run_jobs().await;
    let secrets = || async {
        links::repo_secrets(&t.app, acme.org.id, &uuid, true)
            .await
            .unwrap()
            .unwrap()
            .secrets
            .len()
    };
    let hook_now = || async {
        let org = acme.org.id;
        t.app
            .db
            .read(move |conn| Ok::<_, AppError>(links::find_hook(conn, org, id)?))
            .await
            .unwrap()
            .unwrap()
    };
    let at_bitbucket = || by_hand(&bitbucket, "GET", "/2.0/repositories/acme/shop/hooks", None);

    links::rotate_secret(&t.app, acme.org.id, id, "Olga")
        .await
        .unwrap();
    advance(Duration::from_secs(7_200));
    assert_eq!(
        secrets().await,
        2,
        "Bitbucket does not have the new one yet"
    );
    t.run_jobs().await;
    advance(Duration::from_secs(3_599));
    assert_eq!(secrets().await, 2);
    advance(Duration::from_secs(1));
    assert_eq!(secrets().await, 1);

    delete_hooks_by_hand(&bitbucket, "acme/shop").await;
    t.run_jobs().await;
    assert_eq!(
        at_bitbucket().await["values"],
        json!([]),
        "looked at not long ago"
    );
    advance(Duration::from_secs(25 * 3_600));
    let now = clock.now();
    t.app
        .db
        .write(move |tx| {
            Ok::<_, AppError>(tracebucket::kit::jobs::enqueue(
                tx,
                &links::CheckHooks::default(),
                now,
            )?)
        })
        .await
        .unwrap();
    t.run_jobs().await;
    assert_eq!(at_bitbucket().await["values"].as_array().unwrap().len(), 1);
    assert_eq!(hook_now().await.state, HookState::Active);

    bitbucket.add_fault(Fault::always(
        "GET",
        "/hooks",
        Action::Status {
            status: 429,
            retry_after: Some(60),
            body: None,
        },
    ));
    links::repair_hook(&t.app, acme.org.id, id, "Olga")
        .await
        .unwrap();
    // Who is told to wait has not failed, however often.
    for _ in 0..14 {
        assert_eq!(hook_now().await.state, HookState::Pending);
        t.run_jobs().await;
        advance(Duration::from_secs(8 * 3_600));
    }
    assert!(t.dead_jobs().await.is_empty());
    bitbucket.clear_faults();
    t.run_jobs().await;
    assert_eq!(hook_now().await.state, HookState::Active);

    let broken = Action::Status {
        status: 503,
        retry_after: Some(60),
        body: None,
    };
    bitbucket.add_fault(Fault::always("GET", "/hooks", broken));
    links::repair_hook(&t.app, acme.org.id, id, "Olga")
        .await
        .unwrap();
    for _ in 0..12 {
        assert_eq!(hook_now().await.state, HookState::Pending);
        t.run_jobs().await;
        advance(Duration::from_secs(8 * 3_600));
    }
    let hook = hook_now().await;
    assert_eq!(
        (hook.state, hook.last_error.unwrap().contains("503")),
        (HookState::Failed, true)
    );
    let dead = t.dead_jobs().await;
    assert_eq!(
        dead.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>(),
        ["links.ensure_hook"]
    );
    // It is tried again by itself, once a day; so is one that was refused, and one whose job is gone.
    bitbucket.clear_faults();
    let check = async || {
        let now = clock.now();
        let job = links::CheckHooks::default();
        let asked = t
            .app
            .db
            .write(move |tx| Ok::<_, AppError>(tracebucket::kit::jobs::enqueue(tx, &job, now)?));
        asked.await.unwrap();
        t.run_jobs().await;
    };
    advance(Duration::from_secs(25 * 3_600));
    check().await;
    assert_eq!(hook_now().await.state, HookState::Active);
    bitbucket.add_fault(Fault::always("GET", "/hooks", status(403)));
    links::repair_hook(&t.app, acme.org.id, id, "Olga")
        .await
        .unwrap();
    t.run_jobs().await;
    assert_eq!(hook_now().await.state, HookState::Failed);
    bitbucket.clear_faults();
    check().await;
    assert_eq!(hook_now().await.state, HookState::Failed, "not so soon");
    advance(Duration::from_secs(25 * 3_600));
    check().await;
    assert_eq!(hook_now().await.state, HookState::Active);
    links::repair_hook(&t.app, acme.org.id, id, "Olga")
        .await
        .unwrap();
    let gone = t.app.db.write(move |tx| {
        let key = links::EnsureHook::key(id);
        Ok::<_, AppError>(tracebucket::kit::jobs::cancel::<links::EnsureHook>(
            tx, &key,
        )?)
    });
    assert!(gone.await.unwrap());
    check().await;
    assert_eq!(hook_now().await.state, HookState::Pending);
    advance(Duration::from_secs(25 * 3_600));
    check().await;
    assert_eq!(hook_now().await.state, HookState::Active);
    assert!(bitbucket.take_violations().is_empty(), "{client_key}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_over_time_on_sqlite() {
    hooks_over_time(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_over_time_on_postgres() {
    hooks_over_time(Backend::Postgres).await;
}
