//! The places where tickets live.

mod bitbucket;

use std::sync::Arc;

use super::backend::{Capabilities, FormField, TicketBackend};
use super::store::Ticket;
use super::{BackendKind, TicketError};
use crate::app::App;
use crate::features::accounts::OrgId;
use crate::features::links::{self, LinkId, Repo, RepoId};

impl BackendKind {
    /// Where the tickets of a link live.
    pub(super) const fn of_link(_: &links::Link) -> Self {
        Self::BitbucketIssues
    }

    /// What its trackers let us do; a form is shown before a repository is chosen.
    pub(super) const fn capabilities(self) -> Capabilities {
        match self {
            Self::BitbucketIssues => bitbucket::CAPABILITIES,
        }
    }

    /// The form that makes a ticket.
    pub(super) const fn form_fields(self) -> &'static [FormField] {
        match self {
            Self::BitbucketIssues => bitbucket::FORM,
        }
    }
}

/// The tracker of a repository.
pub(super) struct Opened {
    /// What it can do.
    pub(super) backend: Arc<dyn TicketBackend>,
    /// The repository's row, when it was added here.
    pub(super) repo: Option<RepoId>,
}

/// The tracker of a repository (`workspace/slug`) through a link.
pub(super) async fn open(
    app: &App,
    org: OrgId,
    link: LinkId,
    full_name: &str,
) -> Result<Opened, TicketError> {
    let name = full_name.to_owned();
    let known = app
        .db
        .read(move |conn| Ok::<_, TicketError>(links::find_repo_by_name(conn, org, &name)?))
        .await?;
    open_known(app, org, link, full_name, known).await
}

/// The tracker of a ticket: of its repository, whatever that is called by now.
pub(super) async fn open_for(
    app: &App,
    ticket: &Ticket,
) -> Result<Arc<dyn TicketBackend>, TicketError> {
    let org = ticket.org_id;
    let Some(id) = ticket.repo_id else {
        return Ok(open(app, org, ticket.link_id, &ticket.repo_name)
            .await?
            .backend);
    };
    let known = app
        .db
        .read(move |conn| Ok::<_, TicketError>(links::find_repo(conn, org, id)?))
        .await?;
    let name = known
        .as_ref()
        .map_or(ticket.repo_name.as_str(), |repo| repo.name.as_str())
        .to_owned();
    Ok(open_known(app, org, ticket.link_id, &name, known)
        .await?
        .backend)
}

async fn open_known(
    app: &App,
    org: OrgId,
    link: LinkId,
    full_name: &str,
    known: Option<Repo>,
) -> Result<Opened, TicketError> {
    let connected = links::client_for_link(app, org, link)
        .await?
        .for_feature("tickets");
    connected.link.require("tickets")?;
    let known = known.filter(|repo| repo.link_id == Some(link));
    let backend = Arc::new(bitbucket::BitbucketIssues::new(
        app,
        &connected,
        full_name,
        known.as_ref(),
    )?);
    Ok(Opened {
        backend,
        repo: known.map(|repo| repo.id),
    })
}
