//! When a failed job runs again: a list of waits, pure.

use std::time::Duration;

/// Waits after the first, second, … failure, in seconds; the last one repeats.
const WAITS_SECS: &[u64] = &[2, 10, 30, 120, 600, 1_800, 3_600, 10_800, 21_600];
/// What a server may ask for at most; a longer wish is cut to this.
const MAX_ASKED: Duration = Duration::from_secs(3_600);

/// The wait after failure number `attempt` (from 1). `asked` (a `Retry-After`) can only lengthen it, up to an
/// hour. `jitter` in 0.0…1.0 spreads the result by ±20 %, never below what was asked.
#[must_use]
pub fn wait_after(attempt: i32, asked: Option<Duration>, jitter: f64) -> Duration {
    let index = usize::try_from(attempt.saturating_sub(1))
        .unwrap_or(0)
        .min(WAITS_SECS.len() - 1);
    let base = Duration::from_secs(WAITS_SECS.get(index).copied().unwrap_or(60));
    let spread = base.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
    asked.map_or(spread, |asked| spread.max(asked.min(MAX_ASKED)))
}

/// The wait of work that was postponed: what was asked, at least a second and at most an hour, and up to a tenth more,
/// so that not everybody comes back at once.
#[must_use]
pub(super) fn postponed_for(asked: Duration, jitter: f64) -> Duration {
    let asked = asked.clamp(Duration::from_secs(1), MAX_ASKED);
    asked + asked.mul_f64(0.1 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postponed_job_waits_as_asked_and_a_little_more() {
        let seconds = Duration::from_secs;
        assert_eq!(postponed_for(seconds(100), 0.0), seconds(100));
        assert_eq!(postponed_for(seconds(100), 1.0), seconds(110));
        assert_eq!(postponed_for(Duration::ZERO, 0.0), seconds(1));
        assert_eq!(postponed_for(seconds(90_000), 0.0), seconds(3_600));
    }

    #[test]
    fn waits_grow_and_stay_within_a_fifth() {
        for (index, base) in WAITS_SECS.iter().enumerate() {
            let attempt = i32::try_from(index).unwrap_or(0) + 1;
            let (low, high) = (
                wait_after(attempt, None, 0.0),
                wait_after(attempt, None, 1.0),
            );
            assert_eq!(low, Duration::from_secs(*base).mul_f64(0.8));
            assert_eq!(high, Duration::from_secs(*base).mul_f64(1.2));
        }
        assert_eq!(wait_after(1_000, None, 0.5), Duration::from_secs(21_600));
        assert_eq!(wait_after(0, None, 0.5), Duration::from_secs(2));
    }

    #[test]
    fn a_server_can_ask_for_longer_but_not_for_ever() {
        let minute = Some(Duration::from_secs(60));
        assert_eq!(wait_after(1, minute, 0.0), Duration::from_secs(60));
        assert_eq!(wait_after(6, minute, 0.5), Duration::from_secs(1_800));
        assert_eq!(
            wait_after(1, Some(Duration::from_secs(999_999)), 0.5),
            MAX_ASKED
        );
    }
}
