//! Wrong calls about pull requests and builds.

use bitbucket_sandbox::model::{Credential, Permission};
use bitbucket_sandbox::{NewCredential, Rule};
use serde_json::{Value, json};

use crate::kit::{Kit, REPO};
use crate::pulls::branches;
use crate::rules::Book;

/// Somebody who may only look, with a token that may do everything.
fn reader(kit: &Kit) -> Credential {
    kit.person("rita", Permission::Read);
    let new = NewCredential::ApiToken {
        user: "rita".into(),
        scopes: ["read:pullrequest:bitbucket", "write:pullrequest:bitbucket"]
            .map(str::to_owned)
            .into(),
        expires_in: 3600,
    };
    kit.sandbox.create_credential(&new).unwrap()
}

/// Every wrong call of this file.
pub(crate) async fn rules(book: &mut Book) {
    let (_clone, h) = branches(&book.kit);
    let pulls = format!("{REPO}/pullrequests");
    // The app may read pull requests, and comment, and no more.
    let body = json!({"title": "x", "source": {"branch": {"name": "side"}}});
    let got = book.kit.send("POST", &pulls, Some(body.clone())).await;
    book.expect(
        Rule::Scope,
        403,
        got.status().as_u16(),
        "to open needs write",
    );
    let id = book.kit.open("fix/cart", "main").await["id"].clone();
    let one = format!("{pulls}/{id}");
    for tail in ["merge", "decline"] {
        let target = format!("{one}/{tail}");
        let got = book.kit.send("POST", &target, None).await.status();
        book.expect(Rule::Scope, 403, got.as_u16(), tail);
    }
    let rita = reader(&book.kit);
    let got = book
        .kit
        .with(&rita, "POST", &format!("{one}/merge"), None)
        .await;
    book.expect(
        Rule::Permission,
        403,
        got.status().as_u16(),
        "a reader merges",
    );
    for (rule, target) in [
        (Rule::BadPage, format!("{pulls}?pagelen=51")),
        (Rule::BadQuery, format!("{pulls}?state=ALL")),
    ] {
        let got = book.kit.send("GET", &target, None).await.status().as_u16();
        book.expect(rule, 400, got, &target);
    }
    pull_bodies(book, &one).await;
    build_bodies(book, &h[1]).await;
    data_center_bodies(book, &id).await;
}

async fn pull_bodies(book: &mut Book, one: &str) {
    let pulls = format!("{REPO}/pullrequests");
    let side = json!({"branch": {"name": "side"}});
    let none = json!({"branch": {"name": "none"}});
    let fork = json!({"branch": {"name": "side"}, "repository": {"full_name": "a/b"}});
    let old = json!({"branch": {"name": "main"}});
    let merge = format!("{one}/merge");
    let cases = [
        ("POST", &pulls, json!({"title": "x"})),
        ("POST", &pulls, json!({"source": side})),
        ("POST", &pulls, json!({"title": "x", "source": "side"})),
        ("POST", &pulls, json!({"title": "x", "source": none})),
        ("POST", &pulls, json!({"title": "x", "source": fork})),
        ("POST", &pulls, json!({"title": "x", "source": old})),
        (
            "POST",
            &pulls,
            json!({"title": "x", "source": side, "destination": none}),
        ),
        (
            "POST",
            &pulls,
            json!({"title": "x", "source": side, "reviewers": [{"uuid": "{x}"}]}),
        ),
        (
            "POST",
            &pulls,
            json!({"title": "x", "source": side, "draft": "no"}),
        ),
        (
            "POST",
            &pulls,
            json!({"title": "x", "source": side, "state": "OPEN"}),
        ),
        ("PUT", &one.to_owned(), json!({"title": ""})),
        ("PUT", &one.to_owned(), json!({"source": side})),
        ("PUT", &one.to_owned(), json!({"destination": none})),
        ("POST", &merge, json!({"merge_strategy": "rebase_merge"})),
        ("POST", &merge, json!({"message": "x".repeat(131_073)})),
        ("POST", &merge, json!({"close": true})),
        ("POST", &format!("{one}/decline"), json!({"reason": "x"})),
    ];
    for (method, target, body) in cases {
        let what = format!("{method} {:.200}", body.to_string());
        let (got, text) = book.kit.write(method, target, Some(body)).await;
        assert!(text["error"]["fields"].is_object(), "{what}: {text}");
        book.expect(Rule::BodyField, 400, got, &what);
    }
    for body in [
        json!({}),
        json!({"content": {"raw": " "}}),
        // The document allows it, the service does not.
        json!({"type": "pullrequest_comment", "content": {"raw": "x"}}),
        json!({"content": {"raw": "x"}, "parent": {"id": 9999}}),
    ] {
        let what = body.to_string();
        let target = format!("{one}/comments");
        let got = book.kit.send("POST", &target, Some(body)).await;
        book.expect(Rule::BodyField, 400, got.status().as_u16(), &what);
    }
}

async fn build_bodies(book: &mut Book, hash: &str) {
    let builds = format!("{REPO}/commit/{hash}/statuses/build");
    for body in [
        json!({"key": "k"}),
        json!({"state": "FAILED"}),
        json!({"key": "k", "state": "CANCELLED"}),
        json!({"key": "k".repeat(41), "state": "FAILED"}),
        json!({"key": "k", "state": "FAILED", "url": "/relative"}),
        json!({"key": "k", "state": "FAILED", "name": "n".repeat(256)}),
        json!({"key": "k", "state": "FAILED", "link": "x"}),
    ] {
        let what = body.to_string();
        let got = book.kit.send("POST", &builds, Some(body)).await;
        book.expect(Rule::BodyField, 400, got.status().as_u16(), &what);
    }
    let good = json!({"key": "k", "state": "FAILED"});
    book.kit.call("POST", &builds, Some(good), 201).await;
    let other = Some(json!({"key": "other"}));
    let got = book.kit.send("PUT", &format!("{builds}/k"), other).await;
    book.expect(Rule::BodyField, 400, got.status().as_u16(), "another key");
}

async fn data_center_bodies(book: &mut Book, id: &Value) {
    let new = NewCredential::DataCenterToken {
        user: "rita".into(),
        permission: Permission::Read,
        expires_in: None,
    };
    let rita = book.kit.sandbox.create_credential(&new).unwrap();
    let target = format!("/rest/api/latest/projects/ACME/repos/shop/pull-requests/{id}/comments");
    for (rule, body) in [
        (Rule::BodyFormat, json!([1])),
        (Rule::BodyField, json!({"text": ""})),
        (
            Rule::BodyField,
            json!({"text": "x", "content": {"raw": "x"}}),
        ),
        (
            Rule::BodyField,
            json!({"text": "x", "parent": {"id": 9999}}),
        ),
    ] {
        let what = body.to_string();
        let got = book.kit.with(&rita, "POST", &target, Some(body)).await;
        book.expect(rule, 400, got.status().as_u16(), &what);
    }
}
