//! What a credential is and sees, with what the headers say about it.

use serde::Deserialize;

use super::repositories::list_call;
use super::{Call, Caps, Cloud, PAGE_SIZE};
use crate::bitbucket::error::{Error, Kind};
use crate::bitbucket::meta::Meta;
use crate::bitbucket::page::Page;
use crate::bitbucket::paths::BitbucketApiPath;
use crate::bitbucket::wire::{Account, Repository, Workspace, soft};

/// One entry of the caller's workspaces.
#[derive(Debug, Clone, Default, Deserialize)]
struct WorkspaceAccess {
    #[serde(default, deserialize_with = "soft")]
    workspace: Workspace,
}

impl Cloud {
    /// The account that the credential acts as.
    pub async fn me(&self) -> Result<(Account, Meta), Error> {
        let call = Call::get(BitbucketApiPath::CurrentUser);
        let garbage = call.error(Kind::Garbage, "the answer is not an account");
        let answer = self.send(call).await?;
        let account = serde_json::from_slice(&answer.body).map_err(|_| garbage)?;
        Ok((account, answer.meta))
    }

    /// Ids of the workspaces that the credential sees, up to 100.
    pub async fn my_workspaces(&self) -> Result<Vec<String>, Error> {
        let call = Call::get(BitbucketApiPath::UserWorkspaces).query("pagelen", PAGE_SIZE);
        let found = self.list::<WorkspaceAccess>(call, Caps::items(100)).await?;
        let names = found.items.into_iter();
        Ok(names.filter_map(|access| access.workspace.slug).collect())
    }

    /// The first page of a workspace's repositories.
    pub async fn first_repositories(
        &self,
        workspace: &str,
    ) -> Result<(Page<Repository>, Meta), Error> {
        let call = list_call(workspace);
        let garbage = call.error(Kind::Garbage, "the answer is not a page of a list");
        let answer = self.send(call).await?;
        let page = Page::parse(&answer.body).ok_or(garbage)?;
        Ok((page, answer.meta))
    }
}
