//! Workspaces.

use super::{Call, Cloud};
use crate::atlassian::lifecycle::BracedUuid;
use crate::bitbucket::error::Error;
use crate::bitbucket::paths::BitbucketApiPath;
use crate::bitbucket::wire::Workspace;

impl Cloud {
    /// One workspace, by id or uuid in braces.
    pub async fn workspace(&self, workspace: &str) -> Result<Workspace, Error> {
        self.object(Call::get(BitbucketApiPath::Workspace { workspace }))
            .await
    }

    /// Proves that this credential speaks for the workspace: one signed read of its hooks, without
    /// repeats and without following anything, so that success can only come from Bitbucket itself
    /// (bitbucket.md §1.5). What the list holds does not matter, but it must be one: something in between that
    /// says yes to everything is not Bitbucket.
    pub async fn prove_workspace(&self, workspace: &BracedUuid) -> Result<(), Error> {
        let path = BitbucketApiPath::WorkspaceHooks {
            workspace: workspace.as_str(),
        };
        self.page::<serde_json::Value>(Call::get(path).once(), None)
            .await
            .map(|_| ())
    }
}
