//! The Bitbucket stand-in, judged by clients that are not ours: they can read what it answers, what they read is what
//! is in it, and it finds fault only with what they were told to send wrong.

use std::collections::BTreeMap;

use bitbucket_sandbox::{CommitRequest, NewRepository, NewToken, NewUser, Rule, Sandbox};
use serde_json::{Value, json};

use crate::support::world::{bitbucket_and_app, install};
use crate::support::{Backend, PATIENCE, TestApp, client, schemas};

const MENU: &str = "espresso\ntea\n";

/// The sandbox with a history to read in `acme/shop`, and an app that is installed.
struct Fixture {
    bitbucket: Sandbox,
    t: TestApp,
    client_key: String,
    /// Oldest first.
    commits: Vec<String>,
    _folder: tempfile::TempDir,
}

/// What a client said, by the name of the step.
type Said = BTreeMap<String, Value>;

impl Fixture {
    async fn start() -> Self {
        let (bitbucket, t, folder) = bitbucket_and_app(Backend::Sqlite).await;
        // More than one page of ten.
        for number in 10..20 {
            let new = NewRepository::new("acme", &format!("more-{number}"));
            bitbucket.create_repository(new).await.unwrap();
        }
        let (client_key, _) = install(&t, &bitbucket, "acme").await;
        let author = NewUser {
            display_name: "Mei Tanaka".into(),
            nickname: "mei".into(),
            email: Some("mei@acme.example".into()),
        };
        bitbucket.create_user(&author).unwrap();
        let mut commits = Vec::new();
        for (message, files, delete) in [
            (
                "Open the shop",
                vec![("menu.txt", "espresso\n"), ("old.txt", "gone soon\n")],
                vec![],
            ),
            (
                "Serve tea",
                vec![("menu.txt", MENU), ("hours.txt", "9-17\n")],
                vec!["old.txt"],
            ),
            ("Close early", vec![("hours.txt", "9-16\n")], vec![]),
        ] {
            let request = CommitRequest {
                repo: "acme/shop".into(),
                message: message.into(),
                author: Some("Mei Tanaka <mei@acme.example>".into()),
                files: files
                    .into_iter()
                    .map(|(name, text)| (name.into(), text.into()))
                    .collect(),
                delete: delete.into_iter().map(str::to_owned).collect(),
                ..CommitRequest::default()
            };
            commits.push(bitbucket.commit(request).await.unwrap());
        }
        Self {
            bitbucket,
            t,
            client_key,
            commits,
            _folder: folder,
        }
    }

    fn config(&self) -> Value {
        json!({
            "url": self.bitbucket.url(), "workspace": "acme", "repo": "shop", "commit": self.commits[1],
        })
    }

    /// Adds a bearer token with the scopes of an app.
    fn with_token(&self) -> Value {
        let scopes = [
            "repository:write",
            "issue:write",
            "webhook",
            "pullrequest:write",
        ];
        let token = self.bitbucket.create_token(&NewToken {
            workspace: "acme".into(),
            scopes: scopes.map(str::to_owned).into(),
            expires_in: None,
        });
        let mut config = self.config();
        config["token"] = json!(token.unwrap().expose());
        config
    }

    /// Adds what an app signs with.
    async fn with_connect(&self) -> Value {
        let descriptor = self
            .t
            .http
            .get(self.t.url("/extensions/bitbucket/descriptor/"));
        let descriptor: Value = descriptor.send().await.unwrap().json().await.unwrap();
        let secret = self.bitbucket.shared_secret(&self.client_key).unwrap();
        let mut config = self.config();
        config["jwt"] = json!({
            "key": descriptor["key"], "clientKey": self.client_key, "secret": secret.expose(),
        });
        config
    }

    async fn run(&self, command: tokio::process::Command, config: &Value) -> Said {
        let lines = client::run(command, &config.to_string(), PATIENCE).await;
        let named = |mut line: Value| {
            let step = line.as_object_mut().unwrap().remove("step").unwrap();
            (step.as_str().unwrap().to_owned(), line)
        };
        lines.into_iter().map(named).collect()
    }

    /// What a client leaves behind, seen from the inside.
    fn assert_left_behind(&self) {
        let issues = self.bitbucket.issues("acme/shop");
        let left: Vec<_> = issues
            .iter()
            .map(|issue| {
                (
                    issue.title.as_str(),
                    issue.state.as_str(),
                    issue.comments.len(),
                )
            })
            .collect();
        assert_eq!(left, [("Kept", "resolved", 1)]);
        schemas::hold(&self.bitbucket.take_answers());
        // The one wrong body, which they were told to send.
        let rules: Vec<_> = self
            .bitbucket
            .take_violations()
            .into_iter()
            .map(|v| (v.rule, v.detail))
            .collect();
        assert!(matches!(&rules[..], [(Rule::BodyField, _)]), "{rules:?}");
    }
}

fn names() -> Vec<String> {
    let more = (10..20).map(|number| format!("acme/more-{number}"));
    more.chain(["acme/shop".to_owned()]).collect()
}

async fn npm_bitbucket(fixture: &Fixture, config: &Value) {
    let none: [&str; 0] = [];
    let said = fixture
        .run(client::node("node/bitbucket.mjs", &none), config)
        .await;
    let [first, second, third] = &fixture.commits[..] else {
        panic!("three commits")
    };
    assert_eq!(
        said["workspace"],
        json!({ "type": "workspace", "slug": "acme" })
    );
    assert_eq!(
        said["repositories"],
        json!({ "pages": 6, "names": names() })
    );
    let repository = &said["repository"];
    assert_eq!(
        (
            &repository["type"],
            &repository["name"],
            &repository["main"]
        ),
        (&json!("repository"), &json!("acme/shop"), &json!("main"))
    );
    let missing = &said["no repository"];
    assert_eq!(
        (&missing["status"], &missing["type"]),
        (&json!(404), &json!("error"))
    );
    assert!(missing["message"].is_string());
    let messages = ["Close early", "Serve tea", "Open the shop"];
    assert_eq!(said["commits"], json!({ "pages": 2, "messages": messages }));
    let author = "Mei Tanaka <mei@acme.example>";
    assert_eq!(
        said["commit"],
        json!({ "type": "commit", "hash": second, "author": author, "parents": [first] })
    );
    let files = json!([
        ["diffstat", "added", null, "hours.txt", 1, 0],
        ["diffstat", "modified", "menu.txt", "menu.txt", 1, 0],
        ["diffstat", "removed", "old.txt", null, 0, 1],
    ]);
    assert_eq!(said["diffstat"]["files"], files);
    assert!(
        said["diff"]["text"].as_str().unwrap().contains("\n+tea\n"),
        "{}",
        said["diff"]
    );
    assert_eq!(said["source"]["text"], MENU);
    assert_eq!(
        said["branches"]["branches"],
        json!([["branch", "main", third]])
    );
    assert_eq!(said["pull requests"]["count"], 0);

    let created = &said["issue created"];
    assert_eq!(
        (&created["status"], &created["type"], &created["state"]),
        (&json!(201), &json!("issue"), &json!("new"))
    );
    assert_eq!(created["text"], "About Kept.");
    assert_eq!(said["issues"]["titles"], json!(["Kept"]));
    // An app acts as the workspace it is installed on.
    assert_eq!(
        said["issue"],
        json!({ "title": "Kept", "kind": "bug", "priority": "major", "reporter": "team" })
    );
    assert_eq!(
        said["issue updated"],
        json!({ "state": "resolved", "title": "Kept" })
    );
    assert_eq!(
        said["comments"]["comments"],
        json!([["issue_comment", "Fixed today."]])
    );
    assert_eq!(said["issue deleted"]["status"], 404);
    assert_eq!(said["no title"]["status"], 400);

    let hook = &said["hook created"];
    assert_eq!(
        (&hook["status"], &hook["type"], &hook["events"]),
        (
            &json!(201),
            &json!("webhook_subscription"),
            &json!(["repo:push"])
        )
    );
    assert_eq!(said["hooks"]["found"], true);
    assert_eq!(said["hook updated"], json!({ "was": true, "is": false }));
    assert_eq!(said["hook deleted"], json!({ "status": 204, "left": 0 }));
    fixture.assert_left_behind();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients"]
async fn npm_bitbucket_with_a_token() {
    let fixture = Fixture::start().await;
    npm_bitbucket(&fixture, &fixture.with_token()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients"]
async fn npm_bitbucket_signed_by_atlassian_jwt() {
    let fixture = Fixture::start().await;
    let config = fixture.with_connect().await;
    npm_bitbucket(&fixture, &config).await;
}

/// What PyPI's client read of the pull request that it made, of its builds, and of its merge.
fn python_pull_requests(said: &Said) {
    let made = &said["pull request"];
    assert_eq!(
        (&made["title"], &made["branches"], &made["heads"]),
        (
            &json!("Serve more tea"),
            &json!(["tea", "main"]),
            &json!([true, true])
        )
    );
    assert_eq!(
        (&made["open"], made["author"].is_string()),
        (&json!(true), true)
    );
    assert_eq!(
        said["pull request comments"]["texts"],
        json!(["Which kinds?"])
    );
    assert_eq!(
        said["pull request files"]["files"],
        json!([[null, "teas.txt"]])
    );
    let diff = said["pull request diff"]["text"].as_str().unwrap();
    assert!(diff.contains("\n+sencha\n"), "{diff}");
    assert_eq!(
        said["pull request commits"]["messages"],
        json!(["Serve green tea"])
    );
    assert_eq!(
        said["builds"],
        json!({ "of_commit": [["tracker", true]], "of_pull": ["tracker"] })
    );
    assert_eq!(
        said["pull requests of the commit"]["titles"],
        json!(["Serve more tea"])
    );
    assert_eq!(said["merged"], json!({ "merged": true, "open": 0 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the clients of tests/clients"]
async fn python_atlassian_with_a_token() {
    let fixture = Fixture::start().await;
    let more = CommitRequest {
        repo: "acme/shop".into(),
        branch: "tea".into(),
        message: "Serve green tea".into(),
        files: [("teas.txt".to_owned(), "sencha\n".to_owned())].into(),
        ..CommitRequest::default()
    };
    let tea = fixture.bitbucket.commit(more).await.unwrap();
    let none: [&str; 0] = [];
    let config = fixture.with_token();
    let said = fixture
        .run(client::python("python/bitbucket_client.py", &none), &config)
        .await;
    let [first, second, third] = &fixture.commits[..] else {
        panic!("three commits")
    };
    assert_eq!(said["workspace"], json!({ "slug": "acme", "name": "acme" }));
    assert_eq!(said["repositories"]["names"], json!(names()));
    assert_eq!(
        said["repository"],
        json!({ "name": "shop", "slug": "shop", "exists": false })
    );
    assert_eq!(said["no repository"]["status"], 404);
    let commit = json!({ "hash": second, "date": true, "author": ["Mei Tanaka", "mei"], "parents": [first] });
    assert_eq!(said["commit"], commit);
    assert_eq!(
        said["commits"]["messages"],
        json!([
            "Serve green tea",
            "Close early",
            "Serve tea",
            "Open the shop"
        ])
    );
    assert_eq!(
        said["commits up to one"]["messages"],
        json!(["Serve tea", "Open the shop"])
    );
    let files = json!([
        [null, "hours.txt", 1, 0],
        ["menu.txt", "menu.txt", 1, 0],
        ["old.txt", null, 0, 1]
    ]);
    assert_eq!(said["diffstat"]["files"], files);
    let diff = said["diff"]["text"].as_str().unwrap();
    assert!(diff.contains("\n+tea\n"), "{diff}");
    assert_eq!(said["source"]["text"], MENU);
    let branches = json!([["main", third], ["tea", tea]]);
    assert_eq!(said["branches"]["branches"], branches);
    assert_eq!(said["pull requests"]["count"], 0);
    python_pull_requests(&said);

    let created = &said["issue created"];
    assert_eq!(
        (
            &created["title"],
            &created["state"],
            &created["text"],
            &created["time"]
        ),
        (
            &json!("Kept"),
            &json!("new"),
            &json!("About Kept."),
            &json!(true)
        )
    );
    assert_eq!(said["issues"]["titles"], json!(["Gone", "Kept"]));
    assert_eq!(said["issues found"]["titles"], json!(["Kept"]));
    assert_eq!(
        said["issue updated"],
        json!({ "state": "resolved", "kind": "bug", "priority": "major" })
    );
    assert_eq!(
        said["comments"],
        json!({ "type": "issue_comment", "texts": ["Fixed."] })
    );
    assert_eq!(said["issue deleted"]["status"], 404);
    assert_eq!(said["no title"]["status"], 400);
    assert_eq!(
        said["hook created"],
        json!({ "url": "https://hooks.example/in", "events": ["repo:push"], "active": true })
    );
    assert_eq!(said["hooks"]["found"], true);
    assert_eq!(
        said["hook updated"],
        json!({ "active": false, "description": "From a client" })
    );
    assert_eq!(said["hook deleted"]["left"], 0);
    fixture.assert_left_behind();
}
