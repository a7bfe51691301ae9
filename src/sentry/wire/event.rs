//! Events and their entries (sentry.md §16), made from the stored event.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{StringId, Time};
use crate::sentry::event::{Event, Exception, Thread};
use crate::sentry::event_id::EventId;
use crate::sentry::frames::{Frame, Stacktrace, Variant};
use crate::sentry::lenient::Slot;
use crate::sentry::title::{Metadata, describe};

/// What the database knows of an event and the event itself does not.
#[derive(Debug, Clone)]
pub struct EventIdentity {
    /// Id of the event.
    pub event_id: EventId,
    /// Row id of its group.
    pub group_id: i64,
    /// Row id of its project.
    pub project_id: i64,
    /// When it arrived.
    pub received: Time,
    /// The newer neighbour in its group.
    pub next: Option<EventId>,
    /// The older neighbour in its group.
    pub previous: Option<EventId>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagData {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

/// An event.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventBody<'e> {
    /// Id; the same as `eventID` with us.
    pub id: EventId,
    /// Id.
    #[serde(rename = "eventID")]
    pub event_id: EventId,
    /// Row id of its group.
    #[serde(rename = "groupID")]
    pub group_id: StringId,
    /// Row id of its project.
    #[serde(rename = "projectID")]
    pub project_id: StringId,
    /// One line.
    pub title: String,
    /// Its message; may be empty.
    pub message: Cow<'e, str>,
    /// Its platform.
    pub platform: &'e str,
    /// `error` or `default`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Parts of the title.
    pub metadata: Metadata,
    /// Where it happened.
    pub culprit: String,
    /// The file it happened in.
    pub location: Option<String>,
    /// Whom it happened to, as sent.
    pub user: Option<&'e RawValue>,
    /// Its tags, ours and the client's.
    pub tags: Vec<TagData>,
    /// Its contexts, as sent.
    pub contexts: Option<&'e RawValue>,
    /// Installed packages, as sent.
    pub packages: Option<&'e RawValue>,
    /// Free data, as sent; Sentry calls it so.
    pub context: Option<&'e RawValue>,
    /// The SDK.
    pub sdk: Option<SdkData<'e>>,
    /// Its release.
    pub release: Option<ReleaseData<'e>>,
    /// Fields that were dropped.
    pub errors: Vec<FieldError<'e>>,
    /// When it happened; when it arrived, if the client did not tell.
    pub date_created: Time,
    /// When it arrived.
    pub date_received: Time,
    /// The parts that a page shows one by one.
    pub entries: Vec<Entry<'e>>,
    /// The newer neighbour in its group.
    #[serde(rename = "nextEventID")]
    pub next_event_id: Option<EventId>,
    /// The older neighbour in its group.
    #[serde(rename = "previousEventID")]
    pub previous_event_id: Option<EventId>,
}

/// The SDK of an event.
#[derive(Debug, Clone, Serialize)]
pub struct SdkData<'e> {
    /// Name.
    pub name: Option<&'e str>,
    /// Version.
    pub version: Option<&'e str>,
}

/// The release of an event, by version only.
#[derive(Debug, Clone, Serialize)]
pub struct ReleaseData<'e> {
    /// The version.
    pub version: &'e str,
}

/// A field that was dropped.
#[derive(Debug, Clone, Serialize)]
pub struct FieldError<'e> {
    /// Always `invalid_data`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// For people.
    pub message: &'static str,
    /// Which field.
    pub data: FieldName<'e>,
}

/// Name of a field that was dropped.
#[derive(Debug, Clone, Serialize)]
pub struct FieldName<'e> {
    /// Path, such as `exception.values.0.type`.
    pub name: &'e str,
}

/// A part of an event.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "lowercase")]
pub enum Entry<'e> {
    /// Its exceptions.
    Exception(ExceptionData<'e>),
    /// A stack without an exception.
    Stacktrace(StacktraceData<'e>),
    /// Its threads.
    Threads(Values<ThreadData<'e>>),
    /// Its message.
    Message(MessageData<'e>),
    /// What happened before, as sent.
    Breadcrumbs(BreadcrumbData<'e>),
    /// The request, as sent.
    Request(&'e RawValue),
}

/// A list the way Sentry wraps it.
#[derive(Debug, Clone, Serialize)]
pub struct Values<T> {
    /// The list.
    pub values: Vec<T>,
}

/// The chain of exceptions.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionData<'e> {
    /// The exceptions; the main one is last.
    pub values: Vec<ExceptionValue<'e>>,
    /// Whether own frames and others are both there.
    pub has_system_frames: bool,
    /// Always `null`.
    pub exc_omitted: Option<(u64, u64)>,
}

/// One exception.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionValue<'e> {
    /// Class.
    #[serde(rename = "type")]
    pub kind: Option<&'e str>,
    /// Message.
    pub value: Option<&'e str>,
    /// Module of the class.
    pub module: Option<&'e str>,
    /// Thread.
    pub thread_id: Option<&'e str>,
    /// How it was caught.
    pub mechanism: Option<MechanismData<'e>>,
    /// Where.
    pub stacktrace: Option<StacktraceData<'e>>,
}

/// How an exception was caught.
#[derive(Debug, Clone, Serialize)]
pub struct MechanismData<'e> {
    /// Name of the integration.
    #[serde(rename = "type")]
    pub kind: Option<&'e str>,
    /// Whether the program went on.
    pub handled: Option<bool>,
    /// Whether type and value were made up.
    pub synthetic: Option<bool>,
}

/// A stack.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StacktraceData<'e> {
    /// Frames, oldest first.
    pub frames: Vec<FrameData<'e>>,
    /// First and behind-last position of frames that were left out.
    pub frames_omitted: Option<(usize, usize)>,
    /// Whether own frames and others are both there.
    pub has_system_frames: bool,
}

/// A thread.
#[derive(Debug, Clone, Serialize)]
pub struct ThreadData<'e> {
    /// Id.
    pub id: Option<&'e str>,
    /// Name.
    pub name: Option<&'e str>,
    /// Whether it ended the program.
    pub crashed: bool,
    /// Whether it reported.
    pub current: bool,
    /// What it did.
    pub stacktrace: Option<ThreadStack<'e>>,
}

/// The stack of a thread, read only while it is written: there may be hundreds.
#[derive(Debug, Clone, Copy)]
pub struct ThreadStack<'e> {
    raw: &'e RawValue,
    variant: Variant,
}

impl Serialize for ThreadStack<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stack = serde_json::from_str::<Slot<Stacktrace<'_>>>(self.raw.get());
        match stack.map(Slot::into_option) {
            Ok(Some(stack)) => stack_data(&stack, self.variant).serialize(serializer),
            Ok(None) | Err(_) => serializer.serialize_none(),
        }
    }
}

/// A line of source: number and text.
pub type ContextLine<'e> = (i64, Cow<'e, str>);

/// A frame.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameData<'e> {
    /// Path as the program knows it.
    pub filename: Option<&'e str>,
    /// Absolute path.
    pub abs_path: Option<&'e str>,
    /// Module.
    pub module: Option<&'e str>,
    /// Binary or bundle.
    pub package: Option<&'e str>,
    /// Platform, when not the event's.
    pub platform: Option<&'e str>,
    /// Function.
    pub function: Option<&'e str>,
    /// Address, for native frames.
    pub instruction_addr: Option<&'e str>,
    /// Line.
    pub line_no: Option<u32>,
    /// Column.
    pub col_no: Option<u32>,
    /// Source around the line.
    pub context: Vec<ContextLine<'e>>,
    /// Whether it counts as the application's own; when no frame is marked, all do.
    pub in_app: bool,
    /// Local variables, as sent.
    pub vars: Option<&'e RawValue>,
}

/// The message of an event.
#[derive(Debug, Clone, Serialize)]
pub struct MessageData<'e> {
    /// For people.
    pub formatted: &'e str,
    /// Template, if the client sent one.
    pub message: Option<&'e str>,
    /// Parameters, as sent.
    pub params: Option<&'e RawValue>,
}

/// Breadcrumbs, always wrapped in `values`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum BreadcrumbData<'e> {
    /// Sent with `values`.
    Wrapped(&'e RawValue),
    /// Sent as a bare list.
    Bare {
        /// The list.
        values: &'e RawValue,
    },
}

impl<'e> EventBody<'e> {
    /// The answer for a stored event.
    pub fn new(event: &'e Event<'_>, identity: &EventIdentity) -> Self {
        let description = describe(event);
        Self {
            id: identity.event_id,
            event_id: identity.event_id,
            group_id: StringId(identity.group_id),
            project_id: StringId(identity.project_id),
            location: description.location().map(str::to_owned),
            title: description.title,
            message: event
                .message
                .as_ref()
                .map_or_else(Cow::default, |m| Cow::Borrowed(&*m.formatted)),
            platform: &event.platform,
            kind: description.kind,
            metadata: description.metadata,
            culprit: description.culprit,
            user: event.raw.user,
            tags: tags(event),
            contexts: event.raw.contexts,
            packages: event.raw.modules,
            context: event.raw.extra,
            sdk: event.sdk.as_ref().map(|sdk| SdkData {
                name: sdk.name.text(),
                version: sdk.version.text(),
            }),
            release: event
                .release
                .as_deref()
                .map(|version| ReleaseData { version }),
            errors: event
                .errors
                .iter()
                .map(|name| FieldError {
                    kind: "invalid_data",
                    message: "Discarded invalid value",
                    data: FieldName { name },
                })
                .collect(),
            date_created: event.timestamp.map_or(identity.received, Time),
            date_received: identity.received,
            entries: entries(event),
            next_event_id: identity.next,
            previous_event_id: identity.previous,
        }
    }
}

/// The tags of an event: those of well-known fields, then the client's own, sorted by key.
fn tags(event: &Event<'_>) -> Vec<TagData> {
    let known = [
        ("environment", event.environment.as_deref()),
        ("level", Some(event.level.as_str())),
        ("logger", event.logger.as_deref()),
        ("release", event.release.as_deref()),
        ("server_name", event.server_name.as_deref()),
        ("transaction", event.transaction.as_deref()),
        (
            "url",
            event
                .request
                .as_ref()
                .and_then(|request| request.url.text()),
        ),
    ];
    let pair = |key: &str, value: &str| TagData {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let mut tags: Vec<TagData> = known
        .iter()
        .filter_map(|(key, value)| Some(pair(key, (*value)?)))
        .collect();
    for (key, value) in &event.tags {
        if !tags.iter().any(|tag| tag.key == **key) {
            tags.push(pair(key, value));
        }
    }
    tags.sort_by(|a, b| a.key.cmp(&b.key));
    tags
}

/// The parts of an event that a page shows one by one.
pub fn entries<'e>(event: &'e Event<'_>) -> Vec<Entry<'e>> {
    let variant = event.variant();
    let mut entries = Vec::new();
    if let Some(message) = &event.message {
        entries.push(Entry::Message(MessageData {
            formatted: &message.formatted,
            message: message.template.as_deref(),
            params: message.params,
        }));
    }
    if !event.exceptions.is_empty() {
        let values: Vec<_> = event
            .exceptions
            .iter()
            .map(|exception| exception_value(exception, variant))
            .collect();
        let has_system_frames = values
            .iter()
            .filter_map(|v| v.stacktrace.as_ref())
            .any(|s| s.has_system_frames);
        entries.push(Entry::Exception(ExceptionData {
            values,
            has_system_frames,
            exc_omitted: None,
        }));
    }
    if let Some(stack) = &event.stacktrace {
        entries.push(Entry::Stacktrace(stack_data(stack, variant)));
    }
    if !event.threads.is_empty() {
        let values = event
            .threads
            .iter()
            .map(|thread| thread_data(thread, variant))
            .collect();
        entries.push(Entry::Threads(Values { values }));
    }
    if let Some(raw) = event.raw.breadcrumbs {
        match raw.get().bytes().next() {
            Some(b'[') => entries.push(Entry::Breadcrumbs(BreadcrumbData::Bare { values: raw })),
            Some(b'{') => entries.push(Entry::Breadcrumbs(BreadcrumbData::Wrapped(raw))),
            _ => {}
        }
    }
    if let Some(raw) = event.raw.request.filter(|raw| raw.get().starts_with('{')) {
        entries.push(Entry::Request(raw));
    }
    entries
}

fn exception_value<'e>(exception: &'e Exception<'_>, variant: Variant) -> ExceptionValue<'e> {
    ExceptionValue {
        kind: exception.kind.text(),
        value: exception.value_text(),
        module: exception.module.text(),
        thread_id: exception.thread_id.text(),
        mechanism: exception.mechanism.get().map(|mechanism| MechanismData {
            kind: mechanism.kind.text(),
            handled: mechanism.handled.get().copied(),
            synthetic: mechanism.synthetic.get().copied(),
        }),
        stacktrace: exception
            .stacktrace
            .get()
            .map(|stack| stack_data(stack, variant)),
    }
}

fn thread_data<'e>(thread: &'e Thread<'_>, variant: Variant) -> ThreadData<'e> {
    ThreadData {
        id: thread.id.text(),
        name: thread.name.text(),
        crashed: thread.crashed.get() == Some(&true),
        current: thread.current.get() == Some(&true),
        stacktrace: thread
            .stacktrace
            .get()
            .map(|raw| ThreadStack { raw, variant }),
    }
}

fn stack_data<'e>(stack: &'e Stacktrace<'_>, variant: Variant) -> StacktraceData<'e> {
    let frames: Vec<_> = stack
        .frames()
        .iter()
        .map(|frame| frame_data(frame, variant))
        .collect();
    let own = frames.iter().filter(|frame| frame.in_app).count();
    StacktraceData {
        has_system_frames: own > 0 && own < frames.len(),
        frames,
        frames_omitted: (stack.omitted() > 0).then(|| (0, stack.omitted())),
    }
}

fn frame_data<'e>(frame: &'e Frame<'_>, variant: Variant) -> FrameData<'e> {
    FrameData {
        filename: frame.filename.text(),
        abs_path: frame.abs_path.text(),
        module: frame.module.text(),
        package: frame.package.text(),
        platform: frame.platform.text(),
        function: frame.function_name(),
        instruction_addr: frame.instruction_addr.text(),
        line_no: frame.lineno.get().copied(),
        col_no: frame.colno.get().copied(),
        context: context(frame),
        in_app: variant.takes(frame),
        vars: frame
            .vars
            .get()
            .copied()
            .filter(|raw| raw.get().starts_with('{')),
    }
}

/// The source lines around the frame with their numbers.
pub fn context<'e>(frame: &'e Frame<'_>) -> Vec<ContextLine<'e>> {
    let (Some(line), Some(number)) = (frame.context_line.get(), frame.lineno.get()) else {
        return Vec::new();
    };
    let number = i64::from(*number);
    let before = lines(&frame.pre_context);
    let first = number.saturating_sub(i64::try_from(before.len()).unwrap_or_default());
    let all = before
        .into_iter()
        .chain([Cow::Borrowed(&**line)])
        .chain(lines(&frame.post_context));
    (first..)
        .zip(all)
        .filter(|(number, _)| *number > 0)
        .collect()
}

fn lines<'e>(raw: &Slot<&'e RawValue>) -> Vec<Cow<'e, str>> {
    let list = raw
        .get()
        .and_then(|raw| serde_json::from_str::<Vec<Slot<Cow<'e, str>>>>(raw.get()).ok());
    list.unwrap_or_default()
        .into_iter()
        .map(|line| line.into_option().unwrap_or_default())
        .collect()
}
