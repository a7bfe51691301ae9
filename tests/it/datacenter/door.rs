//! The door for webhooks of Data Center.

use tracebucket::kit::crypto::hmac_sha256;

use super::*;

fn path(org: impl std::fmt::Display, link: &str) -> String {
    format!("/extensions/bitbucket-server/webhook/{org}/{link}/")
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// Event, state and source of every delivery, oldest first.
async fn log(world: &World) -> Vec<(String, String, String)> {
    use diesel::prelude::*;
    use tracebucket::schema::deliveries as table;
    world
        .t
        .app
        .db
        .read(|conn| {
            let rows = table::table
                .order(table::id)
                .select((table::event_key, table::state, table::source))
                .load::<(String, String, String)>(conn)?;
            Ok::<_, AppError>(rows)
        })
        .await
        .unwrap()
}

fn row(event: &str, state: &str) -> (String, String, String) {
    (
        event.to_owned(),
        state.to_owned(),
        "bitbucket_data_center".to_owned(),
    )
}

on_a_server! {
    async fn what_the_door_answers(world) {
        let (repo, _) = world.row().await;
        let number: u64 = repo.external_id.as_deref().unwrap().rsplit_once('#').unwrap().1.parse().unwrap();
        let secret = world.server_hooks()[0]["secret"].as_str().unwrap().to_owned();
        let own = path(world.tenant.org.id, &world.integration);
        let body = json!({
            "eventKey": "repo:refs_changed", "repository": {"id": number, "slug": "shop", "project": {"key": "ACME"}},
            "changes": [],
        });
        let send = |to: &str, event: &str, body: &str, secret: &str, request: &str| {
            let tag = hex::encode(hmac_sha256(secret.as_bytes(), body.as_bytes()));
            world.t.http.post(world.t.url(to))
                .header("X-Event-Key", event)
                .header("X-Request-Id", request)
                .header("X-Hub-Signature", format!("sha256={tag}"))
                .body(body.to_owned())
        };
        let text = body.to_string();
        let pushed = |to: &str, secret: &str, request: &str| send(to, "repo:refs_changed", &text, secret, request);

        // A ping cannot be verified, and nothing is stored of it.
        let ping = |to: &str| world.t.http.post(world.t.url(to)).header("X-Event-Key", "diagnostics:ping").body("{\"test\":true}");
        assert_eq!(status(ping(&own)).await, 200);
        assert_eq!(status(ping(&path(world.tenant.org.id, "999"))).await, 404);

        // Another tenant, with everything that this one has.
        let other = world.t.tenant("other").await;
        for foreign in [path(other.org.id, &world.integration), path(999, &world.integration)] {
            assert_eq!(status(ping(&foreign)).await, 404);
            assert!([400, 404].contains(&status(pushed(&foreign, &secret, "1")).await));
        }
        assert_eq!(status(pushed(&path(other.org.id, &world.integration), &secret, "1")).await, 404);
        assert_eq!(status(pushed(&path(world.tenant.org.id, "999"), &secret, "1")).await, 404);
        assert_eq!(status(pushed(&path(world.tenant.org.id, "x"), &secret, "1")).await, 404);

        // Bodies that name no repository, and signatures that do not fit.
        for junk in ["", "[]", "{", "{}", "{\"test\":true}", "{\"repository\":{\"id\":\"7\"}}", "{\"repository\":7}"] {
            assert_eq!(status(send(&own, "repo:refs_changed", junk, &secret, "1")).await, 400, "{junk}");
        }
        let stranger = json!({"repository": {"id": number + 1}}).to_string();
        assert_eq!(status(send(&own, "repo:refs_changed", &stranger, &secret, "1")).await, 404);
        assert_eq!(status(pushed(&own, "another secret", "1")).await, 400);
        let unsigned = world.t.http.post(world.t.url(&own)).header("X-Event-Key", "repo:refs_changed").body(text.clone());
        assert_eq!(status(unsigned).await, 400);
        assert_eq!(status(world.t.http.get(world.t.url(&own))).await, 405);
        assert_eq!(log(&world).await, [], "nothing of this was stored");

        // Once, however often it comes.
        for _ in 0..3 {
            assert_eq!(status(pushed(&own, &secret, "f6f3a3ce-5f0b-4b0e-9a5b-0d3b1f8d5a01")).await, 204);
        }
        assert_eq!(status(pushed(&own, &secret, "no uuid")).await, 204);
        world.t.run_jobs().await;
        assert_eq!(log(&world).await, [row("repo:refs_changed", "done"), row("repo:refs_changed", "done")]);

        // Pull requests are seen, by the hook that we registered, and wait for their use.
        assert!(world.bitbucket.pull_request_event("acme/shop", "pr:opened", 7));
        assert!(world.bitbucket.pull_request_event("acme/shop", "pr:merged", 7));
        world.delivered().await;
        let seen = log(&world).await.split_off(2);
        assert_eq!(seen.len(), 2);
        assert!(seen.contains(&row("pr:opened", "ignored")) && seen.contains(&row("pr:merged", "ignored")), "{seen:?}");

        // A new name.
        let renamed = json!({
            "eventKey": "repo:modified", "old": {"id": number, "slug": "shop", "project": {"key": "ACME"}},
            "new": {"id": number, "slug": "store", "project": {"key": "ACME"}},
        }).to_string();
        assert_eq!(status(send(&own, "repo:modified", &renamed, &secret, "renamed")).await, 204);
        let cookie = world.t.session(&world.tenant.owner).await;
        tracebucket::features::deliveries::drain(world.t.app.for_jobs(), tracebucket::kit::jobs::Stop::never()).await.unwrap();
        let (repo, _) = world.row().await;
        assert_eq!(repo.name, "ACME/store");
        assert_eq!(repo.url.as_deref(), Some(format!("{}/projects/ACME/repos/store", world.bitbucket.url()).as_str()));
        // Bitbucket says that it never was: the round through the list of repositories puts it right.
        world.t.run_jobs().await;
        assert_eq!(world.row().await.0.name, "ACME/shop");
        let list = open(&world.t, &cookie, "/o/acme/deliveries/").await;
        assert!(list.text.contains("repo:refs_changed") && list.text.contains("pr:merged"), "{}", list.text);
        world.finish().await;
    }

    async fn the_ping_of_the_server_arrives(world) {
        let hook = world.server_hooks()[0].clone();
        let path = format!("/rest/api/latest/projects/ACME/repos/shop/webhooks/test?webhookId={}", hook["id"]);
        let ada = token_of(&world.bitbucket, "ada", Permission::Admin);
        let sent = world.t.http.post(format!("{}{path}", world.bitbucket.url())).bearer_auth(ada).send().await.unwrap();
        let sent: Value = sent.json().await.unwrap();
        assert_eq!(sent["response"]["statusCode"], 200, "{sent}");
        world.finish().await;
    }
}
