//! Releases and the commits they hold.
pub mod fixes;
