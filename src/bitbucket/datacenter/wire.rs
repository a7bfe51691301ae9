//! What Data Center sends, and the same in the words of the seam. Odd fields read as absent.

use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;

use crate::bitbucket::host::{
    BlameSpan, ChangeKind, FileChange, HostedBranch, HostedRepo, PullRequest,
};
use crate::bitbucket::wire::{Account, Author, Commit, CommitRef, soft, soft_list};

/// Which server this is.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Properties {
    /// `10.2.0`.
    #[serde(default, deserialize_with = "soft")]
    pub version: Option<String>,
    /// `Bitbucket`.
    #[serde(default, rename = "displayName", deserialize_with = "soft")]
    pub display_name: Option<String>,
}

/// A person of the server, or an author that it does not know.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Person {
    #[serde(default, deserialize_with = "soft")]
    pub(super) name: Option<String>,
    #[serde(default, rename = "displayName", deserialize_with = "soft")]
    pub(super) display_name: Option<String>,
    #[serde(default, rename = "emailAddress", deserialize_with = "soft")]
    pub(super) email: Option<String>,
}

impl Person {
    /// What people call them.
    pub(super) fn shown(&self) -> Option<String> {
        self.display_name.clone().or_else(|| self.name.clone())
    }

    /// As git writes authors, which is how commits are read everywhere.
    fn raw(&self) -> Option<String> {
        let name = self.shown().unwrap_or_default();
        match &self.email {
            Some(email) => Some(format!("{name} <{email}>").trim_start().to_owned()),
            None => Some(name).filter(|name| !name.is_empty()),
        }
    }

    pub(super) fn account(&self) -> Account {
        Account {
            kind: Some("user".to_owned()),
            display_name: self.shown(),
            nickname: self.name.clone(),
            ..Account::default()
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Project {
    #[serde(default, deserialize_with = "soft")]
    key: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Repository {
    #[serde(default, deserialize_with = "soft")]
    pub(super) id: Option<u64>,
    #[serde(default, deserialize_with = "soft")]
    slug: Option<String>,
    #[serde(default, deserialize_with = "soft")]
    project: Project,
}

impl Repository {
    /// `PROJECT/slug`.
    pub(super) fn full_name(&self) -> Option<String> {
        Some(format!(
            "{}/{}",
            self.project.key.as_deref()?,
            self.slug.as_deref()?
        ))
    }

    /// The server is needed for its id and its page.
    pub(super) fn shown(&self, server: &str, web: &str) -> Option<HostedRepo> {
        let full_name = self.full_name()?;
        Some(HostedRepo {
            id: super::repository_id(server, self.id?),
            url: web_page(web, &full_name),
            full_name,
            main_branch: None,
            has_tracker: Some(false),
            workspace: None,
        })
    }
}

/// The page of a repository for people; those of a person live elsewhere.
#[must_use]
pub fn web_page(web: &str, full_name: &str) -> String {
    let web = web.trim_end_matches('/');
    match full_name.split_once('/') {
        Some((project, slug)) => match project.strip_prefix('~') {
            Some(person) => format!("{web}/users/{person}/repos/{slug}"),
            None => format!("{web}/projects/{project}/repos/{slug}"),
        },
        None => web.to_owned(),
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct CommitId {
    id: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct WireCommit {
    id: String,
    #[serde(default, deserialize_with = "soft")]
    message: Option<String>,
    #[serde(default, deserialize_with = "soft")]
    author: Person,
    #[serde(default, rename = "authorTimestamp", deserialize_with = "soft")]
    at: Option<i64>,
    #[serde(default, deserialize_with = "soft_list")]
    parents: Vec<CommitId>,
}

impl WireCommit {
    pub(super) fn shown(self) -> Commit {
        Commit {
            hash: self.id,
            date: self.at.and_then(rfc3339),
            message: self.message,
            author: Some(Author {
                raw: self.author.raw(),
                user: self.author.name.is_some().then(|| self.author.account()),
            }),
            parents: self
                .parents
                .into_iter()
                .map(|parent| CommitRef {
                    hash: Some(parent.id),
                })
                .collect(),
            links: Default::default(),
        }
    }
}

fn rfc3339(millis: i64) -> Option<String> {
    Some(DateTime::from_timestamp_millis(millis)?.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[derive(Debug, Clone, Default, Deserialize)]
struct FilePath {
    #[serde(default, rename = "toString", deserialize_with = "soft")]
    text: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Change {
    #[serde(default, rename = "type", deserialize_with = "soft")]
    kind: String,
    #[serde(default, deserialize_with = "soft")]
    path: FilePath,
    #[serde(default, rename = "srcPath", deserialize_with = "soft")]
    source: FilePath,
}

impl Change {
    pub(super) fn shown(self) -> Option<FileChange> {
        let kind = match self.kind.as_str() {
            "ADD" => ChangeKind::Added,
            "DELETE" => ChangeKind::Removed,
            "MOVE" => ChangeKind::Renamed,
            "COPY" => ChangeKind::Copied,
            _ => ChangeKind::Modified,
        };
        let path = self.path.text?;
        Some(FileChange {
            kind,
            old_path: self.source.text.filter(|old| *old != path),
            path,
        })
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Ref {
    #[serde(default, rename = "displayId", deserialize_with = "soft")]
    pub(super) name: Option<String>,
    #[serde(default, rename = "latestCommit", deserialize_with = "soft")]
    head: Option<String>,
}

impl Ref {
    pub(super) fn shown(self) -> Option<HostedBranch> {
        Some(HostedBranch {
            name: self.name?,
            head: self.head,
        })
    }
}

/// A page of the lines of a file, with their blame.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Lines {
    #[serde(default, deserialize_with = "soft")]
    pub(super) blame: Option<Vec<Blame>>,
    #[serde(default, rename = "isLastPage", deserialize_with = "soft")]
    pub(super) is_last: Option<bool>,
    #[serde(default, rename = "nextPageStart", deserialize_with = "soft")]
    pub(super) next: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Blame {
    #[serde(rename = "commitId")]
    commit: String,
    #[serde(rename = "lineNumber")]
    pub(super) line: u64,
    #[serde(rename = "spannedLines")]
    lines: u64,
    #[serde(default, deserialize_with = "soft")]
    author: Person,
}

impl Blame {
    pub(super) fn shown(self) -> BlameSpan {
        BlameSpan {
            line: self.line,
            lines: self.lines,
            hash: self.commit,
            author: self.author.shown(),
            email: self.author.email,
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Participant {
    #[serde(default, deserialize_with = "soft")]
    user: Person,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SelfLink {
    #[serde(default, deserialize_with = "soft")]
    href: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SelfLinks {
    #[serde(default, rename = "self", deserialize_with = "soft_list")]
    own: Vec<SelfLink>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct WirePull {
    id: u64,
    #[serde(default, deserialize_with = "soft")]
    title: String,
    #[serde(default, deserialize_with = "soft")]
    state: String,
    #[serde(default, rename = "fromRef", deserialize_with = "soft")]
    from: Ref,
    #[serde(default, rename = "toRef", deserialize_with = "soft")]
    to: Ref,
    #[serde(default, deserialize_with = "soft")]
    author: Participant,
    #[serde(default, deserialize_with = "soft")]
    links: SelfLinks,
}

impl WirePull {
    pub(super) fn shown(self) -> PullRequest {
        PullRequest {
            id: self.id,
            title: self.title,
            state: self.state,
            source: self.from.name,
            target: self.to.name,
            author: self.author.user.shown(),
            url: self.links.own.into_iter().find_map(|link| link.href),
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Configuration {
    #[serde(default, deserialize_with = "soft")]
    secret: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct WireHook {
    #[serde(default, deserialize_with = "soft")]
    id: Option<u64>,
    #[serde(default, deserialize_with = "soft")]
    name: Option<String>,
    #[serde(default, deserialize_with = "soft")]
    url: Option<String>,
    #[serde(default, deserialize_with = "soft")]
    active: Option<bool>,
    #[serde(default, deserialize_with = "soft")]
    events: Vec<String>,
    #[serde(default, deserialize_with = "soft")]
    configuration: Configuration,
}

impl WireHook {
    pub(super) fn shown(self) -> crate::bitbucket::cloud::Hook {
        crate::bitbucket::cloud::Hook {
            uuid: self.id.map(|id| id.to_string()),
            url: self.url,
            description: self.name,
            active: self.active,
            secret_set: self.configuration.secret.map(|_| true),
            events: self.events,
        }
    }
}
