//! The search language of lists: words, and `key:value` terms (sentry.md §16, clients.md §1).

use super::{GroupId, GroupStatus};
use crate::features::accounts::{ProjectId, UserId};
use crate::sentry::shortid::ShortId;

/// What a list shows when nobody says.
pub(super) const DEFAULT_QUERY: &str = "is:unresolved";
/// Longest query, in bytes.
const MAX_QUERY: usize = 2_000;
/// Terms of a query at most; each costs the database something.
const MAX_TERMS: usize = 20;

/// A query that cannot be understood; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadQuery(pub String);

/// Order of a list; the greatest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// By the last event.
    #[default]
    Date,
    /// By the first event.
    New,
    /// By the number of events.
    Freq,
    /// By the number of users.
    User,
}

impl Sort {
    /// The word in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::New => "new",
            Self::Freq => "freq",
            Self::User => "user",
        }
    }

    /// The order of a word; nothing said is [`Sort::Date`].
    ///
    /// # Errors
    /// Any other word.
    pub fn parse(word: &str) -> Result<Self, BadQuery> {
        match word {
            "" | "date" => Ok(Self::Date),
            "new" => Ok(Self::New),
            "freq" => Ok(Self::Freq),
            "user" => Ok(Self::User),
            _ => Err(BadQuery(format!(
                "“{word}” is not an order. Use date, new, freq or user."
            ))),
        }
    }
}

/// A word of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// In title or culprit; lower case.
    Text(String),
    /// A short id, or else text.
    ShortId(ShortId, String),
}

/// Who must work on the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assigned {
    Nobody,
    To(UserId),
}

/// Which groups are wanted. Empty lists restrict nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// In this status.
    pub status: Option<GroupStatus>,
    /// Of these projects.
    pub projects: Vec<ProjectId>,
    /// These groups.
    pub ids: Vec<GroupId>,
    /// Seen in one of these environments.
    pub environments: Vec<String>,
    pub(super) releases: Vec<String>,
    pub(super) levels: Vec<&'static str>,
    pub(super) assigned: Option<Assigned>,
    pub(super) words: Vec<Word>,
}

const LEVELS: [&str; 5] = ["debug", "info", "warning", "error", "fatal"];

impl Search {
    /// Reads a query. `who` finds a user of the organization by `me` or an e-mail address.
    ///
    /// # Errors
    /// [`BadQuery`] for a term that has no meaning, or a query that is too long.
    pub fn parse<E: From<BadQuery>>(
        query: &str,
        mut who: impl FnMut(&str) -> Result<Option<UserId>, E>,
    ) -> Result<Self, E> {
        let bad = |text: String| E::from(BadQuery(text));
        if query.len() > MAX_QUERY || query.contains('\0') {
            return Err(bad("The query is too long or holds a NUL.".to_owned()));
        }
        let terms = split(query);
        if terms.len() > MAX_TERMS {
            return Err(bad(format!("The query has more than {MAX_TERMS} terms.")));
        }
        let mut search = Self::default();
        for term in terms {
            let (key, value) = match &term {
                Term::Pair(key, value) => (key.as_str(), value.as_str()),
                Term::Word(word) => {
                    search.words.push(word_of(word));
                    continue;
                }
            };
            let wrong = |advice: &str| bad(format!("“{key}:{value}” is not known. {advice}"));
            match key {
                "is" => match value {
                    "unresolved" => search.status = Some(GroupStatus::Unresolved),
                    "resolved" => search.status = Some(GroupStatus::Resolved),
                    "ignored" | "muted" | "archived" => search.status = Some(GroupStatus::Ignored),
                    "unassigned" => search.assigned = Some(Assigned::Nobody),
                    _ => return Err(wrong("Use is:unresolved, is:resolved or is:ignored.")),
                },
                "level" => match LEVELS.iter().find(|level| **level == value) {
                    Some(level) => search.levels.push(level),
                    None => return Err(wrong("Use level:debug, info, warning, error or fatal.")),
                },
                "assigned" if value == "none" => search.assigned = Some(Assigned::Nobody),
                "assigned" => match who(value)? {
                    Some(user) => search.assigned = Some(Assigned::To(user)),
                    None => {
                        return Err(wrong(
                            "Use assigned:me, assigned:none or the e-mail address of a member.",
                        ));
                    }
                },
                "release" => search.releases.push(value.to_owned()),
                "environment" => search.environments.push(value.to_owned()),
                // `issue`; the only key that is left.
                _ => match value.parse() {
                    Ok(short) => search
                        .words
                        .push(Word::ShortId(short, value.to_lowercase())),
                    Err(_) => return Err(wrong("Use a short id, such as issue:SHOP-1.")),
                },
            }
        }
        Ok(search)
    }
}

enum Term {
    Word(String),
    Pair(String, String),
}

const KEYS: [&str; 6] = ["is", "level", "assigned", "release", "environment", "issue"];

/// Cuts a query at white space outside quotes. `key:value` is a term only with a key that we know: error messages
/// are full of colons.
fn split(query: &str) -> Vec<Term> {
    let mut terms = Vec::new();
    let mut rest = query.trim_start();
    while !rest.is_empty() {
        let key = KEYS.iter().find(|key| {
            let behind = rest
                .strip_prefix(**key)
                .and_then(|rest| rest.strip_prefix(':'));
            behind
                .and_then(|value| value.chars().next())
                .is_some_and(|first| !first.is_whitespace())
        });
        let value = key
            .and_then(|key| rest.get(key.len() + 1..))
            .unwrap_or(rest);
        let (text, behind) = match value
            .strip_prefix('"')
            .and_then(|quoted| quoted.split_once('"'))
        {
            Some((text, behind)) => (text, behind),
            None => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
        };
        match key {
            Some(key) => terms.push(Term::Pair((*key).to_owned(), text.to_owned())),
            None if text.is_empty() => {}
            None => terms.push(Term::Word(text.to_owned())),
        }
        rest = behind.trim_start();
    }
    terms
}

fn word_of(word: &str) -> Word {
    let text = word.to_lowercase();
    // A short id has the hyphen; `foo_1` is more likely a name.
    match word.parse::<ShortId>() {
        Ok(short) if word.contains('-') && !word.contains(char::is_whitespace) => {
            Word::ShortId(short, text)
        }
        _ => Word::Text(text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(query: &str) -> Result<Search, BadQuery> {
        Search::parse(query, |name| {
            Ok(["me", "ada@acme.example"]
                .contains(&name)
                .then_some(UserId(7)))
        })
    }

    fn texts(query: &str) -> Vec<Word> {
        parse(query).unwrap().words
    }

    #[test]
    fn terms_and_words() {
        let search = parse("is:resolved level:error level:fatal  release:\"shop 1.0\" environment:prod Division BY").unwrap();
        assert_eq!(search.status, Some(GroupStatus::Resolved));
        assert_eq!(search.levels, ["error", "fatal"]);
        assert_eq!(search.releases, ["shop 1.0"]);
        assert_eq!(search.environments, ["prod"]);
        assert_eq!(
            search.words,
            [Word::Text("division".into()), Word::Text("by".into())]
        );
        assert_eq!(parse("").unwrap(), Search::default());
        assert_eq!(
            parse("is:muted").unwrap().status,
            Some(GroupStatus::Ignored)
        );
    }

    #[test]
    fn who_works_on_it() {
        for query in ["assigned:me", "assigned:ada@acme.example"] {
            assert_eq!(
                parse(query).unwrap().assigned,
                Some(Assigned::To(UserId(7)))
            );
        }
        for query in ["assigned:none", "is:unassigned"] {
            assert_eq!(parse(query).unwrap().assigned, Some(Assigned::Nobody));
        }
        assert!(parse("assigned:eve@evil.example").is_err());
    }

    #[test]
    fn messages_with_colons_are_words() {
        let words = |list: &[&str]| {
            list.iter()
                .map(|word| Word::Text((*word).to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(texts("TypeError: x"), words(&["typeerror:", "x"]));
        assert_eq!(
            texts("http://h/p key:value is: level:"),
            words(&["http://h/p", "key:value", "is:", "level:"])
        );
        assert_eq!(
            texts("\"two words\" \"open"),
            words(&["two words", "\"open"])
        );
    }

    #[test]
    fn short_ids_are_found_as_such() {
        let short = ShortId {
            slug: "shop".into(),
            number: 47,
        };
        assert_eq!(
            texts("SHOP-1F"),
            [Word::ShortId(short.clone(), "shop-1f".into())]
        );
        assert_eq!(
            texts("issue:shop_1f"),
            [Word::ShortId(short, "shop_1f".into())]
        );
        assert_eq!(texts("shop_1f"), [Word::Text("shop_1f".into())]);
        assert!(parse("issue:nonsense").is_err());
    }

    #[test]
    fn what_has_no_meaning_is_said() {
        let error = parse("is:sleeping checkout").unwrap_err();
        assert_eq!(
            error.0,
            "“is:sleeping” is not known. Use is:unresolved, is:resolved or is:ignored."
        );
        assert!(parse("level:loud").is_err());
        assert!(parse("nul\0").is_err());
        assert!(parse(&"x".repeat(MAX_QUERY + 1)).is_err());
        assert!(parse(&"x ".repeat(MAX_TERMS + 1)).is_err());
        assert!(Sort::parse("inbox").is_err());
        for sort in [Sort::Date, Sort::New, Sort::Freq, Sort::User] {
            assert_eq!(Sort::parse(sort.as_str()), Ok(sort));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_query_gives_an_answer(query in "((is|level|issue|assigned|release):?[\" a-z:-]{0,12}){0,5}|\\PC*") {
            let _ = parse(&query);
        }
    }
}
