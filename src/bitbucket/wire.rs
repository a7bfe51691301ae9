//! Objects that several resources and webhooks share. Every field may be missing, null or of another
//! type than promised; such a field reads as absent (bitbucket.md §3.3).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::kit::clock::Micros;

/// A field that falls back to its default instead of failing the object around it. Its text is kept and read
/// again, which costs less than a tree of values in between.
pub(super) fn soft<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    source: D,
) -> Result<T, D::Error> {
    let text = Box::<RawValue>::deserialize(source)?;
    Ok(serde_json::from_str(text.get()).unwrap_or_default())
}

/// A list that drops the items it cannot read.
pub(super) fn soft_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    source: D,
) -> Result<Vec<T>, D::Error> {
    let items: Vec<Box<RawValue>> = soft(source)?;
    Ok(items
        .iter()
        .filter_map(|text| serde_json::from_str(text.get()).ok())
        .collect())
}

/// A link.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Link {
    /// Target.
    #[serde(default, deserialize_with = "soft")]
    pub href: Option<String>,
}

/// The links we use.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Links {
    /// Page for people.
    #[serde(default, deserialize_with = "soft")]
    pub html: Option<Link>,
    /// Picture.
    #[serde(default, deserialize_with = "soft")]
    pub avatar: Option<Link>,
    /// Commits of a push.
    #[serde(default, deserialize_with = "soft")]
    pub commits: Option<Link>,
}

impl Links {
    /// Address of the page for people.
    pub fn html_url(&self) -> Option<&str> {
        self.html.as_ref()?.href.as_deref()
    }
}

/// A person, workspace or app.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Account {
    /// `user`, `team`, `app_user`.
    #[serde(default, rename = "type", deserialize_with = "soft")]
    pub kind: Option<String>,
    /// In braces.
    #[serde(default, deserialize_with = "soft")]
    pub uuid: Option<String>,
    /// Full name.
    #[serde(default, deserialize_with = "soft")]
    pub display_name: Option<String>,
    /// Short name, people only.
    #[serde(default, deserialize_with = "soft")]
    pub nickname: Option<String>,
    /// Atlassian account id.
    #[serde(default, deserialize_with = "soft")]
    pub account_id: Option<String>,
    /// Workspace id, teams only.
    #[serde(default, deserialize_with = "soft")]
    pub username: Option<String>,
    /// Links.
    #[serde(default, deserialize_with = "soft")]
    pub links: Links,
}

/// A workspace.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Workspace {
    /// In braces.
    #[serde(default, deserialize_with = "soft")]
    pub uuid: Option<String>,
    /// Id in paths and URLs.
    #[serde(default, deserialize_with = "soft")]
    pub slug: Option<String>,
    /// Display name.
    #[serde(default, deserialize_with = "soft")]
    pub name: Option<String>,
    /// Links.
    #[serde(default, deserialize_with = "soft")]
    pub links: Links,
}

/// A branch by name only.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct NamedRef {
    /// Name.
    #[serde(default, deserialize_with = "soft")]
    pub name: Option<String>,
}

/// A repository.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Repository {
    /// In braces; survives renames.
    #[serde(default, deserialize_with = "soft")]
    pub uuid: Option<String>,
    /// `workspace/slug`.
    #[serde(default, deserialize_with = "soft")]
    pub full_name: Option<String>,
    /// Display name.
    #[serde(default, deserialize_with = "soft")]
    pub name: Option<String>,
    /// Slug.
    #[serde(default, deserialize_with = "soft")]
    pub slug: Option<String>,
    /// Description.
    #[serde(default, deserialize_with = "soft")]
    pub description: Option<String>,
    /// Not visible to the world.
    #[serde(default, deserialize_with = "soft")]
    pub is_private: Option<bool>,
    /// Whether an issue tracker is switched on; means nothing on bitbucket.org any more.
    #[serde(default, deserialize_with = "soft")]
    pub has_issues: Option<bool>,
    /// Main branch; absent in webhooks and in empty repositories.
    #[serde(default, deserialize_with = "soft")]
    pub mainbranch: Option<NamedRef>,
    /// Owner.
    #[serde(default, deserialize_with = "soft")]
    pub workspace: Option<Workspace>,
    /// Links.
    #[serde(default, deserialize_with = "soft")]
    pub links: Links,
}

/// Who wrote a commit.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Author {
    /// `Name <mail>` as git has it; may be anything.
    #[serde(default, deserialize_with = "soft")]
    pub raw: Option<String>,
    /// The account, when Bitbucket knows it.
    #[serde(default, deserialize_with = "soft")]
    pub user: Option<Account>,
}

/// Name and address out of `raw`, each if it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// Text before the address.
    pub name: Option<String>,
    /// What stands in the last `<…>`, if it has an `@`.
    pub email: Option<String>,
}

impl Author {
    /// Splits `raw` by the last `<…>` (bitbucket.md §5.3).
    pub fn signature(&self) -> Signature {
        split_author(self.raw.as_deref().unwrap_or_default())
    }
}

/// Splits `Name <mail>`. Without brackets the whole text is the name, or the address if it looks
/// like one.
pub fn split_author(raw: &str) -> Signature {
    let some = |text: &str| {
        Some(text.trim().trim_matches('"').trim())
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let address = |text: &str| {
        some(text).filter(|text| text.contains('@') && !text.contains(char::is_whitespace))
    };
    match raw.rsplit_once('<') {
        Some((name, rest)) => Signature {
            name: some(name),
            email: address(rest.split('>').next().unwrap_or_default()),
        },
        None => match address(raw) {
            Some(email) => Signature {
                name: None,
                email: Some(email),
            },
            None => Signature {
                name: some(raw),
                email: None,
            },
        },
    }
}

/// A commit named by its hash only.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct CommitRef {
    /// Full hash, mostly.
    #[serde(default, deserialize_with = "soft")]
    pub hash: Option<String>,
}

/// A commit. The hash is the one field without which it is no commit.
#[derive(Debug, Clone, Deserialize)]
pub struct Commit {
    /// 40 hex characters.
    pub hash: String,
    /// RFC 3339 with the author's offset.
    #[serde(default, deserialize_with = "soft")]
    pub date: Option<String>,
    /// Whole message.
    #[serde(default, deserialize_with = "soft")]
    pub message: Option<String>,
    /// Who wrote it.
    #[serde(default, deserialize_with = "soft")]
    pub author: Option<Author>,
    /// Parents, none for a root commit.
    #[serde(default, deserialize_with = "soft_list")]
    pub parents: Vec<CommitRef>,
    /// Links.
    #[serde(default, deserialize_with = "soft")]
    pub links: Links,
}

impl Commit {
    /// The date as a moment, if it can be read.
    pub fn moment(&self) -> Option<Micros> {
        Micros::from_rfc3339(self.date.as_deref()?).ok()
    }
}

/// Text in several forms.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Content {
    /// As typed.
    #[serde(default, deserialize_with = "soft")]
    pub raw: Option<String>,
    /// Rendered by Bitbucket.
    #[serde(default, deserialize_with = "soft")]
    pub html: Option<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn authors_of_every_shape() {
        let rows = [
            (
                "Ada Lovelace <ada@example.org>",
                Some("Ada Lovelace"),
                Some("ada@example.org"),
            ),
            (
                "Ada <x> Lovelace <ada@example.org>",
                Some("Ada <x> Lovelace"),
                Some("ada@example.org"),
            ),
            (
                "\"Ada\" <ada@example.org> trailing",
                Some("Ada"),
                Some("ada@example.org"),
            ),
            ("ada@example.org", None, Some("ada@example.org")),
            ("Ada", Some("Ada"), None),
            ("Ada <>", Some("Ada"), None),
            ("Ada <not an address>", Some("Ada"), None),
            ("<ada@example.org>", None, Some("ada@example.org")),
            ("Ada <ada@example.org", Some("Ada"), Some("ada@example.org")),
            ("", None, None),
            (" < > ", None, None),
        ];
        for (raw, name, email) in rows {
            let found = split_author(raw);
            assert_eq!(
                (found.name.as_deref(), found.email.as_deref()),
                (name, email),
                "{raw}"
            );
        }
    }

    #[test]
    fn odd_fields_read_as_absent() {
        let repository: Repository = serde_json::from_value(json!({
            "uuid": 7, "full_name": "acme/shop", "mainbranch": null, "workspace": "acme", "links": [],
            "is_private": "yes", "new": {"a": 1},
        }))
        .unwrap();
        assert_eq!(repository.full_name.as_deref(), Some("acme/shop"));
        assert!(
            repository.uuid.is_none()
                && repository.mainbranch.is_none()
                && repository.workspace.is_none()
        );
        let commit: Commit = serde_json::from_value(json!({
            "hash": "abc", "date": "2026-01-01T02:00:00+02:00", "author": {"raw": "A <a@b>", "user": null},
            "parents": [{"hash": "def"}, "odd"],
        }))
        .unwrap();
        assert_eq!(
            commit.moment().unwrap().to_rfc3339(),
            "2026-01-01T00:00:00.000000Z"
        );
        assert_eq!(commit.parents.len(), 1);
        assert!(serde_json::from_value::<Commit>(json!({"date": "x"})).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn splitting_never_panics_and_finds_plain_pairs(text in "\\PC*", name in "[A-Za-z]{1,9}( [A-Za-z]{1,9})?", host in "[a-z]{1,8}") {
            let _ = split_author(&text);
            let email = format!("me@{host}.example");
            let found = split_author(&format!("{name} <{email}>"));
            prop_assert_eq!(found, Signature { name: Some(name), email: Some(email) });
        }
    }
}
