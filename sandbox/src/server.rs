//! HTTP in and out: reads whole requests, sends them to their part of the sandbox, applies
//! faults, writes answers (or, when told so, breaks them).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::stream;

use crate::call::Call;
use crate::core::Core;
use crate::faults::Action;
use crate::journal::{Answer, CallRecord};
use crate::reply::{Outcome, Reply};
use crate::{admin, api, connect, dc, git, oauth, pages};

/// Largest body of an API call; a push may be larger.
const BODY_LIMIT: usize = 16 << 20;
/// Largest body of a git request.
const PUSH_LIMIT: usize = 1 << 30;

/// How a call ends on the wire.
enum Ending {
    Whole(Reply),
    Half(Reply),
    Closed,
}

/// A call that passed its judge, ready to be worked on.
pub(crate) struct Ready {
    /// Route template, for counting.
    pub(crate) template: &'static str,
    /// Who calls, for counting.
    pub(crate) credential: Option<String>,
    /// The work itself.
    pub(crate) work: futures_util::future::BoxFuture<'static, Outcome>,
}

/// The only handler of the server.
pub(crate) async fn entry(
    request: HttpRequest,
    payload: Payload,
    core: Data<Arc<Core>>,
) -> HttpResponse {
    let core = Arc::clone(core.get_ref());
    let is_git = request.uri().path().contains(".git/");
    let limit = if is_git { PUSH_LIMIT } else { BODY_LIMIT };
    let body = match payload.to_bytes_limited(limit).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return whole(Reply::error(400, "The body did not arrive whole.")),
        Err(_) => return whole(Reply::error(413, "The body is too large.")),
    };
    let call = Arc::new(read(&request, body));
    // The work goes on when the caller hangs up, as it does at Bitbucket; only the answer is lost.
    let runtime = core.runtime.clone();
    let (held, ending) = match runtime.spawn(serve(Arc::clone(&core), call)).await {
        Ok(done) => done,
        Err(_) => (
            None,
            Ending::Whole(Reply::error(500, "The sandbox failed.")),
        ),
    };
    if let Some(time) = held {
        core.journal.hold(time).await;
    }
    match ending {
        Ending::Whole(reply) => whole(reply),
        Ending::Half(reply) => half(reply),
        Ending::Closed => closed(),
    }
}

fn read(request: &HttpRequest, body: Bytes) -> Call {
    let mut headers = BTreeMap::<String, String>::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|text| {
                text.push_str(", ");
                text.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    Call {
        method: request.method().as_str().to_ascii_uppercase(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers,
        body,
    }
}

/// Judges, breaks on demand, works, records.
async fn serve(core: Arc<Core>, call: Arc<Call>) -> (Option<Duration>, Ending) {
    if call.path == "/_sandbox" || call.path.starts_with("/_sandbox/") {
        return (None, Ending::Whole(admin::serve(&core, &call).await));
    }
    let ready = match judge(&core, &call) {
        Ok(ready) => ready,
        Err(refused) => {
            record(&core, &call, "-", None, refused.status);
            return (None, Ending::Whole(refused));
        }
    };
    let (template, credential) = (ready.template, ready.credential.clone());
    let (held, ending) = work(&core, &call, ready).await;
    let status = match &ending {
        Ending::Whole(reply) | Ending::Half(reply) => reply.status,
        Ending::Closed => 0,
    };
    record(&core, &call, template, credential, status);
    (held, ending)
}

/// The part of the sandbox a path belongs to.
fn judge(core: &Arc<Core>, call: &Arc<Call>) -> Result<Ready, Reply> {
    if call.path == "/2.0" || call.path.starts_with("/2.0/") {
        return api::judge(core, call);
    }
    if call.path.starts_with("/rest/") {
        return dc::judge(core, call);
    }
    let (core, call) = (Arc::clone(core), Arc::clone(call));
    let ready = |template, work| {
        Ok(Ready {
            template,
            credential: None,
            work,
        })
    };
    if call.path.starts_with("/site/addons/") {
        return ready("/site/addons/…", Box::pin(connect::site::serve(core, call)));
    }
    if call.path.starts_with("/site/") {
        return ready(
            "/site/oauth2/access_token",
            Box::pin(oauth::serve(core, call)),
        );
    }
    if call.path.contains(".git/") {
        return ready(
            "/{workspace}/{repo}.git/…",
            Box::pin(git::http::serve(core, call)),
        );
    }
    ready("page", Box::pin(pages::serve(core, call)))
}

async fn work(core: &Core, call: &Call, ready: Ready) -> (Option<Duration>, Ending) {
    let Some(action) = core.faults.take(&call.method, &call.target()) else {
        let template = ready.template;
        let reply = done(ready).await;
        if template.starts_with("/2.0") {
            core.journal.answer(|| Answer {
                method: call.method.clone(),
                path: call.target(),
                template: template.to_owned(),
                status: reply.status,
                body: reply.body.to_vec(),
            });
        }
        return (None, Ending::Whole(reply));
    };
    let ending = match action {
        Action::Status {
            status,
            retry_after,
            body,
        } => {
            let mut reply = match body {
                Some(text) => Reply::new(status, "text/plain", text),
                None => Reply::error(status, "The sandbox was told to answer this."),
            };
            if let Some(seconds) = retry_after {
                reply = reply.with("retry-after", seconds.to_string());
            }
            Ending::Whole(reply)
        }
        Action::Slow { ms } => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ending::Whole(done(ready).await)
        }
        Action::DropBefore => Ending::Closed,
        Action::DropAfter => {
            done(ready).await;
            Ending::Closed
        }
        Action::Garbage => {
            done(ready).await;
            Ending::Whole(Reply::new(
                200,
                "application/json",
                "<html>{\"values\": [oops",
            ))
        }
        Action::Half => Ending::Half(done(ready).await),
        Action::Redirect { url, status } => {
            Ending::Whole(Reply::redirect(status.unwrap_or(302), &url))
        }
        Action::HoldAfter { ms } => {
            let reply = done(ready).await;
            return (Some(Duration::from_millis(ms)), Ending::Whole(reply));
        }
    };
    (None, ending)
}

async fn done(ready: Ready) -> Reply {
    ready.work.await.unwrap_or_else(|refused| refused)
}

fn record(core: &Core, call: &Call, template: &str, credential: Option<String>, status: u16) {
    core.journal.call(CallRecord {
        method: call.method.clone(),
        path: call.target(),
        template: template.to_owned(),
        status,
        credential,
        at: core.clock.stamp(),
    });
}

fn builder(reply: &Reply) -> HttpResponseBuilder {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    for (name, value) in &reply.headers {
        builder.append_header((*name, value.as_str()));
    }
    builder
}

fn whole(reply: Reply) -> HttpResponse {
    builder(&reply).body(reply.body)
}

/// Announces the whole length, sends half of the body, then breaks the connection.
fn half(reply: Reply) -> HttpResponse {
    let length = reply.body.len().max(2) as u64;
    let part = reply.body.slice(..reply.body.len() / 2);
    let body = stream::unfold(Some(part), |part| async move {
        match part {
            Some(part) => Some((Ok(part), None)),
            None => {
                // Lets the first part leave before the connection breaks.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((
                    Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe)),
                    None,
                ))
            }
        }
    });
    builder(&reply).body(SizedStream::new(length, body))
}

/// A body that fails before its first byte makes the server close the connection with nothing
/// written.
fn closed() -> HttpResponse {
    let body = stream::once(async {
        Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::BrokenPipe))
    });
    HttpResponse::Ok().body(SizedStream::new(1, body))
}
