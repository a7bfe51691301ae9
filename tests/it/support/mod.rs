//! The test application: the real one, on a fresh database, on a port of its own.

pub mod client;
pub mod program;
pub mod proxy;
pub mod schemas;
pub mod sdk;
pub mod world;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tracebucket::app::App;
use tracebucket::config::Sources;
use tracebucket::error::AppError;
use tracebucket::features::accounts::{
    self, NewProject, Org, Project, ProjectKey, Role, ScopeSet, User,
};
use tracebucket::kit::clock::Clock;
use tracebucket::kit::crypto::{Sealer, TokenHash, random_hex};
use tracebucket::kit::db::{Db, OpenAs};
use tracebucket::kit::jobs::{self, Runner};
use tracebucket::{server, worker};

/// Writes one test for each database: `both! { async fn name(t) { … } }`, where `t` is a started [`TestApp`].
macro_rules! both {
    ($(async fn $name:ident($t:ident) $body:block)+) => {
        $(mod $name {
            #[allow(unused_imports, reason = "not every body needs the names around it")]
            use super::*;
            async fn story($t: $crate::support::TestApp) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                story($crate::support::TestApp::start($crate::support::Backend::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                story($crate::support::TestApp::start($crate::support::Backend::Postgres).await).await;
            }
        })+
    };
}
pub(crate) use both;

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// How long a test waits for what must come, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something holds; the test fails when it does not within [`PATIENCE`].
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "it never happened: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A batching write door that a closure holds open: whatever is asked for meanwhile waits behind it.
pub struct HeldDoor {
    gate: Arc<std::sync::Barrier>,
    holding: tokio::task::JoinHandle<Result<(), AppError>>,
}

impl HeldDoor {
    /// Answers when the door is held.
    pub async fn of(db: &Db) -> Self {
        let (entered, inside) = tokio::sync::oneshot::channel();
        let gate = Arc::new(std::sync::Barrier::new(2));
        let (db, within, mut entered) = (db.clone(), Arc::clone(&gate), Some(entered));
        let holding = tokio::spawn(async move {
            db.write_batched(move |_| {
                if let Some(entered) = entered.take() {
                    entered.send(()).unwrap();
                }
                within.wait();
                Ok::<_, AppError>(())
            })
            .await
        });
        inside.await.unwrap();
        Self { gate, holding }
    }

    pub async fn release(self) {
        let gate = self.gate;
        tokio::task::spawn_blocking(move || gate.wait())
            .await
            .unwrap();
        self.holding.await.unwrap().unwrap();
    }
}

/// What differs from the usual test application.
#[derive(Default)]
pub struct Options {
    /// Settings of `tracebucket.toml`.
    pub settings: Vec<(&'static str, String)>,
    /// A clock that stands still, where a test is about time.
    pub clock: Option<Clock>,
}

/// A running application with its database; both end with the value.
pub struct TestApp {
    pub app: App,
    /// `http://127.0.0.1:port`
    pub base: String,
    pub http: reqwest::Client,
    runner: Runner<App>,
    server: actix_web::dev::ServerHandle,
    _folder: tempfile::TempDir,
}

/// An organization with one project, and a way to call as its owner.
pub struct Tenant {
    pub org: Org,
    pub project: Project,
    pub key: ProjectKey,
    pub owner: User,
    /// An organization token with every scope.
    pub token: String,
}

/// A database URL for one test: a fresh file, or a fresh schema of the test server.
pub fn fresh_database(backend: Backend, folder: &std::path::Path) -> String {
    match backend {
        Backend::Sqlite => format!("sqlite://{}", folder.join("test.db").display()),
        Backend::Postgres => {
            let server = std::env::var("TEST_DATABASE_URL").expect(
                "TEST_DATABASE_URL names a PostgreSQL database for the tests; `make test` starts one",
            );
            let schema = format!("t_{}", random_hex(8));
            let mut conn = <diesel::PgConnection as diesel::Connection>::establish(&server)
                .expect("PostgreSQL answers");
            diesel::connection::SimpleConnection::batch_execute(
                &mut conn,
                &format!("CREATE SCHEMA {schema}"),
            )
            .expect("a schema of its own");
            let separator = if server.contains('?') { '&' } else { '?' };
            format!("{server}{separator}options=-csearch_path%3D{schema}")
        }
    }
}

impl TestApp {
    pub async fn start(backend: Backend) -> Self {
        Self::start_with(backend, Options::default()).await
    }

    pub async fn start_with(backend: Backend, options: Options) -> Self {
        if let Ok(filter) = std::env::var("TEST_LOG") {
            tracebucket::telemetry::init(&filter);
        }
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut sources = Sources::default();
        sources.set("public_url", base.clone()).unwrap();
        sources
            .set("database_url", fresh_database(backend, folder.path()))
            .unwrap();
        sources
            .set("secret_keys", Sealer::generate_key_line())
            .unwrap();
        for (key, value) in options.settings {
            sources.set(key, value).unwrap();
        }
        let config = sources.into_config(true).unwrap();
        let url = config.database_url.expose().to_owned();
        let db = tokio::task::spawn_blocking(move || {
            Db::open(&url, OpenAs::Server, Some(Arc::new(worker::followers())))
                .expect("the database opens")
        })
        .await
        .unwrap();
        let sealer = Sealer::parse(config.secret_keys.as_ref().unwrap().expose()).unwrap();
        let app = App::new(
            config,
            db,
            options.clock.unwrap_or_else(Clock::system),
            sealer,
        )
        .unwrap();
        let server = server::http_server(app.clone(), listener, 1).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        let runner = worker::runner(&app);
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self {
            app,
            base,
            http,
            runner,
            server: handle,
            _folder: folder,
        }
    }

    /// Another process on the same database, so to speak: it shares nothing else with this one.
    pub async fn beside(&self) -> App {
        let config = self.app.config.clone();
        let url = config.database_url.expose().to_owned();
        let db = tokio::task::spawn_blocking(move || {
            Db::open(&url, OpenAs::Server, Some(Arc::new(worker::followers())))
                .expect("the database opens again")
        })
        .await
        .unwrap();
        let sealer = Sealer::parse(config.secret_keys.as_ref().unwrap().expose()).unwrap();
        App::new(config, db, Clock::system(), sealer).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A request as the given token.
    pub fn call(&self, method: &str, path: &str, token: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method.parse().unwrap(), self.url(path))
            .bearer_auth(token)
    }

    /// GET as JSON; the status must be the expected one.
    pub async fn get(&self, path: &str, token: &str, expected: u16) -> Value {
        answer(self.call("GET", path, token), expected).await
    }

    /// Any method with a JSON body; the status must be the expected one.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Value,
        expected: u16,
    ) -> Value {
        answer(self.call(method, path, token).json(&body), expected).await
    }

    /// Runs every job that is due, and those that follow from them; answers how many ran.
    pub async fn run_jobs(&self) -> usize {
        self.runner.run_until_idle().await.unwrap()
    }

    /// Lets the workers run as they do in production; they stop when the value goes.
    pub fn start_workers(&self) -> Workers {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(worker::runner(&self.app).run(stopped));
        Workers { stop }
    }

    /// An organization `slug` with a project `{slug}-shop`, an owner and a token with every scope.
    pub async fn tenant(&self, slug: &str) -> Tenant {
        let (slug, now) = (slug.to_owned(), self.app.clock.now());
        let public_url = self.app.config.public_url.to_string();
        self.app
            .db
            .write(move |tx| {
                let org = accounts::create_org(tx, &slug, &slug.to_uppercase(), now)?;
                let new = NewProject {
                    slug: format!("{slug}-shop"),
                    name: "Shop".into(),
                    platform: "python".into(),
                };
                let (project, key) = accounts::create_project(tx, org.id, &new, now)?;
                let email = format!("owner@{slug}.example");
                let owner = accounts::create_member(
                    tx,
                    org.id,
                    &email,
                    "Olga Owner",
                    "no password",
                    Role::Owner,
                    now,
                )?;
                let token = accounts::create_org_token(
                    tx,
                    &org,
                    "tests",
                    ScopeSet::all(),
                    &public_url,
                    now,
                )?;
                Ok::<_, AppError>(Tenant {
                    org,
                    project,
                    key,
                    owner,
                    token,
                })
            })
            .await
            .unwrap()
    }

    /// A token of the organization with these scopes (names with commas).
    pub async fn token(&self, org: &Org, scopes: &str) -> String {
        let (org, now) = (org.clone(), self.app.clock.now());
        let scopes = ScopeSet::parse(scopes).unwrap();
        let public_url = self.app.config.public_url.to_string();
        self.app
            .db
            .write(move |tx| {
                accounts::create_org_token(tx, &org, "scoped", scopes, &public_url, now)
            })
            .await
            .unwrap()
    }

    /// Signs a user in without the form: the value of the `Cookie` header.
    pub async fn session(&self, user: &User) -> String {
        let (user, now) = (user.id, self.app.clock.now());
        let token = random_hex(32);
        let hash = TokenHash::of(&token);
        self.app
            .db
            .write(move |tx| {
                Ok::<_, AppError>(accounts::insert_session(
                    tx,
                    &hash,
                    user,
                    now,
                    now.plus(Duration::from_secs(3_600)),
                )?)
            })
            .await
            .unwrap();
        format!("tracebucket={token}")
    }

    /// A member of the organization with this role.
    pub async fn member(&self, org: &Org, role: Role) -> User {
        let (org, now) = (org.id, self.app.clock.now());
        let email = format!("{}@members.example", random_hex(4));
        self.app
            .db
            .write(move |tx| {
                accounts::create_member(tx, org, &email, "Mia Member", "no password", role, now)
            })
            .await
            .unwrap()
    }

    /// Jobs that gave up; none is expected at the end of a story.
    pub async fn dead_jobs(&self) -> Vec<jobs::JobRow> {
        self.app
            .db
            .read(|conn| {
                Ok::<_, AppError>(jobs::list(
                    conn,
                    &jobs::Filter {
                        state: Some(jobs::JobState::Dead),
                        ..Default::default()
                    },
                    50,
                )?)
            })
            .await
            .unwrap()
    }

    /// As if every pause that Bitbucket asked for were over; takes the second for which a process believes in it.
    pub async fn forgive_pauses(&self) {
        self.app
            .db
            .write(|tx| {
                let sql = "UPDATE rate_budgets SET paused_until = 0, near_until = 0";
                Ok::<_, AppError>(diesel::RunQueryDsl::execute(
                    diesel::sql_query(sql),
                    tx.conn(),
                )?)
            })
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }

    /// The application once more, on the same database: as another process would have it. For PostgreSQL.
    pub async fn another_app(&self) -> App {
        let config = &self.app.config;
        let (url, keys) = (
            config.database_url.expose().to_owned(),
            config.secret_keys.as_ref().unwrap().expose().to_owned(),
        );
        let mut sources = Sources::default();
        for (key, value) in [
            ("public_url", config.public_url.to_string()),
            ("database_url", url.clone()),
            ("secret_keys", keys.clone()),
            ("bitbucket_api_url", config.bitbucket_api_url.to_string()),
            ("bitbucket_web_url", config.bitbucket_web_url.to_string()),
        ] {
            sources.set(key, value).unwrap();
        }
        let config = sources.into_config(true).unwrap();
        let db = tokio::task::spawn_blocking(move || {
            Db::open(&url, OpenAs::Server, Some(Arc::new(worker::followers()))).unwrap()
        })
        .await
        .unwrap();
        App::new(config, db, Clock::system(), Sealer::parse(&keys).unwrap()).unwrap()
    }

    /// Ends the application but keeps its data, for another process to go on with.
    pub async fn stop_and_keep_data(mut self) -> tempfile::TempDir {
        self.server.stop(true).await;
        std::mem::replace(&mut self._folder, tempfile::tempdir().unwrap())
    }

    /// Stops the server; the database ends with the value.
    pub async fn stop(&self) {
        self.server.stop(false).await;
    }
}

/// Workers at work, see [`TestApp::start_workers`].
pub struct Workers {
    stop: watch::Sender<bool>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

/// Sends and answers the JSON body (null when empty); prints the body when the status is another.
pub async fn answer(request: reqwest::RequestBuilder, expected: u16) -> Value {
    let response = request.send().await.unwrap();
    let (status, url) = (response.status().as_u16(), response.url().clone());
    let text = response.text().await.unwrap();
    assert_eq!(status, expected, "{url}: {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}
