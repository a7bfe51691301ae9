//! The capabilities, one folder each. A feature owns its tables, rules, jobs and handlers, and is called by
//! others only through what its `mod.rs` exports; the graph of calls is in ARCHITECTURE.md.

pub mod accounts;
pub mod audit;
pub mod calls;
pub mod deliveries;
pub mod groups;
pub mod installs;
pub mod intake;
pub mod links;
pub mod ops;
pub mod releases;
pub mod tickets;
