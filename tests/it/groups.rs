//! Groups over Sentry's API and in the console.

use std::time::Duration;

use serde_json::{Value, json};
use tracebucket::features::accounts::{OrgId, Role};
use tracebucket::features::groups::{self, Actor, GroupId, Resolution};
use tracebucket::kit::clock::{Clock, Micros};
use tracebucket::kit::jobs;

use crate::support::sdk::{DAY, error};
use crate::support::{Options, TestApp, answer, both};

fn id_of(group: &Value) -> GroupId {
    group["id"].as_str().unwrap().parse().unwrap()
}

fn kinds(detail: &Value) -> Vec<&str> {
    detail["activity"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["type"].as_str().unwrap())
        .collect()
}

/// Resolves a group as a commit does.
async fn resolve_in_commit(t: &TestApp, org: OrgId, group: GroupId, unfixed: &[&str]) -> bool {
    let now = t.app.clock.now();
    let unfixed: Vec<String> = unfixed
        .iter()
        .map(|release| (*release).to_owned())
        .collect();
    t.app
        .db
        .write(move |tx| {
            let resolution = Resolution::InCommit {
                commit: "9d2f5e7a0b1c2d3e4f5061728394a5b6c7d8e9f0".into(),
                repository: "acme/shop".into(),
                url: Some("https://bitbucket.org/acme/shop/commits/9d2f5e7".into()),
            };
            let changed = groups::resolve(
                tx,
                org,
                group,
                &Actor::system("Bitbucket"),
                &resolution,
                now,
            )?;
            groups::mark_unfixed(tx, org, group, &unfixed)?;
            Ok::<_, tracebucket::error::AppError>(changed)
        })
        .await
        .unwrap()
}

both! {
    async fn a_group_has_the_shape_that_clients_expect(t) {
        let a = t.tenant("acme").await;
        let mut event = error("ZeroDivisionError", "total");
        event["user"] = json!({ "id": "7" });
        event["release"] = json!("shop@1.0");
        event["logger"] = json!("shop");
        t.report(&a, &event).await;
        let group = t.only_group(&a).await;
        assert_eq!(group["shortId"], "ACME-SHOP-1");
        assert_eq!(group["title"], "ZeroDivisionError: something broke");
        assert_eq!(group["culprit"], "shop.cart in total");
        assert_eq!(group["permalink"], format!("{}/organizations/acme/issues/{}/", t.base, group["id"].as_str().unwrap()));
        assert_eq!(group["metadata"], json!({ "type": "ZeroDivisionError", "value": "something broke", "filename": "shop/cart.py", "function": "total" }));
        for (key, value) in [
            ("shareId", json!(null)), ("logger", json!("shop")), ("level", json!("error")), ("status", json!("unresolved")),
            ("substatus", json!("new")), ("statusDetails", json!({})), ("isPublic", json!(false)), ("platform", json!("python")),
            ("type", json!("error")), ("numComments", json!(0)), ("assignedTo", json!(null)), ("isBookmarked", json!(false)),
            ("isSubscribed", json!(false)), ("hasSeen", json!(true)), ("annotations", json!([])), ("count", json!("1")), ("userCount", json!(1)),
        ] {
            assert_eq!(group[key], value, "{key}");
        }
        assert_eq!(group["project"], json!({ "id": a.project.id.to_string(), "name": "Shop", "slug": "acme-shop", "platform": "python" }));
        assert_eq!(group["stats"]["24h"].as_array().unwrap().len(), 24);
        assert_eq!(group["firstSeen"], group["lastSeen"]);
        let detail = t.get(&t.group_path(&a, &group), &a.token, 200).await;
        for key in ["activity", "seenBy", "participants", "tags"] {
            assert!(detail[key].is_array(), "{key}");
        }
        assert_eq!(detail["firstRelease"]["version"], "shop@1.0");
        assert_eq!(detail["lastRelease"]["shortVersion"], "1.0");
        assert_eq!(detail["tags"][0]["totalValues"], 1);
    }

    async fn an_event_shows_itself_and_its_neighbours(t) {
        let a = t.tenant("acme").await;
        let mut ids = Vec::new();
        for number in 0..3 {
            let mut event = error("E", "f");
            event["tags"] = json!({ "number": number });
            event["contexts"] = json!({ "runtime": { "name": "CPython" } });
            event["breadcrumbs"] = json!([{ "message": "before" }]);
            event["request"] = json!({ "url": "https://shop.example/cart", "method": "POST" });
            ids.push(t.report(&a, &event).await);
        }
        let path = t.group_path(&a, &t.only_group(&a).await);
        let event = t.get(&format!("{path}events/{}/", ids[1]), &a.token, 200).await;
        assert_eq!((&event["eventID"], &event["previousEventID"], &event["nextEventID"]), (&json!(ids[1]), &json!(ids[0]), &json!(ids[2])));
        assert_eq!(event["projectID"], a.project.id.to_string());
        assert_eq!(event["contexts"]["runtime"]["name"], "CPython");
        let entries: Vec<_> = event["entries"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
        assert_eq!(entries, ["exception", "breadcrumbs", "request"]);
        let frame = &event["entries"][0]["data"]["values"][0]["stacktrace"]["frames"][1];
        assert_eq!((&frame["filename"], &frame["lineNo"], &frame["inApp"]), (&json!("shop/cart.py"), &json!(7), &json!(true)));
        assert_eq!(frame["context"][1], json!([7, "    raise it"]));
        assert!(event["tags"].as_array().unwrap().contains(&json!({ "key": "number", "value": "1" })));
        for (name, id) in [("latest", &ids[2]), ("oldest", &ids[0])] {
            assert_eq!(t.get(&format!("{path}events/{name}/"), &a.token, 200).await["eventID"], json!(id));
        }
        let dashed = uuid::Uuid::parse_str(&ids[0]).unwrap();
        let of_project = format!("/api/0/projects/acme/acme-shop/events/{dashed}/");
        assert_eq!(t.get(&of_project, &a.token, 200).await["eventID"], json!(ids[0]));
        let short = format!("/api/0/issues/{}/events/latest/", path.rsplit('/').nth(1).unwrap());
        assert_eq!(t.get(&short, &a.token, 200).await["eventID"], json!(ids[2]));
        for wrong in ["nonsense", "00000000000000000000000000000000"] {
            t.get(&format!("{path}events/{wrong}/"), &a.token, 404).await;
            t.get(&format!("/api/0/projects/acme/acme-shop/events/{wrong}/"), &a.token, 404).await;
        }
    }

    async fn events_are_listed_page_by_page(t) {
        let a = t.tenant("acme").await;
        let mut ids = Vec::new();
        for _ in 0..7 {
            ids.push(t.report(&a, &error("E", "f")).await);
        }
        ids.reverse();
        let group = t.only_group(&a).await;
        for start in [format!("{}events/", t.group_path(&a, &group)), "/api/0/projects/acme/acme-shop/events/".to_owned()] {
            let (mut seen, mut path) = (Vec::new(), format!("{start}?per_page=3&cursor="));
            loop {
                let response = t.call("GET", &path, &a.token).send().await.unwrap();
                let link = response.headers()["link"].to_str().unwrap().to_owned();
                let page: Vec<Value> = response.json().await.unwrap();
                assert!(page.len() <= 3);
                assert!(page.iter().all(|event| event["title"] == "E: something broke" && event["tags"].is_array()));
                seen.extend(page.iter().map(|event| event["eventID"].as_str().unwrap().to_owned()));
                let next = link.split(", ").find(|entry| entry.contains("rel=\"next\"")).unwrap();
                if next.contains("results=\"false\"") {
                    break;
                }
                path = next.split(['<', '>']).nth(1).unwrap().strip_prefix(&t.base).unwrap().to_owned();
            }
            assert_eq!(seen, ids);
            t.get(&format!("{start}?cursor=nonsense"), &a.token, 400).await;
        }
    }

    async fn groups_are_found_sorted_and_paged(t) {
        let a = t.tenant("acme").await;
        for number in 0..5 {
            for _ in 0..=number {
                let mut event = error(&format!("Error{number}"), "f");
                event["level"] = json!(if number == 4 { "fatal" } else { "error" });
                event["environment"] = json!(if number % 2 == 0 { "prod" } else { "staging" });
                event["user"] = json!({ "id": number });
                t.report(&a, &event).await;
            }
        }
        t.report(&a, &json!({ "message": "100% of \\_it_ broke", "level": "info" })).await;
        let titles = async |path: &str| -> Vec<String> {
            let groups = t.get(&format!("/api/0/organizations/acme/issues/?{path}"), &a.token, 200).await;
            groups.as_array().unwrap().iter().map(|g| g["title"].as_str().unwrap().split(':').next().unwrap().to_owned()).collect()
        };
        assert_eq!(titles("sort=freq&limit=2").await, ["Error4", "Error3"]);
        assert_eq!(titles("sort=new&per_page=1").await, ["100% of \\_it_ broke"]);
        assert_eq!(titles("sort=date").await.len(), 6);
        assert_eq!(titles("sort=user&limit=1&query=error4").await, ["Error4"]);
        assert_eq!(titles("query=level%3Afatal").await, ["Error4"]);
        assert_eq!(titles("query=level%3Afatal+level%3Ainfo").await.len(), 2);
        assert_eq!(titles("query=environment%3Astaging&sort=freq").await, ["Error3", "Error1"]);
        assert_eq!(titles("environment=prod&environment=staging").await.len(), 5);
        assert_eq!(titles("query=ERROR2").await, ["Error2"]);
        assert_eq!(titles("query=shop.cart").await.len(), 5);
        for (query, found) in [("100%25", 1), ("_it_", 1), ("%5C_it", 1), ("100x", 0), ("e_ror", 0)] {
            assert_eq!(titles(&format!("query={query}")).await.len(), found, "{query}");
        }
        assert_eq!(titles("query=acme-shop-2").await, ["Error1"]);
        assert_eq!(titles("query=issue%3AACME-SHOP-2").await, ["Error1"]);
        assert_eq!(titles(&format!("query=&project={}", a.project.id)).await.len(), 6);
        assert_eq!(titles("query=&project=-1").await.len(), 6);
        for wrong in ["query=is%3Asleeping", "sort=inbox", "cursor=1", "query=%00", "project=%00", "query=assigned%3Anobody%40x"] {
            let error = t.get(&format!("/api/0/organizations/acme/issues/?{wrong}"), &a.token, 400).await;
            assert_eq!(error.as_object().unwrap().keys().collect::<Vec<_>>(), ["detail"], "{wrong}");
        }
        for wrong in ["project=999999"] {
            t.get(&format!("/api/0/organizations/acme/issues/?{wrong}"), &a.token, 404).await;
        }
        // Page by page, as sentry-cli walks.
        let (mut seen, mut path) = (Vec::new(), "/api/0/projects/acme/acme-shop/issues/?query=&per_page=4&cursor=".to_owned());
        for _ in 0..3 {
            let response = t.call("GET", &path, &a.token).send().await.unwrap();
            assert_eq!(response.headers()["x-hits"], "6");
            let link = response.headers()["link"].to_str().unwrap().to_owned();
            let page: Vec<Value> = response.json().await.unwrap();
            seen.extend(page.iter().map(|group| group["id"].as_str().unwrap().to_owned()));
            let next = link.split(", ").find(|entry| entry.contains("rel=\"next\"")).unwrap();
            if next.contains("results=\"false\"") {
                break;
            }
            path = next.split(['<', '>']).nth(1).unwrap().strip_prefix(&t.base).unwrap().to_owned();
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 6);
    }

    async fn a_group_goes_through_its_states(t) {
        let a = t.tenant("acme").await;
        t.report(&a, &error("E", "f")).await;
        let path = t.group_path(&a, &t.only_group(&a).await);
        let put = async |body: Value| t.send("PUT", &path, &a.token, body, 200).await;
        let resolved = put(json!({ "status": "resolved", "hasSeen": true, "isBookmarked": true, "snoozeDuration": null })).await;
        assert_eq!((&resolved["status"], &resolved["substatus"]), (&json!("resolved"), &json!(null)));
        assert_eq!(kinds(&resolved), ["set_resolved"]);
        // Again: nothing changes, nothing is written.
        assert_eq!(kinds(&put(json!({ "status": "resolved" })).await), ["set_resolved"]);
        assert!(t.groups(&a, "is:unresolved").await.is_empty());
        assert_eq!(t.groups(&a, "is:resolved").await.len(), 1);
        let opened = put(json!({ "status": "unresolved" })).await;
        assert_eq!((&opened["status"], &opened["substatus"]), (&json!("unresolved"), &json!("ongoing")));
        let ignored = put(json!({ "status": "muted" })).await;
        assert_eq!(ignored["status"], "ignored");
        // Events of an ignored group are counted and open nothing.
        t.report(&a, &error("E", "f")).await;
        let still = t.get(&path, &a.token, 200).await;
        assert_eq!((&still["status"], &still["count"]), (&json!("ignored"), &json!("2")));
        let next = put(json!({ "status": "resolvedInNextRelease" })).await;
        assert_eq!((&next["status"], &next["statusDetails"]), (&json!("resolved"), &json!({ "inNextRelease": true })));
        put(json!({ "status": "unresolved" })).await;
        let release = put(json!({ "status": "resolved", "statusDetails": { "inRelease": "shop@2" } })).await;
        assert_eq!(release["statusDetails"], json!({ "inRelease": "shop@2" }));
        assert_eq!(kinds(&release), ["set_resolved_in_release", "set_unresolved", "set_resolved_in_release", "set_ignored", "set_unresolved", "set_resolved"]);
        for wrong in [json!({ "status": "asleep" }), json!({ "status": 7 }), json!([]), json!({ "assignedTo": "eve@evil.example" }),
            json!({ "assignedTo": { "x": 1 } }), json!({ "status": "resolved", "statusDetails": { "inCommit": { "commit": "a" } } })] {
            let error = t.send("PUT", &path, &a.token, wrong, 400).await;
            assert!(error["detail"].is_string(), "{error}");
        }
    }

    async fn an_event_after_the_fix_is_a_regression(t) {
        let a = t.tenant("acme").await;
        let mut event = error("E", "f");
        event["release"] = json!("shop@1");
        let first = t.report(&a, &event).await;
        let group = t.only_group(&a).await;
        assert!(resolve_in_commit(&t, a.org.id, id_of(&group), &["shop@1"]).await);
        assert!(!resolve_in_commit(&t, a.org.id, id_of(&group), &["shop@1"]).await, "it was resolved already");
        let path = t.group_path(&a, &group);
        let resolved = t.get(&path, &a.token, 200).await;
        assert_eq!(resolved["statusDetails"]["inCommit"]["repository"], "acme/shop");
        // The old release goes on failing: counted, and still resolved.
        for _ in 0..3 {
            t.report(&a, &event).await;
        }
        let still = t.get(&path, &a.token, 200).await;
        assert_eq!((&still["status"], &still["count"]), (&json!("resolved"), &json!("4")));
        // An event that had come before the fix is sent again: nothing at all.
        let again = t.send_envelope(&a, crate::support::sdk::envelope(&first, &error("E", "f"))).await;
        assert_eq!(again.status(), 200);
        assert_eq!(t.get(&path, &a.token, 200).await["status"], "resolved");
        // A release that is not known to be without the fix.
        event["release"] = json!("shop@2");
        t.report(&a, &event).await;
        let back = t.get(&path, &a.token, 200).await;
        assert_eq!((&back["status"], &back["substatus"], &back["count"], &back["statusDetails"]),
            (&json!("unresolved"), &json!("regressed"), &json!("5"), &json!({})));
        assert_eq!(kinds(&back), ["set_regression", "set_resolved_in_commit"]);
        assert_eq!(back["activity"][0]["data"]["version"], "shop@2");
        // Resolved again by hand: now every release counts.
        t.send("PUT", &path, &a.token, json!({ "status": "resolved" }), 200).await;
        event["release"] = json!("shop@1");
        t.report(&a, &event).await;
        assert_eq!(t.get(&path, &a.token, 200).await["status"], "unresolved");
    }

    async fn many_events_at_once_are_one_regression(t) {
        let a = t.tenant("acme").await;
        t.report(&a, &error("E", "f")).await;
        let path = t.group_path(&a, &t.only_group(&a).await);
        for round in 1..=3 {
            t.send("PUT", &path, &a.token, json!({ "status": "resolved" }), 200).await;
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..20 {
                let body = crate::support::sdk::envelope(&crate::support::sdk::event_id(), &error("E", "f"));
                let request = t.post(&a, "envelope").header("X-Sentry-Auth", crate::support::sdk::auth(&a)).body(body);
                clients.spawn(async move { request.send().await.unwrap().status().as_u16() });
            }
            assert_eq!(clients.join_all().await, vec![200; 20]);
            let group = t.get(&path, &a.token, 200).await;
            assert_eq!((&group["status"], &group["count"]), (&json!("unresolved"), &json!((1 + 20 * round).to_string())));
            assert_eq!(kinds(&group).iter().filter(|kind| **kind == "set_regression").count(), round);
        }
    }

    async fn people_are_assigned(t) {
        let a = t.tenant("acme").await;
        t.report(&a, &error("E", "f")).await;
        let path = t.group_path(&a, &t.only_group(&a).await);
        let member = t.member(&a.org, Role::Member).await;
        for name in [json!(member.email), json!(member.id.to_string()), json!(format!("user:{}", member.id)), json!(member.id.0)] {
            let group = t.send("PUT", &path, &a.token, json!({ "assignedTo": name }), 200).await;
            assert_eq!(group["assignedTo"], json!({ "type": "user", "id": member.id.to_string(), "name": "Mia Member", "email": member.email }));
        }
        assert_eq!(t.groups(&a, &format!("assigned:{}", member.email)).await.len(), 1);
        assert!(t.groups(&a, "assigned:none").await.is_empty());
        let group = t.send("PUT", &path, &a.token, json!({ "assignedTo": "" }), 200).await;
        assert_eq!(group["assignedTo"], json!(null));
        assert_eq!(kinds(&group), ["unassigned", "assigned"]);
        assert_eq!(t.groups(&a, "is:unassigned").await.len(), 1);
    }

    async fn notes_are_written_changed_and_taken_back(t) {
        let a = t.tenant("acme").await;
        t.report(&a, &error("E", "f")).await;
        let path = t.group_path(&a, &t.only_group(&a).await);
        let notes = format!("{path}comments/");
        let note = t.send("POST", &notes, &a.token, json!({ "text": " I saw it.\n**Twice.** " }), 201).await;
        assert_eq!((&note["type"], &note["data"]["text"], &note["user"]), (&json!("note"), &json!("I saw it.\n**Twice.**"), &json!(null)));
        for wrong in [json!({}), json!({ "text": "  " }), json!({ "text": 7 }), json!({ "text": "x".repeat(10_001) }), json!({ "text": "a\u{0}" })] {
            t.send("POST", &notes, &a.token, wrong, 400).await;
        }
        assert_eq!(t.get(&path, &a.token, 200).await["numComments"], 1);
        let one = format!("{notes}{}/", note["id"].as_str().unwrap());
        assert_eq!(t.send("PUT", &one, &a.token, json!({ "text": "Once." }), 200).await["data"]["text"], "Once.");
        assert_eq!(t.get(&notes, &a.token, 200).await[0]["data"]["text"], "Once.");
        // Another credential without event:admin is not the author.
        let other = t.token(&a.org, "event:read,event:write").await;
        t.send("PUT", &one, &other, json!({ "text": "Mine." }), 403).await;
        t.send("DELETE", &one, &other, json!({}), 403).await;
        t.send("DELETE", &one, &a.token, json!({}), 204).await;
        t.send("DELETE", &one, &a.token, json!({}), 404).await;
        t.send("PUT", &format!("{notes}x/"), &a.token, json!({ "text": "x" }), 404).await;
        assert_eq!(t.get(&path, &a.token, 200).await["numComments"], 0);
        assert_eq!(t.get(&notes, &a.token, 200).await, json!([]));
    }

    async fn many_groups_change_at_once(t) {
        let a = t.tenant("acme").await;
        let b = t.tenant("bolt").await;
        for number in 0..120 {
            t.report(&a, &error(&format!("E{number}"), "f")).await;
        }
        t.report(&b, &error("E", "f")).await;
        let foreign = t.only_group(&b).await["id"].as_str().unwrap().to_owned();
        let ids: Vec<String> = t.groups(&a, "").await.iter().map(|g| g["id"].as_str().unwrap().to_owned()).collect();
        let path = "/api/0/projects/acme/acme-shop/issues/";
        // What sentry-cli sends.
        let body = json!({ "status": "resolved", "snoozeDuration": null });
        let two = format!("{path}?id={}&id={}", ids[0], ids[1]);
        assert_eq!(t.send("PUT", &two, &a.token, body.clone(), 200).await, json!({ "status": "resolved", "statusDetails": {} }));
        assert_eq!(t.groups(&a, "is:resolved").await.len(), 2);
        t.send("PUT", &format!("{path}?id={foreign}"), &a.token, body.clone(), 204).await;
        assert_eq!(t.only_group(&b).await["status"], "unresolved");
        t.send("PUT", &format!("{path}?status=resolved"), &a.token, json!({ "status": "muted", "snoozeDuration": null }), 200).await;
        assert_eq!(t.groups(&a, "is:ignored").await.len(), 2);
        t.send("PUT", "/api/0/organizations/acme/issues/?query=e11", &a.token, body.clone(), 200).await;
        let resolved = t.groups(&a, "is:resolved").await.len();
        assert!((11..=12).contains(&resolved), "E11 and E110 to E119: {resolved}");
        t.send("PUT", path, &a.token, body, 200).await;
        let left = t.get("/api/0/organizations/acme/issues/?query=is%3Aresolved&per_page=1", &a.token, 200).await;
        assert_eq!(left.as_array().unwrap().len(), 1);
        let counted = t.call("GET", "/api/0/organizations/acme/issues/?query=is%3Aresolved", &a.token).send().await.unwrap();
        assert_eq!(counted.headers()["x-hits"], "120");
        t.send("PUT", &format!("{path}?id=x"), &a.token, json!({ "status": "resolved" }), 400).await;
        t.send("PUT", &format!("{path}?status=x"), &a.token, json!({ "status": "resolved" }), 400).await;
        assert_eq!(t.only_group(&b).await["status"], "unresolved");
    }

    async fn a_deleted_group_is_gone_and_its_error_starts_anew(t) {
        let a = t.tenant("acme").await;
        for _ in 0..5 {
            t.report(&a, &error("E", "f")).await;
        }
        let group = t.only_group(&a).await;
        let path = t.group_path(&a, &group);
        t.send("DELETE", &path, &a.token, json!({}), 202).await;
        t.get(&path, &a.token, 404).await;
        assert!(t.groups(&a, "").await.is_empty());
        // Before the job has erased it and after, the same error makes a new group.
        t.report(&a, &error("E", "f")).await;
        let new = t.only_group(&a).await;
        assert_eq!((&new["count"], &new["shortId"]), (&json!("1"), &json!("ACME-SHOP-2")));
        t.run_jobs().await;
        assert!(t.dead_jobs().await.is_empty());
        t.report(&a, &error("E", "f")).await;
        let new = t.only_group(&a).await;
        assert_eq!((&new["count"], &new["shortId"]), (&json!("2"), &json!("ACME-SHOP-2")));
        let events = t.get("/api/0/projects/acme/acme-shop/events/", &a.token, 200).await;
        assert_eq!(events.as_array().unwrap().len(), 2);
    }

    async fn a_short_id_leads_to_its_group(t) {
        let a = t.tenant("acme").await;
        t.report(&a, &error("E", "f")).await;
        let group = t.only_group(&a).await;
        let found = t.get("/api/0/organizations/acme/shortids/acme-shop-1/", &a.token, 200).await;
        assert_eq!((&found["groupId"], &found["shortId"], &found["projectSlug"], &found["organizationSlug"]),
            (&group["id"], &json!("ACME-SHOP-1"), &json!("acme-shop"), &json!("acme")));
        assert_eq!(found["group"]["id"], group["id"]);
        assert_eq!(t.get("/api/0/organizations/acme/issues/ACME-SHOP-1/", &a.token, 200).await["id"], group["id"]);
        for wrong in ["ACME-SHOP-2", "ACME-SHOP-U", "OTHER-1", "1", "x%00-1"] {
            t.get(&format!("/api/0/organizations/acme/shortids/{wrong}/"), &a.token, 404).await;
        }
        t.get(&format!("/api/0/organizations/acme/issues/{}-1/", a.project.id), &a.token, 404).await;
    }

    async fn tenants_do_not_see_each_other(t) {
        let a = t.tenant("acme").await;
        let b = t.tenant("bolt").await;
        let event = t.report(&a, &error("E", "f")).await;
        let group = t.only_group(&a).await;
        let id = group["id"].as_str().unwrap();
        assert!(t.groups(&b, "").await.is_empty());
        let note = t.send("POST", &format!("{}comments/", t.group_path(&a, &group)), &a.token, json!({ "text": "x" }), 201).await;
        let note = note["id"].as_str().unwrap();
        let reading = |family: &str| vec![
            format!("{family}/{id}/"), format!("{family}/{id}/events/"), format!("{family}/{id}/events/latest/"),
            format!("{family}/{id}/events/{event}/"), format!("{family}/{id}/comments/"),
        ];
        for family in ["/api/0/issues", "/api/0/organizations/acme/issues"] {
            for path in reading(family) {
                t.get(&path, &a.token, 200).await;
                t.get(&path, &b.token, 404).await;
            }
        }
        for path in reading("/api/0/organizations/bolt/issues") {
            t.get(&path, &b.token, 404).await;
            t.get(&path, &a.token, 404).await;
        }
        for family in ["/api/0/issues", "/api/0/organizations/acme/issues", "/api/0/organizations/bolt/issues"] {
            t.send("PUT", &format!("{family}/{id}/"), &b.token, json!({ "status": "resolved" }), 404).await;
            t.send("DELETE", &format!("{family}/{id}/"), &b.token, json!({}), 404).await;
            t.send("POST", &format!("{family}/{id}/comments/"), &b.token, json!({ "text": "y" }), 404).await;
            t.send("PUT", &format!("{family}/{id}/comments/{note}/"), &b.token, json!({ "text": "y" }), 404).await;
            t.send("DELETE", &format!("{family}/{id}/comments/{note}/"), &b.token, json!({}), 404).await;
        }
        for path in [format!("/api/0/projects/acme/acme-shop/events/{event}/"), "/api/0/projects/acme/acme-shop/events/".into(),
            "/api/0/projects/acme/acme-shop/issues/".into(), "/api/0/organizations/acme/issues/".into(),
            "/api/0/organizations/acme/shortids/ACME-SHOP-1/".into(), "/organizations/acme/issues/".to_owned() + id + "/"] {
            t.get(&path, &b.token, 404).await;
        }
        t.get("/api/0/organizations/bolt/issues/?project=acme-shop", &b.token, 404).await;
        t.get(&format!("/api/0/organizations/bolt/issues/?project={}", a.project.id), &b.token, 404).await;
        let after = t.get(&t.group_path(&a, &group), &a.token, 200).await;
        assert_eq!((&after["status"], &after["numComments"]), (&json!("unresolved"), &json!(1)));
    }

    async fn scopes_are_asked_for(t) {
        let a = t.tenant("acme").await;
        t.report(&a, &error("E", "f")).await;
        let path = t.group_path(&a, &t.only_group(&a).await);
        let reader = t.token(&a.org, "event:read").await;
        let writer = t.token(&a.org, "event:write").await;
        let other = t.token(&a.org, "project:releases").await;
        t.get(&path, &reader, 200).await;
        t.send("PUT", &path, &reader, json!({ "status": "resolved" }), 403).await;
        t.send("PUT", "/api/0/organizations/acme/issues/", &reader, json!({ "status": "resolved" }), 403).await;
        t.send("POST", &format!("{path}comments/"), &reader, json!({ "text": "x" }), 403).await;
        t.send("PUT", &path, &writer, json!({ "status": "resolved" }), 200).await;
        t.send("DELETE", &path, &writer, json!({}), 403).await;
        t.get(&path, &other, 403).await;
        t.get(&path, "nonsense", 401).await;
        answer(t.http.get(t.url(&path)), 401).await;
    }

    async fn the_console_lists_and_changes_errors(t) {
        let a = t.tenant("acme").await;
        let cookie = t.session(&a.owner).await;
        let page = async |path: &str, status: u16| -> String {
            let response = t.http.get(t.url(path)).header("Cookie", &cookie).header("Accept", "text/html").send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path}");
            response.text().await.unwrap()
        };
        let empty = page("/o/acme/errors/", 200).await;
        assert!(empty.contains("Waiting for the first error") && empty.contains(&a.key.public_key));
        for number in 0..30 {
            t.report(&a, &error(&format!("<b>Error{number}</b>"), "f")).await;
        }
        let list = page("/o/acme/errors/", 200).await;
        assert!(list.contains("ACME-SHOP-") && list.contains("&lt;b&gt;Error29"), "{list}");
        assert!(!list.contains("<b>Error"));
        assert!(list.contains("query=is%3Aunresolved&amp;cursor=0:25:0") || list.contains("query=is%3Aunresolved&cursor=0:25:0"));
        assert!(page("/o/acme/errors/?query=is%3Aunresolved&cursor=0:25:0", 200).await.contains("Error0"));
        assert!(page("/o/acme/errors/?query=is%3Asleeping", 400).await.contains("is not known"));
        assert!(page("/o/acme/errors/?query=nothing+like+it", 200).await.contains("Nothing matches"));
        page("/o/acme/errors/?cursor=x", 400).await;
        page("/o/other/errors/", 404).await;

        let csrf = list.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let post = async |path: String, form: Vec<(&str, String)>| {
            let request = t.http.post(t.url(&path)).header("Cookie", &cookie).header("Origin", &t.base);
            request.form(&form).send().await.unwrap()
        };
        let groups = t.groups(&a, "").await;
        let (one, two) = (groups[0]["id"].as_str().unwrap(), groups[1]["id"].as_str().unwrap());
        let form = vec![("csrf", csrf.clone()), ("ids", one.into()), ("ids", two.into()), ("action", "resolve".into()), ("back", "/o/acme/errors/?query=is%3Aunresolved".into())];
        let response = post("/o/acme/errors/bulk/".into(), form).await;
        assert_eq!((response.status().as_u16(), &response.headers()["location"]), (303, &"/o/acme/errors/?query=is%3Aunresolved".parse().unwrap()));
        assert_eq!(t.groups(&a, "is:resolved").await.len(), 2);
        let away = vec![("csrf", csrf.clone()), ("action", "resolve".into()), ("back", "https://evil.example/".into())];
        assert_eq!(post("/o/acme/errors/bulk/".into(), away).await.headers()["location"], "/o/acme/errors/");
        let response = post(format!("/o/acme/errors/{one}/status/"), vec![("csrf", csrf.clone()), ("status", "unresolved".into())]).await;
        assert_eq!(response.headers()["location"].to_str().unwrap(), format!("/o/acme/errors/{one}/"));
        assert_eq!(t.groups(&a, "is:resolved").await.len(), 1);
        post(format!("/o/acme/errors/{one}/notes/"), vec![("csrf", csrf.clone()), ("text", "Seen.".into())]).await;
        post(format!("/o/acme/errors/{one}/notes/"), vec![("csrf", csrf.clone()), ("text", " ".into())]).await;
        let notes = t.get(&format!("/api/0/issues/{one}/comments/"), &a.token, 200).await;
        assert_eq!((notes.as_array().unwrap().len(), &notes[0]["user"]["email"]), (1, &json!(a.owner.email)));
        // Without the token of the page, or from another site: nothing.
        let response = post(format!("/o/acme/errors/{one}/status/"), vec![("csrf", "x".into()), ("status", "resolved".into())]).await;
        assert_eq!(response.status(), 403);
        let response = t.http.get(t.url(&format!("/organizations/acme/issues/{one}/"))).header("Cookie", &cookie).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["location"].to_str().unwrap()), (302, format!("/o/acme/errors/{one}/").as_str()));
    }

    async fn the_page_of_a_group_is_complete(t) {
        let a = t.tenant("acme").await;
        let mut event = error("E", "f");
        event["release"] = json!("shop@1");
        event["user"] = json!({ "id": 7 });
        t.report(&a, &event).await;
        t.report(&a, &event).await;
        let group = t.only_group(&a).await;
        resolve_in_commit(&t, a.org.id, id_of(&group), &[]).await;
        let access = t.app.db.clone();
        let (org, id) = (a.org.id, id_of(&group));
        let found = access.read(move |conn| groups::find(conn, org, id)?.ok_or_else(tracebucket::error::AppError::not_found)).await.unwrap();
        let view = groups::detail_view(&t.app, found.0, found.1, None, true).await.unwrap();
        let view = serde_json::to_value(&view).unwrap();
        let example: Value = serde_json::from_str(include_str!("../fixtures/pages/groups.detail.json")).unwrap();
        for key in ["group", "event"] {
            let expected: Vec<_> = example[key].as_object().unwrap().keys().collect();
            assert_eq!(view[key].as_object().unwrap().keys().collect::<Vec<_>>(), expected, "{key}");
        }
        assert_eq!(view["group"]["days"].as_array().unwrap().len(), 30);
        assert_eq!(view["group"]["days"][29], 2);
        assert_eq!(view["group"]["hours"][23], 2);
        assert_eq!(view["group"]["status_detail"], "Resolved by commit 9d2f5e7");
        assert_eq!(view["releases"], json!([{ "version": "shop@1", "count": 2 }]));
        assert_eq!(view["activity"][0]["link"]["label"], "9d2f5e7");
        assert_eq!(view["activity"][1]["text"], "First seen in shop@1");
        assert!(view["event"]["older_id"].is_string() && view["event"]["newer_id"].is_null());
        // With an empty ticket panel it is the page.
        let mut page = view;
        for key in ["page", "me", "org", "orgs", "csrf", "flash", "now", "tickets"] {
            page[key] = example[key].clone();
        }
        let html = t.app.renderer.render("groups/detail.html", &page).unwrap();
        assert!(html.contains("shop/cart.py") && html.contains("raise it"));
    }
}

async fn run_retention(t: &TestApp) {
    let now = t.app.clock.now();
    let job = tracebucket::features::groups::jobs::Retention::default();
    t.app
        .db
        .write(move |tx| Ok::<_, tracebucket::error::AppError>(jobs::enqueue(tx, &job, now)?))
        .await
        .unwrap();
    t.run_jobs().await;
}

async fn forgets(backend: crate::support::Backend) {
    let clock = Clock::fixed(Micros::from_unix_seconds(1_800_000_000));
    let options = Options {
        clock: Some(clock.clone()),
        settings: vec![("retention_days", "30".into())],
    };
    let t = TestApp::start_with(backend, options).await;
    let a = t.tenant("acme").await;
    for _ in 0..3 {
        t.report(&a, &error("Old", "f")).await;
    }
    clock.advance(20 * DAY);
    let kept = t.report(&a, &error("Young", "f")).await;
    t.run_jobs().await;
    assert_eq!(t.groups(&a, "").await.len(), 2);
    clock.advance(11 * DAY);
    run_retention(&t).await;
    let old = t.groups(&a, "old").await.remove(0);
    assert_eq!(
        (&old["count"], &old["title"]),
        (&json!("3"), &json!("Old: something broke"))
    );
    t.get(
        &format!("{}events/latest/", t.group_path(&a, &old)),
        &a.token,
        404,
    )
    .await;
    t.get(
        &format!("/api/0/projects/acme/acme-shop/events/{kept}/"),
        &a.token,
        200,
    )
    .await;
    // Twice the retention: the group goes too, and its error starts anew.
    clock.advance(30 * DAY);
    run_retention(&t).await;
    assert!(t.groups(&a, "old").await.is_empty());
    t.report(&a, &error("Old", "f")).await;
    assert_eq!(t.groups(&a, "old").await[0]["count"], "1");
    assert!(t.dead_jobs().await.is_empty());
    clock.advance(Duration::from_secs(1));
}

mod old_events_are_forgotten_and_later_their_groups {
    use super::forgets;
    use crate::support::Backend;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        forgets(Backend::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        forgets(Backend::Postgres).await;
    }
}
