//! What handlers of every feature share: bodies with a limit, request ids, headers of answers.

pub mod body;
pub mod middleware;
