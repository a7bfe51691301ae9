//! The DSN that an SDK is configured with (sentry.md §11.1):
//! `{scheme}://{public}[:{secret}]@{host}[{path}]/{project_id}`.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// A parsed DSN. A secret, which only very old clients carry, is dropped on reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dsn {
    /// `http` or `https`.
    pub scheme: String,
    /// The project's public key.
    pub public_key: String,
    /// Host, with the port where it is not the scheme's own.
    pub host: String,
    /// Path before the project id: empty, or `/…` without a slash at the end.
    pub path: String,
    /// The project's id; a string on the wire.
    pub project_id: String,
}

/// Why a text is no DSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDsn {
    /// No URL with scheme http or https and a host.
    #[error("not an http or https URL")]
    Url,
    /// Nothing, or something impossible, before the `@`.
    #[error("the public key is missing or malformed")]
    Key,
    /// The last part of the path is empty or not made of letters and digits.
    #[error("the project id is missing or malformed")]
    Project,
}

/// Whether the text can be a public key: 1 to 64 letters and digits.
pub fn is_public_key(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl FromStr for Dsn {
    type Err = BadDsn;

    fn from_str(text: &str) -> Result<Self, BadDsn> {
        let url = Url::parse(text.trim()).map_err(|_| BadDsn::Url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadDsn::Url);
        }
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or(BadDsn::Url)?;
        let host = url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if !is_public_key(url.username()) {
            return Err(BadDsn::Key);
        }
        let (path, project_id) = url
            .path()
            .trim_end_matches('/')
            .rsplit_once('/')
            .ok_or(BadDsn::Project)?;
        if !is_public_key(project_id) {
            return Err(BadDsn::Project);
        }
        Ok(Self {
            scheme: url.scheme().to_owned(),
            public_key: url.username().to_owned(),
            host,
            path: path.to_owned(),
            project_id: project_id.to_owned(),
        })
    }
}

impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scheme,
            public_key,
            host,
            path,
            project_id,
        } = self;
        write!(f, "{scheme}://{public_key}@{host}{path}/{project_id}")
    }
}

impl Dsn {
    /// The DSN of a project of this server.
    ///
    /// # Errors
    /// When `public_url`, key or id cannot be parts of a DSN.
    pub fn new(public_url: &Url, public_key: &str, project_id: &str) -> Result<Self, BadDsn> {
        let mut url = public_url.clone();
        url.set_username(public_key).map_err(|()| BadDsn::Url)?;
        url.set_password(None).map_err(|()| BadDsn::Url)?;
        let path = format!("{}/{project_id}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.as_str().parse()
    }

    /// Where the SDK posts envelopes.
    pub fn envelope_url(&self) -> String {
        let Self {
            scheme,
            host,
            path,
            project_id,
            ..
        } = self;
        format!("{scheme}://{host}{path}/api/{project_id}/envelope/")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_forms_are_read() {
        let dsn: Dsn = "https://abc:shh@o1.ingest.example.com:8443/pre/fix/42"
            .parse()
            .unwrap();
        assert_eq!(dsn.public_key, "abc");
        assert_eq!(dsn.host, "o1.ingest.example.com:8443");
        assert_eq!(dsn.path, "/pre/fix");
        assert_eq!(dsn.project_id, "42");
        assert_eq!(
            dsn.to_string(),
            "https://abc@o1.ingest.example.com:8443/pre/fix/42"
        );
        assert_eq!(
            dsn.envelope_url(),
            "https://o1.ingest.example.com:8443/pre/fix/api/42/envelope/"
        );
        let plain: Dsn = " http://pub@127.0.0.1:18101/1/ ".parse().unwrap();
        assert_eq!(plain.to_string(), "http://pub@127.0.0.1:18101/1");
        let v6: Dsn = "http://pub@[::1]:80/1".parse().unwrap();
        assert_eq!(v6.to_string(), "http://pub@[::1]/1");
    }

    #[test]
    fn each_missing_part_has_its_error() {
        for (text, error) in [
            ("", BadDsn::Url),
            ("abc", BadDsn::Url),
            ("ftp://abc@h/1", BadDsn::Url),
            ("https://h/1", BadDsn::Key),
            ("https://a%20b@h/1", BadDsn::Key),
            ("https://abc@h", BadDsn::Project),
            ("https://abc@h/", BadDsn::Project),
            ("https://abc@h/a-b", BadDsn::Project),
        ] {
            assert_eq!(text.parse::<Dsn>(), Err(error), "{text}");
        }
    }

    #[test]
    fn ours_is_built_from_the_public_url() {
        let url = Url::parse("https://tb.example.com/").unwrap();
        assert_eq!(
            Dsn::new(&url, "abc", "7").unwrap().to_string(),
            "https://abc@tb.example.com/7"
        );
        assert_eq!(Dsn::new(&url, "", "7"), Err(BadDsn::Key));
        assert_eq!(Dsn::new(&url, "abc", ""), Err(BadDsn::Project));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn formatting_round_trips(key in "[a-zA-Z0-9]{1,32}", host in "[a-z]{1,10}\\.[a-z]{2,5}(:1[0-9]{3})?", path in "(/[a-z0-9]{1,5}){0,2}", project in "[0-9]{1,10}") {
            let dsn = Dsn { scheme: "https".into(), public_key: key, host, path, project_id: project };
            prop_assert_eq!(dsn.to_string().parse::<Dsn>(), Ok(dsn));
        }

        #[test]
        fn any_text_gives_an_answer(text in "(https?://)?\\PC*") {
            let _ = text.parse::<Dsn>();
        }
    }
}
