//! Named events and the jobs that follow them: the only way in which a feature makes another act later.

use std::any::{Any, TypeId};
use std::collections::HashMap;

use diesel::QueryResult;

use super::job::Job;
use super::queue::enqueue;
use crate::kit::clock::Micros;
use crate::kit::db::Tx;

/// Something that happened, in the past tense.
pub trait Event: Any + Send + Sync {
    /// Name for lists and logs.
    const NAME: &'static str;
}

type Follower = Box<dyn Fn(&dyn Any, &mut Tx<'_>, Micros) -> QueryResult<()> + Send + Sync>;

/// Which jobs follow which event; built once in the worker's table and attached to the database.
#[derive(Default)]
pub struct Followers(HashMap<TypeId, Vec<Follower>>);

impl Followers {
    /// Adds a follower: `make` says which job, if any, an event asks for.
    #[must_use]
    pub fn on<E: Event, J: Job>(mut self, make: fn(&E) -> Option<J>) -> Self {
        self.0.entry(TypeId::of::<E>()).or_default().push(Box::new(
            move |event, tx, now| match event.downcast_ref::<E>().and_then(make) {
                Some(job) => enqueue(tx, &job, now),
                None => Ok(()),
            },
        ));
        self
    }
}

/// Inserts one job row per follower of `event`, in this transaction.
///
/// # Errors
/// When a row cannot be inserted.
pub fn emit<E: Event>(tx: &mut Tx<'_>, event: &E, now: Micros) -> QueryResult<()> {
    let Some(followers) = tx.attached::<Followers>() else {
        return Ok(());
    };
    for follower in followers.0.get(&TypeId::of::<E>()).into_iter().flatten() {
        follower(event, tx, now)?;
    }
    Ok(())
}
