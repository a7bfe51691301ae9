//! Which operations go, and when (bitbucket.md §2.1, §2.2).

use crate::bitbucket::paths::operation::Deprecation;

/// CHANGE-2770: lists across workspaces answer 410 (bitbucket.md §2.1, §2.2).
pub(super) const CROSS_WORKSPACE: Deprecation = Deprecation::Removed {
    on: "2026-04-14",
    status: Some(410),
};

/// The same family, but no answer was recorded (bitbucket.md §2.2).
pub(super) const ALL_REPOSITORIES: Deprecation = Deprecation::Removed {
    on: "2026-04-14",
    status: None,
};

/// The tracker went with its data; no answer was recorded (bitbucket.md §2.1, §2.2).
pub(super) const ISSUE_TRACKER: Deprecation = Deprecation::Removed {
    on: "2026-08-20",
    status: None,
};

/// No successor was named (bitbucket.md §2.1).
pub(super) const CODE_SEARCH: Deprecation = Deprecation::Deprecated {
    since: Some("2026-11-01"),
};

/// Linkers still answered in May 2026 and are gone from the document since August (bitbucket.md §2.1).
pub(super) const LINKERS: Deprecation = Deprecation::Deprecated {
    since: Some("2026-05"),
};

/// Support for Connect ends (bitbucket.md §2.1).
pub(super) const CONNECT: Deprecation = Deprecation::Ends { on: "2027-01-31" };

/// Marked in the document without a date.
pub(super) const MARKED: Deprecation = Deprecation::Deprecated { since: None };
