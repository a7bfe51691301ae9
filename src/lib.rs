//! Tracebucket.

pub mod kit;
pub mod schema;
