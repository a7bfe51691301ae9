//! Tolerant reading of foreign JSON: a value of the wrong type costs its field, never the event.
//!
//! [`Slot`] is a field that cannot fail to parse. It is [`Slot::Bad`] when the JSON there has a type
//! the field cannot take; [`Faults`] collects the paths of such fields afterwards. The `record!`
//! macro makes a struct whose fields are all slots. Unlike serde's derive it takes the last of
//! repeated keys, as every JSON reader of the SDK world does, and knows the names of its bad fields.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A field of a foreign object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Slot<T> {
    /// Not sent, or sent as `null`.
    #[default]
    Absent,
    /// Sent with a type that this field cannot take; the value is gone.
    Bad,
    /// Sent and readable.
    Value(T),
}

impl<T> Slot<T> {
    /// The value, if there is a readable one.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Bad => None,
        }
    }

    /// The value itself, if there is a readable one.
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Bad => None,
        }
    }

    /// Whether something unreadable was sent.
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Bad)
    }
}

impl Slot<Cow<'_, str>> {
    /// The text without surrounding white space; nothing when that is empty.
    pub fn text(&self) -> Option<&str> {
        self.get()
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
    }
}

/// A JSON number as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number that fits.
    Int(i64),
    /// A whole number beyond `i64::MAX`.
    Big(u64),
    /// Anything else.
    Float(f64),
}

/// A type that reads what it can from JSON of any shape. Every method says what the value becomes
/// when the JSON has that shape; the default is "not this type".
pub trait Lenient<'de>: Sized {
    /// How many values of this type a list keeps: the last ones, see [`Many`].
    const KEEP: usize = 100;

    /// From a string.
    fn from_text(_text: Cow<'de, str>) -> Option<Self> {
        None
    }

    /// From a number.
    fn from_number(_number: Number) -> Option<Self> {
        None
    }

    /// From `true` or `false`.
    fn from_bool(_flag: bool) -> Option<Self> {
        None
    }

    /// From an array. The whole array must be consumed.
    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    /// From an object. The whole object must be consumed.
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    /// Reads a slot; only types that need the raw JSON text replace this.
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Slot<Self>, D::Error> {
        deserializer.deserialize_any(SlotVisitor(PhantomData))
    }

    /// Notes the bad fields inside this value.
    fn faults(&self, _faults: &mut Faults) {}
}

impl<'de, T: Lenient<'de>> Deserialize<'de> for Slot<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer)
    }
}

struct SlotVisitor<T>(PhantomData<T>);

fn slot<T>(value: Option<T>) -> Slot<T> {
    value.map_or(Slot::Bad, Slot::Value)
}

impl<'de, T: Lenient<'de>> Visitor<'de> for SlotVisitor<T> {
    type Value = Slot<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Slot::Absent)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(slot(T::from_bool(flag)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(slot(T::from_number(Number::Int(number))))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        let number = i64::try_from(number).map_or(Number::Big(number), Number::Int);
        Ok(slot(T::from_number(number)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(slot(T::from_number(Number::Float(number))))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(slot(T::from_text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(slot(T::from_text(Cow::Owned(text.to_owned()))))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(slot(T::from_text(Cow::Owned(text))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Ok(slot(T::from_list(list)?))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(slot(T::from_map(map)?))
    }
}

/// Text; numbers and booleans are taken as their JSON text.
impl<'de> Lenient<'de> for Cow<'de, str> {
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        Some(text)
    }

    fn from_number(number: Number) -> Option<Self> {
        Some(Cow::Owned(match number {
            Number::Int(n) => n.to_string(),
            Number::Big(n) => n.to_string(),
            Number::Float(n) => n.to_string(),
        }))
    }

    fn from_bool(flag: bool) -> Option<Self> {
        Some(Cow::Borrowed(if flag { "true" } else { "false" }))
    }
}

/// A flag; SDKs also send 0, 1 and the words.
impl<'de> Lenient<'de> for bool {
    fn from_bool(flag: bool) -> Option<Self> {
        Some(flag)
    }

    fn from_number(number: Number) -> Option<Self> {
        match number {
            Number::Int(0) => Some(false),
            Number::Int(1) => Some(true),
            _ => None,
        }
    }

    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        text.parse().ok()
    }
}

/// A small whole number, such as a line; digits in a string count.
impl<'de> Lenient<'de> for u32 {
    fn from_number(number: Number) -> Option<Self> {
        match number {
            Number::Int(n) => Self::try_from(n).ok(),
            Number::Float(n) if n.fract() == 0.0 && n >= 0.0 && n <= f64::from(Self::MAX) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "range checked in the guard"
                )]
                let whole = n as Self;
                Some(whole)
            }
            _ => None,
        }
    }

    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        text.trim().parse().ok()
    }
}

/// JSON that is kept as it was written.
impl<'de> Lenient<'de> for &'de RawValue {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Slot<Self>, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(if raw.get() == "null" {
            Slot::Absent
        } else {
            Slot::Value(raw)
        })
    }
}

/// Text that was sent as any JSON: a string as itself, everything else as its JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyText<'a>(pub Cow<'a, str>);

impl<'de> Lenient<'de> for AnyText<'de> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Slot<Self>, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        Ok(match raw.as_bytes().first() {
            _ if raw == "null" => Slot::Absent,
            Some(b'"') => match serde_json::from_str::<Slot<Cow<'de, str>>>(raw) {
                Ok(Slot::Value(text)) => Slot::Value(Self(text)),
                Ok(_) | Err(_) => Slot::Bad,
            },
            _ => Slot::Value(Self(Cow::Borrowed(raw))),
        })
    }
}

/// The key of an object, borrowed where it has no escapes.
pub struct Key<'de>(pub Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// An object with known fields; made by `record!`.
pub trait Record<'de>: Default {
    /// Reads the value that belongs to `key`, or skips it when the key is not known.
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Declares a struct whose fields are [`Slot`]s and reads them from the JSON keys given.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident<$lt:lifetime> $(keep $keep:literal)? {
            $( $(#[$doc:meta])* $field:ident: $ty:ty = $key:literal $(| $alias:literal)*, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default)]
        $vis struct $name<$lt> {
            $( $(#[$doc])* $vis $field: $crate::sentry::lenient::Slot<$ty>, )*
        }

        impl<$lt> $crate::sentry::lenient::Record<$lt> for $name<$lt> {
            fn field<A: serde::de::MapAccess<$lt>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
                match key {
                    $( $key $(| $alias)* => self.$field = map.next_value()?, )*
                    _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                }
                Ok(())
            }
        }

        impl<$lt> $crate::sentry::lenient::Lenient<$lt> for $name<$lt> {
            $( const KEEP: usize = $keep; )?

            fn from_map<A: serde::de::MapAccess<$lt>>(mut map: A) -> Result<Option<Self>, A::Error> {
                use $crate::sentry::lenient::Record as _;
                let mut record = Self::default();
                while let Some(key) = map.next_key::<$crate::sentry::lenient::Key<'_>>()? {
                    record.field(&key.0, &mut map)?;
                }
                Ok(Some(record))
            }

            fn faults(&self, faults: &mut $crate::sentry::lenient::Faults) {
                $( faults.slot($key, &self.$field); )*
            }
        }
    };
}
pub(crate) use record;

/// A list of objects as SDKs send it: an array, `{"values": […]}`, or one object alone.
///
/// Only the last `T::KEEP` are kept, because the newest frame and the main exception stand last.
#[derive(Debug, Clone)]
pub struct Many<T> {
    /// The readable entries, in the order sent.
    pub items: Vec<T>,
    /// How many older entries were left out.
    pub omitted: usize,
    /// Positions of entries that were no objects.
    bad: Vec<usize>,
    /// Whether they came inside `values`, for the names of faults.
    wrapped: bool,
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            omitted: 0,
            bad: Vec::new(),
            wrapped: false,
        }
    }
}

impl<T> Many<T> {
    fn trim(&mut self, keep: usize) {
        let extra = self.items.len().saturating_sub(keep);
        self.items.drain(..extra);
        self.omitted += extra;
    }
}

impl<'de, T: Record<'de> + Lenient<'de>> Lenient<'de> for Many<T> {
    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut many = Self::default();
        let mut position = 0;
        while let Some(slot) = list.next_element::<Slot<T>>()? {
            match slot {
                Slot::Value(item) => many.items.push(item),
                Slot::Bad if many.bad.len() < Faults::MAX => many.bad.push(position),
                Slot::Bad | Slot::Absent => {}
            }
            position += 1;
            if many.items.len() >= 2 * T::KEEP {
                many.trim(T::KEEP);
            }
        }
        many.trim(T::KEEP);
        Ok(Some(many))
    }

    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        let mut single: Option<T> = None;
        let mut values: Slot<Self> = Slot::Absent;
        while let Some(key) = map.next_key::<Key<'_>>()? {
            if key.0 == "values" {
                values = map.next_value()?;
            } else {
                single.get_or_insert_default().field(&key.0, &mut map)?;
            }
        }
        Ok(match (values, single) {
            (Slot::Value(many), _) => Some(Self {
                wrapped: true,
                ..many
            }),
            (Slot::Bad, _) => None,
            (Slot::Absent, Some(item)) => Some(Self {
                items: vec![item],
                ..Self::default()
            }),
            (Slot::Absent, None) => Some(Self::default()),
        })
    }

    fn faults(&self, faults: &mut Faults) {
        let depth = faults.path.len();
        if self.wrapped {
            faults.path.push(Step::Name("values"));
        }
        for position in &self.bad {
            faults.path.push(Step::Index(*position));
            faults.note();
            faults.path.pop();
        }
        for (position, item) in self.items.iter().enumerate() {
            faults.path.push(Step::Index(self.omitted + position));
            item.faults(faults);
            faults.path.pop();
        }
        faults.path.truncate(depth);
    }
}

enum Step {
    Name(&'static str),
    Index(usize),
}

/// Collects the paths of bad fields, such as `exception.values.0.type`.
#[derive(Default)]
pub struct Faults {
    path: Vec<Step>,
    found: Vec<String>,
}

impl Faults {
    /// More are not worth reporting.
    pub const MAX: usize = 50;

    /// Looks at one named slot and at what is inside it.
    pub fn slot<'de, T: Lenient<'de>>(&mut self, name: &'static str, slot: &Slot<T>) {
        match slot {
            Slot::Absent => {}
            Slot::Bad => self.named(name),
            Slot::Value(value) => {
                self.path.push(Step::Name(name));
                value.faults(self);
                self.path.pop();
            }
        }
    }

    /// Notes that the field `name` at this place is bad.
    pub fn named(&mut self, name: &'static str) {
        self.path.push(Step::Name(name));
        self.note();
        self.path.pop();
    }

    /// Notes a bad field by position: element `index` of the list `name`.
    pub fn indexed(&mut self, name: &'static str, index: usize) {
        self.path.push(Step::Name(name));
        self.path.push(Step::Index(index));
        self.note();
        self.path.truncate(self.path.len().saturating_sub(2));
    }

    fn note(&mut self) {
        if self.found.len() >= Self::MAX {
            return;
        }
        let steps: Vec<String> = self
            .path
            .iter()
            .map(|step| match step {
                Step::Name(name) => (*name).to_owned(),
                Step::Index(index) => index.to_string(),
            })
            .collect();
        self.found.push(steps.join("."));
    }

    /// The paths found, at most [`Faults::MAX`].
    pub fn into_paths(self) -> Vec<String> {
        self.found
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    record! {
        /// A toy.
        struct Toy<'a> keep 3 {
            name: Cow<'a, str> = "name" | "title",
            line: u32 = "line",
            on: bool = "on",
            raw: &'a RawValue = "raw",
            any: AnyText<'a> = "any",
            parts: Many<Toy<'a>> = "parts",
        }
    }

    fn read<'a, T: Lenient<'a>>(json: &'a str) -> Slot<T> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn wrong_types_cost_only_their_field_and_are_named() {
        let toy = read::<Toy<'_>>(
            r#"{"name": {"a": [1]}, "line": "12", "on": 1, "any": {"x": 1}, "parts": {"values": [{"line": -1}, 7, null, {"title": 3}]}}"#,
        );
        let toy = toy.get().unwrap();
        assert!(toy.name.is_bad());
        assert_eq!(toy.line.get(), Some(&12));
        assert_eq!(toy.on.get(), Some(&true));
        assert_eq!(toy.any.get().unwrap().0, r#"{"x": 1}"#);
        let parts = toy.parts.get().unwrap();
        assert_eq!(parts.items.len(), 2);
        assert_eq!(parts.items[1].name.text(), Some("3"));
        let mut faults = Faults::default();
        toy.faults(&mut faults);
        assert_eq!(
            faults.into_paths(),
            ["name", "parts.values.1", "parts.values.0.line"]
        );
    }

    #[test]
    fn lists_come_in_three_forms() {
        for json in [
            r#"[{"name":"a"}]"#,
            r#"{"values":[{"name":"a"}]}"#,
            r#"{"name":"a"}"#,
        ] {
            let many = read::<Many<Toy<'_>>>(json);
            assert_eq!(
                many.get().unwrap().items[0].name.text(),
                Some("a"),
                "{json}"
            );
        }
        assert!(read::<Many<Toy<'_>>>("{}").get().unwrap().items.is_empty());
        assert!(read::<Many<Toy<'_>>>(r#"{"values": 3}"#).is_bad());
        assert!(read::<Many<Toy<'_>>>("3").is_bad());
        assert!(matches!(read::<Many<Toy<'_>>>("null"), Slot::Absent));
    }

    #[test]
    fn long_lists_keep_the_last_entries() {
        let json = format!(
            "[{}]",
            (0..20)
                .map(|n| format!(r#"{{"line":{n}}}"#))
                .collect::<Vec<_>>()
                .join(",")
        );
        let many = read::<Many<Toy<'_>>>(&json);
        let many = many.get().unwrap();
        assert_eq!(many.omitted, 17);
        let lines: Vec<_> = many
            .items
            .iter()
            .filter_map(|toy| toy.line.get().copied())
            .collect();
        assert_eq!(lines, [17, 18, 19]);
    }

    #[test]
    fn the_last_of_repeated_keys_wins() {
        assert_eq!(
            read::<Toy<'_>>(r#"{"name":"a","name":"b"}"#)
                .get()
                .unwrap()
                .name
                .text(),
            Some("b")
        );
    }
}
