//! Judges credentials (bitbucket.md §1.6, §6): Connect JWTs, bearer tokens and basic
//! authentication.

mod connect;
mod tokens;

use crate::call::Call;
use crate::core::Core;
use crate::journal::Rule;
use crate::model::Reach;
use crate::protocol::operations::Operation;
use crate::protocol::scopes;
use crate::reply::Reply;
pub(crate) use connect::connect;
pub(crate) use tokens::basic_pair;

/// A call that breaks a rule: what to record and what to answer.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) rule: Rule,
    pub(crate) status: u16,
    pub(crate) detail: String,
    /// The answer, when it does not say the detail.
    pub(crate) answer: Option<Reply>,
}

impl Wrong {
    pub(crate) fn new(rule: Rule, status: u16, detail: impl Into<String>) -> Self {
        Self {
            rule,
            status,
            detail: detail.into(),
            answer: None,
        }
    }

    /// Answers this, and keeps the detail for the record.
    pub(crate) fn answering(mut self, answer: Reply) -> Self {
        self.answer = Some(answer);
        self
    }

    /// Records the broken rule and gives the answer.
    pub(crate) fn refuse(self, core: &Core, call: &Call) -> Reply {
        core.violation(
            self.rule,
            &call.method,
            &call.target(),
            self.detail.as_str(),
        );
        self.answer
            .unwrap_or_else(|| Reply::error(self.status, &self.detail))
    }
}

fn unauthorized(rule: Rule, detail: impl Into<String>) -> Wrong {
    Wrong::new(rule, 401, detail)
}

/// Which kind of credential a call came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    /// A bearer token of OAuth or of the JWT exchange.
    OAuth,
    /// A bearer token of a repository, project or workspace.
    AccessToken,
    ApiToken,
    AppPassword,
}

/// Who calls and what they may do.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) kind: Kind,
    pub(crate) reach: Reach,
    /// Account uuid it acts as; of a workspace, a person or an app user.
    pub(crate) account: String,
    pub(crate) scopes: Vec<String>,
    /// Set for a Connect JWT.
    pub(crate) client_key: Option<String>,
    /// Name of the credential for counting and limits; never the credential itself.
    pub(crate) label: String,
}

impl Caller {
    /// Whether a scope is granted: by name, or a classic one by another that implies it.
    pub(crate) fn allows(&self, scope: &str) -> bool {
        match self.kind {
            Kind::ApiToken => self.scopes.iter().any(|own| own == scope),
            _ => scopes::allows(&self.scopes, scope),
        }
    }

    /// The scopes that an operation asks of this kind of credential.
    pub(crate) fn needs<'a>(&self, operation: &'a Operation) -> &'a [String] {
        match self.kind {
            Kind::ApiToken => &operation.granular,
            _ => &operation.classic,
        }
    }

    /// The scope needed to read what a webhook of this event carries.
    pub(crate) fn scope_of_event(&self, event: &str) -> String {
        let classic = scopes::of_event(event);
        match self.kind {
            Kind::ApiToken => format!("read:{classic}:bitbucket"),
            _ => classic.to_owned(),
        }
    }
}

/// Refuses a token anywhere but in the header (bitbucket.md §2.4).
pub(crate) fn header_only(call: &Call) -> Result<(), Wrong> {
    for name in ["jwt", "access_token"] {
        if call.param(name).is_some() {
            let detail = format!("the parameter {name} is not a way to authenticate an API call");
            return Err(unauthorized(Rule::TokenInQuery, detail));
        }
    }
    let is_form = call.content_type() == "application/x-www-form-urlencoded";
    if is_form && call.field("access_token").is_some() {
        let detail = "an access token in a body is not a way to authenticate";
        return Err(unauthorized(Rule::TokenInBody, detail));
    }
    Ok(())
}

/// Finds the caller of an API call.
pub(crate) fn caller(core: &Core, call: &Call) -> Result<Caller, Wrong> {
    header_only(call)?;
    let header = call
        .header("authorization")
        .ok_or_else(|| unauthorized(Rule::AuthMissing, "no Authorization header"))?;
    match header.split_once(' ') {
        Some(("JWT", token)) => connect(core, call, token, true).map(|install| Caller {
            kind: Kind::Connect,
            account: install.workspace.clone(),
            reach: Reach::Workspace {
                workspace: install.workspace,
            },
            scopes: install.scopes,
            label: install.client_key.clone(),
            client_key: Some(install.client_key),
        }),
        Some(("Bearer", token)) => tokens::bearer(core, token),
        Some(("Basic", _)) => tokens::basic(core, header),
        _ => Err(unauthorized(
            Rule::AuthScheme,
            "Authorization must be `JWT …`, `Bearer …` or `Basic …`",
        )),
    }
}
