//! How many come in at a time: the rest wait for their turn, up to a bound.
//!
//! Turns go round the origins that have somebody waiting, one each. One origin that asks for thousands of turns so takes
//! no more than its share, and whoever comes from another waits for a few turns and not for thousands.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::Origin;

/// A token bucket whose turns go round the origins that wait. `T` is what waits.
#[derive(Debug)]
pub struct Pace<T> {
    /// The time between two turns.
    interval: Duration,
    /// By how much turns may come early after a pause.
    burst: Duration,
    /// The longest that one waits for a turn, as it looks when it comes.
    patience: Duration,
    /// The next turn that is free.
    next: Option<Instant>,
    /// Who waits, by origin. None is empty.
    queues: HashMap<Option<Origin>, OriginQueue<T>>,
    /// The origins in the order of their turns.
    ring: BTreeMap<u64, Option<Origin>>,
    waiting: usize,
    serial: u64,
}

/// Those of one origin who wait.
#[derive(Debug)]
struct OriginQueue<T> {
    /// Where the origin is in the ring.
    place: u64,
    waiting: BTreeMap<u64, T>,
}

/// What somebody who asks for a turn gets.
#[derive(Debug)]
pub enum Turn<T> {
    /// It is its turn.
    Now(T),
    /// It waits, and is known by this.
    Later(Ticket),
}

/// One who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    origin: Option<Origin>,
    serial: u64,
}

impl<T> Pace<T> {
    /// `rate` turns a second, more than 0; after a pause those of `burst` at once; nobody waits for longer than about
    /// `patience`.
    pub fn new(rate: u32, burst: Duration, patience: Duration) -> Self {
        Self {
            interval: Duration::from_secs(1) / rate.max(1),
            burst,
            patience,
            next: None,
            queues: HashMap::new(),
            ring: BTreeMap::new(),
            waiting: 0,
            serial: 0,
        }
    }

    /// A turn for one from `origin`, which `begin` makes. `None` if it would wait for too long: no turn is spent on it.
    pub fn ask(&mut self, origin: Option<Origin>, now: Instant, begin: impl FnOnce() -> T) -> Option<Turn<T>> {
        let turn = self.turn(now);
        if self.waiting == 0 && turn <= now {
            self.next = Some(turn + self.interval);
            return Some(Turn::Now(begin()));
        }
        // Every other origin may have as many turns before as this one has.
        let before = self.queues.get(&origin).map_or(0, |queue| queue.waiting.len());
        let others = self.queues.len() - usize::from(before > 0);
        let ahead = (before + (before + 1).saturating_mul(others)).min(self.waiting);
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        if turn.saturating_duration_since(now).saturating_add(self.interval.saturating_mul(ahead)) > self.patience {
            return None;
        }
        self.serial += 1;
        let ticket = Ticket { origin, serial: self.serial };
        let ring = &mut self.ring;
        let queue = self.queues.entry(origin).or_insert_with(|| {
            ring.insert(ticket.serial, origin);
            OriginQueue { place: ticket.serial, waiting: BTreeMap::new() }
        });
        queue.waiting.insert(ticket.serial, begin());
        self.waiting += 1;
        Some(Turn::Later(ticket))
    }

    /// One whose turn has come, if there is one.
    pub fn next(&mut self, now: Instant) -> Option<T> {
        let turn = self.turn(now);
        if turn > now {
            return None;
        }
        let (_, origin) = self.ring.pop_first()?;
        let queue = self.queues.get_mut(&origin)?;
        let (_, value) = queue.waiting.pop_first()?;
        if queue.waiting.is_empty() {
            self.queues.remove(&origin);
        } else {
            self.serial += 1;
            queue.place = self.serial;
            self.ring.insert(queue.place, origin);
        }
        self.waiting -= 1;
        self.next = Some(turn + self.interval);
        Some(value)
    }

    /// How long it is until the next turn of those who wait; `None` if nobody does.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        (self.waiting > 0).then(|| self.turn(now).saturating_duration_since(now))
    }

    /// Whoever has this ticket has left: its turn is that of the next.
    pub fn leave(&mut self, ticket: Ticket) {
        let Some(queue) = self.queues.get_mut(&ticket.origin) else { return };
        if queue.waiting.remove(&ticket.serial).is_some() {
            self.waiting -= 1;
        }
        if queue.waiting.is_empty() {
            self.ring.remove(&queue.place);
            self.queues.remove(&ticket.origin);
        }
    }

    /// The next turn that is free.
    fn turn(&self, now: Instant) -> Instant {
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        self.next.map_or(earliest, |next| next.max(earliest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn origin(n: u8) -> Option<Origin> {
        Some(Origin::of([192, 0, 2, n].into()))
    }

    /// When each waiting one has its turn, looked at every millisecond.
    fn turns<T>(pace: &mut Pace<T>, from: Instant, count: u64) -> Vec<(u64, T)> {
        let at = |n| from + ms(n);
        (0..count)
            .flat_map(|n| std::iter::from_fn(|| pace.next(at(n))).map(|value| (n, value)).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_in_turn() {
        let (mut pace, now) = (Pace::new(100, ms(30), ms(50)), Instant::now() + SECOND);
        let asked: Vec<_> = (0..12).map(|n| pace.ask(origin(1), now, || n)).collect();
        assert!(asked[..4].iter().all(|turn| matches!(turn, Some(Turn::Now(_)))));
        assert!(asked[4..9].iter().all(|turn| matches!(turn, Some(Turn::Later(_)))));
        assert!(asked[9..].iter().all(Option::is_none), "{asked:?}");
        assert_eq!(turns(&mut pace, now, 100), [(10, 4), (20, 5), (30, 6), (40, 7), (50, 8)]);
    }

    #[test]
    fn an_origin_that_asks_for_much_keeps_nobody_else_waiting() {
        let (mut pace, now) = (Pace::new(1_000, ms(0), ms(2_000)), Instant::now() + SECOND);
        let flood = (0..5_000).filter(|n| pace.ask(origin(1), now, || *n).is_some()).count();
        assert!((1_990..=2_010).contains(&flood), "{flood}");
        for (n, from) in (2..12).enumerate() {
            assert!(pace.ask(origin(from), now, || 10_000 + n as u32).is_some());
        }
        let others: Vec<_> = turns(&mut pace, now, 3_000).into_iter().filter(|(_, value)| *value >= 10_000).collect();
        assert_eq!(others.len(), 10);
        assert!(others.iter().all(|(at, _)| *at <= 15), "{others:?}");
    }

    #[test]
    fn a_turn_is_given_back_by_who_leaves() {
        let (mut pace, now) = (Pace::new(10, ms(0), ms(500)), Instant::now() + SECOND);
        assert!(matches!(pace.ask(origin(1), now, || 0), Some(Turn::Now(0))));
        let later = |turn| match turn {
            Some(Turn::Later(ticket)) => ticket,
            other => panic!("{other:?}"),
        };
        let tickets: Vec<_> = (1..6).map(|n| later(pace.ask(origin(1), now, || n))).collect();
        assert!(pace.ask(origin(1), now, || 0).is_none());
        tickets[..3].iter().for_each(|ticket| pace.leave(*ticket));
        let last = later(pace.ask(origin(2), now, || 6));
        assert_eq!(turns(&mut pace, now, 1_000), [(100, 4), (200, 6), (300, 5)]);
        pace.leave(last);
        assert!(pace.wait(now).is_none() && pace.queues.is_empty() && pace.ring.is_empty());
    }

    #[test]
    fn a_long_pause_saves_up_no_more_than_the_burst() {
        let (mut pace, now) = (Pace::new(100, ms(20), ms(0)), Instant::now() + SECOND);
        let now_at = |pace: &mut Pace<()>, at| (0..10).filter(|_| pace.ask(origin(1), at, || ()).is_some()).count();
        assert_eq!(now_at(&mut pace, now), 3);
        assert_eq!(now_at(&mut pace, now + SECOND * 60), 3);
    }

    proptest! {
        #[test]
        fn no_second_has_more_turns_than_rate_and_burst(
            asks in vec((0..30_u64, 0..4_u8, any::<bool>()), 1..400),
            rate in 1..200_u32,
        ) {
            let mut pace = Pace::new(rate, ms(100), ms(1_000));
            let mut now = Instant::now() + SECOND;
            let (mut given, mut tickets, mut asked, mut left) = (Vec::new(), Vec::new(), 0_usize, 0_usize);
            for (gap, from, leaves) in asks {
                now += ms(gap);
                while pace.next(now).is_some() {
                    given.push(now);
                }
                match pace.ask(origin(from), now, || ()) {
                    Some(Turn::Now(())) => given.push(now),
                    Some(Turn::Later(ticket)) => tickets.push(ticket),
                    None => continue,
                }
                asked += 1;
                if let Some(ticket) = tickets.pop().filter(|_| leaves) {
                    let before = pace.waiting;
                    pace.leave(ticket);
                    left += before - pace.waiting;
                }
            }
            while let Some(wait) = pace.wait(now) {
                now += wait;
                while pace.next(now).is_some() {
                    given.push(now);
                }
            }
            prop_assert_eq!(given.len() + left, asked);
            prop_assert!(pace.queues.is_empty() && pace.ring.is_empty());
            let most = rate as usize + rate as usize / 10 + 2;
            for (at, turn) in given.iter().enumerate() {
                let within = given[at..].iter().take_while(|other| **other < *turn + SECOND).count();
                prop_assert!(within <= most, "{within} of {most} in the second from {at}");
            }
        }
    }
}
