//! The timer wheel: wakes connections that hold something back. It has no clock of its own: `now` is told.

use std::time::{Duration, Instant};

use slab::Slab;

use crate::reader::delivery::ConnectionKey;

/// How exact it is. What is due comes within this time, and never too early.
pub const TICK: Duration = Duration::from_millis(10);
/// Slots of one turn, about five seconds. What is due in a later turn is passed over until then.
const SLOTS: u64 = 512;

/// A timer wheel: a ring of slots, one for each tick. Arming and disarming cost the same however many timers there are.
#[derive(Debug)]
pub struct Wheel {
    began: Instant,
    now: Instant,
    /// Ticks that are over.
    ticks: u64,
    slots: Vec<Slab<Armed>>,
    armed: usize,
}

#[derive(Debug)]
struct Armed {
    connection: ConnectionKey,
    tick: u64,
}

/// A timer that is armed. Whoever holds it disarms it, or learns that it fired.
#[derive(Debug)]
pub struct Timer {
    slot: u16,
    at: u32,
}

impl Wheel {
    /// An empty wheel.
    pub fn new(now: Instant) -> Self {
        let slots = (0..SLOTS).map(|_| Slab::new()).collect();
        Self { began: now, now, ticks: 0, slots, armed: 0 }
    }

    /// The moment that it was told last.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Whether nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Arms a timer of `connection`.
    pub fn arm(&mut self, connection: ConnectionKey, due: Instant) -> Timer {
        // The first tick that is over at or after `due`, and not one that is over already.
        let ticks = due.saturating_duration_since(self.began).as_nanos().div_ceil(TICK.as_nanos());
        let tick = u64::try_from(ticks).unwrap_or(u64::MAX).max(self.ticks + 1);
        let slot = (tick % SLOTS) as u16;
        self.armed += 1;
        let at = self.slots[usize::from(slot)].insert(Armed { connection, tick }) as u32;
        Timer { slot, at }
    }

    /// Disarms a timer.
    pub fn disarm(&mut self, timer: Timer) {
        self.remove(usize::from(timer.slot), timer.at as usize);
    }

    /// Time has come to `now`: tells whose timers fired. They are disarmed.
    pub fn advance(&mut self, now: Instant) -> Vec<ConnectionKey> {
        self.now = self.now.max(now);
        let before = self.ticks;
        self.ticks = (self.now.saturating_duration_since(self.began).as_nanos() / TICK.as_nanos()) as u64;
        let mut fired = Vec::new();
        if self.is_empty() {
            return fired;
        }
        // However long it was, each slot once is enough.
        for tick in (before + 1..=self.ticks).take(SLOTS as usize) {
            let slot = (tick % SLOTS) as usize;
            let due = self.slots[slot].iter().filter(|(_, armed)| armed.tick <= self.ticks);
            for (at, connection) in due.map(|(at, armed)| (at, armed.connection)).collect::<Vec<_>>() {
                self.remove(slot, at);
                fired.push(connection);
            }
        }
        fired
    }

    fn remove(&mut self, slot: usize, at: usize) {
        let slot = &mut self.slots[slot];
        self.armed -= usize::from(slot.try_remove(at).is_some());
        if slot.is_empty() {
            // Memory too: thousands of timers of one moment leave nothing behind.
            *slot = Slab::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn key(slot: u32) -> ConnectionKey {
        ConnectionKey { slot, serial: u64::from(slot) }
    }

    proptest! {
        /// Against a list that is searched whole each time.
        #[test]
        fn fires_each_once_never_early_and_within_a_tick(
            ops in vec((0..20_000_u64, 0..9_000_u64, any::<bool>()), 1..60),
        ) {
            let start = Instant::now();
            let (mut wheel, mut now) = (Wheel::new(start), start);
            let mut armed: Vec<(u32, Instant, Option<Timer>)> = Vec::new();
            for (serial, (due, step, disarm)) in ops.into_iter().enumerate() {
                let due = now + Duration::from_millis(due);
                armed.push((serial as u32, due, Some(wheel.arm(key(serial as u32), due))));
                if disarm {
                    let at = serial / 2 % armed.len();
                    armed.swap_remove(at).2.into_iter().for_each(|timer| wheel.disarm(timer));
                }
                now += Duration::from_millis(step);
                for fired in wheel.advance(now) {
                    let at = armed.iter().position(|(slot, _, _)| *slot == fired.slot);
                    let (_, due, _) = armed.swap_remove(at.expect("armed, and fired once"));
                    prop_assert!(due <= now);
                }
                prop_assert!(armed.iter().all(|(_, due, _)| *due + TICK > now));
                prop_assert_eq!(wheel.armed, armed.len());
            }
        }
    }

    #[test]
    fn what_is_due_already_fires_with_the_next_tick() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.advance(start + TICK * 3);
        wheel.arm(key(1), start);
        assert_eq!(wheel.advance(start + TICK * 3), []);
        assert_eq!(wheel.advance(start + TICK * 4), [key(1)]);
        assert!(wheel.is_empty() && wheel.slots.iter().all(|slot| slot.capacity() == 0));
    }
}
