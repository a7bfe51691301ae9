//! Diffs and files.

use std::collections::{HashMap, VecDeque};

use serde::Deserialize;

use super::{Call, Caps, Cloud, Listing};
use crate::bitbucket::error::{Error, Kind};
use crate::bitbucket::paths::{BitbucketApiPath, RepoRef};
use crate::bitbucket::wire::soft;

/// Commits that a range is taken apart into at most.
const MAX_COMMITS: usize = 100;
/// Files that a diff is taken apart into at most.
const MAX_FILES: usize = 2_000;
/// Files of one piece: their names must fit into a URL.
const FILES_AT_ONCE: usize = 20;

/// One side of a changed file.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct FileSide {
    /// Path in the repository.
    #[serde(default, deserialize_with = "soft")]
    pub path: Option<String>,
}

/// A file that a commit or range changed.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ChangedFile {
    /// `added`, `removed`, `modified`, `renamed`.
    #[serde(default, deserialize_with = "soft")]
    pub status: Option<String>,
    /// Lines added.
    #[serde(default, deserialize_with = "soft")]
    pub lines_added: Option<u64>,
    /// Lines removed.
    #[serde(default, deserialize_with = "soft")]
    pub lines_removed: Option<u64>,
    /// Before; absent for an added file.
    #[serde(default, deserialize_with = "soft")]
    pub old: Option<FileSide>,
    /// After; absent for a removed file.
    #[serde(default, deserialize_with = "soft")]
    pub new: Option<FileSide>,
}

impl ChangedFile {
    /// What the file is called after the change, or was before it was removed.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        let sides = [&self.new, &self.old];
        sides
            .into_iter()
            .flatten()
            .find_map(|side| side.path.as_deref())
    }

    /// Both names of the file, once each.
    fn paths(&self) -> Vec<String> {
        let sides = [&self.new, &self.old].into_iter().flatten();
        let mut paths: Vec<String> = sides.filter_map(|side| side.path.clone()).collect();
        paths.dedup();
        paths
    }

    /// Adds an older change of the same file.
    fn add(&mut self, older: &Self) {
        let sum = |one: Option<u64>, other: Option<u64>| Some(one?.saturating_add(other?));
        self.lines_added = sum(self.lines_added, older.lines_added);
        self.lines_removed = sum(self.lines_removed, older.lines_removed);
        self.old.clone_from(&older.old);
        if older.status.as_deref() == Some("added") && self.new.is_some() {
            self.status.clone_from(&older.status);
        }
    }
}

/// A range is compared from where its sides parted unless told otherwise (bitbucket.md §3.4).
fn two_trees<'a>(call: Call<'a>, spec: &str) -> Call<'a> {
    match spec.contains("..") {
        true => call.query("topic", "false"),
        false => call,
    }
}

impl Cloud {
    /// Files changed by a commit (against its first parent), or that differ between the trees of
    /// `source..destination`.
    ///
    /// What is too big for Bitbucket (555) is asked for in smaller pages, and a range then commit by commit: the
    /// union of their files, lines added up, so that a file that was changed and changed back is in it too. Where the
    /// destination has commits of its own, they would be missing: that stays the error.
    pub async fn diffstat(
        &self,
        repo: &RepoRef,
        spec: &str,
        caps: Caps,
    ) -> Result<Listing<ChangedFile>, Error> {
        let found = self.diffstat_of(repo, spec, caps).await;
        match (found, spec.split_once("..")) {
            (Err(error), Some(range)) if error.kind() == Kind::TooSlow => {
                self.diffstat_by_commit(repo, range, caps, error).await
            }
            (found, _) => found,
        }
    }

    async fn diffstat_of(
        &self,
        repo: &RepoRef,
        spec: &str,
        caps: Caps,
    ) -> Result<Listing<ChangedFile>, Error> {
        let call = Call::get(BitbucketApiPath::Diffstat { repo, spec });
        self.list(two_trees(call, spec), caps).await
    }

    /// The source of a range comes first, its destination second (bitbucket.md §3.4).
    async fn diffstat_by_commit(
        &self,
        repo: &RepoRef,
        (source, destination): (&str, &str),
        caps: Caps,
        too_slow: Error,
    ) -> Result<Listing<ChangedFile>, Error> {
        let commits = self
            .commit_range(repo, &[source], &[destination], Caps::items(MAX_COMMITS))
            .await?;
        let aside = self
            .commit_range(repo, &[destination], &[source], Caps::items(1))
            .await?;
        if !commits.complete || !aside.items.is_empty() {
            return Err(too_slow);
        }
        let mut whole = Listing::<ChangedFile> {
            items: Vec::new(),
            skipped: 0,
            complete: true,
            next: None,
            meta: commits.meta,
        };
        // Newest first: what is known of a file already is newer.
        let mut known: HashMap<String, usize> = HashMap::new();
        for commit in &commits.items {
            let part = self.diffstat_of(repo, &commit.hash, caps).await?;
            whole.complete &= part.complete;
            whole.skipped += part.skipped;
            for file in part.items {
                let seen = file.path().and_then(|path| known.get(path)).copied();
                match seen.and_then(|at| whole.items.get_mut(at)) {
                    Some(newer) => newer.add(&file),
                    None => {
                        let path = file.path().unwrap_or_default().to_owned();
                        known.insert(path, whole.items.len());
                        whole.items.push(file);
                    }
                }
            }
        }
        whole.complete &= whole.items.len() <= caps.items;
        whole.items.truncate(caps.items);
        Ok(whole)
    }

    /// The raw diff, narrowed to `paths` if any are given; at most `limit` bytes.
    ///
    /// What is too big for Bitbucket (555) is asked for in pieces of a few files, down to one file, and put together
    /// again. A single file that is too big stays an error: a diff with a hole would mislead.
    pub async fn diff(
        &self,
        repo: &RepoRef,
        spec: &str,
        paths: &[&str],
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let error = match self.diff_of(repo, spec, paths, limit).await {
            Err(error) if error.kind() == Kind::TooSlow => error,
            other => return other,
        };
        let files: Vec<Vec<String>> = if paths.is_empty() {
            let changed = self.diffstat(repo, spec, Caps::items(MAX_FILES)).await?;
            if !changed.complete {
                return Err(error);
            }
            changed.items.iter().map(ChangedFile::paths).collect()
        } else {
            paths.iter().map(|path| vec![(*path).to_owned()]).collect()
        };
        // One file is the question that was just too big.
        if files.len() < 2 {
            return Err(error);
        }
        self.diff_in_pieces(repo, spec, &files, limit).await
    }

    async fn diff_in_pieces(
        &self,
        repo: &RepoRef,
        spec: &str,
        files: &[Vec<String>],
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let size = FILES_AT_ONCE.min(files.len().div_ceil(2));
        let mut waiting: VecDeque<&[Vec<String>]> = files.chunks(size).collect();
        let mut whole = Vec::new();
        while let Some(piece) = waiting.pop_front() {
            let paths: Vec<&str> = piece.iter().flatten().map(String::as_str).collect();
            let left = limit.saturating_sub(whole.len());
            match self.diff_of(repo, spec, &paths, left).await {
                Ok(bytes) => whole.extend(bytes),
                Err(error) if error.kind() == Kind::TooSlow && piece.len() > 1 => {
                    let (first, second) = piece.split_at(piece.len() / 2);
                    waiting.push_front(second);
                    waiting.push_front(first);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(whole)
    }

    async fn diff_of(
        &self,
        repo: &RepoRef,
        spec: &str,
        paths: &[&str],
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let call = Call::get(BitbucketApiPath::RepositoryDiff { repo, spec }).raw(limit);
        let mut call = two_trees(call, spec);
        for path in paths {
            call = call.query("path", *path);
        }
        let answer = self.send(call).await?;
        // Whatever else stands between us and Bitbucket writes no diff.
        if answer.body.is_empty() || answer.body.starts_with(b"diff ") {
            answer.keep().await;
        }
        Ok(answer.body)
    }

    /// The bytes of a file at a commit; at most `limit`. A directory gives its listing as JSON.
    pub async fn source(
        &self,
        repo: &RepoRef,
        sha: &str,
        path: &str,
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let call = Call::get(BitbucketApiPath::Source { repo, sha, path }).raw(limit);
        let answer = self.send(call).await?;
        // Bitbucket marks the content of a file (bitbucket.md §4.6).
        if answer.has_etag() {
            answer.keep().await;
        }
        Ok(answer.body)
    }
}
