//! The arithmetic of a rolling hour, without a database.
//!
//! Bitbucket counts over a rolling hour (bitbucket.md §4.5). We hand out calls in slots of five minutes, and what is
//! handed out in a slot is made in that slot or given back. Any hour touches thirteen slots at most; as long as their
//! sum is within the limit, no hour can exceed it.

use std::time::Duration;

use crate::bitbucket::Priority;
use crate::kit::clock::Micros;

/// Length of a slot in seconds.
const SLOT_SECS: i64 = 300;
/// Slots that any hour touches at most.
const SLOTS: i64 = 13;
/// Calls handed out at once at most, and the part of the limit that this may be.
const MOST_AT_ONCE: i64 = 50;
const PART_AT_ONCE: i64 = 20;
/// Calls handed out to who begins: the limit may still be unknown.
const FIRST: i64 = 5;

/// The number of a moment's slot.
pub(super) fn slot_of(now: Micros) -> i64 {
    now.secs().div_euclid(SLOT_SECS)
}

/// The first slot that still counts.
pub(super) fn first_counted(slot: i64) -> i64 {
    slot - (SLOTS - 1)
}

/// When a slot stops to count.
fn end_of(slot: i64) -> Micros {
    Micros::from_unix_seconds((slot + SLOTS).saturating_mul(SLOT_SECS))
}

/// How much of the limit somebody may use, others included: what is left of it belongs to the more urgent.
pub(super) fn ceiling(limit: i64, priority: Priority) -> i64 {
    let percent = match priority {
        Priority::Interactive => 100,
        Priority::Sync => 85,
        Priority::Backfill => 60,
    };
    limit.max(0).saturating_mul(percent) / 100
}

/// How many calls to ask for: few at first, more for who uses them up, less for who did not.
pub(super) fn next_size(before: Option<i64>, same_slot: bool, limit: i64) -> i64 {
    let most = (limit / PART_AT_ONCE).clamp(1, MOST_AT_ONCE);
    let wanted = match before {
        None => FIRST,
        Some(size) if same_slot => size.saturating_mul(2),
        Some(size) => size / 2,
    };
    wanted.clamp(1, most)
}

/// How many calls may be handed out of what `used` (slot, calls) leaves below the ceiling, or when to ask again.
pub(super) fn grant(
    used: &[(i64, i64)],
    ceiling: i64,
    want: i64,
    now: Micros,
) -> Result<i64, Duration> {
    let sum = used
        .iter()
        .fold(0_i64, |sum, (_, calls)| sum.saturating_add(*calls));
    let room = ceiling.saturating_sub(sum);
    if room > 0 {
        return Ok(want.clamp(1, room));
    }
    let (mut still, mut until) = (sum, end_of(slot_of(now)));
    for (slot, calls) in used {
        still = still.saturating_sub(*calls);
        if still < ceiling {
            until = end_of(*slot);
            break;
        }
    }
    Err(until.since(now).max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Micros = Micros::from_unix_seconds(3_000_000);

    #[test]
    fn the_urgent_may_go_further() {
        assert_eq!(ceiling(1_000, Priority::Interactive), 1_000);
        assert_eq!(ceiling(1_000, Priority::Sync), 850);
        assert_eq!(ceiling(1_000, Priority::Backfill), 600);
        assert_eq!(ceiling(-1, Priority::Backfill), 0);
    }

    #[test]
    fn slices_grow_with_use_and_stay_a_small_part() {
        assert_eq!(next_size(None, false, 1_000), 5);
        assert_eq!(next_size(Some(5), true, 1_000), 10);
        assert_eq!(next_size(Some(40), true, 1_000), 50);
        assert_eq!(next_size(Some(40), false, 1_000), 20);
        assert_eq!(next_size(None, false, 40), 2);
        assert_eq!(next_size(Some(1), false, 3), 1);
    }

    #[test]
    fn who_finds_nothing_learns_when_enough_has_left_the_hour() {
        let slot = slot_of(NOW);
        let used = [(slot - 12, 3), (slot - 6, 40), (slot, 57)];
        assert_eq!(grant(&used, 101, 50, NOW), Ok(1));
        assert_eq!(grant(&used, 120, 5, NOW), Ok(5));
        let wait = |ceiling| {
            grant(&used, ceiling, 5, NOW)
                .err()
                .map(|wait| wait.as_secs())
        };
        // The oldest slot frees three calls, the next forty.
        assert_eq!(wait(100), Some(300));
        assert_eq!(wait(60), Some(7 * 300));
        assert_eq!(wait(10), Some(13 * 300));
        assert_eq!(wait(0), Some(13 * 300), "nobody may call at all");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whoever asks, and whenever: no rolling hour has more calls than the limit, as long as each slice is used up
        /// within its slot.
        #[test]
        fn no_hour_exceeds_the_limit(
            limit in 1_i64..200,
            asks in prop::collection::vec((0_i64..400, 0_i64..60, 0_usize..3), 1..80),
        ) {
            let (mut at, mut slots, mut made) = (3_000_000_i64, std::collections::BTreeMap::new(), Vec::new());
            for (pause, want, who) in asks {
                at += pause;
                let now = Micros::from_unix_seconds(at);
                let slot = slot_of(now);
                let counted: Vec<(i64, i64)> = slots
                    .range(first_counted(slot)..)
                    .map(|(slot, used)| (*slot, *used))
                    .collect();
                let priority = Priority::ALL.get(who).copied().unwrap_or(Priority::Sync);
                if let Ok(granted) = grant(&counted, ceiling(limit, priority), want, now) {
                    *slots.entry(slot).or_insert(0) += granted;
                    // The worst case: all at the very end of the slot.
                    made.push(((slot + 1) * SLOT_SECS - 1, granted));
                    made.push((at, 0));
                }
            }
            for (end, _) in &made {
                let hour: i64 = made
                    .iter()
                    .filter(|(moment, _)| (end - 3_600 < *moment) && moment <= end)
                    .map(|(_, calls)| calls)
                    .sum();
                prop_assert!(hour <= limit, "{hour} calls of {limit}");
            }
        }
    }
}
