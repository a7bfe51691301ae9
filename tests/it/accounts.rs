//! People and tokens: first owner, sign-in, settings, scopes.

use serde_json::json;
use tracebucket::error::AppError;
use tracebucket::features::accounts::{self, Flash, Role};
use tracebucket::features::audit;

use crate::support::world::hidden;
use crate::support::{Backend, Options, TestApp, both};

/// GET of a page as a browser would.
async fn page(t: &TestApp, path: &str, cookie: &str) -> reqwest::Response {
    t.http
        .get(t.url(path))
        .header("accept", "text/html")
        .header("cookie", cookie)
        .send()
        .await
        .unwrap()
}

/// POST of a form of ours.
async fn post(t: &TestApp, path: &str, cookie: &str, form: &[(&str, &str)]) -> reqwest::Response {
    t.http
        .post(t.url(path))
        .header("accept", "text/html")
        .header("cookie", cookie)
        .header("origin", &t.base)
        .form(form)
        .send()
        .await
        .unwrap()
}

async fn text(response: reqwest::Response) -> String {
    response.text().await.unwrap()
}

/// Invites from the settings page; answers the path of the link that it shows.
async fn invite(t: &TestApp, cookie: &str, csrf: &str, email: &str, role: &str) -> String {
    let form = [("email", email), ("role", role), ("csrf", csrf)];
    let made = post(t, "/o/acme/settings/invitations/", cookie, &form).await;
    assert_eq!(made.status(), 200);
    let html = text(made).await;
    let start = html.find("/join/?code=").expect("the link is shown");
    html[start..]
        .chars()
        .take_while(|c| !"<\"& \n".contains(*c))
        .collect()
}

async fn sign_in_csrf(t: &TestApp) -> String {
    hidden(&text(page(t, "/sign-in/", "").await).await, "csrf")
}

async fn user_id(t: &TestApp, email: &'static str) -> String {
    let user = t
        .app
        .db
        .read(move |conn| Ok::<_, AppError>(accounts::user_by_email(conn, email)?));
    user.await.unwrap().unwrap().id.to_string()
}

fn location(response: &reqwest::Response) -> &str {
    response.headers()["location"].to_str().unwrap()
}

fn session_of(response: &reqwest::Response) -> String {
    response
        .headers()
        .get_all("set-cookie")
        .iter()
        .filter_map(|value| value.to_str().ok()?.split(';').next())
        .find(|cookie| cookie.starts_with("tracebucket="))
        .expect("a session cookie")
        .to_owned()
}

both! {
    async fn the_first_owner_needs_the_code_of_the_terminal_and_the_page_is_gone_afterwards(t) {
        assert_eq!(location(&page(&t, "/", "").await), "/welcome/");
        let html = page(&t, "/welcome/", "").await.text().await.unwrap();
        let csrf = hidden(&html, "csrf");
        let form = |code: &'static str| {
            vec![("org_name", "Acme"), ("org_slug", "acme"), ("email", "Ada@Acme.example"),
                 ("password", "a long enough password"), ("code", code)]
        };
        let mut wrong = form("0000");
        wrong.push(("csrf", &csrf));
        let refused = post(&t, "/welcome/", "", &wrong).await;
        assert_eq!(refused.status(), 400);
        assert!(refused.text().await.unwrap().contains("not the code"));

        let code = accounts::first_owner_code(&t.app).await.unwrap().unwrap();
        let mut right = form("");
        right.pop();
        right.push(("code", &code));
        right.push(("csrf", &csrf));
        let welcome = post(&t, "/welcome/", "", &right).await;
        assert_eq!(welcome.status(), 303);
        let cookie = session_of(&welcome);
        assert_eq!(page(&t, "/o/acme/settings/", &cookie).await.status(), 200);

        assert_eq!(page(&t, "/welcome/", "").await.status(), 404);
        assert_eq!(post(&t, "/welcome/", "", &right).await.status(), 404);
    }

    async fn signing_in_and_out(t) {
        let hash = accounts::hash_password(tracebucket::kit::crypto::Secret::new("correct horse battery".into())).await.unwrap();
        let tenant = t.tenant("acme").await;
        let (org, now) = (tenant.org.id, t.app.clock.now());
        t.app.db.write(move |tx| accounts::create_member(tx, org, "bob@acme.example", "Bob", &hash, Role::Member, now)).await.unwrap();

        let to_sign_in = page(&t, "/o/acme/settings/", "").await;
        assert_eq!(to_sign_in.status(), 303);
        assert_eq!(location(&to_sign_in), "/sign-in/?next=%2Fo%2Facme%2Fsettings%2F");
        let html = page(&t, "/sign-in/?next=/o/acme/settings/", "").await.text().await.unwrap();
        let csrf = hidden(&html, "csrf");
        for (email, password) in [("bob@acme.example", "wrong password"), ("nobody@acme.example", "correct horse battery")] {
            let refused = post(&t, "/sign-in/", "", &[("email", email), ("password", password), ("csrf", &csrf)]).await;
            assert_eq!(refused.status(), 400);
            assert!(refused.text().await.unwrap().contains("do not match"));
        }
        let form = [("email", "Bob@acme.example"), ("password", "correct horse battery"), ("next", "/o/acme/settings/"), ("csrf", csrf.as_str())];
        let signed_in = post(&t, "/sign-in/", "", &form).await;
        assert_eq!(location(&signed_in), "/o/acme/settings/");
        let cookie = session_of(&signed_in);
        let settings = page(&t, "/o/acme/settings/", &cookie).await;
        assert_eq!(settings.status(), 200);
        let csrf = hidden(&settings.text().await.unwrap(), "csrf");
        let out = post(&t, "/sign-out/", &cookie, &[("csrf", &csrf)]).await;
        assert_eq!(location(&out), "/sign-in/");
        assert_eq!(page(&t, "/o/acme/settings/", &cookie).await.status(), 303, "the session is over on the server too");
    }

    async fn too_many_tries_are_refused(t) {
        let csrf = hidden(&{ t.tenant("acme").await; page(&t, "/sign-in/", "").await.text().await.unwrap() }, "csrf");
        let mut last = 0;
        for _ in 0..12 {
            let form = [("email", "owner@acme.example"), ("password", "guess"), ("csrf", csrf.as_str())];
            last = post(&t, "/sign-in/", "", &form).await.status().as_u16();
        }
        assert_eq!(last, 429);
    }

    async fn a_form_from_elsewhere_changes_nothing(t) {
        let tenant = t.tenant("acme").await;
        let cookie = t.session(&tenant.owner).await;
        let csrf = hidden(&page(&t, "/o/acme/settings/", &cookie).await.text().await.unwrap(), "csrf");
        let other_session = t.session(&tenant.owner).await;
        let send = |cookie: String, origin: Option<&'static str>, csrf: String| {
            let request = t.http.post(t.url("/o/acme/settings/tokens/")).header("cookie", cookie)
                .form(&[("name", "evil"), ("scopes", "org:read"), ("csrf", csrf.as_str())]);
            match origin {
                Some(origin) => request.header("origin", origin).send(),
                None => request.header("origin", &t.base).send(),
            }
        };
        assert_eq!(send(cookie.clone(), Some("https://evil.example"), csrf.clone()).await.unwrap().status(), 403);
        assert_eq!(send(cookie.clone(), None, "nonsense".into()).await.unwrap().status(), 403);
        assert_eq!(send(other_session, None, csrf.clone()).await.unwrap().status(), 403, "the token is of another session");
        assert_eq!(send(cookie.clone(), None, csrf).await.unwrap().status(), 200);
        let html = page(&t, "/o/acme/settings/", &cookie).await.text().await.unwrap();
        // The one that the tenant began with, and one more.
        assert_eq!(html.matches("/revoke/").count(), 2);
    }

    async fn a_token_shown_once_works_until_it_is_revoked(t) {
        let tenant = t.tenant("acme").await;
        let cookie = t.session(&tenant.owner).await;
        let html = page(&t, "/o/acme/settings/", &cookie).await.text().await.unwrap();
        let csrf = hidden(&html, "csrf");
        let made = post(&t, "/o/acme/settings/tokens/", &cookie, &[
            ("name", "ci"), ("scopes", "org:read"), ("scopes", "project:releases"), ("csrf", &csrf),
        ]).await.text().await.unwrap();
        let start = made.find("sntrys_ey").expect("the token is shown");
        let token: String = made[start..].chars().take_while(|c| !"<\"& \n".contains(*c)).collect();
        let who = t.get("/api/0/", &token, 200).await;
        assert_eq!(who["auth"]["scopes"], json!(["org:read", "project:releases"]));
        assert_eq!(who["user"], json!(null));
        let html = page(&t, "/o/acme/settings/", &cookie).await.text().await.unwrap();
        assert!(!html.contains(&token), "never shown again");
        let revoke = html.split("action=\"").map(|part| part.split('"').next().unwrap()).find(|a| a.ends_with("/revoke/")).unwrap().to_owned();
        assert_eq!(post(&t, &revoke, &cookie, &[("csrf", &csrf)]).await.status(), 303);
        t.get("/api/0/", &token, 401).await;
    }

    async fn a_token_of_a_person_does_what_the_role_allows_until_it_is_revoked(t) {
        let (acme, globex) = (t.tenant("acme").await, t.tenant("globex").await);
        let mia = t.member(&acme.org, Role::Member).await;
        let cookie = t.session(&mia).await;
        let html = text(page(&t, "/account/tokens/", &cookie).await).await;
        assert!(html.contains("value=\"event:write\"") && !html.contains("value=\"org:integrations\""), "what a member may do");
        let csrf = hidden(&html, "csrf");
        let create = async |name: &str, scopes: &[&str]| {
            let mut form = vec![("name", name), ("csrf", csrf.as_str())];
            form.extend(scopes.iter().map(|scope| ("scopes", *scope)));
            let answer = post(&t, "/account/tokens/", &cookie, &form).await;
            (answer.status().as_u16(), text(answer).await)
        };
        for (name, scopes, word) in [
            ("", &["event:read"] as &[_], "Give it a name"), ("x", &[], "at least one scope"),
            ("x", &["event:read", "org:admin"], "org:admin"),
        ] {
            let (status, html) = create(name, scopes).await;
            assert_eq!(status, 400);
            assert!(html.contains(word) && !html.contains("is ready"), "{word}");
        }
        let (status, made) = create("laptop", &["project:read", "event:read"]).await;
        assert_eq!(status, 200);
        let shown = made.split("sntryu_").find(|part| part.starts_with(|c: char| c.is_ascii_hexdigit())).expect("it is shown");
        let token: String = "sntryu_".chars().chain(shown.chars().take_while(char::is_ascii_hexdigit)).collect();
        assert_eq!(token.len(), 7 + 64);
        let projects = "/api/0/organizations/acme/projects/";
        assert_eq!(t.get(projects, &token, 200).await[0]["slug"], "acme-shop");
        t.send("POST", projects, &token, json!({ "name": "no" }), 403).await;
        t.get("/api/0/organizations/globex/projects/", &token, 404).await;
        let html = text(page(&t, "/account/tokens/", &cookie).await).await;
        assert!(html.contains("laptop") && !html.contains(&token) && !html.contains(">never<"), "used, and not shown again");

        // Nobody else's business: an owner neither sees nor revokes it, and an organization's token is not a person's.
        let owner = t.session(&acme.owner).await;
        let other = text(page(&t, "/account/tokens/", &owner).await).await;
        assert!(!other.contains("laptop"));
        let revoke = html.split("action=\"").map(|part| part.split('"').next().unwrap()).find(|a| a.ends_with("/revoke/")).unwrap().to_owned();
        assert_eq!(post(&t, &revoke, &owner, &[("csrf", &hidden(&other, "csrf"))]).await.status(), 404);
        let org_id = acme.org.id;
        let of_org = t.app.db.read(move |conn| Ok::<_, AppError>(accounts::list_tokens(conn, org_id)?)).await.unwrap();
        let path = format!("/account/tokens/{}/revoke/", of_org[0].id);
        assert_eq!(post(&t, &path, &owner, &[("csrf", &hidden(&other, "csrf"))]).await.status(), 404);
        t.get("/api/0/organizations/acme/", &acme.token, 200).await;

        // A role that goes takes what it allowed along.
        let (org, member, now) = (globex.org.id, mia.id, t.app.clock.now());
        t.app.db.write(move |tx| accounts::create_member(tx, org, &mia.email, "", "", Role::Member, now)).await.unwrap();
        t.get("/api/0/organizations/globex/projects/", &token, 200).await;
        t.app.db.write(move |tx| accounts::remove(tx, org, "tests", member, now)).await.unwrap();
        t.get("/api/0/organizations/globex/projects/", &token, 404).await;

        assert_eq!(location(&post(&t, &revoke, &cookie, &[("csrf", &csrf)]).await), "/account/tokens/");
        t.get(projects, &token, 401).await;
        assert_eq!(post(&t, &revoke, &cookie, &[("csrf", &csrf)]).await.status(), 404, "gone already");
        assert_eq!(location(&page(&t, "/account/tokens/", "").await), "/sign-in/?next=%2Faccount%2Ftokens%2F");
        let log = t.app.db.read(move |conn| Ok::<_, AppError>(audit::list(conn, org_id, 20)?)).await.unwrap();
        let actions: Vec<_> = log.iter().rev().map(|entry| (entry.action.as_str(), entry.target.as_str(), entry.actor.as_str())).collect();
        assert_eq!(actions, [
            ("accounts.create_user_token", "laptop", "Mia Member"), ("accounts.revoke_user_token", "laptop", "Mia Member"),
        ]);
        assert!(log.iter().all(|entry| !entry.data.contains(&token)));
    }

    async fn a_person_is_invited_joins_changes_role_and_leaves(t) {
        let tenant = t.tenant("acme").await;
        let owner = t.session(&tenant.owner).await;
        let html = text(page(&t, "/o/acme/settings/", &owner).await).await;
        assert!(html.contains("The only owner"));
        let csrf = hidden(&html, "csrf");

        for (email, role, word) in [("not an address", "member", "not an e-mail"), ("new@acme.example", "king", "Choose a role"), ("OWNER@acme.example", "member", "a member already")] {
            let refused = post(&t, "/o/acme/settings/invitations/", &owner, &[("email", email), ("role", role), ("csrf", &csrf)]).await;
            assert!(matches!(refused.status().as_u16(), 400 | 409), "{email}: {}", refused.status());
            assert!(text(refused).await.contains(word), "{word}");
        }
        let first = invite(&t, &owner, &csrf, "New@Acme.example", "manager").await;
        let link = invite(&t, &owner, &csrf, "new@acme.example", "member").await;
        assert_eq!(page(&t, &first, "").await.status(), 404, "the second link replaces the first");
        let again = text(page(&t, "/o/acme/settings/", &owner).await).await;
        assert!(again.contains("new@acme.example") && !again.contains("code="), "the link is shown once");

        let other = text(page(&t, &link, &owner).await).await;
        assert!(other.contains("This is not your invitation") && !other.contains("name=\"password\""));
        let html = text(page(&t, &link, "").await).await;
        assert!(html.contains("Olga Owner invites"), "{html}");
        let (code, join_csrf) = (hidden(&html, "code"), hidden(&html, "csrf"));
        let short = post(&t, "/join/", "", &[("code", &code), ("name", "Nia"), ("password", "short"), ("csrf", &join_csrf)]).await;
        assert_eq!(short.status(), 400);
        assert!(text(short).await.contains("at least 12 characters"));
        let form = [("code", code.as_str()), ("name", "Nia New"), ("password", "correct horse battery"), ("csrf", &join_csrf)];
        let joined = post(&t, "/join/", "", &form).await;
        assert_eq!(location(&joined), "/o/acme/errors/");
        let nia = session_of(&joined);
        let settings = text(page(&t, "/o/acme/settings/", &nia).await).await;
        assert!(settings.contains("Nia New") && !settings.contains("/remove/") && !settings.contains("Invite a person"), "a member only reads");
        assert_eq!(post(&t, "/join/", "", &form).await.status(), 404, "the link works once");

        let nia_id = user_id(&t, "new@acme.example").await;
        let role = |who: &str| format!("/o/acme/settings/members/{who}/role/");
        let remove = |who: &str| format!("/o/acme/settings/members/{who}/remove/");
        let nia_csrf = hidden(&settings, "csrf");
        for path in [role(&nia_id), remove(&nia_id), "/o/acme/settings/invitations/".to_owned()] {
            assert_eq!(post(&t, &path, &nia, &[("role", "owner"), ("email", "x@y.z"), ("csrf", &nia_csrf)]).await.status(), 403, "{path}");
        }
        assert_eq!(location(&post(&t, &role(&nia_id), &owner, &[("role", "owner"), ("csrf", &csrf)]).await), "/o/acme/settings/");
        // Now an owner herself; the first one may go.
        let olga = tenant.owner.id.to_string();
        assert_eq!(post(&t, &role(&olga), &nia, &[("role", "member"), ("csrf", &nia_csrf)]).await.status(), 303);
        for (path, form) in [(role(&nia_id), [("role", "manager"), ("csrf", nia_csrf.as_str())]), (remove(&nia_id), [("x", "y"), ("csrf", nia_csrf.as_str())])] {
            let refused = post(&t, &path, &nia, &form).await;
            assert_eq!(refused.status(), 409, "{path}");
            assert!(text(refused).await.contains("An organization needs an owner"));
        }
        assert_eq!(post(&t, &remove(&olga), &nia, &[("csrf", &nia_csrf)]).await.status(), 303);
        assert_eq!(page(&t, "/o/acme/settings/", &owner).await.status(), 404, "the session lives, the membership does not");
        assert_eq!(post(&t, &remove(&olga), &nia, &[("csrf", &nia_csrf)]).await.status(), 404);
        let org = tenant.org.id;
        let log = t.app.db.read(move |conn| Ok::<_, AppError>(audit::list(conn, org, 20)?)).await.unwrap();
        let actions: Vec<_> = log.iter().rev().map(|entry| (entry.action.as_str(), entry.target.as_str())).collect();
        assert_eq!(actions, [
            ("accounts.invite", "new@acme.example"), ("accounts.invite", "new@acme.example"), ("accounts.join", "new@acme.example"),
            ("accounts.change_role", "new@acme.example"), ("accounts.change_role", "owner@acme.example"),
            ("accounts.remove_member", "owner@acme.example"),
        ]);
        assert!(log.iter().all(|entry| !entry.data.contains(&code)));
    }

    async fn an_invitation_of_an_account_needs_that_account_and_can_be_withdrawn(t) {
        let (acme, globex) = (t.tenant("acme").await, t.tenant("globex").await);
        let (owner, stranger) = (t.session(&acme.owner).await, t.session(&globex.owner).await);
        let csrf = hidden(&text(page(&t, "/o/acme/settings/", &owner).await).await, "csrf");
        let link = invite(&t, &owner, &csrf, "owner@globex.example", "manager").await;
        let html = text(page(&t, &link, "").await).await;
        assert!(html.contains("Sign in to continue") && !html.contains("name=\"password\""));
        assert!(html.contains(&format!("/sign-in/?next={}", link.replace('/', "%2F").replace('?', "%3F").replace('=', "%3D"))), "{html}");
        // Nobody makes a second account for that address.
        let code = link.split("code=").nth(1).unwrap().to_owned();
        let form = |csrf: &str| [("code", code.clone()), ("password", "correct horse battery".into()), ("csrf", csrf.to_owned())];
        let anonymous = t.http.post(t.url("/join/")).header("origin", &t.base).form(&form(&sign_in_csrf(&t).await)).send().await.unwrap();
        assert_eq!(anonymous.status(), 200, "the page again");
        assert_eq!(page(&t, "/o/acme/settings/", &stranger).await.status(), 404);

        let html = text(page(&t, &link, &stranger).await).await;
        let mine = hidden(&html, "csrf");
        let joined = t.http.post(t.url("/join/")).header("origin", &t.base).header("cookie", &stranger).form(&form(&mine)).send().await.unwrap();
        assert_eq!(location(&joined), "/o/acme/errors/");
        assert_eq!(page(&t, "/o/acme/settings/", &stranger).await.status(), 200);

        let link = invite(&t, &owner, &csrf, "late@acme.example", "member").await;
        let html = text(page(&t, "/o/acme/settings/", &owner).await).await;
        let withdraw = html.split("action=\"").map(|part| part.split('"').next().unwrap()).find(|a| a.ends_with("/withdraw/")).unwrap().to_owned();
        let elsewhere = withdraw.replace("/o/acme/", "/o/globex/");
        assert_eq!(post(&t, &elsewhere, &stranger, &[("csrf", &mine)]).await.status(), 404);
        assert_eq!(post(&t, &withdraw, &owner, &[("csrf", &csrf)]).await.status(), 303);
        assert_eq!(page(&t, &link, "").await.status(), 404);
        assert_eq!(page(&t, "/join/?code=", "").await.status(), 404);
        // Another tenant's people cannot be touched from here.
        let bob = t.member(&acme.org, Role::Member).await;
        let foreign = format!("/o/globex/settings/members/{}/remove/", bob.id);
        assert_eq!(post(&t, &foreign, &stranger, &[("csrf", &mine)]).await.status(), 404);
    }

    async fn two_owners_who_demote_each_other_leave_one(t) {
        let tenant = t.tenant("acme").await;
        let second = t.member(&tenant.org, Role::Owner).await;
        let now = t.app.clock.now();
        let (org, olga) = (tenant.org.id, tenant.owner.id);
        let demote = |who| t.app.db.write(move |tx| accounts::change_role(tx, org, "test", who, Role::Member, now));
        let (a, b) = tokio::join!(demote(olga), demote(second.id));
        assert_eq!([a.is_ok(), b.is_ok()].iter().filter(|ok| **ok).count(), 1, "{a:?} {b:?}");
        // The command line keeps the rule too.
        let email = if a.is_ok() { second.email.clone() } else { tenant.owner.email.clone() };
        let again = t.app.db.write(move |tx| accounts::create_member(tx, org, &email, "", "", Role::Member, now)).await;
        assert_eq!(again.unwrap_err().code(), "conflict");
    }

    async fn scopes_roles_and_tenants_are_held(t) {
        let (acme, globex) = (t.tenant("acme").await, t.tenant("globex").await);
        let path = "/api/0/organizations/acme/projects/";
        assert_eq!(t.get(path, &acme.token, 200).await[0]["slug"], "acme-shop");
        t.get(path, &globex.token, 404).await;
        let scoped = t.token(&acme.org, "event:read").await;
        let refused = t.get(path, &scoped, 403).await;
        assert!(refused["detail"].as_str().unwrap().contains("project:read"), "{refused}");
        t.get(path, "sntrys_nonsense", 401).await;
        assert_eq!(t.http.get(t.url(path)).send().await.unwrap().status(), 401);
        let body = json!({ "name": "Second Shop" });
        let made = t.send("POST", path, &acme.token, body.clone(), 201).await;
        assert_eq!(made["slug"], "second-shop");
        t.send("POST", path, &acme.token, body, 409).await;
        t.send("POST", path, &globex.token, json!({ "name": "x1" }), 404).await;
        t.send("POST", path, &acme.token, json!({ "name": "9" }), 400).await;

        let member = t.member(&acme.org, Role::Member).await;
        let cookie = t.session(&member).await;
        let denied = post(&t, "/o/acme/settings/tokens/", &cookie, &[("name", "x"), ("scopes", "org:read"), ("csrf", "x")]).await;
        assert_eq!(denied.status(), 403);
        assert_eq!(page(&t, "/o/globex/settings/", &cookie).await.status(), 404);
    }
}

/// Fills in the first-owner page of `t`; answers the status.
async fn try_code(t: &TestApp, code: &str) -> u16 {
    let csrf = hidden(&text(page(t, "/welcome/", "").await).await, "csrf");
    let form = [
        ("org_name", "Acme"),
        ("org_slug", "acme"),
        ("email", "ada@acme.example"),
        ("password", "a long enough password"),
        ("code", code),
        ("csrf", &csrf),
    ];
    post(t, "/welcome/", "", &form).await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_of_one_installation_take_the_same_first_owner_code() {
    let one = TestApp::start(Backend::Postgres).await;
    let database = one.app.config.database_url.expose().to_owned();
    let keys = one.app.config.secret_keys.as_ref().unwrap();
    let keys = || ("secret_keys", keys.expose().to_owned());
    let start = |settings| {
        let clock = None;
        TestApp::start_with(Backend::Postgres, Options { settings, clock })
    };
    let two = start(vec![("database_url", database.clone()), keys()]).await;
    let elsewhere = start(vec![keys()]).await;
    let other_keys = start(vec![("database_url", database)]).await;
    let code = async |t: &TestApp| accounts::first_owner_code(&t.app).await.unwrap();
    let printed = code(&one).await.unwrap();
    assert_eq!(printed.len(), 16);
    assert_eq!(code(&two).await.as_ref(), Some(&printed));
    for other in [&elsewhere, &other_keys] {
        let other = code(other).await.unwrap();
        assert_ne!(other, printed, "another database or other keys");
        assert_eq!(try_code(&two, &other).await, 400);
    }
    assert_eq!(try_code(&two, &printed).await, 303);
    assert_eq!((code(&one).await, code(&two).await), (None, None));
    assert_eq!(page(&one, "/welcome/", "").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_https_only_the_bound_cookie_is_a_session() {
    let settings = vec![("public_url", "https://tb.example".to_owned())];
    let options = Options {
        settings,
        clock: None,
    };
    let t = TestApp::start_with(Backend::Sqlite, options).await;
    let tenant = t.tenant("acme").await;
    // What a sibling host can set for the whole domain.
    let plain = t.session(&tenant.owner).await;
    let bound = format!("__Host-{}", t.session(&tenant.owner).await);
    let settings = async |cookie: &str| page(&t, "/o/acme/settings/", cookie).await.status();
    assert_eq!(settings(&plain).await, 303, "to the sign-in page");
    assert_eq!(settings(&bound).await, 200);
    assert_eq!(settings(&format!("{plain}; {bound}")).await, 200);
    // Nor does it bind the token of a form.
    let html = text(page(&t, "/sign-in/", &plain).await).await;
    let csrf = hidden(&html, "csrf");
    let form = [
        ("email", "x@acme.example"),
        ("password", "wrong"),
        ("csrf", &csrf),
    ];
    let request = t
        .http
        .post(t.url("/sign-in/"))
        .header("origin", "https://tb.example");
    assert_eq!(request.form(&form).send().await.unwrap().status(), 400);
    // Nor is a message of a sibling host shown; what is ours is.
    let message = Flash::ok("Planted by a neighbour").cookie(&t.app);
    let (name, value) = (message.name(), message.value());
    let shown = async |name: &str| {
        let html = text(page(&t, "/sign-in/", &format!("{name}={value}")).await).await;
        html.contains("Planted by a neighbour")
    };
    assert!(shown(name).await, "{name}");
    assert!(!shown(name.trim_start_matches("__Host-")).await, "{name}");
}
