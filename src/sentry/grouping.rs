//! Which events are the same error (sentry.md §11.9).
//!
//! In this order: the client's fingerprint; the chain of exceptions with their frames; exception
//! types and values without their variable parts; the message without its variable parts. What made
//! the decision is kept as [`Grouping::parts`], so that a page can say why.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest;
use serde::Serialize;

use crate::sentry::event::Event;
use crate::sentry::frames::{Frame, Variant};
use crate::sentry::parameterize::parameterize;

/// Changes whenever the rules below change, so that old and new keys never mix.
const RULES: &str = "tracebucket-grouping-1";
/// Longest source line that takes part, in bytes; longer ones are minified code.
const MAX_CONTEXT: usize = 120;

/// Identity of a group within its project.
///
/// The first half of a SHA-256: as short as the MD5 that Sentry uses, but nobody can make two errors
/// collide, and the crypto library that signs our tokens computes it without another dependency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupingKey(pub [u8; 16]);

impl fmt::Display for GroupingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for GroupingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a part of the decision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// A part of the client's fingerprint.
    Fingerprint,
    /// Class of an exception.
    Type,
    /// Value of an exception, without its variable parts.
    Value,
    /// Module, else normalised file name of a frame.
    Module,
    /// Function of a frame.
    Function,
    /// Source line of a frame.
    ContextLine,
    /// The message, without its variable parts.
    Message,
    /// The level, for events that say nothing else.
    Level,
}

impl PartKind {
    fn tag(self) -> u8 {
        match self {
            Self::Fingerprint => b'p',
            Self::Type => b't',
            Self::Value => b'v',
            Self::Module => b'm',
            Self::Function => b'f',
            Self::ContextLine => b'c',
            Self::Message => b'g',
            Self::Level => b'l',
        }
    }
}

/// One part of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part<'e> {
    /// What it is.
    pub kind: PartKind,
    /// The text that was compared.
    pub value: Cow<'e, str>,
}

/// Which rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The client's fingerprint alone.
    Fingerprint,
    /// The client's fingerprint together with the rule that would have decided.
    Mixed(BaseRule),
    /// No fingerprint.
    Base(BaseRule),
}

/// The rule without a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseRule {
    /// Exception types and the application's own frames.
    App,
    /// Exception types and all frames, because none is marked as the application's own.
    System,
    /// Exception types and values.
    Values,
    /// The message.
    Message,
    /// Nothing to go by: one group per level.
    Fallback,
}

impl Rule {
    /// Name for explanations and pages.
    pub fn as_str(self) -> &'static str {
        let base = match self {
            Self::Fingerprint => return "fingerprint",
            Self::Mixed(base) | Self::Base(base) => base,
        };
        let mixed = matches!(self, Self::Mixed(_));
        match base {
            BaseRule::App if mixed => "fingerprint and own frames",
            BaseRule::App => "own frames",
            BaseRule::System if mixed => "fingerprint and all frames",
            BaseRule::System => "all frames",
            BaseRule::Values if mixed => "fingerprint and exception",
            BaseRule::Values => "exception",
            BaseRule::Message if mixed => "fingerprint and message",
            BaseRule::Message => "message",
            BaseRule::Fallback if mixed => "fingerprint and level",
            BaseRule::Fallback => "level",
        }
    }
}

/// The decision and its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping<'e> {
    /// The identity.
    pub key: GroupingKey,
    /// The rule that decided.
    pub rule: Rule,
    /// What was compared, in order.
    pub parts: Vec<Part<'e>>,
}

/// Decides which group an event belongs to.
pub fn group<'e>(event: &'e Event<'_>) -> Grouping<'e> {
    let mut parts = Vec::new();
    let is_default = |part: &str| {
        let inner = part
            .trim()
            .strip_prefix("{{")
            .and_then(|part| part.strip_suffix("}}"));
        inner.is_some_and(|word| word.trim() == "default")
    };
    let rule = if event.fingerprint.iter().all(|part| is_default(part)) {
        Rule::Base(base(event, &mut parts))
    } else {
        let mut rule = Rule::Fingerprint;
        for part in &event.fingerprint {
            if !is_default(part) {
                parts.push(Part {
                    kind: PartKind::Fingerprint,
                    value: Cow::Borrowed(part),
                });
            } else if rule == Rule::Fingerprint {
                rule = Rule::Mixed(base(event, &mut parts));
            }
        }
        rule
    };
    Grouping {
        key: key(&parts),
        rule,
        parts,
    }
}

fn key(parts: &[Part<'_>]) -> GroupingKey {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(RULES.as_bytes());
    for part in parts {
        // Kind and length first: no two lists of parts make the same bytes.
        hash.update(&[part.kind.tag()]);
        hash.update(&(part.value.len() as u64).to_le_bytes());
        hash.update(part.value.as_bytes());
    }
    let hash = hash.finish();
    GroupingKey(hash.as_ref().first_chunk().copied().unwrap_or_default())
}

fn base<'e>(event: &'e Event<'_>, parts: &mut Vec<Part<'e>>) -> BaseRule {
    let variant = event.variant();
    let start = parts.len();
    if stack_parts(event, variant, parts) {
        return match variant {
            Variant::App => BaseRule::App,
            Variant::System => BaseRule::System,
        };
    }
    parts.truncate(start);
    for exception in &event.exceptions {
        push(
            parts,
            PartKind::Type,
            exception.kind.text().map(Cow::Borrowed),
        );
        push(
            parts,
            PartKind::Value,
            exception
                .value_text()
                .map(|value| Cow::Owned(parameterize(value.trim()))),
        );
    }
    if parts.len() > start {
        return BaseRule::Values;
    }
    if let Some(message) = event.message.as_ref().filter(|message| !message.is_empty()) {
        // A template has its variable parts taken out already.
        let text = message.identity().trim();
        let text = if message.template.is_some() {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(parameterize(text))
        };
        parts.push(Part {
            kind: PartKind::Message,
            value: text,
        });
        return BaseRule::Message;
    }
    parts.push(Part {
        kind: PartKind::Level,
        value: Cow::Borrowed(event.level.as_str()),
    });
    BaseRule::Fallback
}

/// The chain of exceptions by type and frames; whether any frame said something.
fn stack_parts<'e>(event: &'e Event<'_>, variant: Variant, parts: &mut Vec<Part<'e>>) -> bool {
    let mut usable = false;
    let mut with_frames = false;
    for exception in &event.exceptions {
        if !exception.is_synthetic() {
            push(
                parts,
                PartKind::Type,
                exception.kind.text().map(Cow::Borrowed),
            );
        }
        with_frames |= !exception.frames().is_empty();
        usable |= frame_parts(event, exception.frames(), variant, parts);
    }
    if !with_frames {
        // A message with a stack attached: the stack says where, the message what.
        if let (true, Some(message)) = (event.exceptions.is_empty(), &event.message) {
            push(
                parts,
                PartKind::Message,
                Some(Cow::Owned(parameterize(message.identity().trim()))),
            );
        }
        usable |= frame_parts(event, event.loose_frames(), variant, parts);
    }
    usable
}

fn frame_parts<'e>(
    event: &'e Event<'_>,
    frames: &'e [Frame<'_>],
    variant: Variant,
    parts: &mut Vec<Part<'e>>,
) -> bool {
    let mut last: Option<[Option<Cow<'e, str>>; 3]> = None;
    let mut usable = false;
    for frame in frames.iter().filter(|frame| variant.takes(frame)) {
        let identity = frame_identity(frame, frame.platform.text().unwrap_or(&event.platform));
        let known = identity.iter().any(Option::is_some);
        // A function that calls itself looks the same however deep it went.
        if !known || last.as_ref() == Some(&identity) {
            continue;
        }
        usable = true;
        let [module, function, line] = identity.clone();
        push(parts, PartKind::Module, module);
        push(parts, PartKind::Function, function);
        push(parts, PartKind::ContextLine, line);
        last = Some(identity);
    }
    usable
}

fn push<'e>(parts: &mut Vec<Part<'e>>, kind: PartKind, value: Option<Cow<'e, str>>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        parts.push(Part { kind, value });
    }
}

/// Module or file, function, and for JavaScript the source line.
fn frame_identity<'e>(frame: &'e Frame<'_>, platform: &str) -> [Option<Cow<'e, str>>; 3] {
    let is_js = matches!(platform, "javascript" | "node");
    let module = frame.module.text().map(stable).or_else(|| {
        let file = frame.file()?;
        let path = file.split(['?', '#']).next().unwrap_or_default();
        let base = path.rsplit(['/', '\\']).next().unwrap_or_default();
        (!base.is_empty()).then(|| stable(base))
    });
    let function = frame
        .function_name()
        .filter(|name| *name != "<anonymous>")
        .map(|name| stable_function(name, is_js));
    let line = frame
        .context_line
        .text()
        .filter(|line| is_js && line.len() <= MAX_CONTEXT)
        .map(Cow::Borrowed);
    [module, function, line]
}

/// The name without what changes from build to build: `main.4f3c2a1b.js` becomes `main.<hash>.js`,
/// `Cart$$Lambda$17` becomes `Cart$$Lambda$<n>`.
fn stable(name: &str) -> Cow<'_, str> {
    if !name.bytes().any(|b| b.is_ascii_digit()) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while !rest.is_empty() {
        let border = |c: char| !c.is_ascii_alphanumeric();
        let (word, behind) = rest.split_at(rest.find(border).unwrap_or(rest.len()));
        out.push_str(if is_hash(word) {
            "<hash>"
        } else if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
            "<n>"
        } else {
            word
        });
        let mut letters = behind.chars();
        out.extend(letters.next());
        rest = letters.as_str();
    }
    Cow::Owned(out)
}

/// Six and more characters with a digit, all hex; or eight and more with several digits and letters
/// of both cases, as bundlers write them in base 64.
fn is_hash(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let letters = word.len() - digits;
    let hex = word.len() >= 6 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mixed = word.bytes().any(|b| b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_lowercase());
    digits > 0 && letters > 0 && (hex || (word.len() >= 8 && digits >= 2 && mixed))
}

fn stable_function(name: &str, is_js: bool) -> Cow<'_, str> {
    if is_js {
        // `Object.pay`, `Module.pay` and `async pay` are `pay`, depending on the bundler.
        let last = name.rsplit(['.', ' ']).next().unwrap_or(name);
        return Cow::Borrowed(last);
    }
    // Rust's symbol hash.
    if let Some((path, hash)) = name.rsplit_once("::h")
        && hash.len() == 16
        && hash.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Cow::Borrowed(path);
    }
    if name.contains("lambda$") || name.contains("$$") {
        stable(name)
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
#[path = "grouping_tests.rs"]
mod tests;
