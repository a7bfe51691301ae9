//! Health, metrics, what an operator looks at, and which key seals.

pub mod api;
mod housekeeping;
pub mod jobs;
pub mod pages;
pub mod sealing;
mod store;

pub use housekeeping::Housekeeping;
