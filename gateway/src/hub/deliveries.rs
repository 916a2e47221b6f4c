//! How a hub takes what the reader hands it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Partition};

use super::Hub;
use super::connection::Herd;
use crate::control::{self, Goodbye, Reason};
use crate::frame::Frame;
use crate::reader::delivery::{AddressNames, Delivery, Dispatch, Joined, Resync};

/// Connections that are looked at before the first of them is written to: their memory is far apart, and so the
/// processor waits for all of it at once and not for each in turn.
const GROUP: usize = 16;

impl Hub {
    /// Takes a delivery.
    pub fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Batch(batch) => {
                for event in &batch.events {
                    self.dispatch(event);
                }
                self.lift(&batch.watermarks);
                self.write(usize::MAX);
            }
            Delivery::Joined(joined) => self.joined(joined),
            Delivery::NoRoom(key) => self.refuse_for_load(key),
            Delivery::Resync(resync) => self.resync(&resync),
            Delivery::Names(AddressNames { address, names }) => {
                if self.table.is_followed(&address) {
                    self.names.set(address, names);
                }
            }
            Delivery::Lagged(places) => self.lagged(places),
            Delivery::Unserved => self.keys().into_iter().for_each(|key| self.goodbye(key, Goodbye::Store)),
        }
    }

    /// Whether connections got events that they have yet to write.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Lets connections that got events write them, so many of them at the most. False when none is left.
    pub fn write(&mut self, most: usize) -> bool {
        let Self { connections, stats, due, .. } = self;
        let left = due.len().saturating_sub(most);
        for slot in due.drain(left..) {
            // Should another one be in the slot by now, it writes what it has.
            if let Some(connection) = connections.get_mut(slot as usize) {
                connection.write(stats);
            }
        }
        left > 0
    }

    /// Gives events, all to one address and no other, to the connections that stand at some places of it. Each takes all
    /// of them before the next one does, so what it needs is at hand. If they may write `at_once`, those that have nothing
    /// else to write do. Tells how many pushes that were, and whether there are places behind.
    pub fn dispatch_run(&mut self, run: &[Dispatch], places: Range<usize>, at_once: bool) -> (usize, bool) {
        let Self { table, connections, wheel, stats, due, straight, partitions, .. } = self;
        straight.clear();
        if at_once {
            straight.join(run, *partitions);
        }
        let Some((address, _)) = run.first().and_then(|event| event.frames.first()) else { return (0, false) };
        let (mut followers, more) = table.followers_at(address, places);
        let (mut count, mut group) = (0, SmallVec::<[(u32, bool); GROUP]>::new());
        loop {
            group.extend(followers.by_ref().take(GROUP).map(|slot| {
                let known = straight.get().zip(connections.get(slot as usize));
                (slot, known.is_some_and(|((_, span), connection)| connection.is_free(span)))
            }));
            if group.is_empty() {
                return (count, more);
            }
            for (slot, free) in group.drain(..) {
                let Some(connection) = connections.get_mut(slot as usize) else { continue };
                count += run.len();
                match straight.get().filter(|_| free) {
                    Some((bytes, span)) => connection.pass(run, (bytes, span), stats),
                    None => run.iter().flat_map(|event| &event.frames).for_each(|(_, frame)| {
                        connection.give(frame, slot, wheel, stats, due);
                    }),
                }
            }
        }
    }

    /// Gives an event to all that follow one of its addresses; tells how many. They write it with [`Hub::write`], in one
    /// go with all that they got until then.
    pub fn dispatch(&mut self, event: &Dispatch) -> usize {
        match event.frames.as_slice() {
            [_] => self.dispatch_run(std::slice::from_ref(event), 0..usize::MAX, false).0,
            _ => self.dispatch_several(event),
        }
    }

    /// An event to several addresses: a connection that follows more than one of them gets it once, naming those.
    fn dispatch_several(&mut self, event: &Dispatch) -> usize {
        let mut wanted: HashMap<u32, SmallVec<[u16; 8]>> = HashMap::new();
        for (at, (address, _)) in event.frames.iter().enumerate() {
            for connection in self.table.followers(address) {
                wanted.entry(connection).or_default().push(at as u16);
            }
        }
        let mut merged: HashMap<SmallVec<[u16; 8]>, Option<Frame>> = HashMap::new();
        let count = wanted.len();
        for (slot, which) in wanted {
            let frame = merged.entry(which).or_insert_with_key(|which| {
                let frames = which.iter().map(|at| event.frames[usize::from(*at)].clone()).collect();
                Dispatch { frames, ..*event }.frame()
            });
            if let (Some(frame), Some(connection)) = (frame, self.connections.get_mut(slot as usize)) {
                connection.give(frame, slot, &mut self.wheel, &mut self.stats, &mut self.due);
            }
        }
        count
    }

    /// All up to these places has been dispatched.
    pub fn lift(&mut self, watermarks: &[Option<Place>]) {
        if !watermarks.is_empty() {
            self.watermarks.clear();
            self.watermarks.extend_from_slice(watermarks);
        }
    }

    /// The reader has made sure that the starts are of the histories that it told of last.
    fn joined(&mut self, joined: Joined) {
        let Joined { connection: key, starts } = joined;
        let Some(starts) = starts else {
            self.refuse_for_store(key);
            return;
        };
        let Self { connections, wheel, stats, due, options, .. } = self;
        let connection = connections.get_mut(key.slot as usize).filter(|connection| connection.serial == key.serial);
        if let Some(connection) = connection {
            let mut herd = Herd { spread: options.resync_spread, wheel };
            for frame in connection.begin(&starts, key.slot, &mut herd, stats) {
                connection.give(&frame, key.slot, wheel, stats, due);
            }
        }
    }

    fn resync(&mut self, resync: &Resync) {
        let Resync { partition, place, addresses, reason } = resync;
        let Self { table, connections, stats, partitions, options, wheel, names, .. } = self;
        let mut herd = Herd { spread: options.resync_spread, wheel };
        let mut tell = |address: &Arc<Address>, restart: Option<(Partition, Place)>| {
            let shared = || {
                let names = names.get(address);
                control::resync(address, *reason, names.as_deref().unwrap_or_default())
            };
            let at_once = herd.spread.is_zero().then(shared);
            for slot in table.followers(address) {
                if let Some(connection) = connections.get_mut(slot as usize) {
                    match &at_once {
                        Some(frame) => connection.resync(address, frame, *reason, stats),
                        None => connection.resync_later(address, *reason, slot, &mut herd),
                    }
                    if let Some((partition, place)) = restart {
                        connection.restart(partition, place);
                    }
                }
            }
        };
        if let Some(addresses) = addresses {
            addresses.iter().for_each(|address| tell(address, None));
            return;
        }
        for address in table.addresses().filter(|address| partitions.of(address) == *partition) {
            tell(address, Some((*partition, *place)));
        }
        if let Some(watermark) = self.watermarks.get_mut(partition.index()) {
            *watermark = Some(*place);
        }
    }

    /// Deliveries to this worker were dropped: whatever they were, a refetch of everything makes up for it.
    fn lagged(&mut self, places: Vec<Option<Place>>) {
        tracing::warn!(worker = self.worker, "the worker fell behind; all its connections are resynced");
        let mut herd = Herd { spread: self.options.resync_spread, wheel: &mut self.wheel };
        for (slot, connection) in &mut self.connections {
            if herd.spread.is_zero() {
                connection.owe(Reason::Slow);
            } else {
                connection.resync_all_later(Reason::Slow, slot as u32, &mut herd);
            }
            for (partition, place) in self.partitions.all().zip(&places) {
                if let Some(place) = place {
                    connection.restart_if_known(partition, *place);
                }
            }
        }
        self.watermarks = places;
    }
}
