//! Promises to users, shown over HTTP against the running application: one file per surface, one binary for all.
//!
//! A test written with [`both!`](support::both) runs on SQLite and on PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "tests: a surprise should stop them"
)]

mod support;

mod accounts;
mod bitbucket_judge;
mod browser_connect;
mod browser_looks;
mod browser_story;
mod calls;
mod check;
mod cli;
mod code_host;
mod connect_judge;
mod datacenter;
mod deliveries;
mod failures;
mod groups;
mod health;
mod hostile;
mod installs;
mod intake;
mod jobs;
mod kill;
mod links;
mod proxies;
mod rotation;
mod scene;
mod schema;
mod schemas;
mod sdks;
mod stop;
mod story;
mod tenants;
mod tickets;
mod write_door;
