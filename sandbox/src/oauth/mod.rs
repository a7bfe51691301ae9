//! OAuth 2.0 as bitbucket.org does it (bitbucket.md §2.4, §6): the page that asks a person for
//! access, and the token endpoint.

mod authorize;
mod consumers;
mod token;

use std::sync::Arc;

use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::reply::{Outcome, Reply};
pub(crate) use consumers::known_scopes;
pub use consumers::{Access, ChangeConsumer, NewConsumer};

pub(crate) async fn serve(core: Arc<Core>, call: Arc<Call>) -> Outcome {
    let wrong = |rule, status, detail: &str, answer: &str| {
        core.violation(rule, &call.method, &call.target(), detail);
        Err(Reply::error(status, answer))
    };
    match (call.method.as_str(), call.path.as_str()) {
        ("POST", "/site/oauth2/access_token") => token::serve(&core, &call),
        (_, "/site/oauth2/access_token") => {
            wrong(Rule::WrongMethod, 405, "only POST", "Method not allowed")
        }
        ("GET", "/site/oauth2/authorize") => authorize::ask(&core, &call),
        ("POST", "/site/oauth2/authorize") => authorize::answer(&core, &call),
        _ => wrong(Rule::UnknownRoute, 404, "not served", "Resource not found"),
    }
}
