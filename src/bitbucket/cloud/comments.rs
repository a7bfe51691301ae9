//! Comments of an issue.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Caps, Cloud, Listing, PAGE_SIZE};
use crate::bitbucket::error::Error;
use crate::bitbucket::paths::{BitbucketApiPath, RepoRef};
use crate::bitbucket::wire::{Account, Content, soft};

/// A comment. The id is the one field without which it is no comment.
#[derive(Debug, Clone, Deserialize)]
pub struct Comment {
    /// Id in its issue.
    pub id: u64,
    /// Text.
    #[serde(default, deserialize_with = "soft")]
    pub content: Content,
    /// Who wrote it.
    #[serde(default, deserialize_with = "soft")]
    pub user: Option<Account>,
    /// RFC 3339.
    #[serde(default, deserialize_with = "soft")]
    pub created_on: Option<String>,
    /// RFC 3339; absent when never edited.
    #[serde(default, deserialize_with = "soft")]
    pub updated_on: Option<String>,
}

impl Comment {
    /// Whether the text holds a marker that we put there.
    pub fn has_marker(&self, marker: &str) -> bool {
        self.content
            .raw
            .as_deref()
            .is_some_and(|raw| raw.contains(marker))
    }
}

impl Cloud {
    /// Comments of an issue, up to the caps.
    pub async fn comments(
        &self,
        repo: &RepoRef,
        issue_id: u64,
        caps: Caps,
    ) -> Result<Listing<Comment>, Error> {
        let path = BitbucketApiPath::IssueComments { repo, issue_id };
        self.list(Call::get(path).query("pagelen", PAGE_SIZE), caps)
            .await
    }

    /// Adds a comment. Never repeated by itself: look for the marker first.
    pub async fn create_comment(
        &self,
        repo: &RepoRef,
        issue_id: u64,
        text: &str,
    ) -> Result<Comment, Error> {
        let path = BitbucketApiPath::IssueComments { repo, issue_id };
        self.object(Call::new(Method::POST, path).body(json!({"content": {"raw": text}})))
            .await
    }

    /// The comment that holds `marker`, if there is one. An issue has few comments, so they are read
    /// rather than filtered by the server.
    pub async fn find_comment_by_marker(
        &self,
        repo: &RepoRef,
        issue_id: u64,
        marker: &str,
    ) -> Result<Option<Comment>, Error> {
        let comments = self.comments(repo, issue_id, Caps::DEFAULT).await?;
        Ok(comments
            .items
            .into_iter()
            .find(|comment| comment.has_marker(marker)))
    }
}
