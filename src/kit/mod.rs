//! Mechanics without domain words: time, secrets, database, jobs, HTTP in and out. Nothing here knows a table
//! of a feature or the name of a tracker.

pub mod cache;
pub mod clock;
pub mod crypto;
pub mod db;
pub mod http;
pub mod ids;
pub mod jobs;
pub mod metrics;
pub mod pack;
pub mod redact;
pub mod web;
