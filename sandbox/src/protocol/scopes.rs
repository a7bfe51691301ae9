//! Classic scope names and what each implies (bitbucket.md §6).

/// Every scope a descriptor or token may name.
pub const KNOWN: &[&str] = &[
    "repository",
    "repository:write",
    "repository:admin",
    "repository:delete",
    "pullrequest",
    "pullrequest:write",
    "project",
    "project:admin",
    "project:write",
    "issue",
    "issue:write",
    "wiki",
    "webhook",
    "snippet",
    "snippet:write",
    "email",
    "account",
    "account:write",
    "pipeline",
    "pipeline:write",
    "pipeline:variable",
    "runner",
    "runner:write",
    "team",
    "team:write",
];

/// Granular scopes of API tokens; none implies another.
pub const GRANULAR: &[&str] = &[
    "read:repository:bitbucket",
    "write:repository:bitbucket",
    "admin:repository:bitbucket",
    "delete:repository:bitbucket",
    "read:pullrequest:bitbucket",
    "write:pullrequest:bitbucket",
    "read:project:bitbucket",
    "admin:project:bitbucket",
    "read:workspace:bitbucket",
    "admin:workspace:bitbucket",
    "read:user:bitbucket",
    "write:user:bitbucket",
    "read:pipeline:bitbucket",
    "write:pipeline:bitbucket",
    "admin:pipeline:bitbucket",
    "read:runner:bitbucket",
    "write:runner:bitbucket",
    "read:issue:bitbucket",
    "write:issue:bitbucket",
    "delete:issue:bitbucket",
    "read:webhook:bitbucket",
    "write:webhook:bitbucket",
    "delete:webhook:bitbucket",
    "read:snippet:bitbucket",
    "write:snippet:bitbucket",
    "delete:snippet:bitbucket",
    "read:ssh-key:bitbucket",
    "write:ssh-key:bitbucket",
    "delete:ssh-key:bitbucket",
    "read:gpg-key:bitbucket",
    "write:gpg-key:bitbucket",
    "delete:gpg-key:bitbucket",
    "read:permission:bitbucket",
    "write:permission:bitbucket",
    "delete:permission:bitbucket",
];

/// Scopes that a repository access token may hold; a project one may hold `project` too, a
/// workspace one also `project:admin` and `account` (bitbucket.md §6).
pub const ACCESS_TOKEN: &[&str] = &[
    "repository",
    "repository:write",
    "repository:admin",
    "repository:delete",
    "pullrequest",
    "pullrequest:write",
    "webhook",
    "pipeline",
    "pipeline:write",
    "pipeline:variable",
    "runner",
    "runner:write",
];

/// Scopes granted directly by `scope`; the closure is taken in [`allows`].
fn implied(scope: &str) -> &'static [&'static str] {
    match scope {
        "repository:write" | "pullrequest" | "project" => &["repository"],
        "pullrequest:write" => &["pullrequest", "repository:write"],
        "issue:write" => &["issue"],
        "account:write" => &["account"],
        "snippet:write" => &["snippet"],
        "pipeline:write" => &["pipeline"],
        "runner:write" => &["runner"],
        "team:write" => &["team"],
        _ => &[],
    }
}

/// Whether a credential with `granted` may do what needs `wanted`.
pub fn allows<S: AsRef<str>>(granted: &[S], wanted: &str) -> bool {
    granted.iter().any(|scope| reaches(scope.as_ref(), wanted))
}

fn reaches(scope: &str, wanted: &str) -> bool {
    scope == wanted || implied(scope).iter().any(|next| reaches(next, wanted))
}

/// The scope needed to read what a webhook of this event carries (bitbucket.md §3.4).
pub fn of_event(event: &str) -> &'static str {
    match event.split(':').next() {
        Some("pullrequest") => "pullrequest",
        Some("issue") => "issue",
        Some("pipeline") => "pipeline",
        Some("project") => "project",
        _ => "repository",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implications() {
        assert!(allows(&["pullrequest:write"], "repository"));
        assert!(allows(&["issue:write"], "issue"));
        assert!(!allows(&["issue"], "issue:write"));
        assert!(!allows(&["repository:admin"], "repository"));
        assert!(!allows(&["repository"], "webhook"));
        assert!(!allows::<&str>(&[], "repository"));
    }
}
