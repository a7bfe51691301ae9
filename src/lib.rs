//! Tracebucket: the way of an error from SDK to commit.

pub mod kit;
