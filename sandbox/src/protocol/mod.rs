//! The sandbox's own reading of the Connect protocol (bitbucket.md §1.6–1.7) and of the scopes of the API.

pub mod jwt;
pub mod operations;
pub mod qsh;
pub mod scopes;
