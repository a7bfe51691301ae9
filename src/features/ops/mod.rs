//! Health, metrics, and what an operator looks at.

pub mod api;
mod housekeeping;
pub mod jobs;
pub mod pages;
pub mod sealing;
mod store;

pub use housekeeping::Housekeeping;
