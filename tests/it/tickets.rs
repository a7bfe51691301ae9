//! Tickets: Sentry's endpoints (sentry.md §7.2, §7.3, §15.6, §15.7), one ticket whatever breaks, and a ticket that
//! keeps in step with its error.
//!
//! Our differences: who is not signed in gets 401 and not an empty 400; a tracker that cannot be reached leaves the
//! ticket being created, so 503 means "it will come".

use std::time::Duration;

use bitbucket_sandbox::model::{Issue, Tracker};
use bitbucket_sandbox::{Action, Fault, NewRepository, NewToken};
use serde_json::{Value, json};
use tracebucket::error::AppError;
use tracebucket::features::groups::GroupId;
use tracebucket::features::tickets;
use tracebucket::kit::jobs;

use crate::scene::{REPO, Scene, crash, group, scenes};
use crate::support::answer;
use crate::support::world::{hidden, install};

const ISSUES: &str = "/issues";

fn form(title: &str) -> Value {
    json!({"repo": REPO, "title": title, "description": "It broke.", "issue_type": "bug", "priority": "major"})
}

impl Scene {
    fn path(&self, group: GroupId) -> String {
        self.ticket_path(&group.to_string())
    }

    async fn create(&self, group: GroupId, form: Value, expected: u16) -> Value {
        self.t
            .send(
                "POST",
                &self.path(group),
                &self.tenant.token,
                form,
                expected,
            )
            .await
    }

    async fn create_keyed(&self, group: GroupId, key: &str, form: &Value, expected: u16) -> Value {
        let request = self
            .t
            .call("POST", &self.path(group), &self.tenant.token)
            .header("Idempotency-Key", key);
        answer(request.json(form), expected).await
    }

    fn issues_now(&self) -> Vec<Issue> {
        self.bitbucket.issues(REPO)
    }

    fn fault(&self, method: &str, path: &str, action: Action) {
        self.bitbucket.add_fault(Fault::once(method, path, action));
    }

    /// Everything that waits for a time waits that much less.
    async fn time_passes(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap();
        self.t
            .app
            .db
            .write(move |tx| {
                use diesel::RunQueryDsl;
                for statement in [
                    "UPDATE jobs SET run_at = run_at - $1 WHERE state = 'ready'",
                    "UPDATE tickets SET attempted_at = attempted_at - $1",
                    "UPDATE tickets SET busy_until = busy_until - $1",
                    "UPDATE tickets SET updated_at = updated_at - $1",
                    "UPDATE ticket_comments SET created_at = created_at - $1, busy_until = busy_until - $1",
                ] {
                    diesel::sql_query(statement)
                        .bind::<diesel::sql_types::BigInt, _>(micros)
                        .execute(tx.conn())?;
                }
                Ok::<_, AppError>(())
            })
            .await
            .unwrap();
    }

    async fn tickets_of(&self, group: GroupId) -> Vec<tickets::Ticket> {
        let org = self.tenant.org.id;
        self.t
            .app
            .db
            .read(move |conn| Ok::<_, AppError>(tickets::list_of_group(conn, org, group)?))
            .await
            .unwrap()
    }

    async fn set_status(&self, group: GroupId, status: &str) {
        let path = self.org_path(&format!("issues/{group}/"));
        self.t
            .send(
                "PUT",
                &path,
                &self.tenant.token,
                json!({"status": status}),
                200,
            )
            .await;
    }

    /// Presses the retry button of a ticket; the error's page then says `expected`.
    async fn retry(&self, group: GroupId, ticket: tickets::TicketId, expected: &str) {
        let cookie = self.t.session(&self.tenant.owner).await;
        let error = format!("/o/acme/errors/{group}/");
        let csrf = hidden(&self.page(&error, &cookie, 200).await, "csrf");
        let request = self
            .t
            .http
            .post(self.t.url(&format!("{error}tickets/{ticket}/retry/")))
            .header("Cookie", &cookie)
            .header("Origin", &self.t.base)
            .form(&[("csrf", csrf)]);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 303);
        let flash = response.headers().get_all("set-cookie").iter();
        let flash = flash
            .filter_map(|value| value.to_str().ok()?.split(';').next())
            .find(|cookie| cookie.starts_with("tracebucket_flash="))
            .unwrap();
        let page = shown(&self.page(&error, &format!("{cookie}; {flash}"), 200).await);
        assert!(page.contains(expected), "{expected}: {page}");
    }

    async fn page(&self, path: &str, cookie: &str, expected: u16) -> String {
        let request = self
            .t
            .http
            .get(self.t.url(path))
            .header("Cookie", cookie)
            .header("Accept", "text/html");
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert_eq!(status, expected, "{path}: {text}");
        text
    }

    /// Sends a form; answers status and text.
    async fn submit(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let request = self
            .t
            .http
            .post(self.t.url(path))
            .header("Cookie", cookie)
            .header("Origin", &self.t.base);
        let response = request
            .header("Accept", "text/html")
            .form(fields)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

/// Text as it stands in a page.
fn shown(html: &str) -> String {
    html.replace("&#x2F;", "/")
        .replace("&#x27;", "'")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
        .replace("&#39;", "'")
}

scenes! {
    async fn every_row_of_the_endpoint(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        let (path, token) = (s.path(id), &s.tenant.token);
        let list = s.org_path(&format!("issues/{id}/integrations/"));

        // The list and the two forms.
        let before = s.t.get(&list, token, 200).await;
        assert_eq!(before[0]["id"], s.integration.as_str());
        assert_eq!(before[0]["externalIssues"], json!([]));
        let config = s.t.get(&format!("{path}?action=create"), token, 200).await;
        assert_eq!(config["provider"]["key"], "bitbucket");
        let fields = config["createIssueConfig"].as_array().unwrap();
        let names: Vec<_> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["repo", "title", "description", "issue_type", "priority"]);
        assert_eq!(fields[0]["url"], format!("/extensions/bitbucket/search/acme/{}/", s.integration));
        assert_eq!((&fields[0]["choices"], &fields[0]["default"]), (&json!([[REPO, REPO]]), &json!(REPO)));
        assert_eq!(fields[1]["default"], "ZeroDivisionError: division by zero");
        let permalink = format!("{}/organizations/acme/issues/{id}/?referrer=bitbucket_integration", s.t.base);
        let expected = format!(
            "Sentry Issue: [{short}]({permalink})\n\n```\nZeroDivisionError: division by zero\n  File \"shop/cart.py\", line 7, in total\n    x / 0\n```"
        );
        assert_eq!(fields[2]["default"], expected);
        assert_eq!((&fields[3]["default"], &fields[4]["default"]), (&json!("bug"), &json!("trivial")));
        let config = s.t.get(&format!("{path}?action=link"), token, 200).await;
        let names: Vec<_> = config["linkIssueConfig"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["repo", "externalIssue", "comment"]);
        for query in ["", "?action=", "?action=destroy"] {
            let refused = s.t.get(&format!("{path}{query}"), token, 400).await;
            assert_eq!(refused["detail"], "Action is required and should be either link or create");
        }
        let unknown = s.org_path(&format!("issues/{id}/integrations/999999/"));
        s.t.get(&format!("{unknown}?action=create"), token, 404).await;
        s.t.send("POST", &unknown, token, form("x"), 404).await;
        answer(s.t.http.get(s.t.url(&format!("{path}?action=create"))), 401).await;
        let reader = s.t.token(&s.tenant.org, "event:read").await;
        s.t.get(&list, &reader, 200).await;
        s.t.send("POST", &path, &reader, form("x"), 403).await;

        // POST.
        for (field, value, expected) in [
            ("repo", json!(""), json!({"repo": ["Repository is required"]})),
            ("title", json!("  "), json!({"title": ["A title is required."]})),
            ("priority", json!("urgent"), json!({"priority": ["Choose one of: trivial, minor, major, critical, blocker."]})),
        ] {
            let mut wrong = form("x");
            wrong[field] = value;
            assert_eq!(s.create(id, wrong, 400).await, expected);
        }
        let made = s.create(id, form("One"), 201).await;
        let url = format!("{}/acme/shop/issues/1", s.bitbucket.url());
        assert_eq!((&made["key"], &made["displayName"], &made["url"]), (&json!("acme/shop#1"), &json!("acme/shop#1"), &json!(url)));
        assert!(made["id"].is_i64() && made["integrationId"].as_i64().map(|id| id.to_string()).as_deref() == Some(s.integration.as_str()), "{made}");
        let issue = s.issues_now().remove(0);
        assert_eq!((issue.title.as_str(), issue.kind.as_str(), issue.priority.as_str()), ("One", "bug", "major"));
        assert!(issue.content.starts_with("It broke.\n\n[tb-"), "the text of the user and the marker: {}", issue.content);
        assert_eq!(s.create(id, form("One"), 201).await, made, "the same form is the same ticket");
        s.create(id, form("Two"), 201).await;
        assert_eq!(s.issues_now().len(), 2);

        let listed = s.t.get(&list, token, 200).await;
        let of_one = listed[0]["externalIssues"].as_array().unwrap().iter().find(|ticket| ticket["title"] == "One").unwrap();
        assert!(of_one["description"].as_str().unwrap().contains("It broke."), "{of_one}");
        let keys = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&made), ["displayName", "id", "integrationId", "key", "url"]);

        // PUT, on the old path too.
        let old_path = format!("/api/0/issues/{id}/integrations/{}/", s.integration);
        let link = |number: Value| json!({"repo": REPO, "externalIssue": number, "comment": "Seen again."});
        assert_eq!(s.t.send("PUT", &path, token, json!({"repo": REPO}), 400).await, json!({"externalIssue": ["Issue ID is required"]}));
        let twice = s.t.send("PUT", &path, token, link(json!(1)), 400).await;
        assert_eq!(twice, json!({"non_field_errors": ["That issue is already linked"]}));
        let missing = s.t.send("PUT", &path, token, link(json!(77)), 400).await;
        assert!(missing["non_field_errors"][0].as_str().unwrap().contains("no such issue"), "{missing}");
        assert_eq!(s.t.send("PUT", &path, token, json!({"externalIssue": 1}), 400).await, json!({"repo": ["Repository is required"]}));
        let words = s.t.send("PUT", &path, token, link(json!("words")), 400).await;
        assert_eq!(words, json!({"externalIssue": ["This is not the number of an issue."]}));
        for (method, path) in [("PUT", unknown.clone()), ("DELETE", format!("{unknown}?externalIssue=1"))] {
            s.t.send(method, &path, token, link(json!(1)), 404).await;
        }
        let (other, _) = group(s, "KeyError").await;
        let other_path = old_path.replace(&format!("/issues/{id}/"), &format!("/issues/{other}/"));
        for status in [500, 429] {
            s.bitbucket.add_fault(Fault::always("GET", "/issues/1", Action::Status { status, retry_after: None, body: None }));
            let trouble = s.t.send("PUT", &other_path, token, link(json!(1)), 503).await;
            assert_eq!(trouble["detail"], "Something went wrong while communicating with Bitbucket", "{status}");
            s.bitbucket.clear_faults();
            s.t.forgive_pauses().await;
        }
        assert_eq!(s.t.get(&format!("/api/0/issues/{other}/integrations/"), token, 200).await[0]["externalIssues"], json!([]));
        let by_hand = s.bitbucket.create_token(&NewToken { workspace: "acme".into(), scopes: vec!["issue:write".into()], expires_in: None }).unwrap();
        let at_bitbucket = format!("{}/2.0/repositories/acme/shop/issues/1", s.bitbucket.url());
        let edited = json!({"title": "One, and more", "content": {"raw": "It broke *twice*."}});
        answer(s.t.http.put(at_bitbucket).bearer_auth(by_hand.expose()).json(&edited), 200).await;
        let linked = s.t.send("PUT", &other_path, token, link(json!("#1")), 201).await;
        assert_eq!(keys(&linked), keys(&made));
        assert_eq!((&linked["key"], &linked["id"]), (&json!("acme/shop#1"), &made["id"]), "one ticket, two errors");
        assert!(s.issues_now()[0].comments[0].content.starts_with("Seen again.\n\n[tb-"), "{:?}", s.issues_now()[0].comments);
        let listed = s.t.get(&format!("/api/0/issues/{other}/integrations/"), token, 200).await;
        let external = &listed[0]["externalIssues"][0];
        assert_eq!(external["id"], made["id"].to_string());
        for (key, value) in [("key", "acme/shop#1"), ("title", "One, and more"), ("displayName", "acme/shop#1"), ("url", &url)] {
            assert_eq!(external[key], value);
        }
        assert!(external["description"].as_str().unwrap().contains("twice"), "refreshed: {external}");
        let activity = s.t.get(&s.org_path(&format!("issues/{other}/")), token, 200).await["activity"].clone();
        let data = activity.as_array().unwrap().iter().find(|entry| entry["type"] == "create_issue").unwrap()["data"].clone();
        assert_eq!((&data["label"], &data["new"], &data["title"]), (&json!("acme/shop#1"), &json!(false), &json!("One, and more")));
        assert_eq!((&external["state"], &external["remoteState"], &external["error"]), (&json!("linked"), &json!("new"), &Value::Null));

        // DELETE.
        assert_eq!(s.t.send("DELETE", &path, token, Value::Null, 400).await["detail"], "External ID required");
        s.t.send("DELETE", &format!("{path}?externalIssue=999999"), token, Value::Null, 404).await;
        s.t.send("DELETE", &format!("{path}?externalIssue=x"), token, Value::Null, 404).await;
        let unlink = format!("?externalIssue={}", made["id"]);
        for _ in 0..2 {
            s.t.send("DELETE", &format!("{other_path}{unlink}"), token, Value::Null, 204).await;
        }
        assert_eq!(s.create(id, form("One"), 201).await["id"], made["id"], "the first error keeps its ticket and its key");
        s.t.send("DELETE", &format!("{path}{unlink}"), token, Value::Null, 204).await;
        s.t.send("DELETE", &format!("{path}{unlink}"), token, Value::Null, 404).await;
        assert_eq!(s.issues_now().len(), 2, "nothing is deleted at Bitbucket");
        let activity = s.t.get(&s.org_path(&format!("issues/{id}/")), token, 200).await["activity"].clone();
        let of_kind = |kind: &str| activity.as_array().unwrap().iter().filter(|a| a["type"] == kind).cloned().collect::<Vec<_>>();
        assert_eq!(of_kind("create_issue").len(), 2);
        let data = &of_kind("create_issue")[1]["data"];
        assert_eq!((&data["label"], &data["new"], &data["provider"], &data["location"]), (&json!("acme/shop#1"), &json!(true), &json!("Bitbucket"), &json!(url)));
    }

    async fn the_search_behind_the_selects(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.create(id, form("Division by zero"), 201).await;
        s.create(id, form("Something else"), 201).await;
        s.bitbucket.create_repository(NewRepository::new("acme", "shop-web")).await.unwrap();
        let base = format!("/extensions/bitbucket/search/acme/{}/", s.integration);
        let token = &s.tenant.token;
        let search = |query: &str| format!("{base}{query}");
        assert_eq!(s.t.get(&search("?query=x"), token, 400).await["detail"], "field is a required parameter");
        assert_eq!(s.t.get(&search("?field=repo"), token, 400).await["detail"], "query is a required parameter");
        assert_eq!(s.t.get(&search("?field=externalIssue&query=x"), token, 400).await["detail"], "repo is a required parameter");
        s.t.get(&search("?field=colour&query=x"), token, 400).await;
        assert_eq!(s.t.get(&search("?field=externalIssue&query=x&repo="), token, 400).await["detail"], "repo is a required parameter");
        s.t.get("/extensions/bitbucket/search/acme/999999/?field=repo&query=", token, 404).await;
        let repos = s.t.get(&search("?field=repo&query=shop"), token, 200).await;
        assert_eq!(repos, json!([{"label": REPO, "value": REPO}, {"label": "acme/shop-web", "value": "acme/shop-web"}]));
        let issues = |query: &str| format!("?field=externalIssue&repo=acme/shop&query={query}");
        assert_eq!(s.t.get(&search(&issues("division")), token, 200).await, json!([{"label": "#1 Division by zero", "value": 1}]));
        assert_eq!(s.t.get(&search(&issues("2")), token, 200).await, json!([{"label": "#2 Something else", "value": 2}]));
        assert_eq!(s.t.get(&search(&issues("a%22%20OR%20%22")), token, 200).await, json!([]), "a quote is no operator");
        s.bitbucket.set_tracker(REPO, Tracker::Off).unwrap();
        let none = s.t.get(&search(&issues("x")), token, 400).await;
        assert_eq!(none, json!({"detail": "Bitbucket Repository has no issue tracker."}));
        let cookie = s.t.session(&s.tenant.owner).await;
        assert!(s.page(&search("?field=repo&query="), &cookie, 200).await.contains(REPO), "also with a session");
        let rival = s.t.tenant("rival").await;
        s.t.get(&search("?field=repo&query="), &rival.token, 404).await;
        s.t.get(&format!("/extensions/bitbucket/search/rival/{}/?field=repo&query=", s.integration), &rival.token, 404).await;
    }

    async fn the_last_used_repository_is_remembered(s) {
        s.bitbucket.create_repository(NewRepository::new("acme", "aardvark")).await.unwrap();
        let (id, _) = group(s, "ZeroDivisionError").await;
        let mut elsewhere = form("There");
        elsewhere["repo"] = json!("acme/aardvark");
        assert_eq!(s.create(id, elsewhere, 201).await["key"], "acme/aardvark#1", "a repository that was not added");
        let (next, _) = group(s, "KeyError").await;
        let config = s.t.get(&format!("{}?action=create", s.path(next)), &s.tenant.token, 200).await;
        assert_eq!(config["createIssueConfig"][0]["default"], "acme/aardvark");
        let mut foreign = form("Not ours");
        foreign["repo"] = json!("globex/secret");
        let refused = s.create(next, foreign, 400).await;
        assert!(refused["repo"][0].as_str().unwrap().contains("connected workspace"), "{refused}");
    }

    // Bitbucket has done the work and its answer is lost: asking again finds it.
    async fn an_answer_that_is_lost_makes_no_second_ticket(s) {
        for (number, action) in [Action::DropAfter, Action::Half, Action::Garbage].into_iter().enumerate() {
            let (id, _) = group(s, &format!("Lost{number}Error")).await;
            s.fault("POST", ISSUES, action.clone());
            let lost = s.create_keyed(id, "k", &form("Lost"), 503).await;
            assert_eq!(lost["detail"], "Something went wrong while communicating with Bitbucket. The issue is being created; ask again shortly.");
            assert_eq!(s.tickets_of(id).await[0].state, tickets::TicketStatus::Pending);
            let made = s.create_keyed(id, "k", &form("Lost"), 201).await;
            assert_eq!(made["key"], format!("acme/shop#{}", number + 1), "{action:?}");
            let again = s.create_keyed(id, "k", &form("whatever"), 201).await;
            assert_eq!(again, made, "the key decides");
        }
        s.time_passes(Duration::from_secs(100)).await;
        s.t.run_jobs().await;
        assert_eq!(s.issues_now().len(), 3);
    }

    async fn the_safety_job_finishes_what_nobody_asks_for_again(s) {
        let cases = [
            Action::DropAfter,
            Action::DropBefore,
            Action::Status { status: 500, retry_after: None, body: None },
            Action::Status { status: 503, retry_after: Some(1), body: None },
            Action::Status { status: 429, retry_after: Some(1), body: None },
        ];
        for (number, action) in cases.into_iter().enumerate() {
            let (id, _) = group(s, &format!("Safe{number}Error")).await;
            s.fault("POST", ISSUES, action.clone());
            s.create(id, form(&format!("Safe {number}")), 503).await;
            s.t.run_jobs().await;
            assert_eq!(s.tickets_of(id).await[0].state, tickets::TicketStatus::Pending, "not before its time");
            s.time_passes(Duration::from_secs(61)).await;
            s.t.forgive_pauses().await;
            s.t.run_jobs().await;
            let linked = s.tickets_of(id).await.remove(0);
            assert_eq!((linked.state, linked.ticket_key.as_deref()), (tickets::TicketStatus::Linked, Some(format!("acme/shop#{}", number + 1).as_str())), "{action:?}");
            // The same job once more, as after a crash.
            let (job, now) = (tickets::FinishCreate { org: s.tenant.org.id, ticket: linked.id, link: linked.link_id }, s.t.app.clock.now());
            s.t.app.db.write(move |tx| Ok::<_, AppError>(jobs::enqueue(tx, &job, now)?)).await.unwrap();
            s.t.run_jobs().await;
            assert_eq!(s.issues_now().len(), number + 1, "{action:?}");
        }
    }

    async fn the_same_request_while_its_ticket_is_pending_answers_that_ticket(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.fault("POST", ISSUES, Action::DropBefore);
        s.create_keyed(id, "k", &form("One"), 503).await;
        // The call may still arrive: nobody makes the ticket again so soon.
        let pending = s.create_keyed(id, "k", &form("One"), 201).await;
        assert_eq!((&pending["id"], &pending["key"]), (&json!(s.tickets_of(id).await[0].id.0), &Value::Null));
        s.time_passes(Duration::from_secs(26)).await;
        let made = s.create_keyed(id, "k", &form("One"), 201).await;
        assert_eq!((&made["id"], &made["key"]), (&pending["id"], &json!("acme/shop#1")));
        assert_eq!(s.issues_now().len(), 1);
    }

    // What a caller may rely on when it asks again: the key decides, and nothing else is looked at.
    async fn a_repeated_request_is_answered_whatever_has_become_of_its_link(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        let (other, _) = group(s, "KeyError").await;
        let made = s.create_keyed(id, "linked", &form("One"), 201).await;
        s.fault("POST", ISSUES, Action::DropBefore);
        s.create_keyed(id, "pending", &form("Two"), 503).await;
        let pending = s.create_keyed(id, "pending", &form("Two"), 201).await;
        assert_eq!(pending["key"], Value::Null);
        let same = async |what: &str| {
            assert_eq!(s.create_keyed(id, "linked", &form("One"), 201).await, made, "{what}");
            assert_eq!(s.create_keyed(id, "pending", &form("Two"), 201).await, pending, "{what}");
            assert_eq!(s.tickets_of(id).await.len(), 2);
        };
        for wrong in [form(""), json!({"title": "One"}), json!({}), {
            let mut wrong = form("One");
            wrong["priority"] = json!("urgent");
            wrong
        }] {
            assert_eq!(s.create_keyed(id, "linked", &wrong, 201).await, made, "{wrong}");
            assert_eq!(s.create_keyed(id, "pending", &wrong, 201).await, pending, "{wrong}");
        }
        let link_is = |status: &'static str| s.t.app.db.write(move |tx| {
            use diesel::RunQueryDsl;
            Ok::<_, AppError>(diesel::sql_query(format!("UPDATE links SET status = '{status}'")).execute(tx.conn())?)
        });
        link_is("broken").await.unwrap();
        same("broken").await;
        s.create_keyed(id, "new", &form("Three"), 503).await;
        link_is("disabled").await.unwrap();
        same("disabled").await;
        // Another error's key is its own; nothing of this one shows.
        for key in ["linked", "pending"] {
            let refused = s.create_keyed(other, key, &form("One"), 400).await;
            assert!(refused.get("key").is_none() && !refused.to_string().contains("acme/shop#"), "{refused}");
        }
        assert!(s.tickets_of(other).await.is_empty());
        link_is("active").await.unwrap();
        let path = s.org_path(&format!("repos/{}/", s.world.repo));
        s.t.send("DELETE", &path, &s.tenant.token, Value::Null, 202).await;
        same("the repository is removed").await;
        link_is("removed").await.unwrap();
        same("disconnected").await;
        // Another tenant finds nothing, by whichever path.
        let rival = s.t.tenant("rival").await;
        let (theirs, _) = crate::scene::group_of(&s.t, &rival, "ZeroDivisionError").await;
        for (org, group) in [("acme", id), ("rival", id), ("rival", theirs)] {
            let path = format!("/api/0/organizations/{org}/issues/{group}/integrations/{}/", s.integration);
            let request = s.t.call("POST", &path, &rival.token).header("Idempotency-Key", "linked");
            answer(request.json(&form("One")), 404).await;
        }
        link_is("active").await.unwrap();
        assert_eq!(s.issues_now().len(), 1);
    }

    async fn who_comes_after_a_crash_takes_over(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.fault("POST", ISSUES, Action::Status { status: 429, retry_after: Some(1), body: None });
        s.create_keyed(id, "k", &form("One"), 503).await;
        // A process that is not there any more holds the claim for three more seconds.
        let until = s.t.app.clock.now().plus(Duration::from_secs(3));
        s.t.app.db.write(move |tx| {
            use diesel::RunQueryDsl;
            diesel::sql_query("UPDATE tickets SET busy_owner = 'dead:1', busy_until = $1").bind::<diesel::sql_types::BigInt, _>(until.0).execute(tx.conn())?;
            Ok::<_, AppError>(())
        }).await.unwrap();
        assert_eq!(s.create_keyed(id, "k", &form("One"), 201).await["key"], "acme/shop#1");
    }

    async fn a_claim_is_renewed_while_its_call_lasts(s) {
        #[derive(diesel::QueryableByName)]
        struct Row { #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::BigInt>)] busy_until: Option<i64> }
        let until = async || s.t.app.db.read(|conn| {
            use diesel::RunQueryDsl;
            Ok::<_, AppError>(diesel::sql_query("SELECT busy_until FROM tickets").get_result::<Row>(conn)?.busy_until)
        }).await.unwrap();
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.fault("POST", ISSUES, Action::HoldAfter { ms: 60_000 });
        let form = form("One");
        let watch = async {
            while s.bitbucket.held() == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let first = until().await.unwrap();
            tokio::time::sleep(Duration::from_secs(6)).await;
            let second = until().await.unwrap();
            s.bitbucket.release_held();
            second - first
        };
        let (made, gained) = tokio::join!(s.create_keyed(id, "k", &form, 201), watch);
        assert_eq!(made["key"], "acme/shop#1");
        assert!(gained > 3_000_000, "{gained} microseconds");
        assert_eq!(until().await, None, "the claim ends with the ticket");
    }

    // The first caller's call is cut off at its limit; the second one has waited longer and finds what was made.
    async fn a_caller_outlasts_the_call_of_another(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.fault("POST", ISSUES, Action::HoldAfter { ms: 60_000 });
        let form = form("One");
        let second = async {
            while s.bitbucket.held() == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            s.create_keyed(id, "k", &form, 201).await
        };
        let (_, second) = tokio::join!(s.create_keyed(id, "k", &form, 503), second);
        assert_eq!(second["key"], "acme/shop#1");
        s.bitbucket.release_held();
        assert_eq!(s.issues_now().len(), 1);
    }

    async fn fields_that_bitbucket_refuses_are_named(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        let refusal = |fields: Value| Action::Status {
            status: 400, retry_after: None,
            body: Some(json!({"type": "error", "error": {"message": "Bad request", "fields": fields}}).to_string()),
        };
        s.fault("POST", ISSUES, refusal(json!({"title": ["Too shouty."], "content.raw": "Too rude.", "component": ["Unknown."]})));
        let refused = s.create_keyed(id, "k", &form("LOUD"), 400).await;
        assert_eq!(refused, json!({"title": ["Too shouty."], "description": ["Too rude."], "non_field_errors": ["component: Unknown."]}));
        assert_eq!(s.tickets_of(id).await[0].last_error.as_deref(), Some("component: Unknown.; description: Too rude.; title: Too shouty."));
        assert_eq!(s.create_keyed(id, "k", &form("quiet"), 201).await["key"], "acme/shop#1");

        let cookie = s.t.session(&s.tenant.owner).await;
        let (other, _) = group(s, "KeyError").await;
        let new = format!("/o/acme/errors/{other}/tickets/new/");
        let html = s.page(&new, &cookie, 200).await;
        let (csrf, key, integration) = (hidden(&html, "csrf"), hidden(&html, "client_key"), hidden(&html, "integration"));
        let fields = [
            ("csrf", csrf.as_str()), ("client_key", key.as_str()), ("integration", integration.as_str()), ("repo", REPO),
            ("title", "LOUD"), ("description", "d"), ("issue_type", "task"), ("priority", "blocker"),
        ];
        s.fault("POST", ISSUES, refusal(json!({"title": ["Too shouty."]})));
        let (status, refused) = s.submit(&new, &cookie, &fields).await;
        assert_eq!(status, 400);
        let beside = refused.split("id=\"create-title-error\"").nth(1).expect("beside the field");
        assert!(beside.split("</p>").next().unwrap().contains("Too shouty."), "{beside}");
        assert!(refused.contains("<option value=\"blocker\" selected") && refused.contains("value=\"LOUD\""), "what was sent stays");
    }

    async fn the_comment_of_a_link_is_posted_once(s) {
        let (first, _) = group(s, "ZeroDivisionError").await;
        s.create(first, form("One"), 201).await;
        let link = json!({"repo": REPO, "externalIssue": 1, "comment": "Same cause."});
        let said = || s.issues_now()[0].comments.iter().filter(|c| c.content.starts_with("Same cause.")).count();
        for (number, (action, at_once)) in [(Action::DropAfter, 1), (Action::DropBefore, 0)].into_iter().enumerate() {
            let before = said();
            let (id, _) = group(s, &format!("Key{number}Error")).await;
            s.fault("POST", "/comments", action.clone());
            s.t.send("PUT", &s.path(id), &s.tenant.token, link.clone(), 201).await;
            assert_eq!(said() - before, at_once, "{action:?}");
            let again = s.t.send("PUT", &s.path(id), &s.tenant.token, link.clone(), 400).await;
            assert_eq!(again, json!({"non_field_errors": ["That issue is already linked"]}));
            s.time_passes(Duration::from_secs(61)).await;
            s.t.run_jobs().await;
            assert_eq!(said() - before, 1, "{action:?}: by its job, which looks for the marker");
        }
        // A refusal keeps the link and stands beside it; the button tries again.
        let before = said();
        let (id, _) = group(s, "RefusedError").await;
        s.fault("POST", "/comments", Action::Status { status: 403, retry_after: None, body: None });
        s.t.send("PUT", &s.path(id), &s.tenant.token, link.clone(), 201).await;
        let ticket = s.tickets_of(id).await.remove(0);
        assert!(ticket.last_error.as_deref().unwrap().starts_with("The comment could not be added."), "{ticket:?}");
        s.time_passes(Duration::from_secs(61)).await;
        s.t.run_jobs().await;
        assert_eq!(said(), before, "a refused comment has no job");
        s.retry(id, ticket.id, "in step again").await;
        assert_eq!(said() - before, 1);
        assert_eq!(s.tickets_of(id).await[0].last_error, None);
    }

    // The job is posting, slowly, when a person presses the button; where several processes share a database the job
    // runs in another one.
    async fn the_button_beside_the_job_makes_one_comment(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.create(id, form("One"), 201).await;
        let ticket = s.tickets_of(id).await.remove(0).id;
        let other = match s.t.app.db.url().is_sqlite() {
            true => None,
            false => Some(s.t.beside().await),
        };
        let app = other.as_ref().unwrap_or(&s.t.app);
        s.fault("POST", "/comments", Action::Slow { ms: 3_000 });
        s.bitbucket.clear_calls();
        s.set_status(id, "resolved").await;
        let runner = tracebucket::worker::runner(app);
        let pressed = async {
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            s.retry(id, ticket, "Not yet.").await;
        };
        let (ran, ()) = tokio::join!(runner.run_until_idle(), pressed);
        assert_eq!(ran.unwrap(), 1);
        let issue = s.issues_now().remove(0);
        assert_eq!((issue.state.as_str(), issue.comments.len()), ("resolved", 1), "{:?}", issue.comments);
        let posted = s.bitbucket.call_counts().into_iter().filter(|(call, _)| call.starts_with("POST") && call.ends_with("/comments"));
        assert_eq!(posted.map(|(_, count)| count).sum::<u64>(), 1);
        s.retry(id, ticket, "in step again").await;
        assert_eq!(s.issues_now()[0].comments.len(), 1);
    }

    async fn a_refused_change_of_state_is_shown_and_can_be_tried_again(s) {
        let cookie = s.t.session(&s.tenant.owner).await;
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.create(id, form("One"), 201).await;
        let error = format!("/o/acme/errors/{id}/");
        let list = s.org_path(&format!("issues/{id}/integrations/"));
        assert!(!s.page(&error, &cookie, 200).await.contains("/retry/"));
        s.fault("PUT", ISSUES, Action::Status { status: 403, retry_after: None, body: None });
        s.set_status(id, "resolved").await;
        s.t.run_jobs().await;
        let ticket = s.tickets_of(id).await.remove(0);
        let page = shown(&s.page(&error, &cookie, 200).await);
        assert!(page.contains("lacks a permission") && page.contains(&format!("/tickets/{}/retry/", ticket.id)), "{page}");
        let told = s.t.get(&list, &s.tenant.token, 200).await[0]["externalIssues"][0].clone();
        assert_eq!((&told["state"], &told["remoteState"]), (&json!("linked"), &json!("new")));
        assert!(told["error"].as_str().unwrap().contains("lacks a permission"), "{told}");

        s.fault("PUT", ISSUES, Action::Status { status: 403, retry_after: None, body: None });
        s.retry(id, ticket.id, "lacks a permission").await;
        s.fault("PUT", ISSUES, Action::Status { status: 429, retry_after: Some(9), body: None });
        s.retry(id, ticket.id, "Not yet.").await;
        s.t.forgive_pauses().await;
        s.retry(id, ticket.id, "acme/shop#1 is in step again.").await;
        let issue = s.issues_now().remove(0);
        assert_eq!((issue.state.as_str(), issue.comments.len()), ("resolved", 1), "one comment for all the tries");
        let told = s.t.get(&list, &s.tenant.token, 200).await[0]["externalIssues"][0].clone();
        assert_eq!((&told["remoteState"], &told["error"]), (&json!("resolved"), &Value::Null));

        // A tracker that was switched off, and is back.
        s.bitbucket.set_tracker(REPO, Tracker::Off).unwrap();
        s.set_status(id, "unresolved").await;
        s.t.run_jobs().await;
        assert_eq!(s.tickets_of(id).await[0].state, tickets::TicketStatus::Gone);
        s.retry(id, ticket.id, "no issue tracker").await;
        assert_eq!(s.tickets_of(id).await[0].state, tickets::TicketStatus::Gone);
        s.bitbucket.set_tracker(REPO, Tracker::On).unwrap();
        s.retry(id, ticket.id, "in step again").await;
        let issue = s.issues_now().remove(0);
        assert_eq!((issue.state.as_str(), issue.comments.len()), ("open", 2));
        let rival = s.t.tenant("rival").await;
        let theirs = s.t.session(&rival.owner).await;
        let csrf = hidden(&s.page("/o/rival/errors/", &theirs, 200).await, "csrf");
        assert_eq!(s.submit(&format!("{error}tickets/{}/retry/", ticket.id), &theirs, &[("csrf", &csrf)]).await.0, 404);
    }

    async fn two_callers_of_one_key_get_one_ticket(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.fault("POST", ISSUES, Action::HoldAfter { ms: 60_000 });
        let (form, release) = (form("One"), async {
            while s.bitbucket.held() == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            s.bitbucket.release_held();
        });
        let (one, two, ()) = tokio::join!(s.create_keyed(id, "k", &form, 201), s.create_keyed(id, "k", &form, 201), release);
        assert_eq!(one, two);
        assert_eq!(s.issues_now().len(), 1);
        s.fault("POST", ISSUES, Action::Slow { ms: 700 });
        s.create_keyed(id, "slow", &form, 201).await;
        assert_eq!(s.issues_now().len(), 2, "another key is another ticket");
    }

    async fn what_bitbucket_refuses_is_said_and_can_be_tried_again(s) {
        let refusal = |status| Action::Status { status, retry_after: None, body: None };
        for status in [400, 403, 404] {
            let (id, _) = group(s, &format!("Refused{status}Error")).await;
            s.fault("POST", ISSUES, refusal(status));
            let refused = s.create_keyed(id, "k", &form("Refused"), 400).await;
            assert!(refused["non_field_errors"][0].as_str().unwrap().len() > 20, "{refused}");
            let failed = s.tickets_of(id).await.remove(0);
            assert_eq!(failed.state, tickets::TicketStatus::Failed);
            assert!(failed.last_error.is_some());
            s.time_passes(Duration::from_secs(100)).await;
            let before = s.issues_now().len();
            s.t.run_jobs().await;
            assert_eq!(s.issues_now().len(), before, "its safety job is gone");
            assert_eq!(s.create_keyed(id, "k", &form("Corrected"), 201).await["id"], failed.id.0);
            assert_eq!(s.issues_now().last().unwrap().title, "Corrected");
        }
        let (id, _) = group(s, "GoneError").await;
        for (tracker, expected) in [(Tracker::Off, "no issue tracker"), (Tracker::Removed, "removed")] {
            s.bitbucket.set_tracker(REPO, tracker).unwrap();
            let refused = s.create(id, form("Gone"), 400).await;
            assert!(refused["non_field_errors"][0].as_str().unwrap().contains(expected), "{refused}");
        }
    }

    async fn a_refusal_after_a_lost_answer_still_finds_what_was_made(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.fault("POST", ISSUES, Action::DropAfter);
        s.create_keyed(id, "k", &form("One"), 503).await;
        s.fault("GET", ISSUES, Action::Status { status: 403, retry_after: None, body: None });
        s.create_keyed(id, "k", &form("One"), 400).await;
        assert_eq!(s.tickets_of(id).await[0].state, tickets::TicketStatus::Failed);
        assert_eq!(s.create_keyed(id, "k", &form("Changed"), 201).await["key"], "acme/shop#1");
        assert_eq!(s.issues_now().len(), 1);
    }

    async fn a_ticket_follows_its_error(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        s.create(id, form("One"), 201).await;
        s.commit("", "Start").await;
        let hash = s.commit("", &format!("Fixes {short}")).await;
        assert_eq!(s.group_status(id).await, "resolved");
        let issue = s.issues_now().remove(0);
        assert_eq!(issue.state, "resolved");
        assert_eq!(issue.comments.len(), 1);
        let said = &issue.comments[0].content;
        for part in [short.as_str(), &hash[..12], "Mei Tanaka", REPO, &format!("/acme/shop/commits/{hash}"), "[tb-"] {
            assert!(said.contains(part), "{part} in {said}");
        }
        let told = |group| tickets::SyncStatus { org: s.tenant.org.id, group };
        let again = |job: tickets::SyncStatus| {
            let now = s.t.app.clock.now();
            s.t.app.db.write(move |tx| Ok::<_, AppError>(jobs::enqueue(tx, &job, now)?))
        };
        again(told(id)).await.unwrap();
        s.t.run_jobs().await;
        assert_eq!(s.issues_now()[0].comments.len(), 1, "told once");

        crash(&s.t, &s.tenant, "ZeroDivisionError", Some("shop@2.0.0")).await;
        s.t.run_jobs().await;
        let issue = s.issues_now().remove(0);
        assert_eq!((issue.state.as_str(), issue.comments.len()), ("open", 2));
        assert!(issue.comments[1].content.contains("in release shop@2.0.0"), "{}", issue.comments[1].content);
        again(told(id)).await.unwrap();
        s.t.run_jobs().await;
        assert_eq!(s.issues_now()[0].comments.len(), 2);

        // By hand, and a ticket that a person closed in another way is left as it is.
        s.set_status(id, "resolved").await;
        s.t.run_jobs().await;
        assert_eq!((s.issues_now()[0].state.as_str(), s.issues_now()[0].comments.len()), ("resolved", 3));
        s.set_status(id, "ignored").await;
        s.t.run_jobs().await;
        assert_eq!(s.issues_now()[0].comments.len(), 3, "ignoring says nothing");
    }

    async fn a_comment_whose_answer_is_lost_is_posted_once(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.create(id, form("One"), 201).await;
        for (round, action) in [Action::DropAfter, Action::Half, Action::Status { status: 500, retry_after: None, body: None }].into_iter().enumerate() {
            s.fault("POST", "/comments", action);
            s.set_status(id, if round % 2 == 0 { "resolved" } else { "unresolved" }).await;
            s.t.run_jobs().await;
            s.time_passes(Duration::from_secs(60)).await;
            s.t.run_jobs().await;
            let issue = s.issues_now().remove(0);
            assert_eq!(issue.comments.len(), round + 1);
            assert_eq!(issue.state, if round % 2 == 0 { "resolved" } else { "open" });
        }
    }

    async fn what_an_uninstall_left_undone_is_done_after_the_return(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.create(id, form("One"), 201).await;
        s.create(id, form("Two"), 201).await;
        let (other, _) = group(s, "KeyError").await;
        let link = json!({"repo": REPO, "externalIssue": 2, "comment": "Same cause."});
        s.fault("POST", "/comments", Action::Status { status: 429, retry_after: Some(1), body: None });
        s.t.send("PUT", &s.path(other), &s.tenant.token, link, 201).await;
        assert_eq!(s.bitbucket.uninstall(&s.client_key).await.unwrap().0, 200);
        s.set_status(id, "resolved").await;
        s.t.run_jobs().await;
        assert!(s.tickets_of(id).await.iter().all(|ticket| ticket.last_error.is_some()), "nobody could tell them");
        let resume = async || {
            s.time_passes(Duration::from_secs(700)).await;
            let now = s.t.app.clock.now();
            s.t.app.db.write(move |tx| Ok::<_, AppError>(jobs::enqueue(tx, &tickets::ResumePending::default(), now)?)).await.unwrap();
            s.t.run_jobs().await;
        };
        resume().await;
        assert!(s.issues_now().iter().all(|issue| issue.comments.is_empty() && issue.state == "new"));
        install(&s.t, &s.bitbucket, "acme").await;
        s.t.run_jobs().await;
        for _ in 0..2 {
            resume().await;
            let issues = s.issues_now();
            let counts: Vec<_> = issues.iter().map(|issue| (issue.state.as_str(), issue.comments.len())).collect();
            assert_eq!(counts, [("resolved", 1), ("resolved", 2)], "{issues:?}");
        }
        assert!(s.tickets_of(id).await.iter().all(|ticket| ticket.last_error.is_none()));
    }

    async fn a_change_during_its_own_sync_reaches_the_ticket(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.create(id, form("One"), 201).await;
        s.bitbucket.add_fault(Fault::once("PUT", ISSUES, Action::HoldAfter { ms: 30_000 }));
        s.set_status(id, "resolved").await;
        let change = async {
            while s.bitbucket.held() == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            s.set_status(id, "unresolved").await;
            s.bitbucket.release_held();
        };
        tokio::join!(s.t.run_jobs(), change);
        s.t.run_jobs().await;
        let issue = s.issues_now().remove(0);
        assert_eq!((issue.state.as_str(), issue.comments.len()), ("open", 2), "{:?}", issue.comments);
    }

    async fn a_change_after_a_crash_in_its_sync_reaches_the_ticket(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.create(id, form("One"), 201).await;
        // The state is set at Bitbucket and nobody lives to note it; meanwhile somebody opens the error again.
        s.fault("PUT", ISSUES, Action::DropAfter);
        s.set_status(id, "resolved").await;
        s.t.run_jobs().await;
        assert_eq!(s.issues_now()[0].state, "resolved");
        s.set_status(id, "unresolved").await;
        s.time_passes(Duration::from_secs(60)).await;
        s.t.run_jobs().await;
        let issue = s.issues_now().remove(0);
        assert_eq!((issue.state.as_str(), issue.comments.len()), ("open", 2));
    }

    async fn a_ticket_that_is_gone_stays_as_a_reference(s) {
        let token = s.bitbucket.create_token(&NewToken { workspace: "acme".into(), scopes: vec!["issue:write".into()], expires_in: None }).unwrap();
        let cookie = s.t.session(&s.tenant.owner).await;
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.create(id, form("One"), 201).await;
        s.create(id, form("Two"), 201).await;
        let issue = format!("{}/2.0/repositories/acme/shop/issues/1", s.bitbucket.url());
        answer(s.t.http.delete(&issue).bearer_auth(token.expose()), 204).await;
        s.set_status(id, "resolved").await;
        s.t.run_jobs().await;
        let tickets = s.tickets_of(id).await;
        assert_eq!(tickets[0].state, tickets::TicketStatus::Gone);
        assert_eq!(tickets[1].state, tickets::TicketStatus::Linked, "the other one was told");
        assert_eq!(s.issues_now()[0].state, "resolved");
        s.bitbucket.set_tracker(REPO, Tracker::Removed).unwrap();
        s.set_status(id, "unresolved").await;
        s.t.run_jobs().await;
        assert_eq!(s.tickets_of(id).await[1].state, tickets::TicketStatus::Gone);
        let page = shown(&s.page(&format!("/o/acme/errors/{id}/"), &cookie, 200).await);
        assert!(page.contains("The issue was deleted in Bitbucket.") && page.contains("stay as references"), "{page}");
    }

    async fn a_ticket_finds_its_repository_after_a_rename(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.create(id, form("One"), 201).await;
        let mut body = s.payload(json!({}));
        body["repository"]["full_name"] = json!("acme/store");
        assert_eq!(s.hook("repo:updated", &body).send().await.unwrap().status(), 204);
        tracebucket::features::deliveries::drain(s.t.app.clone(), tracebucket::kit::jobs::Stop::never()).await.unwrap();
        s.set_status(id, "resolved").await;
        s.t.run_jobs().await;
        assert_eq!(s.issues_now()[0].state, "resolved");
    }

    async fn a_pending_ticket_of_a_removed_app_ends_with_a_reason(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        s.fault("POST", ISSUES, Action::Status { status: 500, retry_after: None, body: None });
        s.create(id, form("One"), 503).await;
        assert_eq!(s.bitbucket.uninstall(&s.client_key).await.unwrap().0, 200);
        s.time_passes(Duration::from_secs(700)).await;
        s.t.run_jobs().await;
        assert_eq!(s.tickets_of(id).await[0].state, tickets::TicketStatus::Pending, "its job went with the link");
        let now = s.t.app.clock.now();
        s.t.app.db.write(move |tx| Ok::<_, AppError>(jobs::enqueue(tx, &tickets::ResumePending::default(), now)?)).await.unwrap();
        s.t.run_jobs().await;
        let ended = s.tickets_of(id).await.remove(0);
        assert_eq!(ended.state, tickets::TicketStatus::Failed);
        assert!(ended.last_error.unwrap().contains("removed the app"));
        assert_eq!(s.issues_now().len(), 0);
    }

    async fn another_tenant_sees_and_changes_nothing(s) {
        let (id, _) = group(s, "ZeroDivisionError").await;
        let made = s.create(id, form("One"), 201).await;
        let rival = s.t.tenant("rival").await;
        let (theirs, _) = crate::scene::group_of(&s.t, &rival, "ZeroDivisionError").await;
        for base in [s.path(id), format!("/api/0/issues/{id}/integrations/{}/", s.integration), format!("/api/0/organizations/rival/issues/{theirs}/integrations/{}/", s.integration)] {
            s.t.get(&format!("{base}?action=create"), &rival.token, 404).await;
            s.t.send("POST", &base, &rival.token, form("Mine"), 404).await;
            s.t.send("PUT", &base, &rival.token, json!({"repo": REPO, "externalIssue": 1}), 404).await;
            s.t.send("DELETE", &format!("{base}?externalIssue={}", made["id"]), &rival.token, Value::Null, 404).await;
        }
        s.t.get(&format!("/api/0/issues/{id}/integrations/"), &rival.token, 404).await;
        assert_eq!(s.issues_now().len(), 1);
        assert_eq!(s.tickets_of(id).await.len(), 1);
    }

    async fn the_console_does_it_all_without_scripts(s) {
        let (id, short) = group(s, "ZeroDivisionError").await;
        let cookie = s.t.session(&s.tenant.owner).await;
        let error = format!("/o/acme/errors/{id}/");
        let start = shown(&s.page(&error, &cookie, 200).await);
        assert!(start.contains("No ticket yet") && start.contains("dialog") && start.contains("shop/cart.py"), "{start}");
        let event = start.split("/json/").next().unwrap().rsplit("/events/").next().unwrap().to_owned();
        s.page(&format!("{error}events/{event}/"), &cookie, 200).await;
        s.page(&format!("{error}events/999999/"), &cookie, 404).await;
        s.page(&format!("{error}events/x/"), &cookie, 404).await;

        // Create: refused once, then as it should be, then the same form again.
        let new = format!("{error}tickets/new/");
        let html = s.page(&new, &cookie, 200).await;
        let (csrf, key, integration) = (hidden(&html, "csrf"), hidden(&html, "client_key"), hidden(&html, "integration"));
        assert!(shown(&html).contains(&format!("Sentry Issue: [{short}]")));
        let fields = |title: &'static str| vec![
            ("csrf", csrf.as_str()), ("client_key", key.as_str()), ("integration", integration.as_str()), ("repo", REPO),
            ("title", title), ("description", "Typed <by> hand"), ("issue_type", "task"), ("priority", "blocker"),
        ];
        let (status, refused) = s.submit(&new, &cookie, &fields("")).await;
        assert_eq!(status, 400);
        assert!(shown(&refused).contains("A title is required.") && refused.contains("Typed &lt;by&gt; hand"), "{refused}");
        s.fault("POST", ISSUES, Action::Status { status: 403, retry_after: None, body: None });
        let (status, refused) = s.submit(&new, &cookie, &fields("Typed")).await;
        assert_eq!((status, hidden(&refused, "client_key")), (400, key.clone()));
        let failed = shown(&s.page(&error, &cookie, 200).await);
        assert!(failed.contains("Not created in acme/shop") && failed.contains("Try again"), "{failed}");
        let list = shown(&s.page("/o/acme/errors/", &cookie, 200).await);
        assert!(list.contains(&short), "{list}");

        s.fault("POST", ISSUES, Action::DropAfter);
        let ticket = s.tickets_of(id).await[0].id;
        let retry = format!("{error}tickets/{ticket}/retry/");
        assert_eq!(s.submit(&retry, &cookie, &[("csrf", &csrf)]).await.0, 303);
        let pending = shown(&s.page(&error, &cookie, 200).await);
        assert!(pending.contains("Being created in acme/shop") && pending.contains("data-poll"), "{pending}");
        let unlink = format!("{error}tickets/{ticket}/unlink/");
        assert_eq!(s.submit(&unlink, &cookie, &[("csrf", &csrf)]).await.0, 303, "not while it is being created");
        assert_eq!(s.tickets_of(id).await.len(), 1);
        for _ in 0..2 {
            let (status, text) = s.submit(&new, &cookie, &fields("Typed")).await;
            assert_eq!(status, 303, "{text}");
        }
        let issue = s.issues_now();
        assert_eq!(issue.len(), 1);
        assert_eq!((issue[0].title.as_str(), issue[0].kind.as_str(), issue[0].priority.as_str()), ("Typed", "task", "blocker"));
        let done = shown(&s.page(&error, &cookie, 200).await);
        assert!(done.contains("acme/shop#1") && done.contains("/acme/shop/issues/1") && done.contains("created"), "{done}");
        assert!(shown(&s.page("/o/acme/errors/", &cookie, 200).await).contains("acme/shop#1"), "a badge in the list");

        // Link, unlink.
        let (other, _) = group(s, "KeyError").await;
        let link = format!("/o/acme/errors/{other}/tickets/link/");
        let html = s.page(&link, &cookie, 200).await;
        let (csrf, key) = (hidden(&html, "csrf"), hidden(&html, "client_key"));
        let fields = |number: &'static str| vec![
            ("csrf", csrf.as_str()), ("client_key", key.as_str()), ("integration", integration.as_str()), ("repo", REPO),
            ("external_issue", number), ("comment", "Same cause."),
        ];
        for (number, expected) in [("", "Issue ID is required"), ("words", "not the number of an issue"), ("99", "no such issue")] {
            let (status, refused) = s.submit(&link, &cookie, &fields(number)).await;
            assert_eq!(status, 400);
            assert!(shown(&refused).contains(expected), "{refused}");
        }
        s.fault("GET", ISSUES, Action::Status { status: 429, retry_after: Some(30), body: None });
        assert_eq!(s.submit(&link, &cookie, &fields("1")).await.0, 503);
        s.t.forgive_pauses().await;
        assert_eq!(s.submit(&link, &cookie, &fields("#1")).await.0, 303);
        let (status, twice) = s.submit(&link, &cookie, &fields("1")).await;
        assert_eq!(status, 400);
        assert!(shown(&twice).contains("already linked to this error"));
        assert_eq!(s.issues_now()[0].comments.len(), 1);
        let path = format!("/o/acme/errors/{other}/tickets/{ticket}/unlink/");
        assert_eq!(s.submit(&path, &cookie, &[("csrf", "x")]).await.0, 403);
        assert_eq!(s.submit(&path, &cookie, &[("csrf", &csrf)]).await.0, 303);
        assert_eq!(s.submit(&path, &cookie, &[("csrf", &csrf)]).await.0, 404);
        assert_eq!(s.tickets_of(id).await.len(), 1, "the first error keeps it");

        let rival = s.t.tenant("rival").await;
        let theirs = s.t.session(&rival.owner).await;
        for path in [&error, &new, &link] {
            s.page(path, &theirs, 404).await;
        }
        let (mine, _) = crate::scene::group_of(&s.t, &rival, "ZeroDivisionError").await;
        let none = shown(&s.page(&format!("/o/rival/errors/{mine}/tickets/new/"), &theirs, 200).await);
        assert!(none.contains("Connect a Bitbucket workspace"), "{none}");
    }
}
