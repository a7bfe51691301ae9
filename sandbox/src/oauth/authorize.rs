//! `/site/oauth2/authorize`: the page on which a person grants or denies access.

use url::Url;

use super::consumers::Access;
use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::model::Consumer;
use crate::pages::html::{escape, page};
use crate::reply::{Outcome, Reply};

/// An authorize link that was found right.
struct Link {
    consumer: Consumer,
    /// Where the browser goes back to.
    back: Url,
    redirect_uri: Option<String>,
    state: Option<String>,
}

/// Judges the parameters. What cannot be trusted (client, address) is told the person on a page;
/// the rest goes back to the client in the address (RFC 6749 §4.1.2.1).
fn link(core: &Core, call: &Call, pairs: &[(String, String)]) -> Result<Link, Reply> {
    let get = |name: &str| {
        let found = pairs.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, v)| v.clone()).filter(|v| !v.is_empty())
    };
    let wrong = |detail: &str| {
        core.violation(Rule::AuthorizeLink, &call.method, &call.target(), detail);
    };
    let refuse = |detail: &str| {
        wrong(detail);
        problem(400, detail)
    };
    let key = get("client_id").unwrap_or_default();
    let consumer = core.store.read(|s| s.consumer(&key).cloned());
    let consumer = consumer.ok_or_else(|| refuse("Invalid client_id"))?;
    let callback = consumer
        .callback_url
        .clone()
        .ok_or_else(|| refuse("The consumer has no callback URL"))?;
    let redirect_uri = get("redirect_uri");
    let back = match &redirect_uri {
        Some(uri) if within(uri, &callback) => uri,
        Some(_) => return Err(refuse("redirect_uri must start with the callback URL")),
        None => &callback,
    };
    let back = Url::parse(back).map_err(|_| refuse("redirect_uri is not an absolute URL"))?;
    let state = get("state");
    match get("response_type").as_deref() {
        Some("code") => Ok(Link {
            consumer,
            back,
            redirect_uri,
            state,
        }),
        given => {
            wrong("response_type must be code");
            let error = match given {
                None => "invalid_request",
                Some(_) => "unsupported_response_type",
            };
            Err(send_back(back, state.as_deref(), &[("error", error)]))
        }
    }
}

/// Whether an address is the callback URL or lies below it.
fn within(uri: &str, callback: &str) -> bool {
    uri.strip_prefix(callback).is_some_and(|rest| {
        rest.is_empty() || callback.ends_with('/') || rest.starts_with(['/', '?'])
    })
}

fn send_back(mut back: Url, state: Option<&str>, pairs: &[(&str, &str)]) -> Reply {
    {
        let mut query = back.query_pairs_mut();
        query.extend_pairs(pairs);
        query.extend_pairs(state.map(|s| ("state", s)));
    }
    Reply::redirect(302, back.as_str())
}

/// The page itself.
pub(super) fn ask(core: &Core, call: &Call) -> Outcome {
    let link = link(core, call, &call.params())?;
    let people = core.store.read(|state| {
        let people = state.users.iter().filter(|u| !u.app);
        let options = people.map(|u| {
            format!(
                r#"<option value="{}">{}</option>"#,
                escape(&u.uuid),
                escape(&u.display_name)
            )
        });
        options.collect::<String>()
    });
    let scopes: String = link
        .consumer
        .scopes
        .iter()
        .map(|s| format!("<li><code>{}</code></li>", escape(s)))
        .collect();
    let hidden: String = [
        ("client_id", Some(&link.consumer.key)),
        ("redirect_uri", link.redirect_uri.as_ref()),
        ("state", link.state.as_ref()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .map(|(name, v)| {
        format!(
            r#"<input type="hidden" name="{name}" value="{}">"#,
            escape(v)
        )
    })
    .collect();
    let name = escape(&link.consumer.name);
    let body = format!(
        r#"<h1>{name} asks for access to your account</h1>
<h2>It may use</h2><ul>{scopes}</ul>
<form class="card" method="post" action="/site/oauth2/authorize">{hidden}
<input type="hidden" name="response_type" value="code">
<label for="user">You are</label>
<select id="user" name="user">{people}</select>
<button type="submit" name="decision" value="grant">Grant access</button>
<button type="submit" name="decision" value="deny">Deny</button></form>"#
    );
    Ok(Reply::html(
        200,
        page(&format!("Access for {}", link.consumer.name), &body),
    ))
}

/// The person's decision.
pub(super) fn answer(core: &Core, call: &Call) -> Outcome {
    if !crate::pages::same_origin(call) {
        return Err(problem(403, "this form was sent from another site"));
    }
    let link = link(core, call, &call.form())?;
    if call.field("decision").as_deref() != Some("grant") {
        let pairs = [
            ("error", "access_denied"),
            ("error_description", "The user denied access."),
        ];
        return Ok(send_back(link.back, link.state.as_deref(), &pairs));
    }
    let access = Access {
        key: link.consumer.key,
        user: call.field("user").unwrap_or_default(),
        redirect_uri: link.redirect_uri,
    };
    let code = core
        .grant(&access)
        .map_err(|e| problem(400, &format!("{e:#}")))?;
    let pairs = [("code", code.expose())];
    Ok(send_back(link.back, link.state.as_deref(), &pairs))
}

fn problem(status: u16, line: &str) -> Reply {
    let body = format!("<h1>This is not possible</h1><p>{}</p>", escape(line));
    Reply::html(status, page("Not possible", &body))
}
