//! The hook of a repository at Bitbucket: looked for, made, compared, repaired, deleted.

use crate::app::App;
use crate::bitbucket::cloud::{self, HookSpec};
use crate::bitbucket::page::Caps;
use crate::bitbucket::{self, CodeHost, Kind, RepoRef};
use crate::error::AppError;
use crate::features::links::features::{basic_events, hook_events, possible_events};
use crate::features::links::store::{self, Hook, Link, Registered, Repo};
use crate::features::links::{CredentialKind, HookFinding, HookState};
use crate::kit::crypto::Secret;

/// By this text people recognise our hook in Bitbucket.
const DESCRIPTION: &str = "tracebucket-repo-hook";

/// Brings the hook to Bitbucket; what was met there is noted in `finding`.
pub(super) async fn register(
    app: &App,
    wanted: &Wanted<'_>,
    finding: &mut Option<HookFinding>,
) -> Result<Registered, bitbucket::Error> {
    if let (true, Some(scopes)) = (wanted.is_new(), wanted.link.known_scopes()) {
        let (org, repo, now) = (wanted.repo.org_id, wanted.repo.id, app.clock.now());
        app.db
            .write(move |tx| Ok::<_, AppError>(store::hook_begun(tx, org, repo, now)?))
            .await
            .map_err(|_| {
                bitbucket::Error::of_credential(Kind::Busy, "the hook could not be noted")
            })?;
        if let Some(created) = wanted.create(&scopes).await? {
            return Ok(created);
        }
    }
    wanted.ensure(finding).await
}

/// A hook to bring to Bitbucket, and what is known of the one that is there.
pub(super) struct Wanted<'a> {
    pub(super) host: &'a dyn CodeHost,
    pub(super) link: &'a Link,
    pub(super) repo: &'a Repo,
    pub(super) reference: &'a RepoRef,
    pub(super) hook: &'a Hook,
    pub(super) url: &'a str,
    pub(super) secret: &'a Secret,
}

impl Wanted<'_> {
    fn tracker(&self) -> bool {
        self.repo.has_tracker == Some(true)
    }

    /// For a row that has never been anything else: nobody has asked Bitbucket for its hook. What an older installation
    /// of ours left behind is found by the next check.
    fn is_new(&self) -> bool {
        let untouched = self.repo.created_at == self.repo.updated_at;
        untouched && self.hook.hook_uuid.is_none() && self.hook.checked_at.is_none()
    }

    fn events(&self, scopes: Option<&[String]>) -> Vec<&'static str> {
        hook_events(self.link.kind, scopes, self.tracker())
    }

    async fn put(
        &self,
        existing: Option<&str>,
        events: &[&str],
    ) -> Result<String, bitbucket::Error> {
        put(
            self.host,
            self.reference,
            existing,
            self.url,
            events,
            self.secret,
        )
        .await
    }

    /// Registers it without looking first; `None` when Bitbucket does not take it like that.
    async fn create(&self, scopes: &[String]) -> Result<Option<Registered>, bitbucket::Error> {
        let events = self.events(Some(scopes));
        match self.put_known(None, &events).await {
            Ok((uuid, events)) => Ok(Some(registered(uuid, &events, None))),
            // The scopes may be others than we know.
            Err(error) if error.kind() == Kind::Forbidden => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks for it, and changes only what is not as it should be. `finding` is told what was wrong, also when it could
    /// not be put right.
    async fn ensure(
        &self,
        finding: &mut Option<HookFinding>,
    ) -> Result<Registered, bitbucket::Error> {
        let remembered = self.hook.hook_uuid.as_deref();
        let (ours, scopes) = our_hooks(self.host, self.reference, remembered, self.url).await?;
        let scopes = scopes.or_else(|| self.link.known_scopes());
        let wanted = self.events(scopes.as_deref());
        // On Data Center the version of the server decides, and no permission.
        let is_server = self.link.kind == CredentialKind::DataCenter;
        let by_scope = scopes.is_some() && !is_server;
        let first = ours.first();
        *finding = match first {
            None => remembered.map(|_| HookFinding::Missing),
            Some(found) => self.wrong_with(found, &wanted),
        };
        let uuid_of = |hook: &cloud::Hook| hook.uuid.clone().unwrap_or_default();
        let is_right = |found: &cloud::Hook| {
            // Scopes may have come or gone since.
            let all = !by_scope || same(&found.events, &wanted);
            all && finding.is_none() && self.hook.state == HookState::Active
        };
        let done = match first {
            // A check, and all is well: nothing is written.
            Some(found) if is_right(found) => {
                let events: Vec<&str> = found.events.iter().map(String::as_str).collect();
                registered(uuid_of(found), &events, None)
            }
            _ => {
                let existing = first.map(uuid_of);
                let (uuid, events) = if by_scope || is_server {
                    self.put_known(existing.as_deref(), &wanted).await?
                } else {
                    self.put_carefully(existing.as_deref(), &wanted).await?
                };
                registered(uuid, &events, *finding)
            }
        };
        for double in ours.iter().map(uuid_of).filter(|found| *found != done.uuid) {
            self.host.delete_hook(self.reference, &double).await?;
        }
        Ok(done)
    }

    fn wrong_with(&self, found: &cloud::Hook, wanted: &[&str]) -> Option<HookFinding> {
        let asked: Vec<&str> = match &self.hook.events {
            Some(events) => events.split(' ').collect(),
            None => wanted.to_vec(),
        };
        if self.hook.hook_uuid.is_none() {
            None
        } else if found.url.as_deref() != Some(self.url) {
            Some(HookFinding::WrongAddress)
        } else if found.active == Some(false) {
            Some(HookFinding::SwitchedOff)
        } else {
            (!same(&found.events, &asked)).then_some(HookFinding::WrongEvents)
        }
    }

    /// A Bitbucket without issues may not know their events, an old server not all of ours: the pushes must still come.
    async fn put_known(
        &self,
        existing: Option<&str>,
        wanted: &[&'static str],
    ) -> Result<(String, Vec<&'static str>), bitbucket::Error> {
        let fewer = basic_events(self.link.kind, wanted);
        let refused = match self.put(existing, wanted).await {
            Err(error) if error.kind() == Kind::Invalid && fewer.len() < wanted.len() => error,
            result => return Ok((result?, wanted.to_vec())),
        };
        match self.put(existing, &fewer).await {
            // What the richest choice met says most.
            Err(error) if error.kind() == Kind::Invalid => Err(refused),
            result => Ok((result?, fewer)),
        }
    }

    /// Bitbucket does not tell the scopes. What everything needs comes first; then more, and a refusal (bitbucket.md §6)
    /// changes nothing.
    async fn put_carefully(
        &self,
        existing: Option<&str>,
        safe: &[&'static str],
    ) -> Result<(String, Vec<&'static str>), bitbucket::Error> {
        let uuid = self.put(existing, safe).await?;
        let kind = self.link.kind;
        for tracker in [true, false] {
            let more = possible_events(kind, tracker && self.tracker());
            match self.put(Some(&uuid), &more).await {
                Ok(uuid) => return Ok((uuid, more)),
                Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Forbidden) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((uuid, safe.to_vec()))
    }
}

fn same(found: &[String], asked: &[&str]) -> bool {
    found.len() == asked.len() && found.iter().all(|event| asked.contains(&event.as_str()))
}

fn registered(uuid: String, events: &[&str], finding: Option<HookFinding>) -> Registered {
    Registered {
        uuid,
        events: events.join(" "),
        finding,
    }
}

/// The hooks that are ours, the one we remember first, then those that post to our address; and the scopes of the
/// credential, where Bitbucket tells them.
async fn our_hooks(
    host: &dyn CodeHost,
    reference: &RepoRef,
    remembered: Option<&str>,
    url: &str,
) -> Result<(Vec<cloud::Hook>, Option<Vec<String>>), bitbucket::Error> {
    let listing = host.hooks(reference, Caps::DEFAULT).await?;
    let is_ours = |hook: &cloud::Hook| {
        let known = hook.uuid.is_some() && hook.uuid.as_deref() == remembered;
        hook.uuid.is_some() && (known || hook.url.as_deref() == Some(url))
    };
    let mut ours = listing.items;
    ours.retain(is_ours);
    ours.sort_by_key(|hook| hook.uuid.as_deref() != remembered);
    Ok((ours, listing.meta.scopes))
}

async fn put(
    host: &dyn CodeHost,
    reference: &RepoRef,
    existing: Option<&str>,
    url: &str,
    events: &[&str],
    secret: &Secret,
) -> Result<String, bitbucket::Error> {
    let spec = HookSpec {
        description: DESCRIPTION,
        url,
        events,
        secret,
    };
    if let Some(uuid) = existing {
        match host.update_hook(reference, uuid, &spec).await {
            // Deleted since we looked.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(uuid.to_owned()),
        }
    }
    let made = host.create_hook(reference, &spec).await?;
    // Without its uuid it is found by its address the next time.
    Ok(made.uuid.unwrap_or_default())
}

/// Deletes our hooks of a repository at Bitbucket; one that is gone already is fine.
pub(in crate::features::links) async fn delete(
    host: &dyn CodeHost,
    url: &str,
    reference: &RepoRef,
    remembered: Option<&str>,
) -> Result<(), bitbucket::Error> {
    let ours = match our_hooks(host, reference, remembered, url).await {
        Err(error) if error.is_absent() => return Ok(()),
        ours => ours?.0,
    };
    for uuid in ours.into_iter().filter_map(|hook| hook.uuid) {
        host.delete_hook(reference, &uuid).await?;
    }
    Ok(())
}
