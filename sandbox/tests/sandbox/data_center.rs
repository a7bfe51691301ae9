//! Data Center on the same git repositories.

use bitbucket_sandbox::model::{Credential, Permission, Secret};
use bitbucket_sandbox::protocol::jwt::hub_signature;
use bitbucket_sandbox::{Flavor, NewCredential, RateLimit, Rule};
use serde_json::{Value, json};

use crate::kit::{Clone, Kit, REPO};
use crate::rules::Book;

const API: &str = "/rest/api/latest";
const SHOP: &str = "/rest/api/latest/projects/ACME/repos/shop";
const ZERO: &str = "0000000000000000000000000000000000000000";

impl Kit {
    fn dc_token(&self, user: &str, permission: Permission) -> Credential {
        let new = NewCredential::DataCenterToken {
            user: user.into(),
            permission,
            expires_in: Some(3600),
        };
        self.sandbox.create_credential(&new).unwrap()
    }

    async fn dc(&self, who: &Credential, target: &str) -> Value {
        let answer = self.with(who, "GET", target, None).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{target}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn dc_all(&self, who: &Credential, target: &str, limit: usize) -> Vec<Value> {
        let (mut values, mut start) = (Vec::new(), 0);
        let joint = if target.contains('?') { '&' } else { '?' };
        loop {
            let page = self
                .dc(who, &format!("{target}{joint}limit={limit}&start={start}"))
                .await;
            values.extend(page["values"].as_array().unwrap().iter().cloned());
            match page["isLastPage"].as_bool().unwrap() {
                true => return values,
                false => start = page["nextPageStart"].as_u64().unwrap(),
            }
        }
    }
}

fn column(values: &[Value], pointer: &str) -> Vec<String> {
    let texts = values.iter().map(|v| v.pointer(pointer).unwrap());
    texts.map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// Three commits on `main`, a merge of a branch, a tag.
fn history(kit: &Kit) -> (Clone, Vec<String>) {
    let clone = kit.clone();
    clone.write("src/lib.rs", "one\ntwo\nthree\n");
    clone.write("README.md", "shop\n");
    let first = clone.commit("First");
    clone.write("src/lib.rs", "one\n2\nthree\nfour\n");
    let second = clone.commit("Second\n\nwith a body");
    clone.git(&["checkout", "-q", "-b", "fix/cart"]);
    clone.git(&["mv", "README.md", "docs.md"]);
    let third = clone.commit("Third");
    clone.git(&["checkout", "-q", "main"]);
    clone.git(&["merge", "-q", "--no-ff", "-m", "Merge", "fix/cart"]);
    let merge = clone.git(&["rev-parse", "HEAD"]);
    clone.git(&["tag", "v1"]);
    clone.push(&["origin", "main", "fix/cart", "v1"]);
    (clone, vec![first, second, third, merge])
}

#[tokio::test]
async fn the_server_its_projects_and_repositories() {
    let kit = Kit::start().await;
    kit.sandbox.create_workspace("other").unwrap();
    kit.person("ada", Permission::Write);
    let ada = kit.dc_token("ada", Permission::Admin);
    let probe = kit
        .http
        .get(kit.url(&format!("{API}/application-properties")));
    let probe: Value = probe.send().await.unwrap().json().await.unwrap();
    assert_eq!(probe["displayName"], "Bitbucket");
    let answer = kit
        .with(&ada, "GET", &format!("{API}/projects"), None)
        .await;
    assert_eq!(answer.headers()["x-ausername"], "ada");
    let page: Value = answer.json().await.unwrap();
    assert_eq!(column(page["values"].as_array().unwrap(), "/key"), ["ACME"]);
    assert_eq!(
        (&page["isLastPage"], &page["nextPageStart"]),
        (&json!(true), &Value::Null)
    );
    let repo = kit.dc(&ada, SHOP).await;
    assert_eq!(
        (repo["slug"].as_str(), repo["project"]["key"].as_str()),
        (Some("shop"), Some("ACME"))
    );
    assert!(repo["id"].is_u64());
    assert_eq!(repo["links"]["clone"][0]["href"], kit.url("/acme/shop.git"));
    let old = kit.dc(&ada, "/rest/api/1.0/projects/acme/repos/shop").await;
    assert_eq!(old["id"], repo["id"]);
    assert_eq!(
        kit.dc(&ada, &format!("{API}/repos?name=SHO&permission=REPO_WRITE"))
            .await["size"],
        1
    );
    assert_eq!(
        kit.dc(&ada, &format!("{API}/repos?permission=REPO_ADMIN"))
            .await["size"],
        0
    );
    assert_eq!(
        kit.dc(&ada, &format!("{API}/users/ada")).await["displayName"],
        "ada"
    );
    let none = kit
        .dc(
            &ada,
            &format!("{SHOP}/pull-requests?state=ALL&direction=INCOMING"),
        )
        .await;
    assert_eq!(none["size"], 0);
    assert_eq!(
        kit.dc(&ada, &format!("{SHOP}/commits")).await["size"],
        0,
        "nothing was pushed"
    );

    for (target, exception) in [
        (format!("{API}/projects/NONE"), "NoSuchProjectException"),
        (
            format!("{API}/projects/ACME/repos/none"),
            "NoSuchRepositoryException",
        ),
        (format!("{SHOP}/default-branch"), "NoDefaultBranchException"),
        (format!("{SHOP}/commits/abcdef"), "NoSuchCommitException"),
    ] {
        let answer = kit.with(&ada, "GET", &target, None).await;
        assert_eq!(answer.status(), 404, "{target}");
        let body: Value = answer.json().await.unwrap();
        let name = body["errors"][0]["exceptionName"].as_str().unwrap();
        assert!(name.ends_with(exception), "{name}");
    }
    kit.assert_clean();
}

#[tokio::test]
async fn commits_changes_and_diffs() {
    let kit = Kit::start().await;
    kit.person("ada", Permission::Read);
    let ada = kit.dc_token("ada", Permission::Read);
    let (_clone, hashes) = history(&kit);
    let [first, second, third, merge] = hashes.as_slice() else {
        panic!()
    };
    let all = kit.dc_all(&ada, &format!("{SHOP}/commits"), 1).await;
    assert_eq!(
        column(&all, "/id"),
        [merge, third, second, first].map(String::as_str)
    );
    let range = format!("{SHOP}/commits?since={first}&until={second}");
    let some = kit.dc_all(&ada, &range, 25).await;
    assert_eq!(column(&some, "/id"), [second.as_str()]);
    assert_eq!(some[0]["message"], "Second\n\nwith a body");
    assert_eq!(some[0]["author"]["emailAddress"], "ada@example.org");
    assert_eq!(some[0]["author"]["slug"], "ada", "joined by the address");
    assert!(some[0]["authorTimestamp"].as_i64().unwrap() > 1_600_000_000_000);
    assert_eq!(some[0]["parents"][0]["id"], first.as_str());
    let plain = kit
        .dc_all(&ada, &format!("{SHOP}/commits?merges=exclude"), 25)
        .await;
    assert_eq!(plain.len(), 3);
    let merges = kit
        .dc_all(&ada, &format!("{SHOP}/commits?merges=only"), 25)
        .await;
    assert_eq!(column(&merges, "/id"), [merge.as_str()]);
    let touched = kit
        .dc_all(&ada, &format!("{SHOP}/commits?path=src/lib.rs"), 25)
        .await;
    assert_eq!(touched.len(), 2);
    let branch = kit
        .dc_all(
            &ada,
            &format!("{SHOP}/compare/commits?from=refs/heads/fix/cart&to={second}"),
            25,
        )
        .await;
    assert_eq!(column(&branch, "/id"), [third.as_str()]);
    assert_eq!(
        kit.dc(&ada, &format!("{SHOP}/commits/{second}")).await["id"],
        second.as_str()
    );

    let changes = kit
        .dc(&ada, &format!("{SHOP}/commits/{second}/changes"))
        .await;
    assert_eq!(
        (&changes["fromHash"], &changes["toHash"]),
        (&json!(first), &json!(second))
    );
    assert_eq!(changes["values"][0]["type"], "MODIFY");
    assert_eq!(changes["values"][0]["path"]["toString"], "src/lib.rs");
    assert_eq!(changes["values"][0]["path"]["extension"], "rs");
    let moved = kit
        .dc(&ada, &format!("{SHOP}/commits/{third}/changes"))
        .await;
    assert_eq!(moved["values"][0]["type"], "MOVE");
    assert_eq!(moved["values"][0]["srcPath"]["toString"], "README.md");
    let root = kit
        .dc_all(&ada, &format!("{SHOP}/commits/{first}/changes"), 1)
        .await;
    assert_eq!(column(&root, "/type"), ["ADD", "ADD"]);
    assert_eq!(
        kit.dc(&ada, &format!("{SHOP}/commits/{first}/changes"))
            .await["fromHash"],
        Value::Null
    );
    let compared = kit
        .dc(
            &ada,
            &format!("{SHOP}/compare/changes?from=main&to={first}"),
        )
        .await;
    assert_eq!(compared["size"], 2);

    let diff = kit
        .dc(
            &ada,
            &format!("{SHOP}/commits/{second}/diff/src/lib.rs?contextLines=0"),
        )
        .await;
    let hunks = diff["diffs"][0]["hunks"].as_array().unwrap();
    assert_eq!(hunks.len(), 2);
    assert_eq!(hunks[0]["segments"][0]["type"], "REMOVED");
    assert_eq!(hunks[0]["segments"][1]["lines"][0]["line"], "2");
    assert_eq!(diff["diffs"][0]["destination"]["toString"], "src/lib.rs");
    let request = kit
        .http
        .get(kit.url(&format!("{SHOP}/commits/{merge}/diff?since={first}")));
    let request = request
        .bearer_auth(ada.secret.expose())
        .header("Accept", "text/plain");
    let text = request.send().await.unwrap().text().await.unwrap();
    assert!(
        text.contains("rename from README.md") && text.contains("+four"),
        "{text}"
    );
    kit.assert_clean();
}

#[tokio::test]
async fn files_and_refs() {
    let kit = Kit::start().await;
    kit.person("ada", Permission::Read);
    let ada = kit.dc_token("ada", Permission::Read);
    let (_clone, hashes) = history(&kit);
    let [first, second, ..] = hashes.as_slice() else {
        panic!()
    };
    let raw = kit
        .with(
            &ada,
            "GET",
            &format!("{SHOP}/raw/src/lib.rs?at={first}"),
            None,
        )
        .await;
    assert_eq!(raw.text().await.unwrap(), "one\ntwo\nthree\n");
    let raw = kit
        .with(&ada, "GET", &format!("{SHOP}/raw/src/lib.rs"), None)
        .await;
    assert_eq!(
        raw.text().await.unwrap(),
        "one\n2\nthree\nfour\n",
        "the default branch"
    );
    let missing = kit
        .with(&ada, "GET", &format!("{SHOP}/raw/none?at=main"), None)
        .await;
    assert_eq!(missing.status(), 404);
    let files = kit
        .dc_all(&ada, &format!("{SHOP}/files?at=refs/heads/main"), 1)
        .await;
    assert_eq!(files, [json!("docs.md"), json!("src/lib.rs")]);
    assert_eq!(
        kit.dc(&ada, &format!("{SHOP}/files/src")).await["values"],
        json!(["lib.rs"])
    );
    let root = kit.dc(&ada, &format!("{SHOP}/browse")).await;
    let children = root["children"]["values"].as_array().unwrap();
    assert_eq!(column(children, "/type"), ["FILE", "DIRECTORY"]);
    let file = format!("{SHOP}/browse/src/lib.rs");
    assert_eq!(
        kit.dc(&ada, &format!("{file}?type=true")).await,
        json!({"type": "FILE"})
    );
    let lines = kit.dc(&ada, &format!("{file}?limit=2")).await;
    assert_eq!(lines["lines"][1]["text"], "2");
    assert_eq!(
        (&lines["isLastPage"], &lines["nextPageStart"]),
        (&json!(false), &json!(2))
    );
    let blame = kit
        .dc(&ada, &format!("{file}?blame=true&noContent=true"))
        .await;
    let spans: Vec<_> = blame
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["commitId"].clone(), s["lineNumber"].clone()))
        .collect();
    let (one, two) = (json!(first), json!(second));
    assert_eq!(
        spans,
        [
            (one.clone(), json!(1)),
            (two.clone(), json!(2)),
            (one, json!(3)),
            (two, json!(4)),
        ]
    );

    let branches = kit.dc_all(&ada, &format!("{SHOP}/branches"), 1).await;
    assert_eq!(column(&branches, "/displayId"), ["fix/cart", "main"]);
    let found = kit
        .dc(&ada, &format!("{SHOP}/branches?filterText=CART"))
        .await;
    assert_eq!(
        (found["size"].as_u64(), &found["values"][0]["isDefault"]),
        (Some(1), &json!(false))
    );
    for path in ["default-branch", "branches/default"] {
        let default = kit.dc(&ada, &format!("{SHOP}/{path}")).await;
        assert_eq!(
            (default["id"].as_str(), default["type"].as_str()),
            (Some("refs/heads/main"), Some("BRANCH"))
        );
    }
    let tag = kit.dc(&ada, &format!("{SHOP}/tags/v1")).await;
    assert_eq!(
        (tag["type"].as_str(), &tag["latestCommit"]),
        (Some("TAG"), &json!(hashes[3]))
    );
    assert_eq!(kit.dc(&ada, &format!("{SHOP}/tags")).await["size"], 1);
    kit.assert_clean();
}

#[tokio::test]
async fn pushes_reach_the_hooks() {
    let kit = Kit::start().await;
    kit.person("ada", Permission::Admin);
    let ada = kit.dc_token("ada", Permission::Admin);
    let url = format!("{}/dc", kit.app.url);
    let body = json!({
        "name": "tracker", "url": url, "events": ["repo:refs_changed", "pr:merged"],
        "configuration": {"secret": "hush"},
    });
    let hooks = format!("{SHOP}/webhooks");
    let made = kit.with(&ada, "POST", &hooks, Some(body)).await;
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    assert!(!made.to_string().contains("hush"), "{made}");
    let one = format!("{hooks}/{}", made["id"]);
    assert_eq!(kit.dc(&ada, &one).await, made);
    assert_eq!(
        kit.dc(&ada, &format!("{hooks}?event=pr:merged")).await["size"],
        1
    );
    assert_eq!(
        kit.with(&ada, "GET", &format!("{one}/latest"), None)
            .await
            .status(),
        204
    );

    let test = format!("{hooks}/test?url={url}&webhookId={}", made["id"]);
    let tested = kit.with(&ada, "POST", &test, None).await;
    let tested: Value = tested.json().await.unwrap();
    assert_eq!(tested["response"]["statusCode"], 200);
    let ping = kit.app.seen("/dc").pop().unwrap();
    assert_eq!(ping.headers["x-event-key"], "diagnostics:ping");
    assert_eq!(ping.json(), json!({"test": true}));
    let secret = Secret::new("hush");
    assert_eq!(
        ping.headers["x-hub-signature"],
        hub_signature(&secret, &ping.body)
    );

    let (clone, hashes) = history(&kit);
    kit.settle().await;
    let pushed = kit.app.seen("/dc").pop().unwrap();
    assert_eq!(pushed.headers["x-event-key"], "repo:refs_changed");
    assert!(
        pushed.headers.contains_key("x-request-id") && !pushed.headers.contains_key("x-hook-uuid")
    );
    assert_eq!(
        pushed.headers["x-hub-signature"],
        hub_signature(&secret, &pushed.body)
    );
    let body = pushed.json();
    assert_eq!(body["eventKey"], "repo:refs_changed");
    assert_eq!(body["repository"]["project"]["key"], "ACME");
    let changes = body["changes"].as_array().unwrap();
    assert_eq!(
        column(changes, "/refId"),
        ["refs/heads/fix/cart", "refs/heads/main", "refs/tags/v1"]
    );
    assert_eq!(column(changes, "/fromHash"), [ZERO; 3]);
    assert_eq!(column(changes, "/type"), ["ADD"; 3]);
    assert_eq!(changes[2]["ref"]["type"], "TAG");
    assert_eq!(body["toCommit"]["id"], hashes[2].as_str());

    clone.write("more.txt", "1\n");
    let fifth = clone.commit("Fifth");
    clone.push(&["origin", "main", ":fix/cart"]);
    kit.settle().await;
    let body = kit.app.seen("/dc").pop().unwrap().json();
    let changes = body["changes"].as_array().unwrap();
    assert_eq!(column(changes, "/type"), ["DELETE", "UPDATE"]);
    assert_eq!(
        column(changes, "/fromHash"),
        [hashes[2].as_str(), hashes[3].as_str()]
    );
    assert_eq!(column(changes, "/toHash"), [ZERO, fifth.as_str()]);
    assert_eq!(
        column(body["commits"].as_array().unwrap(), "/id"),
        [fifth.as_str()]
    );
    let latest = kit.dc(&ada, &format!("{one}/latest")).await;
    assert_eq!(latest["result"]["outcome"], "SUCCESS");
    assert!(
        kit.sandbox
            .deliveries()
            .iter()
            .all(|d| d.flavor == Flavor::DataCenter)
    );

    // Off, then gone.
    let off =
        json!({"name": "tracker", "url": url, "events": ["repo:refs_changed"], "active": false});
    assert_eq!(kit.with(&ada, "PUT", &one, Some(off)).await.status(), 200);
    let before = kit.app.seen("/dc").len();
    clone.commit("Sixth");
    clone.push(&["origin", "main"]);
    kit.settle().await;
    assert_eq!(kit.app.seen("/dc").len(), before);
    assert_eq!(kit.with(&ada, "DELETE", &one, None).await.status(), 204);
    assert_eq!(kit.with(&ada, "GET", &one, None).await.status(), 404);
    kit.assert_clean();
}

#[tokio::test]
async fn a_token_has_its_own_rate() {
    let kit = Kit::start().await;
    kit.person("ada", Permission::Read);
    let ada = kit.dc_token("ada", Permission::Read);
    kit.sandbox.set_limit(Some(RateLimit {
        limit: 1,
        window_seconds: 60,
        retry_after: Some(4),
        credential: Some(ada.id.clone()),
    }));
    let answer = kit.with(&ada, "GET", SHOP, None).await;
    assert_eq!(
        (
            answer.status().as_u16(),
            &answer.headers()["x-ratelimit-remaining"]
        ),
        (200, &"0".parse().unwrap())
    );
    let over = kit.with(&ada, "GET", SHOP, None).await;
    assert_eq!(
        (over.status().as_u16(), &over.headers()["retry-after"]),
        (429, &"4".parse().unwrap())
    );
    let body: Value = over.json().await.unwrap();
    assert!(body["errors"][0]["message"].is_string());
    kit.assert_clean();
}

/// Every wrong call of this part.
pub(crate) async fn rules(book: &mut Book) {
    let ada = book.kit.dc_token("ada", Permission::Read);
    let secret = ada.secret.expose().to_owned();
    let plain = |book: &Book, header: Option<String>, target: &str| {
        let request = book.kit.http.get(book.kit.url(target));
        match header {
            Some(header) => request.header("Authorization", header).send(),
            None => request.send(),
        }
    };
    let in_query = format!("{SHOP}?access_token={secret}");
    for (rule, header, target) in [
        (Rule::AuthMissing, None, SHOP),
        (Rule::AuthScheme, Some(format!("Basic {secret}")), SHOP),
        (Rule::BearerToken, Some("Bearer none".to_owned()), SHOP),
        (Rule::TokenInQuery, None, in_query.as_str()),
    ] {
        let answer = plain(book, header, target).await.unwrap();
        let got = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        assert!(body["errors"][0]["message"].is_string(), "{body}");
        book.expect(rule, 401, got, target);
    }
    let answer = plain(book, Some(format!("Bearer {secret}")), REPO)
        .await
        .unwrap();
    book.expect(
        Rule::BearerToken,
        401,
        answer.status().as_u16(),
        "not a token of the cloud",
    );

    for (rule, status, target) in [
        (Rule::UnknownRoute, 404, format!("{API}/nothing")),
        (Rule::UnknownRoute, 404, "/rest/api/3/projects".to_owned()),
        (Rule::UnknownParameter, 200, format!("{SHOP}?pagelen=3")),
        (Rule::BadPage, 400, format!("{API}/repos?limit=0")),
        (Rule::BadPage, 400, format!("{API}/repos?start=-1")),
        (Rule::BadPage, 200, format!("{API}/repos?start=25")),
        (Rule::BadQuery, 400, format!("{API}/repos?permission=ALL")),
        (Rule::BadQuery, 400, format!("{SHOP}/commits?merges=no")),
        (Rule::BadQuery, 400, format!("{SHOP}/branches?orderBy=NAME")),
        (
            Rule::BadQuery,
            400,
            format!("{SHOP}/pull-requests?state=open-ish"),
        ),
        (Rule::BadQuery, 400, format!("{SHOP}/raw/a/../b")),
        (Rule::Permission, 401, format!("{API}/projects/OTHER")),
        (Rule::Permission, 401, format!("{SHOP}/webhooks")),
    ] {
        // `..` must arrive as it is written.
        let target = target.replace("/../", "/%2E%2E%2F");
        let answer = book.kit.with(&ada, "GET", &target, None).await;
        book.expect(rule, status, answer.status().as_u16(), &target);
    }
    let got = book
        .kit
        .with(&ada, "DELETE", SHOP, None)
        .await
        .status()
        .as_u16();
    book.expect(Rule::WrongMethod, 405, got, "delete");

    // A token can do no more than its person, and no more than it was made for.
    let strong = book.kit.dc_token("ada", Permission::Admin);
    let hooks = format!("{SHOP}/webhooks");
    let got = book
        .kit
        .with(&strong, "GET", &hooks, None)
        .await
        .status()
        .as_u16();
    book.expect(Rule::Permission, 401, got, "ada may only write");
    book.kit.person("boss", Permission::Admin);
    let boss = book.kit.dc_token("boss", Permission::Admin);
    let good = json!({"name": "n", "url": "https://a.example/", "events": ["pr:opened"]});
    for (key, value) in [
        ("name", json!("")),
        ("url", json!("/relative")),
        ("events", json!([])),
        ("events", json!(["repo:push"])),
        ("active", json!("yes")),
        ("configuration", json!("secret")),
        ("secret", json!("x")),
    ] {
        let mut body = good.clone();
        body[key] = value;
        let what = body.to_string();
        let answer = book.kit.with(&boss, "POST", &hooks, Some(body)).await;
        let got = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        assert!(body["errors"][0]["context"].is_string(), "{body}");
        book.expect(Rule::BodyField, 400, got, &what);
    }
    let answer = book.kit.with(&boss, "POST", &hooks, Some(json!([1]))).await;
    book.expect(Rule::BodyFormat, 400, answer.status().as_u16(), "a list");
    let answer = book
        .kit
        .with(&boss, "POST", &format!("{hooks}/test?url=x"), None)
        .await;
    book.expect(
        Rule::BadQuery,
        400,
        answer.status().as_u16(),
        "ping to nowhere",
    );
}
