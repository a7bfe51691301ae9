//! Tracebucket: a self-hosted Bitbucket integration for Sentry-style error trackers.

pub mod app;
pub mod atlassian;
pub mod bitbucket;
pub mod cli;
pub mod config;
pub mod error;
pub mod features;
pub mod kit;
pub mod routes;
pub mod schema;
pub mod sentry;
pub mod server;
pub mod telemetry;
pub mod worker;
