//! Partial answers: `?fields=` (bitbucket.md §4.3).

use serde_json::{Map, Value};

/// Keeps what `spec` asks for. Plain paths keep only themselves, `-path` drops, `+path` adds to
/// what a `-*` took away or plain paths left. Lists are passed through.
pub(super) fn apply(spec: &str, value: Value) -> Value {
    let (mut keep, mut drop) = (Vec::new(), Vec::new());
    let (mut plain, mut reset) = (false, false);
    for item in spec.split(',').map(str::trim).filter(|s| !s.is_empty()) {
        match item.strip_prefix('-') {
            Some("*") => reset = true,
            Some(path) => drop.push(path.split('.').collect::<Vec<_>>()),
            None => {
                plain |= !item.starts_with('+');
                let path = item.strip_prefix('+').unwrap_or(item);
                keep.push(path.split('.').collect::<Vec<_>>());
            }
        }
    }
    let kept = match plain || reset {
        true => only(value, &keep),
        false => value,
    };
    without(kept, &drop)
}

/// The rests of the paths that begin with `key`.
fn below<'a>(paths: &[Vec<&'a str>], key: &str) -> Vec<Vec<&'a str>> {
    let fits = paths.iter().filter_map(|path| match path.split_first() {
        Some((first, rest)) if *first == key || *first == "*" => Some(rest.to_vec()),
        _ => None,
    });
    fits.collect()
}

fn ends(paths: &[Vec<&str>]) -> bool {
    paths.iter().any(Vec::is_empty)
}

fn only(value: Value, paths: &[Vec<&str>]) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| only(item, paths)).collect(),
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(key, child)| {
                let rests = below(paths, &key);
                if rests.is_empty() {
                    return None;
                }
                let child = if ends(&rests) {
                    child
                } else {
                    only(child, &rests)
                };
                Some((key, child))
            });
            Value::Object(kept.collect::<Map<_, _>>())
        }
        scalar => scalar,
    }
}

fn without(value: Value, paths: &[Vec<&str>]) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| without(item, paths)).collect(),
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(key, child)| {
                let rests = below(paths, &key);
                match ends(&rests) {
                    true => None,
                    false => Some((key, without(child, &rests))),
                }
            });
            Value::Object(kept.collect::<Map<_, _>>())
        }
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn keeps_drops_and_adds() {
        let page = || {
            json!({
                "size": 2, "next": "n",
                "values": [{"a": 1, "b": {"c": 2, "d": 3}}, {"a": 4, "b": {"c": 5, "d": 6}}],
            })
        };
        let cases = [
            (
                "next,values.b.c",
                json!({"next": "n", "values": [{"b": {"c": 2}}, {"b": {"c": 5}}]}),
            ),
            ("-values", json!({"size": 2, "next": "n"})),
            (
                "values.*.d",
                json!({"values": [{"a": 1, "b": {"d": 3}}, {"a": 4, "b": {"d": 6}}]}),
            ),
            ("-*,+size", json!({"size": 2})),
            ("+values.b", page()),
            ("size,+next", json!({"size": 2, "next": "n"})),
            ("*", page()),
            ("values,-values.b", json!({"values": [{"a": 1}, {"a": 4}]})),
            ("nothing", json!({})),
            ("", page()),
        ];
        for (spec, expected) in cases {
            assert_eq!(apply(spec, page()), expected, "{spec}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn never_panics(spec in "[a-c.*+, -]{0,30}|.*") {
            apply(&spec, json!({"a": [{"b": 1}], "b": {"c": {"a": null}}}));
        }
    }
}
