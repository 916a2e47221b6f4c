//! The queue of `notify`: bounded in bytes, in order, and with one place for all refreshes that say the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidings_shared::Address;

use crate::parcel::Parcel;

/// Parcels that wait, and the count of bytes of those on their way. Pure: no lock, no clock.
pub(super) struct Queue {
    most_bytes: usize,
    waiting: BTreeMap<Turn, Parcel>,
    next: Turn,
    /// The turn of each slot's parcel that waits.
    slots: HashMap<String, Turn>,
    /// The turns of the parcels that may be replaced, so that the oldest is found at once.
    replaceable: BTreeSet<Turn>,
    replaceable_bytes: usize,
    /// The turn of the newest parcel for each address: a parcel may be replaced in its place only if it is that one.
    newest: HashMap<Address, Turn>,
    waiting_bytes: usize,
    sent_bytes: usize,
    sent: u64,
    coalesced: u64,
    dropped: u64,
    abandoned: u64,
    closed: bool,
}

type Turn = u64;

impl Queue {
    /// A queue that holds at most `most_bytes`, counting what was taken out and is not settled yet.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            waiting: BTreeMap::new(),
            next: 0,
            slots: HashMap::new(),
            replaceable: BTreeSet::new(),
            replaceable_bytes: 0,
            newest: HashMap::new(),
            waiting_bytes: 0,
            sent_bytes: 0,
            sent: 0,
            coalesced: 0,
            dropped: 0,
            abandoned: 0,
            closed: false,
        }
    }

    /// Adds a parcel. Answers how many were dropped for it, itself included.
    pub(super) fn push(&mut self, parcel: Parcel) -> u64 {
        let before = self.dropped;
        if self.closed {
            self.dropped += 1;
            return 1;
        }
        let place = parcel.slot.as_ref().and_then(|slot| self.slots.get(slot).copied());
        let turn = match place {
            Some(old) => {
                // In its place while nothing newer waits for its addresses, so that a busy address cannot keep itself
                // from its turn; else at the end, so that no address sees events in another order.
                let newest = parcel.addresses.iter().all(|address| self.newest.get(address) == Some(&old));
                self.remove(old);
                self.coalesced += 1;
                if newest { old } else { self.turn() }
            }
            None => self.turn(),
        };
        if self.make_room(parcel.bytes()) {
            self.insert(turn, parcel);
        } else {
            self.dropped += 1;
        }
        self.dropped - before
    }

    /// Takes out the first parcels, as many as `window` says.
    pub(super) fn take(&mut self, window: impl FnOnce(&mut dyn Iterator<Item = &Parcel>) -> usize) -> Vec<Parcel> {
        let count = window(&mut self.waiting.values());
        let turns: Vec<Turn> = self.waiting.keys().copied().take(count).collect();
        let parcels: Vec<Parcel> = turns.into_iter().filter_map(|turn| self.remove(turn)).collect();
        self.sent_bytes += parcels.iter().map(Parcel::bytes).sum::<usize>();
        self.sent += parcels.len() as u64;
        parcels
    }

    /// A parcel that was taken out is done with.
    pub(super) fn settled(&mut self, parcel: &Parcel) {
        self.sent_bytes -= parcel.bytes();
        self.sent -= 1;
    }

    /// Takes no more parcels.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Gives up all that is not settled, and closes. Answers how many parcels that were.
    pub(super) fn abandon(&mut self) -> u64 {
        self.closed = true;
        self.abandoned = self.waiting.len() as u64 + self.sent;
        self.dropped += self.abandoned;
        *self = Self {
            coalesced: self.coalesced,
            dropped: self.dropped,
            abandoned: self.abandoned,
            closed: true,
            ..Self::new(self.most_bytes)
        };
        self.abandoned
    }

    /// Whether it takes no more parcels.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many parcels were given up at the end.
    pub(super) fn abandoned(&self) -> u64 {
        self.abandoned
    }

    /// How many parcels were replaced.
    pub(super) fn coalesced(&self) -> u64 {
        self.coalesced
    }

    /// How many parcels were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The memory of all parcels that are not settled.
    pub(super) fn bytes(&self) -> usize {
        self.waiting_bytes + self.sent_bytes
    }

    fn turn(&mut self) -> Turn {
        self.next += 1;
        self.next
    }

    /// Drops the oldest replaceable parcels until `bytes` fit, or none if even that would not be enough.
    fn make_room(&mut self, bytes: usize) -> bool {
        if self.bytes() - self.replaceable_bytes + bytes > self.most_bytes {
            return false;
        }
        while self.bytes() + bytes > self.most_bytes {
            let Some(oldest) = self.replaceable.first().copied() else { return false };
            self.remove(oldest);
            self.dropped += 1;
        }
        true
    }

    fn insert(&mut self, turn: Turn, parcel: Parcel) {
        self.waiting_bytes += parcel.bytes();
        if let Some(slot) = &parcel.slot {
            self.slots.insert(slot.clone(), turn);
            self.replaceable.insert(turn);
            self.replaceable_bytes += parcel.bytes();
        }
        self.newest.extend(parcel.addresses.iter().map(|address| (address.clone(), turn)));
        self.waiting.insert(turn, parcel);
    }

    fn remove(&mut self, turn: Turn) -> Option<Parcel> {
        let parcel = self.waiting.remove(&turn)?;
        self.waiting_bytes -= parcel.bytes();
        if let Some(slot) = &parcel.slot {
            self.slots.remove(slot);
            self.replaceable.remove(&turn);
            self.replaceable_bytes -= parcel.bytes();
        }
        for address in &parcel.addresses {
            if self.newest.get(address) == Some(&turn) {
                self.newest.remove(address);
            }
        }
        Some(parcel)
    }
}

#[cfg(test)]
mod tests;
