//! Lists of objects, and the names of what could not be read in them.

use serde::de::{MapAccess, SeqAccess};

use super::{Key, Lenient, Record, Slot};

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
