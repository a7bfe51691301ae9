//! The way back: which operation is a concrete path, and with which values?

use std::borrow::Cow;
use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use reqwest::Method;

use super::PathError;
use super::encode::Rule;
use super::operation::{Operation, Resource, Surface};

/// Decoded values by placeholder, from left to right.
pub type Params = Vec<(&'static str, String)>;

/// An operation that was found by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What the call does.
    pub operation: Operation,
    /// Its values. To hand a call on, render it anew from these instead of passing the path along.
    pub params: Params,
}

/// Finds the operation of `method` and `path`, which starts with [`Surface::root`] and has neither
/// query nor fragment. A slash too many at the end is forgiven, and on Data Center the version `1.0`
/// is read as `latest` (bitbucket.md §7).
pub fn find(surface: Surface, method: &Method, path: &str) -> Result<Route, PathError> {
    let (resource, params) = locate(surface, path)?;
    let operation = resource
        .operation(method)
        .ok_or_else(|| PathError::MethodNotAllowed {
            resource: resource.name(),
            allowed: resource
                .operations()
                .map(|operation| operation.method().as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })?;
    Ok(Route { operation, params })
}

pub(super) fn locate(
    surface: Surface,
    path: &str,
) -> Result<(&'static Resource, Params), PathError> {
    let below = path
        .strip_prefix(surface.root())
        .ok_or(PathError::NoSuchPath)?;
    let mut segments = decode(below)?;
    if surface == Surface::DataCenter
        && let Some(version) = segments.get_mut(3)
        && version == "1.0"
    {
        *version = Cow::Borrowed("latest");
    }
    search(surface, &segments)
        .or_else(|| match segments.split_last() {
            Some((last, shorter)) if last.is_empty() => search(surface, shorter),
            _ => None,
        })
        .ok_or(PathError::NoSuchPath)
}

fn search(surface: Surface, segments: &[Cow<'_, str>]) -> Option<(&'static Resource, Params)> {
    static CLOUD: LazyLock<Vec<&Resource>> = LazyLock::new(|| by_precedence(Surface::Cloud));
    static DATA_CENTER: LazyLock<Vec<&Resource>> =
        LazyLock::new(|| by_precedence(Surface::DataCenter));
    let rows = match surface {
        Surface::Cloud => &*CLOUD,
        Surface::DataCenter => &*DATA_CENTER,
    };
    rows.iter()
        .find_map(|resource| Some((*resource, matches(resource, segments)?)))
}

/// Where two templates take the same path, the one that is more exact in the earlier segment wins.
fn by_precedence(surface: Surface) -> Vec<&'static Resource> {
    let mut rows: Vec<_> = Resource::all()
        .filter(|resource| resource.surface() == surface)
        .collect();
    rows.sort_by_cached_key(|resource| {
        resource
            .template()
            .split('/')
            .map(|pattern| vagueness(resource, pattern))
            .collect::<Vec<u8>>()
    });
    rows
}

fn vagueness(resource: &Resource, pattern: &str) -> u8 {
    match whole_placeholder(pattern).map(|name| resource.rule(name)) {
        None if !pattern.contains('{') => 0,
        None => 1,
        Some(Rule::Number | Rule::Braced | Rule::OneOf(_)) => 2,
        Some(Rule::Segment | Rule::Spec) => 3,
        Some(Rule::Path | Rule::Root) => 4,
    }
}

fn whole_placeholder(pattern: &str) -> Option<&str> {
    let name = pattern.strip_prefix('{')?.strip_suffix('}')?;
    (!name.contains('}')).then_some(name)
}

/// Segments of a path that starts with a slash, so the first one is empty.
fn decode(path: &str) -> Result<Vec<Cow<'_, str>>, PathError> {
    if path.contains(['?', '#']) || !escapes_are_whole(path) {
        return Err(PathError::Malformed);
    }
    path.split('/')
        .map(|segment| {
            percent_decode_str(segment)
                .decode_utf8()
                .map_err(|_| PathError::Malformed)
        })
        .collect()
}

fn escapes_are_whole(path: &str) -> bool {
    path.split('%').skip(1).all(|after| {
        after
            .get(..2)
            .is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    })
}

fn matches(resource: &'static Resource, segments: &[Cow<'_, str>]) -> Option<Params> {
    let mut params = Params::new();
    let mut left = segments;
    for pattern in resource.template().split('/') {
        let (segment, after) = left.split_first()?;
        let rest = whole_placeholder(pattern).filter(|name| resource.rule(name).takes_rest());
        if let Some(name) = rest {
            let value = left.join("/");
            return resource.rule(name).allows(&value).then(|| {
                params.push((name, value));
                params
            });
        }
        match_segment(resource, pattern, segment, &mut params)?;
        left = after;
    }
    left.is_empty().then_some(params)
}

/// One segment against a pattern such as `{id}`, `{id}.diff` or plain text. Where the text between
/// two placeholders stands in the segment more than once, the first place that fits is taken.
fn match_segment(
    resource: &'static Resource,
    pattern: &'static str,
    segment: &str,
    params: &mut Params,
) -> Option<()> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return (pattern == segment).then_some(());
    };
    let (name, after) = rest.split_once('}')?;
    let text = segment.strip_prefix(before)?;
    let known = params.len();
    ends(text, after).find_map(|end| {
        let (value, rest) = text.split_at_checked(end)?;
        if !resource.rule(name).allows(value) {
            return None;
        }
        params.truncate(known);
        params.push((name, value.to_owned()));
        match_segment(resource, after, rest, params)
    })
}

/// Where in `text` a value can end that is followed by the pattern `after`.
fn ends(text: &str, after: &str) -> impl Iterator<Item = usize> {
    let literal = after.split_once('{').map(|(literal, _)| literal);
    let last = literal
        .is_none()
        .then(|| text.strip_suffix(after).map(str::len))
        .flatten();
    let between = literal.into_iter().flat_map(move |literal| {
        text.char_indices()
            .map(|(start, _)| start)
            .filter(move |start| {
                text.get(*start..)
                    .is_some_and(|rest| rest.starts_with(literal))
            })
    });
    last.into_iter().chain(between)
}
