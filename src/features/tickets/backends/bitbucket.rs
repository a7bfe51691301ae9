//! The issue tracker of a Bitbucket repository.

use crate::app::App;
use crate::bitbucket::cloud::{Issue, IssueChange, NewIssue};
use crate::bitbucket::{self, Cloud, Error, Kind, RepoRef};
use crate::features::links::{Connected, Repo};
use crate::features::tickets::TicketError;
use crate::features::tickets::backend::{
    BackendError, BoxFuture, CALL_LIMIT, Capabilities, Draft, FieldKind, FormField, NO_FIELD,
    RemoteTicket, TicketBackend, TicketState,
};

/// What an issue tracker of Bitbucket lets us do.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    create: true,
    link: true,
    comment: true,
    set_state: true,
    search: true,
};

/// The form of a new issue (sentry.md §15.7).
pub(super) const FORM: &[FormField] = &[
    FormField {
        name: "title",
        label: "Title",
        kind: FieldKind::Line(255),
        default: "",
    },
    FormField {
        name: "description",
        label: "Description",
        kind: FieldKind::Text(60_000),
        default: "",
    },
    FormField {
        name: "issue_type",
        label: "Issue type",
        kind: FieldKind::Choice(&[
            ("bug", "Bug"),
            ("enhancement", "Enhancement"),
            ("proposal", "Proposal"),
            ("task", "Task"),
        ]),
        default: "bug",
    },
    FormField {
        name: "priority",
        label: "Priority",
        kind: FieldKind::Choice(&[
            ("trivial", "Trivial"),
            ("minor", "Minor"),
            ("major", "Major"),
            ("critical", "Critical"),
            ("blocker", "Blocker"),
        ]),
        default: "trivial",
    },
];

/// Results of a search.
const SEARCH_COUNT: usize = 25;

/// One repository's tracker.
pub(super) struct BitbucketIssues {
    cloud: Cloud,
    client: bitbucket::Client,
    repo: RepoRef,
    full_name: String,
}

impl BitbucketIssues {
    /// `known` is the repository's row, if it was added: its uuid survives renames.
    pub(super) fn new(
        app: &App,
        connected: &Connected,
        full_name: &str,
        known: Option<&Repo>,
    ) -> Result<Self, TicketError> {
        let wrong = || {
            TicketError::Field(
                "repo",
                "This is not a repository of the connected workspace.".into(),
            )
        };
        let cloud = connected.cloud()?;
        let (workspace, slug) = full_name.split_once('/').ok_or_else(wrong)?;
        if !workspace.eq_ignore_ascii_case(&connected.link.name) && known.is_none() {
            return Err(wrong());
        }
        let slug = known
            .and_then(|repo| repo.external_id.as_deref())
            .unwrap_or(slug);
        let repo = RepoRef::from_full_name(&format!("{}/{slug}", connected.link.workspace_uuid))
            .map_err(|_| wrong())?;
        Ok(Self {
            cloud: cloud.clone().with_timeout(CALL_LIMIT),
            client: app.bitbucket.clone(),
            repo,
            full_name: full_name.to_owned(),
        })
    }

    /// A 404 of one issue means that issue when the list still answers, and the tracker when it does not.
    async fn explain(&self, error: Error) -> BackendError {
        if error.kind() == Kind::NotFound && !error.tracker_missing() {
            return match self.cloud.recent_issues(&self.repo, 10).await {
                Ok(_) => BackendError::NotFound,
                Err(list) => explain_list(&list),
            };
        }
        explain_list(&error)
    }
}

fn explain_list(error: &Error) -> BackendError {
    if error.tracker_missing() {
        return BackendError::TrackerGone("Bitbucket Repository has no issue tracker.".into());
    }
    if error.removed() || error.feature_gone() {
        return BackendError::TrackerGone(
            "The issue tracker of this repository was removed by Bitbucket. Existing links stay as references.".into(),
        );
    }
    let said = match error.message() {
        "" => String::new(),
        message => format!("{message} "),
    };
    let text = format!("{said}{}", error.advice());
    let later = |unknown_fate| BackendError::Later {
        text: text.clone(),
        after: error.retry_after(),
        unknown_fate,
        limited: error.kind() == Kind::RateLimited,
    };
    match error.kind() {
        Kind::Timeout
        | Kind::Broken
        | Kind::Server
        | Kind::TooSlow
        | Kind::Garbage
        | Kind::TooLarge => later(true),
        Kind::RateLimited | Kind::Unreachable | Kind::Resting | Kind::Busy => later(false),
        _ => BackendError::Refused(text),
    }
}

/// What Bitbucket says of the fields of a new issue, by the names of our form.
fn explain_fields(error: &Error) -> Option<BackendError> {
    if error.kind() != Kind::Invalid || error.fields().is_empty() {
        return None;
    }
    let named = error.fields().iter().map(|(name, text)| {
        let ours = match name.split('.').next().unwrap_or_default() {
            "title" => "title",
            "content" => "description",
            "kind" => "issue_type",
            "priority" => "priority",
            _ => return (NO_FIELD, format!("{name}: {text}")),
        };
        (ours, text.clone())
    });
    Some(BackendError::Fields(named.collect()))
}

fn remote(issue: Issue) -> RemoteTicket {
    RemoteTicket {
        number: i64::try_from(issue.id).unwrap_or(i64::MAX),
        title: issue.title.unwrap_or_default(),
        description: issue.content.html.or(issue.content.raw).unwrap_or_default(),
        state: issue.state,
    }
}

/// Issue numbers are positive; a negative one in a row of ours names no issue.
fn issue_id(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

impl TicketBackend for BitbucketIssues {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn form_fields(&self) -> &'static [FormField] {
        FORM
    }

    fn create<'a>(&'a self, draft: &'a Draft) -> BoxFuture<'a, Result<RemoteTicket, BackendError>> {
        Box::pin(async move {
            let field = |name: &str| draft.fields.get(name).map_or("", String::as_str);
            let new = NewIssue {
                title: &draft.title,
                content: &draft.description,
                kind: field("issue_type"),
                priority: field("priority"),
            };
            match self.cloud.create_issue(&self.repo, &new).await {
                Ok(issue) => Ok(remote(issue)),
                Err(error) => Err(explain_fields(&error).unwrap_or_else(|| explain_list(&error))),
            }
        })
    }

    fn find<'a>(
        &'a self,
        marker: &'a str,
    ) -> BoxFuture<'a, Result<Option<RemoteTicket>, BackendError>> {
        Box::pin(async move {
            let found = self.cloud.find_issue_by_marker(&self.repo, marker).await;
            found
                .map(|issue| issue.map(remote))
                .map_err(|error| explain_list(&error))
        })
    }

    fn get(&self, number: i64) -> BoxFuture<'_, Result<RemoteTicket, BackendError>> {
        Box::pin(async move {
            match self.cloud.issue(&self.repo, issue_id(number)).await {
                Ok(issue) => Ok(remote(issue)),
                Err(error) => Err(self.explain(error).await),
            }
        })
    }

    fn comment<'a>(
        &'a self,
        number: i64,
        text: &'a str,
    ) -> BoxFuture<'a, Result<String, BackendError>> {
        Box::pin(async move {
            match self
                .cloud
                .create_comment(&self.repo, issue_id(number), text)
                .await
            {
                Ok(comment) => Ok(comment.id.to_string()),
                Err(error) => Err(self.explain(error).await),
            }
        })
    }

    fn find_comment<'a>(
        &'a self,
        number: i64,
        marker: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, BackendError>> {
        Box::pin(async move {
            match self
                .cloud
                .find_comment_by_marker(&self.repo, issue_id(number), marker)
                .await
            {
                Ok(comment) => Ok(comment.map(|comment| comment.id.to_string())),
                Err(error) => Err(self.explain(error).await),
            }
        })
    }

    fn set_state(
        &self,
        number: i64,
        state: TicketState,
    ) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let state = match state {
                TicketState::Open => "open",
                TicketState::Resolved => "resolved",
            };
            let change = IssueChange {
                state: Some(state),
                ..IssueChange::default()
            };
            match self
                .cloud
                .update_issue(&self.repo, issue_id(number), &change)
                .await
            {
                Ok(_) => Ok(()),
                Err(error) => Err(self.explain(error).await),
            }
        })
    }

    fn search<'a>(
        &'a self,
        text: &'a str,
    ) -> BoxFuture<'a, Result<Vec<RemoteTicket>, BackendError>> {
        Box::pin(async move {
            let wanted = text.trim().trim_start_matches('#');
            let number = wanted.parse::<u64>().ok();
            let found = if wanted.is_empty() || number.is_some() {
                self.cloud.recent_issues(&self.repo, SEARCH_COUNT).await
            } else {
                self.cloud
                    .search_issues(&self.repo, wanted, SEARCH_COUNT)
                    .await
            };
            let mut found: Vec<_> = found
                .map_err(|error| explain_list(&error))?
                .into_iter()
                .map(remote)
                .collect();
            if let Some(number) = number {
                // A number asks for that very issue, which may be older than the list.
                found.retain(|ticket| ticket.number.to_string().starts_with(wanted));
                if !found.iter().any(|ticket| issue_id(ticket.number) == number)
                    && let Ok(issue) = self.cloud.issue(&self.repo, number).await
                {
                    found.insert(0, remote(issue));
                }
            }
            Ok(found)
        })
    }

    fn is_done(&self, state: &str) -> bool {
        matches!(
            state,
            "resolved" | "closed" | "invalid" | "duplicate" | "wontfix"
        )
    }

    fn url(&self, number: i64) -> String {
        self.client.web_issue(&self.full_name, issue_id(number))
    }
}
