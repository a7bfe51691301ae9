//! Health, metrics, and what an operator looks at.

pub mod api;
pub mod jobs;
pub mod pages;
