//! Repositories of a workspace.

use std::collections::HashSet;

use super::{Call, Caps, Cloud, Cursor, Listing, PAGE_SIZE, Page, quoted};
use crate::bitbucket::error::Error;
use crate::bitbucket::paths::{BitbucketApiPath, RepoRef};
use crate::bitbucket::wire::Repository;

impl Cloud {
    /// One repository.
    pub async fn repository(&self, repo: &RepoRef) -> Result<Repository, Error> {
        self.object(Call::get(BitbucketApiPath::Repository { repo }))
            .await
    }

    /// All repositories of a workspace, up to the caps.
    pub async fn repositories(
        &self,
        workspace: &str,
        caps: Caps,
    ) -> Result<Listing<Repository>, Error> {
        self.list(list_call(workspace), caps).await
    }

    /// One page of them, for jobs that go on from a stored cursor.
    pub async fn repositories_page(
        &self,
        workspace: &str,
        from: Option<&Cursor>,
    ) -> Result<Page<Repository>, Error> {
        self.page(list_call(workspace), from).await
    }

    /// One page of those whose name contains a text; of all for an empty one.
    pub async fn found_page(
        &self,
        workspace: &str,
        text: &str,
        from: Option<&Cursor>,
    ) -> Result<Page<Repository>, Error> {
        let call = list_call(workspace);
        let call = match text.trim() {
            "" => call,
            text => call.query("q", format!("name~{}", quoted(text))),
        };
        self.page(call, from).await
    }

    /// Repositories by name: exact matches first, then those whose name contains the text, without
    /// repeats. An empty text finds everything.
    pub async fn search_repositories(
        &self,
        workspace: &str,
        text: &str,
        caps: Caps,
    ) -> Result<Listing<Repository>, Error> {
        if text.trim().is_empty() {
            return self.repositories(workspace, caps).await;
        }
        let text = quoted(text);
        let mut found: Listing<Repository> = self
            .list(
                list_call(workspace).query("q", format!("name={text}")),
                caps,
            )
            .await?;
        let fuzzy: Listing<Repository> = self
            .list(
                list_call(workspace).query("q", format!("name~{text}")),
                caps,
            )
            .await?;
        let mut seen: HashSet<Option<String>> = found.items.iter().map(identity).collect();
        found.items.extend(
            fuzzy
                .items
                .into_iter()
                .filter(|repository| seen.insert(identity(repository))),
        );
        found.complete = found.complete && fuzzy.complete && found.items.len() <= caps.items;
        found.items.truncate(caps.items);
        found.skipped += fuzzy.skipped;
        found.next = None;
        Ok(found)
    }
}

pub(super) fn list_call(workspace: &str) -> Call<'_> {
    Call::get(BitbucketApiPath::Repositories { workspace }).query("pagelen", PAGE_SIZE)
}

fn identity(repository: &Repository) -> Option<String> {
    repository
        .uuid
        .clone()
        .or_else(|| repository.full_name.clone())
}
