//! An answer before it becomes HTTP.

use actix_web::web::Bytes;
use serde_json::{Value, json};

/// Work that ends in an answer, or in a refusal that is an answer too.
pub(crate) type Outcome = Result<Reply, Reply>;

/// Status, headers and body.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            body: body.into(),
        }
    }

    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub(crate) fn html(status: u16, page: String) -> Self {
        Self::new(status, "text/html; charset=utf-8", page)
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// The error shape of the API (bitbucket.md §4.4).
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::json(
            status,
            &json!({"type": "error", "error": {"message": message}}),
        )
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::empty(status).with("location", location)
    }

    /// With these headers too.
    pub(crate) fn with_all(mut self, headers: &[(&'static str, String)]) -> Self {
        self.headers.extend(headers.iter().cloned());
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A failure of the sandbox itself (git, disk), not of the caller.
impl From<anyhow::Error> for Reply {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!("{error:#}");
        Reply::error(500, "The sandbox failed; its log says why.")
    }
}
