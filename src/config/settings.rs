//! The table of settings.

use std::fmt::Write as _;

/// One setting: its key in the file (the environment variable is `TRACEBUCKET_` and the key in capitals), its
/// default as shown to people, and what it means.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Key in `tracebucket.toml`.
    pub key: &'static str,
    /// Default; empty when there is none.
    pub default: &'static str,
    /// One line of documentation.
    pub doc: &'static str,
}

impl Setting {
    /// Name of the environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("TRACEBUCKET_{}", self.key.to_ascii_uppercase())
    }
}

const fn setting(key: &'static str, default: &'static str, doc: &'static str) -> Setting {
    Setting { key, default, doc }
}

/// Every setting there is.
pub const SETTINGS: &[Setting] = &[
    setting(
        "listen",
        "127.0.0.1:8000",
        "Address and port of the HTTP server.",
    ),
    setting(
        "public_url",
        "",
        "Where browsers and Bitbucket reach this server: scheme, host, optional port. Required unless --dev (then http:// and the listen address).",
    ),
    setting(
        "database_url",
        "sqlite://data/tracebucket.db",
        "sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE.",
    ),
    setting(
        "secret_keys",
        "",
        "Keys that seal secrets at rest, as id:base64 of 32 bytes, comma-separated. All open; one seals, at first the first (OPERATIONS.md tells how it is changed). Required unless --dev (then a key is made and kept in dev.keys beside the database).",
    ),
    setting(
        "bitbucket_api_url",
        "https://api.bitbucket.org",
        "Base URL of the Bitbucket Cloud API.",
    ),
    setting(
        "bitbucket_web_url",
        "https://bitbucket.org",
        "Base URL of Bitbucket's web pages.",
    ),
    setting(
        "bitbucket_cache_kib",
        "262144",
        "KiB of Bitbucket's answers that are kept in the database, so that a commit, diff or file at a hash is asked for once. 0 keeps none.",
    ),
    setting(
        "app_key",
        "<public host>.bitbucket",
        "Key of the Connect app. Changing it disconnects existing installs.",
    ),
    setting(
        "egress_allow",
        "",
        "Hosts or CIDRs, comma-separated, that outgoing calls may reach although their address is private.",
    ),
    setting("retention_days", "90", "Days that events are kept."),
    setting(
        "delivery_days",
        "14",
        "Days that bodies of inbound webhooks are kept; their keys are kept twice as long.",
    ),
    setting(
        "trusted_proxies",
        "",
        "CIDRs, comma-separated, of reverse proxies whose X-Forwarded-For is believed: it tells the client's address for the log and for the limit on sign-ins.",
    ),
    setting(
        "log",
        "info",
        "Filter of log lines, in the syntax of tracing (for example info,tracebucket=debug).",
    ),
];

/// docs/CONFIGURATION.md, made from the table.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Configuration\n\nMade from `src/config/settings.rs`; a test keeps this page and the code in step.\n\n\
         A setting is an environment variable or a key in `tracebucket.toml` (in the working folder, or the file \
         named by `--config`). The environment wins. An unknown key or `TRACEBUCKET_` variable stops the start.\n\n\
         | variable | key | default | meaning |\n| --- | --- | --- | --- |\n",
    );
    for setting in SETTINGS {
        let default = if setting.default.is_empty() {
            "none".to_owned()
        } else {
            format!("`{}`", setting.default)
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {default} | {} |",
            setting.variable(),
            setting.key,
            setting.doc
        );
    }
    page
}
