//! `admin … create` and `--dev`: what the command line prints, keeps and refuses.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tracebucket::features::accounts::{self, Role};

use crate::support::{TestApp, both};

/// One command as a person types it, in `folder` beside the server of `t`; standard output, or the error.
async fn run(t: &TestApp, folder: &Path, args: &[&str], input: &str) -> Result<String, String> {
    let config = &t.app.config;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracebucket"));
    command
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("TRACEBUCKET_LOG", "off")
        .env("TRACEBUCKET_PUBLIC_URL", config.public_url.as_str())
        .env("TRACEBUCKET_DATABASE_URL", config.database_url.expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        assert!(output.stdout.is_empty(), "an error prints no value");
        Err(text(output.stderr))
    }
}

fn json(text: &str) -> Value {
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(text).unwrap()
}

both! {
    async fn a_server_is_furnished_from_the_command_line(t) {
        let folder = tempfile::tempdir().unwrap();
        let run = async |line: &str, input: &str| {
            let args: Vec<_> = ["--dev", "admin"].into_iter().chain(line.split(' ')).collect();
            run(&t, folder.path(), &args, input).await
        };
        let org = json(&run("--json org create --slug acme --name Acme", "").await.unwrap());
        assert_eq!(org["slug"], "acme");
        let line = run("org create --slug beta --name Beta", "").await.unwrap();
        assert!(line.starts_with("Organization beta has id "), "{line}");

        let project = json(&run("project create --org acme --slug shop --platform python", "").await.unwrap());
        assert_eq!(project.as_object().unwrap().keys().collect::<Vec<_>>(), ["dsn", "id", "slug"]);
        assert_eq!(project["slug"], "shop");
        let dsn = project["dsn"].as_str().unwrap();
        assert!(dsn.ends_with(&format!("/{}", project["id"].as_str().unwrap())), "{dsn}");

        let user = run("user create --email a@example.com --org acme --role owner", "correct horse battery\n").await;
        assert_eq!(user.unwrap(), "a@example.com is owner\n");
        let again = json(&run("--json user create --email a@example.com --org beta --role member", "correct horse battery\n").await.unwrap());
        assert_eq!((again["email"].as_str(), again["role"].as_str()), (Some("a@example.com"), Some("member")));

        let token = run("token create --org acme --name ci --scopes org:read,project:read", "").await.unwrap();
        assert!(token.starts_with("sntrys_") && token.lines().count() == 1, "{token}");
        t.get("/api/0/organizations/acme/", token.trim(), 200).await;
        t.get("/api/0/organizations/beta/", token.trim(), 404).await;
        let other = json(&run("--json token create --org beta --name ci --scopes org:read", "").await.unwrap());
        t.get("/api/0/organizations/beta/", other["token"].as_str().unwrap(), 200).await;

        let mine = run("token create --user A@example.com --name laptop --scopes org:read,org:ci", "").await.unwrap();
        assert!(mine.starts_with("sntryu_") && mine.lines().count() == 1, "{mine}");
        for org in ["acme", "beta"] {
            t.get(&format!("/api/0/organizations/{org}/"), mine.trim(), 200).await;
        }
        // A member may not set projects up, an owner may; the same token in both places.
        let made = run("token create --user a@example.com --name setup --scopes project:write", "").await.unwrap();
        for (org, status) in [("acme", 201), ("beta", 403)] {
            let path = format!("/api/0/organizations/{org}/projects/");
            t.send("POST", &path, made.trim(), serde_json::json!({ "name": "Second" }), status).await;
        }

        let written = t.app.db.read(|conn| {
            use diesel::prelude::*;
            #[derive(QueryableByName)]
            struct Row { #[diesel(sql_type = diesel::sql_types::Text)] action: String }
            let rows: Vec<Row> = diesel::sql_query("SELECT action FROM audit_log WHERE actor = 'admin command' ORDER BY id").load(conn)?;
            Ok::<_, tracebucket::error::AppError>(rows.into_iter().map(|row| row.action).collect::<Vec<_>>())
        }).await.unwrap();
        let expected = ["create_org", "create_org", "create_project", "create_user", "create_user", "create_token", "create_token",
            // Told to both organizations.
            "create_user_token", "create_user_token", "create_user_token", "create_user_token"];
        assert_eq!(written, expected.map(|action| format!("accounts.{action}")));
    }

    async fn wrong_commands_say_why_and_change_nothing(t) {
        let folder = tempfile::tempdir().unwrap();
        let run = async |line: &str, input: &str| {
            let args: Vec<_> = ["--dev", "admin"].into_iter().chain(line.split(' ')).collect();
            run(&t, folder.path(), &args, input).await.unwrap_err()
        };
        let acme = t.tenant("acme").await.org.id;
        let now = t.app.clock.now();
        t.app.db.write(move |tx| accounts::create_member(tx, acme, "mia@acme.example", "", "", Role::Member, now)).await.unwrap();
        for (line, input, reason) in [
            ("org create --slug acme --name Again", "", "acme"),
            ("org create --slug A/B --name Wrong", "", "slug"),
            ("project create --org nobody --slug shop", "", "nobody"),
            ("project create --org acme --slug Not!A!Slug", "", "slug"),
            ("user create --email b@example.com --org acme --role king", "long enough password", "owner, manager or member"),
            ("user create --email b@example.com --org acme --role owner", "short", "password"),
            ("user create --email no-address --org acme --role owner", "long enough password", "mail"),
            ("user create --email b@example.com --org nobody --role owner", "long enough password", "nobody"),
            ("token create --org acme --name ci --scopes org:fly", "", "org:fly"),
            ("token create --org acme --name ci --scopes ,", "", "at least one scope"),
            ("token create --name ci --scopes org:read", "", "--org"),
            ("token create --org acme --user owner@acme.example --name ci --scopes org:read", "", "--user"),
            ("token create --user nobody@acme.example --name ci --scopes org:read", "", "nobody@acme.example"),
            ("token create --user mia@acme.example --name ci --scopes org:read,org:admin", "", "org:admin"),
            ("token create --org nobody --name ci --scopes org:read", "", "nobody"),
        ] {
            let said = run(line, input).await;
            assert!(said.contains(reason), "{line}: {said}");
            assert!(!said.contains("long enough password") && !said.contains("panicked"), "{said}");
        }
    }

    async fn dev_makes_one_key_that_its_owner_alone_may_read(t) {
        let folder = tempfile::tempdir().unwrap();
        let (t, place) = (&t, folder.path());
        let org = |dev: bool, slug: &'static str| async move {
            let mut args = vec!["admin", "org", "create", "--slug", slug, "--name", slug];
            if dev { args.insert(0, "--dev"); }
            run(t, place, &args, "").await
        };
        let refused = org(false, "zero").await.unwrap_err();
        assert!(refused.contains("admin keys generate"), "{refused}");
        // Two at once make one file.
        let (one, two) = tokio::join!(org(true, "one"), org(true, "two"));
        one.unwrap();
        two.unwrap();
        let file = if t.app.db.url().is_sqlite() {
            Path::new(t.app.config.database_url.expose().trim_start_matches("sqlite://")).with_file_name("dev.keys")
        } else {
            place.join("data/dev.keys")
        };
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let key = std::fs::read_to_string(&file).unwrap();
        assert_eq!(key.lines().count(), 1);
        // A command finds the key without being told, and keeps it.
        org(false, "three").await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), key);
        let left: Vec<_> = std::fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|name| name.contains("keys")).collect();
        assert_eq!(left, ["dev.keys"]);
    }
}

/// Other variables may hold any bytes; one of ours that does is a wrong value, not a crash.
#[test]
fn an_environment_that_is_no_text_is_no_panic() {
    use std::os::unix::ffi::OsStrExt;
    let junk = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_tracebucket"))
            .args(["--dev", "migrate"])
            .current_dir(folder.path())
            .env_clear()
            .env("TRACEBUCKET_DATABASE_URL", "sqlite://here.db")
            .env(name, junk)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert!(run("SOMETHING").0);
    let (worked, said) = run("TRACEBUCKET_PUBLIC_URL");
    assert!(
        !worked && said.contains("public_url") && !said.contains("panicked"),
        "{said}"
    );
}
