//! One request as it arrived: raw path, raw query, headers, whole body.

use std::borrow::Cow;
use std::collections::BTreeMap;

use actix_web::web::Bytes;
use percent_encoding::percent_decode_str;

/// A request with nothing decoded yet.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Upper case.
    pub(crate) method: String,
    /// Percent-encoded, as sent.
    pub(crate) path: String,
    /// Without `?`, as sent.
    pub(crate) query: String,
    /// Names in lower case; repeated headers joined by a comma.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Query parameters, decoded, in order.
    pub(crate) fn params(&self) -> Vec<(String, String)> {
        form(self.query.as_bytes())
    }

    /// The last value of a query parameter.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        self.params()
            .into_iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The body as a form.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        form(&self.body)
    }

    /// The last value of a form field.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.form()
            .into_iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The content type without its parameters.
    pub(crate) fn content_type(&self) -> &str {
        let value = self.header("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }

    /// Decoded path segments. An empty last one is kept: it says that the path ended in `/`.
    pub(crate) fn segments(&self) -> Vec<String> {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        path.split('/')
            .map(|s| percent_decode_str(s).decode_utf8_lossy().into_owned())
            .collect()
    }

    /// Path and query for records, tokens left out.
    pub(crate) fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let pairs: Vec<Cow<'_, str>> = self
            .query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((key @ ("jwt" | "access_token"), _)) => Cow::Owned(format!("{key}=…")),
                _ => Cow::Borrowed(pair),
            })
            .collect();
        format!("{}?{}", self.path, pairs.join("&"))
    }
}

fn form(bytes: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}
