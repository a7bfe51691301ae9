//! Who am I, which workspaces, which repositories; the lists that were taken away; ten thousand
//! repositories; partial answers.

use std::time::Instant;

use bitbucket_sandbox::model::{Credential, Permission, Role, Tracker};
use bitbucket_sandbox::{CommitRequest, NewBulk, NewMember, Rule, Sandbox, SandboxConfig};
use serde_json::{Value, json};

use crate::kit::{Kit, REPO};
use crate::rules::Book;

const SCOPES: &[&str] = &[
    "read:user:bitbucket",
    "read:workspace:bitbucket",
    "read:repository:bitbucket",
    "read:project:bitbucket",
];

impl Kit {
    async fn get_with(&self, who: &Credential, target: &str) -> (u16, Value) {
        let answer = self.with(who, "GET", target, None).await;
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }
}

fn column(page: &Value, pointer: &str) -> Vec<String> {
    let values = page["values"].as_array().unwrap();
    let texts = values.iter().map(|v| v.pointer(pointer).unwrap());
    texts
        .map(|v| v.as_str().unwrap_or("null").to_owned())
        .collect()
}

#[tokio::test]
async fn a_person_asks_about_itself() {
    let kit = Kit::start().await;
    kit.sandbox.create_workspace("other").unwrap();
    kit.sandbox.create_workspace("third").unwrap();
    let ada = kit.person("ada", Permission::Write);
    let owns = NewMember {
        workspace: "third".into(),
        user: "ada".into(),
        role: Role::Owner,
        permission: Permission::Admin,
    };
    kit.sandbox.add_member(&owns).unwrap();
    let token = kit.api_token("ada", SCOPES);

    let (status, me) = kit.get_with(&token, "/2.0/user").await;
    assert_eq!(
        (status, me["uuid"].as_str(), me["type"].as_str()),
        (200, Some(ada.as_str()), Some("user"))
    );
    assert!(me["email"].is_null());
    let (_, emails) = kit.get_with(&token, "/2.0/user/emails").await;
    assert_eq!(column(&emails, "/email"), ["ada@example.org"]);

    let (_, page) = kit
        .get_with(&token, "/2.0/user/workspaces?sort=-slug")
        .await;
    assert_eq!(column(&page, "/workspace/slug"), ["third", "acme"]);
    assert_eq!(page["values"][0]["administrator"], true);
    assert_eq!(page["values"][1]["type"], "workspace_access");
    let (_, page) = kit
        .get_with(&token, "/2.0/user/workspaces?administrator=false")
        .await;
    assert_eq!(column(&page, "/workspace/slug"), ["acme"]);
    let (_, page) = kit
        .get_with(&token, "/2.0/user/workspaces?q=slug%3D%22third%22")
        .await;
    assert_eq!(page["size"], 1);

    let (_, role) = kit
        .get_with(&token, "/2.0/user/workspaces/acme/permission")
        .await;
    assert_eq!(role["permission"], "member");
    let (_, role) = kit
        .get_with(&token, "/2.0/user/workspaces/third/permission")
        .await;
    assert_eq!(role["permission"], "owner");
    let list = "/2.0/user/workspaces/acme/permissions/repositories";
    let (_, page) = kit.get_with(&token, list).await;
    assert_eq!(column(&page, "/permission"), ["write"]);
    assert_eq!(column(&page, "/repository/full_name"), ["acme/shop"]);
    let (_, page) = kit
        .get_with(&token, "/2.0/repositories/acme?role=admin")
        .await;
    assert_eq!(page["size"], 0);
    let (_, page) = kit
        .get_with(&token, "/2.0/repositories/acme?role=contributor")
        .await;
    assert_eq!(page["size"], 1);
    kit.assert_clean();

    let (status, _) = kit
        .get_with(&token, "/2.0/user/workspaces/other/permission")
        .await;
    assert_eq!(status, 403);
    assert_eq!(kit.broken(), [Rule::ForeignWorkspace]);
}

#[tokio::test]
async fn an_administrator_sees_the_others() {
    let kit = Kit::start().await;
    let ada = kit.person("ada", Permission::Write);
    kit.person("bo", Permission::Read);
    let integration = kit.workspace_token(&["account", "repository", "project"]);
    let (_, page) = kit
        .get_with(&integration, "/2.0/workspaces/acme/members")
        .await;
    assert_eq!(column(&page, "/user/nickname"), ["acme-owner", "ada", "bo"]);
    assert!(page["values"][1]["user"]["email"].is_null());
    let filter = "q=user.email%20IN%20(%22ada%40example.org%22)";
    let (_, page) = kit
        .get_with(
            &integration,
            &format!("/2.0/workspaces/acme/members?{filter}"),
        )
        .await;
    assert_eq!(column(&page, "/user/nickname"), ["ada"]);
    assert!(
        page["values"][0]["user"]["email"].is_null(),
        "only on demand"
    );
    let target = format!("/2.0/workspaces/acme/members?{filter}&fields=%2Bvalues.user.email");
    let (_, page) = kit.get_with(&integration, &target).await;
    assert_eq!(column(&page, "/user/email"), ["ada@example.org"]);
    let encoded = ada.replace('{', "%7B").replace('}', "%7D");
    let (status, one) = kit
        .get_with(
            &integration,
            &format!("/2.0/workspaces/acme/members/{encoded}"),
        )
        .await;
    assert_eq!((status, one["permission"].as_str()), (200, Some("member")));
    let (status, _) = kit
        .get_with(&integration, &format!("/2.0/users/{encoded}"))
        .await;
    assert_eq!(status, 200);
    let (_, projects) = kit
        .get_with(&integration, "/2.0/workspaces/acme/projects")
        .await;
    assert_eq!(column(&projects, "/key"), ["MAIN"]);
    let (status, _) = kit
        .get_with(&integration, "/2.0/workspaces/acme/projects/NONE")
        .await;
    assert_eq!(status, 404);
    kit.assert_clean();

    // Permissions are told to people who administer the workspace.
    let owns = json!({"workspace": "acme", "user": "ada", "role": "owner"});
    kit.control("POST", "members", Some(owns)).await;
    let owner = kit.api_token("ada", SCOPES);
    let roles = "/2.0/workspaces/acme/permissions";
    let (_, page) = kit
        .get_with(&owner, &format!("{roles}?q=permission%3D%22owner%22"))
        .await;
    assert_eq!(column(&page, "/user/nickname"), ["acme-owner", "ada"]);
    let (_, page) = kit
        .get_with(&owner, &format!("{roles}/repositories?sort=user.nickname"))
        .await;
    assert_eq!(column(&page, "/permission"), ["admin", "admin", "read"]);
    let (_, page) = kit
        .get_with(&owner, &format!("{roles}/repositories/shop"))
        .await;
    assert_eq!(page["size"], 3);
    kit.assert_clean();
}

#[tokio::test]
async fn the_lists_over_all_workspaces_are_gone() {
    let kit = Kit::start().await;
    for target in [
        "/2.0/workspaces",
        "/2.0/repositories?role=member",
        "/2.0/snippets",
        "/2.0/user/permissions/repositories",
        "/2.0/user/permissions/workspaces",
    ] {
        let answer = kit.send("GET", target, None).await;
        assert_eq!(answer.status(), 410, "{target}");
        let body: Value = answer.json().await.unwrap();
        let error = &body["error"];
        assert_eq!(
            error["message"],
            "CHANGE-2770 - Functionality has been deprecated"
        );
        assert!(
            error["data"]["announcement_url"]
                .as_str()
                .unwrap()
                .ends_with("#CHANGE-2770")
        );
        assert_eq!(kit.broken(), [Rule::Removed]);
        let bare = kit.http.get(kit.url(target)).send().await.unwrap();
        assert_eq!(bare.status(), 401);
        assert_eq!(kit.broken(), [Rule::AuthMissing]);
    }
    kit.sandbox
        .set_tracker("acme/shop", Tracker::Removed)
        .unwrap();
    for tail in ["issues", "issues/1", "issues/1/comments"] {
        let answer = kit.send("GET", &format!("{REPO}/{tail}"), None).await;
        assert_eq!(answer.status(), 410, "{tail}");
    }
    kit.assert_clean();
}

#[tokio::test]
async fn answers_can_be_partial() {
    let kit = Kit::start().await;
    let narrow = kit
        .get("/2.0/repositories/acme?fields=size,values.slug,values.links.self")
        .await;
    let own = kit.url(REPO);
    let expected =
        json!({"size": 1, "values": [{"slug": "shop", "links": {"self": {"href": own}}}]});
    assert_eq!(narrow, expected);
    let dropped = kit.get(&format!("{REPO}?fields=-links,-owner")).await;
    assert!(dropped["links"].is_null() && dropped["slug"] == "shop");
    kit.assert_clean();
}

#[tokio::test]
async fn ten_thousand_repositories() {
    let kit = Kit::start().await;
    let bulk = NewBulk {
        workspace: "acme".into(),
        prefix: "service".into(),
        count: 10_000,
    };
    kit.sandbox.create_bulk(&bulk).unwrap();
    assert!(kit.sandbox.create_bulk(&bulk).is_err(), "once");
    let token = kit.workspace_token(&["repository", "webhook"]);
    let begun = Instant::now();
    let (mut count, mut pages) = (0, 0);
    let mut target = Some("/2.0/repositories/acme?pagelen=100&fields=next,values.slug".to_owned());
    while let Some(here) = target {
        let (status, page) = kit.get_with(&token, &here).await;
        assert_eq!(status, 200);
        count += page["values"].as_array().unwrap().len();
        pages += 1;
        let next = page["next"].as_str();
        target = next.map(|n| n.strip_prefix(kit.sandbox.url()).unwrap().to_owned());
    }
    assert_eq!((count, pages), (10_001, 101));
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());

    let list = "/2.0/repositories/acme";
    let (_, page) = kit
        .get_with(&token, &format!("{list}?q=name~%22E-0004%22&sort=-slug"))
        .await;
    assert_eq!(page["size"], 10);
    assert_eq!(page["values"][0]["slug"], "service-00049");
    let (_, page) = kit
        .get_with(
            &token,
            &format!("{list}?q=project.key%3D%22MAIN%22%20AND%20slug%3D%22shop%22"),
        )
        .await;
    assert_eq!(column(&page, "/full_name"), ["acme/shop"]);

    // One that is opened is a real repository.
    let empty = kit
        .get("/2.0/repositories/acme/service-00500/refs/branches")
        .await;
    assert_eq!(empty["size"], 0);
    let commit = CommitRequest {
        repo: "acme/service-00042".into(),
        message: "First".into(),
        files: [("a.txt".to_owned(), "1\n".to_owned())].into(),
        ..CommitRequest::default()
    };
    let hash = kit.sandbox.commit(commit).await.unwrap();
    let path = "/2.0/repositories/acme/service-00042";
    assert_eq!(
        kit.get(&format!("{path}/commits")).await["values"][0]["hash"],
        hash.as_str()
    );
    let uuid = kit.get(path).await["uuid"].clone();
    let hook = json!({"url": "https://a.example/", "events": ["repo:push"]});
    let made = kit
        .with(&token, "POST", &format!("{path}/hooks"), Some(hook))
        .await;
    assert_eq!(made.status(), 201);
    kit.assert_clean();

    // The state stays small, and all is there after a restart.
    let data = kit.dir.path().join("data");
    let length = std::fs::metadata(data.join("state.json")).unwrap().len();
    assert!(length < 100_000, "{length}");
    let url = kit.sandbox.url().to_owned();
    let Kit {
        sandbox, dir, http, ..
    } = kit;
    sandbox.stop();
    let again = Sandbox::start(SandboxConfig::new(dir.path().join("data"))).unwrap();
    assert_ne!(again.url(), url);
    let request = http
        .get(format!("{}{path}", again.url()))
        .bearer_auth(token.secret.expose());
    let shown: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["uuid"], uuid);
    let request = http
        .get(format!("{}{list}", again.url()))
        .bearer_auth(token.secret.expose());
    let page: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(page["size"], 10_001);
}

/// Every wrong call of this part.
pub(crate) async fn rules(book: &mut Book) {
    let got = book
        .kit
        .send("GET", "/2.0/workspaces", None)
        .await
        .status()
        .as_u16();
    book.expect(Rule::Removed, 410, got, "cross-workspace");
    let bot = book.kit.workspace_token(&["account", "repository"]);
    for target in [
        "/2.0/user/workspaces/acme/permission",
        "/2.0/workspaces/acme/permissions",
        "/2.0/workspaces/acme/permissions/repositories",
    ] {
        let (got, body) = book.kit.get_with(&bot, target).await;
        let text = body["error"]["message"].as_str().unwrap();
        assert!(text.starts_with("This resource does not support"), "{text}");
        book.expect(Rule::CredentialKind, 403, got, target);
    }
    let member = book.kit.api_token("ada", SCOPES);
    let emails = "/2.0/workspaces/acme/members?q=user.email%3D%22a%40b.c%22";
    for target in ["/2.0/workspaces/acme/permissions/repositories", emails] {
        let (got, _) = book.kit.get_with(&member, target).await;
        book.expect(Rule::Permission, 403, got, target);
    }
    let many = vec!["%22a%22"; 91].join(",");
    let many = format!("/2.0/workspaces/acme/members?q=user.email%20IN%20({many})");
    for target in [
        "/2.0/user/workspaces?administrator=1",
        "/2.0/repositories/acme?role=boss",
        &many,
    ] {
        let (got, _) = book.kit.get_with(&member, target).await;
        book.expect(Rule::BadQuery, 400, got, target);
    }
}
