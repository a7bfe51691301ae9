//! Stack frames: the model, which frames count as the application's own, and the path of a frame in
//! its repository (sentry.md §5.1, §6.3, §11.9).

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::sentry::lenient::{Many, record};

/// Frames of one stack that are kept; the newest, which stand last.
pub const MAX_FRAMES: usize = 250;

record! {
    /// One frame. Frames run oldest first: the crash is the last one.
    pub struct Frame<'a> keep 250 {
        /// Path as the program knows it, mostly relative.
        filename: Cow<'a, str> = "filename",
        /// Absolute path or URL.
        abs_path: Cow<'a, str> = "abs_path",
        /// Module, package-qualified class or crate.
        module: Cow<'a, str> = "module",
        /// Binary or bundle the code is in.
        package: Cow<'a, str> = "package",
        /// Function name.
        function: Cow<'a, str> = "function",
        /// Platform of this frame, when it is not the event's.
        platform: Cow<'a, str> = "platform",
        /// Line, starting at 1.
        lineno: u32 = "lineno",
        /// Column.
        colno: u32 = "colno",
        /// Whether the frame is the application's own, if the SDK knows.
        in_app: bool = "in_app",
        /// The source line.
        context_line: Cow<'a, str> = "context_line",
        /// Lines before it, as sent.
        pre_context: &'a RawValue = "pre_context",
        /// Lines after it, as sent.
        post_context: &'a RawValue = "post_context",
        /// Local variables, as sent.
        vars: &'a RawValue = "vars",
        /// Address, for native frames.
        instruction_addr: Cow<'a, str> = "instruction_addr",
    }
}

record! {
    /// A stack.
    pub struct Stacktrace<'a> {
        /// Its frames, oldest first.
        frames: Many<Frame<'a>> = "frames",
    }
}

impl<'a> Stacktrace<'a> {
    /// The frames, oldest first; at most [`MAX_FRAMES`].
    pub fn frames(&self) -> &[Frame<'a>] {
        self.frames.get().map_or(&[], |frames| &frames.items)
    }

    /// How many older frames were not kept.
    pub fn omitted(&self) -> usize {
        self.frames.get().map_or(0, |frames| frames.omitted)
    }
}

impl Frame<'_> {
    /// Whether the SDK marked the frame as the application's own.
    pub fn is_in_app(&self) -> bool {
        self.in_app.get() == Some(&true)
    }

    /// `filename`, else `abs_path`.
    pub fn file(&self) -> Option<&str> {
        self.filename.text().or_else(|| self.abs_path.text())
    }

    /// The function; SDKs write `?` or `<unknown>` when they do not know it.
    pub fn function_name(&self) -> Option<&str> {
        self.function
            .text()
            .filter(|name| !matches!(*name, "?" | "<unknown>"))
    }
}

/// Which frames speak for the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// At least one frame is marked in-app: only such frames count.
    App,
    /// No frame is marked: all frames count.
    System,
}

impl Variant {
    /// Decides over all stacks of an event together.
    pub fn of<'f, 'a: 'f>(frames: impl IntoIterator<Item = &'f Frame<'a>>) -> Self {
        if frames.into_iter().any(Frame::is_in_app) {
            Self::App
        } else {
            Self::System
        }
    }

    /// Whether a frame counts.
    pub fn takes(self, frame: &Frame<'_>) -> bool {
        self == Self::System || frame.is_in_app()
    }

    /// The word for it in explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::System => "system",
        }
    }
}

/// The frame where it crashed: the last one that is in-app, else the last one.
pub fn crash_frame<'f, 'a>(frames: &'f [Frame<'a>]) -> Option<&'f Frame<'a>> {
    frames
        .iter()
        .rev()
        .find(|frame| frame.is_in_app())
        .or_else(|| frames.last())
}

/// The path of a frame as a repository may know it (sentry.md §6.3): the rules of the platform, else
/// `filename`, else `abs_path`.
pub fn source_path<'f>(
    frame: &'f Frame<'_>,
    event_platform: &str,
    sdk_name: &str,
) -> Option<Cow<'f, str>> {
    let munged = match frame.platform.text().unwrap_or(event_platform) {
        "java" => java_path(frame).map(Cow::Owned),
        "cocoa" => cocoa_path(frame).map(Cow::Borrowed),
        _ if sdk_name == "sentry.dart.flutter" => flutter_path(frame).map(Cow::Borrowed),
        _ => None,
    };
    munged.or_else(|| frame.file().map(Cow::Borrowed))
}

fn java_path(frame: &Frame<'_>) -> Option<String> {
    let (filename, module) = (frame.filename.text()?, frame.module.text()?);
    if let Some((class, _)) = module.split_once('$') {
        let (stem, extension) = frame.abs_path.text()?.split_once('.')?;
        if stem.is_empty() || extension.is_empty() || extension.contains('.') {
            return None;
        }
        return Some(format!("{}.{extension}", class.replace('.', "/")));
    }
    if filename.contains('/') {
        return None;
    }
    Some(match module.rsplit_once('.') {
        Some((package, _)) => format!("{}/{filename}", package.replace('.', "/")),
        None => filename.to_owned(),
    })
}

fn cocoa_path<'f>(frame: &'f Frame<'_>) -> Option<&'f str> {
    let (package, path) = (frame.package.text()?, frame.abs_path.text()?);
    let mut start = None;
    let mut at = 0;
    for segment in path.split('/') {
        if segment == package && start.is_none() {
            start = Some(at);
        }
        at += segment.len() + 1;
    }
    path.get(start?..)
}

fn flutter_path<'f>(frame: &'f Frame<'_>) -> Option<&'f str> {
    let path = frame.abs_path.text()?.strip_prefix("package:")?;
    let (package, rest) = path.split_once('/')?;
    (Some(package) == frame.package.text()).then_some(rest)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::sentry::lenient::Slot;

    fn frame(json: &str) -> Frame<'_> {
        serde_json::from_str::<Slot<Frame<'_>>>(json)
            .unwrap()
            .into_option()
            .unwrap()
    }

    fn path(json: &str, platform: &str, sdk: &str) -> Option<String> {
        source_path(&frame(json), platform, sdk).map(Cow::into_owned)
    }

    #[test]
    fn java_paths_come_from_the_module() {
        for (json, expected) in [
            (
                r#"{"filename":"Cart.java","module":"com.shop.Cart"}"#,
                Some("com/shop/Cart.java"),
            ),
            (
                r#"{"filename":"Cart.java","module":"Cart"}"#,
                Some("Cart.java"),
            ),
            (
                r#"{"filename":"x","module":"com.shop.Cart$Item","abs_path":"Cart.kt"}"#,
                Some("com/shop/Cart.kt"),
            ),
            (
                r#"{"filename":"x","module":"com.shop.Cart$Item","abs_path":"Cart.kt.java"}"#,
                Some("x"),
            ),
            (
                r#"{"filename":"src/Cart.java","module":"com.shop.Cart"}"#,
                Some("src/Cart.java"),
            ),
            (r#"{"module":"com.shop.Cart"}"#, None),
        ] {
            assert_eq!(path(json, "java", "").as_deref(), expected, "{json}");
        }
        let own = r#"{"platform":"java","filename":"Cart.java","module":"a.b.Cart"}"#;
        assert_eq!(
            path(own, "javascript", "").as_deref(),
            Some("a/b/Cart.java")
        );
    }

    #[test]
    fn cocoa_paths_start_at_the_package() {
        let json = r#"{"package":"Shop","abs_path":"/Users/ci/build/Shop/Cart/Shop/Item.swift"}"#;
        assert_eq!(
            path(json, "cocoa", "").as_deref(),
            Some("Shop/Cart/Shop/Item.swift")
        );
        let other = r#"{"package":"Web","abs_path":"/Users/Shop/Item.swift"}"#;
        assert_eq!(
            path(other, "cocoa", "").as_deref(),
            Some("/Users/Shop/Item.swift")
        );
    }

    #[test]
    fn flutter_paths_lose_their_package() {
        let sdk = "sentry.dart.flutter";
        let json =
            r#"{"package":"shop","abs_path":"package:shop/lib/cart.dart","filename":"cart.dart"}"#;
        assert_eq!(path(json, "other", sdk).as_deref(), Some("lib/cart.dart"));
        assert_eq!(path(json, "other", "").as_deref(), Some("cart.dart"));
        let foreign =
            r#"{"package":"shop","abs_path":"package:http/client.dart","filename":"client.dart"}"#;
        assert_eq!(path(foreign, "other", sdk).as_deref(), Some("client.dart"));
    }

    #[test]
    fn the_crash_frame_is_the_last_own_one() {
        let frames = [
            frame(r#"{"function":"a","in_app":true}"#),
            frame(r#"{"function":"b","in_app":false}"#),
        ];
        assert_eq!(
            crash_frame(&frames).and_then(Frame::function_name),
            Some("a")
        );
        assert_eq!(Variant::of(&frames), Variant::App);
        let unknown = [
            frame(r#"{"function":"a"}"#),
            frame(r#"{"function":"?","in_app":false}"#),
        ];
        assert_eq!(crash_frame(&unknown).map(Frame::function_name), Some(None));
        assert_eq!(Variant::of(&unknown), Variant::System);
        assert!(Variant::System.takes(unknown.last().unwrap()));
        assert!(crash_frame(&[]).is_none());
    }
}
