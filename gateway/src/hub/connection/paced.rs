//! How a connection holds events back: those that are spread, and all if it wants few.

use std::time::{Duration, Instant};

use super::Connection;
use crate::frame::Frame;
use crate::hub::queue::Entry;
use crate::hub::stats::Stats;
use crate::hub::wheel::{Timer, Wheel};
use crate::reader::delivery::ConnectionKey;

impl Connection {
    /// Takes an event, at once or when its moment has come; `frame` is the one for the addresses that it follows, and
    /// `slot` is where the connection is. If that makes it due to write, `due` gets the slot.
    pub fn give(&mut self, frame: &Frame, slot: u32, wheel: &mut Wheel, stats: &mut Stats, due: &mut Vec<u32>) {
        if self.delays.is_none() && frame.is_immediate() {
            self.take(frame, slot, stats, due);
        } else {
            self.pace(frame, slot, wheel, stats, due);
        }
    }

    /// Whether it costs no more than one that never held anything back.
    #[cfg(test)]
    pub fn is_at_ease(&self) -> bool {
        self.delays.is_none() && self.written.is_none()
    }

    /// How many refreshes and resyncs it holds back.
    pub fn delayed(&self) -> usize {
        self.delays.as_ref().map_or(0, |delays| delays.waiting())
    }

    fn pace(&mut self, frame: &Frame, slot: u32, wheel: &mut Wheel, stats: &mut Stats, due: &mut Vec<u32>) {
        if !self.is_live() {
            return self.take(frame, slot, stats, due);
        }
        self.expect_delays();
        if self.comes_to(frame) && self.wants(frame) {
            stats.dispatched += 1;
            let wait = frame.delay() + frame.spread().mul_f64(fastrand::f64());
            match self.moment(frame, wait, wheel.now(), stats) {
                None => self.push(Entry::Event(frame.clone()), frame.bytes().len(), stats),
                Some(at) => self.hold(frame, at, slot, wheel, stats),
            }
            self.fall_due(slot, due);
        }
        self.rest();
    }

    /// From here on its cursor is put together, as something is held back or about to be.
    pub(super) fn expect_delays(&mut self) {
        self.delays.get_or_insert_default();
        // Of what waits in the queue, the first event that is written puts this right.
        self.written.get_or_insert_with(|| Box::new(self.places.clone()));
    }

    fn hold(&mut self, frame: &Frame, at: Instant, slot: u32, wheel: &mut Wheel, stats: &mut Stats) {
        let bytes = frame.bytes().len();
        if self.has_room(bytes, stats) {
            self.queue.hold(bytes);
            self.hold_until(at, frame, slot, wheel);
        }
    }

    /// Holds back what there is room for.
    pub(super) fn hold_until(&mut self, at: Instant, frame: &Frame, slot: u32, wheel: &mut Wheel) {
        if let Some(delays) = &mut self.delays {
            delays.hold(frame.clone(), at);
            delays.arm(ConnectionKey { slot, serial: self.serial }, at, wheel);
        }
    }

    /// When the event is due, if not now: `wait` from now, or when those were due whose place it takes. It keeps their
    /// moment, or a steady stream of events would put it off for ever. That moment may lie before the end of its delay.
    pub(super) fn moment(&mut self, frame: &Frame, wait: Duration, now: Instant, stats: &mut Stats) -> Option<Instant> {
        let (every, any_name) = (self.follow.every, self.follow.name().is_some());
        let delays = self.delays.as_mut()?;
        let covered = delays.cover(frame, any_name);
        stats.coalesced += covered.count;
        self.queue.release(covered.bytes);
        let own = now + wait;
        let earliest = covered.due.map_or(own, |covered| covered.min(own));
        let due = delays.due(frame, earliest, every.is_some(), now);
        if due.is_none() {
            delays.open_window(frame, every, now);
        }
        due
    }

    /// Its timer fired: what is due goes into the queue.
    pub fn flush(&mut self, slot: u32, wheel: &mut Wheel, stats: &mut Stats) {
        // One that ends leaves it behind.
        let live = self.is_live();
        self.note_written();
        let Some(delays) = &mut self.delays else { return };
        delays.fired();
        if !live {
            return;
        }
        let now = wheel.now();
        self.tell_resyncs(now, stats);
        let Some(delays) = &mut self.delays else { return };
        for frame in delays.take_due(now) {
            delays.open_window(&frame, self.follow.every, now);
            self.queue.release(frame.bytes().len());
            self.queue.push(Entry::Late(frame));
        }
        if let Some(due) = delays.next_due() {
            delays.arm(ConnectionKey { slot, serial: self.serial }, due, wheel);
        }
        self.rest();
        self.wake();
    }

    /// The timer, to be disarmed: the connection leaves.
    pub fn take_timer(&mut self) -> Option<Timer> {
        self.delays.as_mut()?.take_timer()
    }

    /// Forgets that it ever held anything back, once that is over: it is as cheap as any other again.
    pub(super) fn rest(&mut self) {
        if self.follow.every.is_none() {
            self.delays.take_if(|delays| delays.is_empty());
        }
        if !self.has_own_ids() {
            self.written = None;
        }
    }
}
