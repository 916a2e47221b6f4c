//! How a connection begins: what must be refetched, what was missed, and that it is up to date.

use std::time::Instant;

use super::refetching::Herd;
use super::{Connection, Phase};
use crate::control;
use crate::frame::Frame;
use crate::hub::queue::Entry;
use crate::hub::stats::Stats;
use crate::reader::delivery::{Dispatch, Start};

impl Connection {
    /// It has its place: what must be refetched comes first, then what was missed, then that it is up to date. What came
    /// in meanwhile comes next: the caller gets it, to hand it to the connection again. If too much came in meanwhile,
    /// the connection refetches everything and then is up to date.
    ///
    /// What was missed is not spread, as connections come back at moments of their own. Nor is a resync of what was missed.
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
                self.queue.push_extra(Entry::Said(Box::new(control::resync(address, *reason))));
                stats.resynced(*reason, 1);
            }
        }
        if self.has_own_ids() {
            // Also of what it owes: that is told before anything with an id.
            self.written = Some(Box::new(self.places.clone()));
        }
        for start in starts {
            for event in &start.replay {
                self.replay(event, start.tail, herd.wheel.now(), stats);
            }
            self.places.set(start.partition, start.place);
        }
        if self.follow.every.is_some() {
            self.queue.collapse(|_| stats.coalesced += 1);
        }
        self.unready = true;
        // If it owes a resync, that comes before.
        if self.owes.is_none() {
            self.push_ready();
        }
        self.wake();
        waiting.frames
    }

    fn replay(&mut self, event: &Dispatch, tail: bool, now: Instant, stats: &mut Stats) {
        let Some(frame) = event.frame() else { return };
        let new = tail || self.places.advance(event.partition, event.id);
        if !new || !self.wants(&frame) {
            return;
        }
        self.delays.iter_mut().for_each(|delays| delays.open_window(&frame, self.follow.every, now));
        // The latest event is older than what comes next: its id would put the cursor back.
        let entry = if tail { Entry::Said(Box::new(frame.without_id())) } else { Entry::Event(frame) };
        self.queue.push_extra(entry);
        stats.dispatched += 1;
    }

    pub(super) fn push_ready(&mut self) {
        self.queue.push_extra(Entry::Ready(Box::new(self.places.clone())));
    }
}
