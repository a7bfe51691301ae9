//! What the table knows of an operation, and the way from a name and values to a path.

use reqwest::Method;

use super::encode::Rule;
use super::{CLOUD_ROOT, PathError, route, rows};

/// Which product a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// `api.bitbucket.org` and servers that speak like it (bitbucket.md §3).
    Cloud,
    /// Bitbucket Data Center; its paths start below the context path of the server (bitbucket.md §7).
    DataCenter,
}

impl Surface {
    /// What stands before every template.
    pub const fn root(self) -> &'static str {
        match self {
            Self::Cloud => CLOUD_ROOT,
            Self::DataCenter => "",
        }
    }
}

/// How far an operation is on its way out. Dates are ISO 8601, of a day or of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deprecation {
    /// Answers, but should not be used any more.
    Deprecated {
        /// Since when; `None` if nobody told.
        since: Option<&'static str>,
    },
    /// Will stop.
    Ends {
        /// When.
        on: &'static str,
    },
    /// bitbucket.org does not serve it any more. Compatible servers may.
    Removed {
        /// When.
        on: &'static str,
        /// What the service answers, where that was recorded.
        status: Option<u16>,
    },
}

/// One method of a resource.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) classic: &'static str,
    pub(super) granular: &'static str,
    pub(super) query: &'static str,
    pub(super) deprecation: Option<Deprecation>,
    pub(super) service_only: Option<&'static str>,
}

/// A row: one path template and its methods. Two resources are equal if they are the same row.
#[derive(Debug)]
pub struct Resource {
    pub(super) surface: Surface,
    pub(super) name: &'static str,
    pub(super) template: &'static str,
    pub(super) rules: &'static [(&'static str, Rule)],
    pub(super) actions: &'static [Action],
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Resource {}

impl Resource {
    /// Every row of both products.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        rows::FILES.iter().flat_map(|file| file.iter().copied())
    }

    /// Stable name, used in logs and metrics.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whose API it is.
    pub const fn surface(&self) -> Surface {
        self.surface
    }

    /// Template below [`Surface::root`], with `{placeholders}` named as the published document does.
    pub const fn template(&self) -> &'static str {
        self.template
    }

    /// Placeholders with their rules, from left to right.
    pub fn placeholders(&self) -> impl Iterator<Item = (&'static str, Rule)> + '_ {
        self.template
            .split('{')
            .skip(1)
            .filter_map(|part| part.split_once('}'))
            .map(|(name, _)| (name, self.rule(name)))
    }

    /// The rule of one placeholder.
    pub(super) fn rule(&self, placeholder: &str) -> Rule {
        self.rules
            .iter()
            .find(|(name, _)| *name == placeholder)
            .map_or_else(|| Rule::of(placeholder), |(_, rule)| *rule)
    }

    /// Its operations.
    pub fn operations(&'static self) -> impl Iterator<Item = Operation> {
        self.actions.iter().map(move |action| Operation {
            resource: self,
            action,
        })
    }

    /// The operation of a method.
    pub fn operation(&'static self, method: &Method) -> Option<Operation> {
        self.operations()
            .find(|operation| operation.method() == method)
    }

    /// The encoded path, with [`Surface::root`]. Values are given once each, in any order, as they
    /// are, not encoded. They are refused where they would be read as something else: dot segments,
    /// or a name that is a word of the API at that place (a snippet revision named `comments`).
    pub fn render<V: AsRef<str>>(&'static self, params: &[(&str, V)]) -> Result<String, PathError> {
        self.check_names(params)?;
        let mut path = String::with_capacity(self.template.len() + 64);
        path.push_str(self.surface.root());
        let mut values = Vec::with_capacity(params.len());
        let mut rest = self.template;
        while let Some((before, after)) = rest.split_once('{') {
            let (placeholder, after) = after.split_once('}').unwrap_or((after, ""));
            let value = params
                .iter()
                .find(|(name, _)| *name == placeholder)
                .map(|(_, value)| value.as_ref())
                .ok_or(PathError::Missing {
                    resource: self.name,
                    parameter: placeholder,
                })?;
            let rule = self.rule(placeholder);
            path.push_str(before);
            if !rule.push(&mut path, value) {
                return Err(PathError::Invalid {
                    parameter: placeholder,
                    expected: rule.expected(),
                });
            }
            values.push((placeholder, value));
            rest = after;
        }
        path.push_str(rest);
        self.check_reading(&path, &values)?;
        Ok(path)
    }

    fn check_names<V>(&self, params: &[(&str, V)]) -> Result<(), PathError> {
        for (index, (name, _)) in params.iter().enumerate() {
            let Some((parameter, _)) = self.placeholders().find(|(known, _)| known == name) else {
                return Err(PathError::UnknownParameter {
                    resource: self.name,
                    parameter: (*name).to_owned(),
                });
            };
            if params
                .iter()
                .skip(index + 1)
                .any(|(other, _)| other == name)
            {
                return Err(PathError::Invalid {
                    parameter,
                    expected: "given once",
                });
            }
        }
        Ok(())
    }

    /// The server must read the path as we meant it.
    fn check_reading(&self, path: &str, values: &[(&str, &str)]) -> Result<(), PathError> {
        let (read_as, read) = route::locate(self.surface, path)?;
        let same = read_as == self
            && read.len() == values.len()
            && read
                .iter()
                .zip(values)
                .all(|((_, read), (_, value))| read == value);
        if same {
            return Ok(());
        }
        Err(PathError::Ambiguous {
            resource: self.name,
            read_as: read_as.name,
        })
    }
}

/// One method of one resource, the unit that scopes and deprecations belong to.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    resource: &'static Resource,
    action: &'static Action,
}

impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Operation {}

impl Operation {
    /// Every operation of both products.
    pub fn all() -> impl Iterator<Item = Self> {
        Resource::all().flat_map(Resource::operations)
    }

    /// By stable name, `repository_hooks.create`. Names of Data Center start with `dc_`.
    pub fn named(name: &str) -> Result<Self, PathError> {
        Self::all()
            .find(|operation| operation.name() == name)
            .ok_or_else(|| PathError::UnknownOperation {
                name: name.to_owned(),
            })
    }

    /// Stable name: the resource and a verb.
    pub const fn name(&self) -> &'static str {
        self.action.name
    }

    /// The row it belongs to.
    pub const fn resource(&self) -> &'static Resource {
        self.resource
    }

    /// HTTP method.
    pub const fn method(&self) -> &'static Method {
        &self.action.method
    }

    /// Classic scopes that are needed, all of them (OAuth, access tokens, Connect; bitbucket.md §6).
    /// On Data Center: the permissions that the document names, some only for a part of the cases.
    pub fn scopes(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.action.classic.split_whitespace()
    }

    /// Granular scopes that are needed, all of them, with the suffix `:bitbucket` (API tokens, Forge;
    /// bitbucket.md §6). None on Data Center, and none where only Connect or nobody may call.
    pub fn granular_scopes(&self) -> impl Iterator<Item = String> + use<> {
        self.action
            .granular
            .split_whitespace()
            .map(|scope| format!("{scope}:bitbucket"))
    }

    /// Documented query parameters, sorted. The service honours more: `fields` everywhere, `page` and
    /// `pagelen` on lists (bitbucket.md §3.1, §4.3).
    pub fn query(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.action.query.split_whitespace()
    }

    /// Whether and when it goes.
    pub const fn deprecation(&self) -> Option<Deprecation> {
        self.action.deprecation
    }

    /// Where it is written, if the published document does not have it.
    pub const fn service_only(&self) -> Option<&'static str> {
        self.action.service_only
    }

    /// The encoded path; see [`Resource::render`].
    pub fn path<V: AsRef<str>>(&self, params: &[(&str, V)]) -> Result<String, PathError> {
        self.resource.render(params)
    }
}
