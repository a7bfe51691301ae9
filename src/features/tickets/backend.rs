//! What a place where tickets live can do.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A boxed future, so that the trait stays object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Longest time of one call to a tracker. Every wait around such calls is derived from it, see `create.rs`.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(15);

/// The name under which a form shows what belongs to no field of it.
pub(super) const NO_FIELD: &str = "non_field_errors";

/// A ticket to be made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Draft {
    /// One line.
    pub title: String,
    /// The text, marker included.
    pub description: String,
    /// The tracker's other fields, in its own words; see [`TicketBackend::form_fields`].
    pub fields: BTreeMap<String, String>,
}

/// A ticket as the tracker knows it.
#[derive(Debug, Clone)]
pub struct RemoteTicket {
    /// Number in its repository.
    pub number: i64,
    /// One line.
    pub title: String,
    /// The text as HTML, or as written.
    pub description: String,
    /// State in the tracker's words.
    pub state: Option<String>,
}

/// What we set a ticket to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketState {
    /// Somebody should work on it.
    Open,
    /// Done.
    Resolved,
}

/// What a tracker lets us do. What is off is not offered, not done by a job, and refused when asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Make tickets.
    pub create: bool,
    /// Look at a ticket that exists, so that it can be linked.
    pub link: bool,
    /// Add comments.
    pub comment: bool,
    /// Set the state of a ticket.
    pub set_state: bool,
    /// Find tickets by words of their title.
    pub search: bool,
}

/// A field of the form that makes a ticket, besides the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormField {
    /// As forms and `/api/0` send it.
    pub name: &'static str,
    /// For people.
    pub label: &'static str,
    /// What it takes.
    pub kind: FieldKind,
    /// Its value when the form comes without one; the title and the description start with the error's text.
    pub default: &'static str,
}

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// One line that must be there, of so many characters at most.
    Line(usize),
    /// Text, cut to so many bytes.
    Text(usize),
    /// One of these: value and label.
    Choice(&'static [(&'static str, &'static str)]),
}

/// Why a call to the tracker did not work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackendError {
    /// It will not work however often we ask; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// It does not take these fields of the form, by the name of the field, or `non_field_errors`.
    #[error("{} fields were not accepted", .0.len())]
    Fields(Vec<(&'static str, String)>),
    /// The repository has no tracker (any more).
    #[error("{0}")]
    TrackerGone(String),
    /// There is no such ticket, though the tracker answers.
    #[error("there is no such ticket")]
    NotFound,
    /// It may work later.
    #[error("{text}")]
    Later {
        /// What happened.
        text: String,
        /// When to ask again, if the other side said.
        after: Option<Duration>,
        /// True when the call may have done its work all the same.
        unknown_fate: bool,
        /// True when too many calls were made: nothing is wrong with this one.
        limited: bool,
    },
}

impl BackendError {
    /// Whether the call may have done its work all the same.
    #[must_use]
    pub const fn is_of_unknown_fate(&self) -> bool {
        matches!(
            self,
            Self::Later {
                unknown_fate: true,
                ..
            }
        )
    }
}

/// A place where tickets live, for one repository, with a credential. Calls hold no database connection.
pub trait TicketBackend: Send + Sync {
    /// What it lets us do.
    fn capabilities(&self) -> Capabilities;
    /// The form that makes a ticket, in the order in which it is shown. `title` and `description` are among them.
    fn form_fields(&self) -> &'static [FormField];
    /// Makes a ticket. Never repeated by itself.
    fn create<'a>(&'a self, draft: &'a Draft) -> BoxFuture<'a, Result<RemoteTicket, BackendError>>;
    /// The ticket whose text holds `marker`.
    fn find<'a>(
        &'a self,
        marker: &'a str,
    ) -> BoxFuture<'a, Result<Option<RemoteTicket>, BackendError>>;
    /// One ticket.
    fn get(&self, number: i64) -> BoxFuture<'_, Result<RemoteTicket, BackendError>>;
    /// Adds a comment and answers its id. Never repeated by itself.
    fn comment<'a>(
        &'a self,
        number: i64,
        text: &'a str,
    ) -> BoxFuture<'a, Result<String, BackendError>>;
    /// The id of the comment whose text holds `marker`.
    fn find_comment<'a>(
        &'a self,
        number: i64,
        marker: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, BackendError>>;
    /// Sets the state.
    fn set_state(&self, number: i64, state: TicketState)
    -> BoxFuture<'_, Result<(), BackendError>>;
    /// Tickets whose title contains `text`, the newest when it is empty.
    fn search<'a>(
        &'a self,
        text: &'a str,
    ) -> BoxFuture<'a, Result<Vec<RemoteTicket>, BackendError>>;
    /// Whether a state in the tracker's words counts as done.
    fn is_done(&self, state: &str) -> bool;
    /// Page of a ticket.
    fn url(&self, number: i64) -> String;
}
