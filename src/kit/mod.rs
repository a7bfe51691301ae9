//! Mechanics without domain words: time, secrets, HTTP rules. Nothing here knows a table or a tracker.

pub mod clock;
pub mod crypto;
pub mod http;
pub mod redact;
