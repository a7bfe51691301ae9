//! What the app tells Bitbucket about itself (bitbucket.md §1.1, sentry.md §15.3).

use serde::Serialize;
use url::Url;

/// Where Bitbucket posts installs, below the public URL.
pub const INSTALLED_PATH: &str = "/extensions/bitbucket/installed/";
/// Where Bitbucket posts uninstalls.
pub const UNINSTALLED_PATH: &str = "/extensions/bitbucket/uninstalled/";
/// Where the browser of the installing admin arrives, with `?jwt=`.
pub const SETUP_PATH: &str = "/extensions/bitbucket/setup/";
/// Where Bitbucket reads this descriptor.
pub const DESCRIPTOR_PATH: &str = "/extensions/bitbucket/descriptor/";

/// Classic scopes we ask for. None can be added to an existing install later, so this is the whole
/// list from the first day (bitbucket.md §1.4).
pub const SCOPES: [&str; 4] = ["issue:write", "pullrequest", "webhook", "repository"];

/// The Connect descriptor. Only keys that Bitbucket is known to accept are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Unique app id; `iss` of every token we sign.
    pub key: String,
    /// Shown to users.
    pub name: &'static str,
    /// Shown to users.
    pub description: &'static str,
    /// Who runs this server.
    pub vendor: Vendor,
    /// Our public URL without a trailing slash.
    pub base_url: String,
    /// Always JWT.
    pub authentication: Authentication,
    /// Paths below `base_url`.
    pub lifecycle: Lifecycle,
    /// See [`SCOPES`].
    pub scopes: [&'static str; 4],
    /// `account`: installed for a whole workspace.
    pub contexts: [&'static str; 1],
    /// What appears in Bitbucket.
    pub modules: Modules,
}

/// Name and page of the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vendor {
    /// Display name.
    pub name: String,
    /// Home page.
    pub url: String,
}

/// How the two sides recognise each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authentication {
    /// `jwt`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// Callbacks of installing and removing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lifecycle {
    /// [`INSTALLED_PATH`].
    pub installed: &'static str,
    /// [`UNINSTALLED_PATH`].
    pub uninstalled: &'static str,
}

/// The modules we use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Modules {
    /// Sends the installing admin to [`SETUP_PATH`].
    pub post_install_redirect: Redirect,
}

/// A page the browser is sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// Module key, unique in the app.
    pub key: &'static str,
    /// Path below `base_url`.
    pub url: &'static str,
}

impl Descriptor {
    /// The descriptor of the app `app_key` served at `public_url`.
    pub fn new(public_url: &Url, app_key: &str) -> Self {
        let base_url = public_url.as_str().trim_end_matches('/').to_owned();
        Self {
            key: app_key.to_owned(),
            name: "Tracebucket",
            description: "Errors of your programs as Bitbucket issues, resolved by the commits that fix them.",
            vendor: Vendor {
                name: public_url.host_str().unwrap_or("Tracebucket").to_owned(),
                url: base_url.clone(),
            },
            base_url,
            authentication: Authentication { kind: "jwt" },
            lifecycle: Lifecycle {
                installed: INSTALLED_PATH,
                uninstalled: UNINSTALLED_PATH,
            },
            scopes: SCOPES,
            contexts: ["account"],
            modules: Modules {
                post_install_redirect: Redirect {
                    key: "redirect",
                    url: SETUP_PATH,
                },
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_descriptor_holds_exactly_the_known_keys() {
        let url = Url::parse("https://errors.example.test/tracker/").unwrap();
        let descriptor = Descriptor::new(&url, "errors.example.test.bitbucket");
        assert_eq!(
            serde_json::to_value(&descriptor).unwrap(),
            json!({
                "key": "errors.example.test.bitbucket",
                "name": "Tracebucket",
                "description": descriptor.description,
                "vendor": {"name": "errors.example.test", "url": "https://errors.example.test/tracker"},
                "baseUrl": "https://errors.example.test/tracker",
                "authentication": {"type": "jwt"},
                "lifecycle": {
                    "installed": "/extensions/bitbucket/installed/",
                    "uninstalled": "/extensions/bitbucket/uninstalled/",
                },
                "scopes": ["issue:write", "pullrequest", "webhook", "repository"],
                "contexts": ["account"],
                "modules": {"postInstallRedirect": {"key": "redirect", "url": "/extensions/bitbucket/setup/"}},
            })
        );
    }
}
