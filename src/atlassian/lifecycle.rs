//! What Bitbucket posts when the app is installed or removed (bitbucket.md §1.5, sentry.md §1.6).
//!
//! The body of a first install is believed by nobody: it is read leniently here, and the caller
//! proves the secret by a signed call before storing anything. `baseUrl` and `baseApiUrl` are not
//! even read, because the body must not steer where we call.

use serde_json::Value;

use crate::kit::crypto::Secret;

const MAX_CLIENT_KEY: usize = 255;

/// Why a lifecycle body cannot be used. All of these are answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// No body at all.
    #[error("the body is empty")]
    Empty,
    /// Not a JSON object.
    #[error("the body is not a JSON object")]
    NotJson,
    /// `clientKey` is absent, empty, too long or holds control characters.
    #[error("the body has no usable clientKey")]
    ClientKey,
    /// `sharedSecret` is absent or empty.
    #[error("the body has no sharedSecret")]
    SharedSecret,
    /// `principal.uuid` is absent or not a uuid in braces. Other text could change the path of the
    /// proof call.
    #[error("principal.uuid is not a uuid in braces")]
    PrincipalUuid,
}

/// A uuid in braces, lower-case hex: the only form that may enter a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BracedUuid(String);

impl BracedUuid {
    /// Accepts `{8-4-4-4-12}` and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('{')?.strip_suffix('}')?;
        let groups: Vec<&str> = inner.split('-').collect();
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let lengths_fit = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
        (lengths_fit && groups.iter().all(|group| group.bytes().all(lower_hex)))
            .then(|| Self(text.to_owned()))
    }

    /// With its braces.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The account the app is installed on (`principal`) or the person who did it (`user`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// `team` (a workspace), `user`, or something newer.
    pub kind: Option<String>,
    /// In braces, unchecked; see [`Installed::principal_uuid`].
    pub uuid: Option<String>,
    /// Workspace id of a team; people mostly have none.
    pub username: Option<String>,
    /// Full name.
    pub display_name: Option<String>,
    /// Picture (`links.avatar.href`).
    pub avatar_url: Option<String>,
}

impl Account {
    /// Name to show: username, else display name, else uuid.
    pub fn name(&self) -> Option<&str> {
        [&self.username, &self.display_name, &self.uuid]
            .into_iter()
            .flatten()
            .next()
            .map(String::as_str)
    }

    /// `bitbucket.org/<name>` for a workspace, the bare name for a person (sentry.md §1.6).
    pub fn domain_name(&self) -> Option<String> {
        let name = self.name()?;
        Some(if self.kind.as_deref() == Some("team") {
            format!("bitbucket.org/{name}")
        } else {
            name.to_owned()
        })
    }

    fn read(value: &Value) -> Self {
        Self {
            kind: text(value.get("type")),
            uuid: text(value.get("uuid")),
            username: text(value.get("username")),
            display_name: text(value.get("display_name")),
            avatar_url: text(value.pointer("/links/avatar/href")),
        }
    }
}

/// An `installed` or `uninstalled` body. Unknown and ill-typed fields are ignored.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Tenant id, the same over re-installs.
    pub client_key: String,
    /// Key for both directions; may be absent on `uninstalled`.
    pub shared_secret: Option<Secret>,
    /// What the app is installed on.
    pub principal: Option<Account>,
    /// Who installed it.
    pub user: Option<Account>,
}

impl Installed {
    /// Reads a body. Only a missing `clientKey` makes it useless.
    pub fn parse(body: &[u8]) -> Result<Self, LifecycleError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(LifecycleError::Empty);
        }
        let value: Value = serde_json::from_slice(body).map_err(|_| LifecycleError::NotJson)?;
        let object = value.as_object().ok_or(LifecycleError::NotJson)?;
        let field = |name: &str| text(object.get(name));
        let account = |name: &str| {
            object
                .get(name)
                .filter(|value| value.is_object())
                .map(Account::read)
        };
        let usable =
            |key: &String| key.len() <= MAX_CLIENT_KEY && !key.chars().any(char::is_control);
        Ok(Self {
            client_key: field("clientKey")
                .filter(usable)
                .ok_or(LifecycleError::ClientKey)?,
            shared_secret: field("sharedSecret").map(Secret::new),
            principal: account("principal"),
            user: account("user"),
        })
    }

    /// The secret, which an install must bring.
    pub fn secret(&self) -> Result<&Secret, LifecycleError> {
        self.shared_secret
            .as_ref()
            .ok_or(LifecycleError::SharedSecret)
    }

    /// The workspace the app is installed on, in a form that is safe in a path.
    pub fn principal_uuid(&self) -> Result<BracedUuid, LifecycleError> {
        let uuid = self
            .principal
            .as_ref()
            .and_then(|principal| principal.uuid.as_deref());
        uuid.and_then(BracedUuid::parse)
            .ok_or(LifecycleError::PrincipalUuid)
    }
}

/// A non-empty string, whatever else may be there.
fn text(value: Option<&Value>) -> Option<String> {
    value?
        .as_str()
        .filter(|text| !text.trim().is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The recorded body of sentry.md §1.6.
    fn body() -> Value {
        let account = json!({
            "username": "sentryuser", "display_name": "Sentry User", "account_id": "123456t256371u",
            "links": {"self": {"href": "https://api.example.test/u"}, "html": {"href": "https://example.test/u"},
                "avatar": {"href": "https://example.test/a.png"}},
            "created_on": "2018-04-18T00:46:37.374621+00:00", "type": "team",
            "uuid": "{e123f456-c789-4a10-b123-456789abcdef}",
        });
        json!({
            "key": "sentry-bitbucket", "eventType": "installed", "productType": "bitbucket",
            "baseUrl": "https://bitbucket.org", "baseApiUrl": "https://api.bitbucket.org",
            "sharedSecret": "G12332434SDfsjkdfgsd", "publicKey": "123abcDEFg", "clientKey": "connection:123",
            "principal": account, "user": account, "something": {"new": [1]},
        })
    }

    fn parse(value: &Value) -> Result<Installed, LifecycleError> {
        Installed::parse(value.to_string().as_bytes())
    }

    #[test]
    fn the_recorded_install() {
        let installed = parse(&body()).unwrap();
        assert_eq!(installed.client_key, "connection:123");
        assert_eq!(installed.secret().unwrap().expose(), "G12332434SDfsjkdfgsd");
        assert_eq!(
            installed.principal_uuid().unwrap().as_str(),
            "{e123f456-c789-4a10-b123-456789abcdef}"
        );
        let principal = installed.principal.as_ref().unwrap();
        assert_eq!(principal.name(), Some("sentryuser"));
        assert_eq!(principal.domain_name().unwrap(), "bitbucket.org/sentryuser");
        assert_eq!(
            principal.avatar_url.as_deref(),
            Some("https://example.test/a.png")
        );
        assert!(!format!("{installed:?}").contains("G12332434"));
    }

    #[test]
    fn a_principal_without_username_goes_by_display_name_then_uuid() {
        let mut value = body();
        value["principal"]["type"] = json!("user");
        value["principal"]
            .as_object_mut()
            .unwrap()
            .remove("username");
        let principal = parse(&value).unwrap().principal.unwrap();
        assert_eq!(principal.name(), Some("Sentry User"));
        assert_eq!(principal.domain_name().unwrap(), "Sentry User");
        value["principal"]["display_name"] = json!(" ");
        let principal = parse(&value).unwrap().principal.unwrap();
        assert_eq!(
            principal.name(),
            Some("{e123f456-c789-4a10-b123-456789abcdef}")
        );
        assert_eq!(Account::default().domain_name(), None);
    }

    #[test]
    fn bodies_that_are_refused() {
        assert_eq!(Installed::parse(b"").unwrap_err(), LifecycleError::Empty);
        assert_eq!(Installed::parse(b" \n").unwrap_err(), LifecycleError::Empty);
        assert_eq!(Installed::parse(b"{").unwrap_err(), LifecycleError::NotJson);
        assert_eq!(
            Installed::parse(b"[]").unwrap_err(),
            LifecycleError::NotJson
        );
        assert_eq!(
            Installed::parse(b"\xff\xfe").unwrap_err(),
            LifecycleError::NotJson
        );
        for key in [
            json!(null),
            json!(""),
            json!(5),
            json!("a\nb"),
            json!("x".repeat(256)),
        ] {
            let mut value = body();
            value["clientKey"] = key;
            assert_eq!(parse(&value).unwrap_err(), LifecycleError::ClientKey);
        }
        let mut value = body();
        value["sharedSecret"] = json!("");
        assert_eq!(
            parse(&value).unwrap().secret().unwrap_err(),
            LifecycleError::SharedSecret
        );
    }

    #[test]
    fn only_a_lower_case_uuid_in_braces_reaches_a_path() {
        assert!(BracedUuid::parse("{e123f456-c789-4a10-b123-456789abcdef}").is_some());
        for text in [
            "../hook_events?ignored=",
            "e123f456-c789-4a10-b123-456789abcdef",
            "{E123F456-C789-4A10-B123-456789ABCDEF}",
            "{e123f456c7894a10b123456789abcdef}",
            "{e123f456-c789-4a10-b123-456789abcdef}/x",
            "{e123f456-c789-4a10-b123-456789abcdeg}",
            "{e123f456-c789-4a10-b123-456789abcde/}",
            "{e123f456-c789-4a10-b123-456789abcdef}\n",
            "{}",
            "",
        ] {
            assert!(BracedUuid::parse(text).is_none(), "{text}");
        }
        let mut value = body();
        value["principal"]["uuid"] = json!("../hook_events?ignored=");
        assert_eq!(
            parse(&value).unwrap().principal_uuid().unwrap_err(),
            LifecycleError::PrincipalUuid
        );
        value["principal"] = json!("text");
        assert_eq!(
            parse(&value).unwrap().principal_uuid().unwrap_err(),
            LifecycleError::PrincipalUuid
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".*") {
            let _ = Installed::parse(&bytes);
            let _ = BracedUuid::parse(&text);
            let body = json!({"clientKey": text, "principal": {"uuid": text, "type": "team"}});
            if let Ok(installed) = parse(&body) {
                let _ = installed.principal_uuid();
                let _ = installed.principal.and_then(|principal| principal.domain_name());
            }
        }
    }
}
