//! The tables of links, repositories and hooks. Every function takes the organization first, but for the few that
//! follow an installation or walk all rows.

mod hooks;
mod links;
mod repos;

pub use hooks::{Hook, find_hook, hooks_of};
pub(super) use hooks::{
    forget_hook, hook_registered, hook_state, hooks_after, replace_sealed, rotate_secret,
    stale_hooks, touch_delivery, want_hook,
};
pub use links::{Link, find_link, list_links};
pub(super) use links::{
    LinkFacts, every_link, find_any_link, links_of_installation, put_link, set_link_config,
    set_link_reason, set_link_status,
};
pub use repos::{
    Repo, RepoFilter, count_repos, find_repo, find_repo_by_external, find_repo_by_name, list_repos,
    repos_by_ids, repos_of_link,
};
pub(super) use repos::{
    RepoFacts, Taken, edit_repo, insert_unlinked, move_repos, refresh_repo, rename_repo, take_repo,
    unlinked_repos, write_repo,
};
