//! What a connection holds back: refreshes that wait for their moment, and how far its cursor may go meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_shared::cursor::Place;
use tidings_shared::{Address, Epoch, Partition};

use super::resyncs::Resyncs;
use super::wheel::{Timer, Wheel};
use crate::frame::Frame;
use crate::reader::delivery::ConnectionKey;

/// What a connection holds back. Only connections that do so, or may, have one.
///
/// Two rules make it safe. Events of one address never overtake each other: one that came later waits at least as long,
/// or takes the place of the one before. And until a refresh has been written the cursor stays below it, so whatever
/// becomes of the connection, a resume replays it.
#[derive(Debug, Default)]
pub struct Delays {
    /// In order of their ids within each partition.
    waiting: Vec<Delayed>,
    /// Those that are in the queue by now, but not written.
    late: Vec<(Partition, Place)>,
    /// What it is to be told to refetch when the moment of that has come.
    pub resyncs: Resyncs,
    /// Until when an address gets no further refresh.
    windows: HashMap<Arc<Address>, Instant>,
    timer: Option<(Instant, Timer)>,
}

#[derive(Debug)]
struct Delayed {
    frame: Frame,
    due: Instant,
}

impl Delays {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.late.is_empty() && self.resyncs.len() == 0 && self.timer.is_none()
    }

    /// How many refreshes and resyncs wait for their moment.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.resyncs.len()
    }

    /// When `frame` is due, at `earliest` or later; `None` if that is now. With `every` the connection asked for a time
    /// between two refreshes of an address; it does not count for events that may not be coalesced.
    pub fn due(&self, frame: &Frame, earliest: Instant, every: bool, now: Instant) -> Option<Instant> {
        let mut due = earliest;
        if every && frame.is_coalescable() {
            due = frame.addresses().iter().filter_map(|address| self.windows.get(address)).fold(due, |d, w| d.max(*w));
        }
        // Those before may be due already, while the timer has yet to fire.
        let before = self.waiting.iter().filter(|delayed| delayed.frame.shares_address(frame));
        match before.map(|delayed| delayed.due).max() {
            Some(before) => Some(due.max(before)),
            None => (due > now).then_some(due),
        }
    }

    /// Whether something waits that names an address of `frame`, which may not overtake it.
    pub fn has_before(&self, frame: &Frame) -> bool {
        self.waiting.iter().any(|delayed| delayed.frame.shares_address(frame))
    }

    /// Drops what waits and whose place `frame` takes, with `any_name` whatever event names they have. Tells how many bytes and how many that were, and when the first
    /// of them was due.
    pub fn cover(&mut self, frame: &Frame, any_name: bool) -> Covered {
        let mut covered = Covered::default();
        self.waiting.retain(|delayed| {
            let keep = !frame.covers(&delayed.frame, any_name);
            if !keep {
                covered.count += 1;
                covered.bytes += delayed.frame.bytes().len();
                covered.due = Some(covered.due.map_or(delayed.due, |due: Instant| due.min(delayed.due)));
            }
            keep
        });
        covered
    }

    /// Drops what waits and names no other address than this: a resync says it all. Those count as late until the resync
    /// has been written.
    pub fn resynced(&mut self, address: &Address) -> Vec<Frame> {
        let mut dropped = Vec::new();
        self.waiting.retain(|delayed| {
            let keep = delayed.frame.addresses().iter().any(|named| **named != *address);
            if !keep {
                dropped.push(delayed.frame.clone());
            }
            keep
        });
        self.late.extend(dropped.iter().map(|frame| (frame.partition(), frame.place())));
        dropped
    }

    /// Holds a refresh back.
    pub fn hold(&mut self, frame: Frame, due: Instant) {
        self.waiting.push(Delayed { frame, due });
    }

    /// A refresh goes out: for the time of `every` its addresses get no further one.
    pub fn open_window(&mut self, frame: &Frame, every: Option<Duration>, now: Instant) {
        let Some(every) = every.filter(|_| frame.is_coalescable()) else { return };
        for address in frame.addresses() {
            self.windows.insert(Arc::clone(address), now + every);
        }
    }

    /// Takes what is due by now, in order. It is late until [`Delays::wrote`] is told.
    pub fn take_due(&mut self, now: Instant) -> Vec<Frame> {
        let due: Vec<Frame> = self.waiting.extract_if(.., |delayed| delayed.due <= now).map(|d| d.frame).collect();
        self.late.extend(due.iter().map(|frame| (frame.partition(), frame.place())));
        due
    }

    /// A late refresh was written, or a later event that waits in the queue covers it.
    pub fn wrote(&mut self, frame: &Frame) {
        self.forget((frame.partition(), frame.place()));
    }

    /// Takes the resyncs if they are due by now. What is missing is late until [`Delays::told`].
    pub fn take_resyncs(&mut self, now: Instant) -> Option<Resyncs> {
        self.resyncs.due().filter(|due| *due <= now)?;
        let resyncs = std::mem::take(&mut self.resyncs);
        self.late.extend(resyncs.missing());
        Some(resyncs)
    }

    /// These resyncs were written.
    pub fn told(&mut self, resyncs: &Resyncs) {
        resyncs.missing().iter().for_each(|of| self.forget(*of));
    }

    fn forget(&mut self, of: (Partition, Place)) {
        if let Some(at) = self.late.iter().position(|late| *late == of) {
            self.late.remove(at);
        }
    }

    /// All that was held back is owed otherwise.
    pub fn clear(&mut self) {
        self.waiting = Vec::new();
        self.late = Vec::new();
        self.resyncs = Resyncs::default();
    }

    /// The oldest place in a partition that is still owed: the cursor must stay below. One of another history than the
    /// present is older than all of it.
    pub fn oldest(&self, partition: Partition, present: Epoch) -> Option<Place> {
        let waiting = self.waiting.iter().map(|delayed| (delayed.frame.partition(), delayed.frame.place()));
        let owed = waiting.chain(self.late.iter().copied()).chain(self.resyncs.missing().iter().copied());
        owed.filter(|(of, _)| *of == partition)
            .map(|(_, place)| place)
            .min_by_key(|place| (place.epoch == present, place.id))
    }

    /// When the first of all that waits is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.iter().map(|delayed| delayed.due).chain(self.resyncs.due()).min()
    }

    /// Sees to it that the connection is woken at `due`, if not before.
    pub fn arm(&mut self, connection: ConnectionKey, due: Instant, wheel: &mut Wheel) {
        if self.timer.as_ref().is_none_or(|(armed, _)| due < *armed) {
            self.take_timer().into_iter().for_each(|timer| wheel.disarm(timer));
            self.timer = Some((due, wheel.arm(connection, due)));
        }
    }

    /// The timer fired.
    pub fn fired(&mut self) {
        self.timer = None;
    }

    /// The timer, to be disarmed.
    pub fn take_timer(&mut self) -> Option<Timer> {
        self.timer.take().map(|(_, timer)| timer)
    }
}

/// What a newer event took the place of.
#[derive(Debug, Default)]
pub struct Covered {
    /// How many refreshes.
    pub count: u64,
    /// Their bytes.
    pub bytes: usize,
    /// When the first of them was due.
    pub due: Option<Instant>,
}
