//! The write door: what is answered is stored, what fails loses only itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::prelude::*;
use tracebucket::error::AppError;
use tracebucket::features::audit;
use tracebucket::kit::db::{Conn, Db, Fold, OpenAs};
use tracebucket::schema::audit_log;

use crate::support::{HeldDoor, both};

async fn count(t: &crate::support::TestApp, action: &'static str) -> i64 {
    t.app
        .db
        .read(move |conn| {
            Ok::<_, AppError>(
                audit_log::table
                    .filter(audit_log::action.eq(action))
                    .count()
                    .get_result(conn)?,
            )
        })
        .await
        .unwrap()
}

both! {
    async fn a_closure_that_fails_or_panics_loses_its_own_work_alone(t) {
        let now = t.app.clock.now();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..300_u32 {
            let db = t.app.db.clone();
            tasks.spawn(async move {
                let outcome: Result<(), AppError> = db
                    .write_batched(move |tx| {
                        audit::record(tx, None, "test", "test.door", "x", &serde_json::json!({}), now)?;
                        match number % 3 {
                            0 => Ok(()),
                            1 => Err(AppError::invalid("on purpose")),
                            _ => panic!("on purpose"),
                        }
                    })
                    .await;
                outcome.is_ok()
            });
        }
        let answered = tasks.join_all().await.into_iter().filter(|ok| *ok).count();
        assert_eq!(answered, 100);
        assert_eq!(count(&t, "test.door").await, 100);
    }

    async fn a_panic_inside_a_nested_transaction_leaves_the_door_open(t) {
        let now = t.app.clock.now();
        let outcome: Result<(), AppError> = t.app.db.write_batched(move |tx| {
            tx.conn().transaction(|_conn| -> QueryResult<()> { panic!("deep inside") })?;
            Ok(())
        }).await;
        assert_eq!(outcome.unwrap_err().code(), "internal");
        t.app.db.write(move |tx| {
            audit::record(tx, None, "test", "test.after", "x", &serde_json::json!({}), now)?;
            Ok::<_, AppError>(())
        }).await.unwrap();
        assert_eq!(count(&t, "test.after").await, 1);
    }

    async fn shared_statements_are_written_once_per_commit(t) {
        static FLUSHES: AtomicUsize = AtomicUsize::new(0);
        static SUM: AtomicUsize = AtomicUsize::new(0);
        #[derive(Default)]
        struct Sum(usize);
        impl Fold for Sum {
            fn merge(&mut self, other: Self) { self.0 += other.0; }
            fn flush(self, _: &mut Conn) -> QueryResult<()> {
                FLUSHES.fetch_add(1, Ordering::SeqCst);
                SUM.fetch_add(self.0, Ordering::SeqCst);
                Ok(())
            }
        }
        let (before, sum) = (FLUSHES.load(Ordering::SeqCst), SUM.load(Ordering::SeqCst));
        // A slow closure first, so that the others are waiting together behind it.
        let door = HeldDoor::of(&t.app.db).await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..100_usize {
            let db = t.app.db.clone();
            tasks.spawn(async move {
                db.write_batched(move |tx| { tx.fold::<Sum>(|sum| sum.0 += number); Ok::<_, AppError>(()) }).await.unwrap();
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        door.release().await;
        tasks.join_all().await;
        // The two databases run this in parallel: at least this one's sum, in a handful of commits.
        assert!(SUM.load(Ordering::SeqCst) - sum >= 4_950);
        assert!(FLUSHES.load(Ordering::SeqCst) - before <= 20);
    }

    async fn requests_go_before_jobs(t) {
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let door = HeldDoor::of(&t.app.db).await;
        let mut tasks = tokio::task::JoinSet::new();
        for (db, name) in [(t.app.db.for_jobs(), "job"), (t.app.db.clone(), "request"), (t.app.db.for_jobs(), "job"), (t.app.db.clone(), "request")] {
            let order = Arc::clone(&order);
            tasks.spawn(async move {
                db.write_batched(move |_| { order.lock().unwrap().push(name); Ok::<_, AppError>(()) }).await
            });
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        door.release().await;
        assert!(tasks.join_all().await.into_iter().all(|done| done.is_ok()));
        assert_eq!(*order.lock().unwrap(), ["request", "request", "job", "job"]);
    }

    async fn jobs_leave_connections_to_requests(t) {
        let gate = Arc::new((std::sync::Mutex::new(false), std::sync::Condvar::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let (db, gate) = (t.app.db.for_jobs(), Arc::clone(&gate));
            tasks.spawn(async move {
                db.read(move |_| {
                    let mut open = gate.0.lock().unwrap();
                    while !*open { open = gate.1.wait(open).unwrap(); }
                    Ok::<_, AppError>(())
                }).await
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let request = t.app.db.read(|_| Ok::<_, AppError>(()));
        let answered = tokio::time::timeout(std::time::Duration::from_secs(20), request).await;
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        answered.expect("a request finds a connection").unwrap();
        assert!(tasks.join_all().await.into_iter().all(|done| done.is_ok()));
    }

    async fn too_many_readers_are_refused_at_once(t) {
        let gate = Arc::new((std::sync::Mutex::new(false), std::sync::Condvar::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..1_100 {
            let (db, gate) = (t.app.db.clone(), Arc::clone(&gate));
            tasks.spawn(async move {
                let hold = move |_: &mut Conn| {
                    let mut open = gate.0.lock().unwrap();
                    while !*open {
                        open = gate.1.wait(open).unwrap();
                    }
                    Ok::<_, AppError>(())
                };
                db.read(hold).await.map_err(|e| (e.code(), e.retry_after()))
            });
        }
        let mut refused = 0;
        while refused < 50 {
            let first = tokio::time::timeout(std::time::Duration::from_secs(20), tasks.join_next()).await;
            assert_eq!(first.expect("refused at once").unwrap().unwrap(), Err(("unavailable", Some(2))));
            refused += 1;
        }
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        let done = tasks.join_all().await.into_iter().filter(Result::is_ok).count();
        assert!(done >= 500, "{done}");
    }

    async fn too_much_waiting_is_refused_at_once(t) {
        let door = HeldDoor::of(&t.app.db).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..3_000 {
            let db = t.app.db.clone();
            tasks.spawn(async move { db.write_batched(|_| Ok::<_, AppError>(())).await.map_err(|e| (e.code(), e.retry_after())) });
        }
        let refused_at_once = tasks.join_next().await.unwrap().unwrap();
        assert_eq!(refused_at_once, Err(("unavailable", Some(2))));
        // As many as there are places.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        door.release().await;
        let (done, refused): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert!(done.len() >= 1_000, "{}", done.len());
        assert!(!refused.is_empty());
        assert!(refused.iter().all(|r| *r == Err(("unavailable", Some(2)))), "{:?}", refused.first());
    }
}

/// Adds a letter to the names of two organizations, in this order, and waits in between for another one that does it
/// in the other order, as long as there is one.
fn crosswise(
    order: [&'static str; 2],
    letter: &'static str,
    meet: Arc<std::sync::Barrier>,
) -> impl FnMut(&mut tracebucket::kit::db::Tx<'_>) -> Result<(), AppError> + Send + 'static {
    let mut is_first_run = true;
    move |tx| {
        use diesel::RunQueryDsl;
        let mut rename = |slug: &str| {
            diesel::sql_query(format!(
                "UPDATE orgs SET name = name || '{letter}' WHERE slug = '{slug}'"
            ))
            .execute(tx.conn())
        };
        rename(order[0])?;
        if std::mem::take(&mut is_first_run) {
            meet.wait();
        }
        rename(order[1])?;
        Ok(())
    }
}

/// Two processes that wait for each other: PostgreSQL ends one of them, which then runs again. On SQLite there is one
/// writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deadlock_is_nobodys_error() {
    let t = crate::support::TestApp::start(crate::support::Backend::Postgres).await;
    let (one, two) = (t.tenant("one").await.org, t.tenant("two").await.org);
    let other = Db::open(t.app.config.database_url.expose(), OpenAs::Beside, None).unwrap();
    let meet = Arc::new(std::sync::Barrier::new(2));
    let (a, b) = tokio::join!(
        t.app
            .db
            .write(crosswise(["one", "two"], "a", Arc::clone(&meet))),
        t.app
            .db
            .write(crosswise(["two", "one"], "b", Arc::clone(&meet))),
    );
    a.and(b).unwrap();
    let (a, b) = tokio::join!(
        t.app
            .db
            .write_batched(crosswise(["one", "two"], "c", Arc::clone(&meet))),
        other.write_batched(crosswise(["two", "one"], "d", Arc::clone(&meet))),
    );
    a.and(b).unwrap();
    for org in [one, two] {
        let slug = org.slug.clone();
        let now = t
            .app
            .db
            .read(move |conn| {
                Ok::<_, AppError>(tracebucket::features::accounts::find_org(conn, &slug)?)
            })
            .await
            .unwrap();
        let mut added: Vec<_> = now.unwrap().name[org.name.len()..].chars().collect();
        added.sort_unstable();
        assert_eq!(added, ['a', 'b', 'c', 'd'], "each once");
    }
}

#[derive(diesel::QueryableByName)]
struct Pragma {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    synchronous: i32,
}

/// Durable through a power loss, which no test can cause: FULL is 2 (sqlite.org/pragma.html).
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_waits_for_the_disk() {
    let t = crate::support::TestApp::start(crate::support::Backend::Sqlite).await;
    let full = t.app.db.write_batched(|tx| {
        let read = diesel::sql_query("PRAGMA synchronous").get_result::<Pragma>(tx.conn())?;
        Ok::<_, AppError>(read.synchronous)
    });
    assert_eq!(full.await.unwrap(), 2);
}

/// Several replicas start at once on a database that none of them knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_start_together_migrate_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = crate::support::fresh_database(crate::support::Backend::Postgres, folder.path());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let url = url.clone();
        tasks.spawn_blocking(move || {
            tracebucket::kit::db::Db::open(&url, OpenAs::Server, None).map(drop)
        });
    }
    for opened in tasks.join_all().await {
        opened.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_has_one_server_and_room_for_commands() {
    let folder = tempfile::tempdir().unwrap();
    let url = crate::support::fresh_database(crate::support::Backend::Sqlite, folder.path());
    let open = |open_as| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || tracebucket::kit::db::Db::open(&url, open_as, None))
    };
    let server = open(OpenAs::Server).await.unwrap().unwrap();
    let second = open(OpenAs::Server).await.unwrap();
    assert!(
        second
            .err()
            .unwrap()
            .to_string()
            .contains("another tracebucket server")
    );
    let command = open(OpenAs::Beside).await.unwrap().unwrap();
    let now = tracebucket::kit::clock::Clock::system().now();
    let write = move |tx: &mut tracebucket::kit::db::Tx<'_>| {
        audit::record(
            tx,
            None,
            "test",
            "test.beside",
            "x",
            &serde_json::json!({}),
            now,
        )?;
        Ok::<_, AppError>(())
    };
    command.write(write).await.unwrap();
    server.write(write).await.unwrap();
    let reading_cannot_write: Result<usize, AppError> = server
        .read(|conn| Ok(diesel::sql_query("DELETE FROM audit_log").execute(conn)?))
        .await;
    assert!(reading_cannot_write.is_err());
}
