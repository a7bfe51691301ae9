//! Many repositories in one go: by a job, with progress, each failure with its reason, nothing twice; and a workspace
//! with ten thousand of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bitbucket_sandbox::NewBulk;

use super::*;
use crate::support::program::{Program, memory};
use crate::support::{PATIENCE, answer};

/// What the process may grow by while ten thousand repositories are listed and five hundred added, in KB. A page of
/// Bitbucket's list is a hundred of them; the answer to an API caller who asks for all is about 3 MB.
const GROWTH: u64 = 32 * 1024;

fn bulk(prefix: &str, count: u32) -> NewBulk {
    NewBulk {
        workspace: "acme".into(),
        prefix: prefix.into(),
        count,
    }
}

/// The console, without script.
struct Console {
    http: reqwest::Client,
    base: String,
    cookie: String,
}

impl Console {
    async fn get(&self, path: &str) -> String {
        let request = self.http.get(format!("{}{path}", self.base));
        let request = request
            .header("cookie", &self.cookie)
            .header("accept", "text/html");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    }

    /// Sends a form with the token of the page at `from`; answers where it leads.
    async fn post(&self, from: &str, path: &str, fields: &[(&str, &str)]) -> String {
        let csrf = hidden(&self.get(from).await, "csrf");
        let form: Vec<_> = fields
            .iter()
            .copied()
            .chain([("csrf", csrf.as_str())])
            .collect();
        let request = self.http.post(format!("{}{path}", self.base));
        let request = request
            .header("cookie", &self.cookie)
            .header("origin", &self.base)
            .form(&form);
        let response = request.send().await.unwrap();
        let status = response.status();
        let to = response.headers().get("location");
        let to = to.map(|to| to.to_str().unwrap().to_owned());
        to.unwrap_or_else(|| panic!("{path}: {status}"))
    }
}

async fn console(t: &TestApp, world_owner: &tracebucket::features::accounts::User) -> Console {
    Console {
        http: t.http.clone(),
        base: t.base.clone(),
        cookie: t.session(world_owner).await,
    }
}

/// Calls at Bitbucket of a method whose path ends like this.
fn calls(bitbucket: &Sandbox, method: &str, end: &str) -> u64 {
    let counts = bitbucket.call_counts();
    let fits = |name: &&String| name.starts_with(method) && name.ends_with(end);
    counts.keys().filter(fits).map(|name| counts[name]).sum()
}

in_a_world! {
    async fn many_are_added_by_a_job(world) {
        let (t, bitbucket) = (&world.t, &world.bitbucket);
        bitbucket.create_bulk(&bulk("svc", 130)).unwrap();
        let console = console(t, &world.tenant.owner).await;
        let page = format!("/o/acme/connections/{}/", world.integration);
        let search = format!("{page}?search=svc");
        let found = console.get(&search).await;
        assert!(found.contains("130 repositories") && found.contains("Add everything that was found"), "{found}");

        // Thirty by name: one is lost, one is none, one is here already. Each is asked for by itself.
        bitbucket.add_fault(Fault::always("GET", "/2.0/repositories/acme/svc-00007", status(404)));
        let picked: Vec<String> = (1..=28).map(|number| format!("acme/svc-{number:05}")).chain(["acme/shop".into(), "acme".into()]).collect();
        let fields: Vec<(&str, &str)> = picked.iter().map(|name| ("repos", name.as_str())).collect();
        bitbucket.clear_calls();
        let adding = console.post(&search, &format!("{page}repos/"), &fields).await;
        assert!(adding.starts_with(&format!("{page}adding/")), "{adding}");
        let before = console.get(&adding).await;
        assert!(before.contains("data-poll") && before.contains("1 of 30"), "{before}");
        assert!(console.get(&page).await.contains(&adding), "the connection leads there");
        t.run_jobs().await;
        let after = console.get(&adding).await;
        for text in ["30 of 30", "27 added", "1 here already", "2 not added", "acme/svc-00007", "404", "It is not the name of a repository."] {
            assert!(after.contains(text), "{text}: {after}");
        }
        assert!(!after.contains("data-poll"), "{after}");
        assert_eq!(calls(bitbucket, "GET", "/{repo}"), 29, "{:?}", bitbucket.call_counts());
        assert_eq!(world.hooks().len(), 28);

        // The lost one is back.
        bitbucket.clear_faults();
        bitbucket.clear_calls();
        assert_eq!(console.post(&adding, &format!("{adding}retry/"), &[]).await, adding);
        t.run_jobs().await;
        let again = console.get(&adding).await;
        for text in ["28 added", "1 not added"] {
            assert!(again.contains(text), "{text}: {again}");
        }
        assert_eq!((calls(bitbucket, "GET", "/{repo}"), world.hooks().len()), (1, 29));

        // The rest by the search: the list tells all, nothing is asked for by itself and nothing is added twice.
        bitbucket.clear_calls();
        let adding = console.post(&page, &format!("{page}repos/"), &[("search", "svc"), ("all", "1")]).await;
        t.run_jobs().await;
        let all = console.get(&adding).await;
        for text in ["130 of 130", "102 added", "28 here already", "0 not added"] {
            assert!(all.contains(text), "{text}: {all}");
        }
        assert_eq!((calls(bitbucket, "GET", "/{repo}"), calls(bitbucket, "GET", "/{workspace}")), (0, 2), "{:?}", bitbucket.call_counts());
        assert_eq!((calls(bitbucket, "POST", "/hooks"), calls(bitbucket, "GET", "/hooks")), (102, 0), "{:?}", bitbucket.call_counts());
        assert_eq!(world.hooks().len(), 131);

        // Sixty by name are looked up in the list.
        bitbucket.create_bulk(&bulk("more", 60)).unwrap();
        bitbucket.clear_calls();
        let picks: Vec<String> = (1..=60).map(|number| format!("acme/more-{number:05}")).collect();
        let wish = links::Wish { picks, search: "more".into(), all: false };
        let link = links::LinkId(world.integration.parse().unwrap());
        links::add_many(&t.app, world.tenant.org.id, link, wish, "Olga").await.unwrap();
        t.run_jobs().await;
        assert_eq!((calls(bitbucket, "GET", "/{repo}"), calls(bitbucket, "GET", "/{workspace}")), (0, 1), "{:?}", bitbucket.call_counts());
        assert_eq!(world.hooks().len(), 191);
        expect_violations(bitbucket, &[]);
        world.finish().await;
    }

    async fn trouble_stops_and_says_so(world) {
        let (t, bitbucket) = (&world.t, &world.bitbucket);
        bitbucket.create_bulk(&bulk("svc", 40)).unwrap();
        let console = console(t, &world.tenant.owner).await;
        let (org, link) = (world.tenant.org.id, links::LinkId(world.integration.parse().unwrap()));
        let wish = links::Wish { search: "svc".into(), all: true, ..links::Wish::default() };
        let id = links::add_many(&t.app, org, link, wish, "Olga").await.unwrap();
        let page = format!("/o/acme/connections/{link}/adding/{id}/");
        // Trouble that passes: it waits, and says why.
        bitbucket.add_fault(Fault::always("GET", "/2.0/repositories/", status(503)));
        t.run_jobs().await;
        let waits = console.get(&page).await;
        assert!(waits.contains("It is tried again.") && waits.contains("503"), "{waits}");
        // A credential that is refused: it stops, and a person goes on with it.
        bitbucket.clear_faults();
        bitbucket.add_fault(Fault::always("GET", "/2.0/repositories/", status(401)));
        t.app.db.write(|tx| {
            use diesel::RunQueryDsl;
            diesel::sql_query("UPDATE jobs SET run_at = 0 WHERE state = 'ready'").execute(tx.conn())?;
            Ok::<_, AppError>(())
        }).await.unwrap();
        t.run_jobs().await;
        let stopped = console.get(&page).await;
        assert!(stopped.contains("Stopped") && stopped.contains("Try again"), "{stopped}");
        bitbucket.clear_faults();
        expect_violations(bitbucket, &[]);
        console.post(&page, &format!("{page}retry/"), &[]).await;
        t.run_jobs().await;
        assert!(console.get(&page).await.contains("40 added"));
        assert_eq!(world.hooks().len(), 41);
        world.finish().await;
    }
}

/// Watches the memory of a process until it is stopped; answers the peak in KB.
struct Watch {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Watch {
    fn of(pid: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !ended.load(Ordering::Relaxed) {
                peak = peak.max(memory(pid, "RssAnon"));
                std::thread::sleep(Duration::from_millis(5));
            }
            peak
        });
        Self { over, thread }
    }

    fn peak(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The number in `N added` of the page.
fn added(page: &str) -> usize {
    let text = page.split(" added</span>").next().unwrap();
    let digits: String = text
        .chars()
        .rev()
        .take_while(|c| c.is_ascii_digit() || !c.is_ascii())
        .collect();
    digits
        .chars()
        .rev()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_repositories() {
    let World {
        t,
        bitbucket,
        tenant,
        integration,
        folder,
        ..
    } = World::new(Backend::Sqlite).await;
    bitbucket.create_bulk(&bulk("svc", 9_499)).unwrap();
    bitbucket.create_bulk(&bulk("pick", 500)).unwrap();
    let cookie = t.session(&tenant.owner).await;
    let program = Program::instead_of(t).await;
    bitbucket.clear_calls();
    let mut running = program.start().await;
    // It probes the connection when it begins to work.
    while calls(&bitbucket, "GET", "/{workspace}") < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let console = Console {
        http,
        base: program.base.clone(),
        cookie,
    };
    let page = format!("/o/acme/connections/{integration}/");
    for _ in 0..5 {
        console.get(&page).await;
        console.get("/o/acme/repos/").await;
    }
    let before = memory(running.id(), "RssAnon");
    let watch = Watch::of(running.id());

    // All of them, as an integration asks for them: a hundred pages.
    bitbucket.clear_calls();
    let list = format!(
        "{}/api/0/organizations/acme/integrations/{integration}/repos/",
        program.base
    );
    let listed = answer(console.http.get(&list).bearer_auth(&tenant.token), 200).await;
    assert_eq!(listed["repos"].as_array().unwrap().len(), 10_000);
    assert_eq!(bitbucket.calls().len(), 100);
    // A person sees the first three hundred, and all that a part of the name finds.
    bitbucket.clear_calls();
    let some = console.get(&format!("{page}?search=")).await;
    assert!(some.contains("300 repositories of more"), "{some}");
    assert_eq!(bitbucket.calls().len(), 3);
    bitbucket.clear_calls();
    let few = console.get(&format!("{page}?search=svc-0042")).await;
    assert!(few.contains("10 repositories in all pages"), "{few}");
    assert_eq!(bitbucket.calls().len(), 2);

    // Five hundred in one go; the process is killed on the way.
    bitbucket.clear_calls();
    let begun = Instant::now();
    let adding = console
        .post(
            &page,
            &format!("{page}repos/"),
            &[("search", "pick"), ("all", "1")],
        )
        .await;
    let mut seen = Vec::new();
    let until = async |console: &Console, seen: &mut Vec<usize>, enough: usize| loop {
        let shown = added(&console.get(&adding).await);
        seen.push(shown);
        if shown >= enough {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    until(&console, &mut seen, 40).await;
    let first_peak = watch.peak();
    running.kill();
    running = program.start().await;
    let second = memory(running.id(), "RssAnon");
    let watch = Watch::of(running.id());
    until(&console, &mut seen, 500).await;
    assert!(seen.is_sorted(), "{seen:?}");
    let done = loop {
        let shown = console.get(&adding).await;
        if !shown.contains("being set up") {
            break shown;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "{shown}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(
        done.contains("501 registered") && done.contains("0 not added"),
        "{done}"
    );
    let second_peak = watch.peak();
    eprintln!(
        "before {before} KB, peak {first_peak} KB; after the kill from {second} KB, peak {second_peak} KB; {:?}; {:?}",
        begun.elapsed(),
        bitbucket.call_counts()
    );
    assert!(
        first_peak - before < GROWTH,
        "grew by {} KB",
        first_peak - before
    );
    assert!(
        second_peak.saturating_sub(before.max(second)) < GROWTH,
        "grew by {second_peak} KB"
    );
    // Five pages of the list and a call for each webhook; what the kill has interrupted is done again, once.
    let total = bitbucket.calls().len();
    assert!(
        (505..=520).contains(&total),
        "{total}: {:?}",
        bitbucket.call_counts()
    );
    let state = folder.path().join("bitbucket").join("state.json");
    let state: Value = serde_json::from_slice(&std::fs::read(state).unwrap()).unwrap();
    assert_eq!(
        state["hooks"].as_array().unwrap().len(),
        501,
        "no repository has two"
    );
    let violations = bitbucket.take_violations();
    assert!(violations.is_empty(), "{violations:#?}");
    running.kill();
}
