//! Durable background work: an outbox in the database.
//!
//! A job is a small serde value with a kind. [`enqueue`] takes a write transaction, so a job exists exactly
//! when the data it follows from does. A [`Runner`] claims due jobs with a lease, runs them **without** a
//! connection, and records the [`Verdict`]. Jobs run at least once: every `run` must be safe to repeat.
//! [`emit`] turns a named event into one job per follower, in the same transaction.

mod events;
mod job;
mod queue;
mod registry;
mod runner;
mod schedule;
mod table;

pub use events::{Event, Followers, emit};
pub use job::{Attempt, Job, JobState, Queue, Verdict};
pub use queue::{
    AttemptRow, Filter, JobCounts, JobId, JobRow, QueueStat, attempts_of, cancel, cancel_ordered,
    counts, drop_dead, enqueue, enqueue_at, find, is_under_way, kinds, list, prune, redrive, stats,
};
pub use registry::{Registry, Stop};
pub use runner::{Runner, RunnerConfig};
pub use schedule::wait_after;
