//! The Sentry protocol, without a server around it: how SDKs send events, what an event holds, how
//! events become groups, and the shapes of Sentry's `/api/0` answers.
//!
//! The way of one request body through this module: [`decode`] undoes the content encoding,
//! [`envelope`] cuts it into items and keeps the event ([`keep`]), both while the body is still arriving, [`auth`]
//! names the key, [`event`] reads the event, [`grouping`] says which group it belongs to and [`title`] what that group
//! is called.
//!
//! Everything here is pure: no clock, no network, no tables. Foreign input never panics.

pub mod auth;
pub mod decode;
pub mod dsn;
pub mod envelope;
pub mod event;
pub mod event_id;
pub mod fields;
pub mod frames;
pub mod grouping;
pub mod keep;
pub mod lenient;
pub mod message;
pub mod parameterize;
pub mod ratelimit;
pub mod shortid;
pub mod text;
pub mod title;
pub mod wire;

#[cfg(test)]
mod tests;
