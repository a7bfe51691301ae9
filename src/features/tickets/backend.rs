//! What a place where tickets live can do.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A boxed future, so that the trait stays object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A ticket to be made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Draft {
    /// One line.
    pub title: String,
    /// The text, marker included.
    pub description: String,
    /// Kind in the tracker's words.
    pub kind: String,
    /// Priority in the tracker's words.
    pub priority: String,
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

/// Why a call to the tracker did not work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackendError {
    /// It will not work however often we ask; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
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
    },
}

/// A place where tickets live, for one repository, with a credential. Calls hold no database connection.
pub trait TicketBackend: Send + Sync {
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
