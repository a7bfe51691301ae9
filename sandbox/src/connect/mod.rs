//! Atlassian Connect: descriptor, lifecycle callbacks, install pages (bitbucket.md §1).

pub(crate) mod descriptor;
pub(crate) mod install;
pub(crate) mod site;
