//! Which scopes each operation of the API needs: `operations.tsv`, reduced from the OpenAPI
//! document by `make-operations.py`.

use std::collections::HashMap;
use std::sync::OnceLock;

/// One operation as published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Upper case.
    pub method: &'static str,
    /// Below `/2.0`, with `{names}`.
    pub path: &'static str,
    /// Classic scopes; all are needed.
    pub classic: Vec<String>,
    /// Granular scopes in full; all are needed, none implies another.
    pub granular: Vec<String>,
    /// Whether an API token may call it.
    pub api_token: bool,
    /// Whether it is deprecated.
    pub deprecated: bool,
}

impl Operation {
    /// Whether any scope is needed.
    pub fn is_guarded(&self) -> bool {
        !(self.classic.is_empty() && self.granular.is_empty())
    }
}

type Table = HashMap<(&'static str, String), Operation>;

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        include_str!("operations.tsv")
            .lines()
            .filter_map(row)
            .map(|o| ((o.method, shape(o.path)), o))
            .collect()
    })
}

fn row(line: &'static str) -> Option<Operation> {
    let mut cells = line.split('\t');
    let (method, path) = (cells.next()?, cells.next()?);
    let list = |cell: &str, tail: &str| -> Vec<String> {
        let names = cell.split(',').filter(|name| !name.is_empty());
        names.map(|name| format!("{name}{tail}")).collect()
    };
    let (classic, granular, marks) = (cells.next()?, cells.next()?, cells.next()?);
    Some(Operation {
        method,
        path,
        classic: list(classic, ""),
        granular: list(granular, ":bitbucket"),
        api_token: marks.contains('T'),
        deprecated: marks.contains('D'),
    })
}

/// A path with nameless placeholders: names differ between readers of the document.
fn shape(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.starts_with('{') {
        true => "{}",
        false => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The operation of a method and a path template below `/2.0`.
pub fn find(method: &str, template: &str) -> Option<&'static Operation> {
    let path = shape(template);
    let method = METHODS.iter().find(|m| **m == method)?;
    table().get(&(*method, path))
}

const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE"];

/// All operations, in no order.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    table().values()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_table_is_the_published_one() {
        let published: Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/bitbucket-api.json"))
                .unwrap();
        let mut count = 0;
        for (path, methods) in published.as_object().unwrap() {
            for (method, facts) in methods.as_object().unwrap() {
                let found = find(method, path).unwrap();
                let texts =
                    |v: &Value| -> Vec<String> { serde_json::from_value(v.clone()).unwrap() };
                assert_eq!(found.classic, texts(&facts["scopes"]), "{method} {path}");
                assert_eq!(found.granular, texts(&facts["granular"]), "{method} {path}");
                assert_eq!(found.deprecated, facts["deprecated"], "{method} {path}");
                count += 1;
            }
        }
        assert_eq!(all().count(), count);
        assert!(find("GET", "/addons").is_none());
        assert!(find("PATCH", "/addon").is_none());
    }
}
