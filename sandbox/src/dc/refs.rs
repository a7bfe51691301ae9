//! Branches and tags.

use super::{Dc, error, wire};
use crate::git::refs::{self, Ref};
use crate::journal::Rule;
use crate::model::Permission;
use crate::reply::{Outcome, Reply};

async fn below(dc: &Dc, prefix: &str) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let dir = dc.git_dir(&repository);
    let order = dc.param("orderBy");
    if !["", "ALPHABETICAL", "MODIFICATION"].contains(&order.to_ascii_uppercase().as_str()) {
        return Err(dc.wrong(
            Rule::BadQuery,
            400,
            "orderBy is ALPHABETICAL or MODIFICATION",
        ));
    }
    let filter = dc.param("filterText").to_lowercase();
    let default = refs::main_branch(&dir).await;
    let mut all: Vec<Ref> = refs::all(&dir).await?.into_values().collect();
    all.retain(|r| r.full.starts_with(prefix) && r.name().to_lowercase().contains(&filter));
    dc.list(&all, |r| wire::reference(r, default.as_deref()))
}

pub(super) async fn branches(dc: Dc) -> Outcome {
    below(&dc, "refs/heads/").await
}

pub(super) async fn tags(dc: Dc) -> Outcome {
    below(&dc, "refs/tags/").await
}

pub(super) async fn tag(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let full = format!("refs/tags/{}", dc.arg("name"));
    let all = refs::all(&dc.git_dir(&repository)).await?;
    let missing = || {
        let message = format!("Tag '{}' does not exist.", dc.arg("name"));
        error(404, "repository.NoSuchTagException", &message)
    };
    let found = all.get(&full).ok_or_else(missing)?;
    Ok(Reply::json(200, &wire::reference(found, None)))
}

pub(super) async fn default_branch(dc: Dc) -> Outcome {
    let repository = dc.repository(Permission::Read)?;
    let dir = dc.git_dir(&repository);
    let name = refs::main_branch(&dir).await;
    let all = refs::all(&dir).await?;
    let found = name
        .as_ref()
        .and_then(|n| all.get(&format!("refs/heads/{n}")));
    match found {
        Some(found) => Ok(Reply::json(200, &wire::reference(found, name.as_deref()))),
        None => Err(error(
            404,
            "repository.NoDefaultBranchException",
            "The repository is empty and has no default branch.",
        )),
    }
}
