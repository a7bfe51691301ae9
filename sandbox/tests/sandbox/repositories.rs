use bitbucket_sandbox::{CommitRequest, NewRepository, NewToken, NewUser};
use serde_json::{Value, json};

use crate::kit::{Clone, Kit, REPO};

fn names(values: &[Value], key: &str) -> Vec<String> {
    values
        .iter()
        .map(|v| v[key].as_str().unwrap().to_owned())
        .collect()
}

/// A history with a rename, a branch and two authors; hashes oldest first.
fn history(kit: &Kit) -> (Clone, Vec<String>) {
    let clone = kit.clone();
    let mut hashes = Vec::new();
    clone.write("cart.py", "a = 1\nb = 2\nc = 3\nd = 4\n");
    clone.write("docs/read me.txt", "hello\n");
    hashes.push(clone.commit("Add cart"));
    clone.git(&["mv", "cart.py", "basket.py"]);
    hashes.push(clone.commit("Rename"));
    clone.write("basket.py", "a = 1\nb = 2\nc = 3\nd = 5\n");
    hashes.push(clone.commit("Change d"));
    clone.git(&["checkout", "-q", "-b", "feature/x", "HEAD~1"]);
    clone.write("extra.py", "x = 1\n");
    hashes.push(clone.commit("Add extra"));
    clone.push(&["origin", "main", "feature/x"]);
    (clone, hashes)
}

#[tokio::test]
async fn lists_search_and_pages() {
    let kit = Kit::start().await;
    for number in 0..12 {
        let new = NewRepository::new("acme", &format!("lib-{number:02}"));
        kit.sandbox.create_repository(new).await.unwrap();
    }
    let all = kit
        .all("/2.0/repositories/acme?pagelen=5&role=member&sort=-name")
        .await;
    let found = names(&all, "name");
    assert_eq!(
        (found.len(), found[0].as_str(), found[12].as_str()),
        (13, "shop", "lib-00")
    );
    let exact = kit
        .get("/2.0/repositories/acme?q=name%3D%22lib-03%22")
        .await;
    assert_eq!(
        names(exact["values"].as_array().unwrap(), "slug"),
        ["lib-03"]
    );
    let like = kit
        .get("/2.0/repositories/acme?q=name~%22LIB-0%22&pagelen=100")
        .await;
    assert_eq!(like["size"], 10);
    kit.assert_clean();
}

#[tokio::test]
async fn the_names_of_a_repository() {
    let kit = Kit::start().await;
    let shown = kit.get(REPO).await;
    assert_eq!(shown["type"], "repository");
    assert_eq!(shown["mainbranch"], Value::Null);
    assert_eq!(
        shown["links"]["clone"][0]["href"],
        kit.url("/acme/shop.git")
    );
    let uuid = |key: &Value| {
        key.as_str()
            .unwrap()
            .replace('{', "%7B")
            .replace('}', "%7D")
    };
    let (repo, workspace) = (uuid(&shown["uuid"]), uuid(&shown["workspace"]["uuid"]));
    for path in [
        format!("acme/{repo}"),
        format!("{workspace}/{repo}"),
        format!("%7B%7D/{repo}"),
        format!("{workspace}/shop"),
    ] {
        assert_eq!(
            kit.get(&format!("/2.0/repositories/{path}")).await["uuid"],
            shown["uuid"]
        );
    }
    assert_eq!(
        kit.get(&format!("/2.0/workspaces/{workspace}")).await["slug"],
        "acme"
    );
    assert_eq!(
        kit.send("GET", "/2.0/repositories/acme/none", None)
            .await
            .status(),
        404
    );
    assert_eq!(
        kit.send("GET", "/2.0/workspaces/none", None).await.status(),
        404
    );
    assert_eq!(
        kit.get(&format!("{REPO}/pullrequests?state=OPEN")).await["size"],
        0
    );
    kit.assert_clean();
}

#[tokio::test]
async fn commit_ranges() {
    let kit = Kit::start().await;
    let user = NewUser {
        display_name: "Ada".into(),
        nickname: "ada".into(),
        email: Some("ada@example.org".into()),
    };
    kit.sandbox.create_user(&user).unwrap();
    let (clone, h) = history(&kit);
    let hashes = |values: Vec<Value>| names(&values, "hash");
    assert_eq!(
        hashes(kit.all(&format!("{REPO}/commits?pagelen=1")).await).len(),
        4,
        "all refs"
    );
    let main = kit.all(&format!("{REPO}/commits/main")).await;
    assert_eq!(
        hashes(main.clone()),
        [h[2].clone(), h[1].clone(), h[0].clone()]
    );
    assert_eq!(main[0]["type"], "commit");
    assert_eq!(main[0]["author"]["user"]["display_name"], "Ada");
    assert_eq!(main[0]["parents"][0]["hash"], h[1].as_str());
    assert!(
        main[0]["date"].as_str().unwrap().len() >= 25,
        "has an offset"
    );
    let branch = kit
        .all(&format!("{REPO}/commits/feature%2Fx?exclude=main"))
        .await;
    assert_eq!(hashes(branch), [h[3].clone()]);
    let both = kit
        .all(&format!(
            "{REPO}/commits?include=main&include=feature%2Fx&exclude={}",
            h[1]
        ))
        .await;
    assert_eq!(both.len(), 2);
    let of_file = kit
        .all(&format!("{REPO}/commits/main?path=basket.py"))
        .await;
    assert_eq!(hashes(of_file), [h[2].clone(), h[1].clone()]);
    assert_eq!(
        kit.send("GET", &format!("{REPO}/commits/none"), None)
            .await
            .status(),
        404
    );
    assert_eq!(
        kit.send("GET", &format!("{REPO}/commits/--all"), None)
            .await
            .status(),
        404
    );

    let one = kit.get(&format!("{REPO}/commit/{}", &h[2][..12])).await;
    assert_eq!(one["hash"], h[2].as_str());
    kit.assert_clean();

    // A page stays what it was when somebody pushes meanwhile.
    let first = kit.get(&format!("{REPO}/commits/main?pagelen=2")).await;
    clone.git(&["checkout", "-q", "main"]);
    clone.commit("Later");
    clone.push(&["origin", "main"]);
    let next = first["next"]
        .as_str()
        .unwrap()
        .strip_prefix(kit.sandbox.url())
        .unwrap()
        .to_owned();
    assert_eq!(hashes(kit.all(&next).await), [h[0].clone()]);
    kit.assert_clean();
}

#[tokio::test]
async fn commits_by_form() {
    let kit = Kit::start().await;
    let (_clone, h) = history(&kit);
    let target = format!("{REPO}/commits");
    let answer = kit
        .http
        .post(kit.url(&target))
        .header("Authorization", kit.authorization("POST", &target))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("include=main&exclude={}", h[0]))
        .send()
        .await
        .unwrap();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        names(body["values"].as_array().unwrap(), "hash"),
        [h[2].clone(), h[1].clone()]
    );
}

#[tokio::test]
async fn diffs_and_statistics() {
    let kit = Kit::start().await;
    let (_clone, h) = history(&kit);
    let text = async |target: String| kit.send("GET", &target, None).await.text().await.unwrap();
    let root = text(format!("{REPO}/diff/{}", h[0])).await;
    assert!(root.contains("+++ b/cart.py"), "{root}");
    let one = text(format!("{REPO}/diff/{}", h[2])).await;
    assert!(one.contains("-d = 4") && one.contains("+d = 5"), "{one}");
    // Source first, destination second, from where they parted.
    let topic = text(format!("{REPO}/diff/{}..{}", h[3], h[2])).await;
    assert!(
        topic.contains("+x = 1") && !topic.contains("d = 5"),
        "{topic}"
    );
    let plain = text(format!("{REPO}/diff/{}..{}?topic=false", h[3], h[2])).await;
    assert!(plain.contains("+d = 4"), "{plain}");
    let narrow = text(format!(
        "{REPO}/diff/{}?path=docs%2Fread%20me.txt&context=0",
        h[0]
    ))
    .await;
    assert!(
        narrow.contains("hello") && !narrow.contains("cart.py"),
        "{narrow}"
    );

    let stats = kit.get(&format!("{REPO}/diffstat/{}", h[1])).await;
    let rename = &stats["values"][0];
    assert_eq!(
        (rename["status"].as_str(), rename["type"].as_str()),
        (Some("renamed"), Some("diffstat"))
    );
    assert_eq!(
        (&rename["old"]["path"], &rename["new"]["path"]),
        (&json!("cart.py"), &json!("basket.py"))
    );
    let stats = kit
        .get(&format!("{REPO}/diffstat/{}..{}", h[2], h[1]))
        .await;
    let change = &stats["values"][0];
    assert_eq!(
        (&change["lines_added"], &change["lines_removed"]),
        (&json!(1), &json!(1))
    );
    let stats = kit.get(&format!("{REPO}/diffstat/{}", h[0])).await;
    assert_eq!(stats["size"], 2);
    assert_eq!(stats["values"][0]["old"], Value::Null);
    assert_eq!(
        kit.send("GET", &format!("{REPO}/diff/main..none"), None)
            .await
            .status(),
        404
    );
    kit.assert_clean();
}

#[tokio::test]
async fn sources() {
    let kit = Kit::start().await;
    let (_clone, h) = history(&kit);
    let target = format!("{REPO}/src/{}/basket.py", h[1]);
    let file = kit.send("GET", &target, None).await;
    assert_eq!(file.status(), 200);
    let tag = file.headers()["etag"].to_str().unwrap().to_owned();
    assert!(
        file.headers()["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment")
    );
    assert_eq!(file.text().await.unwrap(), "a = 1\nb = 2\nc = 3\nd = 4\n");
    let again = kit
        .http
        .get(kit.url(&target))
        .header("Authorization", kit.authorization("GET", &target))
        .header("If-None-Match", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 304);
    let head = kit.send("HEAD", &target, None).await;
    assert_eq!(
        (
            head.status().as_u16(),
            head.headers()["etag"].to_str().unwrap()
        ),
        (200, tag.as_str())
    );
    assert_eq!(
        kit.send("HEAD", &format!("{REPO}/src/main/none.py"), None)
            .await
            .status(),
        404
    );
    let spaced = kit
        .send("GET", &format!("{REPO}/src/main/docs/read%20me.txt"), None)
        .await;
    assert_eq!(spaced.text().await.unwrap(), "hello\n");

    let root = kit.get(&format!("{REPO}/src/main/")).await;
    let paths = names(root["values"].as_array().unwrap(), "path");
    assert_eq!(paths, ["basket.py", "docs"]);
    assert_eq!(root["values"][1]["type"], "commit_directory");
    assert_eq!(root["values"][0]["size"], 24);
    let deep = kit
        .get(&format!(
            "{REPO}/src/main/?max_depth=2&q=type%3D%22commit_file%22"
        ))
        .await;
    assert_eq!(
        names(deep["values"].as_array().unwrap(), "path"),
        ["basket.py", "docs/read me.txt"]
    );
    let meta = kit.get(&format!("{REPO}/src/main/docs/?format=meta")).await;
    assert_eq!(meta["type"], "commit_directory");

    let moved = kit.send("GET", &format!("{REPO}/src"), None).await;
    assert_eq!(moved.status(), 302);
    let location = moved.headers()["location"].to_str().unwrap();
    assert_eq!(location, kit.url(&format!("{REPO}/src/{}/", h[2])));
    kit.assert_clean();
}

#[tokio::test]
async fn file_history_follows_renames() {
    let kit = Kit::start().await;
    let (_clone, h) = history(&kit);
    let steps = kit
        .all(&format!("{REPO}/filehistory/{}/basket.py", h[2]))
        .await;
    assert_eq!(names(&steps, "path"), ["basket.py", "basket.py", "cart.py"]);
    assert_eq!(steps[2]["commit"]["hash"], h[0].as_str());
    let short = kit
        .all(&format!("{REPO}/filehistory/main/basket.py?renames=false"))
        .await;
    assert_eq!(short.len(), 2);
    assert_eq!(
        kit.send("GET", &format!("{REPO}/filehistory/main/none"), None)
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn branches_and_tags() {
    let kit = Kit::start().await;
    let (clone, h) = history(&kit);
    clone.git(&["tag", "-a", "v1", "-m", "One", &h[0]]);
    clone.push(&["origin", "v1"]);
    let branches = kit.get(&format!("{REPO}/refs/branches")).await;
    assert_eq!(
        names(branches["values"].as_array().unwrap(), "name"),
        ["feature/x", "main"]
    );
    let one = kit.get(&format!("{REPO}/refs/branches/feature%2Fx")).await;
    assert_eq!(
        (one["type"].as_str(), one["target"]["hash"].as_str()),
        (Some("branch"), Some(h[3].as_str()))
    );
    let tag = kit.get(&format!("{REPO}/refs/tags/v1")).await;
    assert_eq!(tag["target"]["hash"], h[0].as_str());
    assert_eq!(kit.get(&format!("{REPO}/refs")).await["size"], 3);
    assert_eq!(
        kit.send("GET", &format!("{REPO}/refs/branches/none"), None)
            .await
            .status(),
        404
    );
    kit.assert_clean();
}

#[tokio::test]
async fn a_commit_through_the_api() {
    let kit = Kit::start().await;
    kit.hook(&["repo:push"], None).await;
    let scopes = vec!["repository:write".to_owned()];
    let token = kit
        .sandbox
        .create_token(&NewToken {
            workspace: "acme".into(),
            scopes,
            expires_in: None,
        })
        .unwrap();
    let post = |kind: &'static str, body: String| {
        kit.http
            .post(kit.url(&format!("{REPO}/src")))
            .bearer_auth(token.expose())
            .header("Content-Type", kind)
            .body(body)
            .send()
    };
    let form = "message=First&author=Bo+Ek+%3Cbo%40example.org%3E&dir%2Fa.txt=one&b.txt=two";
    let answer = post("application/x-www-form-urlencoded", form.into())
        .await
        .unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    let parts = "--X\r\nContent-Disposition: form-data; name=\"c.bin\"; filename=\"c.bin\"\r\n\r\nthree\r\n\
        --X\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\nSecond\r\n\
        --X\r\nContent-Disposition: form-data; name=\"files\"\r\n\r\nb.txt\r\n--X--\r\n";
    let answer = post("multipart/form-data; boundary=X", parts.into())
        .await
        .unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    let root = kit
        .get(&format!(
            "{REPO}/src/main/?max_depth=3&q=type=%22commit_file%22"
        ))
        .await;
    assert_eq!(
        names(root["values"].as_array().unwrap(), "path"),
        ["c.bin", "dir/a.txt"]
    );
    let commits = kit.all(&format!("{REPO}/commits/main")).await;
    assert_eq!(commits[1]["author"]["raw"], "Bo Ek <bo@example.org>");
    kit.settle().await;
    assert_eq!(kit.app.seen("/hook").len(), 2);
    kit.assert_clean();

    // A branch from the main one, by the control.
    let request = CommitRequest {
        repo: "acme/shop".into(),
        branch: "fix".into(),
        message: "Third".into(),
        date: Some("2026-01-02T03:04:05+02:00".into()),
        delete: vec!["c.bin".into()],
        ..CommitRequest::default()
    };
    let hash = kit.sandbox.commit(request).await.unwrap();
    let shown = kit.get(&format!("{REPO}/commit/{hash}")).await;
    assert_eq!(shown["date"], "2026-01-02T03:04:05+02:00");
    assert_eq!(shown["parents"].as_array().unwrap().len(), 1);
    let stats = kit.get(&format!("{REPO}/diffstat/fix..main")).await;
    assert_eq!(stats["values"][0]["status"], "removed");
}
