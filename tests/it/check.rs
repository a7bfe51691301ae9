//! `tracebucket check`, the doctor: one line for each thing, advice for what is wrong, and an exit status.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use bitbucket_sandbox::{Action, Fault, Rule};
use tracebucket::kit::crypto::Sealer;

use crate::support::world::{Way, World, expect_violations, hidden};
use crate::support::{Backend, TestApp};

/// Runs the doctor beside the application with some settings changed; answers whether all is well, and its lines.
async fn check(t: &TestApp, dev: bool, changes: &[(&str, &str)]) -> (bool, String) {
    let config = &t.app.config;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracebucket"));
    command
        .args(if dev {
            vec!["--dev", "check"]
        } else {
            vec!["check"]
        })
        .current_dir(folder.path())
        .env_clear()
        .env("TRACEBUCKET_LOG", "off");
    for (key, value) in [
        ("PUBLIC_URL", config.public_url.as_str()),
        ("DATABASE_URL", config.database_url.expose()),
        ("SECRET_KEYS", config.secret_keys.as_ref().unwrap().expose()),
        ("BITBUCKET_API_URL", config.bitbucket_api_url.as_str()),
        ("BITBUCKET_WEB_URL", config.bitbucket_web_url.as_str()),
    ] {
        let changed = changes.iter().find(|(name, _)| *name == key);
        command.env(
            format!("TRACEBUCKET_{key}"),
            changed.map_or(value, |(_, value)| value),
        );
    }
    let output = tokio::task::spawn_blocking(move || {
        let output = command.output().unwrap();
        drop(folder);
        output
    })
    .await
    .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), text)
}

async fn doctor(backend: Backend) {
    let world = World::new(backend).await;
    let t = &world.t;
    let (well, lines) = check(t, true, &[]).await;
    assert!(well, "{lines}");
    for line in [
        "ok    configuration: ",
        "ok    public URL: ",
        "ok    keys: ",
        "ok    database: ",
        "ok    Bitbucket: ",
        "ok    clock: ",
        "ok    webhook secrets: 1, all can be opened",
        "ok    connection acme → acme: ",
        "note  own address: ",
    ] {
        assert!(lines.contains(line), "{line}\n{lines}");
    }
    let secret = t.app.config.secret_keys.as_ref().unwrap().expose();
    assert!(
        !lines.contains(secret.split(':').nth(1).unwrap()),
        "{lines}"
    );

    // Our own address, asked where the rules for outgoing calls let it be.
    let (_, lines) = check(t, true, &[("BITBUCKET_API_URL", &t.base)]).await;
    assert!(lines.contains("ok    own address: "), "{lines}");
    let (well, lines) = check(t, true, &[("PUBLIC_URL", world.bitbucket.url())]).await;
    assert!(
        !well && lines.contains("FAIL  own address: ") && lines.contains("another server"),
        "{lines}"
    );

    // A credential that Bitbucket does not take any more.
    world.bitbucket.add_fault(Fault::always(
        "GET",
        "/2.0/workspaces/",
        Action::Status {
            status: 401,
            retry_after: None,
            body: None,
        },
    ));
    let (well, lines) = check(t, true, &[]).await;
    world.bitbucket.clear_faults();
    assert!(
        !well && lines.contains("FAIL  connection acme → acme: Bitbucket answered 401"),
        "{lines}"
    );
    assert!(lines.contains("Reconnect the workspace"), "advice: {lines}");

    // Other keys than those that sealed the data.
    let other = Sealer::generate_key_line();
    let (well, lines) = check(t, true, &[("SECRET_KEYS", &other)]).await;
    assert!(
        !well && lines.contains("FAIL  webhook secrets: 1 of 1 cannot be opened"),
        "{lines}"
    );
    assert!(
        lines.contains("FAIL  connection acme → acme: its secret cannot be opened"),
        "{lines}"
    );

    let (well, lines) = check(t, true, &[("SECRET_KEYS", "nonsense")]).await;
    assert!(
        !well && lines.contains("FAIL  keys: ") && lines.contains("keys generate"),
        "{lines}"
    );
    let (well, lines) = check(t, true, &[("PUBLIC_URL", "nonsense")]).await;
    assert!(
        !well && lines.starts_with("FAIL  configuration: "),
        "{lines}"
    );

    // Not for a machine of one's own: https is asked for, also of a Bitbucket.
    let (well, lines) = check(t, false, &[("PUBLIC_URL", "http://tracebucket.example")]).await;
    assert!(!well && lines.contains("is not https"), "{lines}");

    // A clock that is wrong by years, and a Bitbucket that is not there.
    let (url, server) = old_server();
    let (well, lines) = check(t, true, &[("BITBUCKET_API_URL", &url)]).await;
    assert!(
        !well && lines.contains("s ahead of Bitbucket") && lines.contains("set-ntp"),
        "{lines}"
    );
    drop(server);
    let (well, lines) = check(t, true, &[("BITBUCKET_API_URL", "http://127.0.0.1:9")]).await;
    assert!(
        !well && lines.contains("FAIL  Bitbucket: http://127.0.0.1:9/ cannot be reached"),
        "{lines}"
    );
    assert!(
        !lines.contains("connection acme"),
        "each would say the same: {lines}"
    );

    // A database that is not there: not made, and said.
    let (well, lines) = check(t, true, &[("DATABASE_URL", "sqlite://none/at/all.db")]).await;
    assert!(
        well && lines.contains("note  database: none/at/all.db does not exist yet"),
        "{lines}"
    );
    let closed = "postgres://nobody:secret-word@127.0.0.1:9/none";
    let (well, lines) = check(t, true, &[("DATABASE_URL", closed)]).await;
    assert!(
        !well && lines.contains("FAIL  database: ") && !lines.contains("secret-word"),
        "{lines}"
    );
    expect_violations(&world.bitbucket, &[Rule::UnknownRoute]);
    world.finish().await;
}

/// Answers everything with a date of long ago.
fn old_server() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accepting = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = accepting.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    (url, listener)
}

/// The first key is made before there is anything else.
#[test]
fn a_key_is_made_without_settings() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tracebucket"))
            .args(args)
            .current_dir(folder.path())
            .env_clear()
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let line = run(&["admin", "keys", "generate"]);
    assert!(Sealer::parse(line.trim()).is_ok());
    let json = run(&["admin", "--json", "keys", "generate"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(Sealer::parse(json["key"].as_str().unwrap()).is_ok());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A credential that ends soon, described on its page, and then one that is taken back.
async fn named(backend: Backend) {
    let world = World::over(backend, Way::ApiToken).await;
    let t = &world.t;
    let page = t.url(&format!("/o/acme/connections/{}/", world.integration));
    let cookie = t.session(&world.tenant.owner).await;
    let get = || t.http.get(&page).header("cookie", &cookie).send();
    let csrf = hidden(&get().await.unwrap().text().await.unwrap(), "csrf");
    let edit = |label: &str, expires_on: &str| {
        let form = [
            ("csrf", csrf.as_str()),
            ("label", label),
            ("purpose", "Errors of the shop"),
            ("expires_on", expires_on),
        ];
        let request = t.http.post(format!("{page}edit/"));
        request
            .header("cookie", &cookie)
            .header("origin", &t.base)
            .form(&form)
            .send()
    };
    let soon = t.app.clock.now().plus(Duration::from_secs(5 * 86_400));
    let day: String = soon.to_rfc3339().chars().take(10).collect();
    assert_eq!(edit("Shop team", &day).await.unwrap().status(), 303);
    let html = get().await.unwrap().text().await.unwrap();
    for text in ["Shop team", "Errors of the shop", day.as_str()] {
        assert!(html.contains(text), "{text}: {html}");
    }
    for (label, end) in [("x".repeat(101), ""), ("Shop".to_owned(), "tomorrow")] {
        assert_eq!(edit(&label, end).await.unwrap().status(), 303);
        let html = get().await.unwrap().text().await.unwrap();
        assert!(html.contains("Shop team"), "nothing has changed: {html}");
    }
    let (well, lines) = check(t, true, &[]).await;
    assert!(well, "{lines}");
    for line in [
        "note  connection acme → Shop team: The credential ends within two weeks",
        "ok    connection acme → Shop team: ",
    ] {
        assert!(lines.contains(line), "{line}\n{lines}");
    }

    let refused = Action::Status {
        status: 401,
        retry_after: None,
        body: None,
    };
    world
        .bitbucket
        .add_fault(Fault::always("GET", "/2.0/", refused));
    let search = format!(
        "/api/0/organizations/acme/integrations/{}/repos/",
        world.integration
    );
    let refused = t.call("GET", &search, &world.tenant.token).send().await;
    assert_ne!(refused.unwrap().status(), 200);
    let (well, lines) = check(t, true, &[]).await;
    assert!(
        !well
            && lines.contains("FAIL  connection acme → Shop team: ")
            && lines.contains("Re-authorise"),
        "{lines}"
    );
    expect_violations(&world.bitbucket, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_on_sqlite() {
    named(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_on_postgres() {
    named(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    doctor(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    doctor(Backend::Postgres).await;
}
