//! The tables of links, repositories and hooks. Every function takes the organization first, but for the few that
//! follow an installation or walk all rows.

mod bulk;
mod credentials;
mod digests;
mod hooks;
mod links;
mod repos;

pub(super) use bulk::{
    Bulk, BulkItem, NewBulk, count_hooks, count_unlisted, end_item, failed_items, find_bulk,
    hold_bulk, insert_bulk, insert_pick, last_bulk, move_bulk, note_listed, purge_bulks, recount,
    retry_bulk, waiting_items,
};
pub(super) use credentials::{
    Flow, SealedCredential, claim_refresh, credentials_after, find_credential, forget_credential,
    insert_flow, is_version, links_to_probe, purge_flows, put_credential, release_refresh,
    replace_sealed_credential, save_refreshed, set_expiry, set_warned, take_flow,
};
pub(super) use digests::{failed_hooks, find_digest, put_digest};
pub use hooks::{Hook, find_hook, hooks_of};
pub(super) use hooks::{
    Registered, count_hooks_of_link, forget_hook, hook_begun, hook_finding, hook_registered,
    hook_state, hooks_after, replace_sealed, repos_with_hook, rotate_secret, stale_hooks,
    touch_delivery, want_hook,
};
pub use links::{Link, LinkInUse, find_link, links_in_use, list_links};
pub(super) use links::{
    LinkFacts, NamedFacts, break_link, describe_link, every_link, find_any_link, find_link_of,
    hold_link, insert_named_link, links_of_installation, list_links_of, mend_link, note_check,
    put_link, set_link_config, set_link_kind, set_link_reason, set_link_status,
};
pub use repos::{
    Repo, RepoFilter, count_repos, find_repo, find_repo_by_external, find_repo_by_name, list_repos,
    repos_by_ids, repos_of_link,
};
pub(super) use repos::{
    RepoFacts, Taken, edit_repo, hold_repo, insert_unlinked, move_repos, refresh_repo, rename_repo,
    take_repo, unlinked_repos, write_repo,
};
