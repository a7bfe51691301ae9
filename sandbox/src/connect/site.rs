//! The pages a person sees while installing an app: `/site/addons/…`.

use std::sync::Arc;

use super::descriptor;
use super::install::{self, InstallRequest, Installed};
use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::pages::html::{escape, page};
use crate::reply::{Outcome, Reply};

pub(crate) async fn serve(core: Arc<Core>, call: Arc<Call>) -> Outcome {
    if call.method == "POST" && !crate::pages::same_origin(&call) {
        return Err(problem(
            403,
            &["this form was sent from another site".to_owned()],
        ));
    }
    match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/site/addons/authorize") => authorize(&core, &call).await,
        ("POST", "/site/addons/authorize") => grant(&core, &call).await,
        ("POST", "/site/addons/uninstall") => uninstall(&core, &call).await,
        _ => {
            core.violation(
                Rule::UnknownRoute,
                &call.method,
                &call.target(),
                "not served",
            );
            Err(problem(404, &["there is no such page".to_owned()]))
        }
    }
}

/// The parameters of an install link, from the query or from the form.
struct Link {
    request: InstallRequest,
    redirect_uri: Option<String>,
}

fn link(pairs: Vec<(String, String)>) -> Link {
    let get = |name: &str| {
        let found = pairs.iter().rev().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
    };
    Link {
        request: InstallRequest {
            workspace: get("workspace").unwrap_or_default(),
            descriptor_uri: get("descriptor_uri"),
            addon_key: get("addon_key"),
            ..InstallRequest::default()
        },
        redirect_uri: get("redirect_uri"),
    }
}

fn wrong_link(core: &Core, call: &Call, detail: &str) -> Reply {
    core.violation(Rule::InstallLink, &call.method, &call.target(), detail);
    problem(400, &[detail.to_owned()])
}

async fn checked(core: &Core, call: &Call, link: &Link) -> Result<descriptor::Descriptor, Reply> {
    let uri = match (&link.request.descriptor_uri, &link.request.addon_key) {
        (Some(uri), None) => uri.clone(),
        (None, Some(key)) => core
            .store
            .read(|s| {
                s.apps
                    .iter()
                    .find(|a| a.key == *key)
                    .map(|a| a.descriptor_uri.clone())
            })
            .ok_or_else(|| wrong_link(core, call, "no app is registered under this addon_key"))?,
        _ => {
            let detail = "exactly one of descriptor_uri and addon_key is needed";
            return Err(wrong_link(core, call, detail));
        }
    };
    let descriptor = descriptor::fetch(core, &uri).await.map_err(|wrong| {
        core.violation(
            Rule::Descriptor,
            &call.method,
            &call.target(),
            wrong.join("; "),
        );
        problem(400, &wrong)
    })?;
    if let Some(back) = &link.redirect_uri
        && *back != descriptor.base_url
        && !back.starts_with(&format!("{}/", descriptor.base_url))
    {
        return Err(wrong_link(
            core,
            call,
            "redirect_uri must start with the app's baseUrl",
        ));
    }
    Ok(descriptor)
}

async fn authorize(core: &Core, call: &Call) -> Outcome {
    let link = link(call.params());
    let descriptor = checked(core, call, &link).await?;
    let choices = core.store.read(|state| {
        let options = state.workspaces.iter().map(|w| {
            format!(
                r#"<option value="{}">{}</option>"#,
                escape(&w.slug),
                escape(&w.name)
            )
        });
        options.collect::<String>()
    });
    let scopes: String = descriptor
        .scopes
        .iter()
        .map(|s| format!("<li><code>{}</code></li>", escape(s)))
        .collect();
    let hidden: String = [
        ("descriptor_uri", &link.request.descriptor_uri),
        ("addon_key", &link.request.addon_key),
        ("redirect_uri", &link.redirect_uri),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.as_ref().map(|v| (name, v)))
    .map(|(name, v)| {
        format!(
            r#"<input type="hidden" name="{name}" value="{}">"#,
            escape(v)
        )
    })
    .collect();
    let form = if choices.is_empty() {
        "<p>There is no workspace to install it on.</p>".to_owned()
    } else {
        format!(
            r#"<form class="card" method="post" action="/site/addons/authorize">{hidden}
<label for="workspace">Workspace</label>
<select id="workspace" name="workspace">{choices}</select>
<button type="submit">Grant access</button></form>"#
        )
    };
    let name = escape(&descriptor.name);
    Ok(Reply::html(
        200,
        page(
            &format!("Install {}", descriptor.name),
            &format!(
                "<h1>{name} asks for access</h1><p>{}</p><h2>It may use</h2><ul>{scopes}</ul>{form}",
                escape(&descriptor.description)
            ),
        ),
    ))
}

async fn grant(core: &Core, call: &Call) -> Outcome {
    let link = link(call.form());
    checked(core, call, &link).await?;
    let installed = install::install(core, &link.request)
        .await
        .map_err(|refused| problem(400, &refused.0))?;
    if !installed.ok() {
        return Ok(refused_by_app(&installed));
    }
    let target = match &link.redirect_uri {
        Some(back) => back_to(back, &installed.client_key),
        None => installed.redirect.clone(),
    };
    Ok(Reply::redirect(
        302,
        &target.unwrap_or_else(|| "/".to_owned()),
    ))
}

fn back_to(redirect_uri: &str, client_key: &str) -> Option<String> {
    let mut url = url::Url::parse(redirect_uri).ok()?;
    url.query_pairs_mut().append_pair("client_key", client_key);
    Some(url.into())
}

fn refused_by_app(installed: &Installed) -> Reply {
    let answer = match installed.status {
        0 => "did not answer".to_owned(),
        status => format!("answered {status}"),
    };
    Reply::html(
        502,
        page(
            "Install failed",
            &format!(
                "<h1>The install failed</h1><p>The app {answer}. Nothing was kept.</p><pre>{}</pre>",
                escape(&installed.body)
            ),
        ),
    )
}

async fn uninstall(core: &Core, call: &Call) -> Outcome {
    let key = call.field("client_key").unwrap_or_default();
    match install::uninstall(core, &key).await {
        Some(_) => Ok(Reply::redirect(303, "/")),
        None => Err(problem(
            404,
            &["no live install has this client key".to_owned()],
        )),
    }
}

fn problem(status: u16, lines: &[String]) -> Reply {
    let lines: String = lines
        .iter()
        .map(|l| format!("<li>{}</li>", escape(l)))
        .collect();
    Reply::html(
        status,
        page(
            "Not possible",
            &format!("<h1>This is not possible</h1><ul>{lines}</ul>"),
        ),
    )
}
