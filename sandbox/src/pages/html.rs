//! The frame of every page.

use std::fmt::Write as _;

const STYLE: &str = include_str!("style.css");

/// Text made safe inside HTML text and quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A whole page. `title` is text, `body` is HTML.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{} · Bitbucket sandbox</title><style>{STYLE}</style></head>
<body><header><a class="brand" href="/">Bitbucket sandbox</a><span>a stand-in, not Bitbucket</span></header>
<main>{body}</main></body></html>"#,
        escape(title)
    )
}

/// A table; `rows` are cells of HTML. `empty` is shown instead of a table without rows.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>], empty: &str) -> String {
    if rows.is_empty() {
        return format!(r#"<p class="empty">{}</p>"#, escape(empty));
    }
    let mut html = String::from(
        r#"<div class="scroll" tabindex="0" role="region" aria-label="Table"><table><thead><tr>"#,
    );
    for head in heads {
        let _ = write!(html, r#"<th scope="col">{}</th>"#, escape(head));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{cell}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// A link; `href` and `text` are text.
pub(crate) fn link(href: &str, text: &str) -> String {
    format!(r#"<a href="{}">{}</a>"#, escape(href), escape(text))
}

/// A small coloured word. `kind` is one of `good`, `bad`, `plain`.
pub(crate) fn badge(kind: &str, text: &str) -> String {
    format!(
        r#"<span class="badge {}">{}</span>"#,
        escape(kind),
        escape(text)
    )
}

/// Machine text.
pub(crate) fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_cannot_get_out() {
        assert_eq!(
            escape(r#"<a href="x" b='y'>&"#),
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;"
        );
        assert!(!page("<script>", "").contains("<script>"));
    }
}
