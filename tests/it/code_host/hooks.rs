//! Webhooks, from the first call to the last delivery.

use tracebucket::bitbucket::cloud::HookSpec;
use tracebucket::bitbucket::page::Caps;
use tracebucket::kit::crypto::Secret;

use super::{Scene, on_both_sides};
use crate::support::PATIENCE;
use crate::support::world::commit;

on_both_sides! {
    async fn hooks_live_and_go(scene) {
        let (host, repo) = (&scene.host, &scene.repo);
        let (push, opened) = match scene.side {
            Side::Cloud => ("repo:push", "pullrequest:created"),
            Side::DataCenter => ("repo:refs_changed", "pr:opened"),
        };
        let url = scene.t.url("/health/");
        let (first, second) = (Secret::from("first"), Secret::from("second"));
        let spec = HookSpec { description: "Tracebucket", url: &url, events: &[push], secret: &first };
        let made = host.create_hook(repo, &spec).await.unwrap();
        let id = made.uuid.clone().unwrap();
        let both = [push, opened];
        let wider = HookSpec { events: &both, secret: &second, description: "Tracebucket 2", ..spec };
        let changed = host.update_hook(repo, &id, &wider).await.unwrap();
        assert_eq!(changed.uuid.as_deref(), Some(id.as_str()));
        let listed = host.hooks(repo, Caps::DEFAULT).await.unwrap();
        assert_eq!((listed.items.len(), listed.complete), (1, true));
        let own = &listed.items[0];
        assert_eq!((own.url.as_deref(), own.description.as_deref()), (Some(url.as_str()), Some("Tracebucket 2")));
        assert_eq!((own.active, own.events.as_slice()), (Some(true), both.map(str::to_owned).as_slice()));

        commit(&scene.work, "more.txt", "more\n", "More");
        scene.git(&["push", "-q", "origin", "HEAD:main"]);
        assert!(scene.bitbucket.settle(PATIENCE).await);
        let told: Vec<String> = scene.bitbucket.deliveries().into_iter().map(|delivery| delivery.event).collect();
        assert_eq!(told, [push]);

        host.delete_hook(repo, &id).await.unwrap();
        host.delete_hook(repo, &id).await.unwrap();
        assert!(host.hooks(repo, Caps::DEFAULT).await.unwrap().items.is_empty());
        let gone = host.update_hook(repo, &id, &wider).await.unwrap_err();
        assert!(gone.is_absent(), "{gone:?}");
    }
}
