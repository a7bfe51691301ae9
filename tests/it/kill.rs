//! The process is killed again and again while it makes tickets and takes webhooks, and nothing is lost or done
//! twice: every error has one ticket, every delivery one effect.
//!
//! Clients do what clients do: they send the same request again until it is answered. Half of the kills come while
//! Bitbucket has done the work of a call and has not answered it yet, which is the moment when a program that only
//! retries would make a second issue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bitbucket_sandbox::{Action, CommitRequest, DeliverySettings, Fault, Sandbox};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tracebucket::error::AppError;
use tracebucket::kit::crypto::random_hex;
use tracebucket::kit::db::{Db, OpenAs};

use crate::support::program::Program;
use crate::support::world::World;
use crate::support::{Backend, PATIENCE};

/// How much happens.
#[derive(Clone, Copy)]
struct Scale {
    /// Kills; half of them with a held call.
    kills: usize,
    /// Groups, each to get one ticket, and each fixed by one push to the main branch.
    tickets: usize,
    /// Pushes in all; those that fix nothing go to another branch.
    deliveries: usize,
}

fn scale() -> Scale {
    if std::env::var("TRACEBUCKET_TEST_KILLS").is_ok_and(|kills| kills == "full") {
        Scale {
            kills: 100,
            tickets: 200,
            deliveries: 500,
        }
    } else {
        Scale {
            kills: 26,
            tickets: 52,
            deliveries: 104,
        }
    }
}

/// How long the last process may take to finish what is left. A lease of a killed process ends in half a minute
/// on PostgreSQL, where another process could still be alive.
const FINISH: Duration = Duration::from_secs(150);

#[derive(Clone)]
struct Target {
    group: String,
    short_id: String,
}

/// What the callers share.
struct Callers {
    http: reqwest::Client,
    token: String,
    /// Ticket endpoint of a group: before and after its id.
    endpoint: (String, String),
    bitbucket: Arc<Sandbox>,
    targets: Vec<Target>,
    /// Commits to one repository come one after the other.
    pushing: Mutex<()>,
    pushed: AtomicUsize,
    resent: AtomicUsize,
}

impl Callers {
    /// Makes a ticket when the gate is open far enough, and then the push that fixes its error.
    async fn handle(self: Arc<Self>, index: usize, mut gate: watch::Receiver<usize>) {
        gate.wait_for(|open| index < *open).await.unwrap();
        let target = &self.targets[index];
        self.make_ticket(target).await;
        self.push("main", &target.short_id).await;
    }

    async fn make_ticket(&self, target: &Target) {
        let url = format!("{}{}{}", self.endpoint.0, target.group, self.endpoint.1);
        let key = format!("kill-{}", target.group);
        let form = json!({ "repo": "acme/shop", "title": format!("Fault {}", target.short_id),
                           "description": "It fails.", "issue_type": "bug", "priority": "major" });
        let begun = Instant::now();
        loop {
            let request = self
                .http
                .post(&url)
                .bearer_auth(&self.token)
                .header("Idempotency-Key", &key);
            if let Ok(answer) = request.json(&form).send().await {
                match answer.status().as_u16() {
                    201 => return,
                    409 | 429 | 500.. => {}
                    status => panic!("{status}: {}", answer.text().await.unwrap_or_default()),
                }
            }
            assert!(
                begun.elapsed() < FINISH * 2,
                "no ticket for {}",
                target.short_id
            );
            self.resent.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A commit by the API of Bitbucket, whose webhook the sandbox sends until it is taken.
    async fn push(&self, branch: &str, short_id: &str) {
        let _one_at_a_time = self.pushing.lock().await;
        let count = self.pushed.fetch_add(1, Ordering::SeqCst) + 1;
        let message = format!("Change {count}\n\nFixes {short_id}");
        self.bitbucket
            .commit(change(branch, &message, count))
            .await
            .unwrap();
    }
}

/// The main branch, and one whose commits resolve nothing.
const BRANCHES: [&str; 2] = ["main", "work"];

fn change(branch: &str, message: &str, content: usize) -> CommitRequest {
    CommitRequest {
        repo: "acme/shop".into(),
        branch: branch.into(),
        message: message.into(),
        files: BTreeMap::from([(format!("{branch}.txt"), content.to_string())]),
        ..CommitRequest::default()
    }
}

/// A number below `limit`, new every time: the moments differ from run to run on purpose.
fn random_below(limit: u64) -> u64 {
    u64::from_str_radix(&random_hex(4), 16).unwrap() % limit
}

/// Who kills, and what it looks at.
struct Killer<'a> {
    program: &'a Program,
    bitbucket: &'a Sandbox,
    callers: &'a Callers,
    scale: Scale,
    /// How many tickets may have been asked for.
    gate: watch::Sender<usize>,
}

impl Killer<'_> {
    /// Kills and restarts, and opens the gate a little for each kill, so that there is always work to interrupt.
    /// Answers how many kills came while a call was held.
    async fn kill_again_and_again(&self) -> usize {
        let mut while_held = 0;
        for kill in 1..=self.scale.kills {
            let mut running = self.program.spawn();
            if kill % 10 == 1 {
                // Also in the middle of a start.
                tokio::time::sleep(Duration::from_millis(random_below(200))).await;
            } else {
                let ready = running.ready().await;
                assert!(ready, "it does not start again:\n{}", self.program.log());
                if kill % 2 == 0 {
                    self.hold(kill).await;
                } else {
                    self.keep_pace(kill).await;
                }
            }
            while_held += usize::from(self.bitbucket.held() > 0);
            running.kill();
            self.bitbucket.clear_faults();
            while self.bitbucket.held() > 0 {
                self.bitbucket.release_held();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        self.gate.send_replace(self.scale.tickets);
        while_held
    }

    fn open_gate(&self, kill: usize) {
        self.gate
            .send_replace(self.scale.tickets * kill / self.scale.kills);
    }

    /// Waits until a call has done its work in Bitbucket and has no answer yet: now and then the new state of an
    /// issue, else a new issue or a comment.
    async fn hold(&self, kill: usize) {
        let hold = |method| Fault::once(method, "/issues", Action::HoldAfter { ms: 20_000 });
        if kill.is_multiple_of(8) {
            self.bitbucket.add_fault(hold("PUT"));
            self.wait(Duration::from_secs(3), || self.bitbucket.held() > 0)
                .await;
        }
        if self.bitbucket.held() == 0 {
            self.bitbucket.add_fault(hold("POST"));
            self.open_gate(kill);
            self.wait(Duration::from_secs(15), || self.bitbucket.held() > 0)
                .await;
        }
        tokio::time::sleep(Duration::from_millis(random_below(30))).await;
    }

    /// Lets the pushes come along, then takes a random moment.
    async fn keep_pace(&self, kill: usize) {
        self.open_gate(kill);
        let share = self.scale.deliveries * kill.saturating_sub(4) / self.scale.kills;
        let pushed = &self.callers.pushed;
        self.wait(Duration::from_secs(15), || {
            pushed.load(Ordering::SeqCst) >= share
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random_below(700))).await;
    }

    async fn wait(&self, limit: Duration, done: impl Fn() -> bool) {
        let begun = Instant::now();
        while !done() && begun.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(QueryableByName, Debug)]
#[expect(dead_code, reason = "printed when a test fails")]
struct Left {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    attempts: i64,
    #[diesel(sql_type = Text)]
    error: String,
}

async fn number(db: &Db, sql: &'static str) -> i64 {
    let row: Result<Number, AppError> = db
        .read(move |conn| Ok(diesel::sql_query(sql).get_result::<Number>(conn)?))
        .await;
    row.unwrap().n
}

/// Work that is not done, jobs and deliveries alike.
async fn left(db: &Db) -> Vec<Left> {
    let rows: Result<Vec<Left>, AppError> = db
        .read(|conn| {
            Ok(diesel::sql_query(
                "SELECT id, kind, state, CAST(attempts AS BIGINT) AS attempts, COALESCE(last_error, '') AS error \
                 FROM jobs WHERE state <> 'done' \
                 UNION ALL SELECT id, event_key, state, CAST(attempts AS BIGINT), COALESCE(error, '') \
                 FROM deliveries WHERE state NOT IN ('done', 'ignored')",
            )
            .load(conn)?)
        })
        .await;
    rows.unwrap()
}

/// The groups of the organization, made before anything is killed.
async fn make_groups(world: &World, count: usize) -> Vec<Target> {
    for index in 0..count {
        world
            .crash(
                &format!("Fault{index}Error"),
                "it fails",
                &format!("function_{index}"),
            )
            .await;
    }
    let mut targets = BTreeMap::new();
    let mut cursor = String::new();
    while targets.len() < count {
        let path = format!("/api/0/organizations/acme/issues/?query=&limit=100&cursor={cursor}");
        let answer = world
            .t
            .call("GET", &path, &world.tenant.token)
            .send()
            .await
            .unwrap();
        let link = answer.headers()["link"].to_str().unwrap().to_owned();
        let page: Vec<Value> = answer.json().await.unwrap();
        for group in &page {
            let text = |key: &str| group[key].as_str().unwrap().to_owned();
            targets.insert(text("id"), text("shortId"));
        }
        let next = link
            .split(',')
            .find(|part| part.contains("rel=\"next\"") && part.contains("results=\"true\""));
        let Some(next) = next else { break };
        cursor = next
            .split("cursor=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
    }
    assert_eq!(targets.len(), count, "one group per error");
    targets
        .into_iter()
        .map(|(group, short_id)| Target { group, short_id })
        .collect()
}

async fn killed_at_random(backend: Backend) {
    let scale = scale();
    let world = World::new(backend).await;
    let targets = make_groups(&world, scale.tickets).await;
    for branch in BRANCHES {
        world
            .bitbucket
            .commit(change(branch, "Start", 0))
            .await
            .unwrap();
    }
    world.settle().await;
    let path = world.ticket_path("GROUP");
    let (before, after) = path.split_once("GROUP").unwrap();
    let endpoint = (world.t.url(before), after.to_owned());
    let World {
        t,
        bitbucket,
        tenant,
        folder: _folder,
        ..
    } = world;
    let bitbucket = Arc::new(bitbucket);
    // Sent until taken; the sender gives up long after the test has.
    let patient = DeliverySettings {
        attempts: 100_000,
        delay_ms: 50,
        ..DeliverySettings::default()
    };
    bitbucket.set_delivery_settings(patient);
    let program = Program::instead_of(t).await;
    program.start().await.kill();

    let callers = Arc::new(Callers {
        http: reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap(),
        token: tenant.token.clone(),
        endpoint,
        bitbucket: Arc::clone(&bitbucket),
        targets: targets.clone(),
        pushing: Mutex::new(()),
        pushed: AtomicUsize::new(0),
        resent: AtomicUsize::new(0),
    });
    let (gate, allowed) = watch::channel(0);
    let mut work = tokio::task::JoinSet::new();
    for index in 0..targets.len() {
        work.spawn(Arc::clone(&callers).handle(index, allowed.clone()));
    }
    let pushes = scale.deliveries - scale.tickets;
    let (pusher, mut pace) = (Arc::clone(&callers), allowed.clone());
    work.spawn(async move {
        for index in 0..pushes {
            pace.wait_for(|open| index * scale.tickets < *open * pushes)
                .await
                .unwrap();
            let target = &pusher.targets[index % pusher.targets.len()];
            pusher.push("work", &target.short_id).await;
        }
    });

    let begun = Instant::now();
    let killer = Killer {
        program: &program,
        bitbucket: &bitbucket,
        callers: &callers,
        scale,
        gate,
    };
    let while_held = killer.kill_again_and_again().await;
    let killing = begun.elapsed();
    let running = program.start().await;
    let all_done = async {
        while let Some(done) = work.join_next().await {
            done.unwrap()
        }
    };
    tokio::time::timeout(FINISH, all_done)
        .await
        .expect("every caller is answered");
    assert!(bitbucket.settle(PATIENCE).await, "every webhook is taken");

    let url = program.database_url.clone();
    let db = tokio::task::spawn_blocking(move || Db::open(&url, OpenAs::Beside, None).unwrap())
        .await
        .unwrap();
    let begun = Instant::now();
    while !left(&db).await.iter().all(|left| left.state == "dead") {
        assert!(
            begun.elapsed() < FINISH,
            "work is left: {:#?}\n{}",
            left(&db).await,
            program.log()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let resent = callers.resent.load(Ordering::SeqCst);
    eprintln!(
        "{backend:?}: {} kills in {killing:.1?}, {while_held} of them with a call held, {resent} requests sent again, \
         {:.1?} to finish",
        scale.kills,
        begun.elapsed()
    );

    let dead = left(&db).await;
    assert!(dead.is_empty(), "{dead:#?}");
    one_ticket_each(&bitbucket, &db, &targets).await;
    one_effect_each(&bitbucket, &db, scale).await;
    let violations = bitbucket.take_violations();
    assert!(violations.is_empty(), "{violations:#?}");
    assert!(
        while_held >= scale.kills / 2,
        "only {while_held} kills came while a call was held"
    );
    running.kill();
}

/// Bitbucket has one issue per group, with one comment of ours, and we have the same number of tickets.
async fn one_ticket_each(bitbucket: &Sandbox, db: &Db, targets: &[Target]) {
    let issues = bitbucket.issues("acme/shop");
    let titles: BTreeSet<_> = issues.iter().map(|issue| issue.title.as_str()).collect();
    assert_eq!(titles.len(), targets.len(), "an issue for every group");
    assert_eq!(issues.len(), targets.len(), "and none twice");
    for target in targets {
        let marker = format!("/organizations/acme/issues/{}/", target.group);
        let marked = issues
            .iter()
            .filter(|issue| issue.content.contains(&marker))
            .count();
        assert_eq!(marked, 1, "{} is marked in one issue", target.short_id);
    }
    for issue in &issues {
        assert_eq!(issue.state, "resolved", "{}", issue.title);
        assert_eq!(
            issue.comments.len(),
            1,
            "{}: {:?}",
            issue.title,
            issue.comments
        );
    }
    let count = i64::try_from(targets.len()).unwrap();
    assert_eq!(number(db, "SELECT count(*) AS n FROM tickets").await, count);
    assert_eq!(
        number(db, "SELECT count(DISTINCT group_id) AS n FROM ticket_links").await,
        count
    );
    assert_eq!(
        number(db, "SELECT count(*) AS n FROM ticket_links").await,
        count
    );
    assert_eq!(
        number(
            db,
            "SELECT count(*) AS n FROM activities WHERE kind = 'create_issue'"
        )
        .await,
        count
    );
}

/// Every delivery is stored once and has brought its commit and its activity once.
async fn one_effect_each(bitbucket: &Sandbox, db: &Db, scale: Scale) {
    let sent: BTreeSet<_> = bitbucket
        .deliveries()
        .into_iter()
        .filter(|d| d.event == "repo:push")
        .map(|delivery| delivery.request_uuid)
        .collect();
    let pushes = i64::try_from(scale.deliveries).unwrap();
    let stored = pushes + i64::try_from(BRANCHES.len()).unwrap();
    assert_eq!(
        i64::try_from(sent.len()).unwrap(),
        stored,
        "every push was sent"
    );
    assert_eq!(
        number(
            db,
            "SELECT count(*) AS n FROM deliveries WHERE state = 'done' AND event_key = 'repo:push'"
        )
        .await,
        stored
    );
    assert_eq!(
        number(
            db,
            "SELECT count(*) AS n FROM deliveries WHERE event_key = 'repo:push'"
        )
        .await,
        stored
    );
    assert_eq!(
        number(db, "SELECT count(*) AS n FROM commits").await,
        stored
    );
    let referenced = "SELECT count(*) AS n FROM activities WHERE kind = 'referenced_in_commit'";
    assert_eq!(
        number(db, referenced).await,
        pushes,
        "one activity per commit"
    );
    let resolved = "SELECT count(*) AS n FROM activities WHERE kind = 'set_resolved_in_commit'";
    assert_eq!(
        number(db, resolved).await,
        i64::try_from(scale.tickets).unwrap(),
        "resolved once each"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    killed_at_random(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    killed_at_random(Backend::Postgres).await;
}
