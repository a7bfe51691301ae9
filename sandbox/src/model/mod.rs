//! What the sandbox keeps: plain data, written to one JSON file by [`crate::store`].

mod bulk;
mod credentials;
mod data_center;
mod issue;
mod pull_request;
mod secret;
mod state;
mod status;

pub use bulk::Bulk;
pub(crate) use bulk::derived_uuid;
pub use credentials::{
    Code, Consumer, Credential, CredentialKind, Member, Permission, Reach, RefreshToken, Role,
};
pub use data_center::{DcBuild, DcHook};
pub use issue::{Comment, Issue, KINDS, PRIORITIES, STATES};
pub use pull_request::{MergeStrategy, PullComment, PullEnd, PullLinks, PullRequest, PullState};
pub use secret::Secret;
pub use state::{App, Hook, Install, Repository, State, Subject, Token, Tracker, User, Workspace};
pub use status::{BUILD_STATES, CommitStatus};
