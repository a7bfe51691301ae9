//! Tracebucket: a self-hosted Bitbucket integration for Sentry-style error trackers.

pub mod app;
pub mod config;
pub mod error;
pub mod features;
pub mod kit;
pub mod schema;
pub mod telemetry;
