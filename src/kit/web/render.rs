//! Pages: every template and static file is part of the binary.
//!
//! A template that reads a name the context does not have is an error, not an empty string, so a
//! page and its handler cannot drift apart unnoticed: `tests/fixtures/pages/` holds one full and
//! one empty context per page and the tests render them all. `templates/README.md` is the guide.

mod assets;
mod filters;
#[cfg(test)]
mod tests;

use serde::Serialize;
use tera::{Context, Kwargs, State, Tera};

pub use assets::{StaticFile, static_file, static_files};

/// Names the templates once; each becomes `(name, content)` at compile time.
macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $name)))),+]
    };
}

/// All templates, partials and components. A test compares this list with the folder.
const TEMPLATES: &[(&str, &str)] = templates![
    "bare.html",
    "base.html",
    "error.html",
    "components/forms.html",
    "components/icons.html",
    "components/shell.html",
    "components/tokens.html",
    "components/ui.html",
    "accounts/_snippets.html",
    "accounts/join.html",
    "accounts/first_owner.html",
    "accounts/my_tokens.html",
    "accounts/projects.html",
    "accounts/settings.html",
    "accounts/sign_in.html",
    "deliveries/detail.html",
    "deliveries/list.html",
    "groups/_breadcrumbs.html",
    "groups/_rail.html",
    "groups/_request.html",
    "groups/_stacktrace.html",
    "groups/_timeline.html",
    "groups/create_ticket.html",
    "groups/detail.html",
    "groups/link_ticket.html",
    "groups/list.html",
    "installs/link_done.html",
    "installs/setup.html",
    "installs/setup_confirm.html",
    "installs/setup_error.html",
    "links/_repo_row.html",
    "links/_calls.html",
    "links/_report.html",
    "links/adding.html",
    "links/allow.html",
    "links/connect.html",
    "links/detail.html",
    "links/list.html",
    "links/new.html",
    "links/repos.html",
    "ops/job.html",
    "ops/jobs.html",
    "tickets/_create_form.html",
    "tickets/_link_form.html",
    "tickets/_panel.html",
];

/// Why a page could not be made. The text names templates and fields, never values of a page.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The embedded templates do not compile; only a broken build can answer this.
    #[error("the page templates do not compile: {0}")]
    Templates(#[source] tera::Error),
    /// One page failed, for example because its context lacks a name that the template reads.
    #[error("the page {name} could not be rendered: {source}")]
    Page {
        /// Template name as given to [`Renderer::render`].
        name: String,
        /// What the template engine reports.
        #[source]
        source: tera::Error,
    },
}

/// The compiled templates. Built once, shared by all requests.
pub struct Renderer {
    tera: Tera,
}

impl Renderer {
    /// Compiles the embedded templates.
    ///
    /// # Errors
    /// [`RenderError::Templates`] when a template has a syntax error or names something unknown.
    pub fn new() -> Result<Self, RenderError> {
        let mut tera = Tera::new();
        filters::register(&mut tera);
        tera.register_function("asset", asset);
        tera.add_raw_templates(TEMPLATES.iter().copied())
            .map_err(RenderError::Templates)?;
        Ok(Self { tera })
    }

    /// Renders one page, for example `groups/list.html`. `context` must serialise to a map or struct.
    ///
    /// # Errors
    /// [`RenderError::Page`] for an unknown template or a name that the context does not have.
    pub fn render(&self, name: &str, context: &impl Serialize) -> Result<String, RenderError> {
        Context::from_serialize(context)
            .and_then(|context| self.tera.render(name, &context))
            .map_err(|source| RenderError::Page {
                name: name.to_owned(),
                source,
            })
    }
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renderer")
            .field("templates", &TEMPLATES.len())
            .finish()
    }
}

/// `asset(path="app.css")`: the address of a static file with its content hash.
fn asset(args: Kwargs, _: &State) -> Result<String, tera::Error> {
    let path = args.must_get::<&str>("path")?;
    static_files()
        .iter()
        .find(|file| file.path == path)
        .map(StaticFile::url)
        .ok_or_else(|| tera::Error::message(format!("unknown static file `{path}`")))
}
