//! Time. The only place that asks the machine what time it is, so that leases, token expiry and
//! back-off can be tested with a clock that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A moment: microseconds of UTC since 1970-01-01. Serialises as the plain number; pages and
/// foreign APIs get [`Micros::to_rfc3339`].
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    diesel::expression::AsExpression,
    diesel::deserialize::FromSqlRow,
)]
#[diesel(sql_type = diesel::sql_types::BigInt)]
#[serde(transparent)]
pub struct Micros(pub i64);

/// The text is not a date with time and offset in RFC 3339 form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date and time")]
pub struct BadTime;

impl Micros {
    /// `2026-01-01T00:00:00.000000Z`: always UTC, always six digits. A moment outside the years
    /// that calendars cover is shown as the nearest end.
    pub fn to_rfc3339(self) -> String {
        let end = if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        };
        DateTime::<Utc>::from_timestamp_micros(self.0)
            .unwrap_or(end)
            .to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// Reads any offset; finer digits than microseconds are cut off.
    pub fn from_rfc3339(text: &str) -> Result<Self, BadTime> {
        DateTime::parse_from_rfc3339(text.trim())
            .map(|moment| Self(moment.timestamp_micros()))
            .map_err(|_| BadTime)
    }

    /// Whole seconds since the epoch, as in JWT claims; saturates far outside any calendar.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Whole seconds since the epoch, rounded down also before 1970.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// Later by `span`; saturates.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(whole_micros(span)))
    }

    /// Earlier by `span`; saturates.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(whole_micros(span)))
    }

    /// Time passed from `earlier` to `self`; zero when `earlier` lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn whole_micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Where the time comes from: the machine, or a hand that tests turn. Clones share the hand.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn fixed(start: Micros) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(start.0))))
    }

    /// The present moment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the machine"
    )]
    pub fn now(&self) -> Micros {
        match &self.0 {
            Source::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since_epoch) => Micros(whole_micros(since_epoch)),
                Err(before_epoch) => Micros(0).minus(before_epoch.duration()),
            },
            Source::Fixed(hand) => Micros(hand.load(Ordering::SeqCst)),
        }
    }

    /// Moves a fixed clock, and every clone of it, forward. The machine's clock does not obey.
    pub fn advance(&self, span: Duration) {
        if let Source::Fixed(hand) = &self.0 {
            hand.fetch_add(whole_micros(span), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_utc_with_six_digits_and_comes_back() {
        let start = Micros::from_unix_seconds(1_767_225_600);
        assert_eq!(start.to_rfc3339(), "2026-01-01T00:00:00.000000Z");
        assert_eq!(
            Micros(start.0 + 7).to_rfc3339(),
            "2026-01-01T00:00:00.000007Z"
        );
        assert_eq!(
            Micros::from_rfc3339("2026-01-01T02:00:00.000007+02:00").unwrap(),
            Micros(start.0 + 7)
        );
        assert_eq!(
            Micros::from_rfc3339(" 2026-01-01T00:00:00Z ").unwrap(),
            start
        );
    }

    #[test]
    fn nonsense_is_refused_and_extremes_do_not_panic() {
        assert_eq!(Micros::from_rfc3339("yesterday"), Err(BadTime));
        assert_eq!(Micros::from_rfc3339("2026-01-01"), Err(BadTime));
        assert!(Micros(i64::MAX).to_rfc3339().ends_with('Z'));
        assert!(Micros(i64::MIN).to_rfc3339().ends_with('Z'));
        assert_eq!(Micros::from_unix_seconds(i64::MAX).0, i64::MAX);
        assert_eq!(Micros(i64::MAX).plus(Duration::MAX).0, i64::MAX);
        assert_eq!(Micros(i64::MIN).minus(Duration::MAX).0, i64::MIN);
    }

    #[test]
    fn seconds_round_down_on_both_sides_of_the_epoch() {
        assert_eq!(Micros(1_999_999).secs(), 1);
        assert_eq!(Micros(-1).secs(), -1);
    }

    #[test]
    fn since_never_goes_below_zero() {
        assert_eq!(Micros(5).since(Micros(2)), Duration::from_micros(3));
        assert_eq!(Micros(2).since(Micros(5)), Duration::ZERO);
    }

    #[test]
    fn clones_of_a_fixed_clock_move_together() {
        let clock = Clock::fixed(Micros(0));
        let other = clock.clone();
        clock.advance(Duration::from_secs(90));
        assert_eq!(other.now().secs(), 90);
    }

    #[test]
    fn the_system_clock_is_past_the_year_2025_and_ignores_advance() {
        let clock = Clock::system();
        let before = clock.now();
        clock.advance(Duration::from_secs(86_400));
        assert!(before.secs() > 1_735_689_600);
        assert!(clock.now().since(before) < Duration::from_secs(3_600));
    }

    #[test]
    fn serialises_as_a_number() {
        assert_eq!(serde_json::to_string(&Micros(12)).unwrap(), "12");
        assert_eq!(serde_json::from_str::<Micros>("12").unwrap(), Micros(12));
    }
}
