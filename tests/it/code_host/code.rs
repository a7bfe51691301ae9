//! Commits, changes, diffs, files, their history and who wrote them.

use tracebucket::bitbucket::Kind;
use tracebucket::bitbucket::host::{ChangeKind, FileChange, Range};
use tracebucket::bitbucket::page::Caps;

use super::{MIB, Scene, on_both_sides};

const SIZE: &str = "docs/für alle/größe 1.txt";

/// A diff without the abbreviated hashes of its blobs, whose length is git's taste.
fn plain(diff: &str) -> String {
    let lines = diff.lines().filter(|line| !line.starts_with("index "));
    lines.collect::<Vec<_>>().join("\n")
}

/// As `git diff --name-status` writes it, without the likeness of renamed files.
fn status(change: &FileChange) -> String {
    let path = &change.path;
    match (change.kind, &change.old_path) {
        (ChangeKind::Renamed, Some(old)) => format!("R\t{old}\t{path}"),
        (ChangeKind::Added, None) => format!("A\t{path}"),
        (ChangeKind::Removed, None) => format!("D\t{path}"),
        (ChangeKind::Modified, None) => format!("M\t{path}"),
        other => format!("{other:?}\t{path}"),
    }
}

impl Scene {
    async fn changes(&self, range: Range<'_>) -> Vec<String> {
        let found = self
            .host
            .changes(&self.repo, range, Caps::DEFAULT)
            .await
            .unwrap();
        assert!(found.complete);
        let mut all: Vec<String> = found.items.iter().map(status).collect();
        all.sort();
        all
    }

    async fn diff(&self, range: Range<'_>, path: Option<&str>) -> String {
        let bytes = self.host.diff(&self.repo, range, path, MIB).await.unwrap();
        plain(&String::from_utf8(bytes).unwrap())
    }

    /// What git says of two trees.
    fn between(&self, old: &str, new: &str) -> Vec<String> {
        let lines = self.lines(&["diff", "-M", "--name-status", old, new]);
        let mut all: Vec<String> = lines
            .into_iter()
            .map(|line| match line.split_once('\t') {
                Some((kind, rest)) => format!("{}\t{rest}", &kind[..1]),
                None => line,
            })
            .collect();
        all.sort();
        all
    }

    async fn history(&self, at: &str, path: &str) {
        let found = self
            .host
            .history(&self.repo, at, path, Caps::DEFAULT)
            .await
            .unwrap();
        let hashes: Vec<String> = found
            .items
            .iter()
            .map(|version| version.hash.clone())
            .collect();
        assert_eq!(
            hashes,
            self.lines(&["log", "--follow", "--format=%H", at, "--", path]),
            "{at} {path}"
        );
        for version in found.items {
            let subject = self.git(&["show", "-s", "--format=%s", &version.hash]);
            let message = version.commit.and_then(|commit| commit.message).unwrap();
            assert_eq!(message.lines().next(), Some(subject.as_str()));
            if let Some(name) = version.path {
                self.git(&["cat-file", "-e", &format!("{}:{name}", version.hash)]);
            }
        }
    }

    /// Line, count, commit and author of each span, as `git blame` sees it.
    fn blamed(&self, at: &str, path: &str) -> Vec<(u64, u64, String, String)> {
        let mut spans = Vec::new();
        for line in self.lines(&["blame", "--porcelain", at, "--", path]) {
            let words: Vec<&str> = line.split(' ').collect();
            if let [hash, _, line, count] = words.as_slice()
                && hash.len() == 40
                && let (Ok(line), Ok(count)) = (line.parse(), count.parse())
            {
                let email = self.git(&["show", "-s", "--format=%ae", hash]);
                spans.push((line, count, (*hash).to_owned(), email));
            }
        }
        spans
    }
}

on_both_sides! {
    async fn commits_are_gits(scene) {
        let (host, repo, h) = (&scene.host, &scene.repo, &scene.history);
        for hash in [&h.root, &h.rename, &h.feature, &h.merge] {
            let found = host.commit(repo, hash).await.unwrap();
            let own = scene.lines(&["show", "-s", "--format=%H%n%an%n%ae%n%at%n%P", hash]);
            let signature = found.author.as_ref().unwrap().signature();
            let parents: Vec<String> = found.parents.iter().map(|parent| parent.hash.clone().unwrap()).collect();
            let seen = [
                found.hash.clone(),
                signature.name.unwrap(),
                signature.email.unwrap(),
                found.moment().unwrap().secs().to_string(),
                parents.join(" "),
            ];
            let own: Vec<String> = (0..5).map(|at| own.get(at).cloned().unwrap_or_default()).collect();
            assert_eq!(seen.as_slice(), own);
            let message = found.message.unwrap();
            assert_eq!(message.trim_end(), scene.git(&["show", "-s", "--format=%B", hash]));
        }
        let missing = host.commit(repo, &"0".repeat(40)).await.unwrap_err();
        assert!(missing.is_absent(), "{missing:?}");
    }

    async fn ranges_are_gits(scene) {
        let (host, repo, h) = (&scene.host, &scene.repo, &scene.history);
        for (include, exclude) in [
            ("main", None),
            (h.head.as_str(), Some(h.rename.as_str())),
            ("feature/total", Some(h.root.as_str())),
            // Neither is behind the other.
            ("fix/rounding", Some("main")),
            ("main", Some("fix/rounding")),
            ("main", Some("main")),
        ] {
            let found = host.commit_range(repo, include, exclude, Caps::DEFAULT).await.unwrap();
            let hashes: Vec<String> = found.items.iter().map(|commit| commit.hash.clone()).collect();
            let exclude = exclude.map(|name| format!("^{name}"));
            let mut args = vec!["rev-list", "--topo-order", include];
            args.extend(exclude.as_deref());
            assert_eq!(hashes, scene.lines(&args), "{include} {exclude:?}");
            assert!(found.complete);
        }
        let few = host.commit_range(repo, "main", None, Caps::items(3)).await.unwrap();
        assert_eq!((few.items.len(), few.complete), (3, false));
    }

    async fn changes_and_diffs_are_gits(scene) {
        let h = &scene.history;
        let empty = scene.git(&["hash-object", "-t", "tree", "/dev/null"]);
        for (hash, parent) in [
            (&h.root, empty.clone()),
            (&h.rename, format!("{}^", h.rename)),
            (&h.feature, format!("{}^", h.feature)),
            (&h.merge, format!("{}^1", h.merge)),
        ] {
            let of = Range::of_commit(hash);
            assert_eq!(scene.changes(of).await, scene.between(&parent, hash));
            assert_eq!(scene.diff(of, None).await, plain(&scene.git(&["diff", "-M", &parent, hash])));
        }
        // A range, also back in time and between two branches that parted: both trees are compared.
        for (from, to) in [
            (&h.root, &h.head),
            (&h.rename, &h.merge),
            (&h.head, &h.rename),
            (&h.head, &h.fix[1]),
            (&h.fix[1], &h.head),
        ] {
            let range = Range { from: Some(from), to };
            assert_eq!(scene.changes(range).await, scene.between(from, to), "{from}..{to}");
            assert_eq!(scene.diff(range, None).await, plain(&scene.git(&["diff", "-M", from, to])));
        }
        let narrow = Range { from: Some(&h.root), to: &h.head };
        assert_eq!(scene.diff(narrow, Some(SIZE)).await, plain(&scene.git(&["diff", &h.root, &h.head, "--", SIZE])));
        let long = scene.host.diff(&scene.repo, narrow, None, 10).await.unwrap_err();
        assert_eq!(long.kind(), Kind::TooLarge);
        let few = scene.host.changes(&scene.repo, narrow, Caps::items(1)).await.unwrap();
        assert_eq!((few.items.len(), few.complete), (1, false));
    }

    async fn files_are_gits(scene) {
        let (host, repo, h) = (&scene.host, &scene.repo, &scene.history);
        for (at, path) in [
            (h.root.as_str(), "cart.py"),
            ("main", "shop/cart.py"),
            ("feature/total", SIZE),
            (h.rename.as_str(), "old.txt"),
        ] {
            let bytes = host.file(repo, at, path, MIB).await.unwrap();
            let own = scene.git(&["show", &format!("{at}:{path}")]);
            assert_eq!(String::from_utf8(bytes).unwrap().trim_end(), own, "{at} {path}");
        }
        let gone = host.file(repo, "main", "old.txt", MIB).await.unwrap_err();
        assert!(gone.is_absent(), "{gone:?}");
        let long = host.file(repo, "main", "shop/cart.py", 5).await.unwrap_err();
        assert_eq!(long.kind(), Kind::TooLarge);
    }

    async fn history_and_blame_are_gits(scene) {
        let (host, repo) = (&scene.host, &scene.repo);
        scene.history("main", "shop/cart.py").await;
        scene.history("main", SIZE).await;
        scene.history("feature/total", SIZE).await;
        scene.history(&scene.history.root, "cart.py").await;
        let few = host.history(repo, "main", "shop/cart.py", Caps::items(1)).await.unwrap();
        assert_eq!((few.items.len(), few.complete), (1, false));
        for (at, path) in [("main", "shop/cart.py"), ("feature/total", SIZE)] {
            let found = host.blame(repo, at, path).await.unwrap();
            let off = host.capabilities().iter().any(|one| one.key == "blame" && one.off.is_some());
            assert_eq!(found.is_none(), off);
            let Some(spans) = found else { continue };
            let spans: Vec<_> = spans.into_iter()
                .map(|span| (span.line, span.lines, span.hash, span.email.unwrap())).collect();
            assert_eq!(spans, scene.blamed(at, path));
        }
    }
}
