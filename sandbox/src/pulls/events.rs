//! What hooks of both kinds of server are told of a pull request (bitbucket.md §5.3, §7).

use std::sync::Arc;

use serde_json::json;

use crate::core::Core;
use crate::dc;
use crate::model::{PullComment, PullRequest, Repository};
use crate::wire;

/// What happened to a pull request.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Created,
    Updated,
    /// Its source branch moved.
    Pushed,
    Fulfilled,
    Rejected,
    Commented(PullComment),
}

impl Event {
    /// Event keys of Cloud.
    fn cloud(&self) -> &'static [&'static str] {
        match self {
            Self::Created => &["pullrequest:created"],
            Self::Updated => &["pullrequest:updated"],
            Self::Pushed => &["pullrequest:updated", "pullrequest:push"],
            Self::Fulfilled => &["pullrequest:fulfilled"],
            Self::Rejected => &["pullrequest:rejected"],
            Self::Commented(_) => &["pullrequest:comment_created"],
        }
    }

    /// Event key of Data Center.
    fn server(&self) -> &'static str {
        match self {
            Self::Created => "pr:opened",
            Self::Updated => "pr:modified",
            Self::Pushed => "pr:from_ref_updated",
            Self::Fulfilled => "pr:merged",
            Self::Rejected => "pr:declined",
            Self::Commented(_) => "pr:comment:added",
        }
    }

    fn comment(&self) -> Option<&PullComment> {
        match self {
            Self::Commented(comment) => Some(comment),
            _ => None,
        }
    }
}

impl Core {
    /// Hands what happened to a pull request to the hooks of both kinds of server.
    pub(crate) fn tell(
        self: &Arc<Self>,
        repository: &Repository,
        pull: &PullRequest,
        event: &Event,
        actor: &str,
    ) {
        let body = self.store.read(|state| {
            let mut body = json!({
                "actor": wire::account(self, state, actor),
                "repository": wire::event_repository(self, state, repository),
                "pullrequest": wire::pull(self, state, repository, pull, true),
            });
            if let (Some(comment), Some(map)) = (event.comment(), body.as_object_mut()) {
                let shown = wire::pull_comment(self, state, repository, pull, comment);
                map.insert("comment".to_owned(), shown);
            }
            body
        });
        for key in event.cloud() {
            self.fire(key, repository, body.clone());
        }
        let key = event.server();
        let body = dc::events::pull_request(self, (repository, pull), key, actor, event.comment());
        self.fire_server(key, repository, &body);
    }
}
