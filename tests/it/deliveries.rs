//! Webhooks of Bitbucket: what the door answers, what a push comes to, and that nothing is lost or done twice.

use std::collections::BTreeMap;

use bitbucket_sandbox::{Action, CommitRequest, DeliverySettings, Fault, NewRepository};
use diesel::prelude::*;
use serde_json::{Value, json};
use tracebucket::error::AppError;
use tracebucket::features::accounts::Role;
use tracebucket::kit::crypto::hmac_sha256;
use tracebucket::kit::jobs::Stop;
use tracebucket::schema::{deliveries, delivery_attempts, projects, repo_hooks, repos};

use crate::scene::{REPO, Scene, group, scenes};
use crate::support::until;
use crate::support::world::git;

/// Status and body of a request.
async fn sent(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null),
    )
}

fn push(commits: Value) -> Value {
    json!({"push": {"changes": [{
        "new": {"type": "branch", "name": "main", "target": {"hash": "a".repeat(40)}}, "old": null,
        "commits": commits,
    }]}})
}

fn one_commit(hash: &str, message: &str) -> Value {
    json!([{"hash": hash.repeat(40), "message": message, "author": {"raw": "Ada Okafor <ada@acme.example>"}, "date": "2026-11-01T10:00:00+00:00"}])
}

async fn outcome_of(s: &Scene, index: usize) -> Value {
    let (_, state, error, outcome) = s.deliveries().await.remove(index);
    assert_eq!((state.as_str(), &error), ("done", &None), "{outcome:?}");
    serde_json::from_str(&outcome.unwrap()).unwrap()
}

// The first story holds the rows of sentry.md §2.1 with our differences.
scenes! {
    async fn the_door_answers_every_row_of_its_table(s) {
        let body = s.payload(push(one_commit("b", "no reference")));
        let hook = || s.hook("repo:push", &body);
        let url = s.t.url(&s.hook_url());
        let code = |answer: &Value| answer.pointer("/detail/code").and_then(Value::as_str).unwrap_or_default().to_owned();

        assert_eq!(sent(s.t.http.get(&url)).await.0, 405);
        assert_eq!(sent(hook().body("x".repeat(1024 * 1024 + 1))).await.0, 413);
        let chunks = futures_util::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024])));
        assert_eq!(sent(hook().body(reqwest::Body::wrap_stream(chunks))).await.0, 413, "without a length");
        let elsewhere = s.t.url("/extensions/bitbucket/organizations/999999/webhook/");
        assert_eq!(sent(s.t.http.post(&elsewhere).body("")).await.0, 400, "unknown organization");
        assert_eq!(sent(s.t.http.post(&elsewhere).body(body.to_string())).await.0, 400);
        assert_eq!(sent(hook().body("")).await.0, 400);
        for junk in ["nonsense", "[]", "null", "{\"repository\":", "\u{0}", "{}", r#"{"repository":{}}"#, r#"{"repository":7}"#, r#"{"repository":{"uuid":7}}"#] {
            assert_eq!(sent(hook().body(junk)).await.0, 400, "{junk}");
        }
        assert_eq!(sent(hook().body(vec![0xff, 0xfe, 0x7b])).await.0, 400, "not UTF-8");
        let stranger = json!({"repository": {"uuid": "{c78dfb25-7882-4550-97b1-4e0d38f32859}"}});
        assert_eq!(sent(s.hook("repo:push", &stranger)).await.0, 404);

        let unsigned = s.t.http.post(&url).header("X-Event-Key", "repo:push").body(body.to_string());
        let (status, answer) = sent(unsigned.try_clone().unwrap()).await;
        assert_eq!((status, code(&answer).as_str()), (400, "integrations:bitbucket.webhook.missing-signature"));
        assert_eq!(answer.pointer("/detail/extra"), Some(&json!({})));
        for (value, expected) in [
            ("deadbeef", "missing-signature"),
            ("sha1=deadbeef", "unsupported-signature-method"),
            ("sha256=deadbeef", "invalid-signature"),
            ("sha256=", "invalid-signature"),
            (&format!("sha256={}", "0".repeat(64)), "invalid-signature"),
            (&format!("sha256={}", hex::encode(hmac_sha256(b"another secret", body.to_string().as_bytes()))), "invalid-signature"),
        ] {
            let (status, answer) = sent(unsigned.try_clone().unwrap().header("X-Hub-Signature", value)).await;
            assert_eq!((status, code(&answer)), (400, format!("integrations:bitbucket.webhook.{expected}")), "{value}");
        }
        let tag = hex::encode(hmac_sha256(s.secret.as_bytes(), body.to_string().as_bytes()));
        let without_key = s.t.http.post(&url).header("X-Hub-Signature", format!("sha256={tag}")).body(body.to_string());
        assert_eq!(sent(without_key).await.0, 400, "the event key is looked at after the signature");
        let unknown_unsigned = s.t.http.post(&url).header("X-Event-Key", "repo:fork").body(body.to_string());
        assert_eq!(sent(unknown_unsigned).await.0, 400, "also for events that are not used");
        assert!(s.deliveries().await.is_empty(), "nothing of that was stored");

        let processed = hook().send().await.unwrap();
        assert_eq!((processed.status().as_u16(), processed.text().await.unwrap().as_str()), (204, ""));
        // Who sends it is told by the signature, not by an address that anybody can write.
        for address in ["109.111.111.10", "not-an-address"] {
            let (status, _) = sent(hook().header("X-Forwarded-For", address)).await;
            assert_eq!(status, 204, "{address}");
        }
        let once = hook().header("X-Attempt-Number", "2").build().unwrap();
        for _ in 0..2 {
            let again = s.t.http.execute(once.try_clone().unwrap()).await.unwrap();
            assert_eq!(again.status(), 204, "a repeated delivery");
        }
        assert_eq!(sent(s.hook("pullrequest:fulfilled", &body)).await.0, 204);
        s.t.run_jobs().await;
        let states: Vec<_> = s.deliveries().await.into_iter().map(|(event, state, _, _)| format!("{event} {state}")).collect();
        assert_eq!(states, ["repo:push done", "repo:push done", "repo:push done", "repo:push done", "pullrequest:fulfilled ignored"]);
    }

    async fn a_repository_without_a_secret_is_401_and_two_secrets_are_good_during_a_rotation(s) {
        let body = s.payload(json!({"push": {"changes": []}}));
        let (repo, sealer, secret) = (s.repo, s.t.app.sealer.clone(), s.secret.clone());
        s.t.app.db.write(move |tx| {
            let context = format!("repo_hook.secret:{repo}");
            diesel::update(repo_hooks::table.filter(repo_hooks::repo_id.eq(repo)))
                .set((
                    repo_hooks::sealed_secret.eq(sealer.seal(&context, b"the next one")),
                    repo_hooks::sealed_previous.eq(Some(sealer.seal(&context, secret.as_bytes()))),
                ))
                .execute(tx.conn())?;
            Ok::<_, AppError>(())
        }).await.unwrap();
        assert_eq!(sent(s.hook("repo:push", &body)).await.0, 204, "the previous one");
        let tag = hex::encode(hmac_sha256(b"the next one", body.to_string().as_bytes()));
        let next = s.hook("repo:push", &body).build().unwrap();
        let mut next = next;
        next.headers_mut().insert("X-Hub-Signature", format!("sha256={tag}").parse().unwrap());
        assert_eq!(s.t.http.execute(next).await.unwrap().status(), 204, "the next one");
        s.t.run_jobs().await;

        let repo = s.repo;
        s.t.app.db.write(move |tx| {
            let hook = repo_hooks::table.filter(repo_hooks::repo_id.eq(repo));
            Ok::<_, AppError>(diesel::delete(hook).execute(tx.conn())?)
        }).await.unwrap();
        tracebucket::features::links::forget_cached(&s.t.app);
        let unsigned = s.t.http.post(s.t.url(&s.hook_url())).header("X-Event-Key", "repo:push").body(body.to_string());
        for request in [s.hook("repo:push", &body), unsigned] {
            let (status, answer) = sent(request).await;
            let code = "integrations:bitbucket.webhook.missing-secret";
            assert_eq!((status, &answer["detail"]["code"], &answer["detail"]["extra"]), (401, &json!(code), &json!({})), "{answer}");
        }
    }

    async fn a_push_to_main_resolves_what_it_fixes(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        let (other, other_short) = group(s, "KeyError").await;
        s.commit("", "Start").await;
        assert_eq!(s.group_status(id).await, "unresolved");
        let hash = s.commit("", &format!("Guard the share\n\nFixes {short} and {other_short}")).await;
        assert_eq!((s.group_status(id).await.as_str(), s.group_status(other).await.as_str()), ("resolved", "resolved"));
        let outcome = outcome_of(s, 1).await;
        assert_eq!(outcome["summary"], format!("1 commit, {short} resolved, {other_short} resolved"));

        let commits = s.t.get(&s.org_path(&format!("repos/{}/commits/?per_page=1", s.repo)), &s.tenant.token, 200).await;
        assert_eq!(commits.as_array().unwrap().len(), 1);
        assert_eq!(commits[0]["id"], hash);
        assert_eq!(commits[0]["author"], json!({"name": "Mei Tanaka", "email": "mei@acme.example"}));
        assert_eq!(commits[0]["repository"]["name"], REPO);
        let first = s.t.call("GET", &s.org_path(&format!("repos/{}/commits/?per_page=1", s.repo)), &s.tenant.token).send().await.unwrap();
        let link = first.headers().get("link").unwrap().to_str().unwrap().to_owned();
        assert!(link.contains("rel=\"next\"; results=\"true\""), "{link}");
    }

    async fn a_fix_on_a_branch_resolves_when_it_is_merged_and_not_before(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        s.commit("", "Start").await;
        let clone = s.checkout();
        git(&clone, &["checkout", "-q", "-b", "fix"]);
        git(&clone, &["commit", "-q", "--allow-empty", "-m", &format!("Fixes {short}")]);
        git(&clone, &["push", "-q", "origin", "fix"]);
        s.settle().await;
        assert_eq!(s.group_status(id).await, "unresolved", "a feature branch does not resolve");
        git(&clone, &["checkout", "-q", "main"]);
        git(&clone, &["merge", "-q", "--no-ff", "-m", "Merge the fix", "fix"]);
        git(&clone, &["push", "-q", "origin", "main"]);
        s.settle().await;
        assert_eq!(s.group_status(id).await, "resolved");
        let activities = activities(s, id).await;
        assert_eq!(activities, ["referenced_in_commit", "set_resolved_in_commit"], "each once");
    }

    async fn a_push_of_twelve_commits_is_completed(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        s.commit("", "Start").await;
        let clone = s.checkout();
        for number in 1..=12 {
            let message = if number == 2 { format!("Fixes {short}") } else { format!("Step {number}") };
            git(&clone, &["commit", "-q", "--allow-empty", "-m", &message]);
        }
        git(&clone, &["push", "-q", "origin", "main"]);
        s.settle().await;
        assert_eq!(s.group_status(id).await, "resolved", "the second of twelve is not in the webhook");
        assert_eq!(outcome_of(s, 1).await["summary"], format!("12 commits, 7 of them fetched, {short} resolved"));
        let commits = s.t.get(&s.org_path(&format!("repos/{}/commits/", s.repo)), &s.tenant.token, 200).await;
        let messages: Vec<_> = commits.as_array().unwrap().iter().map(|c| c["message"].as_str().unwrap().trim()).collect();
        assert_eq!(messages.len(), 13);
        assert_eq!(messages[0], "Step 12");
        assert_eq!(messages[12], "Start");
    }

    async fn a_rewritten_branch_is_read_again(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        s.commit("", "Start").await;
        let clone = s.checkout();
        git(&clone, &["commit", "-q", "--allow-empty", "-m", "First thought"]);
        git(&clone, &["push", "-q", "origin", "main"]);
        s.settle().await;
        git(&clone, &["commit", "-q", "--amend", "--allow-empty", "-m", &format!("Second thought\n\nCloses: {short}")]);
        git(&clone, &["push", "-q", "--force", "origin", "main"]);
        s.settle().await;
        assert_eq!(s.group_status(id).await, "resolved");
        git(&clone, &["push", "-q", "origin", ":refs/heads/nothing", "HEAD:refs/heads/side"]);
        git(&clone, &["tag", "v1"]);
        git(&clone, &["push", "-q", "origin", "v1"]);
        git(&clone, &["push", "-q", "origin", ":side"]);
        s.settle().await;
        assert!(s.deliveries().await.iter().all(|(_, state, error, _)| state == "done" && error.is_none()));
    }

    async fn repeated_and_reordered_deliveries_change_nothing(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        s.commit("", "Start").await;
        s.bitbucket.set_delivery_settings(DeliverySettings { duplicate: true, ..DeliverySettings::default() });
        s.commit("", &format!("Fixes {short}")).await;
        assert_eq!(s.group_status(id).await, "resolved");
        assert_eq!(s.deliveries().await.len(), 2, "the copy was recognised");
        s.bitbucket.set_delivery_settings(DeliverySettings::default());
        // Somebody reopens the error; the same push told again must not close it.
        reopen(s, id).await;
        let ids: Vec<u64> = s.bitbucket.deliveries().iter().map(|delivery| delivery.id).collect();
        for delivery in ids.iter().rev() {
            assert!(s.bitbucket.redeliver(*delivery, true));
        }
        s.settle().await;
        assert_eq!(s.deliveries().await.len(), 4);
        assert_eq!(s.group_status(id).await, "unresolved");
        // Two pushes that arrive in the wrong order both count.
        let (second, second_short) = group(s, "KeyError").await;
        s.bitbucket.set_delivery_settings(DeliverySettings { hold: true, ..DeliverySettings::default() });
        s.commit_quietly("", &format!("Fixes {short} again")).await;
        s.commit_quietly("", &format!("Fixes {second_short}")).await;
        let held: Vec<_> = s.bitbucket.deliveries().into_iter().rev().take(2).collect();
        for delivery in held {
            s.bitbucket.redeliver(delivery.id, false);
            s.settle().await;
        }
        assert_eq!((s.group_status(id).await.as_str(), s.group_status(second).await.as_str()), ("resolved", "resolved"));
        let heads: Vec<String> = s.t.app.db.read(|conn| {
            use tracebucket::schema::branch_heads;
            Ok::<_, AppError>(branch_heads::table.select(branch_heads::hash).load(conn)?)
        }).await.unwrap();
        assert_eq!(heads.len(), 1);
    }

    async fn a_marked_commit_a_policy_and_another_tenant_are_respected(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        s.commit("", &format!("Fixes {short} #skipsentry")).await;
        assert_eq!(s.group_status(id).await, "unresolved");
        let project = s.tenant.project.id;
        s.t.app.db.write(move |tx| {
            diesel::update(projects::table.filter(projects::id.eq(project))).set(projects::resolve_policy.eq("on_release")).execute(tx.conn())?;
            Ok::<_, AppError>(())
        }).await.unwrap();
        s.commit("", &format!("Fixes {short}")).await;
        assert_eq!(s.group_status(id).await, "unresolved", "waits for a release");
        assert_eq!(activities(s, id).await, ["referenced_in_commit"]);

        let rival = s.t.tenant("rival").await;
        let (theirs, their_short) = crate::scene::group_of(&s.t, &rival, "ZeroDivisionError").await;
        s.commit("", &format!("Fixes {their_short}, closes {}/organizations/rival/issues/{theirs}/", s.t.base)).await;
        assert_eq!(s.group_status(theirs).await, "unresolved", "another organization's error");
        let body = s.payload(push(one_commit("c", "x")));
        let foreign = s.hook("repo:push", &body).build().unwrap();
        let mut foreign = foreign;
        *foreign.url_mut() = s.t.url(&format!("/extensions/bitbucket/organizations/{}/webhook/", rival.org.id)).parse().unwrap();
        assert_eq!(s.t.http.execute(foreign).await.unwrap().status(), 404);
        let path = format!("/api/0/organizations/rival/repos/{}/commits/", s.repo);
        s.t.get(&path, &rival.token, 404).await;
    }

    async fn what_bitbucket_does_not_answer_is_tried_again_and_nothing_waits_for_it(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        let (early, early_short) = group(s, "KeyError").await;
        s.commit("", "Start").await;
        let clone = s.checkout();
        for number in 1..=8 {
            let message = match number { 1 => format!("Fixes {short}"), 8 => format!("Fixes {early_short}"), n => format!("Step {n}") };
            git(&clone, &["commit", "-q", "--allow-empty", "-m", &message]);
        }
        s.bitbucket.add_fault(Fault::always("GET", "/commits", Action::Status { status: 429, retry_after: Some(1), body: None }));
        git(&clone, &["push", "-q", "origin", "main"]);
        s.settle().await;
        let (_, state, error, _) = s.deliveries().await.remove(1);
        assert_eq!(state, "ready");
        assert!(error.unwrap().contains("429"));
        assert_eq!(s.group_status(early).await, "resolved", "what the webhook brought is used at once");
        assert_eq!(s.group_status(id).await, "unresolved");
        s.commit("", "A push behind it").await;
        assert_eq!(s.deliveries().await[2].1, "done");
        s.bitbucket.clear_faults();
        tokio::time::sleep(std::time::Duration::from_millis(2_600)).await;
        s.t.run_jobs().await;
        assert_eq!(s.group_status(id).await, "resolved");
        assert_eq!(s.deliveries().await[1].1, "done");
    }

    async fn a_slow_repository_holds_up_itself_alone(s) {
        s.bitbucket.create_repository(NewRepository::new("acme", "other")).await.unwrap();
        let body = json!({ "provider": "integrations:bitbucket", "installation": s.integration, "identifier": "acme/other" });
        s.t.send("POST", "/api/0/organizations/acme/repos/", &s.tenant.token, body, 201).await;
        s.t.run_jobs().await;
        let clone = s.checkout();
        for number in 1..=8 {
            git(&clone, &["commit", "-q", "--allow-empty", "-m", &format!("Step {number}")]);
        }
        s.bitbucket.add_fault(Fault::always("GET", "/commits", Action::HoldAfter { ms: 60_000 }));
        let _workers = s.t.start_workers();
        git(&clone, &["push", "-q", "origin", "main"]);
        until("Bitbucket keeps us waiting", async || s.bitbucket.held() == 1).await;
        for number in 1..=3 {
            let request = CommitRequest {
                repo: "acme/other".into(),
                branch: "main".into(),
                message: format!("Behind it {number}"),
                files: BTreeMap::from([(format!("{number}.txt"), String::new())]),
                ..CommitRequest::default()
            };
            s.bitbucket.commit(request).await.unwrap();
            until("the other repository goes on", async || s.deliveries().await.iter().filter(|d| d.1 == "done").count() == number).await;
        }
        assert_eq!(s.deliveries().await[0].1, "ready");
        s.bitbucket.clear_faults();
        s.bitbucket.release_held();
        until("the slow one is done too", async || s.deliveries().await.iter().all(|d| d.1 == "done")).await;
    }

    async fn what_waits_for_its_retry_does_not_hide_what_is_due(s) {
        let body = s.payload(push(one_commit("d", "x")));
        assert_eq!(sent(s.hook("repo:push", &body)).await.0, 204);
        let random = if s.t.app.db.url().is_sqlite() { "randomblob(16)" } else { "decode(md5(random()::text), 'hex')" };
        // More than one look takes in, all of them waiting for tomorrow.
        s.t.app.db.write(move |tx| {
            for _ in 0..14 {
                diesel::sql_query(format!(
                    "INSERT INTO deliveries (org_id, repo_id, source, request_uuid, event_key, attempt_no, body, received_at, state, attempts, run_at) \
                     SELECT org_id, repo_id, source, {random}, event_key, attempt_no, body, received_at, 'ready', 1, received_at + 86400000000 FROM deliveries"
                )).execute(tx.conn())?;
            }
            diesel::sql_query("UPDATE deliveries SET run_at = received_at + 86400000000").execute(tx.conn())?;
            Ok::<_, AppError>(())
        }).await.unwrap();
        assert_eq!(sent(s.hook("repo:push", &s.payload(push(one_commit("e", "y"))))).await.0, 204);
        assert_eq!(tracebucket::features::deliveries::drain(s.t.app.clone(), Stop::never()).await.unwrap(), 1);
        let all = s.deliveries().await;
        assert_eq!((all.len(), all.last().unwrap().1.as_str()), (16_385, "done"));
    }

    async fn a_renamed_repository_keeps_its_row_and_a_deleted_one_is_switched_off(s) {
        let mut body = s.payload(json!({"changes": {"full_name": {"old": REPO, "new": "acme/store"}}}));
        body["repository"]["full_name"] = json!("acme/store");
        assert_eq!(sent(s.hook("repo:updated", &body)).await.0, 204);
        // Without the job that reads the settings again: the sandbox knows nothing of this new name.
        tracebucket::features::deliveries::drain(s.t.app.clone(), Stop::never()).await.unwrap();
        assert_eq!(repo_row(s).await, ("acme/store".to_owned(), "active".to_owned()));
        assert_eq!(outcome_of(s, 0).await["summary"], "renamed to acme/store");
        let mut odd = s.payload(json!({"push": {"changes": "none"}}));
        odd["repository"]["full_name"] = json!("no name at all");
        assert_eq!(sent(s.hook("repo:push", &odd)).await.0, 204);
        assert_eq!(sent(s.hook("repo:deleted", &body)).await.0, 204);
        tracebucket::features::deliveries::drain(s.t.app.clone(), Stop::never()).await.unwrap();
        assert_eq!(repo_row(s).await.1, "gone");
        assert_eq!(sent(s.hook("repo:push", &odd)).await.0, 404, "its secret is forgotten");
        // The job of the rename finds it in Bitbucket all the same: then it is back.
        s.t.run_jobs().await;
        assert_eq!(repo_row(s).await, (REPO.to_owned(), "active".to_owned()));
    }

    async fn a_claim_of_a_process_that_ended_is_taken_over(s) {
        let body = s.payload(push(one_commit("d", "x")));
        assert_eq!(sent(s.hook("repo:push", &body)).await.0, 204);
        let sqlite = s.t.app.db.url().is_sqlite();
        let until = if sqlite { i64::MAX } else { 0 };
        s.t.app.db.write(move |tx| {
            diesel::update(deliveries::table).set((deliveries::lease_owner.eq(Some("gone")), deliveries::run_at.eq(until), deliveries::attempts.eq(1))).execute(tx.conn())?;
            Ok::<_, AppError>(())
        }).await.unwrap();
        // The same database, opened by the next process.
        let sealer = tracebucket::kit::crypto::Sealer::parse(s.t.app.config.secret_keys.as_ref().unwrap().expose()).unwrap();
        let next = tracebucket::app::App::new(s.t.app.config.clone(), s.t.app.db.clone(), s.t.app.clock.clone(), sealer).unwrap();
        assert_eq!(tracebucket::features::deliveries::drain(next, Stop::never()).await.unwrap(), 1);
        assert_eq!(s.deliveries().await[0].1, "done");
    }

    async fn bodies_go_after_their_time_and_rows_after_twice_that(s) {
        for hash in ["a", "b", "c", "d"] {
            assert_eq!(sent(s.hook("repo:push", &s.payload(push(one_commit(hash, "x"))))).await.0, 204);
        }
        s.t.run_jobs().await;
        let day = 86_400_000_000_i64;
        let now = s.t.app.clock.now().0;
        s.t.app.db.write(move |tx| {
            let ids: Vec<i64> = deliveries::table.order(deliveries::id).select(deliveries::id).load(tx.conn())?;
            for (id, age) in ids.iter().zip([40, 29, 15, 13]) {
                diesel::update(deliveries::table.filter(deliveries::id.eq(id))).set(deliveries::received_at.eq(now - age * day)).execute(tx.conn())?;
            }
            diesel::update(tracebucket_periodic::periodic::table).set(tracebucket_periodic::periodic::next_run.eq(0)).execute(tx.conn())?;
            let job = tracebucket::features::deliveries::Retention::default();
            tracebucket::kit::jobs::enqueue(tx, &job, tracebucket::kit::clock::Micros(now))?;
            Ok::<_, AppError>(())
        }).await.unwrap();
        s.t.run_jobs().await;
        let left: Vec<(i64, Vec<u8>)> = s.t.app.db.read(|conn| {
            Ok::<_, AppError>(deliveries::table.order(deliveries::id).select((deliveries::received_at, deliveries::body)).load(conn)?)
        }).await.unwrap();
        let shapes: Vec<_> = left.iter().map(|(at, body)| ((now - at) / day, body.is_empty())).collect();
        assert_eq!(shapes, [(15, true), (13, false)]);
    }

    async fn the_log_shows_deliveries_and_replays_them(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        s.commit("", &format!("Fixes {short}")).await;
        assert_eq!(sent(s.hook("pullrequest:fulfilled", &s.payload(json!({})))).await.0, 204);
        let cookie = s.t.session(&s.tenant.owner).await;
        let list = page(s, "/o/acme/deliveries/", &cookie, 200).await;
        assert!(list.contains("repo:push") && list.contains(&format!("1 commit, {short} resolved")), "{list}");
        assert!(list.contains("this event is not used"));
        let ignored = page(s, "/o/acme/deliveries/?state=ignored", &cookie, 200).await;
        assert!(!ignored.contains("resolved") && ignored.contains("pullrequest:fulfilled"));
        let first: i64 = s.t.app.db.read(|conn| Ok::<_, AppError>(deliveries::table.select(diesel::dsl::min(deliveries::id)).first::<Option<i64>>(conn)?)).await.unwrap().unwrap();
        let path = format!("/o/acme/deliveries/{first}/");
        let detail = page(s, &path, &cookie, 200).await;
        assert!(detail.contains(&format!("/o/acme/errors/{id}/")) && detail.contains("Mei Tanaka"), "{detail}");
        let csrf = detail.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let replay = |cookie: String, csrf: String| {
            s.t.http.post(s.t.url(&format!("{path}replay/"))).header("Cookie", cookie).header("Origin", &s.t.base).form(&[("csrf", csrf)])
        };
        assert_eq!(replay(cookie.clone(), "x".into()).send().await.unwrap().status(), 403);
        assert_eq!(replay(cookie.clone(), csrf.clone()).send().await.unwrap().status(), 303);
        s.t.run_jobs().await;
        assert_eq!(s.deliveries().await[0].1, "done");
        assert_eq!(activities(s, id).await, ["referenced_in_commit", "set_resolved_in_commit"], "told once");

        let member = s.t.member(&s.tenant.org, Role::Member).await;
        let plain = s.t.session(&member).await;
        let seen = page(s, &path, &plain, 200).await;
        assert!(!seen.contains("/replay/"), "a member has no button");
        let rival = s.t.tenant("rival").await;
        let theirs = s.t.session(&rival.owner).await;
        page(s, &path, &theirs, 404).await;
        page(s, &format!("/o/rival/deliveries/{first}/"), &theirs, 404).await;
    }

    async fn a_delivery_that_cannot_be_worked_on_ends_dead_and_visible(s) {
        assert_eq!(sent(s.hook("repo:push", &s.payload(push(one_commit("a", "x"))))).await.0, 204);
        s.t.app.db.write(|tx| {
            diesel::update(deliveries::table).set(deliveries::body.eq(vec![9_u8, 9])).execute(tx.conn())?;
            Ok::<_, AppError>(())
        }).await.unwrap();
        s.t.run_jobs().await;
        let (_, state, error, _) = s.deliveries().await.remove(0);
        assert_eq!((state.as_str(), error.as_deref()), ("dead", Some("the body is not readable any more")));
        let attempts: i64 = s.t.app.db.read(|conn| Ok::<_, AppError>(delivery_attempts::table.count().get_result(conn)?)).await.unwrap();
        assert_eq!(attempts, 1);
        let cookie = s.t.session(&s.tenant.owner).await;
        assert!(page(s, "/o/acme/deliveries/?state=failed", &cookie, 200).await.contains("not readable any more"));
    }
}

/// The table of periodic jobs, which the crate keeps to itself.
mod tracebucket_periodic {
    diesel::table! {
        periodic (name) {
            name -> Text,
            next_run -> BigInt,
        }
    }
}

async fn page(s: &Scene, path: &str, cookie: &str, expected: u16) -> String {
    let response =
        s.t.http
            .get(s.t.url(path))
            .header("Cookie", cookie)
            .header("Accept", "text/html")
            .send()
            .await
            .unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(status, expected, "{path}: {text}");
    text
}

async fn repo_row(s: &Scene) -> (String, String) {
    let repo = s.repo;
    s.t.app
        .db
        .read(move |conn| {
            Ok::<_, AppError>(
                repos::table
                    .filter(repos::id.eq(repo))
                    .select((repos::name, repos::status))
                    .first(conn)?,
            )
        })
        .await
        .unwrap()
}

async fn activities(s: &Scene, group: tracebucket::features::groups::GroupId) -> Vec<String> {
    use tracebucket::schema::activities;
    s.t.app
        .db
        .read(move |conn| {
            Ok::<_, AppError>(
                activities::table
                    .filter(activities::group_id.eq(group))
                    .order(activities::id)
                    .select(activities::kind)
                    .load(conn)?,
            )
        })
        .await
        .unwrap()
}

async fn reopen(s: &Scene, group: tracebucket::features::groups::GroupId) {
    use tracebucket::features::groups::{self, Actor};
    let (org, now) = (s.tenant.org.id, s.t.app.clock.now());
    s.t.app
        .db
        .write(move |tx| {
            Ok::<_, AppError>(groups::unresolve(
                tx,
                org,
                group,
                &Actor::system("a test"),
                now,
            )?)
        })
        .await
        .unwrap();
}
