//! The arrows of ARCHITECTURE.md, held by reading the source: who may import whom, who may touch what.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a surprise should stop them"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Feature-to-feature calls; everything may call `accounts` and `audit`. ARCHITECTURE.md has the same list.
const CALLS: &[(&str, &[&str])] = &[
    ("deliveries", &["releases", "tickets", "links"]),
    ("intake", &["groups"]),
    ("groups", &[]),
    ("releases", &["groups", "links"]),
    ("tickets", &["groups", "links", "releases"]),
    ("links", &["installs", "calls"]),
    ("calls", &[]),
    ("installs", &[]),
    ("ops", &[]),
    ("accounts", &[]),
    ("audit", &[]),
];

/// Which feature owns a table.
const OWNERS: &[(&str, &str)] = &[
    ("orgs", "accounts"),
    ("projects", "accounts"),
    ("project_keys", "accounts"),
    ("users", "accounts"),
    ("memberships", "accounts"),
    ("invitations", "accounts"),
    ("sessions", "accounts"),
    ("api_tokens", "accounts"),
    ("audit_log", "audit"),
    ("installations", "installs"),
    ("links", "links"),
    ("credentials", "links"),
    ("oauth_flows", "links"),
    ("repos", "links"),
    ("repo_hooks", "links"),
    ("bulk_adds", "links"),
    ("bulk_items", "links"),
    ("link_digests", "links"),
    ("groups", "groups"),
    ("group_hashes", "groups"),
    ("group_hours", "groups"),
    ("group_users", "groups"),
    ("group_facets", "groups"),
    ("group_unfixed", "groups"),
    ("events", "groups"),
    ("activities", "groups"),
    ("commits", "releases"),
    ("branch_heads", "releases"),
    ("group_links", "releases"),
    ("tickets", "tickets"),
    ("ticket_links", "tickets"),
    ("ticket_comments", "tickets"),
    ("ticket_defaults", "tickets"),
    ("deliveries", "deliveries"),
    ("delivery_attempts", "deliveries"),
    ("rate_budgets", "calls"),
    ("rate_slots", "calls"),
    ("kept_answers", "calls"),
    ("bitbucket_calls", "calls"),
    ("sealing_key", "ops"),
];

struct Source {
    /// Path below the repository, with `/`.
    path: String,
    /// Lines without comments and without modules of tests.
    lines: Vec<String>,
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(read(root, path));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn read(root: &Path, path: PathBuf) -> Source {
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = without_tests(&text)
        .into_iter()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(str::to_owned)
        .collect();
    let path = path
        .strip_prefix(root)
        .unwrap()
        .to_string_lossy()
        .replace('\\', "/");
    Source { path, lines }
}

/// The lines of a formatted file without its `#[cfg(test)] mod … { … }`. Whatever else is for tests alone stays: a
/// `mod tests;` at the top must not hide the file.
fn without_tests(text: &str) -> Vec<&str> {
    let lines: Vec<_> = text.lines().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        // Attributes of several lines are indented or end with `)]`, an item begins with a word.
        let mut below = lines.iter().skip(at + 1);
        let item = below.find(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
        let is_module = item.is_some_and(|item| item.starts_with("mod ") && item.ends_with('{'));
        if *line == "#[cfg(test)]" && is_module {
            at += lines.iter().skip(at).position(|line| *line == "}").unwrap();
        } else {
            kept.push(*line);
        }
        at += 1;
    }
    kept
}

#[test]
fn only_modules_of_tests_are_left_out() {
    let text = "#[cfg(test)]\nmod tests;\nuse a;\n#[cfg(test)]\n#[allow(\n    x\n)]\nmod tests {\n    use b;\n}\nuse c;\n#[cfg(test)]\nuse d;\nmod e {\n}\n";
    let kept = without_tests(text).join("\n");
    let expected = "#[cfg(test)]\nmod tests;\nuse a;\nuse c;\n#[cfg(test)]\nuse d;\nmod e {\n}";
    assert_eq!(kept, expected);
    // Its first lines name the module of its tests.
    let renderer = sources("src/kit/web");
    let renderer = renderer.iter().find(|s| s.path.ends_with("/render.rs"));
    assert!(
        renderer
            .unwrap()
            .lines
            .iter()
            .any(|line| line.contains("enum RenderError"))
    );
}

impl Source {
    /// The part of the tree that the file belongs to: `kit/web`, `features/tickets`, `bitbucket`, `app`.
    fn part(&self) -> (&str, &str) {
        let mut steps = self
            .path
            .trim_start_matches("src/")
            .trim_end_matches(".rs")
            .split('/');
        let first = steps.next().unwrap_or_default();
        match first {
            "features" | "kit" => (first, steps.next().unwrap_or_default()),
            first => (first, ""),
        }
    }

    fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    fn is_test_file(&self) -> bool {
        self.path.ends_with("tests.rs")
            || self.path.contains("_tests")
            || self.path.contains("/tests/")
            || self.path.ends_with("test_server.rs")
    }

    /// `(module, submodule)` of every `crate::…` path in the file.
    fn imports(&self) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        let code = self.lines.join("\n");
        for (at, _) in code.match_indices("crate::") {
            let rest = &code[at + "crate::".len()..];
            let first = word(rest);
            if first.is_empty() {
                // `use crate::{a, b::c}`: what nests deeper names no layer and is found wrong.
                let group = rest
                    .trim_start_matches('{')
                    .split("};")
                    .next()
                    .unwrap_or_default();
                found.extend(
                    group
                        .split(',')
                        .map(|item| item.trim().split_once("::").unwrap_or((item.trim(), "")))
                        .map(|(first, rest)| (word(first).to_owned(), word(rest).to_owned())),
                );
                continue;
            }
            let after = rest[first.len()..].trim_start_matches("::");
            if let Some(group) = after.strip_prefix('{') {
                let group = group.split("};").next().unwrap_or(group);
                for item in group.split(',') {
                    found.insert((first.to_owned(), word(item.trim()).to_owned()));
                }
            } else {
                found.insert((first.to_owned(), word(after).to_owned()));
            }
        }
        found
    }
}

fn word(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

/// Layers that a part of the tree may import from `crate::`.
fn allowed(source: &Source) -> &'static [&'static str] {
    match source.part() {
        ("kit", _) => &["kit"],
        ("atlassian" | "sentry", _) => &["kit", "atlassian", "sentry"],
        ("bitbucket" | "jira", _) => &["kit", "atlassian", "sentry", "bitbucket", "jira"],
        ("features", _) if source.file_name() == "store.rs" || source.path.contains("/store/") => {
            &[
                "kit",
                "schema",
                "features",
                "error",
                "sentry",
                "bitbucket",
                "atlassian",
            ]
        }
        ("features", _) => &[
            "kit",
            "features",
            "app",
            "error",
            "config",
            "sentry",
            "bitbucket",
            "atlassian",
            "schema",
        ],
        ("app" | "error" | "config" | "telemetry" | "schema", _) => {
            &["kit", "config", "error", "atlassian", "bitbucket", "sentry"]
        }
        _ => &[
            "kit",
            "features",
            "app",
            "error",
            "config",
            "sentry",
            "bitbucket",
            "atlassian",
            "schema",
            "routes",
            "server",
            "worker",
            "telemetry",
            "cli",
        ],
    }
}

#[test]
fn arrows_point_down() {
    let mut wrong = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|source| !source.is_test_file())
    {
        for (module, _) in source.imports() {
            if !allowed(source).contains(&module.as_str()) {
                wrong.push(format!("{} imports crate::{module}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Which parts of `kit` a lower layer may use: what it needs to be a pure protocol, or a client that keeps nothing.
fn may_use_of_kit(layer: &str, part: &str) -> bool {
    match layer {
        "atlassian" | "sentry" => ["ids", "crypto", "clock"].contains(&part),
        // The whole of `kit` under one name would be everything in it.
        "bitbucket" | "jira" => !["db", "jobs", "web", ""].contains(&part),
        _ => true,
    }
}

#[test]
fn protocols_and_clients_know_no_database_and_no_web() {
    let mut wrong = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|source| !source.is_test_file())
    {
        let (layer, _) = source.part();
        for (module, part) in source.imports() {
            if module == "kit" && !may_use_of_kit(layer, &part) {
                wrong.push(format!("{} imports crate::kit::{part}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn features_call_each_other_only_along_the_list() {
    let calls: BTreeMap<_, _> = CALLS.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources("src/features")
        .iter()
        .filter(|source| !source.is_test_file())
    {
        let (_, own) = source.part();
        if source.path == "src/features/mod.rs" {
            continue;
        }
        let Some(listed) = calls.get(own) else {
            wrong.push(format!("feature {own} is not in the list"));
            continue;
        };
        for (module, feature) in source.imports() {
            let free = feature == own
                || feature == "accounts"
                || feature == "audit"
                || listed.contains(&feature.as_str());
            if module == "features" && !free {
                wrong.push(format!("{} calls {feature}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_list_of_calls_is_acyclic() {
    let mut remaining: BTreeMap<&str, BTreeSet<&str>> = CALLS
        .iter()
        .map(|(from, to)| (*from, to.iter().copied().collect()))
        .collect();
    while !remaining.is_empty() {
        let free: Vec<_> = remaining
            .iter()
            .filter(|(_, to)| to.is_empty())
            .map(|(from, _)| *from)
            .collect();
        assert!(!free.is_empty(), "a cycle among {:?}", remaining.keys());
        for feature in free {
            remaining.remove(feature);
            for to in remaining.values_mut() {
                to.remove(feature);
            }
        }
    }
}

#[test]
fn a_table_is_touched_by_its_owner_alone() {
    let mut wrong = Vec::new();
    for source in sources("src/features")
        .iter()
        .filter(|source| !source.is_test_file())
    {
        let (_, own) = source.part();
        let uses_schema = source
            .imports()
            .into_iter()
            .filter(|(module, _)| module == "schema");
        for (_, table) in uses_schema {
            let in_store = source.path.contains("/store");
            match OWNERS.iter().find(|(name, _)| *name == table) {
                Some((_, owner)) if *owner == own && in_store => {}
                Some((_, owner)) if *owner == own => {
                    wrong.push(format!(
                        "{} uses schema::{table} outside a store",
                        source.path
                    ));
                }
                Some((_, owner)) => {
                    wrong.push(format!("{} uses {table}, which is {owner}'s", source.path))
                }
                None => wrong.push(format!(
                    "{}: table {table} has no owner in this test",
                    source.path
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A pattern, the only places where it may stand, and why.
const HOMES: &[(&str, &[&str], &str)] = &[
    (
        "Utc::now",
        &["src/kit/clock.rs"],
        "time comes from the Clock",
    ),
    (
        "SystemTime::now",
        &["src/kit/clock.rs"],
        "time comes from the Clock",
    ),
    (
        "env::var",
        &["src/config/"],
        "settings come from the Config",
    ),
    (
        "reqwest::Client::",
        &["src/kit/http/"],
        "outgoing calls go through the egress factory",
    ),
    (
        "Client::builder(",
        &["src/kit/http/"],
        "outgoing calls go through the egress factory",
    ),
    (
        "\"/2.0",
        &["src/bitbucket/paths.rs", "src/bitbucket/page.rs"],
        "API paths stand in the path table",
    ),
    (
        "\"2.0/",
        &["src/bitbucket/paths.rs"],
        "API paths stand in the path table",
    ),
    (
        "\"/repositories/",
        &["src/bitbucket/paths/rows/"],
        "API paths stand in the path table",
    ),
    (
        "\"/rest/",
        // A person may paste such an address where the base of a server is asked for.
        &["src/bitbucket/paths/rows/", "src/features/links/server.rs"],
        "API paths stand in the path table",
    ),
    ("block_in_place", &[], "it panics inside an actix handler"),
    (
        "println!",
        &["src/cli/output.rs"],
        "the command line speaks in one place",
    ),
];

#[test]
fn some_things_have_one_home() {
    let mut wrong = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|source| !source.is_test_file())
    {
        for (pattern, homes, reason) in HOMES {
            if homes.iter().any(|home| source.path.starts_with(home)) {
                continue;
            }
            for line in source.lines.iter().filter(|line| line.contains(pattern)) {
                wrong.push(format!("{}: `{}` ({reason})", source.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// String literals of a line.
fn literals(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

/// The fixed steps of every template of the path table: `refs`, `pullrequests`, `rest`, ….
fn steps_of_the_path_table() -> BTreeSet<String> {
    let mut steps = BTreeSet::new();
    for source in sources("src/bitbucket/paths/rows") {
        for literal in source.lines.iter().flat_map(|line| literals(line)) {
            if literal.starts_with('/') {
                let fixed = literal.split('/').filter(|step| !step.contains('{'));
                steps.extend(fixed.filter(|step| !step.is_empty()).map(str::to_owned));
            }
        }
    }
    assert!(steps.len() > 100 && steps.contains("pullrequests") && steps.contains("hooks"));
    steps
}

/// Pages that people open in a browser, which no call is made to, and what refs are called.
const WEB_PAGES: &[&str] = &[
    "{}/issues/{issue_id}",
    "{}/commits/{hash}",
    "{web}/users/{person}/repos/{slug}",
    "{web}/projects/{project}/repos/{slug}",
    "refs/tags/",
];

/// In `src/bitbucket` no literal names a step of an API path below another one: paths are made by the table alone.
#[test]
fn api_paths_are_made_by_the_table_alone() {
    let steps = steps_of_the_path_table();
    let mut wrong = Vec::new();
    for source in sources("src/bitbucket") {
        if source.is_test_file() || source.path.starts_with("src/bitbucket/paths") {
            continue;
        }
        for literal in source.lines.iter().flat_map(|line| literals(line)) {
            let below = literal.split('/').skip(1).map(word);
            let names_path = below.into_iter().any(|step| steps.contains(step));
            if names_path && !WEB_PAGES.contains(&literal) {
                wrong.push(format!("{}: \"{literal}\"", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Which files of a feature speak HTTP and which speak SQL is told by their names.
#[test]
fn stores_know_no_web_and_jobs_know_no_requests() {
    let mut wrong = Vec::new();
    for source in sources("src/features")
        .iter()
        .filter(|source| !source.is_test_file())
    {
        let in_store = source.path.ends_with("/store.rs") || source.path.contains("/store/");
        let in_jobs =
            source.file_name() == "jobs.rs" && !source.path.starts_with("src/features/ops/");
        for line in source.lines.iter().filter(|_| in_store || in_jobs) {
            if line.contains("actix_web") || line.contains("tera::") {
                wrong.push(format!("{}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn actix_and_diesel_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|source| !source.is_test_file())
    {
        let uses = |needle: &str| source.lines.iter().any(|line| line.contains(needle));
        let (layer, part) = source.part();
        let may_serve = match layer {
            "kit" => part == "web",
            "features" | "error" | "routes" | "server" => true,
            _ => false,
        };
        if uses("actix_web::") && !may_serve {
            wrong.push(format!("{} uses actix", source.path));
        }
        let kit_may = ["db", "jobs", "ids", "clock"].contains(&part);
        if uses("diesel::")
            && (layer == "kit" && !kit_may || ["atlassian", "sentry", "bitbucket"].contains(&layer))
        {
            wrong.push(format!("{} uses diesel", source.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_stay_readable() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().chain(&sources("sandbox/src")) {
        let count =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&source.path))
                .unwrap()
                .lines()
                .count();
        if count > 700 {
            wrong.push(format!("{} has {count} lines", source.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_sandbox_shares_no_code_with_the_product() {
    let manifest =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox/Cargo.toml"))
            .unwrap();
    assert!(!manifest.contains("tracebucket =") && !manifest.contains("path = \"..\""));
    for source in sources("sandbox/src") {
        assert!(
            !source
                .lines
                .iter()
                .any(|line| line.contains("tracebucket::")),
            "{}",
            source.path
        );
    }
}
