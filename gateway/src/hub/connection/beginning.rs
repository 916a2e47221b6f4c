//! How a connection begins: what must be refetched, what was missed, and that it is up to date.

use std::time::Duration;

use super::refetching::Herd;
use super::{Connection, Phase};
use crate::clock;
use crate::frame::Frame;
use crate::hub::queue::Entry;
use crate::hub::stats::Stats;
use crate::hub::wheel::Wheel;
use crate::reader::delivery::{Dispatch, Start};

impl Connection {
    /// It has its place: what must be refetched comes first, then what was missed, then that it is up to date. What came
    /// in meanwhile comes next: the caller gets it, to hand it to the connection again. If too much came in meanwhile,
    /// the connection refetches everything and then is up to date.
    ///
    /// What was missed is not spread, as connections come back at moments of their own. It waits until its delay is over,
    /// as what is behind the delay is then no older for one that came back. Nor is a resync of what was missed spread.
    /// But where it is the cursor that is of no use, those of others are not either: such a resync may come later.
    pub fn begin(&mut self, starts: &[Start], slot: u32, herd: &mut Herd<'_>, stats: &mut Stats) -> Vec<Frame> {
        let Phase::Joining(waiting) = &mut self.phase else { return Vec::new() };
        let waiting = std::mem::take(waiting);
        self.phase = Phase::Live;
        let owes_all = self.owes.is_some();
        for start in starts {
            self.places.set(start.partition, start.from);
            for (address, reason) in start.resync.iter().filter(|_| !owes_all) {
                // A poll would be over before its moment, and the next one too.
                if self.beats.is_some() && reason.strikes_many() && !herd.spread.is_zero() {
                    self.resync_returned(address, *reason, (start.partition, start.place), slot, herd);
                    continue;
                }
                self.queue.push_extra(Entry::Said(Box::new(self.resync_bytes(address, *reason))));
                stats.resynced(*reason, 1);
            }
        }
        if self.has_own_ids() {
            // Also of what it owes: that is told before anything with an id.
            self.written = Some(Box::new(self.places.clone()));
        }
        for start in starts {
            for event in &start.replay {
                self.replay(event, start.tail, slot, herd.wheel, stats);
            }
            self.places.set(start.partition, start.place);
        }
        if self.follow.every.is_some() {
            self.queue.collapse(self.follow.name().is_some(), |_| stats.coalesced += 1);
        }
        self.unready = true;
        // If it owes a resync, that comes before.
        if self.owes.is_none() {
            self.push_ready();
        }
        self.wake();
        waiting.frames
    }

    fn replay(&mut self, event: &Dispatch, tail: bool, slot: u32, wheel: &mut Wheel, stats: &mut Stats) {
        let Some(frame) = event.frame() else { return };
        let left = if tail { Duration::ZERO } else { delay_left(&frame) };
        let waits = !left.is_zero() || self.delays.as_ref().is_some_and(|delays| delays.has_before(&frame));
        if waits {
            self.expect_delays();
        }
        let new = tail || self.places.advance(event.partition, event.id);
        if !new || !self.wants(&frame) {
            return self.rest();
        }
        stats.dispatched += 1;
        let now = wheel.now();
        if waits && let Some(at) = self.moment(&frame, left, now, stats) {
            self.queue.hold_extra(frame.bytes().len());
            return self.hold_until(at, &frame, slot, wheel);
        }
        self.delays.iter_mut().for_each(|delays| delays.open_window(&frame, self.follow.every, now));
        // The latest event is older than what comes next: its id would put the cursor back.
        let entry = if tail { Entry::Said(Box::new(self.without_id(&frame))) } else { Entry::Event(frame) };
        self.queue.push_extra(entry);
    }

    pub(super) fn push_ready(&mut self) {
        self.queue.push_extra(Entry::Ready(Box::new(self.places.clone())));
    }
}

/// What is left of an event's delay since it was published, by our clock.
fn delay_left(frame: &Frame) -> Duration {
    if frame.delay().is_zero() { Duration::ZERO } else { frame.delay().saturating_sub(clock::age(frame.place().id)) }
}
