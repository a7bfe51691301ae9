//! Tracebucket: a self-hosted Bitbucket integration for Sentry-style error trackers.

pub mod atlassian;
pub mod bitbucket;
pub mod kit;
