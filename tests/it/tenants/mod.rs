//! Two tenants in one server. The test walks the route table: for each row the owner's request succeeds first; then
//! the other tenant sends the very same request, and every mix of both tenants' ids, and neither learns nor changes
//! anything.
//!
//! A row of the table without a request here fails the test: a route of a tenant has a line in `requests.rs`, any
//! other one has its own story in `elsewhere.rs`.

pub mod dump;
mod elsewhere;
mod requests;
mod side;

use std::collections::BTreeSet;
use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tracebucket::features::accounts::Role;
use tracebucket::routes::TABLE;

use crate::support::world::bitbucket_and_app;
use crate::support::{Backend, TestApp};
use bitbucket_sandbox::{DeliverySettings, Sandbox};
use dump::Dump;
use requests::{Case, Names, cases};
use side::{Session, Side, Things};

/// Words that are in every name of a tenant and nowhere else.
const OWNER: &str = "orchid";
const OTHER: &str = "walnut";

/// Bitbucket, the application, and two tenants who have one of everything.
struct Two {
    t: TestApp,
    bitbucket: Sandbox,
    a: Side,
    b: Side,
    /// What `b` has; nobody may use it up.
    b_things: Things,
    /// An owner in both organizations: may see either, and must not see one through the other.
    of_both: Session,
    /// An organization token and a member of `a` who may do little.
    a_unscoped: String,
    a_member: Session,
    b_unscoped: String,
    dump: Dump,
    _folder: tempfile::TempDir,
}

/// Whose credential a request carries.
#[derive(Clone, Copy)]
enum By<'a> {
    Token(&'a str),
    Session(&'a Session),
}

/// What came back.
struct Answer {
    status: u16,
    location: String,
    text: String,
}

impl fmt::Display for Answer {
    /// Enough to know it by: a whole page says less.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin: String = self.text.chars().take(300).collect();
        write!(f, "{} {begin}", self.status)
    }
}

impl Two {
    async fn start(backend: Backend) -> Self {
        let (bitbucket, t, folder) = bitbucket_and_app(backend).await;
        // Webhooks that arrive on their own would change the database in the middle of a comparison.
        bitbucket.set_delivery_settings(DeliverySettings {
            drop: true,
            ..DeliverySettings::default()
        });
        let a = Side::new(&t, &bitbucket, OWNER).await;
        let b = Side::new(&t, &bitbucket, OTHER).await;
        let b_things = b.fresh(&t, &bitbucket, &side::all_keys()).await;
        let a_unscoped = t.token(&a.tenant.org, "team:read").await;
        let b_unscoped = t.token(&b.tenant.org, "team:read").await;
        let of_both = side::owner_of_both(&t, &a, &b).await;
        let member = t.member(&a.tenant.org, Role::Member).await;
        let a_member = Session::open(&t, &member, OWNER).await;
        let dump = Dump::new(&t).await;
        let two = Self {
            t,
            bitbucket,
            a,
            b,
            b_things,
            of_both,
            a_unscoped,
            a_member,
            b_unscoped,
            dump,
            _folder: folder,
        };
        // The first use of a token is noted, at most once an hour: not in the middle of a comparison.
        for token in [
            &two.a.tenant.token,
            &two.a.user_token,
            &two.b.tenant.token,
            &two.b.user_token,
            &two.a_unscoped,
            &two.b_unscoped,
        ] {
            let _ = two.t.call("GET", "/api/0/", token).send().await.unwrap();
        }
        two
    }

    /// Sends the request of a case with these names filled in.
    async fn send(&self, case: &Case, names: &Names, by: By<'_>) -> Answer {
        let request = case.build(&self.t, names, by);
        let response = request.send().await.unwrap();
        let location = response.headers().get("location");
        Answer {
            status: response.status().as_u16(),
            location: location
                .map(|to| to.to_str().unwrap().to_owned())
                .unwrap_or_default(),
            text: response.text().await.unwrap(),
        }
    }

    async fn walk(&self, case: &Case) {
        let keys = case.keys();
        let first = self.a_things(&keys).await;
        self.succeed(case, &first).await;
        // A change uses up what it was for: the others try on things that are there.
        let things = if case.reads() {
            self.own_answer_names_nobody_else(case).await;
            first
        } else {
            self.a_things(&keys).await
        };
        let before = self.state().await;
        self.same_request(case, &things).await;
        self.mixes(case, &keys, &things).await;
        self.missing_scope(case, &things).await;
        dump::assert_same(&before, &self.state().await, &format!("{case}"));
        if !case.reads() {
            // They were there, and are there still.
            self.succeed(case, &things).await;
            self.own_change_stays_at_home(case, &keys).await;
        }
    }

    async fn a_things(&self, keys: &BTreeSet<&'static str>) -> Things {
        self.a.fresh(&self.t, &self.bitbucket, keys).await
    }

    /// Everything in the database, and what Bitbucket was asked to change.
    async fn state(&self) -> BTreeSet<String> {
        let mut lines = self.dump.rows(&self.t).await;
        let counts = self.bitbucket.call_counts().into_iter();
        let changes = counts.filter(|(call, _)| !call.starts_with("GET "));
        lines.extend(changes.map(|(call, count)| format!("Bitbucket: {count} times {call}")));
        lines
    }

    /// The owner's request does what it is for.
    async fn succeed(&self, case: &Case, things: &Things) {
        let names = things.names(0);
        let before = self.dump.rows(&self.t).await;
        for by in case.credentials(&self.a) {
            let answer = self.send(case, &names, by).await;
            assert_eq!(answer.status, case.ok, "{case} as its owner: {answer}");
            assert!(
                !answer.location.starts_with("/sign-in/"),
                "{case}: its owner is asked to sign in"
            );
            if !case.reads() {
                break;
            }
        }
        let after = self.dump.rows(&self.t).await;
        if case.reads() {
            dump::assert_same(&before, &after, &format!("{case} as its owner"));
        } else {
            assert_ne!(before, after, "{case} as its owner changes something");
        }
    }

    /// `b` reads its own: nothing of `a` is in it.
    async fn own_answer_names_nobody_else(&self, case: &Case) {
        let names = self.b_things.names(0);
        for by in case.credentials(&self.b) {
            let answer = self.send(case, &names, by).await;
            assert_eq!(answer.status, case.ok, "{case} of the other tenant");
            assert!(
                !answer.text.contains(OWNER),
                "{case}: {OTHER} reads of {OWNER}: {answer}"
            );
        }
    }

    /// `b` changes its own: nothing of `a` is changed with it.
    async fn own_change_stays_at_home(&self, case: &Case, keys: &BTreeSet<&'static str>) {
        let own = self.b.fresh(&self.t, &self.bitbucket, keys).await;
        let before = self.dump.rows_of(&self.t, self.a.tenant.org.id).await;
        let by = case.credentials(&self.b).remove(0);
        let answer = self.send(case, &own.names(0), by).await;
        assert_eq!(answer.status, case.ok, "{case} of the other tenant");
        let after = self.dump.rows_of(&self.t, self.a.tenant.org.id).await;
        dump::assert_same(&before, &after, &format!("{case} of the other tenant"));
    }

    /// The very same request with the other tenant's credentials, by every name that the things have.
    async fn same_request(&self, case: &Case, things: &Things) {
        for spelling in 0..things.spellings() {
            let names = things.names(spelling);
            for by in case.credentials(&self.b) {
                let answer = self.send(case, &names, by).await;
                assert_eq!(
                    answer.status, 404,
                    "{case} as the other tenant with {names:?}: {answer}"
                );
                self.says_nothing(case, &names, &answer);
            }
            if case.is_api() {
                let answer = self.send(case, &names, By::Token(&self.b_unscoped)).await;
                let expected = if case.names_an_org() { 404 } else { 403 };
                assert_eq!(
                    answer.status, expected,
                    "{case} as the other tenant without a scope: {answer}"
                );
            }
        }
    }

    /// One name of `a` among those of `b`, and the organization of `b` with everything else of `a`.
    async fn mixes(&self, case: &Case, keys: &BTreeSet<&'static str>, things: &Things) {
        for spelling in 0..things.spellings() {
            let (theirs, own) = (things.names(spelling), self.b_things.names(0));
            let mut mixes: Vec<BTreeSet<&'static str>> =
                keys.iter().map(|key| BTreeSet::from([*key])).collect();
            mixes.push(keys.iter().copied().filter(|key| *key != "org").collect());
            mixes.retain(|foreign| !foreign.is_empty() && foreign.len() < keys.len());
            for foreign in mixes {
                let mut names = own.clone();
                names.extend(
                    foreign
                        .iter()
                        .filter_map(|key| Some((*key, theirs.get(key)?.clone()))),
                );
                let expected = case.expected(&foreign);
                for by in case.credentials(&self.b) {
                    let answer = self.send(case, &names, by).await;
                    assert!(
                        expected.contains(&answer.status),
                        "{case} with {foreign:?} of the other tenant: {answer}"
                    );
                    self.says_nothing(case, &names, &answer);
                }
                let answer = self.send(case, &names, By::Session(&self.of_both)).await;
                let in_body = case.expected_in_body();
                assert!(
                    answer.status == 404 || in_body.contains(&answer.status),
                    "{case} as an owner of both, with {foreign:?} of one and the rest of the other: {answer}"
                );
            }
        }
    }

    /// A refusal holds no word of `a` but those that were sent.
    fn says_nothing(&self, case: &Case, names: &Names, answer: &Answer) {
        let mut text = answer.text.clone();
        for sent in names.values() {
            text = text.replace(sent, "");
        }
        assert!(
            !text.contains(OWNER),
            "{case}: a refusal names the tenant: {text}"
        );
    }

    /// Of the right organization, but not allowed to do this.
    async fn missing_scope(&self, case: &Case, things: &Things) {
        let names = things.names(0);
        let by = if case.is_api() {
            By::Token(&self.a_unscoped)
        } else if case.for_managers {
            By::Session(&self.a_member)
        } else {
            return;
        };
        let answer = self.send(case, &names, by).await;
        assert_eq!(answer.status, 403, "{case} without the scope: {answer}");
    }
}

async fn walk_row(two: &Two, cases: &[Case], method: &'static str, path: &'static str) {
    let mut found = false;
    for case in cases.iter().filter(|case| case.row == (method, path)) {
        found = true;
        two.walk(case).await;
    }
    assert!(
        found || elsewhere::holds(two, method, path).await,
        "no request for {method} {path}: add one to tests/it/tenants/requests.rs"
    );
}

async fn each_route_keeps_tenants_apart(backend: Backend) {
    let two = Two::start(backend).await;
    let cases = cases();
    for case in &cases {
        assert!(
            TABLE.contains(&case.row),
            "{case}: the route is gone; its request can go too"
        );
    }
    // All rows are walked, so that one run tells everything that is wrong.
    let mut failed = Vec::new();
    for (method, path) in TABLE {
        if let Err(reason) = AssertUnwindSafe(walk_row(&two, &cases, method, path))
            .catch_unwind()
            .await
        {
            let reason = reason.downcast_ref::<String>();
            failed.push(reason.map_or_else(|| format!("{method} {path}"), Clone::clone));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    two.bitbucket.settle(crate::support::PATIENCE).await;
    // Repositories of the other tenant are asked for.
    for violation in two.bitbucket.take_violations() {
        let rule = format!("{:?}", violation.rule);
        assert_eq!(rule, "ForeignWorkspace", "{violation:?}");
    }
    two.t.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_keeps_tenants_apart_on_sqlite() {
    each_route_keeps_tenants_apart(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_keeps_tenants_apart_on_postgres() {
    each_route_keeps_tenants_apart(Backend::Postgres).await;
}
