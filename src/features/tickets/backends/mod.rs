//! The places where tickets live.

mod bitbucket;

use std::sync::Arc;

use super::TicketError;
use super::backend::TicketBackend;
use crate::app::App;
use crate::features::accounts::OrgId;
use crate::features::links::{self, LinkId};

/// The tracker of a repository (`workspace/slug`) through a link.
pub(super) async fn open(
    app: &App,
    org: OrgId,
    link: LinkId,
    full_name: &str,
) -> Result<Arc<dyn TicketBackend>, TicketError> {
    let connected = links::client_for_link(app, org, link).await?;
    let name = full_name.to_owned();
    let known = app
        .db
        .read(move |conn| Ok::<_, TicketError>(links::find_repo_by_name(conn, org, &name)?))
        .await?;
    Ok(Arc::new(bitbucket::BitbucketIssues::new(
        app,
        &connected,
        full_name,
        known.as_ref(),
    )?))
}
