//! Who am I, which workspaces and repositories do I see, who else is there (bitbucket.md §3.2.13,
//! §3.2.14). These replace the lists over all workspaces.

use serde_json::{Value, json};

use super::bbql::{self, Filter, Operator};
use super::{Cx, paging};
use crate::core::Core;
use crate::journal::Rule;
use crate::model::{Permission, Reach, Repository, Role, State, User, Workspace};
use crate::reply::{Outcome, Reply};
use crate::wire;

/// Most addresses that one filter may name (bitbucket.md §3.4).
const ADDRESSES: usize = 90;

pub(super) async fn me(cx: Cx) -> Outcome {
    let account = cx.actor();
    let shown = cx.core.store.read(|s| wire::account(&cx.core, s, &account));
    Ok(Reply::json(200, &shown))
}

pub(super) async fn emails(cx: Cx) -> Outcome {
    let own = cx
        .core
        .store
        .read(|s| s.user(&cx.actor()).and_then(|u| u.email.clone()));
    let items = own.iter().map(
        |email| json!({"type": "email", "email": email, "is_primary": true, "is_confirmed": true}),
    );
    paging::answer(&cx, items.collect(), 10)
}

pub(super) async fn someone(cx: Cx) -> Outcome {
    let name = cx.arg("user");
    let found = cx.core.store.read(|s| {
        let user = s.user(name)?;
        Some(wire::user(&cx.core, user))
    });
    let missing = || Reply::error(404, &format!("{name} is not a valid user"));
    Ok(Reply::json(200, &found.ok_or_else(missing)?))
}

pub(super) async fn my_workspaces(cx: Cx) -> Outcome {
    let only = match cx.call.param("administrator").as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(cx.wrong(Rule::BadQuery, 400, "administrator is true or false")),
    };
    let items = cx.core.store.read(|state| {
        let seen = state
            .workspaces
            .iter()
            .filter(|w| cx.reach().is_some_and(|r| state.sees_workspace(r, &w.uuid)));
        let shown = seen.filter_map(|w| {
            let administrator = match cx.reach() {
                Some(Reach::Person { user }) => state.role(user, &w.uuid) == Some(Role::Owner),
                _ => false,
            };
            let mut workspace = wire::workspace_stub(&cx.core, w);
            if let Some(map) = workspace.as_object_mut() {
                map.insert("type".into(), json!("workspace_base"));
                map.remove("name");
            }
            only.is_none_or(|o| o == administrator).then(|| {
                json!({
                    "type": "workspace_access", "administrator": administrator,
                    // Filters and sorting name the slug alone.
                    "slug": w.slug, "workspace": workspace,
                })
            })
        });
        shown.collect::<Vec<_>>()
    });
    let show = |item: &Value| {
        let mut item = item.clone();
        if let Some(map) = item.as_object_mut() {
            map.remove("slug");
        }
        item
    };
    paging::pick(&cx, items, 10, Value::clone, show)
}

/// The person who calls; the roles of other accounts are not told.
fn person(cx: &Cx) -> Result<String, Reply> {
    match cx.reach() {
        Some(Reach::Person { user }) => Ok(user.clone()),
        _ => {
            let detail = "This resource does not support authentication using the provided token";
            Err(cx.wrong(Rule::CredentialKind, 403, detail))
        }
    }
}

fn membership(core: &Core, state: &State, workspace: &Workspace, user: &User) -> Value {
    let role = state.role(&user.uuid, &workspace.uuid).map(Role::name);
    let href = core.api(&format!(
        "/workspaces/{}/members/{}",
        workspace.slug, user.uuid
    ));
    json!({
        "type": "workspace_membership", "permission": role, "user": wire::user(core, user),
        "workspace": wire::workspace_stub(core, workspace), "links": {"self": {"href": href}},
    })
}

pub(super) async fn my_role(cx: Cx) -> Outcome {
    let (user, workspace) = (person(&cx)?, cx.workspace()?);
    let shown = cx.core.store.read(|state| {
        let user = state.user(&user)?;
        Some(membership(&cx.core, state, &workspace, user))
    });
    Ok(Reply::json(200, &json!(shown)))
}

fn access(core: &Core, state: &State, user: &User, repository: &Repository) -> Value {
    let permission = state.permission(&user.uuid, &repository.workspace);
    json!({
        "type": "repository_permission", "permission": permission.map(Permission::name),
        "user": wire::user(core, user),
        "repository": wire::repository_stub(core, &state.full_name(repository), repository),
    })
}

pub(super) async fn my_repositories(cx: Cx) -> Outcome {
    let (user, workspace) = (person(&cx)?, cx.workspace()?);
    cx.core.store.read(|state| {
        let Some(user) = state.user(&user) else {
            return paging::answer(&cx, Vec::new(), 10);
        };
        let all = state.repositories.iter();
        let own = all.filter(|r| r.workspace == workspace.uuid).collect();
        let show = |r: &&Repository| access(&cx.core, state, user, r);
        paging::pick(&cx, own, 10, show, show)
    })
}

/// People of a workspace: the owner first, then the members.
fn people<'a>(state: &'a State, workspace: &Workspace) -> Vec<&'a User> {
    let members = state
        .members
        .iter()
        .filter(|m| m.workspace == workspace.uuid);
    let mut uuids = vec![&workspace.owner];
    uuids.extend(members.map(|m| &m.user).filter(|u| **u != workspace.owner));
    uuids
        .into_iter()
        .filter_map(|uuid| state.user(uuid))
        .collect()
}

/// `members`. Administrators and integrations may filter by e-mail, and are shown the addresses
/// they filtered by when they ask for that field.
pub(super) async fn members(cx: Cx) -> Outcome {
    let workspace = cx.workspace()?;
    let filter = cx.call.param("q").and_then(|q| bbql::parse(&q).ok());
    let named = filter.as_ref().map_or(0, addresses);
    if named > ADDRESSES {
        return Err(cx.wrong(Rule::BadQuery, 400, "at most 90 addresses at a time"));
    }
    if named > 0 {
        cx.need_owner(&workspace.uuid)?;
    }
    let asked = cx.call.param("fields").unwrap_or_default();
    let shown = named > 0 && asked.contains("user.email");
    cx.core.store.read(|state| {
        let with = |user: &&User, email: bool| {
            let mut value = membership(&cx.core, state, &workspace, user);
            let shown = value.get_mut("user").and_then(Value::as_object_mut);
            if let (true, Some(map)) = (email, shown) {
                map.insert("email".into(), json!(user.email));
            }
            value
        };
        let all = people(state, &workspace);
        paging::pick(&cx, all, 10, |u| with(u, true), |u| with(u, shown))
    })
}

/// How many addresses a filter names.
fn addresses(filter: &Filter) -> usize {
    match filter {
        Filter::And(all) | Filter::Or(all) => all.iter().map(addresses).sum(),
        Filter::Test {
            path,
            operator,
            value,
        } if path == "user.email" => match (operator, value) {
            (Operator::In | Operator::NotIn, Value::Array(list)) => list.len(),
            _ => 1,
        },
        Filter::Test { .. } => 0,
    }
}

pub(super) async fn member(cx: Cx) -> Outcome {
    let workspace = cx.workspace()?;
    let name = cx.arg("user");
    let found = cx.core.store.read(|state| {
        let user = people(state, &workspace)
            .into_iter()
            .find(|u| u.uuid == name || u.account_id == name)?;
        Some(membership(&cx.core, state, &workspace, user))
    });
    let missing = || Reply::error(404, &format!("{name} is not a member"));
    Ok(Reply::json(200, &found.ok_or_else(missing)?))
}

pub(super) async fn roles(cx: Cx) -> Outcome {
    let workspace = cx.workspace()?;
    let items = cx.core.store.read(|state| {
        let all = people(state, &workspace).into_iter();
        all.map(|u| membership(&cx.core, state, &workspace, u))
            .collect()
    });
    paging::answer(&cx, items, 10)
}

/// Permissions of everybody on all repositories, or on one; for administrators.
pub(super) async fn permissions(cx: Cx) -> Outcome {
    let workspace = cx.workspace()?;
    let one = match cx.arg("repo").is_empty() {
        true => None,
        false => Some(cx.repository()?.uuid),
    };
    cx.need_owner(&workspace.uuid)?;
    cx.core.store.read(|state| {
        let people = people(state, &workspace);
        let pairs = state
            .repositories
            .iter()
            .filter(|r| r.workspace == workspace.uuid)
            .filter(|r| one.as_ref().is_none_or(|uuid| *uuid == r.uuid))
            .flat_map(|r| people.iter().map(move |u| (*u, r)))
            .collect();
        let show = |(u, r): &(&User, &Repository)| access(&cx.core, state, u, r);
        paging::pick(&cx, pairs, 10, show, show)
    })
}
