//! What a host can do, and which repositories and branches it has.

use tracebucket::bitbucket::RepoRef;
use tracebucket::bitbucket::page::Caps;

use super::{OTHERS, Scene, on_both_sides};

on_both_sides! {
    async fn a_host_says_what_it_cannot_do(scene) {
        let off: Vec<&str> = scene.host.capabilities().iter()
            .filter(|one| one.off.is_some()).map(|one| one.key).collect();
        let expected: &[&str] = match scene.side {
            // The stand-in has an address of its own: like Cloud, with issues.
            Side::Cloud => &["blame"],
            Side::DataCenter => &["issues", "pipelines", "deployments"],
        };
        assert_eq!(off, expected);
        assert_eq!(scene.host.cloud().is_some(), scene.side == Side::Cloud);
        scene.host.probe().await.unwrap();
    }

    async fn repositories_are_found_and_walked(scene) {
        let shop = scene.host.repository(&scene.repo).await.unwrap();
        assert_eq!(shop.full_name, scene.repo.to_string());
        assert_eq!(shop.main_branch.as_deref(), Some("main"));
        assert_eq!(shop.has_tracker, Some(scene.side == Side::Cloud));
        assert_eq!(shop.workspace.is_some(), scene.side == Side::Cloud);
        assert!(shop.url.starts_with(scene.bitbucket.url()) && shop.url.ends_with("/shop"), "{}", shop.url);

        let all = scene.host.repositories("", Caps::DEFAULT).await.unwrap();
        assert_eq!((all.items.len(), all.complete), (OTHERS as usize + 1, true));
        let listed = all.items.iter().find(|repo| repo.id == shop.id).unwrap();
        assert_eq!(listed.full_name, shop.full_name);
        assert_eq!(listed.main_branch.is_some(), scene.host.lists_main_branches());
        let few = scene.host.repositories("lib", Caps::items(7)).await.unwrap();
        assert_eq!((few.items.len(), few.complete), (7, false));
        let exact = scene.host.repositories("lib-00042", Caps::DEFAULT).await.unwrap();
        assert!(exact.items[0].full_name.ends_with("/lib-00042"));
        assert!(scene.host.repositories("nothing of this", Caps::DEFAULT).await.unwrap().items.is_empty());

        // Page by page it is the same list.
        let (mut names, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = scene.host.repositories_page("", cursor.as_ref()).await.unwrap();
            names.extend(page.items.into_iter().map(|repo| repo.full_name));
            pages += 1;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        names.sort();
        let mut whole: Vec<String> = all.items.into_iter().map(|repo| repo.full_name).collect();
        whole.sort();
        assert_eq!(names, whole);
        assert!(pages > 1);
        // One that nothing was pushed to has no branch.
        let empty = RepoRef::from_full_name(&scene.repo.to_string().replace("shop", "lib-00001")).unwrap();
        let found = scene.host.repository(&empty).await.unwrap();
        assert_eq!(found.main_branch, None);
        assert!(scene.host.branches(&empty, Caps::DEFAULT).await.unwrap().items.is_empty());
    }

    async fn branches_are_gits(scene) {
        let found = scene.host.branches(&scene.repo, Caps::DEFAULT).await.unwrap();
        let mut seen: Vec<String> = found.items.iter()
            .map(|branch| format!("{} {}", branch.head.as_deref().unwrap(), branch.name)).collect();
        seen.sort();
        let mut own = scene.lines(&["for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads"]);
        own.sort();
        assert_eq!(seen, own);
        assert!(found.complete && own.iter().any(|line| line.ends_with(" feature/total")));
        let one = scene.host.branches(&scene.repo, Caps::items(1)).await.unwrap();
        assert_eq!((one.items.len(), one.complete), (1, false));
    }
}
