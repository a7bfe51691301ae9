//! A request for each route of a tenant. What the path or the body names comes from the things of one tenant, so that
//! the walk can put another tenant's in its place.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

use super::By;
use super::side::Side;
use crate::support::TestApp;

/// Names of things by key (`side::all_keys`).
pub type Names = BTreeMap<&'static str, String>;

/// Asks for the name of a thing.
type Pick<'a> = &'a dyn Fn(&'static str) -> String;

/// What a request carries beside its path.
#[derive(Default)]
struct Parts {
    query: Vec<(&'static str, String)>,
    json: Option<Value>,
    form: Vec<(&'static str, String)>,
}

/// One request for one row of the route table.
pub struct Case {
    pub row: (&'static str, &'static str),
    /// What the owner gets.
    pub ok: u16,
    /// Plain members of the organization are refused.
    pub for_managers: bool,
    parts: fn(Pick<'_>) -> Parts,
    /// Placeholders of the path that need a thing in a special state.
    special: &'static [(&'static str, &'static str)],
    /// What a thing of another tenant in query or body gets, where that is not 404: a field that is wrong, or
    /// nothing found to change.
    in_body: &'static [(&'static str, u16)],
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.row.0, self.row.1)
    }
}

impl Case {
    pub fn reads(&self) -> bool {
        self.row.0 == "get"
    }

    pub fn is_api(&self) -> bool {
        self.row.1.starts_with("/api/0/") || self.row.1.starts_with("/extensions/")
    }

    pub fn names_an_org(&self) -> bool {
        self.row.1.contains("{org}")
    }

    /// Everything that a person of this tenant may come with.
    pub fn credentials<'a>(&self, side: &'a Side) -> Vec<By<'a>> {
        let session = By::Session(&side.session);
        if self.is_api() {
            vec![
                By::Token(&side.tenant.token),
                By::Token(&side.user_token),
                session,
            ]
        } else {
            vec![session]
        }
    }

    /// The placeholders of the path, and the thing that stands for each.
    fn path_keys(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let (path, special) = (self.row.1, self.special);
        path.split('{').skip(1).map(move |part| {
            let name = part.split('}').next().unwrap();
            let key = match special.iter().find(|(placeholder, _)| *placeholder == name) {
                Some((_, key)) => key,
                None if name == "event" && path.starts_with("/o/") => "event_row",
                None if name == "link" => "integration",
                None => name,
            };
            (name, key)
        })
    }

    /// Every thing that the request names.
    pub fn keys(&self) -> BTreeSet<&'static str> {
        let asked = RefCell::new(BTreeSet::new());
        (self.parts)(&|key| {
            asked.borrow_mut().insert(key);
            "1".to_owned()
        });
        let mut keys = asked.into_inner();
        keys.extend(self.path_keys().map(|(_, key)| key));
        // A word of the request, not a thing.
        keys.remove("nonce");
        keys
    }

    /// What the request gets when these of its things are another tenant's.
    pub fn expected(&self, foreign: &BTreeSet<&'static str>) -> Vec<u16> {
        if self.path_keys().any(|(_, key)| foreign.contains(key)) {
            return vec![404];
        }
        let listed = self.in_body.iter();
        let found: Vec<u16> = listed
            .filter(|(key, _)| foreign.contains(key))
            .map(|(_, status)| *status)
            .collect();
        if found.is_empty() { vec![404] } else { found }
    }

    /// What anything of another tenant in query or body may get.
    pub fn expected_in_body(&self) -> Vec<u16> {
        self.in_body.iter().map(|(_, status)| *status).collect()
    }

    /// The request with these names filled in.
    pub fn build(&self, t: &TestApp, names: &Names, by: By<'_>) -> reqwest::RequestBuilder {
        let named = |key: &'static str| {
            names
                .get(key)
                .unwrap_or_else(|| panic!("{self}: nothing is made for {key}"))
                .clone()
        };
        let mut path = self.row.1.to_owned();
        for (placeholder, key) in self.path_keys() {
            path = path.replace(&format!("{{{placeholder}}}"), &named(key));
        }
        let mut parts = (self.parts)(&named);
        let method = self.row.0.to_uppercase().parse().unwrap();
        let mut request = t.http.request(method, t.url(&path)).query(&parts.query);
        match by {
            By::Token(token) => request = request.bearer_auth(token),
            By::Session(session) => {
                request = request
                    .header("cookie", &session.cookie)
                    .header("origin", &t.base);
                if !self.is_api() {
                    request = request.header("accept", "text/html");
                    parts.form.push(("csrf", session.csrf.clone()));
                }
            }
        }
        match parts.json {
            Some(body) => request.json(&body),
            None if self.row.0 == "post" => request.form(&parts.form),
            None => request,
        }
    }

    fn with(mut self, parts: fn(Pick<'_>) -> Parts) -> Self {
        self.parts = parts;
        self
    }

    fn managers(mut self) -> Self {
        self.for_managers = true;
        self
    }

    fn special(mut self, special: &'static [(&'static str, &'static str)]) -> Self {
        self.special = special;
        self
    }

    fn in_body(mut self, in_body: &'static [(&'static str, u16)]) -> Self {
        self.in_body = in_body;
        self
    }
}

fn case(method: &'static str, path: &'static str, ok: u16) -> Case {
    Case {
        row: (method, path),
        ok,
        for_managers: false,
        parts: |_| Parts::default(),
        special: &[],
        in_body: &[],
    }
}

fn query<const N: usize>(pairs: [(&'static str, String); N]) -> Parts {
    Parts {
        query: pairs.into(),
        ..Parts::default()
    }
}

fn form<const N: usize>(pairs: [(&'static str, String); N]) -> Parts {
    Parts {
        form: pairs.into(),
        ..Parts::default()
    }
}

fn body(json: Value) -> Parts {
    Parts {
        json: Some(json),
        ..Parts::default()
    }
}

/// The requests of every route that belongs to a tenant.
pub fn cases() -> Vec<Case> {
    [
        organization_pages(),
        connection_pages(),
        error_pages(),
        group_api(),
        organization_api(),
        integration_api(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn organization_pages() -> Vec<Case> {
    vec![
        case("get", "/o/{org}/settings/", 200),
        case("post", "/o/{org}/settings/tokens/", 200)
            .managers()
            .with(|pick| form([("name", pick("nonce")), ("scopes", "org:read".into())])),
        case("post", "/o/{org}/settings/tokens/{token}/revoke/", 303).managers(),
        case("post", "/o/{org}/settings/invitations/", 200)
            .managers()
            .with(|pick| {
                let email = format!("{}@new.example", pick("nonce"));
                form([("email", email), ("role", "member".into())])
            }),
        case(
            "post",
            "/o/{org}/settings/invitations/{invitation}/withdraw/",
            303,
        )
        .managers(),
        case("post", "/o/{org}/settings/members/{user}/role/", 303)
            .managers()
            .special(&[("user", "member")])
            .with(|_| form([("role", "manager".into())])),
        case("post", "/o/{org}/settings/members/{user}/remove/", 303)
            .managers()
            .special(&[("user", "member")]),
        case("get", "/o/{org}/settings/projects/", 200),
        case("get", "/o/{org}/settings/projects/", 200)
            .with(|pick| query([("open", pick("project"))]))
            .in_body(&[("project", 200)]),
        case("post", "/o/{org}/settings/projects/", 303)
            .managers()
            .with(|pick| form([("name", pick("nonce")), ("slug", pick("nonce"))])),
        case("get", "/o/{org}/deliveries/", 200),
        // A place in somebody else's list is a place in the own one.
        case("get", "/o/{org}/deliveries/", 200)
            .with(|pick| query([("before", pick("delivery"))]))
            .in_body(&[("delivery", 200)]),
        case("get", "/o/{org}/deliveries/{delivery}/", 200),
        case("post", "/o/{org}/deliveries/{delivery}/replay/", 303).managers(),
        case("get", "/o/{org}/jobs/", 200),
        case("get", "/o/{org}/jobs/", 200)
            .with(|pick| query([("cursor", pick("job"))]))
            .in_body(&[("job", 200)]),
        case("post", "/o/{org}/jobs/redrive/", 303).managers(),
        case("get", "/o/{org}/jobs/{job}/", 200),
        case("post", "/o/{org}/jobs/{job}/redrive/", 303).managers(),
        case("post", "/o/{org}/jobs/{job}/drop/", 303).managers(),
    ]
}

/// Begins a way to Bitbucket and back.
fn oauth_form() -> Parts {
    Parts {
        query: vec![("kind", "oauth_code".into())],
        ..form([
            ("workspace", "anywhere".into()),
            ("user", "key".into()),
            ("secret", "secret".into()),
        ])
    }
}

fn connection_pages() -> Vec<Case> {
    vec![
        case("get", "/o/{org}/connections/", 200),
        case("get", "/o/{org}/connections/{link}/", 200)
            .with(|_| query([("search", String::new())])),
        case("get", "/o/{org}/connections/{link}/done/", 200),
        case("get", "/o/{org}/connections/new/", 200).managers(),
        case("get", "/o/{org}/connections/new/form/", 200)
            .managers()
            .with(|_| query([("kind", "api_token".into())])),
        case("post", "/o/{org}/connections/new/form/", 200)
            .managers()
            .with(|_| oauth_form()),
        case("post", "/o/{org}/connections/{link}/test/", 303).managers(),
        case("post", "/o/{org}/connections/{link}/edit/", 303)
            .managers()
            .with(|_| form([("label", String::from("Shop"))])),
        case("get", "/o/{org}/connections/{link}/reauthorise/", 200)
            .managers()
            .special(&[("link", "named_integration")]),
        case("post", "/o/{org}/connections/{link}/reauthorise/", 200)
            .managers()
            .special(&[("link", "named_integration")])
            .with(|_| oauth_form()),
        case(
            "post",
            "/o/{org}/connections/{link}/repos/{repo}/move/",
            303,
        )
        .managers()
        .with(|pick| form([("to", pick("named_integration"))])),
        // Each name that cannot be added is told in the message of the next page.
        case("post", "/o/{org}/connections/{link}/signing/", 303)
            .managers()
            .with(|_| form([("kind", String::from("connect_bearer"))])),
        case("get", "/o/{org}/connections/{link}/adding/{bulk}/", 200),
        case(
            "post",
            "/o/{org}/connections/{link}/adding/{bulk}/retry/",
            303,
        )
        .managers(),
        case("post", "/o/{org}/connections/{link}/repos/", 303)
            .managers()
            .with(|pick| form([("repos", pick("free_repo"))]))
            .in_body(&[("free_repo", 303)]),
        case(
            "post",
            "/o/{org}/connections/{link}/repos/{repo}/repair/",
            303,
        )
        .managers(),
        case(
            "post",
            "/o/{org}/connections/{link}/repos/{repo}/rotate/",
            303,
        )
        .managers(),
        case(
            "post",
            "/o/{org}/connections/{link}/repos/{repo}/remove/",
            303,
        )
        .managers(),
        case("post", "/o/{org}/connections/{link}/disconnect/", 303)
            .managers()
            .special(&[("link", "spare_integration")]),
        case("get", "/o/{org}/repos/", 200),
        case(
            "get",
            "/extensions/bitbucket/search/{org}/{integration}/",
            200,
        )
        .with(|_| query([("field", "repo".into()), ("query", String::new())])),
        case(
            "get",
            "/extensions/bitbucket/search/{org}/{integration}/",
            200,
        )
        .with(|pick| {
            query([
                ("field", "externalIssue".into()),
                ("query", "n".into()),
                ("repo", pick("repo_name")),
            ])
        })
        .in_body(&[("repo_name", 400)]),
    ]
}

fn error_pages() -> Vec<Case> {
    vec![
        case("get", "/o/{org}/errors/", 200).with(|_| query([("query", String::new())])),
        case("get", "/o/{org}/errors/", 200)
            .with(|pick| query([("query", String::new()), ("project", pick("project"))]))
            .in_body(&[("project", 400)]),
        // Errors that are not there are not counted in the message.
        case("post", "/o/{org}/errors/bulk/", 303)
            .with(|pick| form([("ids", pick("group")), ("action", "resolve".into())]))
            .in_body(&[("group", 303)]),
        case("get", "/o/{org}/errors/{issue}/", 200),
        case("get", "/o/{org}/errors/{issue}/events/{event}/", 200),
        case("get", "/o/{org}/errors/{issue}/events/{event}/json/", 200),
        case("get", "/o/{org}/errors/{issue}/tickets/new/", 200),
        // An integration that is not there: the form is for the first one that is.
        case("get", "/o/{org}/errors/{issue}/tickets/new/", 200)
            .with(|pick| query([("integration", pick("integration"))]))
            .in_body(&[("integration", 200)]),
        case("post", "/o/{org}/errors/{issue}/tickets/new/", 303)
            .with(|pick| {
                form([
                    ("integration", pick("integration")),
                    ("client_key", pick("nonce")),
                    ("repo", pick("repo_name")),
                    ("title", pick("nonce")),
                ])
            })
            .in_body(&[("integration", 404), ("repo_name", 400)]),
        case("get", "/o/{org}/errors/{issue}/tickets/link/", 200),
        case("get", "/o/{org}/errors/{issue}/tickets/link/", 200)
            .with(|pick| query([("integration", pick("integration"))]))
            .in_body(&[("integration", 200)]),
        case("post", "/o/{org}/errors/{issue}/tickets/link/", 303)
            .with(|pick| {
                form([
                    ("integration", pick("integration")),
                    ("repo", pick("repo_name")),
                    ("external_issue", "1".into()),
                ])
            })
            .in_body(&[("integration", 404), ("repo_name", 400)]),
        case(
            "post",
            "/o/{org}/errors/{issue}/tickets/{ticket}/unlink/",
            303,
        ),
        case(
            "post",
            "/o/{org}/errors/{issue}/tickets/{ticket}/retry/",
            303,
        )
        .special(&[("ticket", "failed_ticket")]),
        case("post", "/o/{org}/errors/{issue}/status/", 303)
            .with(|_| form([("status", "resolved".into())])),
        case("post", "/o/{org}/errors/{issue}/notes/", 303)
            .with(|pick| form([("text", pick("nonce"))])),
        case("get", "/organizations/{org}/issues/{issue}/", 302),
    ]
}

/// Sentry has each of these below the organization, and without it.
fn group_api() -> Vec<Case> {
    macro_rules! on_both_paths {
        ($($method:literal $rest:literal $ok:literal $(.$with:ident($argument:expr))*;)+) => {
            vec![$(
                case($method, concat!("/api/0/organizations/{org}/issues/{issue}/", $rest), $ok)$(.$with($argument))*,
                case($method, concat!("/api/0/issues/{issue}/", $rest), $ok)$(.$with($argument))*,
            )+]
        };
    }
    on_both_paths! {
        "get" "" 200;
        "put" "" 200
            .with(|pick| body(json!({ "status": "resolved", "assignedTo": pick("user") })))
            .in_body(&[("user", 400)]);
        "delete" "" 202;
        "get" "events/" 200;
        "get" "events/{event}/" 200;
        "get" "comments/" 200;
        "post" "comments/" 201.with(|pick| body(json!({ "text": pick("nonce") })));
        "put" "comments/{note}/" 200.with(|pick| body(json!({ "text": pick("nonce") })));
        "delete" "comments/{note}/" 204;
        "get" "integrations/" 200;
        "get" "integrations/{integration}/" 200.with(|_| query([("action", "create".into())]));
        "post" "integrations/{integration}/" 201
            .with(|pick| body(json!({ "repo": pick("repo_name"), "title": pick("nonce") })))
            .in_body(&[("repo_name", 400)]);
        "put" "integrations/{integration}/" 201
            .with(|pick| body(json!({ "repo": pick("repo_name"), "externalIssue": 1 })))
            .in_body(&[("repo_name", 400)]);
        "delete" "integrations/{integration}/" 204
            .with(|pick| query([("externalIssue", pick("ticket"))]));
    }
}

fn organization_api() -> Vec<Case> {
    vec![
        case("get", "/api/0/organizations/{org}/", 200),
        case("get", "/api/0/organizations/{org}/projects/", 200),
        case("post", "/api/0/organizations/{org}/projects/", 201)
            .with(|pick| body(json!({ "name": format!("{} shop", pick("nonce")) }))),
        case("get", "/api/0/projects/{org}/{project}/", 200),
        case("get", "/api/0/projects/{org}/{project}/keys/", 200),
        case("get", "/api/0/organizations/{org}/issues/", 200)
            .with(|pick| query([("query", String::new()), ("project", pick("project"))])),
        // Nothing found to change is 204, as in Sentry.
        case("put", "/api/0/organizations/{org}/issues/", 200)
            .with(|pick| Parts {
                query: vec![("id", pick("group"))],
                ..body(json!({ "status": "resolved", "assignedTo": pick("user") }))
            })
            .in_body(&[("group", 204), ("user", 400)]),
        case("get", "/api/0/projects/{org}/{project}/issues/", 200),
        case("put", "/api/0/projects/{org}/{project}/issues/", 200)
            .with(|pick| Parts {
                query: vec![("id", pick("group"))],
                ..body(json!({ "status": "ignored" }))
            })
            .in_body(&[("group", 204)]),
        case("get", "/api/0/projects/{org}/{project}/events/", 200),
        case(
            "get",
            "/api/0/projects/{org}/{project}/events/{event}/",
            200,
        ),
        case("get", "/api/0/organizations/{org}/shortids/{short}/", 200),
    ]
}

fn integration_api() -> Vec<Case> {
    vec![
        case(
            "get",
            "/api/0/organizations/{org}/config/integrations/",
            200,
        ),
        case("get", "/api/0/organizations/{org}/integrations/", 200),
        case(
            "get",
            "/api/0/organizations/{org}/integrations/{integration}/",
            200,
        ),
        case(
            "post",
            "/api/0/organizations/{org}/integrations/{integration}/",
            200,
        )
        .with(|_| body(json!({ "sync_comments": true }))),
        case(
            "delete",
            "/api/0/organizations/{org}/integrations/{integration}/",
            204,
        )
        .special(&[("integration", "spare_integration")]),
        case(
            "get",
            "/api/0/organizations/{org}/integrations/{integration}/repos/",
            200,
        )
        .with(|_| query([("search", String::new())])),
        // A filter that nothing fits finds nothing.
        case("get", "/api/0/organizations/{org}/repos/", 200)
            .with(|pick| query([("integration_id", pick("integration"))]))
            .in_body(&[("integration", 200)]),
        case("post", "/api/0/organizations/{org}/repos/", 201)
            .with(|pick| {
                body(json!({
                    "provider": "integrations:bitbucket",
                    "installation": pick("integration"),
                    "identifier": pick("free_repo"),
                }))
            })
            .in_body(&[("integration", 404), ("free_repo", 400)]),
        case("put", "/api/0/organizations/{org}/repos/{repo}/", 200)
            .with(|pick| {
                body(json!({
                    "url": format!("https://example.org/{}", pick("nonce")),
                    "integrationId": pick("integration"),
                }))
            })
            .in_body(&[("integration", 400)]),
        case("delete", "/api/0/organizations/{org}/repos/{repo}/", 202),
        case(
            "get",
            "/api/0/organizations/{org}/repos/{repo}/commits/",
            200,
        ),
    ]
}
