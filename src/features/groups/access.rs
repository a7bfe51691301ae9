//! The group that a path names, as a permission.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use super::store::{self, Group};
use crate::app::App;
use crate::error::AppError;
use crate::features::accounts::{
    AnyAccess, Caller, Org, OrgAccess, Project, Requirement, Scope, ScopeSet,
};

/// A caller with one of the scopes of `R` in the organization of the group that the path names: `{issue}`, a
/// decimal id or a qualified short id, below `{org}` or alone (sentry.md §16).
#[derive(Debug, Clone)]
pub struct GroupAccess<R> {
    /// The group's organization.
    pub org: Org,
    /// The group.
    pub group: Group,
    /// The group's project.
    pub project: Project,
    /// Who asks.
    pub caller: Caller,
    /// What the caller may do there.
    pub scopes: ScopeSet,
    _requirement: PhantomData<R>,
}

impl<R> GroupAccess<R> {
    /// True when the caller may also do what `scope` allows.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }
}

impl<R: Requirement> FromRequest for GroupAccess<R> {
    type Error = AppError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, AppError>>>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let (caller, mut orgs) = if req.match_info().get("org").is_some() {
                let access = OrgAccess::<R>::extract(&req).await?;
                (access.caller, vec![(access.org, access.scopes)])
            } else {
                let access = AnyAccess::<R>::extract(&req).await?;
                (
                    access.caller,
                    access
                        .granted
                        .into_iter()
                        .map(|granted| (granted.org, granted.scopes))
                        .collect(),
                )
            };
            let app = req.app_data::<web::Data<App>>().ok_or_else(|| {
                AppError::internal(anyhow::anyhow!("the application is not attached"))
            })?;
            let name = req.match_info().get("issue").unwrap_or_default().to_owned();
            if name.contains('\0') {
                return Err(AppError::not_found());
            }
            let ids: Vec<_> = orgs.iter().map(|(org, _)| org.id).collect();
            let (group, project) = app
                .db
                .read(move |conn| {
                    store::find_by_name(conn, &ids, &name)?.ok_or_else(AppError::not_found)
                })
                .await?;
            let at = orgs
                .iter()
                .position(|(org, _)| org.id == group.org_id)
                .ok_or_else(AppError::not_found)?;
            let (org, scopes) = orgs.swap_remove(at);
            Ok(Self {
                org,
                group,
                project,
                caller,
                scopes,
                _requirement: PhantomData,
            })
        })
    }
}
