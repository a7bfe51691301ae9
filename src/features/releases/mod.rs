//! Commits, the branches they are on, and the errors they fix.
//!
//! A push brings commits to a branch. What the webhook leaves out is fetched first, with no connection held
//! ([`gather`]); then one write stores everything ([`record_push`]): the commits, which of them are on the
//! repository's main branch, what each says it fixes, and where the branch points now. A group is resolved by a
//! commit at the moment its project's policy names; with no releases known that moment is the arrival of the
//! commit on the main branch, so a fix merged weeks later resolves then and not before, and a push that is read
//! again resolves nothing again.

pub mod api;
pub mod fixes;
mod push;
mod record;
mod store;

use crate::kit::ids::row_id;

pub use push::{Gathered, gather};
pub use record::{Recorded, Touched, record_push};
pub use store::{Commit, fixing_commit};

row_id! {
    /// Row id of a commit.
    CommitId
}
