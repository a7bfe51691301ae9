//! Bitbucket's REST API and webhooks: which paths exist ([`paths`]), how a call is signed ([`auth`])
//! and sent ([`client`]), how lists are walked ([`page`]), what failures mean ([`error`]), one file
//! per resource ([`cloud`]), and what Bitbucket sends to us ([`events`]).

pub mod auth;
pub mod client;
pub mod cloud;
pub mod error;
pub mod events;
mod json;
pub mod meta;
pub mod oauth;
pub mod page;
pub mod paths;
pub mod wire;

pub use auth::{Credential, CredentialSource};
pub use client::{CallReport, Client};
pub use cloud::Cloud;
pub use error::{Error, Kind};
pub use meta::Meta;
pub use paths::{BitbucketApiPath, PathError, RepoRef};
