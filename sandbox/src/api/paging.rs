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
pub(crate) fn answer(cx: &Cx, mut items: Vec<Value>, default_length: usize) -> Outcome {
    let length = length(cx, default_length)?;
    let page = number(cx, "page", 1)?;
    if let Some(q) = cx.call.param("q") {
        let filter = bbql::parse(&q).map_err(|e| cx.wrong(Rule::BadQuery, 400, &e))?;
        items.retain(|item| filter.matches(item));
    }
    if let Some(sort) = cx.call.param("sort") {
        sort_by(&mut items, &sort).map_err(|e| cx.wrong(Rule::BadQuery, 400, &e))?;
    }
    let size = items.len();
    let values: Vec<Value> = items
        .into_iter()
        .skip((page - 1).saturating_mul(length))
        .take(length)
        .collect();
    let mut body = json!({"size": size, "page": page, "pagelen": length, "values": values});
    if let Some(map) = body.as_object_mut() {
        if page.saturating_mul(length) < size {
            map.insert("next".into(), json!(with_page(cx, &(page + 1).to_string())));
        }
        if page > 1 {
            map.insert(
                "previous".into(),
                json!(with_page(cx, &(page - 1).to_string())),
            );
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
fn sort_by(items: &mut [Value], sort: &str) -> Result<(), String> {
    let (field, descending) = match sort.strip_prefix('-') {
        Some(field) => (field, true),
        None => (sort, false),
    };
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if field.is_empty() || !field.chars().all(name) {
        return Err(format!("sort takes one field, not {sort:?}"));
    }
    items.sort_by(|a, b| {
        let order = bbql::compare(bbql::field(a, field), bbql::field(b, field));
        if descending { order.reverse() } else { order }
    });
    Ok(())
}
