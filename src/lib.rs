//! placeholder
pub mod features;
pub mod kit;
pub mod sentry;
