//! Issues of Bitbucket's tracker, which the product calls tickets.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Call, Caps, Cloud, Kind, Listing, quoted};
use crate::bitbucket::error::Error;
use crate::bitbucket::paths::{BitbucketApiPath, RepoRef};
use crate::bitbucket::wire::{Account, Content, Links, soft};

/// How many of the newest issues are searched when the query finds no marker.
const MARKER_LOOKBACK: Caps = Caps {
    pages: 4,
    items: 200,
};
const MARKER_PAGE: &str = "50";

/// An issue. The id is the one field without which it is no issue.
#[derive(Debug, Clone, Deserialize)]
pub struct Issue {
    /// Number in its repository.
    pub id: u64,
    /// One line.
    #[serde(default, deserialize_with = "soft")]
    pub title: Option<String>,
    /// Description.
    #[serde(default, deserialize_with = "soft")]
    pub content: Content,
    /// `bug`, `enhancement`, `proposal`, `task`.
    #[serde(default, deserialize_with = "soft")]
    pub kind: Option<String>,
    /// `trivial` to `blocker`.
    #[serde(default, deserialize_with = "soft")]
    pub priority: Option<String>,
    /// `new`, `open`, `resolved`, `on hold`, `invalid`, `duplicate`, `wontfix`, `closed`, `submitted`.
    #[serde(default, deserialize_with = "soft")]
    pub state: Option<String>,
    /// Who works on it.
    #[serde(default, deserialize_with = "soft")]
    pub assignee: Option<Account>,
    /// Who reported it.
    #[serde(default, deserialize_with = "soft")]
    pub reporter: Option<Account>,
    /// RFC 3339.
    #[serde(default, deserialize_with = "soft")]
    pub created_on: Option<String>,
    /// RFC 3339.
    #[serde(default, deserialize_with = "soft")]
    pub updated_on: Option<String>,
    /// Links.
    #[serde(default, deserialize_with = "soft")]
    pub links: Links,
}

impl Issue {
    /// Whether the description holds a marker that we put there.
    pub fn has_marker(&self, marker: &str) -> bool {
        self.content
            .raw
            .as_deref()
            .is_some_and(|raw| raw.contains(marker))
    }
}

/// An issue to create.
#[derive(Debug, Clone)]
pub struct NewIssue<'a> {
    /// One line.
    pub title: &'a str,
    /// Description in Markdown.
    pub content: &'a str,
    /// `bug`, `enhancement`, `proposal`, `task`.
    pub kind: &'a str,
    /// `trivial` to `blocker`.
    pub priority: &'a str,
}

/// Fields to change; absent ones stay as they are.
#[derive(Debug, Clone, Default, Serialize)]
pub struct IssueChange<'a> {
    /// New state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'a str>,
    /// New title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<&'a str>,
    /// New kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'a str>,
    /// New priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<&'a str>,
}

impl Cloud {
    /// Creates an issue. Never repeated by itself: after a failure of unknown fate look for the
    /// marker first.
    pub async fn create_issue(&self, repo: &RepoRef, issue: &NewIssue<'_>) -> Result<Issue, Error> {
        let body = json!({
            "title": issue.title,
            "content": {"raw": issue.content},
            "kind": issue.kind,
            "priority": issue.priority,
        });
        self.object(Call::new(Method::POST, BitbucketApiPath::Issues { repo }).body(body))
            .await
    }

    /// One issue.
    pub async fn issue(&self, repo: &RepoRef, issue_id: u64) -> Result<Issue, Error> {
        self.object(Call::get(BitbucketApiPath::Issue { repo, issue_id }))
            .await
    }

    /// Changes some fields of an issue.
    pub async fn update_issue(
        &self,
        repo: &RepoRef,
        issue_id: u64,
        change: &IssueChange<'_>,
    ) -> Result<Issue, Error> {
        let path = BitbucketApiPath::Issue { repo, issue_id };
        self.object(Call::new(Method::PUT, path).body(json!(change)))
            .await
    }

    /// Issues whose title contains the text, up to `count`.
    pub async fn search_issues(
        &self,
        repo: &RepoRef,
        text: &str,
        count: usize,
    ) -> Result<Vec<Issue>, Error> {
        let call = list_call(repo, count).query("q", format!("title~{}", quoted(text)));
        Ok(self.list(call, Caps::items(count)).await?.items)
    }

    /// The most recently changed issues.
    pub async fn recent_issues(&self, repo: &RepoRef, count: usize) -> Result<Vec<Issue>, Error> {
        let call = list_call(repo, count).query("sort", "-updated_on");
        Ok(self.list(call, Caps::items(count)).await?.items)
    }

    /// The issue whose description holds `marker`, if one exists: asked for by query, then looked
    /// for among the newest, because not every server filters by content. `marker` must not hold
    /// quotes or backslashes.
    pub async fn find_issue_by_marker(
        &self,
        repo: &RepoRef,
        marker: &str,
    ) -> Result<Option<Issue>, Error> {
        let query = format!("content.raw~{}", quoted(marker));
        let filtered: Result<Listing<Issue>, Error> = self
            .list(list_call(repo, 10).query("q", query), Caps::items(10))
            .await;
        match filtered {
            Ok(found) => {
                if let Some(issue) = found
                    .items
                    .into_iter()
                    .find(|issue| issue.has_marker(marker))
                {
                    return Ok(Some(issue));
                }
            }
            Err(error) if error.kind() == Kind::Invalid => {}
            Err(error) => return Err(error),
        }
        let newest = Call::get(BitbucketApiPath::Issues { repo })
            .query("pagelen", MARKER_PAGE)
            .query("sort", "-created_on");
        let newest: Listing<Issue> = self.list(newest, MARKER_LOOKBACK).await?;
        Ok(newest
            .items
            .into_iter()
            .find(|issue| issue.has_marker(marker)))
    }
}

fn list_call(repo: &RepoRef, count: usize) -> Call<'_> {
    Call::get(BitbucketApiPath::Issues { repo }).query("pagelen", count.clamp(10, 100).to_string())
}
