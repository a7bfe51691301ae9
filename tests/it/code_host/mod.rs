//! Every call of the seam to both products, on one real history: what comes back is what git says.

use std::path::{Path, PathBuf};

use bitbucket_sandbox::model::{Permission, Secret};
use bitbucket_sandbox::{NewBulk, NewCredential, NewMember, NewUser, Sandbox};
use serde_json::json;
use tracebucket::bitbucket::cloud::CloudHost;
use tracebucket::bitbucket::{Credential, Host, RepoRef};
use tracebucket::features::links::{CredentialKind, features};

use crate::support::world::{bitbucket_and_app, commit, git};
use crate::support::{Backend, TestApp, schemas};

mod code;
mod hooks;
mod places;
mod reviews;

const MIB: usize = 1024 * 1024;
/// Repositories beside the one with the history.
const OTHERS: u32 = 120;

/// One of the two products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Cloud,
    DataCenter,
}

/// The history, as hashes of what matters of it.
struct History {
    root: String,
    /// `cart.py` became `shop/cart.py`.
    rename: String,
    /// Newest commit of `feature/total`, which was merged.
    feature: String,
    merge: String,
    /// Newest commit of `main`.
    head: String,
    /// Both commits of `fix/rounding`, which parted from `main` before its newest commit.
    fix: [String; 2],
}

/// A host that was asked for by its trait alone.
struct Scene {
    side: Side,
    host: Host,
    repo: RepoRef,
    bitbucket: Sandbox,
    work: PathBuf,
    history: History,
    t: TestApp,
    folder: tempfile::TempDir,
}

/// A branch with a slash that is merged, a rename, names with a blank and with letters beyond ASCII, a file that
/// goes, and a branch that waits. Author and committer are two people in two zones.
fn tell(work: &Path) -> History {
    let ten = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n";
    let root = commit(work, "cart.py", ten, "Sell");
    std::fs::create_dir_all(work.join("docs/für alle")).unwrap();
    commit(work, "docs/für alle/größe 1.txt", "eins\nzwei\n", "Explain");
    commit(work, "old.txt", "old\n", "Keep");
    std::fs::create_dir(work.join("shop")).unwrap();
    git(work, &["mv", "cart.py", "shop/cart.py"]);
    let moved = ten.replace("two", "2");
    let rename = commit(
        work,
        "shop/cart.py",
        &moved,
        "Move the cart\n\nIt is the shop's.",
    );

    git(work, &["checkout", "-q", "-b", "feature/total"]);
    std::fs::write(work.join("docs/für alle/größe 1.txt"), "eins\n2\ndrei\n").unwrap();
    git(work, &["add", "."]);
    let author = "--author=Ada Lind <ada@acme.example>";
    let date = "--date=2026-03-01T10:00:00+05:30";
    git(work, &["commit", "-q", author, date, "-m", "Count further"]);
    let feature = git(work, &["rev-parse", "HEAD"]);
    git(work, &["checkout", "-q", "main"]);
    git(work, &["rm", "-q", "old.txt"]);
    git(work, &["commit", "-q", "-m", "Throw away"]);
    let merged = [
        "merge",
        "-q",
        "--no-ff",
        "-m",
        "Merge the total",
        "feature/total",
    ];
    git(work, &merged);
    let merge = git(work, &["rev-parse", "HEAD"]);

    git(work, &["checkout", "-q", "-b", "fix/rounding"]);
    let first = commit(work, "shop/round.py", "import math\n", "Round");
    let second = commit(
        work,
        "shop/round.py",
        "import math\nfloor = math.floor\n",
        "Round down",
    );
    git(work, &["checkout", "-q", "main"]);
    let head = commit(
        work,
        "shop/cart.py",
        &moved.replace("nine", "9"),
        "Sell nine",
    );
    let branches = [
        "push",
        "-q",
        "origin",
        "main",
        "feature/total",
        "fix/rounding",
    ];
    git(work, &branches);
    History {
        root,
        rename,
        feature,
        merge,
        head,
        fix: [first, second],
    }
}

/// Ada, who administers the workspace.
fn ada(bitbucket: &Sandbox) {
    let person = NewUser {
        display_name: "Ada Lind".into(),
        nickname: "ada".into(),
        email: Some("ada@acme.example".into()),
    };
    bitbucket.create_user(&person).unwrap();
    let member =
        json!({ "workspace": "acme", "user": "ada", "role": "owner", "permission": "admin" });
    let member: NewMember = serde_json::from_value(member).unwrap();
    bitbucket.add_member(&member).unwrap();
}

/// What the product asks for, and not more.
fn token(bitbucket: &Sandbox, side: Side) -> Secret {
    let new = match side {
        Side::Cloud => NewCredential::WorkspaceAccessToken {
            workspace: "acme".into(),
            name: "tracebucket".into(),
            scopes: features::wanted_scopes(CredentialKind::WorkspaceToken)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            expires_in: None,
        },
        Side::DataCenter => NewCredential::DataCenterToken {
            user: "ada".into(),
            permission: Permission::Admin,
            expires_in: None,
        },
    };
    bitbucket.create_credential(&new).unwrap().secret
}

impl Scene {
    async fn start(side: Side) -> Self {
        let (bitbucket, t, folder) = bitbucket_and_app(Backend::Sqlite).await;
        let others = NewBulk {
            workspace: "acme".into(),
            prefix: "lib".into(),
            count: OTHERS,
        };
        bitbucket.create_bulk(&others).unwrap();
        ada(&bitbucket);
        let work = folder.path().join("work");
        let url = bitbucket.clone_url("acme/shop");
        git(folder.path(), &["clone", "-q", &url, "work"]);
        git(&work, &["checkout", "-q", "-B", "main"]);
        let history = tell(&work);
        let signs = Credential::Bearer(token(&bitbucket, side).expose().into());
        let client = &t.app.bitbucket;
        let (host, name) = match side {
            Side::Cloud => {
                let cloud = client.for_credential(signs);
                let uuid = cloud.workspace("acme").await.unwrap().uuid.unwrap();
                let host = CloudHost::new(cloud, uuid.to_string());
                (Host::Cloud(host), "acme/shop")
            }
            Side::DataCenter => {
                let base = bitbucket.url().parse().unwrap();
                let server = client.for_server(None, base, signs);
                (Host::DataCenter(server), "ACME/shop")
            }
        };
        bitbucket.clear_calls();
        Self {
            side,
            host,
            repo: RepoRef::from_full_name(name).unwrap(),
            bitbucket,
            work,
            history,
            t,
            folder,
        }
    }

    /// What git says, with names as they are.
    fn git(&self, args: &[&str]) -> String {
        let mut all = vec!["-c", "core.quotepath=off"];
        all.extend(args);
        git(&self.work, &all)
    }

    /// Its lines.
    fn lines(&self, args: &[&str]) -> Vec<String> {
        self.git(args).lines().map(str::to_owned).collect()
    }

    /// Bitbucket was called by its rules, and answered by its document.
    fn finish(self) {
        let violations = self.bitbucket.take_violations();
        assert!(violations.is_empty(), "{violations:#?}");
        schemas::hold(&self.bitbucket.take_answers());
    }
}

/// Writes a test of each chapter for each product.
macro_rules! on_both_sides {
    ($(async fn $name:ident($scene:ident) $body:block)+) => {
        $(mod $name {
            use super::*;
            use crate::code_host::Side;
            async fn story($scene: &Scene) $body

            async fn told(side: Side) {
                let scene = Scene::start(side).await;
                story(&scene).await;
                scene.finish();
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn cloud() {
                told(Side::Cloud).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn data_center() {
                told(Side::DataCenter).await;
            }
        })+
    };
}
use on_both_sides;
