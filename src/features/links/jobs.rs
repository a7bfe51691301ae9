//! What is done at Bitbucket after a link or a repository has changed here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::{self, client_for_any_link, remember};
use super::{LinkError, LinkId, LinkStatus, RepoId, RepoStatus, hooks, order_key, store, sync};
use crate::app::App;
use crate::error::AppError;
use crate::features::accounts::OrgId;
use crate::kit::jobs::{Attempt, Job, Queue, Verdict, enqueue, is_under_way};

/// A hook that nobody has looked at for so long is registered again: people delete hooks by mistake.
const CHECK_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// Hooks looked at in one round.
const CHECK_AT_ONCE: i64 = 200;

/// Adopts repositories that releases know and renews those of the link.
#[derive(Debug, Serialize, Deserialize)]
pub struct SyncRepos {
    /// Tenant.
    pub org: OrgId,
    /// The link that was made or renewed.
    pub link: LinkId,
}

impl Job for SyncRepos {
    type State = App;
    const KIND: &'static str = "links.sync_repos";
    const QUEUE: Queue = Queue::Interactive;

    fn dedupe_key(&self) -> Option<String> {
        Some(self.link.to_string())
    }

    fn order_key(&self) -> Option<String> {
        Some(order_key(self.link))
    }

    fn org_id(&self) -> Option<i64> {
        Some(self.org.0)
    }

    async fn run(self, app: App, attempt: Attempt) -> anyhow::Result<Verdict> {
        match sync::sync(&app, self.org, self.link).await {
            Ok(_) => Ok(Verdict::Done),
            Err(error) => error.verdict(attempt.number),
        }
    }
}

/// Registers or renews the hook of a repository.
#[derive(Debug, Serialize, Deserialize)]
pub struct EnsureHook {
    /// Tenant.
    pub org: OrgId,
    /// The repository.
    pub repo: RepoId,
    /// Its link.
    pub link: LinkId,
}

impl EnsureHook {
    /// The key by which a waiting job of a repository is found.
    #[must_use]
    pub fn key(repo: RepoId) -> String {
        repo.to_string()
    }
}

impl Job for EnsureHook {
    type State = App;
    const KIND: &'static str = "links.ensure_hook";
    const QUEUE: Queue = Queue::Interactive;

    fn dedupe_key(&self) -> Option<String> {
        Some(Self::key(self.repo))
    }

    fn order_key(&self) -> Option<String> {
        Some(order_key(self.link))
    }

    fn org_id(&self) -> Option<i64> {
        Some(self.org.0)
    }

    async fn run(self, app: App, attempt: Attempt) -> anyhow::Result<Verdict> {
        match hooks::ensure_hook(&app, self.org, self.repo).await {
            Ok(()) => Ok(Verdict::Done),
            Err(error) => {
                if attempt.last && error.is_temporary() && !error.is_limited() {
                    hooks::give_up(&app, self.org, self.repo, &error.to_string()).await?;
                }
                error.verdict(attempt.number)
            }
        }
    }
}

/// Deletes the hook of a repository that is not used any more, and forgets its secret.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveHook {
    /// Tenant.
    pub org: OrgId,
    /// The repository.
    pub repo: RepoId,
    /// The link that it had.
    pub link: LinkId,
}

impl Job for RemoveHook {
    type State = App;
    const KIND: &'static str = "links.remove_hook";

    fn dedupe_key(&self) -> Option<String> {
        Some(self.repo.to_string())
    }

    fn order_key(&self) -> Option<String> {
        Some(order_key(self.link))
    }

    fn org_id(&self) -> Option<i64> {
        Some(self.org.0)
    }

    async fn run(self, app: App, attempt: Attempt) -> anyhow::Result<Verdict> {
        match self.remove(&app).await {
            Ok(()) => Ok(Verdict::Done),
            // Nobody can reach it any more: then it cannot reach us either, its repository is unknown here.
            Err(LinkError::Off(reason)) => {
                self.forget(&app).await?;
                Ok(Verdict::Drop(reason))
            }
            Err(error) => error.verdict(attempt.number),
        }
    }
}

impl RemoveHook {
    async fn remove(&self, app: &App) -> Result<(), LinkError> {
        let (org, id) = (self.org, self.repo);
        let (repo, hook) = app
            .db
            .read(move |conn| {
                let repo = store::find_repo(conn, org, id)?.ok_or(LinkError::NotFound)?;
                Ok::<_, LinkError>((repo, store::find_hook(conn, org, id)?))
            })
            .await?;
        // Taken back into use meanwhile.
        let (RepoStatus::Removed | RepoStatus::Hidden, Some(hook)) = (repo.status, hook) else {
            return Ok(());
        };
        let connected = client_for_any_link(app, org, self.link)
            .await?
            .for_feature("hooks");
        let reference = client::reference(&connected.link, &repo)?;
        let deleted = hooks::delete(
            &*connected.host,
            &hooks::delivery_url(app, &connected.link),
            &reference,
            hook.hook_uuid.as_deref(),
        )
        .await;
        remember(app, &connected.link, &deleted).await?;
        deleted?;
        Ok(self.forget(app).await?)
    }

    /// Forgets the hook, unless the repository was taken back into use.
    async fn forget(&self, app: &App) -> Result<(), AppError> {
        let (org, id) = (self.org, self.repo);
        app.db
            .write(move |tx| {
                let unused = store::hold_repo(tx, org, id)?.is_none_or(|repo| {
                    matches!(repo.status, RepoStatus::Removed | RepoStatus::Hidden)
                });
                if unused {
                    store::forget_hook(tx, org, id)?;
                }
                Ok(())
            })
            .await
    }
}

/// Forgets the credential of a link that was disconnected, once its hooks are removed.
#[derive(Debug, Serialize, Deserialize)]
pub struct ForgetCredential {
    /// Tenant.
    pub org: OrgId,
    /// The link that was disconnected.
    pub link: LinkId,
}

impl Job for ForgetCredential {
    type State = App;
    const KIND: &'static str = "links.forget_credential";

    fn dedupe_key(&self) -> Option<String> {
        Some(self.link.to_string())
    }

    fn order_key(&self) -> Option<String> {
        Some(order_key(self.link))
    }

    fn org_id(&self) -> Option<i64> {
        Some(self.org.0)
    }

    async fn run(self, app: App, attempt: Attempt) -> anyhow::Result<Verdict> {
        let (org, id) = (self.org, self.link);
        let waits = app
            .db
            .write(move |tx| {
                let removed = store::find_any_link(tx, org, id)?
                    .is_some_and(|link| link.status == LinkStatus::Removed);
                let hooks = store::count_hooks_of_link(tx, org, id)?;
                if removed && (hooks == 0 || attempt.last) {
                    store::forget_credential(tx, org, id)?;
                }
                Ok::<_, AppError>(removed && hooks > 0)
            })
            .await?;
        Ok(if waits && !attempt.last {
            Verdict::Retry {
                after: None,
                reason: "hooks are still being removed".to_owned(),
            }
        } else {
            Verdict::Done
        })
    }
}

/// Renews the hooks that nobody has looked at for a day, and tries those again that failed then or whose job is gone.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CheckHooks {}

impl CheckHooks {
    /// How often it looks.
    pub const EVERY: Duration = Duration::from_secs(3_600);
}

impl Job for CheckHooks {
    type State = App;
    const KIND: &'static str = "links.check_hooks";
    const QUEUE: Queue = Queue::Backfill;

    fn dedupe_key(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(self, app: App, _: Attempt) -> anyhow::Result<Verdict> {
        let now = app.clock.now();
        let stale = app
            .db
            .read(move |conn| {
                let mut left = Vec::new();
                for hook in store::stale_hooks(conn, now.minus(CHECK_AFTER), CHECK_AT_ONCE)? {
                    // A job that waits for its next try keeps its distance.
                    if !is_under_way::<EnsureHook>(conn, &EnsureHook::key(hook.1))? {
                        left.push(hook);
                    }
                }
                Ok::<_, AppError>(left)
            })
            .await?;
        if stale.is_empty() {
            return Ok(Verdict::Done);
        }
        app.db
            .write(move |tx| {
                for (org, repo, link) in &stale {
                    enqueue(
                        tx,
                        &EnsureHook {
                            org: *org,
                            repo: *repo,
                            link: *link,
                        },
                        now,
                    )?;
                }
                Ok::<_, AppError>(())
            })
            .await?;
        Ok(Verdict::Done)
    }
}
