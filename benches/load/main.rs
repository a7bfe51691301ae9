//! `make bench`: throughput, start-up and memory of the release program, run as a process of its own with its
//! workers, and beside them what the machine does without it.
//!
//! Words on the command line choose: a measurement runs when its name contains one of them (`sqlite webhooks`
//! is a name, so quote it). `BENCH_SECONDS` sets how long each load lasts (10).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark: a surprise should stop it, and its figures go to the terminal"
)]

mod generator;
mod machine;
mod payloads;
mod reference;
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "shared with the tests, which use more of it"
)]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use bitbucket_sandbox::{CommitRequest, Sandbox};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use generator::{Outcome, Plan};
use payloads::{Crash, Push};
use support::Backend;
use support::program::{Program, Running};
use support::world::World;
use tracebucket::error::AppError;
use tracebucket::kit::db::{Db, OpenAs};

/// Requests in one run at most: it bounds what a run leaves on the disk.
const LIMIT: u64 = 600_000;
/// How long the workers may take to finish what a load has left.
const DRAIN: Duration = Duration::from_secs(120);

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    if let [mode, address] = arguments.as_slice()
        && mode == reference::SERVER
    {
        return reference::serve(address);
    }
    let seconds = std::env::var("BENCH_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let plan = Plan {
        warm_up: Duration::from_secs(2),
        measured: Duration::from_secs(seconds),
        limit: LIMIT,
    };
    let bench = Bench {
        filters: arguments,
        plan,
    };
    println!("Machine: {}", machine::describe());
    println!(
        "Load: {} connections, {seconds} s each after 2 s of warming up, from one thread of this machine\n",
        generator::CONNECTIONS
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        bench.sqlite_alone();
        bench.product(Backend::Sqlite).await;
        bench.product(Backend::Postgres).await;
    });
}

struct Bench {
    filters: Vec<String>,
    plan: Plan,
}

/// What a figure must reach, and what it is meant to reach.
struct Marks {
    floor: f64,
    aim: f64,
}

fn show(name: &str, figure: &str, verdict: &str, notes: &str) {
    println!("{name:<34} {figure:>14}  {verdict:<32} {notes}");
}

/// How a rate stands to its marks.
fn at_least(rate: f64, marks: Option<&Marks>) -> String {
    match marks {
        None => String::new(),
        Some(Marks { floor, aim }) if rate < *floor => {
            format!("BELOW THE FLOOR {floor} (aim {aim})")
        }
        Some(Marks { floor, aim }) if rate < *aim => format!("floor {floor} ok, aim {aim} missed"),
        Some(Marks { aim, .. }) => format!("aim {aim} reached"),
    }
}

/// The same where less is better.
fn at_most(value: f64, floor: f64, aim: f64) -> String {
    if value > floor {
        format!("OVER THE LIMIT {floor} (aim {aim})")
    } else if value > aim {
        format!("limit {floor} ok, aim {aim} missed")
    } else {
        format!("aim {aim} reached")
    }
}

fn show_rate(name: &str, outcome: &Outcome, marks: Option<&Marks>, notes: &str) {
    let figure = format!("{:.0}/s", outcome.rate());
    let waits = format!(
        "p50 {:.1} ms, p99 {:.1} ms",
        outcome.percentile(0.5),
        outcome.percentile(0.99)
    );
    let others = if outcome.others.is_empty() {
        String::new()
    } else {
        format!(", OTHER ANSWERS {:?}", outcome.others)
    };
    show(
        name,
        &figure,
        &at_least(outcome.rate(), marks),
        &format!("{waits}, {notes}, load average {}{others}", machine::load()),
    );
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter))
    }

    /// A handler that verifies the signature of the same body and stores nothing.
    fn hash_only(&self, body: &[u8]) {
        let name = "reference: hash only";
        if !self.wants(name) {
            return;
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let this = std::env::current_exe().unwrap();
        let mut server = Command::new(this)
            .args([reference::SERVER, &free.to_string()])
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(free).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let request = reference::request(body);
        let before = machine::processor_time(server.id());
        let plan = Plan {
            limit: u64::MAX,
            ..self.plan
        };
        let outcome = generator::run(free, plan, 204, |_, to| to.extend_from_slice(&request));
        let used = machine::processor_time(server.id()) - before;
        let cores = used / (plan.warm_up + plan.measured).as_secs_f64();
        show_rate(
            name,
            &outcome,
            None,
            &format!("{} B, server at {cores:.2} cores", body.len()),
        );
        let _ = server.kill();
        let _ = server.wait();
    }

    /// Durable rows of 2.8 KB, which is what a stored event or delivery takes, without anything around them.
    fn sqlite_alone(&self) {
        for batch in [64, 256] {
            let name = format!("reference: SQLite, {batch} a commit");
            if self.wants(&name) {
                let rate = reference::sqlite_group_commit(2_800, batch, self.plan.measured / 2);
                let notes = format!("one thread, load average {}", machine::load());
                show(&name, &format!("{rate:.0} rows/s"), "", &notes);
            }
        }
    }

    /// Everything that is measured on one database.
    async fn product(&self, backend: Backend) {
        let label = match backend {
            Backend::Sqlite => "sqlite",
            Backend::Postgres => "postgres",
        };
        let names = [
            "webhooks",
            "envelopes, one group",
            "envelopes, 1000 groups",
            "setup pages",
            "start",
            "memory idle",
            "memory under load",
        ];
        let reference = backend == Backend::Sqlite && self.wants("reference: hash only");
        let any = names
            .iter()
            .any(|name| self.wants(&format!("{label}: {name}")));
        if !any && !reference {
            return;
        }
        let site = Site::new(backend).await;
        if reference {
            self.hash_only(&site.push.body());
        }
        if !any {
            return;
        }
        let mut measured = Measured {
            bench: self,
            label,
            site,
            largest: 0.0,
        };
        measured.all().await;
    }
}

/// A linked workspace, a project with a key, and the program on their data.
struct Site {
    program: Program,
    push: Push,
    crashes: [Crash; 2],
    setup_url: String,
    db: Db,
    _bitbucket: Sandbox,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn new(backend: Backend) -> Self {
        let world = World::new(backend).await;
        let (push, setup_url) = (recorded_push(&world).await, setup_url(&world));
        let (project, key) = (
            world.tenant.project.id.to_string(),
            world.tenant.key.public_key.clone(),
        );
        let World {
            t,
            bitbucket,
            folder,
            ..
        } = world;
        let program = Program::instead_of(t).await;
        program.start().await.kill();
        let url = program.database_url.clone();
        let db = tokio::task::spawn_blocking(move || Db::open(&url, OpenAs::Beside, None).unwrap())
            .await
            .unwrap();
        let crashes = [
            Crash::new(&project, &key, 1),
            Crash::new(&project, &key, 1_000),
        ];
        Self {
            program,
            push,
            crashes,
            setup_url,
            db,
            _bitbucket: bitbucket,
            _folder: folder,
        }
    }

    fn address(&self) -> SocketAddr {
        self.program
            .base
            .trim_start_matches("http://")
            .parse()
            .unwrap()
    }

    /// Deliveries and jobs that are due and not done.
    async fn left(&self) -> i64 {
        #[derive(QueryableByName)]
        struct Number {
            #[diesel(sql_type = BigInt)]
            n: i64,
        }
        let sql = "SELECT (SELECT count(*) FROM deliveries WHERE state = 'ready') \
                   + (SELECT count(*) FROM jobs WHERE state IN ('ready', 'running')) AS n";
        let row: Result<Number, AppError> = self
            .db
            .read(move |conn| Ok(diesel::sql_query(sql).get_result::<Number>(conn)?))
            .await;
        row.unwrap().n
    }

    /// Waits until the workers have nothing left; answers how much there was and how long it took.
    async fn drained(&self) -> (i64, Duration) {
        let (left, begun) = (self.left().await, Instant::now());
        while self.left().await > 0 && begun.elapsed() < DRAIN {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (left, begun.elapsed())
    }
}

/// A push as the sandbox sends it, with the secret of the hook that it goes to.
async fn recorded_push(world: &World) -> Push {
    let commit = |message: &str| CommitRequest {
        repo: "acme/shop".into(),
        message: message.into(),
        files: [("shop.py".to_owned(), message.to_owned())].into(),
        ..CommitRequest::default()
    };
    world.bitbucket.commit(commit("Start")).await.unwrap();
    let hash = world
        .bitbucket
        .commit(commit("Round prices only once, at the end"))
        .await
        .unwrap();
    world.settle().await;
    let delivery = world
        .bitbucket
        .deliveries()
        .pop()
        .expect("a webhook was sent");
    let state: serde_json::Value = serde_json::from_slice(
        &std::fs::read(world.folder.path().join("bitbucket/state.json")).unwrap(),
    )
    .unwrap();
    let hook = state["hooks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|hook| hook["uuid"] == delivery.hook.as_str())
        .unwrap();
    let path = delivery
        .url
        .strip_prefix(&world.t.base)
        .expect("our own address");
    Push::new(
        std::str::from_utf8(delivery.body()).unwrap(),
        &hash,
        path,
        hook["secret"].as_str().unwrap(),
    )
}

fn setup_url(world: &World) -> String {
    world
        .bitbucket
        .signed_url(&world.client_key, "/extensions/bitbucket/setup/")
        .expect("the app is installed")
}

struct Measured<'a> {
    bench: &'a Bench,
    label: &'static str,
    site: Site,
    /// Largest resident memory so far, in MB.
    largest: f64,
}

impl Measured<'_> {
    fn name(&self, what: &str) -> Option<String> {
        let name = format!("{}: {what}", self.label);
        self.bench.wants(&name).then_some(name)
    }

    async fn all(&mut self) {
        let running = self.site.program.start().await;
        if let Some(name) = self.name("memory idle") {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let idle = machine::resident(running.id());
            show(
                &name,
                &format!("{idle:.1} MB"),
                &at_most(idle, 40.0, 20.0),
                "resident, 5 s after the start",
            );
        }
        let sqlite = self.label == "sqlite";
        let events = if sqlite {
            Marks {
                floor: 4_000.0,
                aim: 10_000.0,
            }
        } else {
            Marks {
                floor: 1_000.0,
                aim: 5_000.0,
            }
        };
        if let Some(name) = self.name("webhooks") {
            let size = self.site.push.body().len();
            let load = self
                .load(&running, 204, |site, _, to| site.push.write(to))
                .await;
            show_rate(
                &name,
                &load.outcome,
                Some(&Marks {
                    floor: 6_000.0,
                    aim: 10_000.0,
                }),
                &format!("{size} B, {}", load.notes),
            );
        }
        for (index, what) in ["envelopes, one group", "envelopes, 1000 groups"]
            .into_iter()
            .enumerate()
        {
            if let Some(name) = self.name(what) {
                let load = self
                    .load(&running, 200, move |site, number, to| {
                        site.crashes[index].write(number, to)
                    })
                    .await;
                show_rate(&name, &load.outcome, Some(&events), &load.notes);
            }
        }
        if let Some(name) = self.name("setup pages") {
            let load = self
                .load(&running, 200, |site, _, to| {
                    payloads::setup(&site.setup_url, to)
                })
                .await;
            show_rate(
                &name,
                &load.outcome,
                Some(&Marks {
                    floor: 10_000.0,
                    aim: 20_000.0,
                }),
                &load.notes,
            );
        }
        if let (Some(name), true) = (self.name("memory under load"), self.largest > 0.0) {
            let figure = format!("{:.1} MB", self.largest);
            show(
                &name,
                &figure,
                &at_most(self.largest, 96.0, 64.0),
                "largest resident figure of the loads above",
            );
        }
        running.kill();
        self.starts().await;
    }

    /// One load with the workers running, and what they still had to do after it.
    async fn load(
        &mut self,
        running: &Running,
        expected: u16,
        write: impl Fn(&Site, u64, &mut Vec<u8>) + Send + Sync,
    ) -> Load {
        let (site, plan) = (&self.site, self.bench.plan);
        let watch = machine::Watch::start(running.id());
        let before = machine::processor_time(running.id());
        let outcome = generator::run(site.address(), plan, expected, |number, request| {
            write(site, number, request)
        });
        let used = machine::processor_time(running.id()) - before;
        let (left, took) = site.drained().await;
        let memory = watch.stop();
        self.largest = self.largest.max(memory);
        let cores = used / (plan.warm_up + plan.measured).as_secs_f64();
        let mut notes = format!("server at {cores:.2} cores, {memory:.0} MB");
        if left > 0 {
            notes += &format!(
                ", {left} left to the workers for {:.1} s",
                took.as_secs_f64()
            );
        }
        if took >= DRAIN {
            notes += " (NOT DONE THEN)";
        }
        Load { outcome, notes }
    }

    /// From the start of the process to the first `200` of `/readyz`, on the database that the loads have filled.
    async fn starts(&self) {
        let Some(name) = self.name("start") else {
            return;
        };
        let mut times = Vec::new();
        for _ in 0..11 {
            let begun = Instant::now();
            let mut running = self.site.program.spawn();
            assert!(running.ready().await, "{}", self.site.program.log());
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            running.kill();
        }
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let notes = format!(
            "median of {}; {:.0}–{:.0} ms, load average {}",
            times.len(),
            times[0],
            times[times.len() - 1],
            machine::load()
        );
        let verdict = if median < 100.0 {
            "aim 100 reached"
        } else {
            "aim 100 missed"
        };
        show(&name, &format!("{median:.0} ms"), verdict, &notes);
    }
}

/// A load and what it did to the server.
struct Load {
    outcome: Outcome,
    notes: String,
}
