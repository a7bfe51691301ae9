//! Scope names of API tokens: Sentry's (sentry.md §16), and three of the connector.

use super::Role;

macro_rules! scopes {
    ($($(#[$meta:meta])* $variant:ident = $text:literal,)+) => {
        /// One permission.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Scope { $($(#[$meta])* $variant,)+ }

        impl Scope {
            /// Every scope.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in tokens and errors.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

scopes! {
    /// Read the organization, its integrations and repositories.
    OrgRead = "org:read",
    /// Change the organization.
    OrgWrite = "org:write",
    /// Members and tokens.
    OrgAdmin = "org:admin",
    /// Integrations and repositories.
    OrgIntegrations = "org:integrations",
    /// Releases and uploads from CI.
    OrgCi = "org:ci",
    /// Read members.
    MemberRead = "member:read",
    /// Read projects.
    ProjectRead = "project:read",
    /// Change projects.
    ProjectWrite = "project:write",
    /// Delete projects.
    ProjectAdmin = "project:admin",
    /// Releases, commits, deploys.
    ProjectReleases = "project:releases",
    /// Read teams.
    TeamRead = "team:read",
    /// Read groups and events.
    EventRead = "event:read",
    /// Change groups; notes and tickets.
    EventWrite = "event:write",
    /// Delete groups.
    EventAdmin = "event:admin",
    /// Read through the connector.
    ConnectorRead = "connector:read",
    /// Write through the connector.
    ConnectorWrite = "connector:write",
    /// Call the foreign API through the proxy.
    ConnectorProxy = "connector:proxy",
}

/// A set of scopes, stored as their names with commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeSet(u32);

impl ScopeSet {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// The set of these scopes.
    #[must_use]
    pub fn of(scopes: &[Scope]) -> Self {
        Self(scopes.iter().fold(0, |set, scope| set | 1 << *scope as u32))
    }

    /// All scopes there are.
    #[must_use]
    pub fn all() -> Self {
        Self::of(Scope::ALL)
    }

    /// Reads names with commas or blanks between; the first unknown name is the error.
    ///
    /// # Errors
    /// The unknown name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut set = Self::NONE;
        for name in text
            .split([',', ' '])
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            let scope = Scope::ALL
                .iter()
                .find(|s| s.as_str() == name)
                .ok_or_else(|| name.to_owned())?;
            set = set.union(Self::of(&[*scope]));
        }
        Ok(set)
    }

    /// True when the scope is in the set.
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }

    /// True when at least one of them is in the set.
    #[must_use]
    pub fn has_any(self, scopes: &[Scope]) -> bool {
        self.0 & Self::of(scopes).0 != 0
    }

    /// What is in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What somebody with these roles, in different organizations, may do somewhere.
    #[must_use]
    pub fn of_roles(roles: impl IntoIterator<Item = Role>) -> Self {
        let scopes = roles.into_iter().map(Role::scopes);
        scopes.fold(Self::NONE, Self::union)
    }

    /// The names, in the order of declaration.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        Scope::ALL
            .iter()
            .filter(|scope| self.has(**scope))
            .map(|scope| scope.as_str())
            .collect()
    }

    /// As stored.
    #[must_use]
    pub fn to_text(self) -> String {
        self.names().join(",")
    }
}

impl Role {
    /// What a session of this role may do, and the most that a user's token may.
    #[must_use]
    pub fn scopes(self) -> ScopeSet {
        let member = ScopeSet::of(&[
            Scope::OrgRead,
            Scope::MemberRead,
            Scope::ProjectRead,
            Scope::ProjectReleases,
            Scope::TeamRead,
            Scope::EventRead,
            Scope::EventWrite,
            Scope::ConnectorRead,
        ]);
        match self {
            Self::Member => member,
            Self::Manager => member.union(ScopeSet::of(&[
                Scope::OrgWrite,
                Scope::OrgIntegrations,
                Scope::OrgCi,
                Scope::ProjectWrite,
                Scope::ProjectAdmin,
                Scope::EventAdmin,
                Scope::ConnectorWrite,
                Scope::ConnectorProxy,
            ])),
            Self::Owner => ScopeSet::all(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip() {
        let set = ScopeSet::parse("org:read, event:write project:releases").unwrap();
        assert_eq!(set.to_text(), "org:read,project:releases,event:write");
        assert_eq!(
            ScopeSet::parse(&ScopeSet::all().to_text()),
            Ok(ScopeSet::all())
        );
        assert_eq!(ScopeSet::parse("org:raed"), Err("org:raed".to_owned()));
    }

    #[test]
    fn roles_grow() {
        let (member, manager, owner) = (
            Role::Member.scopes(),
            Role::Manager.scopes(),
            Role::Owner.scopes(),
        );
        assert_eq!(member.intersection(manager), member);
        assert_eq!(manager.intersection(owner), manager);
        assert!(!member.has(Scope::OrgIntegrations) && manager.has(Scope::OrgIntegrations));
        assert!(!manager.has(Scope::OrgAdmin) && owner.has(Scope::OrgAdmin));
    }
}
