//! The reader's sign of life, for clocks outside of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the reader began its last turn. A clone is the same pulse, and cheap.
///
/// An idle reader has a turn each second. One that is stuck in a turn has none, and cannot say so:
/// whoever depends on it compares this with a clock of its own.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<LastTurn>);

#[derive(Debug)]
struct LastTurn {
    began: Instant,
    /// Microseconds from `began` to the last turn.
    micros: AtomicU64,
}

impl Pulse {
    /// The pulse of a reader that begins now.
    pub fn new(now: Instant) -> Self {
        Self(Arc::new(LastTurn { began: now, micros: AtomicU64::new(0) }))
    }

    /// A turn begins.
    pub fn beat(&self, now: Instant) {
        let micros = now.saturating_duration_since(self.0.began).as_micros();
        self.0.micros.store(micros as u64, Ordering::Relaxed);
    }

    /// The time since the last turn began.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.began + self.last())
    }

    /// A number that is another one after each turn.
    pub fn last_turn(&self) -> u64 {
        self.0.micros.load(Ordering::Relaxed)
    }

    fn last(&self) -> Duration {
        Duration::from_micros(self.last_turn())
    }
}

/// How old the last turn may be, or a partition's last beacon, before something is wrong: three
/// beacon intervals, and no less than `SHORTEST_SILENCE`, as a busy machine may delay a turn.
pub fn max_silence(beacon_interval: Duration) -> Duration {
    (3 * beacon_interval).max(SHORTEST_SILENCE)
}

const SHORTEST_SILENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_age_is_that_of_the_last_turn() {
        let start = Instant::now();
        let pulse = Pulse::new(start);
        assert_eq!(pulse.age(start + 3 * SECOND), 3 * SECOND);
        pulse.beat(start + 2 * SECOND);
        assert_eq!(pulse.age(start + 3 * SECOND), SECOND);
    }

    #[test]
    fn three_beacons_may_be_missing_and_never_less_than_five_seconds() {
        assert_eq!(max_silence(SECOND / 2), 5 * SECOND);
        assert_eq!(max_silence(10 * SECOND), 30 * SECOND);
    }
}
