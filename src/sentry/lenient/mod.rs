//! Tolerant reading of foreign JSON: a value of the wrong type costs its field, never the event.
//!
//! [`Slot`] is a field that cannot fail to parse. It is [`Slot::Bad`] when the JSON there has a type
//! the field cannot take; [`Faults`] collects the paths of such fields afterwards. The `record!`
//! macro makes a struct whose fields are all slots. Unlike serde's derive it takes the last of
//! repeated keys, as every JSON reader of the SDK world does, and knows the names of its bad fields.

mod many;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub use many::{Faults, Many};

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

#[cfg(test)]
mod tests;
