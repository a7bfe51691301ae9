#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use serde_json::{Value, json};

use super::*;
use crate::sentry::event::Event;
use crate::sentry::title::Metadata;

fn time() -> Time {
    Time(DateTime::from_timestamp_micros(1_795_302_908_584_797).unwrap())
}

fn group() -> Group {
    Group {
        id: StringId(7),
        share_id: None,
        short_id: "SHOP-7".into(),
        title: "E: x".into(),
        culprit: "m in f".into(),
        permalink: "https://h/organizations/o/issues/7/".into(),
        logger: None,
        level: "error".into(),
        status: "unresolved".into(),
        substatus: Some("ongoing".into()),
        status_details: serde_json::Map::new(),
        is_public: false,
        platform: "python".into(),
        project: GroupProject {
            id: StringId(2),
            name: "Shop".into(),
            slug: "shop".into(),
            platform: None,
        },
        kind: "error".into(),
        metadata: Metadata {
            kind: Some("E".into()),
            value: Some("x".into()),
            ..Metadata::default()
        },
        num_comments: 0,
        assigned_to: None,
        is_bookmarked: false,
        is_subscribed: false,
        has_seen: false,
        annotations: vec![],
        count: StringCount(12),
        user_count: 1,
        first_seen: time(),
        last_seen: time(),
        stats: Stats {
            day: vec![(1_795_302_000, 3)],
        },
    }
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

fn sorted(mut words: Vec<&str>) -> Vec<&str> {
    words.sort_unstable();
    words
}

#[test]
fn a_group_has_the_keys_of_the_reference() {
    let list = "id shareId shortId title culprit permalink logger level status substatus statusDetails isPublic platform project type \
                metadata numComments assignedTo isBookmarked isSubscribed hasSeen annotations count userCount firstSeen lastSeen stats";
    let value = serde_json::to_value(group()).unwrap();
    assert_eq!(keys(&value), sorted(list.split_whitespace().collect()));
    assert_eq!(value["id"], "7");
    assert_eq!(value["count"], "12");
    assert_eq!(value["userCount"], 1);
    assert_eq!(value["lastSeen"], "2026-11-21T23:15:08.584797Z");
    assert_eq!(value["stats"], json!({"24h": [[1_795_302_000, 3]]}));
    assert_eq!(value["metadata"], json!({"type": "E", "value": "x"}));
    assert_eq!(
        value["project"],
        json!({"id": "2", "name": "Shop", "slug": "shop", "platform": null})
    );
    let detail = GroupDetail {
        group: group(),
        activity: vec![],
        seen_by: vec![],
        participants: vec![],
        first_release: None,
        last_release: None,
        tags: vec![],
    };
    let more = format!("{list} activity seenBy participants firstRelease lastRelease tags");
    assert_eq!(
        keys(&serde_json::to_value(detail).unwrap()),
        sorted(more.split_whitespace().collect())
    );
}

#[test]
fn notes_and_errors() {
    let note = serde_json::to_value(Note::new(3, None, "hi".into(), time())).unwrap();
    assert_eq!(
        note,
        json!({"id": "3", "type": "note", "user": null, "data": {"text": "hi"}, "dateCreated": "2026-11-21T23:15:08.584797Z"})
    );
    assert_eq!(
        serde_json::to_string(&Detail::new("no")).unwrap(),
        r#"{"detail":"no"}"#
    );
}

#[test]
fn organizations_and_repositories_satisfy_the_cli() {
    let org =
        serde_json::to_value(Organization::new(1, "acme".into(), "Acme".into(), time())).unwrap();
    let all =
        "id slug name dateCreated isEarlyAdopter require2FA requireEmailVerification features";
    assert_eq!(keys(&org), sorted(all.split_whitespace().collect()));
    let repository = Repository {
        id: StringId(7),
        name: "acme/widget".into(),
        url: Some("https://bitbucket.org/acme/widget".into()),
        provider: NamedId {
            id: "integrations:bitbucket".into(),
            name: "Bitbucket".into(),
        },
        status: "active".into(),
        date_created: time(),
        integration_id: Some(StringId(9)),
        external_slug: Some("acme/widget".into()),
        external_id: Some("{c78dfb25-7882-4550-97b1-4e0d38f32859}".into()),
    };
    let value = serde_json::to_value(&repository).unwrap();
    let all = "id name url provider status dateCreated integrationId externalSlug externalId";
    assert_eq!(keys(&value), sorted(all.split_whitespace().collect()));
    assert_eq!(
        (&value["id"], &value["integrationId"]),
        (&json!("7"), &json!("9"))
    );
    assert_eq!(Repository::unknown_provider().id, "unknown");
    let commit = Commit {
        id: "abc".into(),
        message: None,
        date_created: time(),
        repository: None,
        author: serde_json::Map::new(),
        suspect_commit_type: String::new(),
    };
    let value = serde_json::to_value(commit).unwrap();
    assert_eq!(
        (&value["repository"], &value["author"]),
        (&json!({}), &json!({}))
    );
}

#[test]
fn integrations_mix_strings_and_numbers_as_sentry_does() {
    let provider = IntegrationProvider {
        key: "bitbucket".into(),
        slug: "bitbucket".into(),
        name: "Bitbucket".into(),
        can_add: true,
        can_disable: false,
        features: vec!["commits".into()],
        aspects: serde_json::Map::new(),
    };
    let integration = Integration {
        id: StringId(9),
        name: "acme".into(),
        icon: None,
        domain_name: Some("bitbucket.org/acme".into()),
        account_type: Some("team".into()),
        scopes: None,
        status: "active".into(),
        provider,
    };
    let value = serde_json::to_value(OrgIntegration {
        integration,
        config_organization: vec![],
        config_data: serde_json::Map::new(),
        external_id: "connection:123".into(),
        organization_id: 1,
        organization_integration_status: "active".into(),
        grace_period_end: None,
    })
    .unwrap();
    let all = "id name icon domainName accountType scopes status provider configOrganization configData externalId organizationId \
               organizationIntegrationStatus gracePeriodEnd";
    assert_eq!(keys(&value), sorted(all.split_whitespace().collect()));
    assert_eq!(
        (&value["id"], &value["organizationId"]),
        (&json!("9"), &json!(1))
    );
    assert_eq!(
        keys(&value["provider"]),
        [
            "aspects",
            "canAdd",
            "canDisable",
            "features",
            "key",
            "name",
            "slug"
        ]
    );
}

#[test]
fn an_event_becomes_its_entries() {
    let json = r#"{"message":"hi","platform":"python","release":"1.0","tags":{"a":"1","level":"x"},"breadcrumbs":[{"message":"b"}],
        "request":{"url":"https://h/","headers":{"X":"y"}},"user":{"id":1},"extra":{"k":[1]},"sdk":{"name":"s","version":3},"timestamp":1795302908.5,"dist":{},
        "exception":[{"type":"E","value":"x","mechanism":{"type":"generic","handled":true},"stacktrace":{"frames":[
            {"filename":"a.py","lineno":2,"pre_context":["zero","one",null],"context_line":"two","post_context":["three"],"vars":{"v":"1"},"in_app":true},
            {"filename":"b.py","function":"?","vars":"no"}]}}],"threads":[{"id":1,"crashed":true},{"id":2,"stacktrace":{"frames":[{"function":"wait"}]}},{"id":3,"stacktrace":7}]}"#;
    let event = Event::parse(json).unwrap();
    let id = "9ec79c33ec9942ab8353589fcb2e04dc".parse().unwrap();
    let identity = EventIdentity {
        event_id: id,
        group_id: 7,
        project_id: 2,
        received: time(),
        next: None,
        previous: Some(id),
    };
    let value = serde_json::to_value(EventBody::new(&event, &identity)).unwrap();
    let all = "id eventID groupID projectID title message platform type metadata culprit location user tags contexts packages context sdk \
               release errors dateCreated dateReceived entries nextEventID previousEventID";
    assert_eq!(keys(&value), sorted(all.split_whitespace().collect()));
    assert_eq!(value["groupID"], "7");
    assert_eq!(value["dateCreated"], "2026-11-21T23:15:08.500000Z");
    assert_eq!(value["errors"][0]["data"]["name"], "dist");
    assert_eq!(value["sdk"], json!({"name": "s", "version": "3"}));
    let tags: Vec<&str> = value["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["key"].as_str().unwrap())
        .collect();
    assert_eq!(tags, ["a", "level", "release", "url"]);
    let entries: Vec<&str> = value["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        entries,
        ["message", "exception", "threads", "breadcrumbs", "request"]
    );
    let exception = &value["entries"][1]["data"];
    assert_eq!(exception["hasSystemFrames"], true);
    let frame = &exception["values"][0]["stacktrace"]["frames"][0];
    let all = "filename absPath module package platform function instructionAddr lineNo colNo context inApp vars";
    assert_eq!(keys(frame), sorted(all.split_whitespace().collect()));
    assert_eq!(frame["context"], json!([[1, ""], [2, "two"], [3, "three"]]));
    assert_eq!(frame["vars"], json!({"v": "1"}));
    assert_eq!(
        exception["values"][0]["stacktrace"]["frames"][1]["vars"],
        Value::Null
    );
    let threads = &value["entries"][2]["data"]["values"];
    assert_eq!(
        (&threads[0]["id"], &threads[0]["stacktrace"]),
        (&json!("1"), &Value::Null)
    );
    assert_eq!(threads[1]["stacktrace"]["frames"][0]["function"], "wait");
    assert_eq!(threads[2]["stacktrace"], Value::Null);
    assert_eq!(value["entries"][3]["data"]["values"][0]["message"], "b");
    assert_eq!(value["entries"][4]["data"]["headers"]["X"], "y");
}
