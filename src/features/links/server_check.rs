//! Testing a connection to Data Center: is it Bitbucket, who am I, what do I see, what may I do.

use super::CredentialKind;
use super::check::{Asked, Report, step};
use super::features::diff;
use crate::bitbucket::DataCenter;
use crate::bitbucket::datacenter::Permission;
use crate::kit::clock::Micros;

const KIND: CredentialKind = CredentialKind::DataCenter;

/// Tests a token at its server. The token is shown to nothing that is not Bitbucket.
pub(super) async fn run(server: &DataCenter, now: Micros) -> Report {
    let mut report = Report {
        at: now,
        ..Report::default()
    };
    if is_bitbucket(server, &mut report).await && identity(server, &mut report).await {
        report.ok = permissions(server, &mut report).await;
    }
    report.features = diff(KIND, report.scopes.as_deref());
    report
}

async fn is_bitbucket(server: &DataCenter, report: &mut Report) -> bool {
    match server.properties().await {
        Ok((found, meta)) => {
            report.take(&meta);
            let version = found.version.unwrap_or_default();
            report.steps.push(step(
                "Server",
                "ok",
                format!("Bitbucket Data Center {version} is there."),
            ));
            report.workspace = Some(server.server());
            report.workspace_uuid = Some(server.base().to_string());
            true
        }
        Err(error) => {
            report.failed(KIND, Asked::Server, "Server", "failed", &error);
            false
        }
    }
}

async fn identity(server: &DataCenter, report: &mut Report) -> bool {
    match server.identity().await {
        Ok(found) => {
            report.take(&found.meta);
            let name = found
                .name
                .unwrap_or_else(|| "an account without a name".to_owned());
            let text = format!("It acts as {name}.");
            report.steps.push(step("Account", "ok", text));
            report.account = Some(name);
            report.repositories = Some(found.repositories);
            report.more_repositories = found.more;
            let more = if found.more { " and more" } else { "" };
            let text = format!("{}{more} can be seen.", found.repositories);
            let mut seen = step("Repositories", "ok", text);
            if found.repositories == 0 {
                seen.state = "warn".to_owned();
                seen.advice = Some(
                    "Give the account of the token access to a repository, or make a token of the project."
                        .to_owned(),
                );
            }
            report.steps.push(seen);
            true
        }
        Err(error) => {
            report.failed(KIND, Asked::Repositories, "Account", "failed", &error);
            false
        }
    }
}

/// Data Center does not tell what a token may do; which repositories it has a permission on does.
async fn permissions(server: &DataCenter, report: &mut Report) -> bool {
    let mut granted = Vec::new();
    for permission in Permission::ALL {
        match server.has_any(permission).await {
            Ok(true) => granted.push(permission.as_str().to_owned()),
            Ok(false) => {}
            Err(error) => {
                report.failed(KIND, Asked::Repositories, "Permissions", "failed", &error);
                return false;
            }
        }
    }
    let (state, text) = match granted.last() {
        Some(most) => ("ok", format!("{most} on at least one repository.")),
        None => ("warn", "None on any repository.".to_owned()),
    };
    let mut found = step("Permissions", state, text);
    if !granted
        .iter()
        .any(|name| name == Permission::Admin.as_str())
    {
        found.state = "warn".to_owned();
        found.advice = Some(
            "Make a token with repository admin, of an account that is an admin of the repositories: only admins may register webhooks."
                .to_owned(),
        );
    }
    report.steps.push(found);
    report.scopes = Some(granted);
    true
}
