use bitbucket_sandbox::{Sandbox, SandboxConfig};
use serde_json::json;

use crate::kit::{Kit, REPO, token};

#[tokio::test]
async fn a_restart_keeps_everything() {
    let kit = Kit::start().await;
    let clone = kit.clone();
    let hash = clone.commit("Base");
    clone.push(&["origin", "main"]);
    kit.hook(&["repo:push"], Some("s")).await;
    kit.call(
        "POST",
        &format!("{REPO}/issues"),
        Some(json!({"title": "kept"})),
        201,
    )
    .await;
    let secret = kit.secret();
    let Kit {
        sandbox,
        client_key,
        dir,
        http,
        app: _app,
    } = kit;
    sandbox.stop();
    let sandbox = Sandbox::start(SandboxConfig::new(dir.path().join("data"))).unwrap();
    assert_eq!(sandbox.issues("acme/shop")[0].title, "kept");
    let paths = [format!("{REPO}/commit/{hash}"), format!("{REPO}/hooks")];
    for path in paths {
        let token = token(crate::app::KEY, &client_key, &secret, "GET", &path, "");
        let url = format!("{}{path}", sandbox.url());
        let answer = http
            .get(url)
            .header("Authorization", format!("JWT {token}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    assert_eq!(sandbox.violations(), []);
}

#[tokio::test]
async fn a_taken_port_and_a_foreign_file_are_errors() {
    let kit = Kit::start().await;
    let listen = kit
        .sandbox
        .url()
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let config = SandboxConfig {
        listen,
        ..SandboxConfig::new(kit.dir.path().join("other"))
    };
    assert!(Sandbox::start(config).is_err());
    let foreign = kit.dir.path().join("foreign");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("state.json"), r#"{"workspaces": 1}"#).unwrap();
    assert!(Sandbox::start(SandboxConfig::new(foreign)).is_err());
}

#[tokio::test]
async fn controls_judge_their_input() {
    let kit = Kit::start().await;
    let cases = [
        ("workspaces", json!({"slug": "Not A Slug"})),
        ("workspaces", json!({"slug": "acme"})),
        ("workspaces", json!({"slug": "site"})),
        ("workspaces", json!({"slug": "x", "colour": "red"})),
        ("repos", json!({"workspace": "none", "slug": "x"})),
        ("repos", json!({"workspace": "acme", "slug": "../x"})),
        ("repos", json!({"workspace": "acme", "slug": "shop"})),
        ("tokens", json!({"workspace": "acme", "scopes": ["all"]})),
        (
            "install",
            json!({"workspace": "none", "descriptor_uri": kit.app.descriptor_uri()}),
        ),
        (
            "commits",
            json!({"repo": "acme/shop", "message": "x", "files": {"../x": "1"}}),
        ),
        ("faults", json!({"action": {"kind": "explode"}})),
    ];
    for (path, body) in cases {
        let what = body.to_string();
        assert_eq!(
            kit.control("POST", path, Some(body)).await.0,
            400,
            "{path} {what}"
        );
    }
    assert_eq!(kit.control("GET", "nothing", None).await.0, 404);
    let made = kit
        .control(
            "POST",
            "workspaces",
            Some(json!({"slug": "new-one", "name": "New"})),
        )
        .await;
    assert_eq!((made.0, made.1["slug"].clone()), (201, json!("new-one")));
    let repo = json!({"workspace": "new-one", "slug": "app", "has_issues": false});
    let (status, made) = kit.control("POST", "repos", Some(repo)).await;
    assert_eq!(
        (status, made["clone"].clone()),
        (201, json!(kit.url("/new-one/app.git")))
    );
    kit.assert_clean();
}

#[tokio::test]
async fn controls_refuse_pages_of_other_sites() {
    let kit = Kit::start().await;
    let answer = kit
        .http
        .post(kit.url("/_sandbox/workspaces"))
        .header("Origin", "http://evil.example")
        .json(&json!({"slug": "evil"}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
}
