//! The settings of a link: the keys of sentry.md §7.6, so that existing user interfaces can show the switches.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{AppError, AppResult};

/// Which way things are kept in step. What is not stored has its default here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "five independent switches of a foreign contract"
)]
pub struct LinkConfig {
    /// A resolved or reopened error changes its tickets.
    pub sync_status_forward: bool,
    /// A closed or reopened ticket changes its error.
    pub sync_status_reverse: bool,
    /// An assigned error assigns its tickets.
    pub sync_forward_assignment: bool,
    /// An assigned ticket assigns its error.
    pub sync_reverse_assignment: bool,
    /// Notes on an error become comments on its tickets.
    pub sync_comments: bool,
    /// What a closed ticket does to its error.
    pub resolution_strategy: ResolutionStrategy,
}

/// How an error is resolved when its ticket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolutionStrategy {
    /// At once.
    #[default]
    Resolve,
    /// In the release that is current.
    ResolveCurrentRelease,
    /// In the next release.
    ResolveNextRelease,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            sync_status_forward: true,
            sync_status_reverse: false,
            sync_forward_assignment: false,
            sync_reverse_assignment: false,
            sync_comments: false,
            resolution_strategy: ResolutionStrategy::Resolve,
        }
    }
}

impl LinkConfig {
    /// What is stored; a text that a newer version wrote reads as the defaults.
    pub(super) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// These settings with the given keys changed.
    ///
    /// # Errors
    /// 400 for a key that does not exist or a value that does not fit.
    pub(super) fn changed(&self, changes: &Map<String, Value>) -> AppResult<Self> {
        let mut all = self.to_map();
        all.extend(changes.clone());
        serde_json::from_value(Value::Object(all))
            .map_err(|error| AppError::invalid(format!("This setting cannot be stored: {error}")))
    }

    pub(super) fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }

    /// The fields of the settings form.
    pub(super) fn fields() -> Vec<Value> {
        let switch = |name: &str, label: &str, help: &str| json!({ "name": name, "type": "boolean", "label": label, "help": help, "default": false });
        vec![
            switch(
                "sync_status_forward",
                "Errors change tickets",
                "When an error is resolved or comes back, its Bitbucket issues get a comment and the state.",
            ),
            switch(
                "sync_status_reverse",
                "Tickets change errors",
                "When a Bitbucket issue is closed or reopened, its error follows.",
            ),
            switch(
                "sync_forward_assignment",
                "Assign tickets",
                "Who is assigned to an error is assigned to its issues.",
            ),
            switch(
                "sync_reverse_assignment",
                "Assign errors",
                "Who is assigned to an issue is assigned to its error.",
            ),
            switch(
                "sync_comments",
                "Comments to tickets",
                "Notes on an error are posted on its Bitbucket issues.",
            ),
            json!({
                "name": "resolution_strategy", "type": "select", "label": "Resolve",
                "help": "How an error is resolved when its issue is closed.",
                "choices": [
                    ["resolve", "Resolve"],
                    ["resolve_current_release", "Resolve in the current release"],
                    ["resolve_next_release", "Resolve in the next release"],
                ],
            }),
        ]
    }
}

impl super::Link {
    /// The settings of this link.
    #[must_use]
    pub fn config(&self) -> LinkConfig {
        LinkConfig::read(&self.config)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn changes_are_merged_and_checked() {
        let config = LinkConfig::default();
        let changed = config
            .changed(&map(
                json!({ "sync_comments": true, "resolution_strategy": "resolve_next_release" }),
            ))
            .unwrap();
        assert!(changed.sync_comments && changed.sync_status_forward);
        assert_eq!(
            changed.resolution_strategy,
            ResolutionStrategy::ResolveNextRelease
        );
        assert_eq!(
            LinkConfig::read(&serde_json::to_string(&changed).unwrap()),
            changed
        );
        assert!(
            config
                .changed(&map(json!({ "sync_coments": true })))
                .is_err()
        );
        assert!(
            config
                .changed(&map(json!({ "sync_comments": "yes" })))
                .is_err()
        );
        assert!(
            config
                .changed(&map(json!({ "resolution_strategy": "never" })))
                .is_err()
        );
    }

    #[test]
    fn every_field_is_a_key_and_odd_stored_text_reads_as_defaults() {
        let keys = LinkConfig::default().to_map();
        for field in LinkConfig::fields() {
            assert!(keys.contains_key(field.get("name").unwrap().as_str().unwrap()));
        }
        assert_eq!(LinkConfig::fields().len(), keys.len());
        for text in ["", "[]", "{\"sync_comments\": 7}", "null"] {
            assert_eq!(LinkConfig::read(text), LinkConfig::default(), "{text}");
        }
    }
}
