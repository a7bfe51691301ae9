//! What handlers of every feature share: bodies with a limit, cursors, request ids, headers of answers, pages.

pub mod body;
pub mod client;
pub mod cursor;
pub mod json;
pub mod middleware;
pub mod render;
