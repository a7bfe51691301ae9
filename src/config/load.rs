//! From environment and file to a validated [`Config`].

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::Config;
use super::settings::SETTINGS;
use crate::kit::crypto::secret::Secret;

const PREFIX: &str = "TRACEBUCKET_";

/// Why a configuration was refused; the text names the setting and what to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read or is not TOML.
    #[error("configuration file {0}: {1}")]
    File(PathBuf, String),
    /// A key that no setting has.
    #[error("unknown setting {0}; docs/CONFIGURATION.md lists them all")]
    Unknown(String),
    /// A required setting is missing.
    #[error("{0} is required; {1}")]
    Missing(&'static str, &'static str),
    /// A value does not fit.
    #[error("{0}: {1}")]
    Value(&'static str, String),
}

/// Where settings come from; the process's own by [`Sources::of_process`], given ones in tests.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    values: BTreeMap<&'static str, String>,
}

impl Sources {
    /// The environment of this process over the file (`config`, else `tracebucket.toml` if it exists).
    ///
    /// # Errors
    /// An unreadable file or an unknown key.
    pub fn of_process(config: Option<&Path>) -> Result<Self, ConfigError> {
        let mut sources = Self::default();
        let default_file = Path::new("tracebucket.toml");
        if let Some(file) = config.or_else(|| default_file.exists().then_some(default_file)) {
            let text = std::fs::read_to_string(file)
                .map_err(|error| ConfigError::File(file.to_owned(), error.to_string()))?;
            sources.add_file(file, &text)?;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the environment"
        )]
        let environment = std::env::vars_os();
        for (name, value) in environment {
            // Others may be named and filled with any bytes.
            let Some(name) = name.to_str() else { continue };
            // Variables of the test suite are nobody's setting.
            let Some(key) = name
                .strip_prefix(PREFIX)
                .filter(|key| !key.starts_with("TEST_"))
            else {
                continue;
            };
            // What is no text becomes a value that its setting refuses.
            let value = value.to_string_lossy().into_owned();
            sources
                .set(&key.to_ascii_lowercase(), value)
                .map_err(|_| ConfigError::Unknown(name.to_owned()))?;
        }
        Ok(sources)
    }

    /// Sets one value.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`] for a key that no setting has.
    pub fn set(&mut self, key: &str, value: impl Into<String>) -> Result<(), ConfigError> {
        let setting = SETTINGS
            .iter()
            .find(|s| s.key == key)
            .ok_or_else(|| ConfigError::Unknown(key.to_owned()))?;
        self.values.insert(setting.key, value.into());
        Ok(())
    }

    fn add_file(&mut self, file: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            ConfigError::File(file.to_owned(), syntax_error(text, &error))
        })?;
        for (key, value) in table {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Array(items) => items
                    .iter()
                    .map(|item| item.as_str().unwrap_or_default().to_owned())
                    .collect::<Vec<_>>()
                    .join(","),
                other => {
                    return Err(ConfigError::File(
                        file.to_owned(),
                        format!(
                            "{key} must be a string, a number or a list of strings, not {}",
                            other.type_str()
                        ),
                    ));
                }
            };
            self.set(&key, value)?;
        }
        Ok(())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.values
            .get(key)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// True when a setting has a value of its own.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The value of a setting, or its default.
    #[must_use]
    pub fn or_default(&self, key: &str) -> &str {
        self.get(key)
            .or_else(|| SETTINGS.iter().find(|s| s.key == key).map(|s| s.default))
            .unwrap_or_default()
    }

    /// Validates everything together.
    ///
    /// # Errors
    /// See [`ConfigError`]; nothing has been opened yet.
    pub fn into_config(self, dev: bool) -> Result<Config, ConfigError> {
        let listen = self.or_default("listen").to_owned();
        listen.to_socket_addrs().map_err(|error| {
            ConfigError::Value("listen", format!("{listen:?} is not host:port ({error})"))
        })?;
        let public_url = match self.get("public_url") {
            Some(text) => text.to_owned(),
            None if dev => format!("http://{listen}"),
            None => {
                return Err(ConfigError::Missing(
                    "public_url",
                    "set TRACEBUCKET_PUBLIC_URL to the https URL of this server, or start with --dev",
                ));
            }
        };
        let public_url = base_url("public_url", &public_url)?;
        if public_url.path() != "/" {
            // sentry-cli refuses a base with a path (sentry.md §10.1).
            return Err(ConfigError::Value(
                "public_url",
                "must not have a path: the server owns its host".into(),
            ));
        }
        if self.get("secret_keys").is_none() && !dev {
            return Err(ConfigError::Missing(
                "secret_keys",
                "make one with: tracebucket admin keys generate; or start with --dev",
            ));
        }
        let app_key = match self.get("app_key") {
            Some(key) => key.to_owned(),
            // As Sentry names itself (sentry.md §15.2).
            None => format!("{}.bitbucket", public_url.host_str().unwrap_or("localhost")),
        };
        Ok(Config {
            listen,
            public_url,
            database_url: Secret::new(self.or_default("database_url").to_owned()),
            secret_keys: self
                .get("secret_keys")
                .map(|keys| Secret::new(keys.to_owned())),
            bitbucket_api_url: base_url("bitbucket_api_url", self.or_default("bitbucket_api_url"))?,
            bitbucket_web_url: base_url("bitbucket_web_url", self.or_default("bitbucket_web_url"))?,
            bitbucket_cache: kib(
                "bitbucket_cache_kib",
                self.or_default("bitbucket_cache_kib"),
            )?,
            app_key,
            egress_allow: list(self.or_default("egress_allow"))
                .map(str::to_owned)
                .collect(),
            retention: days("retention_days", self.or_default("retention_days"))?,
            deliveries: days("delivery_days", self.or_default("delivery_days"))?,
            trusted_proxies: list(self.or_default("trusted_proxies"))
                .map(|item| {
                    item.parse().map_err(|_| {
                        ConfigError::Value("trusted_proxies", format!("{item:?} is not a CIDR"))
                    })
                })
                .collect::<Result<_, _>>()?,
            log: self.or_default("log").to_owned(),
            dev,
        })
    }
}

/// What is wrong and in which line, without the line itself: the error's own text quotes it, and it may hold a secret.
fn syntax_error(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message.to_owned(),
    }
}

fn base_url(key: &'static str, text: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text)
        .map_err(|error| ConfigError::Value(key, format!("{text:?} is not a URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(ConfigError::Value(
            key,
            format!("{text:?} must be an http or https URL"),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(ConfigError::Value(
            key,
            "must be scheme, host and port only".into(),
        ));
    }
    Ok(url)
}

fn days(key: &'static str, text: &str) -> Result<Duration, ConfigError> {
    match text.parse::<u32>() {
        Ok(days) if (1..=3_650).contains(&days) => {
            Ok(Duration::from_secs(u64::from(days) * 86_400))
        }
        _ => Err(ConfigError::Value(
            key,
            format!("{text:?} must be a number of days from 1 to 3650"),
        )),
    }
}

fn kib(key: &'static str, text: &str) -> Result<u64, ConfigError> {
    match text.parse::<u32>() {
        Ok(count) => Ok(u64::from(count) * 1_024),
        Err(_) => Err(ConfigError::Value(
            key,
            format!("{text:?} must be a number of KiB"),
        )),
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn sources(pairs: &[(&str, &str)]) -> Sources {
        let mut sources = Sources::default();
        for (key, value) in pairs {
            sources.set(key, *value).unwrap();
        }
        sources
    }

    #[test]
    fn dev_needs_nothing_and_production_says_what_is_missing() {
        let config = Sources::default().into_config(true).unwrap();
        assert_eq!(config.public_url.as_str(), "http://127.0.0.1:8000/");
        assert_eq!(config.app_key, "127.0.0.1.bitbucket");
        assert!(matches!(
            Sources::default().into_config(false),
            Err(ConfigError::Missing("public_url", _))
        ));
        let without_keys = sources(&[("public_url", "https://tb.example")]).into_config(false);
        assert!(matches!(
            without_keys,
            Err(ConfigError::Missing("secret_keys", _))
        ));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert_eq!(
            Sources::default().set("pubic_url", "x"),
            Err(ConfigError::Unknown("pubic_url".into()))
        );
        let file = Sources::default().add_file(Path::new("t.toml"), "lisen = \"127.0.0.1:1\"");
        assert_eq!(file, Err(ConfigError::Unknown("lisen".into())));
    }

    #[test]
    fn values_are_checked() {
        for (key, bad) in [
            ("listen", "nowhere"),
            ("public_url", "ftp://x"),
            ("public_url", "https://x/base"),
            ("retention_days", "0"),
            ("retention_days", "soon"),
            ("trusted_proxies", "10.0.0.0/99"),
        ] {
            assert!(
                sources(&[(key, bad)]).into_config(true).is_err(),
                "{key}={bad}"
            );
        }
    }

    #[test]
    fn secrets_of_the_configuration_do_not_print() {
        let config = sources(&[
            ("database_url", "postgres://u:hunter2@h/d"),
            ("secret_keys", "a:c2VjcmV0"),
        ])
        .into_config(true)
        .unwrap();
        let printed = format!("{config:?}");
        assert!(
            !printed.contains("hunter2") && !printed.contains("c2VjcmV0"),
            "{printed}"
        );
    }

    #[test]
    fn a_broken_file_is_told_by_its_line_and_never_quoted() {
        for broken in [
            "secret_keys = k1:hunter2",
            "secret_keys = hunter2",
            "secret_keys = 'k1:hunter2",
            "secret_keys = \"k1:hunter2",
            "secret_keys = \"k1:\\hunter2\"",
            "secret_keys = \"a\" hunter2",
            "secret_keys = [\"k1:hunter2\", hunter2",
            "secret_keys = {hunter2 = 1",
            "secret_keys = 7hunter2",
            "secret_keys = \"\"\"k1:hunter2",
            "secret_keys \"hunter2\"",
            "secret_keys: hunter2",
            "database_url = postgres://u:hunter2@h/d",
            "k1:hunter2==",
            "hunter2",
            "[hunter2",
            "secret_keys = \"hunter2\"\nsecret_keys = \"hunter2\"",
        ] {
            let text = format!("listen = \"127.0.0.1:1\"\n\n{broken}\n");
            let refused = Sources::default().add_file(Path::new("t.toml"), &text);
            let said = refused.unwrap_err();
            for said in [said.to_string(), format!("{said:?}")] {
                assert!(!said.contains("hunter2"), "{broken}: {said}");
                assert!(
                    ["line 3: ", "line 4: "].iter().any(|at| said.contains(at)),
                    "{broken}: {said}"
                );
            }
        }
    }

    #[test]
    fn the_reference_page_is_in_step() {
        let committed = include_str!("../../docs/CONFIGURATION.md");
        assert_eq!(
            committed,
            super::super::reference_page(),
            "run: tracebucket docs configuration > docs/CONFIGURATION.md"
        );
    }
}
