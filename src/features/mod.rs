//! One folder per capability.
pub mod releases;
