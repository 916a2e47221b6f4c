//! The events of `notify` that go one after the other: those of one partition.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tidings_shared::Address;

use crate::parcel::Parcel;

/// The place of a parcel in the order of all parcels.
pub(super) type Turn = u64;

/// Parcels that wait, in order, and the count of those on their way.
#[derive(Default)]
pub(super) struct OrderedQueue {
    waiting: BTreeMap<Turn, Parcel>,
    waiting_bytes: usize,
    /// The turns of the parcels that may be replaced, so that the oldest is found at once.
    replaceable: BTreeSet<Turn>,
    replaceable_bytes: usize,
    sent: u64,
    sent_bytes: usize,
    /// Attempts in a row that brought an error which may pass.
    failures: u32,
    /// Whether a window is on its way, or a pause after a failed attempt is not over.
    busy: bool,
}

impl OrderedQueue {
    /// Adds a parcel that was not taken before, or one whose attempt failed.
    pub(super) fn insert(&mut self, turn: Turn, parcel: Parcel) {
        self.waiting_bytes += parcel.bytes();
        if parcel.slot.is_some() {
            self.replaceable.insert(turn);
            self.replaceable_bytes += parcel.bytes();
        }
        self.waiting.insert(turn, parcel);
    }

    /// Removes a parcel that waits.
    pub(super) fn remove(&mut self, turn: Turn) -> Option<Parcel> {
        let parcel = self.waiting.remove(&turn)?;
        self.waiting_bytes -= parcel.bytes();
        if parcel.slot.is_some() {
            self.replaceable.remove(&turn);
            self.replaceable_bytes -= parcel.bytes();
        }
        Some(parcel)
    }

    /// The turns of the next window, of at most `limit` parcels, none of them for one of these
    /// `others`. While attempts fail, none of them shares an address or, where `one_by_one` says
    /// so, a partition with another: the first one has to succeed before those behind it are sent.
    pub(super) fn next_window(&self, limit: usize, one_by_one: bool, others: &HashSet<Address>) -> Vec<Turn> {
        if one_by_one && self.failures > 0 {
            return self.waiting.keys().copied().take(1).collect();
        }
        if self.failures == 0 && others.is_empty() {
            return self.waiting.keys().copied().take(limit).collect();
        }
        let mut behind: HashSet<&Address> = others.iter().collect();
        let mut turns = Vec::new();
        // A bound on the search too: a long backlog of one address must not be walked through for
        // each window.
        for (turn, parcel) in self.waiting.iter().take(limit.saturating_mul(4)) {
            let is_free = !parcel.addresses.iter().any(|address| behind.contains(address));
            if !is_free || self.failures > 0 {
                behind.extend(&parcel.addresses);
            }
            if is_free && turns.len() < limit {
                turns.push(*turn);
            }
        }
        turns
    }

    /// Takes out the parcels of these turns, which then count as on their way.
    pub(super) fn take(&mut self, turns: &[Turn]) -> Vec<(Turn, Parcel)> {
        let taken = turns.iter().filter_map(|turn| Some((*turn, self.remove(*turn)?)));
        let taken: Vec<(Turn, Parcel)> = taken.collect();
        self.sent_bytes += taken.iter().map(|(_, parcel)| parcel.bytes()).sum::<usize>();
        self.sent += taken.len() as u64;
        self.busy = true;
        taken
    }

    /// A parcel is no longer on its way.
    pub(super) fn arrived(&mut self, parcel: &Parcel) {
        self.sent_bytes -= parcel.bytes();
        self.sent -= 1;
    }

    /// The attempt to send a window is over.
    pub(super) fn attempted(&mut self, failed: bool) {
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
    }

    /// Whether the next window may be taken.
    pub(super) fn is_ready(&self) -> bool {
        !self.busy && !self.waiting.is_empty()
    }

    /// Whether a window is on its way, or a pause is not over.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Lets the next window be taken, or keeps it from that.
    pub(super) fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// The oldest parcel that may be replaced.
    pub(super) fn oldest_replaceable(&self) -> Option<Turn> {
        self.replaceable.first().copied()
    }

    /// The oldest parcel.
    pub(super) fn oldest(&self) -> Option<Turn> {
        self.waiting.keys().next().copied()
    }

    /// The parcels that wait, in order.
    pub(super) fn waiting(&self) -> &BTreeMap<Turn, Parcel> {
        &self.waiting
    }

    /// The parcels that wait, with their turns.
    pub(super) fn into_waiting(self) -> BTreeMap<Turn, Parcel> {
        self.waiting
    }

    /// The memory of the parcels that wait.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// The memory of the parcels that wait and may be replaced.
    pub(super) fn replaceable_bytes(&self) -> usize {
        self.replaceable_bytes
    }

    /// The memory of the parcels on their way.
    pub(super) fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// The parcels on their way.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many parcels wait or are on their way.
    pub(super) fn events(&self) -> u64 {
        self.waiting.len() as u64 + self.sent
    }

    /// Attempts in a row that brought an error which may pass.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}
