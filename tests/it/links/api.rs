//! `/api/0`, row by row.

use super::*;
use crate::support::both;

both! {
    async fn the_provider_directory(t) {
        let acme = t.tenant("acme").await;
        let path = "/api/0/organizations/acme/config/integrations/";
        for query in ["", "?provider_key=bitbucket", "?provider_key="] {
            let found = t.get(&format!("{path}{query}"), &acme.token, 200).await;
            let provider = &found["providers"][0];
            assert_eq!((provider["key"].as_str(), provider["slug"].as_str(), provider["name"].as_str()), (Some("bitbucket"), Some("bitbucket"), Some("Bitbucket")));
            assert_eq!(provider["features"], json!(["codeowners", "commits", "issue-basic", "stacktrace-link"]));
            assert_eq!((provider["canAdd"].as_bool(), provider["canDisable"].as_bool()), (Some(true), Some(false)));
            for key in ["aspects", "author", "description", "features", "issue_url", "noun", "source_url"] {
                assert!(provider["metadata"].get(key).is_some(), "{key}");
            }
            assert!(provider["metadata"]["features"][0].get("featureGate").is_some());
        }
        let none = t.get(&format!("{path}?provider_key=github"), &acme.token, 404).await;
        assert_eq!(none, json!({ "detail": "Providers do not exist" }));
    }

    async fn an_organization_without_links(t) {
        let acme = t.tenant("acme").await;
        assert_eq!(t.get(INTEGRATIONS, &acme.token, 200).await, json!([]));
        assert_eq!(t.get(REPOS, &acme.token, 200).await, json!([]));
        t.get(&format!("{INTEGRATIONS}7/"), &acme.token, 404).await;
        t.get(&format!("{INTEGRATIONS}7/repos/"), &acme.token, 404).await;
        t.get(&format!("{REPOS}?cursor=nonsense"), &acme.token, 400).await;
        let body = json!({ "provider": "integrations:bitbucket", "installation": "7", "identifier": "a/b" });
        let answer = t.send("POST", REPOS, &acme.token, body, 404).await;
        assert_eq!(answer["error_type"], "not found");
        let cookie = t.session(&acme.owner).await;
        for path in ["/o/acme/connections/", "/o/acme/repos/", "/o/acme/repos/?query=x&health=problem"] {
            let page = t.http.get(t.url(path)).header("cookie", &cookie).header("accept", "text/html").send().await.unwrap();
            let (status, html) = (page.status(), page.text().await.unwrap());
            assert_eq!(status, 200, "{path}: {html}");
        }
        let page = t.http.get(t.url("/o/acme/connections/new/")).header("cookie", &cookie).send().await.unwrap().text().await.unwrap();
        assert!(page.contains(&t.url("/extensions/bitbucket/descriptor/")), "{page}");
    }
}

in_a_world! {
    async fn integration_objects(world) {
        let (t, token) = (&world.t, &world.tenant.token);
        let (code, headers, list) = raw(t.call("GET", INTEGRATIONS, token)).await;
        assert_eq!((code, headers["x-hits"].to_str().unwrap()), (200, "1"));
        let link = headers["link"].to_str().unwrap();
        assert!(link.contains(&format!("<{}?&cursor=0:100:0>; rel=\"next\"; results=\"false\"", t.url(INTEGRATIONS))), "{link}");
        let object = &list[0];
        assert_eq!(keys(object), [
            "accountType", "configData", "configOrganization", "domainName", "externalId", "gracePeriodEnd", "icon", "id",
            "name", "organizationId", "organizationIntegrationStatus", "provider", "scopes", "status",
        ]);
        assert_eq!(keys(&object["provider"]), ["aspects", "canAdd", "canDisable", "features", "key", "name", "slug"]);
        assert_eq!((object["name"].as_str(), object["domainName"].as_str()), (Some("acme"), Some("bitbucket.org/acme")));
        assert_eq!((object["accountType"].as_str(), object["status"].as_str()), (Some("team"), Some("active")));
        assert_eq!(object["externalId"], json!(world.client_key));
        assert_eq!(object["organizationId"], json!(world.tenant.org.id.0));
        assert_eq!(object["scopes"], json!(["issue:write", "pullrequest", "webhook", "repository"]));
        assert!(object["id"].is_string());
        assert_eq!(world.get(&format!("{INTEGRATIONS}{}/", world.integration)).await, *object);
        let bare = world.get(&format!("{INTEGRATIONS}?includeConfig=0")).await;
        assert!(bare[0].get("configOrganization").is_none() && bare[0]["configData"].is_null());
        for (query, hits) in [
            ("provider_key=bitbucket", 1), ("provider_key=jira", 0), ("features=commits", 1), ("features=alert-rule", 0),
            ("features=alert-rule&features=issue-basic", 1), ("cursor=0:100:0", 0),
        ] {
            assert_eq!(world.get(&format!("{INTEGRATIONS}?{query}")).await.as_array().unwrap().len(), hits, "{query}");
        }

        // Settings: the keys of sentry.md §7.6, merged, checked.
        let path = format!("{INTEGRATIONS}{}/", world.integration);
        let sync = ["sync_status_forward", "sync_status_reverse", "sync_forward_assignment", "sync_reverse_assignment", "sync_comments"];
        for key in sync {
            assert!(object["configData"][key].is_boolean(), "{key}");
            assert!(object["configOrganization"].as_array().unwrap().iter().any(|field| field["name"] == key), "{key}");
        }
        let changed = t.send("POST", &path, token, json!({ "sync_comments": true }), 200).await;
        assert_eq!((changed["configData"]["sync_comments"].as_bool(), changed["configData"]["sync_status_forward"].as_bool()), (Some(true), Some(true)));
        t.send("POST", &path, token, json!({ "sync_status_forward": false }), 200).await;
        let stored = world.get(&path).await;
        assert_eq!((stored["configData"]["sync_comments"].as_bool(), stored["configData"]["sync_status_forward"].as_bool()), (Some(true), Some(false)));
        for wrong in [json!({ "sync_coments": true }), json!({ "sync_comments": "x" }), json!([])] {
            assert!(t.send("POST", &path, token, wrong, 400).await["detail"].is_string());
        }
        world.finish().await;
    }

    async fn other_tenants_and_weak_tokens_change_nothing(world) {
        let t = &world.t;
        let rival = t.tenant("rival").await;
        let (integration, repo) = (&world.integration, &world.repo);
        let body = json!({ "provider": "integrations:bitbucket", "installation": integration, "identifier": "acme/shop" });
        let own = |path: &str| path.replace("/acme/", "/rival/");
        let calls = [
            ("GET", format!("{INTEGRATIONS}{integration}/"), json!({})),
            ("POST", format!("{INTEGRATIONS}{integration}/"), json!({ "sync_comments": true })),
            ("DELETE", format!("{INTEGRATIONS}{integration}/"), json!({})),
            ("GET", format!("{INTEGRATIONS}{integration}/repos/"), json!({})),
            ("POST", REPOS.to_owned(), body),
            ("PUT", format!("{REPOS}{repo}/"), json!({ "status": "hidden" })),
            ("DELETE", format!("{REPOS}{repo}/"), json!({})),
        ];
        let weak = t.token(&world.tenant.org, "project:write,event:write").await;
        let reader = t.token(&world.tenant.org, "org:read").await;
        for (method, path, body) in calls {
            t.send(method, &path, &rival.token, body.clone(), 404).await;
            t.send(method, &own(&path), &rival.token, body.clone(), 404).await;
            t.send(method, &path, &weak, body.clone(), 403).await;
            if method != "GET" {
                t.send(method, &path, &reader, body, 403).await;
            }
        }
        assert_eq!(world.get(INTEGRATIONS).await[0]["status"], "active");
        assert_eq!(world.get(REPOS).await[0]["status"], "active");
        let cookie = t.session(&rival.owner).await;
        for path in [format!("/o/acme/connections/{integration}/"), format!("/o/rival/connections/{integration}/"), format!("/o/rival/connections/{integration}/done/")] {
            assert_eq!(t.http.get(t.url(&path)).header("cookie", &cookie).send().await.unwrap().status(), 404, "{path}");
        }
        world.finish().await;
    }

    async fn search_walks_all_pages(world) {
        let bitbucket = &world.bitbucket;
        for number in 0..115 {
            bitbucket.create_repository(NewRepository::new("acme", &format!("service-{number}"))).await.unwrap();
        }
        let path = format!("{INTEGRATIONS}{}/repos/", world.integration);
        let all = world.get(&path).await;
        assert_eq!(all["searchable"], true);
        assert_eq!(all["repos"].as_array().unwrap().len(), 116);
        let shop = all["repos"].as_array().unwrap().iter().find(|repo| repo["identifier"] == "acme/shop").unwrap();
        assert_eq!(keys(shop), ["defaultBranch", "externalId", "identifier", "isInstalled", "name", "url"]);
        assert_eq!(shop["isInstalled"], true);
        assert!(shop["externalId"].as_str().unwrap().starts_with('{'));
        let found = world.get(&format!("{path}?search=service-11")).await;
        let names: Vec<_> = found["repos"].as_array().unwrap().iter().map(|repo| repo["identifier"].as_str().unwrap()).collect();
        assert_eq!((names[0], names.len()), ("acme/service-11", 6), "exact first, each once: {names:?}");
        let none = world.get(&format!("{path}?search=no%22such%5Cthing")).await;
        assert_eq!(none["repos"], json!([]));
        let installable = world.get(&format!("{path}?search=shop&installableOnly=1")).await;
        assert_eq!(installable["repos"], json!([]));
        world.finish().await;
    }

    async fn a_bitbucket_in_trouble_has_defined_answers(world) {
        let (t, bitbucket, token) = (&world.t, &world.bitbucket, &world.tenant.token);
        bitbucket.create_repository(NewRepository::new("acme", "web")).await.unwrap();
        let search = format!("{INTEGRATIONS}{}/repos/", world.integration);
        let body = json!({ "provider": "integrations:bitbucket", "installation": world.integration, "identifier": "acme/web" });
        let rows = [
            (status(401), 400), (status(403), 400), (status(404), 400), (status(410), 400), (status(400), 400), (status(402), 400),
            (Action::Redirect { url: "https://localhost:9/".into(), status: None }, 400),
            (Action::Status { status: 429, retry_after: Some(17), body: None }, 503),
            (status(555), 503), (Action::Garbage, 503), (status(500), 503), (Action::DropBefore, 503),
        ];
        for (action, expected) in rows {
            let what = format!("{action:?}");
            bitbucket.add_fault(Fault::always("GET", "/2.0/repositories/", action.clone()));
            let (code, headers, answer) = raw(t.call("GET", &search, token)).await;
            assert_eq!(code, expected, "search, {what}: {answer}");
            assert!(answer["detail"].as_str().is_some_and(|text| text.len() > 20), "{answer}");
            if expected == 503 {
                let wait = headers["retry-after"].to_str().unwrap();
                assert_eq!(wait, if what.contains("429") { "17" } else { "30" }, "{what}");
            }
            let (code, headers, answer) = raw(t.call("POST", REPOS, token).json(&body)).await;
            assert_eq!(code, expected, "add, {what}: {answer}");
            let kind = if expected == 400 { "validation" } else { "service unavailable" };
            assert_eq!((answer["error_type"].as_str(), headers.contains_key("retry-after")), (Some(kind), expected == 503), "{what}");
            assert!(answer["errors"]["__all__"].is_string());
            bitbucket.clear_faults();
            if what.contains("429") {
                t.forgive_pauses().await;
            }
            if what.contains("401") {
                assert_eq!(world.get(INTEGRATIONS).await[0]["status"], "disabled", "a refused signature shows");
            }
        }
        // Enough failures, and the host is left alone for a while: still the same answer.
        for _ in 0..3 {
            bitbucket.add_fault(Fault::always("GET", "/2.0/repositories/", Action::DropBefore));
            let (code, ..) = raw(t.call("POST", REPOS, token).json(&body)).await;
            assert_eq!(code, 503);
        }
        assert_eq!(world.get(REPOS).await.as_array().unwrap().len(), 1, "nothing was stored");
        assert!(bitbucket.take_violations().is_empty());
    }

    async fn a_refused_signature_is_remembered_until_it_works_again(world) {
        let search = format!("{INTEGRATIONS}{}/repos/", world.integration);
        world.bitbucket.add_fault(Fault::always("GET", "/2.0/repositories/", status(401)));
        world.t.get(&search, &world.tenant.token, 400).await;
        assert_eq!(world.get(INTEGRATIONS).await[0]["status"], "disabled");
        let cookie = world.t.session(&world.tenant.owner).await;
        let page = world.t.http.get(world.t.url("/o/acme/connections/")).header("cookie", &cookie).send().await.unwrap();
        assert!(page.text().await.unwrap().contains("does not accept our signature"));
        world.bitbucket.clear_faults();
        world.get(&search).await;
        assert_eq!(world.get(INTEGRATIONS).await[0]["status"], "active");
        world.finish().await;
    }

    async fn repository_objects_and_lists(world) {
        let (t, token) = (&world.t, &world.tenant.token);
        for slug in ["web", "Api_v2"] {
            world.bitbucket.create_repository(NewRepository::new("acme", &slug.to_lowercase())).await.unwrap();
            world.add(&format!("acme/{}", slug.to_lowercase()), 201).await;
        }
        world.known_from_release("backend", None).await;
        let (code, headers, list) = raw(t.call("GET", REPOS, token)).await;
        assert_eq!((code, headers["x-hits"].to_str().unwrap()), (200, "4"));
        let names: Vec<_> = list.as_array().unwrap().iter().map(|repo| repo["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["acme/api_v2", "acme/shop", "acme/web", "backend"], "by name");
        let shop = &list[1];
        assert_eq!(keys(shop), ["dateCreated", "externalId", "externalSlug", "id", "integrationId", "name", "provider", "status", "url"]);
        assert_eq!(shop["provider"], json!({ "id": "integrations:bitbucket", "name": "Bitbucket" }));
        assert_eq!((shop["externalSlug"].as_str(), shop["integrationId"].as_str()), (Some("acme/shop"), Some(world.integration.as_str())));
        assert_eq!(shop["url"], json!(format!("{}/acme/shop", world.bitbucket.url())));
        assert_eq!(shop["status"], "active");
        let unknown = &list[3];
        assert_eq!(unknown["provider"], json!({ "id": "unknown", "name": "Unknown Provider" }));
        assert!(unknown["integrationId"].is_null() && unknown["externalSlug"].is_null() && unknown["externalId"].is_null());
        for (query, expected) in [
            ("query=SHOP", vec!["acme/shop"]), ("query=_", vec!["acme/api_v2"]), ("query=%25", vec![]),
            ("status=active&query=web", vec!["acme/web"]), ("status=deleted", vec![]), ("status=unknown", vec![]),
            ("integration_id=999", vec![]), ("integration_id=x", vec![]), ("query=back&status=", vec!["backend"]),
        ] {
            let list = world.get(&format!("{REPOS}?{query}")).await;
            let names: Vec<_> = list.as_array().unwrap().iter().map(|repo| repo["name"].as_str().unwrap()).collect();
            assert_eq!(names, expected, "{query}");
        }
        let own = world.get(&format!("{REPOS}?integration_id={}", world.integration)).await;
        assert_eq!(own.as_array().unwrap().len(), 3);
        // Pages, as sentry-cli walks them.
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let (_, headers, list) = raw(t.call("GET", &format!("{REPOS}?per_page=3&cursor={cursor}"), token)).await;
            seen.extend(list.as_array().unwrap().iter().map(|repo| repo["name"].as_str().unwrap().to_owned()));
            let link = headers["link"].to_str().unwrap().to_owned();
            let next = link.split(", <").nth(1).unwrap();
            if !next.contains("results=\"true\"") {
                break;
            }
            cursor = next.split("cursor=\"").nth(1).unwrap().trim_end_matches('"').to_owned();
        }
        assert_eq!(seen, names);
        t.run_jobs().await;
        world.finish().await;
    }

    async fn adding_a_repository_row_by_row(world) {
        let (t, token) = (&world.t, &world.tenant.token);
        world.bitbucket.create_workspace("beta").unwrap();
        world.bitbucket.create_repository(NewRepository::new("beta", "secret")).await.unwrap();
        let body = |provider: &str, installation: Value, identifier: &str| {
            json!({ "provider": provider, "installation": installation, "identifier": identifier })
        };
        let integration = json!(world.integration);
        let post = |body: Value, expected: u16| t.send("POST", REPOS, token, body, expected);
        assert_eq!(post(body("integrations:github", integration.clone(), "acme/shop"), 400).await, json!({ "error_type": "validation" }));
        assert_eq!(post(json!({ "installation": integration, "identifier": "acme/shop" }), 400).await, json!({ "error_type": "validation" }));
        for installation in [json!("999"), json!(999), json!("x"), json!(null)] {
            let missing = post(body("integrations:bitbucket", installation, "acme/shop"), 404).await;
            assert_eq!(missing["error_type"], "not found");
            assert!(missing["errors"]["__all__"].is_string(), "{missing}");
        }
        for identifier in ["", "shop", "acme/", "/shop", "acme/shop/x", "acme/.."] {
            let answer = post(body("integrations:bitbucket", integration.clone(), identifier), 400).await;
            assert_eq!(answer["error_type"], "validation", "{identifier}");
            assert!(answer["errors"]["__all__"].is_string());
        }
        assert!(world.bitbucket.take_violations().is_empty(), "none of these reached Bitbucket");
        // Not there, and another workspace's.
        assert_eq!(post(body("integrations:bitbucket", integration.clone(), "acme/none"), 400).await["error_type"], "validation");
        assert_eq!(post(body("integrations:bitbucket", integration.clone(), "beta/secret"), 400).await["error_type"], "validation");
        expect_violations(&world.bitbucket, &[Rule::ForeignWorkspace]);
        // In use already.
        let twice = world.add("acme/shop", 400).await;
        assert_eq!(twice["detail"]["code"], "repo_exists");
        assert_eq!(twice["detail"]["message"], "A repository with that configuration already exists");
        assert_eq!(world.get(REPOS).await.as_array().unwrap().len(), 1);
        // The integration id may be a number.
        world.bitbucket.create_repository(NewRepository::new("acme", "web")).await.unwrap();
        let id: i64 = world.integration.parse().unwrap();
        let made = post(body("integrations:bitbucket", json!(id), "acme/web"), 201).await;
        assert_eq!(made["name"], "acme/web");
        t.run_jobs().await;
        // A failure of our own: the table of the hooks is gone.
        world.bitbucket.create_repository(NewRepository::new("acme", "late")).await.unwrap();
        let rename = |from: &'static str, to: &'static str| t.app.db.write(move |tx| {
            use diesel::RunQueryDsl;
            Ok::<_, AppError>(diesel::sql_query(format!("ALTER TABLE {from} RENAME TO {to}")).execute(tx.conn())?)
        });
        rename("repo_hooks", "repo_hooks_aside").await.unwrap();
        let broken = post(body("integrations:bitbucket", json!(id), "acme/late"), 500).await;
        assert_eq!(broken, json!({ "error_type": "unknown" }));
        rename("repo_hooks_aside", "repo_hooks").await.unwrap();
        post(body("integrations:bitbucket", json!(id), "acme/late"), 201).await;
        t.run_jobs().await;
        world.finish().await;
    }

    async fn the_order_of_creation(world) {
        let (t, token) = (&world.t, &world.tenant.token);
        let repo = &world.repo;
        let secret = world.secrets(repo).await;
        // A hidden row of the same repository is taken up again, with its secret forgotten and a new one made.
        t.send("PUT", &format!("{REPOS}{repo}/"), token, json!({ "status": "hidden" }), 200).await;
        t.run_jobs().await;
        assert_eq!((world.hooks().len(), world.secrets(repo).await.len()), (0, 0));
        let again = world.add("acme/shop", 201).await;
        assert_eq!((again["id"].as_str(), again["status"].as_str()), (Some(repo.as_str()), Some("active")));
        t.run_jobs().await;
        assert_eq!(world.hooks().len(), 1);
        assert_ne!(world.secrets(repo).await, secret);
        // So is a removed one.
        t.send("DELETE", &format!("{REPOS}{repo}/"), token, json!({}), 202).await;
        let again = world.add("acme/shop", 201).await;
        assert_eq!(again["id"].as_str(), Some(repo.as_str()));
        t.run_jobs().await;
        assert_eq!((world.hooks().len(), world.hook(repo).await.unwrap().state), (1, HookState::Active), "not removed after all");
        // A row that releases know is adopted by name, or by address.
        for slug in ["web", "api"] {
            world.bitbucket.create_repository(NewRepository::new("acme", slug)).await.unwrap();
        }
        let by_name = world.known_from_release("acme/web", None).await;
        let by_url = world.known_from_release("the api", Some(&format!("{}/acme/api", world.bitbucket.url()))).await;
        assert_eq!(world.add("acme/web", 201).await["id"].as_str(), Some(by_name.as_str()));
        let adopted = world.add("acme/api", 201).await;
        assert_eq!((adopted["id"].as_str(), adopted["name"].as_str()), (Some(by_url.as_str()), Some("acme/api")));
        // Else there is a new row; two who add it at the same time get the same one.
        world.bitbucket.create_repository(NewRepository::new("acme", "new")).await.unwrap();
        let body = json!({ "provider": "integrations:bitbucket", "installation": world.integration, "identifier": "acme/new" });
        let both = futures_util::future::join_all((0..6).map(|_| raw(t.call("POST", REPOS, token).json(&body)))).await;
        let mut ids: Vec<_> = both.iter().filter(|(code, ..)| *code == 201).map(|(_, _, repo)| repo["id"].as_str().unwrap()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "{both:?}");
        assert!(both.iter().all(|(code, _, answer)| *code == 201 || answer["detail"]["code"] == "repo_exists"));
        assert_eq!(world.get(REPOS).await.as_array().unwrap().len(), 4);
        t.run_jobs().await;
        assert_eq!(world.hooks().len(), 4);
        world.finish().await;
    }

    async fn a_change_beside_a_removal_brings_nothing_back(world) {
        let (t, token, repo) = (&world.t, &world.tenant.token, &world.repo);
        // Holds a write open in which something is removed, while a request that has seen it before waits for the row.
        let beside = async |statement: String, request: reqwest::RequestBuilder| {
            let (begun, begins) = tokio::sync::oneshot::channel();
            let mut begun = Some(begun);
            let removal = t.app.db.write(move |tx| {
                use diesel::RunQueryDsl;
                diesel::sql_query(statement.clone()).execute(tx.conn())?;
                if let Some(begun) = begun.take() {
                    begun.send(()).unwrap();
                }
                std::thread::sleep(Duration::from_millis(1_500));
                Ok::<_, AppError>(())
            });
            let change = async {
                begins.await.unwrap();
                raw(request).await
            };
            let (removed, answer) = tokio::join!(removal, change);
            removed.unwrap();
            answer
        };
        let path = format!("{REPOS}{repo}/");
        let gone = format!("UPDATE repos SET status = 'pending_deletion' WHERE id = {repo}");
        let hide = t.call("PUT", &path, token).json(&json!({ "status": "hidden" }));
        let (code, _, answer) = beside(gone.clone(), hide).await;
        assert_eq!((code, answer["detail"].as_str()), (400, Some("The repository is being removed.")), "{answer}");
        assert_eq!(world.repo(repo).await.status, RepoStatus::Removed);
        world.add("acme/shop", 201).await;
        t.run_jobs().await;
        let (code, ..) = beside(gone, t.call("DELETE", &path, token)).await;
        assert_eq!(code, 404, "removed once");
        world.add("acme/shop", 201).await;
        t.run_jobs().await;

        // A link that is disconnected while a repository is added to it.
        world.bitbucket.create_repository(NewRepository::new("acme", "web")).await.unwrap();
        let gone = format!("UPDATE links SET status = 'removed' WHERE id = {}", world.integration);
        let body = json!({ "provider": "integrations:bitbucket", "installation": world.integration, "identifier": "acme/web" });
        let (code, _, answer) = beside(gone, t.call("POST", REPOS, token).json(&body)).await;
        assert_eq!((code, answer["error_type"].as_str()), (404, Some("not found")), "{answer}");
        assert_eq!(world.get(&format!("{REPOS}?query=web")).await, json!([]));
    }

    async fn changing_and_removing_row_by_row(world) {
        let (t, token, repo) = (&world.t, &world.tenant.token, &world.repo);
        let path = format!("{REPOS}{repo}/");
        let put = |body: Value, expected: u16| t.send("PUT", &path, token, body, expected);
        assert_eq!(put(json!({ "name": "acme/shop-renamed", "url": "https://example.org/shop" }), 200).await["url"], "https://example.org/shop");
        assert_eq!(put(json!({}), 200).await["name"], "acme/shop-renamed");
        put(json!({ "name": "" }), 400).await;
        put(json!({ "name": "x".repeat(201) }), 400).await;
        put(json!({ "url": 7 }), 400).await;
        put(json!({ "status": "gone" }), 400).await;
        put(json!({ "status": 7 }), 400).await;
        for wrong in [json!("999"), json!(999), json!("x"), json!({})] {
            assert_eq!(put(json!({ "integrationId": wrong }), 400).await["detail"], "Invalid integration id");
        }
        assert_eq!(put(json!({ "integrationId": world.integration, "status": "visible" }), 200).await["status"], "active");
        assert_eq!(put(json!({ "status": "hidden" }), 200).await["status"], "hidden");
        assert!(world.secrets(repo).await.is_empty(), "its deliveries are not taken any more");
        t.run_jobs().await;
        assert!(world.hooks().is_empty());
        assert_eq!(put(json!({ "status": "active" }), 200).await["status"], "active");
        t.run_jobs().await;
        assert_eq!(world.hooks().len(), 1);
        // A repository that a release knows is put under the integration that has it.
        world.bitbucket.create_repository(NewRepository::new("acme", "web")).await.unwrap();
        let known = world.known_from_release("acme/web", None).await;
        let linked = t.send("PUT", &format!("{REPOS}{known}/"), token, json!({ "integrationId": world.integration }), 200).await;
        assert_eq!((linked["integrationId"].as_str(), linked["provider"]["id"].as_str()), (Some(world.integration.as_str()), Some("integrations:bitbucket")));
        let stranger = world.known_from_release("not/there", None).await;
        t.send("PUT", &format!("{REPOS}{stranger}/"), token, json!({ "integrationId": world.integration }), 400).await;
        t.run_jobs().await;
        assert_eq!(world.hooks().len(), 2);

        let removed = t.send("DELETE", &path, token, json!({}), 202).await;
        assert_eq!((removed["id"].as_str(), removed["status"].as_str()), (Some(repo.as_str()), Some("pending_deletion")));
        assert_eq!(put(json!({ "status": "active" }), 400).await["detail"], "The repository is being removed.");
        t.send("DELETE", &path, token, json!({}), 404).await;
        t.send("DELETE", &format!("{REPOS}999/"), token, json!({}), 404).await;
        t.send("PUT", &format!("{REPOS}999/"), token, json!({}), 404).await;
        assert_eq!(world.get(&format!("{REPOS}?status=deleted")).await[0]["id"].as_str(), Some(repo.as_str()));
        // Its hook was deleted by hand meanwhile: that is fine.
        delete_hooks_by_hand(&world.bitbucket, "acme/shop").await;
        t.run_jobs().await;
        assert_eq!(world.hooks().len(), 1, "only the other repository's");
        assert!(world.hook(repo).await.is_none(), "its secret is forgotten");
        world.finish().await;
    }
}

async fn repositories_known_from_releases(backend: Backend) {
    let (bitbucket, t, _folder) = bitbucket_and_app(backend).await;
    for slug in ["web", "api", "unused"] {
        bitbucket
            .create_repository(NewRepository::new("acme", slug))
            .await
            .unwrap();
    }
    let acme = t.tenant("acme").await;
    let rival = t.tenant("rival").await;
    let shop = known_from_release(&t, acme.org.id, "acme/shop", None).await;
    let web = known_from_release(
        &t,
        acme.org.id,
        "frontend",
        Some(&format!("{}/acme/web", bitbucket.url())),
    )
    .await;
    let stranger = known_from_release(&t, acme.org.id, "elsewhere/tool", None).await;
    let theirs = known_from_release(&t, rival.org.id, "acme/api", None).await;
    assert_eq!(
        known_from_release(&t, acme.org.id, "acme/shop", None).await,
        shop,
        "once"
    );
    let (_, redirect) = install(&t, &bitbucket, "acme").await;
    let cookie = t.session(&acme.owner).await;
    link_by_hand(&t, &redirect, &cookie, "acme").await;
    // Bitbucket has trouble at first: the job comes again.
    bitbucket.add_fault(Fault::once("GET", "/2.0/repositories/", status(404)));
    t.run_jobs().await;
    link_by_hand(&t, &redirect, &cookie, "acme").await;
    t.run_jobs().await;
    let list = t.get(REPOS, &acme.token, 200).await;
    let list: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|repo| {
            (
                repo["id"].as_str().unwrap(),
                repo["name"].as_str().unwrap(),
                repo["integrationId"].is_string(),
            )
        })
        .collect();
    assert_eq!(
        list,
        [
            (shop.as_str(), "acme/shop", true),
            (web.as_str(), "acme/web", true),
            (stranger.as_str(), "elsewhere/tool", false)
        ],
        "adopted, not doubled; what was never used is not added"
    );
    let other = t
        .get("/api/0/organizations/rival/repos/", &rival.token, 200)
        .await;
    assert_eq!(
        (other[0]["id"].as_str(), other[0]["integrationId"].is_null()),
        (Some(theirs.as_str()), true)
    );
    assert_eq!(
        bitbucket.call_counts()["POST /2.0/repositories/{workspace}/{repo}/hooks"],
        2
    );
    let link = t.get(INTEGRATIONS, &acme.token, 200).await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let done = t
        .http
        .get(t.url(&format!("/o/acme/connections/{link}/done/")))
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert!(done.text().await.unwrap().contains("2 repositories"));
    assert!(bitbucket.take_violations().is_empty() && t.dead_jobs().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repositories_known_from_releases_are_adopted_on_sqlite() {
    repositories_known_from_releases(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repositories_known_from_releases_are_adopted_on_postgres() {
    repositories_known_from_releases(Backend::Postgres).await;
}
