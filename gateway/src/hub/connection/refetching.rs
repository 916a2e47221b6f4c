//! What a connection must refetch: told at once, or at a moment of its own if many others must as well.
//!
//! Until it is told, the cursor stays below what may be missing, so that a connection that breaks is told when it comes
//! back. Live events go on meanwhile, also those of the addresses in question: a page is never staler than it must be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Id, Partition};

use super::{Connection, Phase, Waiting};
use crate::control::{self, Reason};
use crate::hub::queue::Entry;
use crate::hub::stats::Stats;
use crate::hub::wheel::Wheel;
use crate::reader::delivery::ConnectionKey;

/// All connections that must refetch something. Over a time they are told, each at a random moment: all at once, their
/// pages would take the backend down.
#[derive(Debug)]
pub struct Herd<'a> {
    /// That time. Zero is at once.
    pub spread: Duration,
    /// Wakes each at its moment.
    pub wheel: &'a mut Wheel,
}

impl Herd<'_> {
    fn moment(&self) -> Instant {
        self.wheel.now() + self.spread.mul_f64(fastrand::f64())
    }
}

impl Connection {
    /// Drops all that waits: everything must be refetched. The connection is told when it reads next, so one that does
    /// not read costs nothing more.
    pub fn owe(&mut self, reason: Reason) {
        match &mut self.phase {
            Phase::Joining(waiting) => *waiting = Waiting::default(),
            Phase::Live => {}
            Phase::Ending(..) => return,
        }
        self.drop_all(reason);
        self.wake();
    }

    /// Tells it to refetch one address, as `shared` says, or under its own name. What it held back of that address is said with it.
    pub fn resync(&mut self, address: &Address, shared: &Bytes, reason: Reason, stats: &mut Stats) {
        let own = self.follow.name().map(|name| control::named_resync(address, reason, name));
        self.say_resync(address, own.unwrap_or_else(|| shared.clone()), reason, stats);
    }

    fn say_resync(&mut self, address: &Address, frame: Bytes, reason: Reason, stats: &mut Stats) {
        if !self.is_live() || self.owes.is_some() {
            return;
        }
        self.note_written();
        let bytes = frame.len();
        self.push(Entry::Said(Box::new(frame)), bytes, stats);
        stats.resynced(reason, 1);
        for needless in self.delays.iter_mut().flat_map(|delays| delays.resynced(address)) {
            self.queue.release(needless.bytes().len());
            self.queue.push(Entry::Covered(needless));
        }
        self.wake();
    }

    /// "Refetch `address`", under each name by which somebody may listen.
    pub(super) fn resync_bytes(&self, address: &Address, reason: Reason) -> Bytes {
        if let Some(name) = self.follow.name() {
            return control::named_resync(address, reason, name);
        }
        let names = self.event_names.get(address);
        control::resync(address, reason, names.as_deref().unwrap_or_default())
    }

    /// Tells it to refetch an address when its moment has come. What comes after its present place may be missing.
    pub fn resync_later(&mut self, address: &Arc<Address>, reason: Reason, slot: u32, herd: &mut Herd<'_>) {
        let partition = self.partitions.of(address);
        if let Some(place) = self.places.get(partition).filter(|_| self.is_live() && self.owes.is_none()) {
            let missing = (partition, Place { id: place.id.next(), ..place });
            self.hold_resync(address, reason, missing, slot, herd);
        }
    }

    /// The same for all that it follows. If it waits for its place, it is told when it has that.
    pub fn resync_all_later(&mut self, reason: Reason, slot: u32, herd: &mut Herd<'_>) {
        if !self.is_live() {
            return self.owe(reason);
        }
        for address in Arc::clone(&self.follow.addresses).iter() {
            self.resync_later(address, reason, slot, herd);
        }
    }

    /// The same for one that came back to `place` with a cursor that is of no use: all before it may be missing.
    pub(super) fn resync_returned(
        &mut self,
        address: &Arc<Address>,
        reason: Reason,
        (partition, place): (Partition, Place),
        slot: u32,
        herd: &mut Herd<'_>,
    ) {
        self.hold_resync(address, reason, (partition, Place { id: Id::ZERO, ..place }), slot, herd);
    }

    fn hold_resync(
        &mut self,
        address: &Arc<Address>,
        reason: Reason,
        missing: (Partition, Place),
        slot: u32,
        herd: &mut Herd<'_>,
    ) {
        // Of what waits in the queue, the first event that is written puts this right.
        self.written.get_or_insert_with(|| Box::new(self.places.clone()));
        let delays = self.delays.get_or_insert_default();
        let due = delays.resyncs.add(address, reason, missing, || herd.moment());
        delays.arm(ConnectionKey { slot, serial: self.serial }, due, herd.wheel);
    }

    /// The moment of what it must refetch has come, if it has.
    pub(super) fn tell_resyncs(&mut self, now: Instant, stats: &mut Stats) {
        let Some(resyncs) = self.delays.as_mut().and_then(|delays| delays.take_resyncs(now)) else { return };
        for (address, reason) in resyncs.addresses() {
            let frame = self.resync_bytes(address, *reason);
            self.say_resync(address, frame, *reason, stats);
        }
        // If there was no room, it owes a resync of everything in place of these.
        if self.owes.is_none() {
            self.queue.push(Entry::Told(Box::new(resyncs)));
        }
    }

    /// The partition has another history now, or a gap, of which it was told or will be. One that waits for its place
    /// gets it in the new history; what came in of the old one would come under ids that count no more.
    pub fn restart(&mut self, partition: Partition, place: Place) {
        match &mut self.phase {
            Phase::Joining(waiting) => {
                waiting.frames.retain(|frame| frame.partition() != partition);
                waiting.bytes = waiting.frames.iter().map(|frame| frame.bytes().len()).sum();
            }
            Phase::Live => self.places.set(partition, place),
            Phase::Ending(..) => {}
        }
    }

    /// The same for a partition of which it may follow nothing.
    pub fn restart_if_known(&mut self, partition: Partition, place: Place) {
        if self.is_live() && self.places.contains(partition) {
            self.places.set(partition, place);
        }
    }
}
