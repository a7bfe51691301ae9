//! What failures mean: the table, the recognisers, and messages of every shape.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn answer(method: &Method, path: &'static str, status: u16, body: &Value) -> Error {
    Error::from_answer(
        method,
        path,
        status,
        body.to_string().as_bytes(),
        None,
        None,
    )
}

fn get(status: u16, message: &str) -> Error {
    answer(
        &Method::GET,
        "repository",
        status,
        &json!({"type": "error", "error": {"message": message}}),
    )
}

#[test]
fn the_table_of_failures() {
    let second = Verdict::Retry(Duration::from_secs(1));
    let rows = [
        (302, Kind::Redirect, Verdict::Never),
        (400, Kind::Invalid, Verdict::Never),
        (401, Kind::Unauthorized, Verdict::Never),
        (402, Kind::PlanLimit, Verdict::Never),
        (403, Kind::Forbidden, Verdict::Never),
        (404, Kind::NotFound, Verdict::Never),
        (409, Kind::Conflict, Verdict::Never),
        (410, Kind::Gone, Verdict::GoneForever),
        (422, Kind::Invalid, Verdict::Never),
        (
            429,
            Kind::RateLimited,
            Verdict::Retry(Duration::from_secs(60)),
        ),
        (500, Kind::Server, second),
        (503, Kind::Server, second),
        (555, Kind::TooSlow, Verdict::Never),
    ];
    let mut seen = std::collections::HashSet::new();
    for (status, kind, verdict) in rows {
        let error = get(status, "text");
        assert_eq!(
            (error.kind(), error.verdict(1)),
            (kind, verdict),
            "{status}"
        );
        assert_eq!(error.status(), Some(status));
        assert!(error.advice().len() > 20, "{status}");
        seen.insert(kind.code());
    }
    assert!(seen.len() > 10);
    for kind in [
        Kind::Timeout,
        Kind::Broken,
        Kind::Garbage,
        Kind::Unreachable,
        Kind::Resting,
    ] {
        let error = Error::without_answer(&Method::GET, "commits", kind, "");
        assert_eq!(error.verdict(1), second, "{kind:?}");
    }
    for kind in [Kind::TooLarge, Kind::Refused, Kind::BadCall, Kind::Redirect] {
        let error = Error::without_answer(&Method::GET, "commits", kind, "");
        assert_eq!(error.verdict(1), Verdict::Never, "{kind:?}");
    }
}

#[test]
fn a_post_of_unknown_fate_is_work_for_later_but_no_request_to_repeat() {
    let error = Error::without_answer(&Method::POST, "issues", Kind::Timeout, "slow");
    assert!(matches!(error.verdict(1), Verdict::Retry(_)));
    assert_eq!(error.request_verdict(1), Verdict::Never);
}

#[test]
fn trackers_that_are_missing_or_gone() {
    let list = |method: &Method, status, message: &str| {
        answer(
            method,
            "issues",
            status,
            &json!({"error": {"message": message}}),
        )
    };
    let missing = list(&Method::GET, 404, "Repository has no issue tracker.");
    assert!(missing.tracker_missing() && missing.feature_gone() && !missing.removed());
    assert!(missing.advice().contains("no issue tracker"));
    assert!(list(&Method::GET, 404, "Not found").feature_gone());
    assert!(!list(&Method::POST, 404, "Not found").feature_gone());
    assert!(list(&Method::POST, 403, "This feature is DEPRECATED").feature_gone());
    assert!(!list(&Method::GET, 500, "deprecated").feature_gone());
    let one = answer(
        &Method::GET,
        "issue",
        404,
        &json!({"error": {"message": "Not found"}}),
    );
    assert!(one.is_absent() && !one.feature_gone());
    let gone = answer(
        &Method::GET,
        "issues",
        410,
        &json!({"type": "error", "error": {"message": "CHANGE-1 - Functionality has been deprecated",
            "detail": "Read it.", "data": {"announcement_url": "https://example.org/changelog#CHANGE-1"}}}),
    );
    assert!(gone.removed() && gone.feature_gone() && gone.is_absent());
    assert_eq!(
        gone.announcement_url(),
        Some("https://example.org/changelog#CHANGE-1")
    );
    assert_eq!(
        gone.message(),
        "CHANGE-1 - Functionality has been deprecated; Read it."
    );
}

#[test]
fn messages_of_every_shape() {
    let fields =
        json!({"error": {"message": "Bad request", "fields": {"title": ["required"], "x": 1}}});
    assert_eq!(
        answer(&Method::POST, "issues", 400, &fields).fields(),
        [
            ("title".to_owned(), "required".to_owned()),
            ("x".to_owned(), "not accepted".to_owned())
        ]
    );
    assert_eq!(
        answer(&Method::POST, "issues", 400, &fields).message(),
        "Bad request; title: required; x: not accepted"
    );
    let oauth = json!({"error": "invalid_grant", "error_description": "expired"});
    assert_eq!(
        answer(&Method::POST, "issues", 400, &oauth).message(),
        "expired; invalid_grant"
    );
    let html = Error::from_answer(
        &Method::GET,
        "issues",
        502,
        b"<html>\n\n Bad\xff gateway",
        None,
        None,
    );
    assert_eq!(html.message(), "<html> Bad\u{fffd} gateway");
    let empty = Error::from_answer(&Method::GET, "issues", 502, b"", Some("req-1"), None);
    assert_eq!(
        empty.to_string(),
        "Bitbucket GET issues: 502 server_error (request req-1)"
    );
    let long = get(400, &"x".repeat(10_000));
    assert!(long.message().len() < 510);
}

#[test]
fn secrets_in_answers_are_not_kept() {
    let error = get(401, "token eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.sig is bad");
    assert!(!format!("{error} {error:?}").contains("eyJ"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_body_panics(status in any::<u16>(), bytes in prop::collection::vec(any::<u8>(), 0..100), text in "\\PC*") {
        for body in [bytes.as_slice(), text.as_bytes()] {
            let error = Error::from_answer(&Method::GET, "issues", status, body, Some(&text), None);
            let _ = (error.to_string(), error.feature_gone(), error.verdict(1), error.advice());
        }
    }
}
