//! The queue of `notify`: bounded in bytes, in order for each partition, and with one place for all
//! refreshes that say the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidings_shared::{Address, Partitions};

use super::order::{EventOrder, FIRST_ATTEMPTS, QueueId, RETRIES, Window};
use super::ordered::{OrderedQueue, Turn};
use crate::Backlog;
use crate::parcel::Parcel;

/// Parcels that wait, and the count of bytes of those on their way. Pure: no lock, no clock.
///
/// The parcels of one [`OrderedQueue`] go one window after the other; the queues do not wait for
/// one another.
pub(super) struct Queue {
    most_bytes: usize,
    order: EventOrder,
    queues: Vec<OrderedQueue>,
    next: Turn,
    /// The place of each slot's parcel that waits.
    slots: HashMap<String, (usize, Turn)>,
    /// The turn of the newest parcel for each address: a parcel may be replaced in its place only if it is that one.
    newest: HashMap<Address, Turn>,
    /// How many of the parcels that failed, or wait behind one, each address has; only where the
    /// order is by address.
    held: HashMap<Address, usize>,
    /// The addresses of the window of first attempts that is on its way: what waits behind it in
    /// the other queue waits on.
    on_their_way: HashSet<Address>,
    /// Raised when the queues are others than before, so that a pause of an old one ends nothing.
    generation: u64,
    coalesced: u64,
    dropped: u64,
    abandoned: u64,
    closed: bool,
}

impl Queue {
    /// A queue that holds at most `most_bytes`, counting what was taken out and is not settled yet.
    pub(super) fn new(most_bytes: usize, order: EventOrder) -> Self {
        Self {
            most_bytes,
            order,
            queues: order.new_queues(),
            next: 0,
            slots: HashMap::new(),
            newest: HashMap::new(),
            held: HashMap::new(),
            on_their_way: HashSet::new(),
            generation: 0,
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
        match self.order {
            EventOrder::ByPartition(partitions) => {
                self.push_parts(partitions, parcel);
            }
            EventOrder::ByAddress => {
                let index = if self.is_held_back(&parcel) { RETRIES } else { FIRST_ATTEMPTS };
                // What waits at its other addresses came before it, so it goes where this one goes.
                let is_behind = |to| self.newest.contains_key(to) && !self.held.contains_key(to);
                let is_behind_others = index == RETRIES && parcel.addresses.iter().any(is_behind);
                self.push_part(index, parcel);
                if is_behind_others {
                    self.hold_back();
                }
            }
        }
        self.dropped - before
    }

    fn push_parts(&mut self, partitions: Partitions, parcel: Parcel) {
        for (index, part) in parcel.split(|address| partitions.of(address).index()) {
            self.push_part(index, part);
        }
    }

    fn push_part(&mut self, index: usize, parcel: Parcel) {
        let replaced = parcel.slot.as_ref().and_then(|slot| self.slots.get(slot).copied());
        let turn = match replaced {
            Some((old_index, old)) => {
                // In its place while nothing newer waits for its addresses, so that a busy address cannot keep itself
                // from its turn; else at the end, so that no address sees events in another order.
                let newest = parcel.addresses.iter().all(|address| self.newest.get(address) == Some(&old));
                self.remove(old_index, old);
                self.coalesced += 1;
                if newest { old } else { self.new_turn() }
            }
            None => self.new_turn(),
        };
        if self.make_room(index, parcel.bytes()) {
            self.insert(index, turn, parcel);
        } else {
            self.dropped += 1;
        }
    }

    /// Takes the next window of each queue that has one and is not busy; `window` says how many
    /// parcels go together. None while the number of partitions changes, so that no event overtakes
    /// one that was sent by the number before.
    pub(super) fn take_windows(
        &mut self,
        partitions: Option<Partitions>,
        window: impl Fn(&mut dyn Iterator<Item = &Parcel>) -> usize,
    ) -> Vec<Window> {
        if let Some(partitions) = partitions.filter(|count| self.order != EventOrder::ByPartition(*count)) {
            if self.queues.iter().any(|queue| queue.sent() > 0) {
                return Vec::new();
            }
            self.regroup(partitions);
        }
        let one_by_one = self.order != EventOrder::ByAddress;
        let mut windows = Vec::new();
        for index in 0..self.queues.len() {
            let queue = &mut self.queues[index];
            if !queue.is_ready() {
                continue;
            }
            let limit = window(&mut queue.waiting().values());
            let turns = queue.next_window(limit, one_by_one, &self.on_their_way);
            if turns.is_empty() {
                continue;
            }
            let taken = queue.take(&turns);
            if self.order == EventOrder::ByAddress && index == FIRST_ATTEMPTS {
                self.on_their_way = taken.iter().flat_map(|(_, parcel)| parcel.addresses.iter().cloned()).collect();
            }
            taken.iter().for_each(|(turn, parcel)| self.forget(*turn, parcel));
            let (turns, parcels) = taken.into_iter().unzip();
            windows.push(Window { id: QueueId { index, generation: self.generation }, turns, parcels });
        }
        windows
    }

    /// The attempt to send a window is over. Those parcels for which `failed` is true wait again,
    /// at their old place; the others are done with. The queue stays busy until [`Queue::resume`].
    /// Answers in which queue those that failed wait.
    pub(super) fn settle(&mut self, window: Window, failed: &[bool]) -> usize {
        let index = window.id.index;
        let is_first = self.order == EventOrder::ByAddress && index == FIRST_ATTEMPTS;
        let wait_at = if is_first { RETRIES } else { index };
        if is_first {
            self.on_their_way.clear();
        }
        for ((turn, parcel), failed) in window.turns.into_iter().zip(window.parcels).zip(failed) {
            self.queues[index].arrived(&parcel);
            if self.order == EventOrder::ByAddress && index == RETRIES {
                self.release(&parcel);
            }
            if !*failed {
                continue;
            }
            if parcel.slot.as_ref().is_some_and(|slot| self.slots.contains_key(slot)) {
                self.coalesced += 1;
            } else {
                self.insert(wait_at, turn, parcel);
            }
        }
        let failed = failed.contains(&true);
        if failed || !is_first {
            self.queues[wait_at].attempted(failed);
        }
        if failed && is_first {
            self.hold_back();
        }
        wait_at
    }

    /// Keeps a queue from being taken from, until [`Queue::resume`]. `None` if it is busy already.
    pub(super) fn pause(&mut self, index: usize) -> Option<QueueId> {
        let queue = self.queues.get_mut(index).filter(|queue| !queue.is_busy())?;
        queue.set_busy(true);
        Some(QueueId { index, generation: self.generation })
    }

    /// Lets the next window of a queue be taken.
    pub(super) fn resume(&mut self, id: QueueId) {
        if id.generation == self.generation
            && let Some(queue) = self.queues.get_mut(id.index)
        {
            queue.set_busy(false);
        }
    }

    /// Takes no more parcels.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Gives up all that is not settled, and closes. Answers how many parcels that were.
    pub(super) fn abandon(&mut self) -> u64 {
        self.abandoned = self.queues.iter().map(OrderedQueue::events).sum();
        *self = Self {
            coalesced: self.coalesced,
            dropped: self.dropped + self.abandoned,
            abandoned: self.abandoned,
            closed: true,
            ..Self::new(self.most_bytes, self.order)
        };
        self.abandoned
    }

    /// Whether it takes no more parcels.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether nothing waits and nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(|queue| queue.events() == 0)
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
        self.queues.iter().map(|queue| queue.waiting_bytes() + queue.sent_bytes()).sum()
    }

    /// What waits or is on its way, for each queue that has any.
    pub(super) fn backlogs(&self) -> Vec<Backlog> {
        let some = self.queues.iter().enumerate().filter(|(_, queue)| queue.events() > 0);
        let backlog = |(index, queue): (usize, &OrderedQueue)| Backlog {
            partition: match self.order {
                EventOrder::ByPartition(_) => u16::try_from(index).ok(),
                EventOrder::ByAddress => None,
            },
            events: queue.events(),
            bytes: queue.waiting_bytes() + queue.sent_bytes(),
            failures: queue.failures(),
        };
        some.map(backlog).collect()
    }

    fn new_turn(&mut self) -> Turn {
        self.next += 1;
        self.next
    }

    /// Drops parcels until `bytes` fit for a queue. The queue with the most bytes gives way, so
    /// that a partition that is away cannot take the room of the others. Its oldest parcel that may
    /// be replaced goes first, then its oldest; but a queue drops nothing that may not be replaced
    /// for a parcel of its own. False if there is no room.
    fn make_room(&mut self, index: usize, bytes: usize) -> bool {
        let sent: usize = self.queues.iter().map(OrderedQueue::sent_bytes).sum();
        if sent + bytes > self.most_bytes {
            return false;
        }
        let needed = (self.bytes() + bytes).saturating_sub(self.most_bytes);
        // Decided beforehand, so that a parcel that does not fit drops no other.
        if self.largest(index) == index && needed > self.queues[index].replaceable_bytes() {
            return false;
        }
        while self.bytes() + bytes > self.most_bytes {
            let largest = self.largest(index);
            let queue = &self.queues[largest];
            let oldest = queue.oldest_replaceable().or(queue.oldest().filter(|_| largest != index));
            let Some(oldest) = oldest else { return false };
            self.remove(largest, oldest);
            self.dropped += 1;
        }
        true
    }

    /// The queue with the most bytes that wait; `index` if it is one of several.
    fn largest(&self, index: usize) -> usize {
        let bytes = |index: &usize| self.queues.get(*index).map_or(0, OrderedQueue::waiting_bytes);
        let largest = (0..self.queues.len()).max_by_key(|other| (bytes(other), *other == index));
        largest.unwrap_or(index)
    }

    /// Whether a parcel that failed, or one behind it, has an address of this one.
    fn is_held_back(&self, parcel: &Parcel) -> bool {
        parcel.addresses.iter().any(|address| self.held.contains_key(address))
    }

    /// Puts behind the parcels that failed what shares an address with one of them.
    fn hold_back(&mut self) {
        let turns: Vec<Turn> = self.queues[FIRST_ATTEMPTS].waiting().keys().copied().collect();
        for turn in turns {
            let waiting = self.queues[FIRST_ATTEMPTS].waiting().get(&turn);
            if waiting.is_some_and(|parcel| self.is_held_back(parcel))
                && let Some(parcel) = self.remove(FIRST_ATTEMPTS, turn)
            {
                self.insert(RETRIES, turn, parcel);
            }
        }
    }

    /// A parcel left the queue of those that failed.
    fn release(&mut self, parcel: &Parcel) {
        for address in &parcel.addresses {
            if let Some(parcels) = self.held.get_mut(address) {
                *parcels -= 1;
                if *parcels == 0 {
                    self.held.remove(address);
                }
            }
        }
    }

    fn insert(&mut self, index: usize, turn: Turn, parcel: Parcel) {
        if self.order == EventOrder::ByAddress && index == RETRIES {
            parcel.addresses.iter().for_each(|address| *self.held.entry(address.clone()).or_default() += 1);
        }
        if let Some(slot) = &parcel.slot {
            self.slots.insert(slot.clone(), (index, turn));
        }
        for address in &parcel.addresses {
            let newest = self.newest.entry(address.clone()).or_insert(turn);
            *newest = turn.max(*newest);
        }
        self.queues[index].insert(turn, parcel);
    }

    fn remove(&mut self, index: usize, turn: Turn) -> Option<Parcel> {
        let parcel = self.queues[index].remove(turn)?;
        self.forget(turn, &parcel);
        if self.order == EventOrder::ByAddress && index == RETRIES {
            self.release(&parcel);
        }
        Some(parcel)
    }

    /// Forgets the places of a parcel that waits no longer.
    fn forget(&mut self, turn: Turn, parcel: &Parcel) {
        if let Some(slot) = &parcel.slot {
            self.slots.remove(slot);
        }
        for address in &parcel.addresses {
            if self.newest.get(address) == Some(&turn) {
                self.newest.remove(address);
            }
        }
    }

    /// Splits all that waits by another number of partitions. Nothing is on its way.
    fn regroup(&mut self, partitions: Partitions) {
        let order = EventOrder::ByPartition(partitions);
        let old = std::mem::replace(&mut self.queues, order.new_queues());
        (self.order, self.generation) = (order, self.generation + 1);
        self.slots.clear();
        self.newest.clear();
        let waiting: BTreeMap<Turn, Parcel> = old.into_iter().flat_map(OrderedQueue::into_waiting).collect();
        for parcel in waiting.into_values() {
            self.push_parts(partitions, parcel);
        }
    }
}

#[cfg(test)]
mod tests;
