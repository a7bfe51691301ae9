//! Who sends an envelope: the public key, from any of the places an SDK may put it (sentry.md §11.2).

use std::borrow::Cow;

use crate::sentry::dsn::{Dsn, is_public_key};

/// The longest client name that is kept, in characters.
const MAX_CLIENT: usize = 128;

/// What a client says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The DSN's public key: 1 to 64 letters and digits.
    pub public_key: String,
    /// Protocol version, 7 today; nothing when not told or unreadable.
    pub version: Option<u16>,
    /// Name and version of the client, such as `sentry.python/2.75.0`.
    pub client: Option<String>,
}

/// Why a request is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No key anywhere.
    #[error("no sentry_key in header, query or envelope")]
    Missing,
    /// Two places name different keys or projects.
    #[error("the request names different keys or projects")]
    Contradiction,
    /// A key that cannot exist.
    #[error("malformed sentry_key")]
    BadKey,
    /// The envelope's `dsn` is no DSN.
    #[error("malformed dsn in the envelope header")]
    BadDsn,
}

impl AuthError {
    /// Stable code for error answers and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing_key",
            Self::Contradiction => "contradicting_keys",
            Self::BadKey => "malformed_key",
            Self::BadDsn => "malformed_dsn",
        }
    }
}

/// Reads the credentials of a request: `X-Sentry-Auth`, `Authorization: Sentry …` and the query.
///
/// `query` is the part of the URL after `?`, still encoded. An `Authorization` of another scheme is
/// not ours to judge and does not count. Nothing given is no error yet: the envelope may hold a DSN.
///
/// # Errors
/// A malformed key, or two places that name different keys.
pub fn from_request(
    x_sentry_auth: Option<&str>,
    authorization: Option<&str>,
    query: &str,
) -> Result<Option<Credentials>, AuthError> {
    let mut found = Found::default();
    if let Some(header) = x_sentry_auth {
        found.header(strip_scheme(header).unwrap_or(header))?;
    }
    if let Some(fields) = authorization.and_then(strip_scheme) {
        found.header(fields)?;
    }
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        found.field(&name, value)?;
    }
    Ok(found.into_credentials())
}

/// Adds what the envelope header says and decides.
///
/// `project_id` is the id in the request's path; a DSN of another project contradicts it.
///
/// # Errors
/// No key at all, a malformed DSN, or a contradiction.
pub fn with_envelope(
    request: Option<Credentials>,
    dsn: Option<&str>,
    project_id: &str,
) -> Result<Credentials, AuthError> {
    let Some(dsn) = dsn else {
        return request.ok_or(AuthError::Missing);
    };
    let dsn: Dsn = dsn.parse().map_err(|_| AuthError::BadDsn)?;
    if dsn.project_id != project_id {
        return Err(AuthError::Contradiction);
    }
    match request {
        Some(credentials) if credentials.public_key != dsn.public_key => {
            Err(AuthError::Contradiction)
        }
        Some(credentials) => Ok(credentials),
        None => Ok(Credentials {
            public_key: dsn.public_key,
            version: None,
            client: None,
        }),
    }
}

/// The part after `Sentry `, whatever its case.
fn strip_scheme(header: &str) -> Option<&str> {
    let (scheme, rest) = header.trim_start().split_once(char::is_whitespace)?;
    scheme.eq_ignore_ascii_case("sentry").then_some(rest)
}

#[derive(Default)]
struct Found {
    public_key: Option<String>,
    version: Option<u16>,
    client: Option<String>,
}

impl Found {
    fn header(&mut self, fields: &str) -> Result<(), AuthError> {
        for field in fields.split(',') {
            if let Some((name, value)) = field.split_once('=') {
                self.field(name.trim(), Cow::Borrowed(value.trim()))?;
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str, value: Cow<'_, str>) -> Result<(), AuthError> {
        match name {
            "sentry_key" => {
                if !is_public_key(&value) {
                    return Err(AuthError::BadKey);
                }
                if self
                    .public_key
                    .as_deref()
                    .is_some_and(|known| known != value)
                {
                    return Err(AuthError::Contradiction);
                }
                self.public_key = Some(value.into_owned());
            }
            "sentry_version" => self.version = self.version.or(value.parse().ok()),
            "sentry_client" if self.client.is_none() && !value.is_empty() => {
                self.client = Some(
                    value
                        .chars()
                        .filter(|c| !c.is_control())
                        .take(MAX_CLIENT)
                        .collect(),
                );
            }
            // sentry_secret and sentry_timestamp mean nothing any more.
            _ => {}
        }
        Ok(())
    }

    fn into_credentials(self) -> Option<Credentials> {
        let public_key = self.public_key?;
        Some(Credentials {
            public_key,
            version: self.version,
            client: self.client,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn python() -> Credentials {
        Credentials {
            public_key: KEY.into(),
            version: Some(7),
            client: Some("sentry.python/2.75.0".into()),
        }
    }

    #[test]
    fn each_place_alone_is_enough() {
        let fields =
            format!("sentry_key={KEY}, sentry_version=7, sentry_client=sentry.python/2.75.0");
        let header = format!("Sentry {fields}");
        let query =
            format!("sentry_version=7&sentry_key={KEY}&sentry_client=sentry.python%2F2.75.0");
        assert_eq!(from_request(Some(&header), None, ""), Ok(Some(python())));
        assert_eq!(from_request(Some(&fields), None, ""), Ok(Some(python())));
        assert_eq!(from_request(None, Some(&header), ""), Ok(Some(python())));
        assert_eq!(from_request(None, None, &query), Ok(Some(python())));
        assert_eq!(
            from_request(Some(&header), Some(&header), &query),
            Ok(Some(python()))
        );
        let dsn = format!("http://{KEY}@127.0.0.1:18101/1");
        assert_eq!(
            with_envelope(None, Some(&dsn), "1").unwrap().public_key,
            KEY
        );
        assert_eq!(with_envelope(Some(python()), Some(&dsn), "1"), Ok(python()));
    }

    #[test]
    fn the_rust_and_old_clients_add_fields_without_meaning() {
        let header = format!(
            "sentry sentry_version=7,sentry_timestamp=1795305604.79, sentry_secret=abc,sentry_client=sentry.rust/0.49.5,sentry_key={KEY}"
        );
        let found = from_request(Some(&header), None, "").unwrap().unwrap();
        assert_eq!(found.client.as_deref(), Some("sentry.rust/0.49.5"));
        assert_eq!(found.public_key, KEY);
    }

    #[test]
    fn contradictions_are_refused() {
        let header = format!("Sentry sentry_key={KEY}");
        assert_eq!(
            from_request(Some(&header), None, "sentry_key=other"),
            Err(AuthError::Contradiction)
        );
        assert_eq!(
            from_request(None, None, "sentry_key=a&sentry_key=b"),
            Err(AuthError::Contradiction)
        );
        assert_eq!(
            from_request(Some(&header), Some("Sentry sentry_key=b"), ""),
            Err(AuthError::Contradiction)
        );
        assert_eq!(
            with_envelope(Some(python()), Some("https://abc@h/1"), "1"),
            Err(AuthError::Contradiction)
        );
        let dsn = format!("https://{KEY}@h/2");
        assert_eq!(
            with_envelope(Some(python()), Some(&dsn), "1"),
            Err(AuthError::Contradiction)
        );
    }

    #[test]
    fn nothing_and_nonsense() {
        assert_eq!(from_request(None, None, ""), Ok(None));
        assert_eq!(from_request(None, Some("Bearer sntrys_abc"), ""), Ok(None));
        assert_eq!(
            from_request(Some("Sentry"), None, "sentry_version=7"),
            Ok(None)
        );
        assert_eq!(with_envelope(None, None, "1"), Err(AuthError::Missing));
        assert_eq!(
            with_envelope(None, Some("nonsense"), "1"),
            Err(AuthError::BadDsn)
        );
        for key in ["", "a b", "a'b", "é"] {
            assert_eq!(
                from_request(Some(&format!("Sentry sentry_key={key}")), None, ""),
                Err(AuthError::BadKey),
                "{key}"
            );
        }
        let version = from_request(None, None, "sentry_key=abc&sentry_version=x")
            .unwrap()
            .unwrap();
        assert_eq!(version.version, None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_gives_an_answer(header in "(Sentry )?(sentry_key=)?\\PC*", query in "\\PC*", dsn in "\\PC*") {
            let found = from_request(Some(&header), Some(&header), &query);
            if let Ok(found) = found {
                let _ = with_envelope(found, Some(&dsn), "1");
            }
        }
    }
}
