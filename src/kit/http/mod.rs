//! Calls to other machines: who may be called ([`policy`], [`egress`]), when to follow
//! ([`redirect`]), when to try again ([`retry`]), when to stop trying ([`breaker`]), and how much to
//! read ([`body`]).
//!
//! Addresses come from tenants and from foreign answers, so every request passes the one door
//! [`egress::Egress::send`].

pub mod body;
pub mod breaker;
pub mod egress;
pub mod policy;
pub mod redirect;
pub mod retry;
#[cfg(test)]
pub(crate) mod test_server;

pub use egress::{Egress, EgressConfig, EgressError};
