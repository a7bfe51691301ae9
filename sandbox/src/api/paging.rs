//! Pages of lists (bitbucket.md §4.1) with filter and sort.

use serde_json::{Value, json};

use super::{Cx, bbql};
use crate::journal::Rule;
use crate::reply::{Outcome, Reply};

/// `pagelen` of a call: 1 to 100, else a broken rule.
pub(crate) fn length(cx: &Cx, default: usize) -> Result<usize, Reply> {
    number(cx, "pagelen", default).and_then(|n| {
        if n <= 100 || n == default {
            Ok(n)
        } else {
            Err(cx.wrong(Rule::BadPage, 400, "Invalid pagelen"))
        }
    })
}

/// Refuses a `pagelen` over `most`, for lists whose pages are shorter than others.
pub(crate) fn at_most(cx: &Cx, most: usize) -> Result<(), Reply> {
    match number(cx, "pagelen", 1)? {
        asked if asked <= most => Ok(()),
        _ => Err(cx.wrong(Rule::BadPage, 400, "Invalid pagelen")),
    }
}

fn number(cx: &Cx, name: &str, default: usize) -> Result<usize, Reply> {
    match cx.call.param(name) {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(number) if number >= 1 => Ok(number),
            _ => Err(cx.wrong(Rule::BadPage, 400, &format!("Invalid {name}"))),
        },
    }
}

/// Filters by `q`, sorts by `sort`, cuts out the asked page.
pub(crate) fn answer(cx: &Cx, items: Vec<Value>, default_length: usize) -> Outcome {
    pick(cx, items, default_length, Value::clone, Value::clone)
}

/// Like [`answer`], for long lists: `brief` gives what may be filtered and sorted by, `show` the
/// whole object. Only objects of the page are shown.
pub(crate) fn pick<T>(
    cx: &Cx,
    mut items: Vec<T>,
    default_length: usize,
    brief: impl Fn(&T) -> Value,
    show: impl Fn(&T) -> Value,
) -> Outcome {
    let length = length(cx, default_length)?;
    let page = number(cx, "page", 1)?;
    let (q, sort) = (cx.call.param("q"), cx.call.param("sort"));
    if q.is_some() || sort.is_some() {
        let mut keyed: Vec<(Value, T)> = items.into_iter().map(|i| (brief(&i), i)).collect();
        if let Some(q) = q {
            let filter = bbql::parse(&q).map_err(|e| cx.wrong(Rule::BadQuery, 400, &e))?;
            keyed.retain(|(key, _)| filter.matches(key));
        }
        if let Some(sort) = sort {
            sort_by(&mut keyed, &sort).map_err(|e| cx.wrong(Rule::BadQuery, 400, &e))?;
        }
        items = keyed.into_iter().map(|(_, item)| item).collect();
    }
    let size = items.len();
    let here = items.iter().skip((page - 1).saturating_mul(length));
    let values: Vec<Value> = here.take(length).map(show).collect();
    let mut body = json!({"size": size, "page": page, "pagelen": length, "values": values});
    if let Some(map) = body.as_object_mut() {
        let other = |page: usize| json!(with_page(cx, &page.to_string()));
        if page.saturating_mul(length) < size {
            map.insert("next".into(), other(page + 1));
        }
        if page > 1 {
            map.insert("previous".into(), other(page - 1));
        }
    }
    Ok(Reply::json(200, &body))
}

/// This call's URL with another `page`.
pub(crate) fn with_page(cx: &Cx, page: &str) -> String {
    let mut pairs = cx.call.params();
    pairs.retain(|(name, _)| name != "page");
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .append_pair("page", page)
        .finish();
    format!("{}{}?{query}", cx.core.public_url, cx.call.path)
}

/// Sorts by one field, descending with `-`.
fn sort_by<T>(items: &mut [(Value, T)], sort: &str) -> Result<(), String> {
    let (field, descending) = match sort.strip_prefix('-') {
        Some(field) => (field, true),
        None => (sort, false),
    };
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if field.is_empty() || !field.chars().all(name) {
        return Err(format!("sort takes one field, not {sort:?}"));
    }
    items.sort_by(|(a, _), (b, _)| {
        let order = bbql::compare(bbql::field(a, field), bbql::field(b, field));
        if descending { order.reverse() } else { order }
    });
    Ok(())
}
