//! Drives a running sandbox over HTTP and with real git.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod app;
mod credentials;
mod data_center;
mod faults;
mod git;
mod hooks;
mod install;
mod issues;
mod kit;
mod oauth;
mod pages;
mod people;
mod pull_rules;
mod pulls;
mod repositories;
mod rules;
mod state;
