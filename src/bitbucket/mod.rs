//! Bitbucket's REST API and webhooks: which paths exist ([`paths`]), how a call is signed ([`auth`])
//! and sent ([`client`]), how lists are walked ([`page`]), what failures mean ([`error`]), one file
//! per resource ([`cloud`], [`datacenter`]), what both products do alike ([`host`]), what shares the budget, keeps
//! answers and logs calls ([`behind`]), and what Bitbucket sends to us ([`events`]).

mod attempt;
pub mod auth;
pub mod behind;
mod call;
pub mod client;
pub mod cloud;
pub mod datacenter;
pub mod error;
pub mod events;
pub mod host;
mod json;
pub mod meta;
pub mod oauth;
pub mod page;
pub mod paths;
pub mod wire;

pub use auth::{Credential, CredentialSource};
pub use behind::{Behind, Group, Priority};
pub use client::{CallReport, Client};
pub use cloud::Cloud;
pub use datacenter::DataCenter;
pub use error::{Error, Kind};
pub use host::{CodeHost, Host};
pub use meta::Meta;
pub use paths::{BitbucketApiPath, PathError, RepoRef};
