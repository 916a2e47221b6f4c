//! How long to wait before trying again.

use std::time::Duration;

/// Doubling delays with jitter, so that publishers that lost one store do not come back to it all at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays from about `first` to about `most`.
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The next delay: between half of the nominal one and all of it. `random` is in 0..1.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let nominal = self.first.saturating_mul(1 << self.failures.min(20)).min(self.most);
        self.failures += 1;
        nominal.mul_f64(0.5 + random / 2.0)
    }

    /// Starts over, after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The longest that `count` delays in a row can take together.
    pub(crate) fn total(mut self, count: u32) -> Duration {
        (0..count).map(|_| self.next(1.0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_most_and_starts_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        assert_eq!([backoff.next(1.0), backoff.next(1.0), backoff.next(1.0)], [ms(100), ms(200), ms(350)]);
        assert_eq!(backoff.next(0.0), ms(175));
        backoff.reset();
        assert_eq!(backoff.next(0.0), ms(50));
        assert_eq!(Backoff::new(ms(100), ms(350)).total(4), ms(1000));
        assert_eq!((0..100).map(|_| backoff.next(1.0)).max(), Some(ms(350)));
    }
}
