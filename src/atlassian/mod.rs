//! The Connect protocol of Atlassian, without network and without tables: what an app says about
//! itself ([`descriptor`]), what Bitbucket sends when it is installed ([`lifecycle`]), and the
//! tokens both sides sign ([`jwt`]), each bound to one request by its hash ([`qsh`]).

pub mod descriptor;
pub mod jwt;
pub mod lifecycle;
pub mod qsh;
