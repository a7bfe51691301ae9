//! What stands behind every call to Bitbucket: one budget for all processes, answers that are asked for once, and a
//! log that says what was called and gives nothing away.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bitbucket_sandbox::{
    Action, Fault, NewCredential, NewRepository, RateLimit, Sandbox, SandboxConfig,
};
use diesel::RunQueryDsl;
use diesel::sql_types::{BigInt, Text};
use serde_json::json;
use tracebucket::app::App;
use tracebucket::bitbucket::page::Caps;
use tracebucket::bitbucket::{Cloud, Credential, Kind, Priority, RepoRef};
use tracebucket::error::AppError;
use tracebucket::features::accounts::OrgId;
use tracebucket::features::calls;
use tracebucket::features::links::{self, CredentialKind, Given, LinkError, LinkId, NewConnection};
use tracebucket::kit::jobs::{self, JobState, enqueue};

use crate::support::world::{commit, git};
use crate::support::{Backend, Options, Tenant, TestApp};

/// A connection by a workspace access token, which Bitbucket tells its limits.
struct Scene {
    bitbucket: Sandbox,
    t: TestApp,
    tenant: Tenant,
    link: LinkId,
    /// The token of the connection.
    secret: String,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn start(backend: Backend, settings: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("bitbucket");
        let config = SandboxConfig {
            strict: true,
            ..SandboxConfig::new(data)
        };
        let bitbucket = tokio::task::spawn_blocking(move || Sandbox::start(config))
            .await
            .unwrap()
            .unwrap();
        bitbucket.create_workspace("acme").unwrap();
        bitbucket
            .create_repository(NewRepository::new("acme", "shop"))
            .await
            .unwrap();
        let mut all = vec![
            ("bitbucket_api_url", bitbucket.url().to_owned()),
            ("bitbucket_web_url", bitbucket.url().to_owned()),
        ];
        all.extend(
            settings
                .iter()
                .map(|(key, value)| (*key, (*value).to_owned())),
        );
        let options = Options {
            settings: all,
            clock: None,
        };
        let t = TestApp::start_with(backend, options).await;
        let tenant = t.tenant("acme").await;
        let (link, secret) = connect(&t, &bitbucket, tenant.org.id).await;
        bitbucket.clear_calls();
        Self {
            bitbucket,
            t,
            tenant,
            link,
            secret,
            folder,
        }
    }

    async fn cloud(&self) -> Cloud {
        cloud(&self.t.app, self.tenant.org.id, self.link).await
    }

    fn limit(&self, limit: u32) {
        self.bitbucket.set_limit(Some(RateLimit {
            limit,
            window_seconds: 3_600,
            retry_after: None,
            credential: None,
        }));
        self.bitbucket.clear_calls();
    }

    /// Calls that Bitbucket saw, git left out, and those that it refused.
    fn seen(&self) -> (usize, usize) {
        let calls = self.bitbucket.calls();
        let api = calls.iter().filter(|call| call.path.starts_with("/2.0/"));
        let refused = api.clone().filter(|call| call.status == 429).count();
        (api.count(), refused)
    }

    fn clone_repo(&self) -> PathBuf {
        let target = self.folder.path().join("work");
        let url = self.bitbucket.clone_url("acme/shop");
        git(self.folder.path(), &["clone", "-q", &url, "work"]);
        target
    }

    /// Two commits on the main branch; their hashes.
    fn push_two(&self) -> (PathBuf, String, String) {
        let work = self.clone_repo();
        let first = commit(&work, "a.py", "one\n", "first");
        std::fs::write(work.join("b.py"), "two\n").unwrap();
        let second = commit(&work, "a.py", "one\ntwo\n", "second");
        git(&work, &["push", "-q", "origin", "HEAD:main"]);
        (work, first, second)
    }

    async fn sql(&self, sql: &str) -> String {
        let sql = sql.to_owned();
        let read = self.t.app.db.read(move |conn| {
            let rows: Vec<Line> = diesel::sql_query(sql).load(conn)?;
            Ok::<_, AppError>(rows)
        });
        let lines = read.await.unwrap().into_iter().map(|row| row.line);
        lines.collect::<Vec<_>>().join("\n")
    }

    async fn number(&self, sql: &str) -> i64 {
        let sql = format!("SELECT CAST(({sql}) AS BIGINT) AS number");
        let read = self.t.app.db.read(move |conn| {
            let row: Number = diesel::sql_query(sql).get_result(conn)?;
            Ok::<_, AppError>(row.number)
        });
        read.await.unwrap()
    }

    async fn page(&self, path: &str) -> String {
        let cookie = self.t.session(&self.tenant.owner).await;
        let request = self.t.http.get(self.t.url(path)).header("cookie", cookie);
        let answer = request.header("accept", "text/html").send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }
}

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Connects the organization to `acme` with a token of its own; answers the link and the token.
async fn connect(t: &TestApp, bitbucket: &Sandbox, org: OrgId) -> (LinkId, String) {
    let scopes = links::features::wanted_scopes(CredentialKind::WorkspaceToken);
    let made = bitbucket
        .create_credential(&NewCredential::WorkspaceAccessToken {
            workspace: "acme".into(),
            name: format!("tracebucket {org}"),
            scopes: scopes.into_iter().map(str::to_owned).collect(),
            expires_in: None,
        })
        .unwrap();
    let secret = made.secret.expose().to_owned();
    let plain = t
        .app
        .bitbucket
        .for_credential(Credential::Bearer(secret.as_str().into()));
    let workspace = plain.workspace("acme").await.unwrap();
    let new = NewConnection {
        kind: CredentialKind::WorkspaceToken,
        credential: Given::AccessToken {
            token: secret.as_str().into(),
        },
        workspace_uuid: workspace.uuid.unwrap(),
        workspace: "acme".into(),
        label: "Shop team".into(),
        purpose: String::new(),
        owner: None,
        private: false,
        expires_at: None,
    };
    let link = links::connect_named(&t.app, org, new, "Olga Owner")
        .await
        .unwrap();
    t.run_jobs().await;
    (link.id, secret)
}

async fn cloud(app: &App, org: OrgId, link: LinkId) -> Cloud {
    links::client_for_link(app, org, link)
        .await
        .unwrap()
        .cloud()
        .unwrap()
        .clone()
}

fn repo() -> RepoRef {
    RepoRef::from_full_name("acme/shop").unwrap()
}

/// Calls until it is refused; answers how often that went well, and the wait that it is told.
async fn call_until_refused(cloud: &Cloud) -> (usize, Duration) {
    for count in 0..500 {
        match cloud.workspace("acme").await {
            Ok(_) => {}
            Err(error) => {
                assert!(error.out_of_budget(), "{error:?}");
                return (count, error.retry_after().unwrap());
            }
        }
    }
    panic!("nothing stopped it");
}

fn status(status: u16, retry_after: Option<u32>) -> Action {
    Action::Status {
        status,
        retry_after,
        body: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_one_budget_and_never_exceed_it() {
    const LIMIT: usize = 100;
    let scene = Scene::start(Backend::Postgres, &[]).await;
    let other = scene.t.another_app().await;
    scene.limit(100);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let app = if number % 2 == 0 {
            &scene.t.app
        } else {
            &other
        };
        let cloud = cloud(app, scene.tenant.org.id, scene.link).await;
        tasks.spawn(async move { call_until_refused(&cloud).await });
    }
    let ends = tasks.join_all().await;
    let made: usize = ends.iter().map(|(made, _)| made).sum();
    assert_eq!(scene.seen(), (made, 0), "Bitbucket had to refuse nothing");
    assert!((LIMIT - 30..=LIMIT).contains(&made), "{made} of {LIMIT}");
    for (_, wait) in ends {
        assert!(
            wait > Duration::from_secs(300),
            "until the refill: {wait:?}"
        );
        assert!(wait <= Duration::from_secs(13 * 300), "{wait:?}");
    }
}

async fn backfill_stops_first_and_people_go_on(backend: Backend) {
    let scene = Scene::start(backend, &[]).await;
    scene.limit(100);
    let cloud = scene.cloud().await;
    let (backfill, wait) =
        call_until_refused(&cloud.clone().with_priority(Priority::Backfill)).await;
    assert!((40..=60).contains(&backfill), "{backfill}");
    assert!(wait > Duration::from_secs(300), "{wait:?}");
    let (sync, _) = call_until_refused(&cloud.clone().with_priority(Priority::Sync)).await;
    assert!(
        (70..=85).contains(&(backfill + sync)),
        "{backfill} + {sync}"
    );
    cloud.workspace("acme").await.unwrap();
    let path = format!("/o/acme/connections/{}/", scene.link);
    let page = scene.page(&path).await;
    assert!(page.contains("of 100"), "the budget is shown: {page}");
    let (people, _) = call_until_refused(&cloud).await;
    let made = backfill + sync + 1 + people;
    assert_eq!(scene.seen(), (made, 0));
    assert!((90..=100).contains(&made), "{made}");
    // A person is told when to come back, and a job waits without having failed.
    let body = json!({ "provider": "integrations:bitbucket", "installation": scene.link.to_string(), "identifier": "acme/shop" });
    let token = &scene.tenant.token;
    let request = scene
        .t
        .call("POST", "/api/0/organizations/acme/repos/", token);
    let answer = request.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let after = answer.headers()["retry-after"].to_str().unwrap();
    assert!(after.parse::<u64>().unwrap() > 300, "{after}");
    let (org, repo, now) = (scene.tenant.org.id, "acme/shop", scene.t.app.clock.now());
    let job = links::SyncRepos {
        org,
        link: scene.link,
    };
    scene
        .t
        .app
        .db
        .write(move |tx| {
            // Something to look up.
            links::repo_for_release(tx, org, repo, None, now)?;
            Ok::<_, AppError>(enqueue(tx, &job, now)?)
        })
        .await
        .unwrap();
    scene.t.run_jobs().await;
    let filter = jobs::Filter {
        state: Some(JobState::Ready),
        kind: Some("links.sync_repos".into()),
        ..jobs::Filter::default()
    };
    let waiting = scene
        .t
        .app
        .db
        .read(move |conn| Ok::<_, AppError>(jobs::list(conn, &filter, 10)?))
        .await
        .unwrap();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0].attempts, 0, "it has not failed");
    assert!(waiting[0].run_at > now.plus(Duration::from_secs(300)));
    assert_eq!(scene.seen(), (made, 0));
}

async fn a_pause_holds_for_everything(backend: Backend) {
    let scene = Scene::start(backend, &[]).await;
    let other = match backend {
        Backend::Postgres => Some(scene.t.another_app().await),
        Backend::Sqlite => None,
    };
    let cloud = scene.cloud().await;
    scene
        .bitbucket
        .add_fault(Fault::once("GET", "/workspaces/acme", status(429, Some(7))));
    let started = Instant::now();
    let error = cloud.workspace("acme").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (Kind::RateLimited, Some(429))
    );
    let calls = scene.seen().0;
    let mut clouds = vec![cloud.clone()];
    if let Some(other) = &other {
        clouds.push(self::cloud(other, scene.tenant.org.id, scene.link).await);
    }
    for cloud in &clouds {
        // Another path, another group, another priority: the credential waits.
        let error = cloud.hooks(&repo(), Caps::DEFAULT).await.unwrap_err();
        assert!(error.out_of_budget(), "{error:?}");
        assert!(LinkError::from(error).is_temporary());
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(scene.seen().0, calls, "nothing was sent");
    tokio::time::sleep(Duration::from_millis(7_500).saturating_sub(started.elapsed())).await;
    for cloud in &clouds {
        cloud.workspace("acme").await.unwrap();
    }
}

async fn a_warning_leaves_the_rest_to_people(backend: Backend) {
    let scene = Scene::start(backend, &[]).await;
    scene.limit(20);
    // Somebody else uses the same token up.
    let somebody = scene
        .t
        .app
        .bitbucket
        .for_credential(Credential::Bearer(scene.secret.as_str().into()));
    for _ in 0..16 {
        somebody.workspace("acme").await.unwrap();
    }
    let cloud = scene.cloud().await;
    cloud.workspace("acme").await.unwrap();
    for priority in [Priority::Sync, Priority::Backfill] {
        let background = cloud.clone().with_priority(priority);
        let error = background.workspace("acme").await.unwrap_err();
        assert!(error.out_of_budget(), "{error:?}");
    }
    cloud.workspace("acme").await.unwrap();
    assert_eq!(scene.seen(), (18, 0));
}

async fn read_everything(cloud: &Cloud, hash: &str, range: &str) -> Vec<u8> {
    let repo = repo();
    let commit = cloud.commit(&repo, hash).await.unwrap();
    assert_eq!(commit.hash, hash);
    let files = cloud.diffstat(&repo, range, Caps::DEFAULT).await.unwrap();
    let mut all = cloud.diff(&repo, range, &[], 100_000).await.unwrap();
    all.extend(cloud.source(&repo, hash, "a.py", 1_000).await.unwrap());
    all.extend(format!("{:?}", files.items).into_bytes());
    all
}

async fn what_a_hash_names_costs_one_call_for_one_organization(backend: Backend) {
    let scene = Scene::start(backend, &[]).await;
    let (_, first, second) = scene.push_two();
    let range = format!("{second}..{first}");
    scene.bitbucket.clear_calls();
    let once = read_everything(&scene.cloud().await, &second, &range).await;
    let calls = scene.seen().0;
    assert_eq!(calls, 4);
    assert!(String::from_utf8_lossy(&once).contains("+two"));
    let again = read_everything(&scene.cloud().await, &second, &range).await;
    assert_eq!(once, again);
    assert_eq!(scene.seen().0, calls, "a second read costs nothing");
    if backend == Backend::Postgres {
        let other = scene.t.another_app().await;
        let cloud = cloud(&other, scene.tenant.org.id, scene.link).await;
        read_everything(&cloud, &second, &range).await;
        assert_eq!(scene.seen().0, calls, "nor in another process");
    }
    // Another organization asks for itself, and its kept answers are its own.
    let stranger = scene.t.tenant("other").await;
    let (link, _) = connect(&scene.t, &scene.bitbucket, stranger.org.id).await;
    scene.bitbucket.clear_calls();
    let cloud = cloud(&scene.t.app, stranger.org.id, link).await;
    read_everything(&cloud, &second, &range).await;
    assert_eq!(scene.seen().0, 4);
    // What was refused is asked for again.
    let missing = "0".repeat(40);
    let cloud = scene.cloud().await;
    for count in 5..7 {
        let error = cloud.commit(&repo(), &missing).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(scene.seen().0, count);
    }
}

async fn a_file_of_a_branch_is_sent_only_when_it_changed(backend: Backend) {
    let scene = Scene::start(backend, &[]).await;
    let (work, ..) = scene.push_two();
    let cloud = scene.cloud().await;
    let read = async || cloud.source(&repo(), "main", "a.py", 1_000).await.unwrap();
    let statuses = || {
        let calls = scene.bitbucket.calls();
        let api = calls.iter().filter(|call| call.path.contains("/src/"));
        api.map(|call| call.status).collect::<Vec<_>>()
    };
    scene.bitbucket.clear_calls();
    assert_eq!(read().await, b"one\ntwo\n");
    assert_eq!(read().await, b"one\ntwo\n");
    assert_eq!(statuses(), [200, 304]);
    commit(&work, "a.py", "three\n", "third");
    git(&work, &["push", "-q", "origin", "HEAD:main"]);
    assert_eq!(read().await, b"three\n");
    assert_eq!(read().await, b"three\n");
    assert_eq!(statuses(), [200, 304, 200, 304]);
}

async fn a_diff_that_is_too_big_is_narrowed(backend: Backend) {
    let scene = Scene::start(backend, &[]).await;
    let (_, _, second) = scene.push_two();
    let plain = scene
        .t
        .app
        .bitbucket
        .for_credential(Credential::Bearer(scene.secret.as_str().into()));
    let whole = plain.diff(&repo(), &second, &[], 100_000).await.unwrap();
    let mut fault = Fault::once("GET", "/diff/", status(555, None));
    fault.matching.times = Some(1);
    scene.bitbucket.add_fault(fault);
    scene.bitbucket.clear_calls();
    let cloud = scene.cloud().await;
    let pieces = cloud.diff(&repo(), &second, &[], 100_000).await.unwrap();
    assert_eq!(
        String::from_utf8(pieces).unwrap(),
        String::from_utf8(whole).unwrap()
    );
    let paths: Vec<_> = scene
        .bitbucket
        .calls()
        .into_iter()
        .map(|call| call.path)
        .collect();
    assert_eq!(paths.len(), 4, "{paths:?}");
    assert!(paths[1].contains("/diffstat/"), "{paths:?}");
    assert!(paths[2].ends_with("?path=a.py"), "{paths:?}");
    assert!(paths[3].ends_with("?path=b.py"), "{paths:?}");
}

async fn the_log_tells_what_was_called_and_no_secret(backend: Backend) {
    let scene = Scene::start(backend, &[]).await;
    let (_, _, second) = scene.push_two();
    let cloud = scene.cloud().await.for_feature("releases");
    cloud.commit(&repo(), &second).await.unwrap();
    cloud.commit(&repo(), &second).await.unwrap();
    let tickets = scene.cloud().await.for_feature("tickets");
    scene
        .bitbucket
        .add_fault(Fault::once("GET", "/branches", status(403, None)));
    tickets.branches(&repo(), Caps::DEFAULT).await.unwrap_err();
    calls::flush(&scene.t.app).await.unwrap();
    let lines = scene
        .sql(
            "SELECT feature || ' ' || method || ' ' || path || ' ' || outcome || ' ' || \
             COALESCE(CAST(status AS TEXT), '-') AS line FROM bitbucket_calls \
             WHERE feature IN ('releases', 'tickets') ORDER BY id",
        )
        .await;
    assert_eq!(
        lines,
        "releases GET /repositories/{workspace}/{repo_slug}/commit/{commit} ok 200\n\
         releases GET /repositories/{workspace}/{repo_slug}/commit/{commit} cached -\n\
         tickets GET /repositories/{workspace}/{repo_slug}/refs/branches forbidden 403"
    );
    let path = format!("/o/acme/connections/{}/", scene.link);
    let page = scene.page(&path).await;
    for text in [
        "Recent calls",
        "commit/{commit}",
        "refs/branches",
        "forbidden",
        "Last errors",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let page_of = scene.page(&format!("{path}?calls=tickets")).await;
    assert!(page_of.contains("refs/branches") && !page_of.contains("commit/{commit}"));
    let everything = scene
        .sql(
            "SELECT feature || path || outcome || COALESCE(request_id, '') AS line FROM bitbucket_calls \
             UNION ALL SELECT budget AS line FROM rate_budgets",
        )
        .await;
    for secret in [&scene.secret, &hex::encode(&scene.secret), &second] {
        assert!(!everything.contains(secret.as_str()) && !page.contains(secret.as_str()));
    }
    let figures = scene
        .t
        .http
        .get(scene.t.url("/metrics"))
        .send()
        .await
        .unwrap();
    let figures = figures.text().await.unwrap();
    for outcome in ["ok", "cached"] {
        let line = format!(
            "tracebucket_bitbucket_calls_total{{path=\"commit\",method=\"GET\",outcome=\"{outcome}\"}} 1"
        );
        assert!(figures.contains(&line), "{line}: {figures}");
    }
    // Another organization sees none of it.
    let stranger = scene.t.tenant("other").await;
    let cookie = scene.t.session(&stranger.owner).await;
    let request = scene
        .t
        .http
        .get(scene.t.url(&path))
        .header("cookie", cookie);
    assert_eq!(request.send().await.unwrap().status(), 404);
}

async fn the_store_of_answers_keeps_to_its_bound(backend: Backend) {
    const FILES: usize = 60;
    let scene = Scene::start(backend, &[("bitbucket_cache_kib", "64")]).await;
    let work = scene.clone_repo();
    for number in 0..FILES {
        let noise = tracebucket::kit::crypto::random_hex(1_000);
        std::fs::write(work.join(format!("{number}.txt")), noise).unwrap();
    }
    let hash = commit(&work, "last.txt", "x", "many files");
    git(&work, &["push", "-q", "origin", "HEAD:main"]);
    scene.bitbucket.clear_calls();
    let cloud = scene.cloud().await;
    let read = async |number: usize| {
        let path = format!("{number}.txt");
        let file = cloud.source(&repo(), &hash, &path, 10_000).await.unwrap();
        assert_eq!(file.len(), 2_000);
    };
    for number in 0..FILES {
        read(number).await;
    }
    let bytes = "SELECT COALESCE(SUM(size), 0) FROM kept_answers";
    assert!(
        scene.number(bytes).await > 64 * 1_024,
        "more than there is room for"
    );
    scene.t.run_jobs().await;
    let kept = scene.number(bytes).await;
    assert!((40 * 1_024..=64 * 1_024).contains(&kept), "{kept}");
    let calls = scene.seen().0;
    assert_eq!(calls, FILES);
    read(FILES - 1).await;
    assert_eq!(scene.seen().0, calls, "the newest is still there");
    read(0).await;
    assert_eq!(scene.seen().0, calls + 1, "the oldest had to go");
}

macro_rules! on_both {
    ($($story:ident => $sqlite:ident, $postgres:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $sqlite() {
            $story(Backend::Sqlite).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $postgres() {
            $story(Backend::Postgres).await;
        }
    )+};
}

on_both! {
    backfill_stops_first_and_people_go_on => priorities_on_sqlite, priorities_on_postgres;
    a_pause_holds_for_everything => pause_on_sqlite, pause_on_postgres;
    a_warning_leaves_the_rest_to_people => warning_on_sqlite, warning_on_postgres;
    what_a_hash_names_costs_one_call_for_one_organization => kept_on_sqlite, kept_on_postgres;
    a_file_of_a_branch_is_sent_only_when_it_changed => conditional_on_sqlite, conditional_on_postgres;
    a_diff_that_is_too_big_is_narrowed => narrowed_on_sqlite, narrowed_on_postgres;
    the_log_tells_what_was_called_and_no_secret => log_on_sqlite, log_on_postgres;
    the_store_of_answers_keeps_to_its_bound => bound_on_sqlite, bound_on_postgres;
}
