//! Mechanics without domain words: database, jobs, HTTP in and out, secrets, time.

pub mod db;
