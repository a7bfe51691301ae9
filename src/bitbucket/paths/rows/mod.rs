//! The rows, one file per group of resources. Every API path of the product stands here and nowhere
//! else; the tests hold each row against `tests/fixtures/{bitbucket,datacenter}-api.json`.

use super::operation::Resource;

pub(super) mod addon;
pub(in crate::bitbucket) mod commits;
pub(in crate::bitbucket) mod datacenter;
pub(in crate::bitbucket) mod datacenter_admin;
pub(in crate::bitbucket) mod datacenter_reviews;
pub(super) mod deployments;
mod ends;
pub(super) mod hooks;
pub(super) mod issues;
pub(super) mod pipelines;
pub(super) mod pipelines_config;
pub(super) mod projects;
pub(in crate::bitbucket) mod pull_requests;
pub(in crate::bitbucket) mod reports;
pub(super) mod repositories;
pub(super) mod search;
pub(super) mod snippets;
pub(in crate::bitbucket) mod source;
pub(super) mod users;
pub(super) mod workspaces;

/// Writes the rows of one file. A resource reads
///
/// ```text
/// IDENTIFIER "name" "/template/{placeholder}" (placeholder: Rule) {
///     verb METHOD "classic scopes" "granular scopes" ? "query parameters" deprecated END;
/// }
/// ```
///
/// The rule in parentheses stands only where the placeholder differs from [`Rule::of`] its name.
/// Scopes and query parameters are separated by spaces; granular scopes are written without their
/// suffix `:bitbucket`. The ends of operations stand in [`ends`]. `service_only "source"` marks what the service does and the published
/// document does not say. On Data Center the classic scopes are the permissions that the document
/// names.
///
/// [`Rule::of`]: super::encode::Rule::of
macro_rules! rows {
    (
        $surface:ident;
        $(
            $id:ident $name:literal $template:literal $(($($placeholder:ident: $rule:ident),+))? {
                $(
                    $verb:ident $method:ident $classic:literal $granular:literal
                    $(? $query:literal)? $(deprecated $when:ident)? $(service_only $source:literal)?;
                )+
            }
        )+
    ) => {
        use $crate::bitbucket::paths::operation::{Action, Resource, Surface};

        $(
            pub(in crate::bitbucket) static $id: Resource = Resource {
                surface: Surface::$surface,
                name: $name,
                template: $template,
                rules: &[$($(
                    (stringify!($placeholder), $crate::bitbucket::paths::encode::Rule::$rule),
                )+)?],
                actions: &[$(
                    Action {
                        name: concat!($name, ".", stringify!($verb)),
                        method: reqwest::Method::$method,
                        classic: $classic,
                        granular: $granular,
                        query: concat!("", $($query)?),
                        deprecation: super::rows!(@option $(super::ends::$when)?),
                        service_only: super::rows!(@option $($source)?),
                    },
                )+],
            };
        )+

        /// Every row of this file.
        pub(super) static ROWS: &[&Resource] = &[$(&$id),+];
    };
    (@option) => { None };
    (@option $value:expr) => { Some($value) };
}
use rows;

/// Every file of rows.
pub(super) static FILES: &[&[&Resource]] = &[
    addon::ROWS,
    commits::ROWS,
    datacenter::ROWS,
    datacenter_admin::ROWS,
    datacenter_reviews::ROWS,
    deployments::ROWS,
    hooks::ROWS,
    issues::ROWS,
    pipelines::ROWS,
    pipelines_config::ROWS,
    projects::ROWS,
    pull_requests::ROWS,
    reports::ROWS,
    repositories::ROWS,
    search::ROWS,
    snippets::ROWS,
    source::ROWS,
    users::ROWS,
    workspaces::ROWS,
];
