//! A breaker per host: after too many failures in a row of time, calls fail at once for a while, so
//! that a dead host costs nothing but its own feature.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::kit::clock::{Clock, Micros};

/// When a breaker opens.
#[derive(Debug, Clone, Copy)]
pub struct BreakerConfig {
    /// How far back calls count.
    pub window: Duration,
    /// Fewer calls than this prove nothing.
    pub min_calls: usize,
    /// Share of failures, in percent, from which the host rests.
    pub failure_percent: usize,
    /// How long it rests before one call may try.
    pub rest: Duration,
    /// Calls remembered per host, hosts remembered at all.
    pub memory: usize,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            min_calls: 10,
            failure_percent: 60,
            rest: Duration::from_secs(15),
            memory: 256,
        }
    }
}

/// Breakers of all hosts.
#[derive(Debug)]
pub struct Breaker {
    clock: Clock,
    config: BreakerConfig,
    hosts: Mutex<HashMap<String, Host>>,
}

#[derive(Debug, Default)]
struct Host {
    calls: VecDeque<(Micros, bool)>,
    resting_until: Option<Micros>,
}

impl Breaker {
    /// Breakers that are all closed.
    pub fn new(clock: Clock, config: BreakerConfig) -> Self {
        Self {
            clock,
            config,
            hosts: Mutex::new(HashMap::new()),
        }
    }

    /// Whether a call may go out now; if not, after what time. When the rest is over one caller
    /// is let through as a probe, and the others rest on until it has reported.
    pub fn admit(&self, host: &str) -> Result<(), Duration> {
        let now = self.clock.now();
        let mut hosts = self.lock();
        let Some(until) = hosts
            .get_mut(host)
            .and_then(|host| host.resting_until.as_mut())
        else {
            return Ok(());
        };
        if now < *until {
            return Err(until.since(now));
        }
        *until = now.plus(self.config.rest);
        Ok(())
    }

    /// How a call ended.
    pub fn record(&self, host: &str, healthy: bool) {
        let now = self.clock.now();
        let config = self.config;
        let mut hosts = self.lock();
        if healthy && !hosts.contains_key(host) {
            return;
        }
        if hosts.len() >= config.memory && !hosts.contains_key(host) {
            let oldest = now.minus(config.window);
            hosts.retain(|_, host| {
                host.resting_until.is_some()
                    || host.calls.back().is_some_and(|call| call.0 > oldest)
            });
            if hosts.len() >= config.memory {
                return;
            }
        }
        hosts
            .entry(host.to_owned())
            .or_default()
            .record(now, healthy, config);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn record(&mut self, now: Micros, healthy: bool, config: BreakerConfig) {
        if self.resting_until.is_some() {
            if healthy {
                *self = Self::default();
            } else {
                self.resting_until = Some(now.plus(config.rest));
            }
            return;
        }
        let oldest = now.minus(config.window);
        while self.calls.len() >= config.memory
            || self.calls.front().is_some_and(|call| call.0 <= oldest)
        {
            self.calls.pop_front();
        }
        self.calls.push_back((now, healthy));
        let failures = self.calls.iter().filter(|call| !call.1).count();
        if self.calls.len() >= config.min_calls
            && failures * 100 >= self.calls.len() * config.failure_percent
        {
            self.resting_until = Some(now.plus(config.rest));
            self.calls.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "api.example.org";

    fn breaker() -> (Breaker, Clock) {
        let clock = Clock::fixed(Micros(0));
        (Breaker::new(clock.clone(), BreakerConfig::default()), clock)
    }

    fn fail(breaker: &Breaker, times: usize) {
        for _ in 0..times {
            breaker.record(HOST, false);
        }
    }

    #[test]
    fn opens_after_enough_failures_for_that_host_only() {
        let (breaker, _) = breaker();
        fail(&breaker, 9);
        assert_eq!(breaker.admit(HOST), Ok(()));
        fail(&breaker, 1);
        assert_eq!(breaker.admit(HOST), Err(Duration::from_secs(15)));
        assert_eq!(breaker.admit("other.example.org"), Ok(()));
    }

    #[test]
    fn one_probe_decides_after_the_rest() {
        let (breaker, clock) = breaker();
        fail(&breaker, 10);
        clock.advance(Duration::from_secs(15));
        assert_eq!(breaker.admit(HOST), Ok(()));
        assert!(breaker.admit(HOST).is_err(), "only one probe");
        breaker.record(HOST, false);
        clock.advance(Duration::from_secs(14));
        assert!(breaker.admit(HOST).is_err());
        clock.advance(Duration::from_secs(1));
        assert_eq!(breaker.admit(HOST), Ok(()));
        breaker.record(HOST, true);
        assert_eq!(breaker.admit(HOST), Ok(()));
        assert_eq!(breaker.admit(HOST), Ok(()));
    }

    #[test]
    fn old_failures_and_a_minority_of_failures_do_not_count() {
        let (breaker, clock) = breaker();
        fail(&breaker, 9);
        clock.advance(Duration::from_secs(60));
        fail(&breaker, 1);
        assert_eq!(breaker.admit(HOST), Ok(()));
        for _ in 0..30 {
            breaker.record(HOST, true);
            breaker.record(HOST, false);
        }
        assert_eq!(breaker.admit(HOST), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let (breaker, _) = breaker();
        for number in 0..1_000 {
            breaker.record(&format!("host-{number}"), false);
        }
        assert_eq!(breaker.lock().len(), 256);
        for _ in 0..1_000 {
            breaker.record("host-1", true);
        }
        assert!(
            breaker
                .lock()
                .get("host-1")
                .is_some_and(|host| host.calls.len() <= 256)
        );
    }
}
