//! How a Connect installation proves itself: by signing each call, or by access tokens that it is given for its
//! signature (bitbucket.md §1.6). Tokens survive redirects, a signature is good for one address.

use serde_json::json;

use super::client::signature;
use super::credential::{Access, Stored};
use super::{CredentialKind, LinkError, LinkId, LinkStatus, hooks, store};
use crate::app::App;
use crate::bitbucket::oauth::{Grant, GrantError};
use crate::features::accounts::OrgId;
use crate::features::{audit, installs};

/// Changes how an installation's link proves itself; the link, its repositories and hooks stay. Access tokens are used
/// only when Bitbucket has just given one.
///
/// # Errors
/// [`LinkError::NotFound`] for another tenant's, [`LinkError::Off`] for one that is no installation or not in use,
/// [`LinkError::Invalid`] when Bitbucket gives no token.
pub async fn sign_by(
    app: &App,
    org: OrgId,
    id: LinkId,
    kind: CredentialKind,
    actor: &str,
) -> Result<(), LinkError> {
    let (link, install) = app
        .db
        .read(move |conn| {
            let link = store::find_link(conn, org, id)?.ok_or(LinkError::NotFound)?;
            let install = match link.installation_id {
                Some(install) => installs::find_sealed(conn, install)?,
                None => None,
            };
            Ok::<_, LinkError>((link, install))
        })
        .await?;
    let off = || LinkError::Off(format!("{} is not an installed app in use.", link.title()));
    let in_use = matches!(link.status, LinkStatus::Active | LinkStatus::Broken);
    if !in_use || !link.kind.is_connect() || !kind.is_connect() {
        return Err(off());
    }
    let install = install
        .filter(|install| install.installation.principal_uuid == link.workspace_uuid)
        .ok_or_else(off)?;
    let given = if kind == CredentialKind::ConnectBearer {
        let signature = signature(app, Some(&install))?.ok_or_else(off)?;
        let granted = app.bitbucket.exchange(&Grant::Connect(&signature)).await;
        let granted = granted.map_err(|error| {
            match error {
            GrantError::Refused { .. } => LinkError::Invalid(
                "Bitbucket gives no access token for the signature of the app. Nothing was changed."
                    .to_owned(),
            ),
            GrantError::Call(error) => LinkError::Upstream(error),
        }
        })?;
        let access = Some(Access::of(&granted, app.clock.now()));
        let until = access.as_ref().map(|access| access.until);
        let sealed = Stored::ConnectBearer { access }.seal(&app.sealer, id)?;
        Some((sealed, until))
    } else {
        None
    };
    let (actor, now) = (actor.to_owned(), app.clock.now());
    app.db
        .write(move |tx| {
            let known = store::find_link(tx, org, id)?.ok_or(LinkError::NotFound)?;
            if !known.kind.is_connect() {
                return Err(LinkError::NotFound);
            }
            match &given {
                Some((sealed, until)) => {
                    store::put_credential(tx, org, id, sealed, *until, None, now)?;
                }
                None => store::forget_credential(tx, org, id)?,
            }
            store::set_link_kind(tx, org, id, kind, now)?;
            store::mend_link(tx, org, id, now)?;
            let (data, target) = (json!({ "kind": kind }), id.to_string());
            audit::record(tx, Some(org), &actor, "links.sign_by", &target, &data, now)?;
            Ok::<_, LinkError>(())
        })
        .await?;
    hooks::forget_cached(app);
    Ok(())
}
