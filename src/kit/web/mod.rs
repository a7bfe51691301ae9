//! What handlers of every feature share: bodies with a limit, request ids, headers of answers, pages.

pub mod body;
pub mod middleware;
pub mod render;
