//! `/2.0/addon`: an app about itself, by JWT only (bitbucket.md §1.4).

use serde_json::Value;

use super::Cx;
use super::body::Body;
use crate::connect::descriptor::{self, Descriptor};
use crate::journal::Rule;
use crate::model::Install;
use crate::reply::{Outcome, Reply};

fn own(cx: &Cx) -> Result<Install, Reply> {
    let key = cx.caller.as_ref().and_then(|c| c.client_key.as_deref());
    key.and_then(|key| cx.core.store.read(|s| s.install(key).cloned()))
        .ok_or_else(|| {
            let detail = "This API is only accessible with the following authentication types: jwt";
            cx.wrong(Rule::Scope, 403, detail)
        })
}

/// `{}` reads the known descriptor again, `{"descriptor": {…}}` brings one,
/// `{"descriptor_url": …}` moves it. Scopes may not grow, nor shrink to none.
pub(super) async fn update(cx: Cx) -> Outcome {
    let install = own(&cx)?;
    let body = Body::read(&cx)?;
    let (inline, moved) = (
        body.get("descriptor").cloned(),
        body.get("descriptor_url").cloned(),
    );
    body.finish(&cx, &["descriptor", "descriptor_url"])?;
    let uri = match moved.as_ref().and_then(Value::as_str) {
        Some(uri) => uri.to_owned(),
        None => install.descriptor_uri.clone(),
    };
    let judged = match inline {
        Some(Value::Object(map)) => descriptor::judge(&map, None),
        Some(_) => Err(vec!["descriptor must be an object".to_owned()]),
        None => descriptor::fetch(&cx.core, &uri).await,
    };
    let new = judged.map_err(|wrong| cx.wrong(Rule::Descriptor, 400, &wrong.join("; ")))?;
    check(&install, &new).map_err(|detail| cx.wrong(Rule::Descriptor, 400, detail))?;
    cx.core.store.write(|state| {
        if let Some(stored) = state.install_mut(&install.client_key) {
            stored.descriptor_uri = uri;
            stored.base_url = new.base_url;
            stored.installed_path = new.installed;
            stored.uninstalled_path = new.uninstalled;
            stored.post_install_path = new.post_install;
            stored.scopes = new.scopes;
        }
    })?;
    Ok(Reply::empty(204))
}

fn check(install: &Install, new: &Descriptor) -> Result<(), &'static str> {
    if new.key != install.app_key {
        return Err("the key of an app cannot change");
    }
    if new.scopes.is_empty() {
        return Err("scopes cannot shrink to none");
    }
    if !new.scopes.iter().all(|scope| install.allows(scope)) {
        return Err("scopes cannot grow");
    }
    Ok(())
}

/// Uninstalls the calling app. It knows that it does, so `uninstalled` is not called.
pub(super) async fn delete(cx: Cx) -> Outcome {
    let install = own(&cx)?;
    cx.core.store.write(|state| {
        if let Some(stored) = state.install_mut(&install.client_key) {
            stored.live = false;
        }
    })?;
    Ok(Reply::empty(204))
}
