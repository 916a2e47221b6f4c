//! The order in which `notify` sends: which events wait for which, and what goes together.

use tidings_shared::Partitions;

use super::ordered::{OrderedQueue, Turn};
use crate::parcel::Parcel;

/// What decides which events wait for which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventOrder {
    /// Each partition has a queue. An event for several of them is split into one part for each,
    /// and each part waits only for its own partition.
    ByPartition(Partitions),
    /// The partitions are not known, as a gateway stands between. There are two queues: one of
    /// events that were not tried yet, and [`RETRIES`] of those that failed, and of all later ones
    /// that share an address with one of these.
    ByAddress,
}

/// The queue of events that were not tried yet, where the order is by address.
pub(super) const FIRST_ATTEMPTS: usize = 0;
/// The queue of events that failed and of those behind them, where the order is by address.
pub(super) const RETRIES: usize = 1;

impl EventOrder {
    /// Its queues, all empty.
    pub(super) fn new_queues(self) -> Vec<OrderedQueue> {
        let queues = match self {
            Self::ByPartition(partitions) => usize::from(partitions.count()),
            Self::ByAddress => 2,
        };
        (0..queues).map(|_| OrderedQueue::default()).collect()
    }
}

/// Which queue, of the queues that there were at the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueId {
    /// The number of the partition, where each has a queue.
    pub index: usize,
    /// That of the queues.
    pub generation: u64,
}

/// Parcels of one queue that go together.
pub(super) struct Window {
    /// Their queue.
    pub id: QueueId,
    /// Their places in the order.
    pub turns: Vec<Turn>,
    /// In order.
    pub parcels: Vec<Parcel>,
}
