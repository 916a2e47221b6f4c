//! How many come in at a time: the rest wait for their turn, up to a bound.

use std::time::{Duration, Instant};

/// A token bucket that gives turns in advance, in the order in which they are asked for.
#[derive(Debug)]
pub struct Pace {
    /// The time between two turns.
    interval: Duration,
    /// By how much turns may come early after a pause.
    burst: Duration,
    /// The longest that one waits for a turn.
    patience: Duration,
    /// The next turn that is free.
    next: Option<Instant>,
}

impl Pace {
    /// `rate` turns a second, more than 0; after a pause those of `burst` at once; nobody waits for longer than
    /// `patience`.
    pub fn new(rate: u32, burst: Duration, patience: Duration) -> Self {
        Self { interval: Duration::from_secs(1) / rate.max(1), burst, patience, next: None }
    }

    /// How long it is until the turn of whoever asks now. `None` if that is too long: no turn is spent on it.
    pub fn take(&mut self, now: Instant) -> Option<Duration> {
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let turn = self.next.map_or(earliest, |next| next.max(earliest));
        let wait = turn.saturating_duration_since(now);
        if wait > self.patience {
            return None;
        }
        self.next = Some(turn + self.interval);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_in_turn() {
        let (mut pace, now) = (Pace::new(100, ms(30), ms(50)), Instant::now());
        let waits: Vec<_> = (0..12).map(|_| pace.take(now)).collect();
        let expected = [0, 0, 0, 0, 10, 20, 30, 40, 50].map(|wait| Some(ms(wait)));
        assert_eq!(waits, [expected.as_slice(), &[None; 3]].concat());
        // Who was turned away has taken nothing from who comes after.
        assert_eq!(pace.take(now + ms(10)), Some(ms(50)));
    }

    #[test]
    fn a_long_pause_saves_up_no_more_than_the_burst() {
        let (mut pace, now) = (Pace::new(100, ms(20), ms(0)), Instant::now() + SECOND);
        assert_eq!((0..10).filter(|_| pace.take(now).is_some()).count(), 3);
        assert_eq!((0..10).filter(|_| pace.take(now + SECOND * 60).is_some()).count(), 3);
    }

    proptest! {
        #[test]
        fn no_second_has_more_turns_than_rate_and_burst(gaps in vec(0..30_u64, 1..400), rate in 1..200_u32) {
            let mut pace = Pace::new(rate, ms(100), ms(1_000));
            let mut now = Instant::now() + SECOND;
            let mut turns = Vec::new();
            for gap in gaps {
                now += ms(gap);
                turns.extend(pace.take(now).map(|wait| now + wait));
            }
            prop_assert!(turns.is_sorted());
            let most = rate as usize + rate as usize / 10 + 2;
            for (at, turn) in turns.iter().enumerate() {
                let within = turns[at..].iter().take_while(|other| **other < *turn + SECOND).count();
                prop_assert!(within <= most, "{within} of {most} in the second from {at}");
            }
        }
    }
}
