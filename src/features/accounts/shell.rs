//! What every page shows around its content: who, where, what just happened.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Org, SignedIn, User, issue_csrf};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::kit::clock::Micros;

/// Name of the cookie that carries a message; behind https no sibling host can set it for us.
const fn flash_name(https: bool) -> &'static str {
    if https {
        "__Host-tracebucket_flash"
    } else {
        "tracebucket_flash"
    }
}

/// A message that the next page shows once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    /// `ok`, `warn` or `error`.
    pub kind: String,
    /// Plain text.
    pub text: String,
}

impl Flash {
    /// Something worked.
    pub fn ok(text: impl Into<String>) -> Self {
        Self {
            kind: "ok".into(),
            text: text.into(),
        }
    }

    /// Something did not.
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            kind: "error".into(),
            text: text.into(),
        }
    }

    /// Something needs attention.
    pub fn warn(text: impl Into<String>) -> Self {
        Self {
            kind: "warn".into(),
            text: text.into(),
        }
    }

    /// The cookie that carries it over a redirect.
    #[must_use]
    pub fn cookie(&self, app: &App) -> Cookie<'static> {
        let value = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&[self]).unwrap_or_default());
        let https = app.config.is_https();
        Cookie::build(flash_name(https), value)
            .path("/")
            .secure(https)
            .http_only(true)
            .same_site(SameSite::Lax)
            .max_age(actix_web::cookie::time::Duration::seconds(60))
            .finish()
    }

    fn of_request(app: &App, req: &HttpRequest) -> Vec<Self> {
        req.cookie(flash_name(app.config.is_https()))
            .and_then(|cookie| URL_SAFE_NO_PAD.decode(cookie.value()).ok())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// The cookie that removes shown messages.
    #[must_use]
    pub fn removal(app: &App) -> Cookie<'static> {
        let https = app.config.is_https();
        let mut cookie = Cookie::build(flash_name(https), "")
            .path("/")
            .secure(https)
            .finish();
        cookie.make_removal();
        cookie
    }
}

#[derive(Debug, Clone, Serialize)]
struct PagePart {
    title: String,
    active: &'static str,
    public_url: String,
}

#[derive(Debug, Clone, Serialize)]
struct Me {
    email: String,
    name: String,
    initials: String,
}

#[derive(Debug, Clone, Serialize)]
struct OrgPart {
    slug: String,
    name: String,
}

/// The common part of every page's context.
#[derive(Debug, Clone, Serialize)]
pub struct Shell {
    page: PagePart,
    me: Option<Me>,
    org: Option<OrgPart>,
    orgs: Vec<OrgPart>,
    csrf: String,
    flash: Vec<Flash>,
    now: Micros,
}

impl Shell {
    /// The shell of a page titled `title` whose navigation entry is `active`.
    #[must_use]
    pub fn new(
        app: &App,
        req: &HttpRequest,
        title: impl Into<String>,
        active: &'static str,
    ) -> Self {
        let now = app.clock.now();
        Self {
            page: PagePart {
                title: title.into(),
                active,
                public_url: app
                    .config
                    .public_url
                    .as_str()
                    .trim_end_matches('/')
                    .to_owned(),
            },
            me: None,
            org: None,
            orgs: Vec::new(),
            csrf: issue_csrf(app, req, now),
            flash: Flash::of_request(app, req),
            now,
        }
    }

    /// The shell of a page of an organization, for who is signed in.
    #[must_use]
    pub fn of_org(
        app: &App,
        req: &HttpRequest,
        title: impl Into<String>,
        active: &'static str,
        org: &Org,
        signed_in: &SignedIn,
    ) -> Self {
        Self::new(app, req, title, active)
            .user(&signed_in.user)
            .org(org)
            .orgs(signed_in.orgs.iter().map(|(org, _)| org))
    }

    /// Adds who is signed in.
    #[must_use]
    pub fn user(mut self, user: &User) -> Self {
        let (name, initials) = shown_as(&user.name, &user.email);
        self.me = Some(Me {
            email: user.email.clone(),
            name,
            initials,
        });
        self
    }

    /// Adds the organization that the page is about.
    #[must_use]
    pub fn org(mut self, org: &Org) -> Self {
        self.org = Some(OrgPart {
            slug: org.slug.clone(),
            name: org.name.clone(),
        });
        self
    }

    /// Adds the organizations to switch between.
    #[must_use]
    pub fn orgs<'a>(mut self, orgs: impl IntoIterator<Item = &'a Org>) -> Self {
        self.orgs = orgs
            .into_iter()
            .map(|org| OrgPart {
                slug: org.slug.clone(),
                name: org.name.clone(),
            })
            .collect();
        self
    }

    /// Shows a message on this very page.
    #[must_use]
    pub fn flash(mut self, flash: Flash) -> Self {
        self.flash.push(flash);
        self
    }

    /// True when a message from the last request is shown, so that its cookie must go.
    #[must_use]
    pub fn has_flash(&self) -> bool {
        !self.flash.is_empty()
    }
}

/// The name to show, and its initials; without a name the e-mail stands in.
pub(super) fn shown_as(name: &str, email: &str) -> (String, String) {
    let name = if name.is_empty() { email } else { name };
    let initials = name
        .split([' ', '.', '@'])
        .filter_map(|part| part.chars().next())
        .take(2)
        .collect::<String>();
    (name.to_owned(), initials.to_uppercase())
}

/// A page: the shell, and the content's own fields beside it.
#[derive(Serialize)]
struct Page<T> {
    #[serde(flatten)]
    shell: Shell,
    #[serde(flatten)]
    content: T,
}

impl Shell {
    /// Renders `template` with this shell and the content's fields, as an answer that is not kept anywhere.
    ///
    /// # Errors
    /// 500 when the template and the content do not fit.
    pub fn page(
        self,
        app: &App,
        template: &str,
        content: impl Serialize,
    ) -> AppResult<HttpResponse> {
        self.page_with_status(app, StatusCode::OK, template, content)
    }

    /// Like [`Shell::page`], with another status (a form that was refused answers 400 and itself).
    ///
    /// # Errors
    /// 500 when the template and the content do not fit.
    pub fn page_with_status(
        self,
        app: &App,
        status: StatusCode,
        template: &str,
        content: impl Serialize,
    ) -> AppResult<HttpResponse> {
        let shown = self.has_flash();
        let html = app
            .renderer
            .render(
                template,
                &Page {
                    shell: self,
                    content,
                },
            )
            .map_err(AppError::internal)?;
        let mut response = HttpResponse::build(status);
        response
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"));
        if shown {
            response.cookie(Flash::removal(app));
        }
        Ok(response.body(html))
    }
}

/// Sends the browser on after a form, with a message for the next page.
#[must_use]
pub fn redirect_with(app: &App, to: &str, flash: &Flash) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, to))
        .cookie(flash.cookie(app))
        .finish()
}
