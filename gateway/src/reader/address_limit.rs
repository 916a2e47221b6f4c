//! How many addresses this gateway follows, and how fast it takes up new ones.
//!
//! Whoever may open streams can name addresses that nobody else names. Each costs memory here and in Redis, and a
//! subscription.

use std::time::Instant;

/// New addresses that are taken up in a second, all workers together.
pub const RATE: f64 = 10_000.0;
/// New addresses that are taken up at once after a pause: pages that come back to a gateway that was restarted.
pub const BURST: f64 = 50_000.0;

/// A bound over the addresses that are followed or linger, and a token bucket over those that are new.
#[derive(Debug)]
pub struct AddressLimit {
    max: usize,
    tokens: f64,
    refilled: Instant,
    /// Connections that were refused since the last line of the log.
    refused: u64,
}

impl AddressLimit {
    /// At most `max` addresses.
    pub fn new(max: usize, now: Instant) -> Self {
        Self { max, tokens: BURST, refilled: now, refused: 0 }
    }

    /// How many of `known` addresses are to be forgotten before `new` ones are taken up. More than just these, as
    /// forgetting voids the reads that are under way: it must not happen for each connection.
    pub fn count_to_forget(&self, known: usize, new: usize) -> usize {
        let over = (known + new).saturating_sub(self.max);
        if over == 0 { 0 } else { over.max(self.max / 64) }
    }

    /// Whether `new` addresses fit besides `known` ones.
    pub fn has_room(&self, known: usize, new: usize) -> bool {
        known + new <= self.max
    }

    /// Takes up `new` addresses, unless they come too fast.
    pub fn try_take(&mut self, new: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = (self.tokens + passed * RATE).min(BURST);
        let is_enough = self.tokens >= new as f64;
        if is_enough {
            self.tokens -= new as f64;
        }
        is_enough
    }

    /// Notes that a connection was refused.
    pub fn note_refused(&mut self) {
        self.refused += 1;
    }

    /// Logs how many connections were refused since the last time, if any.
    pub fn log_refused(&mut self, known: usize) {
        let refused = std::mem::take(&mut self.refused);
        if refused > 0 {
            tracing::warn!(
                limit = "addresses",
                refused,
                addresses = known,
                max = self.max,
                "too many new addresses; their connections are refused and come back later"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn new_addresses_come_at_a_rate_after_a_burst() {
        let now = Instant::now();
        let mut limit = AddressLimit::new(200_000, now);
        assert!(limit.try_take(BURST as usize, now));
        assert!(!limit.try_take(1, now));
        let later = now + Duration::from_secs(1);
        assert!(limit.try_take(RATE as usize - 1, later) && !limit.try_take(2, later));
        assert!(!limit.try_take(BURST as usize + 1, now + Duration::from_secs(60)), "never more than the burst");
    }

    #[test]
    fn many_are_forgotten_at_once() {
        let limit = AddressLimit::new(6_400, Instant::now());
        assert_eq!(limit.count_to_forget(6_300, 100), 0);
        assert_eq!(limit.count_to_forget(6_301, 100), 100);
        assert_eq!(limit.count_to_forget(6_400, 150), 150);
        assert!(limit.has_room(6_300, 100) && !limit.has_room(6_301, 100));
    }
}
