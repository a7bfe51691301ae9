//! A NUL, which PostgreSQL takes in no text: both databases answer alike.

use serde_json::json;

use crate::scene::{REPO, crash, group, scenes};
use crate::support::both;
use crate::support::sdk::auth;
use crate::support::world::hidden;

scenes! {
    async fn a_nul_in_a_body_is_refused_or_left_out(s) {
        let (id, _) = group(s, "NulError").await;
        let (token, nul) = (&s.tenant.token, "a\0b");
        let issue = s.org_path(&format!("issues/{id}/"));
        let bodies = [
            ("POST", s.org_path("projects/"), json!({"name": nul, "slug": "x"})),
            ("PUT", issue.clone(), json!({"status": nul})),
            ("PUT", issue.clone(), json!({"statusDetails": {"inRelease": nul}, "status": "resolved"})),
            ("PUT", s.org_path("issues/?id=1"), json!({"assignedTo": nul})),
            ("POST", format!("{issue}comments/"), json!({"text": nul})),
            ("POST", s.ticket_path(&id.to_string()), json!({"repo": REPO, "title": nul})),
            ("PUT", s.ticket_path(&id.to_string()), json!({"repo": REPO, "externalIssue": nul})),
            ("POST", s.org_path("repos/"), json!({"provider": "integrations:bitbucket", "installation": s.integration, "identifier": nul})),
            ("PUT", s.org_path(&format!("repos/{}/", s.repo)), json!({"name": nul})),
            ("POST", s.org_path(&format!("integrations/{}/", s.integration)), json!({nul: nul})),
        ];
        for (method, path, body) in bodies {
            let answer = s.t.send(method, &path, token, body, 400).await;
            assert!(answer["detail"].as_str().unwrap().contains("holds a NUL"), "{path}: {answer}");
        }
        let cookie = s.t.session(&s.tenant.owner).await;
        let page = s.t.http.get(s.t.url(&format!("/o/acme/errors/{id}/"))).header("Cookie", &cookie).send().await.unwrap();
        let form = [("csrf", hidden(&page.text().await.unwrap(), "csrf")), ("text", nul.to_owned())];
        let note = s.t.http.post(s.t.url(&format!("/o/acme/errors/{id}/notes/"))).header("Cookie", &cookie).header("Origin", &s.t.base).form(&form);
        let refused = note.send().await.unwrap();
        assert_eq!(refused.status(), 400);
        assert!(refused.text().await.unwrap().contains("holds a NUL"));

        crash(&s.t, &s.tenant, nul, Some(nul)).await;
        let change = json!({"new": {"type": "branch", "name": nul, "target": {"hash": "a".repeat(40)}}, "old": null, "closed": false, "forced": false, "truncated": false,
            "commits": [{"hash": "a".repeat(40), "message": nul, "date": "2026-01-01T00:00:00+00:00", "author": {"raw": "A\0 <a@b\0>"}}]});
        let hook = s.hook("repo:push", &s.payload(json!({"push": {"changes": [change]}})));
        assert_eq!(hook.send().await.unwrap().status(), 204);
        s.settle().await;
        let (_, state, error, _) = s.deliveries().await.pop().unwrap();
        assert_eq!(state, "done", "{error:?}");
    }
}

both! {
    async fn a_nul_in_a_url_is_found_nowhere(t) {
        let a = t.tenant("acme").await;
        for path in [
            "/api/0/organizations/a%00b/issues/", "/api/0/organizations/acme/issues/%00/", "/api/0/organizations/acme/issues/1%00/events/latest/",
            "/api/0/projects/acme/sh%00op/events/", "/api/0/organizations/acme/shortids/ACME%00-1/", "/api/0/organizations/acme/repos/%00/commits/",
            "/o/%00/errors", "/extensions/bitbucket/organizations/%00/webhook/",
        ] {
            t.get(path, &a.token, 404).await;
        }
        t.get("/api/0/organizations/acme/issues/?query=a%00b", &a.token, 400).await;
        let response = t.http.post(t.url("/api/%00/envelope/")).header("X-Sentry-Auth", auth(&a)).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 404);
    }
}
