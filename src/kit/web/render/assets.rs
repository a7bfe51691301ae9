//! Static files under addresses that change with their content, so browsers may keep them forever.

use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};

/// One embedded static file.
#[derive(Debug)]
pub struct StaticFile {
    /// Name under `static/`, for example `app.css`.
    pub path: &'static str,
    /// Value of the `Content-Type` header.
    pub content_type: &'static str,
    /// The file.
    pub bytes: &'static [u8],
    /// First 16 hex characters of the SHA-256 of `bytes`.
    pub hash: String,
}

impl StaticFile {
    /// Name with the hash before the extension: `app.css` becomes `app.0123456789abcdef.css`.
    #[must_use]
    pub fn hashed_name(&self) -> String {
        match self.path.rsplit_once('.') {
            Some((stem, extension)) => format!("{stem}.{}.{extension}", self.hash),
            None => format!("{}.{}", self.path, self.hash),
        }
    }

    /// Address below the site's root: `/static/` and [`Self::hashed_name`].
    #[must_use]
    pub fn url(&self) -> String {
        format!("/static/{}", self.hashed_name())
    }
}

/// Names the static files once, with the content type of each.
macro_rules! embedded {
    ($($name:literal => $kind:expr),+ $(,)?) => {
        &[$((
            $name,
            $kind,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/static/", $name)) as &[u8],
        )),+]
    };
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// All static files. A test compares this list with the folder.
const FILES: &[(&str, &str, &[u8])] = embedded![
    "base.css" => CSS,
    "components.css" => CSS,
    "pages.css" => CSS,
    "shell.css" => CSS,
    "tokens.css" => CSS,
    "ago.js" => JS,
    "bulk.js" => JS,
    "combobox.js" => JS,
    "confirm.js" => JS,
    "copy.js" => JS,
    "dialog.js" => JS,
    "filters.js" => JS,
    "poll.js" => JS,
    "submit.js" => JS,
    "favicon.svg" => SVG,
];

/// Every embedded static file, hashed on first use.
pub fn static_files() -> &'static [StaticFile] {
    static TABLE: OnceLock<Vec<StaticFile>> = OnceLock::new();
    TABLE.get_or_init(|| {
        FILES
            .iter()
            .map(|&(path, content_type, bytes)| StaticFile {
                path,
                content_type,
                bytes,
                hash: short_hash(bytes),
            })
            .collect()
    })
}

/// The file behind the part of an address after `/static/`, for example
/// `app.0123456789abcdef.css`. An outdated hash finds nothing.
#[must_use]
pub fn static_file(hashed_name: &str) -> Option<&'static StaticFile> {
    static_files()
        .iter()
        .find(|file| file.hashed_name() == hashed_name)
}

fn short_hash(bytes: &[u8]) -> String {
    let mut text = hex::encode(digest(&SHA256, bytes));
    text.truncate(16);
    text
}
