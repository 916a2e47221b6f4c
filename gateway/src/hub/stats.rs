//! What a worker counts: plain cells, summed up once a second.

use std::time::Duration;

use crate::control::{Goodbye, Reason};

/// What a worker counted since it was last asked.
#[derive(Debug, Default)]
pub struct Stats {
    /// Frames put into queues.
    pub dispatched: u64,
    /// Events whose place a newer one took.
    pub coalesced: u64,
    /// Addresses that connections were told to refetch, by reason.
    pub resyncs: [u64; Reason::ALL.len()],
    /// Connections that were ended after they had their place, by reason.
    pub ended: [u64; Goodbye::ALL.len()],
    /// From the id of each event, which is the store's clock at publishing, to the end of its dispatch.
    pub latencies: Vec<Duration>,
}

impl Stats {
    /// Forgets all, but keeps the room for it.
    pub fn clear(&mut self) {
        let mut latencies = std::mem::take(&mut self.latencies);
        latencies.clear();
        *self = Self { latencies, ..Self::default() };
    }

    /// Counts a connection that was ended.
    pub fn ended(&mut self, why: Goodbye) {
        if let Some(at) = Goodbye::ALL.iter().position(|known| *known == why) {
            self.ended[at] += 1;
        }
    }

    /// Counts resyncs.
    pub fn resynced(&mut self, reason: Reason, count: u64) {
        if let Some(at) = Reason::ALL.iter().position(|known| *known == reason) {
            self.resyncs[at] += count;
        }
    }
}

/// How much a hub holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Connections.
    pub connections: i64,
    /// Addresses that they follow, each counted for each connection.
    pub follows: i64,
    /// Bytes that wait in their queues.
    pub queued_bytes: i64,
    /// Events and resyncs that they hold back.
    pub delayed: i64,
}
