//! Opening, merging and declining pull requests without the API.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use serde::Deserialize;

use crate::core::Core;
use crate::model::{MergeStrategy, PullLinks, PullRequest, Repository};
use crate::pulls::{self, Merging, Opening, Refused};

/// A pull request to open.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewPullRequest {
    /// `workspace/slug`.
    pub repo: String,
    /// Shown to people.
    pub title: String,
    /// Free text.
    pub description: String,
    /// Branch with the changes.
    pub source: String,
    /// Branch they go to; the main one when empty.
    pub destination: String,
    /// Nickname, uuid or account id; the owner of the workspace when absent.
    pub author: Option<String>,
    /// Whether a merge deletes the source branch.
    pub close_source_branch: bool,
}

/// A pull request to merge.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PullMerge {
    pub(crate) repo: String,
    pub(crate) id: u64,
    pub(crate) strategy: MergeStrategy,
}

/// A pull request to turn down.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PullDecline {
    pub(crate) repo: String,
    pub(crate) id: u64,
    pub(crate) reason: String,
}

/// Whether the commits of a repository know their pull requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPullLinks {
    pub(crate) repo: String,
    pub(crate) links: PullLinks,
}

fn said(why: Refused) -> anyhow::Error {
    match why.field {
        Some(field) => anyhow!("{field}: {}", why.text),
        None => anyhow!(why.text),
    }
}

impl Core {
    /// The repository of a full name, and the account of its owner.
    fn repository_and_owner(&self, full_name: &str) -> anyhow::Result<(Repository, String)> {
        let found = self.store.read(|state| {
            let repository = state.by_full_name(full_name)?.clone();
            let owner = state.workspace(&repository.workspace)?.owner.clone();
            Some((repository, owner))
        });
        found.with_context(|| format!("no repository {full_name:?}"))
    }

    pub(crate) async fn open_pull(
        self: &Arc<Self>,
        new: &NewPullRequest,
    ) -> anyhow::Result<PullRequest> {
        let (repository, owner) = self.repository_and_owner(&new.repo)?;
        let author = match &new.author {
            Some(name) => self.person(name)?,
            None => owner,
        };
        let opening = Opening {
            title: new.title.clone(),
            description: new.description.clone(),
            source: new.source.clone(),
            destination: new.destination.clone(),
            close_source_branch: new.close_source_branch,
            author,
            ..Opening::default()
        };
        pulls::open(self, &repository, opening).await.map_err(said)
    }

    pub(crate) async fn merge_pull(
        self: &Arc<Self>,
        merge: &PullMerge,
    ) -> anyhow::Result<PullRequest> {
        let (repository, by) = self.repository_and_owner(&merge.repo)?;
        let how = Merging {
            strategy: merge.strategy,
            by,
            ..Merging::default()
        };
        let merged = pulls::merge(self, &repository, merge.id, &how).await;
        merged.map_err(said)
    }

    pub(crate) fn decline_pull(
        self: &Arc<Self>,
        decline: &PullDecline,
    ) -> anyhow::Result<PullRequest> {
        let (repository, by) = self.repository_and_owner(&decline.repo)?;
        pulls::decline(self, &repository, decline.id, &decline.reason, &by).map_err(said)
    }

    pub(crate) fn set_pull_links(&self, set: &SetPullLinks) -> anyhow::Result<()> {
        let (repository, _) = self.repository_and_owner(&set.repo)?;
        self.store
            .write(|state| state.pull_links.insert(repository.uuid, set.links))?;
        Ok(())
    }
}
