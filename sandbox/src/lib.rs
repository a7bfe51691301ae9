//! A stand-in for Bitbucket Cloud and Data Center that judges its caller, on real git repositories
//! on disk.
//!
//! It serves the REST paths, OAuth, the Connect install flow, git over HTTP and webhooks as the
//! reference describes them, verifies every token, scope, parameter and body by its own reading of
//! the specification, and records each broken rule as a [`Violation`]. It shares no code with the
//! product. For development and tests only: whoever reaches it may do everything.
//!
//! A request comes in through `server`, is judged (`judge`, `api`, `dc`), perhaps broken on
//! demand (`faults`), worked on (`api`, `dc`, `oauth`, `connect`, `git`), and recorded (`journal`).

mod admin;
mod api;
mod call;
mod connect;
mod core;
mod credentials;
mod dc;
mod deliveries;
mod faults;
mod git;
mod journal;
mod judge;
mod limits;
pub mod model;
mod oauth;
mod pages;
pub mod protocol;
mod pulls;
mod reply;
mod sandbox;
mod server;
mod setup;
mod store;
mod wire;

pub use connect::install::{InstallRequest, Installed};
pub use credentials::NewCredential;
pub use deliveries::{Attempt, Delivery, DeliverySettings, DeliveryStatus, Flavor};
pub use faults::{Action, Fault, FaultMatch};
pub use journal::{Answer, CallRecord, Rule, Violation};
pub use limits::RateLimit;
pub use oauth::{Access, ChangeConsumer, NewConsumer};
pub use sandbox::{Sandbox, SandboxConfig};
pub use setup::{
    CommitRequest, NewBulk, NewMember, NewPullRequest, NewRepository, NewToken, NewUser,
    NewWorkspace,
};
