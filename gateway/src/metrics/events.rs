//! Metrics of events: published, received, dispatched, held, replaced, and how long that took.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::families::{Counts, Seconds, add, bump, counts, register};
use super::labels::{Foreign, Publish};
use crate::control::Reason;

/// Upper bounds of the latency histogram, in seconds: from half a millisecond, about what loopback takes, to ten seconds.
const LATENCY: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Those of events.
#[derive(Debug)]
pub(super) struct Events {
    publishes: Counts,
    received: Counter,
    foreign: Counter,
    unreadable: Counts,
    dispatched: Counter,
    coalesced: Counter,
    resyncs: Counts,
    queue: Gauge,
    delayed: Gauge,
    lag: Seconds,
    latency: Histogram,
}

impl Events {
    /// All at 0.
    pub(super) fn new(r: &mut Registry) -> Self {
        let coalesced = "Events of these whose place a newer one took before they were written";
        let latency = "Time from publish, by the clock of the store, until all queues of a worker hold the event";
        Self {
            publishes: counts::<Publish>(r, "publish", "Events published through this gateway"),
            received: add(r, "events_received", "Events that came from the store"),
            foreign: add(r, "events_foreign", "Messages of another database of the Redis server, which are dropped"),
            unreadable: counts::<Foreign>(
                r,
                "unreadable",
                "Entries and messages in the store that this version cannot read: skipped in a journal, else their address is resynced",
            ),
            dispatched: add(r, "frames_dispatched", "Events put in a connection's queue"),
            coalesced: add(r, "frames_coalesced", coalesced),
            resyncs: counts::<Reason>(r, "resyncs", "Times that a connection was told to refetch an address"),
            queue: add(r, "queue_bytes", "Bytes that wait for connections to read them"),
            delayed: add(
                r,
                "delayed",
                "Events and resyncs that connections hold back until their moment (`spread`, `delay`, `every`, `stream.resync_spread`)",
            ),
            lag: add(r, "reader_lag_seconds", "Time from an event's publish to its dispatch, of the latest"),
            latency: register(r, "publish_to_dispatch_seconds", latency, Histogram::new(LATENCY)),
        }
    }
}

impl Metrics {
    /// Adds events that were published through this gateway.
    pub fn add_publishes(&self, outcome: Publish, count: u64) {
        bump(&self.0.events.publishes, outcome, count);
    }

    /// Adds events that came from the store.
    pub fn add_events_received(&self, count: u64) {
        self.0.events.received.inc_by(count);
    }

    /// Adds messages of another database of the server.
    pub fn add_events_foreign(&self, count: u64) {
        self.0.events.foreign.inc_by(count);
    }

    /// Adds what was found in the store and could not be read.
    pub fn add_unreadable(&self, place: Foreign, count: u64) {
        bump(&self.0.events.unreadable, place, count);
    }

    /// Adds events that were put in a connection's queue.
    pub fn add_frames_dispatched(&self, count: u64) {
        self.0.events.dispatched.inc_by(count);
    }

    /// Adds events whose place a newer one took.
    pub fn add_frames_coalesced(&self, count: u64) {
        self.0.events.coalesced.inc_by(count);
    }

    /// Adds addresses that connections were told to refetch.
    pub fn add_resyncs(&self, reason: Reason, count: u64) {
        bump(&self.0.events.resyncs, reason, count);
    }

    /// Changes the bytes that wait in queues.
    pub fn add_queue_bytes(&self, change: i64) {
        self.0.events.queue.inc_by(change);
    }

    /// Changes the number of events that connections hold back.
    pub fn add_delayed(&self, change: i64) {
        self.0.events.delayed.inc_by(change);
    }

    /// Sets how long the latest event took from its publish to its dispatch.
    pub fn set_reader_lag(&self, lag: Duration) {
        self.0.events.lag.set(lag.as_secs_f64());
    }

    /// Adds how long an event took from its publish until all queues of a worker held it.
    pub fn observe_publish_to_dispatch(&self, time: Duration) {
        self.0.events.latency.observe(time.as_secs_f64());
    }
}
