//! The console's pages and the command line.

use super::*;

in_a_world! {
    async fn disconnecting_removes_hooks_and_keeps_history(world) {
        let (t, token) = (&world.t, &world.tenant.token);
        let path = format!("{INTEGRATIONS}{}/", world.integration);
        t.send("DELETE", &path, token, json!({}), 204).await;
        assert!(world.secrets(&world.repo).await.is_empty(), "at once");
        t.send("DELETE", &path, token, json!({}), 404).await;
        t.get(&path, token, 404).await;
        assert_eq!(world.get(INTEGRATIONS).await, json!([]));
        assert_eq!(world.hooks().len(), 1, "by a job");
        t.run_jobs().await;
        assert!(world.hooks().is_empty());
        assert_eq!(world.repo(&world.repo).await.name, "acme/shop", "the row stays");
        let body = json!({ "provider": "integrations:bitbucket", "installation": world.integration, "identifier": "acme/shop" });
        t.send("POST", REPOS, token, body, 404).await;
        // Connected again, it is the same link, and its repositories are added anew to the same rows.
        let cookie = t.session(&world.tenant.owner).await;
        let redirect = world.bitbucket.signed_url(&world.client_key, "/extensions/bitbucket/setup/").unwrap();
        link_by_hand(t, &redirect, &cookie, "acme").await;
        t.run_jobs().await;
        assert_eq!(world.get(INTEGRATIONS).await[0]["id"].as_str(), Some(world.integration.as_str()));
        assert_eq!(world.get(REPOS).await, json!([]));
        assert_eq!(world.add("acme/shop", 201).await["id"].as_str(), Some(world.repo.as_str()));
        t.run_jobs().await;
        world.finish().await;
    }

    async fn the_console(world) {
        let (t, bitbucket) = (&world.t, &world.bitbucket);
        for slug in ["web", "api", "docs"] {
            bitbucket.create_repository(NewRepository::new("acme", slug)).await.unwrap();
        }
        let cookie = t.session(&world.tenant.owner).await;
        let member = t.member(&world.tenant.org, Role::Member).await;
        let member_cookie = t.session(&member).await;
        let get = |cookie: String, path: String| async move {
            let response = t.http.get(t.url(&path)).header("cookie", cookie).header("accept", "text/html").send().await.unwrap();
            let status = response.status().as_u16();
            (status, response.text().await.unwrap())
        };
        let connection = format!("/o/acme/connections/{}/", world.integration);
        let (code, list) = get(cookie.clone(), "/o/acme/connections/".into()).await;
        assert_eq!(code, 200);
        assert!(list.contains(&format!("href=\"{connection}\"")) && list.contains("Olga Owner"), "{list}");
        let (code, detail) = get(cookie.clone(), connection.clone()).await;
        assert_eq!(code, 200);
        assert!(detail.contains("acme/shop") && detail.contains("What works") && !detail.contains("Add selected"), "{detail}");
        let (_, searched) = get(cookie.clone(), format!("{connection}?search=")).await;
        for name in ["acme/web", "acme/api", "acme/docs", "added already"] {
            assert!(searched.contains(name), "{name}");
        }
        bitbucket.add_fault(Fault::always("GET", "/2.0/repositories/", status(403)));
        let (code, failed) = get(cookie.clone(), format!("{connection}?search=x")).await;
        bitbucket.clear_faults();
        assert_eq!((code, failed.contains("Bitbucket answered 403")), (200, true), "{failed}");
        // A member may look and not touch.
        let (code, looked) = get(member_cookie.clone(), format!("{connection}?search=")).await;
        assert_eq!((code, looked.contains("Add repositories"), looked.contains("Disconnect")), (200, false, false));

        let csrf = hidden(&searched, "csrf");
        let post = |cookie: &str, path: String, form: Vec<(&'static str, String)>| {
            let request = t.http.post(t.url(&path)).header("cookie", cookie).header("origin", &t.base).form(&form);
            async move {
                let response = request.send().await.unwrap();
                let to = response.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
                (response.status().as_u16(), to)
            }
        };
        let chosen = ["acme/web", "acme/api", "acme/none"].map(|name| ("repos", name.to_owned()));
        let form: Vec<_> = chosen.into_iter().chain([("csrf", csrf.clone())]).collect();
        assert_eq!(post(&member_cookie, format!("{connection}repos/"), form.clone()).await.0, 403);
        assert_eq!(post(&cookie, format!("{connection}repos/"), vec![("repos", "acme/docs".into())]).await.0, 403, "no csrf");
        assert_eq!(post(&cookie, format!("{connection}repos/"), form).await, (303, Some(connection.clone())));
        assert_eq!(world.get(REPOS).await.as_array().unwrap().len(), 3);
        let (_, busy) = get(cookie.clone(), connection.clone()).await;
        assert!(busy.contains("Setting up repositories") && busy.contains("1 of 3"), "{busy}");
        t.run_jobs().await;
        let (_, calm) = get(cookie.clone(), connection.clone()).await;
        assert!(!calm.contains("Setting up repositories"));

        // Repair, rotate, remove; `back` cannot lead away.
        let web = world.get(&format!("{REPOS}?query=web")).await[0]["id"].as_str().unwrap().to_owned();
        let row = |verb: &str| format!("{connection}repos/{web}/{verb}/");
        let back = |to: &str| vec![("csrf", csrf.clone()), ("back", to.to_owned())];
        assert_eq!(post(&cookie, row("repair"), back("/o/acme/repos/")).await, (303, Some("/o/acme/repos/".into())));
        t.run_jobs().await;
        let offered = |html: &str, verb: &str| html.contains(&format!("action=\"{}\"", row(verb)));
        let (_, detail) = get(cookie.clone(), connection.clone()).await;
        assert!(offered(&detail, "rotate") && !offered(&detail, "repair"), "a hook that works gets a new secret");
        let (_, looked) = get(member_cookie.clone(), connection.clone()).await;
        assert!(!offered(&looked, "rotate"));
        assert_eq!(post(&member_cookie, row("rotate"), back("")).await.0, 403);
        assert_eq!(post(&cookie, row("rotate"), back("https://evil.example/")).await, (303, Some(connection.clone())));
        t.run_jobs().await;
        assert_eq!(world.secrets(&web).await.len(), 2);
        // A hook that somebody broke is offered a repair instead.
        bitbucket.add_fault(Fault::always("GET", "/hooks", status(403)));
        assert_eq!(post(&cookie, row("repair"), back("")).await.0, 303);
        t.run_jobs().await;
        bitbucket.clear_faults();
        let (_, broken) = get(cookie.clone(), connection.clone()).await;
        assert!(offered(&broken, "repair") && !offered(&broken, "rotate"), "{broken}");
        assert_eq!(post(&cookie, row("rotate"), back("")).await.0, 409);
        assert_eq!(post(&cookie, row("repair"), back("")).await.0, 303);
        t.run_jobs().await;
        assert_eq!(post(&member_cookie, row("remove"), back("")).await.0, 403);
        assert_eq!(post(&cookie, format!("/o/acme/connections/999/repos/{web}/remove/"), back("")).await.0, 404);
        assert_eq!(post(&cookie, row("remove"), back("//evil.example/")).await, (303, Some(connection.clone())));
        t.run_jobs().await;
        let (code, repos) = get(cookie.clone(), "/o/acme/repos/?query=a&health=active".into()).await;
        assert_eq!((code, repos.contains("acme/api"), repos.contains("acme/web")), (200, true, false), "{repos}");
        let (_, problems) = get(cookie.clone(), "/o/acme/repos/?health=problem".into()).await;
        assert!(problems.contains("Nothing matches"), "{problems}");
        let (code, done) = get(cookie.clone(), format!("{connection}done/")).await;
        assert_eq!((code, done.contains("acme is connected")), (200, true));

        assert_eq!(post(&member_cookie, format!("{connection}disconnect/"), back("")).await.0, 403);
        assert_eq!(post(&cookie, format!("{connection}disconnect/"), back("")).await, (303, Some("/o/acme/connections/".into())));
        t.run_jobs().await;
        assert!(world.hooks().is_empty());
        assert_eq!(get(cookie.clone(), connection).await.0, 404);
        world.finish().await;
    }

    async fn the_command_line_does_what_the_console_does(world) {
        let t = &world.t;
        world.bitbucket.create_repository(NewRepository::new("acme", "web")).await.unwrap();
        let rival = t.tenant("rival").await;
        let run = async |args: &[&str]| cli(t, args, None).await;
        let made = run(&["link", "create", "--org", "rival", "--client-key", &world.client_key]).await.unwrap();
        let made: Value = serde_json::from_str(&made).unwrap();
        let integration = made["integrationId"].as_str().unwrap().to_owned();
        assert_eq!(keys(&made), ["integrationId"]);
        let added = run(&["repo", "add", "--org", "rival", "--integration", &integration, "--repo", "acme/web"]).await.unwrap();
        let added: Value = serde_json::from_str(&added).unwrap();
        assert_eq!((added["name"].as_str(), added["status"].as_str()), (Some("acme/web"), Some("active")));
        let hooks = world.hooks();
        let own = format!("/organizations/{}/webhook/", rival.org.id);
        assert!(hooks.iter().any(|hook| hook["url"].as_str().unwrap().ends_with(&own)), "the hook is there when it ends");
        let safety: Vec<_> = {
            let filter = tracebucket::kit::jobs::Filter { kind: Some("links.ensure_hook".into()), state: Some(tracebucket::kit::jobs::JobState::Ready), ..Default::default() };
            t.app.db.read(move |conn| Ok::<_, AppError>(tracebucket::kit::jobs::list(conn, &filter, 9)?)).await.unwrap()
        };
        assert!(safety.is_empty(), "{safety:?}");
        for (args, reason) in [
            (vec!["link", "create", "--org", "rival", "--client-key", "connection:0"], "no installation has the client key"),
            (vec!["link", "create", "--org", "nobody", "--client-key", "connection:0"], "no organization"),
            (vec!["repo", "add", "--org", "rival", "--integration", "999", "--repo", "acme/web"], "does not exist"),
            (vec!["repo", "add", "--org", "rival", "--integration", &integration, "--repo", "acme/web"], "already exists"),
            (vec!["install", "reset", "--client-key", "connection:0"], "no installation has the client key"),
        ] {
            let error = run(&args).await.unwrap_err();
            assert!(error.contains(reason), "{args:?}: {error}");
        }
        let before = world.hooks();
        run(&["repo", "rotate-secret", "--org", "rival", "--repo", "acme/web"]).await.unwrap();
        assert_ne!(world.hooks(), before);
        let reset = run(&["--json", "install", "reset", "--client-key", &world.client_key]).await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&reset).unwrap()["resetAllowed"], true);

        // New keys: the old one still opens until everything is sealed again.
        let old = t.app.config.secret_keys.as_ref().unwrap().expose().to_owned();
        let fresh = Sealer::generate_key_line();
        let rotated = cli(t, &["--json", "keys", "rotate"], Some(format!("{fresh},{old}"))).await.unwrap();
        let rotated: Value = serde_json::from_str(&rotated).unwrap();
        assert_eq!((rotated["installations"].as_i64(), rotated["hooks"].as_i64()), (Some(1), Some(2)), "{rotated}");
        let again = cli(t, &["--json", "keys", "rotate"], Some(fresh.clone())).await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["hooks"], 0, "the old key is not needed any more");
        cli(t, &["repo", "rotate-secret", "--org", "rival", "--repo", "acme/web"], Some(fresh)).await.unwrap();
        assert!(links::repo_secrets(&t.app, world.tenant.org.id, &world.repo(&world.repo).await.external_id.unwrap(), true).await.is_err(), "this process has only the old key");
        world.finish().await;
    }
}

in_a_world! {
    async fn jobs_and_a_copy_by_the_command_line(world) {
        let t = &world.t;
        let (org, now) = (world.tenant.org.id, t.app.clock.now());
        t.app.db.write(move |tx| {
            use diesel::RunQueryDsl;
            for group in [1, 2] {
                let job = tracebucket::features::tickets::SyncStatus { org, group: tracebucket::features::groups::GroupId(group) };
                tracebucket::kit::jobs::enqueue(tx, &job, now)?;
            }
            diesel::sql_query("UPDATE jobs SET state = 'dead' WHERE state = 'ready' AND kind = 'tickets.sync_status'").execute(tx.conn())?;
            Ok::<_, AppError>(())
        }).await.unwrap();
        let run = |args: Vec<String>| async move { cli(t, &args.iter().map(String::as_str).collect::<Vec<_>>(), None).await };
        let list = || async { run(vec!["--json".into(), "jobs".into(), "list".into(), "--state".into(), "dead".into()]).await.unwrap() };
        let ids = |text: &str| -> Vec<i64> {
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap()).collect()
        };
        let dead = ids(&list().await);
        assert_eq!(dead.len(), 2);
        run(vec!["jobs".into(), "redrive".into(), dead[0].to_string()]).await.unwrap();
        run(vec!["jobs".into(), "drop".into(), dead[1].to_string()]).await.unwrap();
        assert_eq!(ids(&list().await), [0; 0]);
        assert!(run(vec!["jobs".into(), "drop".into(), dead[1].to_string()]).await.is_err());
        t.run_jobs().await;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("copy.db");
        let copied = run(vec!["backup".into(), file.display().to_string()]).await;
        if t.app.db.url().is_sqlite() {
            copied.unwrap();
            let copy = format!("sqlite://{}", file.display());
            let copy = tokio::task::spawn_blocking(move || tracebucket::kit::db::Db::open(&copy, tracebucket::kit::db::OpenAs::Beside, None).unwrap()).await.unwrap();
            let (org, id) = (world.tenant.org.id, RepoId(world.repo.parse().unwrap()));
            let there = copy.read(move |conn| Ok::<_, AppError>(links::find_repo(conn, org, id)?)).await.unwrap();
            assert_eq!(there.unwrap().name, "acme/shop");
            assert!(run(vec!["backup".into(), file.display().to_string()]).await.is_err(), "it is there already");
        } else {
            assert!(copied.unwrap_err().contains("pg_dump"));
        }
        world.finish().await;
    }
}

/// Runs `admin` beside the running server; standard output, or standard error when it failed.
async fn cli(t: &TestApp, args: &[&str], keys: Option<String>) -> Result<String, String> {
    let config = &t.app.config;
    let keys = keys.unwrap_or_else(|| config.secret_keys.as_ref().unwrap().expose().to_owned());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tracebucket"));
    command
        .args(["--dev", "admin"])
        .args(args)
        .env("TRACEBUCKET_DATABASE_URL", config.database_url.expose())
        .env("TRACEBUCKET_SECRET_KEYS", keys)
        .env("TRACEBUCKET_PUBLIC_URL", config.public_url.as_str())
        .env(
            "TRACEBUCKET_BITBUCKET_API_URL",
            config.bitbucket_api_url.as_str(),
        )
        .env(
            "TRACEBUCKET_BITBUCKET_WEB_URL",
            config.bitbucket_web_url.as_str(),
        )
        .env("TRACEBUCKET_LOG", "warn");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}
