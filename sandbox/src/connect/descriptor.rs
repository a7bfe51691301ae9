//! Judges an app descriptor (bitbucket.md §1.1–1.2).

use serde_json::{Map, Value};

use crate::core::Core;
use crate::protocol::scopes;

const KEYS: &[&str] = &[
    "key",
    "name",
    "description",
    "vendor",
    "baseUrl",
    "authentication",
    "lifecycle",
    "modules",
    "scopes",
    "contexts",
    "links",
    "apiVersion",
    "enableLicensing",
    "forgeAppLink",
    "forgeAppId",
    "definitions",
];

const MODULES: &[&str] = &[
    "webPanels",
    "webItems",
    "repoPages",
    "adminPages",
    "configurePage",
    "profileTabs",
    "generalPages",
    "fileViews",
    "linkers",
    "oauthConsumer",
    "webhooks",
    "postInstallRedirect",
    "proxy",
    "webCards",
];

/// What an install needs of a descriptor.
#[derive(Debug, Clone)]
pub(crate) struct Descriptor {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// Without a trailing slash.
    pub(crate) base_url: String,
    pub(crate) installed: String,
    pub(crate) uninstalled: String,
    pub(crate) post_install: Option<String>,
    pub(crate) scopes: Vec<String>,
}

/// Fetches and judges the descriptor at `uri`.
///
/// # Errors
/// One sentence for each thing that is wrong.
pub(crate) async fn fetch(core: &Core, uri: &str) -> Result<Descriptor, Vec<String>> {
    let answer = core
        .http
        .get(uri)
        .timeout(std::time::Duration::from_secs(10))
        .send()
        .await
        .map_err(|e| vec![format!("the descriptor cannot be fetched: {e}")])?;
    let status = answer.status();
    if !status.is_success() {
        return Err(vec![format!("the descriptor was answered {status}")]);
    }
    let body = answer.bytes().await.map_err(|e| vec![e.to_string()])?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(map)) => judge(&map, Some(uri)),
        _ => Err(vec!["the descriptor is not a JSON object".to_owned()]),
    }
}

/// Judges a descriptor; `uri` is where it was fetched from.
///
/// # Errors
/// One sentence for each thing that is wrong.
pub(crate) fn judge(
    map: &Map<String, Value>,
    uri: Option<&str>,
) -> Result<Descriptor, Vec<String>> {
    let mut wrong = Vec::new();
    for key in map.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        wrong.push(format!("unknown key {key:?}"));
    }
    let mut text = |name: &str| match map.get(name).and_then(Value::as_str) {
        Some(value) if !value.trim().is_empty() => value.to_owned(),
        _ => {
            wrong.push(format!("{name} must be a text"));
            String::new()
        }
    };
    let (key, name, description) = (text("key"), text("name"), text("description"));
    let base_url = text("baseUrl");
    check_base(&base_url, uri, &mut wrong);
    let kind = map
        .get("authentication")
        .and_then(|a| a.get("type"))
        .and_then(Value::as_str);
    if !matches!(kind, Some("jwt" | "JWT")) {
        wrong.push("authentication.type must be \"jwt\"".to_owned());
    }
    let mut path = |name: &str| {
        let value = map
            .get("lifecycle")
            .and_then(|l| l.get(name))
            .and_then(Value::as_str);
        value
            .filter(|path| path.starts_with('/'))
            .map(str::to_owned)
            .unwrap_or_else(|| {
                wrong.push(format!("lifecycle.{name} must be a path under baseUrl"));
                String::new()
            })
    };
    let (installed, uninstalled) = (path("installed"), path("uninstalled"));
    let scopes = check_scopes(map.get("scopes"), &mut wrong);
    check_contexts(map.get("contexts"), &mut wrong);
    let post_install = check_modules(map.get("modules"), &mut wrong);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Descriptor {
        key,
        name,
        description,
        base_url: base_url.trim_end_matches('/').to_owned(),
        installed,
        uninstalled,
        post_install,
        scopes,
    })
}

/// Bitbucket takes https only; plain http is fine on this machine.
fn check_base(base_url: &str, uri: Option<&str>, wrong: &mut Vec<String>) {
    match url::Url::parse(base_url) {
        Ok(url) if url.scheme() == "https" => {}
        Ok(url) if url.scheme() == "http" && is_local(&url) => {}
        _ => wrong.push("baseUrl must be an https URL (http on this machine)".to_owned()),
    }
    let prefix = format!("{}/", base_url.trim_end_matches('/'));
    if let Some(uri) = uri
        && !uri.starts_with(&prefix)
    {
        wrong.push("the descriptor must be served under its baseUrl".to_owned());
    }
}

fn is_local(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// A missing list means all scopes; an unknown name rejects the descriptor.
fn check_scopes(value: Option<&Value>, wrong: &mut Vec<String>) -> Vec<String> {
    let Some(value) = value else {
        return scopes::KNOWN.iter().map(|s| (*s).to_owned()).collect();
    };
    let Some(list) = value.as_array() else {
        wrong.push("scopes must be a list".to_owned());
        return Vec::new();
    };
    let mut granted = Vec::new();
    for scope in list {
        match scope.as_str().filter(|name| scopes::KNOWN.contains(name)) {
            Some(name) => granted.push(name.to_owned()),
            None => wrong.push(format!("unknown scope {scope}")),
        }
    }
    granted
}

fn check_contexts(value: Option<&Value>, wrong: &mut Vec<String>) {
    let known = |v: &Value| matches!(v.as_str(), Some("account" | "personal"));
    let fine = value.is_none_or(|v| {
        v.as_array()
            .is_some_and(|l| !l.is_empty() && l.iter().all(known))
    });
    if !fine {
        wrong.push("contexts must be a list of \"account\" or \"personal\"".to_owned());
    }
}

fn check_modules(value: Option<&Value>, wrong: &mut Vec<String>) -> Option<String> {
    let Some(modules) = value.and_then(Value::as_object) else {
        wrong.push("modules must be an object".to_owned());
        return None;
    };
    for name in modules
        .keys()
        .filter(|name| !MODULES.contains(&name.as_str()))
    {
        wrong.push(format!("unknown module {name:?}"));
    }
    let redirect = modules.get("postInstallRedirect")?;
    let key = redirect
        .get("key")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let key_fits = (1..=128).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let url = redirect
        .get("url")
        .and_then(Value::as_str)
        .filter(|url| url.starts_with('/'));
    if !key_fits || url.is_none() {
        wrong.push("postInstallRedirect needs a key and a url under baseUrl".to_owned());
    }
    url.map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({
            "key": "app.example.bitbucket", "name": "App", "description": "An app",
            "baseUrl": "http://127.0.0.1:9000", "authentication": {"type": "jwt"},
            "lifecycle": {"installed": "/installed/", "uninstalled": "/uninstalled/"},
            "scopes": ["issue:write", "webhook"], "contexts": ["account"],
            "modules": {"postInstallRedirect": {"key": "redirect", "url": "/setup/"}},
        })
    }

    fn check(value: &Value) -> Result<Descriptor, Vec<String>> {
        judge(
            value.as_object().unwrap(),
            Some("http://127.0.0.1:9000/descriptor/"),
        )
    }

    #[test]
    fn a_good_descriptor_passes() {
        let descriptor = check(&good()).unwrap();
        assert_eq!(descriptor.post_install.as_deref(), Some("/setup/"));
        assert_eq!(descriptor.scopes, ["issue:write", "webhook"]);
    }

    #[test]
    fn each_fault_is_named() {
        let cases = [
            ("key", json!(null), "key must"),
            ("apiMigrations", json!({}), "unknown key"),
            ("baseUrl", json!("http://example.org"), "https"),
            ("baseUrl", json!("http://127.0.0.1:900"), "served under"),
            ("authentication", json!({"type": "none"}), "authentication"),
            (
                "lifecycle",
                json!({"installed": "/x"}),
                "lifecycle.uninstalled",
            ),
            ("scopes", json!(["issues"]), "unknown scope"),
            ("contexts", json!(["team"]), "contexts"),
            ("modules", json!({"webPanel": []}), "unknown module"),
            (
                "modules",
                json!({"postInstallRedirect": {"key": "a b", "url": "/x"}}),
                "postInstallRedirect",
            ),
        ];
        for (key, value, part) in cases {
            let mut bad = good();
            bad[key] = value;
            let wrong = check(&bad).unwrap_err();
            assert!(wrong.iter().any(|w| w.contains(part)), "{key}: {wrong:?}");
        }
    }
}
