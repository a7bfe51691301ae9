//! What a delivery came to, in the words of the log.

use serde::{Deserialize, Serialize};

use crate::features::releases::{Gathered, Recorded, Touched};

/// What a delivery came to, as the log shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// One short line for the list.
    pub(super) summary: String,
    /// What was done, one thing each.
    pub(super) lines: Vec<Line>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) text: String,
    /// A page of ours that shows it.
    pub(super) href: Option<String>,
}

impl Line {
    fn plain(text: String) -> Self {
        Self { text, href: None }
    }
}

impl Outcome {
    pub(super) fn plain(text: &str) -> Self {
        Self {
            summary: text.to_owned(),
            lines: vec![Line::plain(text.to_owned())],
        }
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What a push came to, in words.
    pub(super) fn of_push(recorded: &Recorded, push: &Gathered, org_slug: &str) -> Self {
        Self {
            summary: summary(recorded),
            lines: lines(recorded, push, org_slug),
        }
    }
}

fn commits(count: usize) -> String {
    match count {
        1 => "1 commit".to_owned(),
        count => format!("{count} commits"),
    }
}

fn fetched(count: usize) -> Option<String> {
    (count > 0).then(|| format!("{count} of them fetched"))
}

fn summary(recorded: &Recorded) -> String {
    let total =
        |part: fn(&(String, usize, usize)) -> usize| recorded.branches.iter().map(part).sum();
    let mut parts = vec![commits(total(|(_, commits, _)| *commits))];
    parts.extend(fetched(total(|(_, _, fetched)| *fetched)));
    parts.extend(
        recorded
            .resolved
            .iter()
            .map(|touched| format!("{} resolved", touched.short_id)),
    );
    parts.join(", ")
}

fn lines(recorded: &Recorded, push: &Gathered, org_slug: &str) -> Vec<Line> {
    let branches = recorded.branches.iter().map(|(branch, count, brought)| {
        let how = fetched(*brought).map_or_else(String::new, |how| format!(", {how}"));
        Line::plain(format!("{} on {branch}{how}", commits(*count)))
    });
    let deleted = recorded.deleted.iter();
    let deleted = deleted.map(|branch| Line::plain(format!("branch {branch} is gone")));
    let about = |touched: &Touched, what: &str| Line {
        text: format!("{} {what}", touched.short_id),
        href: Some(format!("/o/{org_slug}/errors/{}/", touched.group)),
    };
    let named = recorded.referenced.iter();
    let resolved = recorded.resolved.iter();
    branches
        .chain(deleted)
        .chain(named.map(|touched| about(touched, "is named as fixed")))
        .chain(resolved.map(|touched| about(touched, "resolved")))
        .chain(push.gap.clone().map(Line::plain))
        .collect()
}
