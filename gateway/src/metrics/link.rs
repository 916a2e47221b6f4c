//! Metrics of the link to the store: whether it works, what was read over it, and whether the store keeps all.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tidings_shared::Partition;

use super::Metrics;
use super::families::{Counts, Partitioned, Seconds, add, bump, counts, of};
use super::labels::Read;

/// Those of the link.
#[derive(Debug)]
pub(super) struct Link {
    up: Partitioned<Gauge>,
    beacon: Partitioned<Seconds>,
    reads: Counts,
    reconnects: Counter,
    noeviction: Gauge,
    degraded: Gauge,
}

impl Link {
    /// All at 0. Those of a partition appear when they are first set.
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            up: add(r, "partition_up", "Whether a partition's link works: 1 or 0"),
            beacon: add(r, "beacon_age_seconds", "Time since a partition's last beacon came back"),
            reads: counts::<Read>(r, "store_reads", "Round trips to the store for history"),
            reconnects: add(r, "store_reconnects", "Times that the link to the store was made anew"),
            noeviction: add(r, "noeviction", "Whether the store keeps what it was given: 1 or 0"),
            degraded: add(
                r,
                "degraded",
                "Whether a partition's link does not work, or its last beacon is overdue: 1 or 0",
            ),
        }
    }
}

impl Metrics {
    /// Sets whether a partition's link works.
    pub fn set_partition_up(&self, partition: Partition, up: bool) {
        self.0.link.up.get_or_create(&of(partition)).set(up.into());
    }

    /// Sets how long ago a partition's last beacon came back.
    pub fn set_beacon_age(&self, partition: Partition, age: Duration) {
        self.0.link.beacon.get_or_create(&of(partition)).set(age.as_secs_f64());
    }

    /// Adds round trips to the store for history.
    pub fn add_store_reads(&self, kind: Read, count: u64) {
        bump(&self.0.link.reads, kind, count);
    }

    /// Adds a link to the store that was made anew.
    pub fn add_store_reconnect(&self) {
        self.0.link.reconnects.inc();
    }

    /// Sets whether some partition does not work.
    pub fn set_degraded(&self, on: bool) {
        self.0.link.degraded.set(on.into());
    }

    /// Sets whether the store's policy keeps what it was given.
    pub fn set_noeviction(&self, on: bool) {
        self.0.link.noeviction.set(on.into());
    }
}
