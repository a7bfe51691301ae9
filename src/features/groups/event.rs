//! Events on their way into the database and out of it.

use std::borrow::Cow;

use super::{EventRow, GroupId};
use crate::error::{AppError, AppResult};
use crate::features::accounts::{OrgId, ProjectId};
use crate::kit::clock::Micros;
use crate::kit::crypto::{random_bytes, sha256};
use crate::sentry::event::{Event, MAX_EVENT, NotAnEvent, User, readable};
use crate::sentry::event_id::EventId;
use crate::sentry::frames::source_path;
use crate::sentry::grouping::{GroupingKey, group};
use crate::sentry::title::describe;

/// First byte of a stored body: the bytes as they came.
const PLAIN: u8 = 0;
/// First byte of a stored body: size (4 bytes, little endian) and an LZ4 block.
const LZ4: u8 = 1;

/// An event that was read, named and grouped, ready to be written.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its organization.
    pub org: OrgId,
    /// Its project.
    pub project: ProjectId,
    /// Its id: the envelope's, else its own, else a new one.
    pub event_id: EventId,
    /// Which group it belongs to.
    pub hash: GroupingKey,
    /// One line for lists.
    pub title: String,
    /// Where it happened; may be empty.
    pub culprit: String,
    /// `error` or `default`.
    pub kind: &'static str,
    /// Parts of the title, as JSON.
    pub metadata: String,
    /// How bad it is.
    pub level: &'static str,
    /// Platform of the SDK.
    pub platform: String,
    /// Logger that reported.
    pub logger: Option<String>,
    /// Path of the newest own frame, as a repository may know it.
    pub top_path: Option<String>,
    /// Environment it happened in.
    pub environment: Option<String>,
    /// Release it happened in.
    pub release: Option<String>,
    /// Whom it happened to, as a hash.
    pub user: Option<[u8; 16]>,
    /// When it happened, by the client's clock, never later than it arrived.
    pub occurred_at: Micros,
    /// When it arrived.
    pub received_at: Micros,
    /// The event as it came, packed.
    pub body: Vec<u8>,
}

impl NewEvent {
    /// Reads, names, groups and packs an event. Costs time (tens of microseconds for an event of 3 KB) and must
    /// not be done inside a write.
    ///
    /// # Errors
    /// When the payload is no JSON object.
    pub fn read(
        org: OrgId,
        project: ProjectId,
        payload: &[u8],
        envelope_id: Option<EventId>,
        now: Micros,
    ) -> Result<Self, NotAnEvent> {
        let text = readable(payload);
        let event = Event::parse(&text)?;
        let description = describe(&event);
        let metadata =
            serde_json::to_string(&description.metadata).unwrap_or_else(|_| "{}".to_owned());
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let top_path = event
            .suspect_frames(1)
            .first()
            .and_then(|frame| source_path(frame, &event.platform, event.sdk_name()))
            .map(|path| crate::sentry::text::one_line(&path));
        Ok(Self {
            org,
            project,
            event_id: envelope_id
                .or(event.event_id)
                .unwrap_or_else(|| EventId(random_bytes())),
            hash: group(&event).key,
            title: description.title,
            culprit: description.culprit,
            kind: description.kind,
            metadata,
            level: event.level.as_str(),
            platform: event.platform.clone().into_owned(),
            logger: owned(&event.logger),
            top_path,
            environment: owned(&event.environment),
            release: owned(&event.release),
            user: event.user.as_ref().and_then(user_hash),
            occurred_at: event
                .timestamp
                .map_or(now, |at| Micros(at.timestamp_micros()).min(now)),
            received_at: now,
            body: pack(payload),
        })
    }

    /// Title and culprit in lower case: what a search without a key looks at.
    #[must_use]
    pub fn search_text(&self) -> String {
        format!("{}\n{}", self.title, self.culprit).to_lowercase()
    }
}

/// The first thing that tells users apart; the key is part of the hash, so that an id `7` is not a name `7`.
fn user_hash(user: &User<'_>) -> Option<[u8; 16]> {
    let ip = user.ip_address.text().filter(|ip| *ip != "{{auto}}");
    let known = [
        ("id", user.id.text()),
        ("email", user.email.text()),
        ("username", user.username.text()),
        ("ip", ip),
    ];
    let (key, value) = known
        .into_iter()
        .find_map(|(key, value)| Some((key, value?)))?;
    let hash = sha256(format!("{key}:{value}").as_bytes());
    hash.first_chunk().copied()
}

fn pack(payload: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::compress_prepend_size(payload);
    let (codec, bytes) = if packed.len() < payload.len() {
        (LZ4, packed.as_slice())
    } else {
        (PLAIN, payload)
    };
    let mut body = Vec::with_capacity(bytes.len() + 1);
    body.push(codec);
    body.extend_from_slice(bytes);
    body
}

fn unpack(body: &[u8]) -> AppResult<Vec<u8>> {
    let corrupt =
        |why: &str| AppError::internal(anyhow::anyhow!("a stored event cannot be unpacked: {why}"));
    match body.split_first() {
        Some((&PLAIN, rest)) => Ok(rest.to_vec()),
        Some((&LZ4, rest)) => {
            let size = rest
                .first_chunk()
                .map_or(u32::MAX, |size| u32::from_le_bytes(*size));
            if usize::try_from(size).unwrap_or(usize::MAX) > MAX_EVENT {
                return Err(corrupt("the size is not one of an event"));
            }
            let bytes = lz4_flex::decompress_size_prepended(rest)
                .map_err(|error| corrupt(&error.to_string()))?;
            if u32::try_from(bytes.len()) != Ok(size) {
                return Err(corrupt("it is shorter than it says"));
            }
            Ok(bytes)
        }
        _ => Err(corrupt("unknown codec")),
    }
}

/// An event as it is kept.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Row id.
    pub row: EventRow,
    /// Its project.
    pub project: ProjectId,
    /// Its group.
    pub group: GroupId,
    /// Id of the event.
    pub event_id: EventId,
    /// When it arrived.
    pub received_at: Micros,
    /// When it happened.
    pub occurred_at: Micros,
    /// The event as JSON text, repaired so that every reader takes it.
    pub text: String,
}

impl StoredEvent {
    pub(super) fn unpack(row: &super::store::EventData) -> AppResult<Self> {
        let bytes = unpack(&row.body)?;
        let id = row.event_id.as_slice().try_into().unwrap_or_default();
        Ok(Self {
            row: row.id,
            project: row.project_id,
            group: row.group_id,
            event_id: EventId(id),
            received_at: row.received_at,
            occurred_at: row.occurred_at,
            text: readable(&bytes).into_owned(),
        })
    }

    /// The event itself, read from the text.
    ///
    /// # Errors
    /// When the text is no event, which only a damaged database holds.
    pub fn event(&self) -> AppResult<Event<'_>> {
        Event::parse(&self.text).map_err(AppError::internal)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(payload: &[u8]) -> NewEvent {
        NewEvent::read(
            OrgId(1),
            ProjectId(2),
            payload,
            None,
            Micros::from_unix_seconds(1_000),
        )
        .unwrap()
    }

    #[test]
    fn the_envelope_names_the_event_and_the_clock_has_an_end() {
        let payload = br#"{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","timestamp":4000000000,"message":"x"}"#;
        let own = read(payload);
        assert_eq!(own.event_id.to_string(), "9ec79c33ec9942ab8353589fcb2e04dc");
        assert_eq!(
            own.occurred_at, own.received_at,
            "a client that lives in the future"
        );
        let id = EventId([7; 16]);
        let named = NewEvent::read(OrgId(1), ProjectId(2), payload, Some(id), Micros(0)).unwrap();
        assert_eq!(named.event_id, id);
        assert_ne!(read(b"{}").event_id, read(b"{}").event_id);
    }

    #[test]
    fn users_are_told_apart_by_the_first_thing_known() {
        let user = |json: &str| read(format!(r#"{{"user":{json}}}"#).as_bytes()).user;
        assert_eq!(
            user(r#"{"id":7,"email":"a@b"}"#),
            user(r#"{"id":"7","email":"c@d"}"#)
        );
        assert_ne!(user(r#"{"id":"7"}"#), user(r#"{"username":"7"}"#));
        assert_eq!(user(r#"{"ip_address":"{{auto}}"}"#), None);
        assert!(user(r#"{"ip_address":"192.0.2.1"}"#).is_some());
        assert_eq!(user("{}"), None);
    }

    #[test]
    fn the_newest_own_frame_gives_the_path() {
        let event = read(
            br#"{"platform":"python","exception":[{"type":"E","stacktrace":{"frames":[
                {"filename":"shop/a.py","in_app":true},{"filename":"lib.py","in_app":false}]}}]}"#,
        );
        assert_eq!(event.top_path.as_deref(), Some("shop/a.py"));
    }

    #[test]
    fn a_damaged_body_is_an_error() {
        for body in [
            &[][..],
            &[9, 1],
            &[LZ4],
            &[LZ4, 255, 255, 255, 255, 0],
            &[LZ4, 9, 0, 0, 0, 1],
        ] {
            assert!(unpack(body).is_err(), "{body:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn bodies_come_back_as_they_went(payload in proptest::collection::vec(any::<u8>(), 0..300), times in 1..40_usize) {
            let payload = payload.repeat(times);
            prop_assert_eq!(unpack(&pack(&payload)).unwrap(), payload);
        }
    }
}
