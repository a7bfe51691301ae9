//! Mechanics without domain words.
pub mod web;
