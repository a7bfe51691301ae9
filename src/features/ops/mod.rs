//! Health, metrics, and what an operator looks at.

pub mod api;
pub mod pages;
