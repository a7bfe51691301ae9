//! The filter language of `?q=` (bitbucket.md §4.2), read on its own and applied to the objects
//! as they are shown.

use std::cmp::Ordering;

use serde_json::Value;

/// Deepest nesting of parentheses.
const DEPTH: usize = 32;

/// A filter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Test {
        path: String,
        operator: Operator,
        value: Value,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    Unequal,
    Contains,
    Lacks,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    In,
    NotIn,
}

impl Filter {
    /// Whether an object passes.
    pub(crate) fn matches(&self, item: &Value) -> bool {
        match self {
            Filter::And(all) => all.iter().all(|f| f.matches(item)),
            Filter::Or(any) => any.iter().any(|f| f.matches(item)),
            Filter::Test {
                path,
                operator,
                value,
            } => test(field(item, path), *operator, value),
        }
    }
}

/// The value at a dotted path; null when there is none.
pub(crate) fn field<'a>(item: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .try_fold(item, |value, key| value.get(key))
        .unwrap_or(&Value::Null)
}

/// Null first, then numbers, then texts.
pub(crate) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a
            .as_f64()
            .partial_cmp(&b.as_f64())
            .unwrap_or(Ordering::Equal),
        (Value::String(a), Value::String(b)) => match (instant(a), instant(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.cmp(b),
        },
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        _ => 4,
    }
}

/// A date, or a date and time; UTC unless it has an offset.
fn instant(text: &str) -> Option<chrono::DateTime<chrono::Utc>> {
    use chrono::{DateTime, NaiveDate, NaiveDateTime};
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .ok()
        .or_else(|| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .ok()
                .and_then(|d| d.and_hms_opt(0, 0, 0))
        })?;
    Some(naive.and_utc())
}

fn test(actual: &Value, operator: Operator, wanted: &Value) -> bool {
    let same =
        |wanted: &Value| compare(actual, wanted) == Ordering::Equal && rank(actual) == rank(wanted);
    let contains = || match (actual, wanted) {
        (Value::String(a), Value::String(w)) => a.to_lowercase().contains(&w.to_lowercase()),
        _ => false,
    };
    let comparable = rank(actual) == rank(wanted) && !actual.is_null();
    let listed = || wanted.as_array().is_some_and(|list| list.iter().any(same));
    match operator {
        Operator::Equal => same(wanted),
        Operator::Unequal => !same(wanted),
        Operator::Contains => contains(),
        Operator::Lacks => !contains(),
        Operator::Greater => comparable && compare(actual, wanted) == Ordering::Greater,
        Operator::GreaterEqual => comparable && compare(actual, wanted) != Ordering::Less,
        Operator::Less => comparable && compare(actual, wanted) == Ordering::Less,
        Operator::LessEqual => comparable && compare(actual, wanted) != Ordering::Greater,
        Operator::In => listed(),
        Operator::NotIn => !listed(),
    }
}

/// Reads a filter.
///
/// # Errors
/// A sentence about the first thing that does not fit.
pub(crate) fn parse(text: &str) -> Result<Filter, String> {
    let mut parser = Parser {
        rest: text,
        depth: 0,
    };
    let filter = parser.any()?;
    match parser.token()? {
        None => Ok(filter),
        Some(token) => Err(format!("q: unexpected {token:?}")),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(&'static str),
}

const SIGNS: &[&str] = &["!=", "!~", ">=", "<=", "=", "~", ">", "<", "(", ")", ","];

#[derive(Clone)]
struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn token(&mut self) -> Result<Option<Token>, String> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return Ok(None);
        }
        if let Some(rest) = self.rest.strip_prefix('"') {
            return self.quoted(rest).map(Some);
        }
        for sign in SIGNS {
            if let Some(rest) = self.rest.strip_prefix(sign) {
                self.rest = rest;
                return Ok(Some(Token::Sign(sign)));
            }
        }
        let stop = |c: char| c.is_whitespace() || "\"=!~<>(),".contains(c);
        let end = self.rest.find(stop).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(format!("q: unexpected {:?}", self.rest));
        }
        self.rest = rest;
        Ok(Some(Token::Word(word.to_owned())))
    }

    /// A text in quotes; a backslash takes the next character as it is.
    fn quoted(&mut self, rest: &str) -> Result<Token, String> {
        let mut text = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    // `rest` is a tail of `self.rest`, so its tail is too.
                    let left = rest.len() - at - 1;
                    self.rest = self.rest.get(self.rest.len() - left..).unwrap_or_default();
                    return Ok(Token::Text(text));
                }
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
        Err("q: a quoted text has no end".to_owned())
    }

    fn peek_word(&self, word: &str) -> bool {
        matches!(self.clone().token(), Ok(Some(Token::Word(w))) if w.eq_ignore_ascii_case(word))
    }

    fn any(&mut self) -> Result<Filter, String> {
        let mut list = vec![self.all()?];
        while self.peek_word("or") {
            self.token()?;
            list.push(self.all()?);
        }
        Ok(Filter::Or(list))
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut list = vec![self.one()?];
        while self.peek_word("and") {
            self.token()?;
            list.push(self.one()?);
        }
        Ok(Filter::And(list))
    }

    fn one(&mut self) -> Result<Filter, String> {
        match self.token()? {
            Some(Token::Sign("(")) => {
                self.depth += 1;
                if self.depth > DEPTH {
                    return Err("q: too many parentheses".to_owned());
                }
                let inner = self.any()?;
                self.depth -= 1;
                match self.token()? {
                    Some(Token::Sign(")")) => Ok(inner),
                    _ => Err("q: a parenthesis is not closed".to_owned()),
                }
            }
            Some(Token::Word(path)) => self.test(path),
            other => Err(format!("q: a field name was expected, not {other:?}")),
        }
    }

    fn test(&mut self, path: String) -> Result<Filter, String> {
        let operator = match self.token()? {
            Some(Token::Sign("=")) => Operator::Equal,
            Some(Token::Sign("!=")) => Operator::Unequal,
            Some(Token::Sign("~")) => Operator::Contains,
            Some(Token::Sign("!~")) => Operator::Lacks,
            Some(Token::Sign(">")) => Operator::Greater,
            Some(Token::Sign(">=")) => Operator::GreaterEqual,
            Some(Token::Sign("<")) => Operator::Less,
            Some(Token::Sign("<=")) => Operator::LessEqual,
            Some(Token::Word(w)) if w.eq_ignore_ascii_case("in") => Operator::In,
            Some(Token::Word(w)) if w.eq_ignore_ascii_case("not") && self.peek_word("in") => {
                self.token()?;
                Operator::NotIn
            }
            other => return Err(format!("q: an operator was expected, not {other:?}")),
        };
        let value = match operator {
            Operator::In | Operator::NotIn => self.list()?,
            _ => self.value()?,
        };
        Ok(Filter::Test {
            path,
            operator,
            value,
        })
    }

    fn list(&mut self) -> Result<Value, String> {
        if self.token()? != Some(Token::Sign("(")) {
            return Err("q: a list begins with a parenthesis".to_owned());
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            match self.token()? {
                Some(Token::Sign(",")) => {}
                Some(Token::Sign(")")) => return Ok(Value::Array(values)),
                _ => return Err("q: a list is not closed".to_owned()),
            }
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        match self.token()? {
            Some(Token::Text(text)) => Ok(Value::String(text)),
            Some(Token::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "null" => Ok(Value::Null),
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ if instant(&word).is_some() => Ok(Value::String(word)),
                _ => serde_json::from_str::<serde_json::Number>(&word)
                    .map(Value::Number)
                    .map_err(|_| format!("q: {word:?} is no value; texts need quotes")),
            },
            other => Err(format!("q: a value was expected, not {other:?}")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn passes(q: &str) -> bool {
        let item = json!({
            "title": "Cart \"total\" is wrong", "id": 7, "state": "new", "assignee": null,
            "content": {"raw": "see back\\slash"}, "created_on": "2026-05-01T10:00:00.000000+00:00",
        });
        parse(q).unwrap().matches(&item)
    }

    #[test]
    fn tests_of_each_kind() {
        for q in [
            r#"title~"cart""#,
            r#"title ~ "\"total\"""#,
            r#"content.raw ~ "back\\slash""#,
            r#"state="new" AND id>6"#,
            r#"state="open" or id = 7"#,
            r#"(state = "open" OR state = "new") and assignee = null"#,
            r#"state IN ("open", "new")"#,
            r#"state not in ("open","closed")"#,
            "created_on > 2026-04-30",
            "created_on < 2026-05-01T10:00:01+00:00",
            r#"title !~ "basket""#,
            "id != 8",
            "id <= 7 AND id >= 7",
        ] {
            assert!(passes(q), "{q}");
        }
        for q in [
            r#"title="cart""#,
            "assignee != null",
            r#"nothing ~ "x""#,
            "id > 7",
            r#"id = "7""#,
        ] {
            assert!(!passes(q), "{q}");
        }
    }

    #[test]
    fn what_does_not_parse() {
        for q in [
            "",
            "title",
            "title~",
            "title~cart",
            r#"title~"cart"#,
            r#"title~"a" x"#,
            "(id=1",
            "id IN 1",
            "id IN (1",
            r#"title="a" AND"#,
            r#"title~"a"b""#,
            "!",
            "= 1",
        ] {
            assert!(parse(q).is_err(), "{q}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn never_panics(q in ".*", r in r#"[a-z"=~!<>(), \\ORAND.]{0,40}"#) {
            let _ = parse(&q);
            let _ = parse(&r);
        }

        #[test]
        fn an_escaped_text_comes_back(text in ".*") {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            let filter = parse(&format!("title = \"{escaped}\"")).unwrap();
            let item = json!({"title": text});
            prop_assert!(filter.matches(&item));
        }
    }
}
