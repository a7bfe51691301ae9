#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::filters::{absolute, ago, bars, bytes, compact, duration, grouped, href, iso, runs};
use super::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Put before every text of a hostile context; raw in a page, it would be markup.
const EVIL: &str = "\"'><hx-evil a=\"b\" c='d'>&";

/// Fields whose words choose a branch or a class of a template; handlers take them from enums.
const ENUMS: &[&str] = &[
    "active", "kind", "level", "platform", "result", "state", "status", "step", "verdict",
];

struct Page {
    /// `groups.list.empty`, the file's name without `.json`.
    name: String,
    /// `groups/list.html`
    template: String,
    context: Value,
}

fn renderer() -> Renderer {
    Renderer::new().unwrap_or_else(|error| panic!("{}", causes(&error)))
}

fn pages() -> Vec<Page> {
    let mut pages: Vec<Page> = files(&Path::new(ROOT).join("tests/fixtures/pages"))
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let parts: Vec<&str> = name.split('.').collect();
            let template = match parts.as_slice() {
                ["error", ..] => "error.html".to_owned(),
                [folder, page, ..] => format!("{folder}/{page}.html"),
                _ => panic!("{name}: expected <folder>.<page>[.variant].json"),
            };
            let context = serde_json::from_str(&fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            Page {
                name,
                template,
                context,
            }
        })
        .collect();
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    pages
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn names_below(folder: &str, extensions: &[&str]) -> BTreeSet<String> {
    let root = Path::new(ROOT).join(folder);
    files(&root)
        .into_iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|e| extensions.contains(&e.to_str().unwrap()))
        })
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap();
            name.to_str().unwrap().replace('\\', "/")
        })
        .collect()
}

#[test]
fn every_template_and_static_file_is_embedded() {
    let templates: BTreeSet<String> = TEMPLATES
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(templates, names_below("templates", &["html"]));
    let assets: BTreeSet<String> = static_files().iter().map(|f| f.path.to_owned()).collect();
    assert_eq!(assets, names_below("static", &["css", "js", "svg"]));
}

#[test]
fn every_page_has_a_full_and_an_empty_context_and_renders_both() {
    let renderer = renderer();
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    let out = std::env::var_os("TRACEBUCKET_PAGES_DIR").map(PathBuf::from);
    let pages = pages();
    for page in &pages {
        let html = renderer
            .render(&page.template, &page.context)
            .unwrap_or_else(|error| panic!("{}: {}", page.name, causes(&error)));
        check_markup(&page.name, &html);
        if let Some(out) = &out {
            write_for_looking(out, &page.name, &html);
        }
    }
    let names: BTreeSet<&str> = pages.iter().map(|page| page.name.as_str()).collect();
    for (template, _) in TEMPLATES {
        let shared =
            matches!(*template, "base.html" | "bare.html") || template.starts_with("components/");
        if template.contains("/_") || shared {
            continue;
        }
        let name = template.trim_end_matches(".html").replace('/', ".");
        assert!(names.contains(name.as_str()), "{name}.json is missing");
        let empty = format!("{name}.empty");
        assert!(names.contains(empty.as_str()), "{empty}.json is missing");
    }
}

/// Rules that the content security policy and the shell depend on.
fn check_markup(name: &str, html: &str) {
    for (banned, why) in [
        (" style=", "inline style"),
        ("<style", "inline style sheet"),
        (" onclick=", "inline handler"),
        (" onsubmit=", "inline handler"),
        ("javascript:", "script address"),
        ("<script>", "inline script"),
    ] {
        assert!(!html.contains(banned), "{name}: {why}");
    }
    for script in html.split("<script").skip(1) {
        let tag = script.split('>').next().unwrap();
        assert!(tag.contains(" src=\"/static/"), "{name}: <script{tag}>");
    }
    for form in html.split("<form").skip(1) {
        let form = form.split("</form>").next().unwrap();
        if form.contains("method=\"post\"") {
            assert_eq!(
                form.matches("name=\"csrf\"").count(),
                1,
                "{name}: <form{form}"
            );
        }
    }
    let mut ids = BTreeSet::new();
    for part in html.split(" id=\"").skip(1) {
        let id = part.split('"').next().unwrap();
        assert!(ids.insert(id), "{name}: the id {id} is there twice");
    }
    for attribute in [" for=\"", " aria-labelledby=\"", " aria-describedby=\""] {
        for part in html.split(attribute).skip(1) {
            for id in part.split('"').next().unwrap().split(' ') {
                assert!(ids.contains(id), "{name}:{attribute}{id}\" points nowhere");
            }
        }
    }
}

#[test]
fn hostile_values_are_escaped_on_every_page() {
    let renderer = renderer();
    for mut page in pages() {
        make_hostile(&mut page.context, "");
        let html = renderer
            .render(&page.template, &page.context)
            .unwrap_or_else(|error| panic!("{}: {}", page.name, causes(&error)));
        for raw in ["<hx-evil", "a=\"b\"", "c='d'", "\"'>"] {
            assert!(!html.contains(raw), "{}: {raw} is not escaped", page.name);
        }
        assert!(
            html.contains("&lt;hx-evil a=&quot;b&quot; c=&#39;d&#39;&gt;&amp;"),
            "{}",
            page.name
        );
    }
}

#[test]
fn foreign_script_addresses_do_not_become_links() {
    let renderer = renderer();
    for mut page in pages() {
        make_addresses_hostile(&mut page.context);
        let html = renderer.render(&page.template, &page.context).unwrap();
        for attribute in [
            "href=\"javascript",
            "action=\"javascript",
            "data-url=\"javascript",
        ] {
            assert!(!html.contains(attribute), "{}: {attribute}", page.name);
        }
    }
}

fn make_hostile(value: &mut Value, key: &str) {
    match value {
        Value::String(text) if !ENUMS.contains(&key) => text.insert_str(0, EVIL),
        Value::Array(items) => items.iter_mut().for_each(|item| make_hostile(item, key)),
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(key, value)| make_hostile(value, key)),
        _ => {}
    }
}

fn make_addresses_hostile(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let is_address =
                    key == "href" || key == "prev" || key == "next" || key.ends_with("url");
                match value {
                    Value::String(text) if is_address => *text = "javascript:alert(1)".to_owned(),
                    other => make_addresses_hostile(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_addresses_hostile),
        _ => {}
    }
}

/// With `TRACEBUCKET_PAGES_DIR` set, the pages can be opened in a browser from that folder.
fn write_for_looking(out: &Path, name: &str, html: &str) {
    let assets = out.join("static");
    fs::create_dir_all(&assets).unwrap();
    for file in static_files() {
        fs::write(assets.join(file.hashed_name()), file.bytes).unwrap();
    }
    let html = html.replace("\"/static/", "\"static/");
    fs::write(out.join(format!("{name}.html")), html).unwrap();
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("\n  {cause}"));
        source = cause.source();
    }
    text
}

#[test]
fn an_unknown_page_or_a_missing_name_is_an_error() {
    let renderer = renderer();
    let empty = serde_json::json!({});
    assert!(renderer.render("nowhere.html", &empty).is_err());
    assert!(renderer.render("error.html", &empty).is_err());
    assert!(renderer.render("error.html", &"not a map").is_err());
}

#[test]
fn static_addresses_change_with_the_content_and_find_their_file() {
    for file in static_files() {
        assert_eq!(file.hash.len(), 16);
        let found = static_file(&file.hashed_name()).expect("its own address finds it");
        assert_eq!(found.path, file.path);
        assert!(static_file(file.path).is_none(), "only with the hash");
        assert!(!file.bytes.is_empty(), "{} is empty", file.path);
    }
    assert!(static_file("base.0000000000000000.css").is_none());
    assert!(static_file("../Cargo.toml").is_none());
}

#[test]
fn times_read_well() {
    let now = 1_795_338_660_000_000;
    let at = |seconds: i64| ago(now - seconds * 1_000_000, now);
    for (seconds, text) in [
        (0, "just now"),
        (44, "just now"),
        (45, "1 min ago"),
        (119, "1 min ago"),
        (120, "2 min ago"),
        (3_599, "59 min ago"),
        (3_600, "1 h ago"),
        (86_399, "23 h ago"),
        (86_400, "1 d ago"),
        (30 * 86_400, "1 mo ago"),
        (364 * 86_400, "12 mo ago"),
        (365 * 86_400, "1 y ago"),
        (-44, "just now"),
        (-600, "in 10 min"),
    ] {
        assert_eq!(at(seconds), text, "{seconds} s");
    }
    assert_eq!(iso(now), "2026-11-22T09:11:00Z");
    assert_eq!(iso(i64::MAX), "");
}

#[test]
fn numbers_read_well() {
    for (n, text) in [
        (0, "0"),
        (999, "999"),
        (1_000, "1k"),
        (1_049, "1k"),
        (1_100, "1.1k"),
        (99_999, "99.9k"),
        (999_999, "999k"),
        (1_000_000, "1M"),
        (-1_500, "-1.5k"),
        (2_500_000_000, "2.5B"),
    ] {
        assert_eq!(compact(n), text);
    }
    assert_eq!(grouped(0), "0");
    assert_eq!(grouped(1_234_567), "1,234,567");
    assert_eq!(grouped(-123), "-123");
    assert_eq!(grouped(i64::MIN), "-9,223,372,036,854,775,808");
    assert_eq!(bytes(1_023), "1023 B");
    assert_eq!(bytes(1_536), "1.5 KiB");
    assert_eq!(bytes(5 * 1_048_576), "5.0 MiB");
    assert_eq!(duration(999), "999 ms");
    assert_eq!(duration(30_211), "30.2 s");
    assert_eq!(duration(61_000), "1 min 1 s");
}

#[test]
fn only_web_and_local_addresses_become_links() {
    for good in [
        "https://a.example/",
        "HTTP://a.example",
        "/o/acme/",
        "?cursor=1",
        "#add",
    ] {
        assert_eq!(href(good), good);
    }
    for bad in [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "/\\evil.example",
        "evil.example",
        "",
        "jävascript:x",
    ] {
        assert_eq!(href(bad), "#", "{bad}");
    }
}

#[test]
fn a_chart_shows_every_count() {
    let heights: Vec<i64> = bars(&[0, 1, 50, 100, -3], 24)
        .iter()
        .map(|bar| bar.get_from_path("h").unwrap().as_i64().unwrap())
        .collect();
    assert_eq!(heights, [1, 2, 12, 24, 1]);
    assert!(bars(&[], 24).is_empty());
}

#[test]
fn neighbours_of_one_kind_become_one_run() {
    let frames =
        serde_json::json!([{"app": true}, {"app": false}, {"app": false}, {"app": true}, {}]);
    let frames = tera::Value::from_serializable(&frames);
    let lengths: Vec<usize> = runs(frames.as_array().unwrap(), "app")
        .iter()
        .map(|run| {
            run.get_from_path("items")
                .unwrap()
                .as_array()
                .unwrap()
                .len()
        })
        .collect();
    assert_eq!(lengths, [1, 2, 1, 1]);
}

/// What the pages are for, in the words that a person looks for.
#[test]
fn pages_say_what_matters() {
    let renderer = renderer();
    for (page, texts) in [
        (
            "accounts.settings",
            &["The only owner", "works once", "never", "Revoke"] as &[&str],
        ),
        (
            "accounts.my_tokens",
            &[
                "acts as ada@acme.example",
                "cannot be shown again",
                "/account/tokens/31/revoke/",
            ],
        ),
        ("accounts.my_tokens.empty", &["could do nothing"]),
        (
            "groups.list",
            &[
                "ZeroDivisionError: division by zero",
                "creating…",
                "came back",
                "acme/shop#12",
                "12.4k",
            ],
        ),
        (
            "groups.list.empty",
            &[
                "sentry_sdk.init(dsn=\"https://",
                "Waiting for the first error",
            ],
        ),
        (
            "groups.detail",
            &[
                "Being created in acme/infrastructure",
                "Safe to leave this page",
                "2 system frames",
                "line-crash",
                "Caused by",
                "data-poll",
            ],
        ),
        (
            "groups.detail.read_only",
            &["{snip} var t=blooopy", "came without a stack trace"],
        ),
        (
            "groups.create_ticket",
            &[
                "Choose another repository.",
                "aria-invalid=\"true\"",
                "data-combobox",
            ],
        ),
        ("links.list", &["31 January 2027", "20 August 2026"]),
        ("links.detail", &["12 of 40", "acme/shop-docs"]),
        (
            "deliveries.detail.failed",
            &["kept for 14 days", "Bitbucket answered 503"],
        ),
        ("ops.jobs", &["Redrive", "Drop", "8 of 8"]),
    ] {
        let found = pages()
            .into_iter()
            .find(|found| found.name == page)
            .unwrap();
        let html = renderer.render(&found.template, &found.context).unwrap();
        for text in texts {
            assert!(html.contains(text), "{page} does not say: {text}");
        }
    }
    let read_only = pages()
        .into_iter()
        .find(|page| page.name == "groups.detail.read_only")
        .unwrap();
    let html = renderer
        .render(&read_only.template, &read_only.context)
        .unwrap();
    for action in [
        "/status/",
        "/notes/",
        "/unlink/",
        "/tickets/new/",
        "<dialog",
    ] {
        assert!(!html.contains(action), "a reader is offered {action}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn filters_never_panic(at in any::<i64>(), now in any::<i64>(), counts in proptest::collection::vec(any::<i64>(), 0..40), text in ".*") {
        ago(at, now);
        iso(at);
        absolute(at);
        compact(at);
        grouped(at);
        bytes(at);
        duration(at);
        bars(&counts, 24);
        let link = href(&text);
        prop_assert!(link == "#" || link == text);
    }
}
