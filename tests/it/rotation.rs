//! Sealing keys change while two processes serve: nobody is refused, nothing is lost, and at the end the old key opens
//! nothing that is needed.
//!
//! The new key comes first at once. It seals only when `admin keys rotate` has named it to both: a secret that one
//! seals must be open to the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use diesel::RunQueryDsl;
use serde_json::json;
use tracebucket::bitbucket::oauth::Granted;
use tracebucket::error::AppError;
use tracebucket::features::accounts::OrgId;
use tracebucket::features::links::{self, CredentialKind, Given, NewConnection};
use tracebucket::kit::crypto::{Sealer, hmac_sha256};
use tracebucket::kit::db::{Db, OpenAs};

use crate::support::program::{Program, Running};
use crate::support::world::{World, allow, consumer, hidden};
use crate::support::{Backend, TestApp};

/// Those who ask, all the time, either process; when one does not answer they ask the other one.
struct Callers {
    http: reqwest::Client,
    bases: [String; 2],
    token: String,
    cookie: String,
    /// Both connections: the installation's and the one by OAuth.
    links: [String; 2],
    org: OrgId,
    repo_uuid: String,
    hook_secret: String,
    over: AtomicBool,
    asked: AtomicUsize,
    moved: AtomicUsize,
    delivered: AtomicUsize,
}

impl Callers {
    /// The answer of one of the two; anything but a success ends the test.
    async fn ask(&self, first: usize, build: impl Fn(&str) -> reqwest::RequestBuilder) -> String {
        for turn in 0..20 {
            let base = &self.bases[(first + turn) % 2];
            let Ok(response) = build(base).send().await else {
                self.moved.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let (status, url) = (response.status(), response.url().to_string());
            let Ok(text) = response.text().await else {
                self.moved.fetch_add(1, Ordering::SeqCst);
                continue;
            };
            assert!(
                status.is_success() || status.is_redirection(),
                "{url}: {status} {text}"
            );
            self.asked.fetch_add(1, Ordering::SeqCst);
            return text;
        }
        panic!("neither of the two answers");
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    /// Bitbucket is asked with both kinds of sealed credential.
    async fn search(self: Arc<Self>, number: usize) {
        let mut turn = number;
        while self.goes_on() {
            let link = &self.links[turn % 2];
            let path = format!("/api/0/organizations/acme/integrations/{link}/repos/?search=shop");
            let found = self
                .ask(turn / 2, |base| {
                    self.http
                        .get(format!("{base}{path}"))
                        .bearer_auth(&self.token)
                })
                .await;
            assert!(found.contains("acme/shop"), "{found}");
            turn += 1;
        }
    }

    /// Webhooks, signed with a sealed secret.
    async fn deliver(self: Arc<Self>, number: usize) {
        let mut turn = number;
        while self.goes_on() {
            let body = json!({
                "repository": { "uuid": self.repo_uuid, "full_name": "acme/shop" },
                "push": { "changes": [] },
            })
            .to_string();
            let tag = hex::encode(hmac_sha256(self.hook_secret.as_bytes(), body.as_bytes()));
            let uuid = uuid::Uuid::new_v4().to_string();
            let path = format!("/extensions/bitbucket/organizations/{}/webhook/", self.org);
            self.ask(turn, |base| {
                let request = self.http.post(format!("{base}{path}"));
                let request = request
                    .header("X-Event-Key", "repo:push")
                    .header("X-Request-UUID", &uuid);
                request
                    .header("X-Hub-Signature", format!("sha256={tag}"))
                    .body(body.clone())
            })
            .await;
            self.delivered.fetch_add(1, Ordering::SeqCst);
            turn += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A page of one process, its form sent to the other.
    async fn fill(self: Arc<Self>, origin: String) {
        let mut turn = 0;
        while self.goes_on() {
            let path = format!("/o/acme/connections/{}/", self.links[1]);
            let page = self
                .ask(turn, |base| {
                    let request = self.http.get(format!("{base}{path}"));
                    request
                        .header("cookie", &self.cookie)
                        .header("accept", "text/html")
                })
                .await;
            let form = [
                ("csrf", hidden(&page, "csrf")),
                ("label", format!("Turn {turn}")),
            ];
            self.ask(turn + 1, |base| {
                let request = self.http.post(format!("{base}{path}edit/"));
                let request = request
                    .header("cookie", &self.cookie)
                    .header("origin", &origin);
                request.form(&form)
            })
            .await;
            turn += 1;
        }
    }
}

/// How many rows hold something that is sealed with the key of this id.
fn sealed_with(url: &str, key: &str) -> usize {
    use diesel::Connection;
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Binary)]
        sealed: Vec<u8>,
    }
    let mut conn = diesel::PgConnection::establish(url).unwrap();
    let sql = "SELECT sealed_secret AS sealed FROM repo_hooks UNION ALL SELECT sealed FROM credentials \
               UNION ALL SELECT sealed_secret FROM installations";
    let rows: Vec<Row> = diesel::sql_query(sql).load(&mut conn).unwrap();
    assert!(rows.len() >= 3, "{}", rows.len());
    let id = key.split(':').next().unwrap().as_bytes();
    let has = |row: &&Row| row.sealed.windows(id.len()).any(|part| part == id);
    rows.iter().filter(has).count()
}

async fn restart(program: &mut Program, running: Running, keys: &str) -> Running {
    running.terminate().await;
    program.set("SECRET_KEYS", keys);
    program.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_while_two_processes_serve() {
    let world = World::new(Backend::Postgres).await;
    let (app, org) = (&world.t.app, world.tenant.org.id);
    let consumer = consumer(&world.bitbucket, false, None);
    let granted = allow(app, &world.bitbucket, &consumer).await;
    let repo = world.repo.parse().unwrap();
    let (repo, workspace) = app
        .db
        .read(move |conn| {
            let repo = links::find_repo(conn, org, repo)?.unwrap();
            let link = links::find_link(conn, org, repo.link_id.unwrap())?.unwrap();
            Ok::<_, AppError>((repo, link.workspace_uuid))
        })
        .await
        .unwrap();
    let new = NewConnection {
        kind: CredentialKind::OauthCode,
        // It has ended: the first call asks for another one and seals that.
        credential: Given::OauthCode {
            consumer,
            granted: Granted {
                life: Duration::ZERO,
                ..granted
            },
        },
        workspace_uuid: workspace,
        workspace: "acme".into(),
        label: "By consent".into(),
        purpose: String::new(),
        owner: Some(world.tenant.owner.id),
        private: false,
        expires_at: None,
    };
    let other = links::connect_named(app, org, new, "Olga").await.unwrap();
    let uuid = repo.external_id.unwrap();
    let secrets = links::repo_secrets(app, org, &uuid, true).await.unwrap();
    let hook_secret = secrets.unwrap().secrets[0].expose().to_owned();
    let cookie = world.t.session(&world.tenant.owner).await;
    let old = app.config.secret_keys.as_ref().unwrap().expose().to_owned();
    let fresh = Sealer::generate_key_line();
    let url = app.config.database_url.expose().to_owned();
    let World {
        t,
        bitbucket,
        tenant,
        integration,
        folder: _folder,
        ..
    } = world;

    let mut first = Program::instead_of(t).await;
    let mut second = first.beside();
    let mut a = first.start().await;
    let mut b = second.start().await;
    let callers = Arc::new(Callers {
        http: reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap(),
        bases: [first.base.clone(), second.base.clone()],
        token: tenant.token.clone(),
        cookie,
        links: [integration, other.id.to_string()],
        org,
        repo_uuid: uuid,
        hook_secret,
        over: AtomicBool::new(false),
        asked: AtomicUsize::new(0),
        moved: AtomicUsize::new(0),
        delivered: AtomicUsize::new(0),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..2 {
        tasks.spawn(Arc::clone(&callers).search(number));
        tasks.spawn(Arc::clone(&callers).deliver(number));
    }
    tasks.spawn(Arc::clone(&callers).fill(first.base.clone()));
    let pause = || tokio::time::sleep(Duration::from_millis(500));
    pause().await;

    let keys = format!("{fresh},{old}");
    a = restart(&mut first, a, &keys).await;
    // The other one does not know the new key yet. What both seal meanwhile is open to both.
    pause().await;
    pause().await;
    b = restart(&mut second, b, &keys).await;
    pause().await;
    assert_eq!(
        (sealed_with(&url, &old), sealed_with(&url, &fresh)),
        (3, 0),
        "the new key is not named yet"
    );
    let said = first.run(&["admin", "--dev", "keys", "rotate"]);
    assert_eq!(
        (sealed_with(&url, &old), sealed_with(&url, &fresh)),
        (0, 3),
        "{said}"
    );
    pause().await;
    a = restart(&mut first, a, &fresh).await;
    b = restart(&mut second, b, &fresh).await;
    pause().await;

    callers.over.store(true, Ordering::SeqCst);
    // A caller that was refused has panicked.
    for result in tasks.join_all().await {
        let () = result;
    }
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let (asked, moved, delivered) = (
        count(&callers.asked),
        count(&callers.moved),
        count(&callers.delivered),
    );
    eprintln!("{asked} answered, {moved} times the other one was asked, {delivered} webhooks");
    assert!(
        asked > 100 && delivered > 30 && moved > 0,
        "{asked} {moved} {delivered}"
    );
    a.terminate().await;
    b.terminate().await;
    let db = Db::open(&url, OpenAs::Beside, None).unwrap();
    let stored = db
        .read(|conn| {
            #[derive(diesel::QueryableByName)]
            struct Count {
                #[diesel(sql_type = diesel::sql_types::BigInt)]
                count: i64,
            }
            let sql = "SELECT count(*) AS count FROM deliveries";
            let row: Count = diesel::sql_query(sql).get_result(conn)?;
            Ok::<_, AppError>(row.count)
        })
        .await
        .unwrap();
    assert_eq!(
        stored,
        i64::try_from(delivered).unwrap(),
        "each webhook once"
    );
    let violations = bitbucket.take_violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

/// A process without the key that seals would write what others cannot open.
async fn the_key_that_seals_must_be_there(backend: Backend) {
    let app = TestApp::start(backend).await;
    let old = app
        .app
        .config
        .secret_keys
        .as_ref()
        .unwrap()
        .expose()
        .to_owned();
    let (id, fresh) = (
        old.split(':').next().unwrap().to_owned(),
        Sealer::generate_key_line(),
    );
    let mut program = Program::instead_of(app).await;
    program.start().await.terminate().await;
    program.set("SECRET_KEYS", &fresh);
    assert!(!program.spawn().ready().await);
    let said = program.log();
    assert!(
        said.contains(&id) && said.contains("admin keys rotate --lost"),
        "{said}"
    );
    // It comes back behind the new one, and seals until another one is named.
    program.set("SECRET_KEYS", &format!("{fresh},{old}"));
    program.start().await.terminate().await;
    // It is lost.
    program.set("SECRET_KEYS", &fresh);
    let said = program.run(&["admin", "--dev", "keys", "rotate", "--lost"]);
    assert!(said.contains(fresh.split(':').next().unwrap()), "{said}");
    program.start().await.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_key_stops_the_start_on_sqlite() {
    the_key_that_seals_must_be_there(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_key_stops_the_start_on_postgres() {
    the_key_that_seals_must_be_there(Backend::Postgres).await;
}
