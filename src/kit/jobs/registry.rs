//! The kinds that this process can run.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::job::{Attempt, Job, Verdict};
use super::queue::enqueue;
use crate::kit::clock::Micros;
use crate::kit::db::Tx;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(super) type Handler<S> =
    Arc<dyn Fn(String, S, Attempt) -> BoxFuture<anyhow::Result<Verdict>> + Send + Sync>;
pub(super) type Drain<S> = Arc<dyn Fn(S, Stop) -> BoxFuture<anyhow::Result<usize>> + Send + Sync>;
type Enqueue = Box<dyn Fn(&mut Tx<'_>, Micros) -> diesel::QueryResult<()> + Send + Sync>;

/// The signal to stop. Clones see the same signal.
#[derive(Debug, Clone)]
pub struct Stop(pub(super) watch::Receiver<bool>);

impl Stop {
    /// One that nobody gives.
    #[must_use]
    pub fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Ends when the signal has come; never when nobody can give it any more.
    pub async fn signal(&mut self) {
        if self.0.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A job that is made again and again.
pub(super) struct Periodic {
    pub(super) name: &'static str,
    pub(super) every: Duration,
    pub(super) enqueue: Enqueue,
}

/// One line per job kind, per periodic job and per queue-like table.
pub struct Registry<S> {
    pub(super) handlers: HashMap<&'static str, Handler<S>>,
    pub(super) periodic: Vec<Periodic>,
    pub(super) drains: Vec<(&'static str, Drain<S>)>,
}

impl<S> Default for Registry<S> {
    fn default() -> Self {
        Self {
            handlers: HashMap::new(),
            periodic: Vec::new(),
            drains: Vec::new(),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Registry<S> {
    /// Makes jobs of kind `J` runnable here.
    #[must_use]
    pub fn job<J: Job<State = S>>(mut self) -> Self {
        self.handlers.insert(
            J::KIND,
            Arc::new(|payload, state, attempt| {
                Box::pin(async move {
                    match serde_json::from_str::<J>(&payload) {
                        Ok(job) => job.run(state, attempt).await,
                        // Not a loop: a payload that cannot be read today cannot be read tomorrow.
                        Err(error) => Ok(Verdict::Dead(format!(
                            "the payload cannot be read: {error}"
                        ))),
                    }
                })
            }),
        );
        self
    }

    /// Makes `J`'s default value a job every `every`, once per period over all processes.
    #[must_use]
    pub fn periodic<J: Job<State = S> + Default>(mut self, every: Duration) -> Self {
        self = self.job::<J>();
        self.periodic.push(Periodic {
            name: J::KIND,
            every,
            enqueue: Box::new(|tx, now| enqueue(tx, &J::default(), now)),
        });
        self
    }

    /// Adds a table whose rows are their own queue entries. `drain` claims and does rows for as long as there are
    /// any, and answers how many; it is called until it answers 0, and again at every wake-up. At the signal to stop
    /// it claims no more, waits a bounded time for what it works on, and gives the rest back.
    #[must_use]
    pub fn drain<F, Fut>(mut self, name: &'static str, drain: F) -> Self
    where
        F: Fn(S, Stop) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<usize>> + Send + 'static,
    {
        self.drains.push((
            name,
            Arc::new(move |state, stop| Box::pin(drain(state, stop))),
        ));
        self
    }
}
