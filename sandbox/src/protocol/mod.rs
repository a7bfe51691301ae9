//! The sandbox's own reading of the Connect protocol (bitbucket.md §1.6–1.7).

pub mod jwt;
pub mod qsh;
pub mod scopes;
