//! What the Bitbucket stand-in answers, held against the schemas of Bitbucket's own document.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use bitbucket_sandbox::Answer;
use jsonschema::Validator;
use serde_json::{Value, json};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../fixtures/bitbucket-schemas.json")).unwrap()
});

/// Where the live service differs from its document, and the stand-in follows the service.
pub struct Exception {
    /// Part of the place in the document.
    pub schema: &'static str,
    /// Part of what the validator says.
    pub says: &'static str,
    /// Why.
    pub because: &'static str,
}

const fn exception(schema: &'static str, says: &'static str, because: &'static str) -> Exception {
    Exception {
        schema,
        says,
        because,
    }
}

/// Every one. The first is in the table *Spec versus live service* (bitbucket.md §3.1); the others are what recorded
/// answers have (bitbucket.md §3.3, §4.4, §5.3) and the document forgets: objects that may be null, and keys of objects
/// that it calls complete.
pub const EXCEPTIONS: &[Exception] = &[
    exception(
        "commit_file/properties/attributes",
        "[]",
        "attributes of a file are a list (§3.1)",
    ),
    exception(
        "error/properties/error/additionalProperties",
        "'fields'",
        "an error names the fields that are wrong (§4.4)",
    ),
    exception("/object/type", "null is not", NULLS),
    exception("/commit_file/type", "null is not", NULLS),
    exception("/ref/type", "null is not", NULLS),
    exception("branch/allOf/1/type", "null is not", NULLS),
    exception("repository/allOf/1/type", "null is not", NULLS),
    exception("account/allOf/1/type", "null is not", NULLS),
    exception("component/allOf/1/type", "null is not", NULLS),
    exception("milestone/allOf/1/type", "null is not", NULLS),
    exception("version/allOf/1/type", "null is not", NULLS),
    exception(
        "issue/allOf/1/properties/edited_on/type",
        "null is not",
        NULLS,
    ),
    exception(
        "comment/allOf/1/properties/updated_on/type",
        "null is not",
        NULLS,
    ),
    exception("properties/merge_commit/type", "null is not", NULLS),
    exception("properties/refname/type", "null is not", NULLS),
    exception(
        "participant/allOf/1/properties/state/type",
        "null is not",
        "who has not made up their mind has no state; the document lists null and forgets the type",
    ),
    exception("content/additionalProperties", "'type'", KEYS),
    exception(
        "rendered/properties/title/additionalProperties",
        "'type'",
        KEYS,
    ),
    exception(
        "rendered/properties/description/additionalProperties",
        "'type'",
        KEYS,
    ),
    exception(
        "pullrequest_endpoint/properties/commit/additionalProperties",
        "'links', 'type'",
        KEYS,
    ),
    exception("summary/additionalProperties", "'type'", KEYS),
    exception("links/additionalProperties", "unexpected", KEYS),
    exception("subject_types/properties", "'links'", KEYS),
];

const NULLS: &str = "what is not there is null and not left out";
const KEYS: &str = "the service has more keys than the document";

/// `/2.0/repositories/{workspace}/{repo}` → `/repositories/{}/{}`.
fn bare(template: &str) -> String {
    let mut parts = template.trim_start_matches("/2.0").split('/');
    let first = parts.next().unwrap_or_default();
    parts.fold(first.to_owned(), |path, part| {
        let part = if part.starts_with('{') { "{}" } else { part };
        format!("{path}/{part}")
    })
}

fn validator(operation: &str, status: u16) -> Option<Arc<Validator>> {
    type Known = HashMap<(String, u16), Option<Arc<Validator>>>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap();
    let make = || {
        let answers = DOCUMENT["operations"].get(operation)?;
        let schema = answers
            .get(status.to_string())
            .or_else(|| answers.get("default"))?;
        let whole = json!({ "allOf": [schema], "$defs": DOCUMENT["$defs"] });
        Some(Arc::new(jsonschema::draft202012::new(&whole).unwrap()))
    };
    known
        .entry((operation.to_owned(), status))
        .or_insert_with(make)
        .clone()
}

/// What was found in some answers.
#[derive(Debug, Default)]
pub struct Findings {
    /// Operations and statuses that a schema was found for.
    pub judged: BTreeSet<String>,
    /// What is wrong, each kind once with an example.
    pub wrong: BTreeMap<String, String>,
    /// Exceptions that were needed, by their place in the list.
    pub excused: BTreeSet<usize>,
}

/// Holds answers against their schemas. Partial answers (`fields=`) and what is no JSON are left out.
pub fn judge(answers: &[Answer]) -> Findings {
    let mut findings = Findings::default();
    for answer in answers
        .iter()
        .filter(|answer| !answer.path.contains("fields="))
    {
        let operation = format!("{} {}", answer.method, bare(&answer.template));
        let Some(validator) = validator(&operation, answer.status) else {
            continue;
        };
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
            continue;
        };
        findings
            .judged
            .insert(format!("{operation} {}", answer.status));
        for error in validator.iter_errors(&body) {
            let (text, place) = (error.to_string(), error.schema_path().to_string());
            let known = EXCEPTIONS
                .iter()
                .position(|known| place.contains(known.schema) && text.contains(known.says));
            match known {
                Some(number) => {
                    findings.excused.insert(number);
                }
                None => {
                    let place = format!("{operation} {}: {place}", answer.status);
                    findings
                        .wrong
                        .entry(place)
                        .or_insert(text.chars().take(400).collect());
                }
            }
        }
    }
    findings
}

/// Everything that was answered so far is as the document says, but for the exceptions.
pub fn hold(answers: &[Answer]) {
    let findings = judge(answers);
    assert!(findings.wrong.is_empty(), "{:#?}", findings.wrong);
}
