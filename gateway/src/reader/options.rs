//! What the reader is told at its start.

use std::time::Duration;

use tidings_shared::keys::Namespace;

use super::resume::ReadOptions;
use crate::spread::Spreads;
use crate::without::Without;

/// What the reader is told at its start.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// The key prefix.
    pub namespace: Namespace,
    /// This gateway's id.
    pub gateway: String,
    /// How often a beacon is sent through each partition.
    pub beacon: Duration,
    /// Bytes of messages that one resume may read.
    pub replay_bytes: u64,
    /// How long the store keeps history for certain.
    pub age: Duration,
    /// The least time between two reads of a partition, unless there is much to read.
    pub pause: Duration,
    /// Bytes of recent frames that are kept.
    pub recent_bytes: usize,
    /// The most addresses that are followed or linger.
    pub addresses: usize,
    /// The most joins that are under way.
    pub waiting: usize,
    /// How long an address stays subscribed after the last connection left.
    pub linger: Duration,
    /// The spread of events that have none of their own.
    pub spreads: Spreads,
    /// What tests switch off.
    pub without: Without,
}

impl ReaderOptions {
    /// What of it concerns reads.
    pub fn reads(&self) -> ReadOptions {
        ReadOptions { bytes: self.replay_bytes, age: self.age, pause: self.pause }
    }
}
