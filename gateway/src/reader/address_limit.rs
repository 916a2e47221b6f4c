//! How many addresses this gateway follows, and how fast it takes up new ones.
//!
//! Whoever may open streams can name addresses that nobody else names. Each costs memory here and in Redis, and a
//! subscription. So new ones come at a rate, of which a part is kept for origins that ask for few.

use std::collections::HashMap;
use std::time::Instant;

use crate::admission::Origin;

/// New addresses that are taken up in a second, all workers together, with the default of `limits.addresses` or more.
const MAX_RATE: f64 = 10_000.0;
/// The same where `limits.addresses` is small.
const MIN_RATE: f64 = 200.0;
/// How many seconds of the rate are taken up at once after a pause: pages that come back to a gateway that was restarted.
const BURST_SECONDS: f64 = 5.0;
/// The part of the burst that is kept for origins that ask for few.
const RESERVE: f64 = 0.2;
/// How many new addresses are few, as a part of the burst. An origin that asks on and on gets no more of them than that
/// each `BURST_SECONDS` out of the reserve, so 50 such origins use up what comes in.
const FEW: f64 = 0.02;
/// No fewer than these are few: the most that one connection may follow.
const LEAST_FEW: f64 = 192.0;

/// A bound over the addresses that are followed or linger, and a token bucket over those that are new.
#[derive(Debug)]
pub struct AddressLimit {
    max: usize,
    /// New addresses in a second.
    rate: f64,
    tokens: f64,
    refilled: Instant,
    /// Who got new addresses lately. Each entry has cost a token, so there are no more of them than of these.
    origins: HashMap<Option<Origin>, AddressUse>,
    /// Connections that were refused since the last line of the log.
    refused: u64,
}

/// The new addresses that an origin got lately. Their number fades with time.
#[derive(Debug, Clone, Copy)]
struct AddressUse {
    count: f64,
    at: Instant,
}

impl AddressUse {
    fn left(self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.count * (-passed / BURST_SECONDS).exp()
    }
}

impl AddressLimit {
    /// At most `max` addresses.
    pub fn new(max: usize, now: Instant) -> Self {
        let rate = (max as f64 / 20.0).clamp(MIN_RATE, MAX_RATE);
        Self { max, rate, tokens: rate * BURST_SECONDS, refilled: now, origins: HashMap::new(), refused: 0 }
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

    /// Takes up `new` addresses of a connection from `origin`, unless they come too fast. An origin that gets many does
    /// not use up what others need who ask for few.
    pub fn try_take(&mut self, origin: Option<Origin>, new: usize, now: Instant) -> bool {
        let (burst, new) = (self.rate * BURST_SECONDS, new as f64);
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = (self.tokens + passed * self.rate).min(burst);
        let count = new + self.origins.get(&origin).map_or(0.0, |lately| lately.left(now));
        let is_few = count <= (burst * FEW).max(LEAST_FEW);
        let kept = if is_few { 0.0 } else { burst * RESERVE };
        let is_enough = self.tokens - new >= kept;
        if is_enough {
            self.tokens -= new;
            self.origins.insert(origin, AddressUse { count, at: now });
        }
        is_enough
    }

    /// Forgets the origins that got nothing lately.
    pub fn tidy(&mut self, now: Instant) {
        self.origins.retain(|_, lately| lately.left(now) >= 1.0);
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

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn origin(n: u8) -> Option<Origin> {
        Some(Origin::of([192, 0, 2, n].into()))
    }

    #[test]
    fn new_addresses_come_at_a_rate_after_a_burst() {
        let now = Instant::now();
        let mut limit = AddressLimit::new(200_000, now);
        assert!(limit.try_take(origin(1), 40_000, now));
        assert!(!limit.try_take(origin(1), 1, now), "the rest is for others");
        let later = now + Duration::from_secs(1);
        assert!(limit.try_take(origin(1), 9_999, later) && !limit.try_take(origin(1), 2, later));
        let rested = now + Duration::from_secs(60);
        assert!(!limit.try_take(origin(1), 40_001, rested), "never more than the burst");
    }

    #[test]
    fn a_small_limit_has_a_small_rate() {
        let now = Instant::now();
        let taken = |max| {
            let mut limit = AddressLimit::new(max, now);
            (0..).take_while(|n| limit.try_take(origin((n % 250) as u8), 100, now)).count() * 100
        };
        assert_eq!((taken(100), taken(20_000), taken(200_000), taken(10_000_000)), (1_000, 5_000, 50_000, 50_000));
    }

    #[test]
    fn an_origin_that_floods_leaves_others_what_they_need() {
        let start = Instant::now();
        let mut limit = AddressLimit::new(200_000, start);
        let (mut flooded, mut refused) = (0, 0);
        for ms in 0..20_000 {
            let now = start + MILLISECOND * ms;
            // 400 requests a second of 100 new topics each.
            if ms % 5 == 0 {
                for _ in 0..2 {
                    flooded += if limit.try_take(origin(1), 100, now) { 100 } else { 0 };
                }
            }
            // Honest ones, of 20 origins, ten times a second.
            if ms % 100 == 0 {
                refused += u32::from(!limit.try_take(origin(2 + (ms / 100 % 20) as u8), 100, now));
            }
            if ms % 1_000 == 0 {
                limit.tidy(now);
            }
        }
        assert_eq!(refused, 0);
        // All of the rate but what the others took, and no more of the burst than is not kept.
        assert!((200_000..=240_000).contains(&flooded), "{flooded}");
    }

    #[test]
    fn as_many_origins_as_there_are_may_use_the_burst() {
        let now = Instant::now();
        let mut limit = AddressLimit::new(200_000, now);
        let of = |n: u16| Some(Origin::of([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]].into()));
        assert!((0..500).all(|n| limit.try_take(of(n), 100, now)), "pages that come back after a restart");
        assert!(!limit.try_take(of(500), 100, now));
        limit.tidy(now + Duration::from_secs(60));
        assert!(limit.origins.is_empty());
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
