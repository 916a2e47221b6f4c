//! The metrics of this gateway: what there is, fed from anywhere, read by `/metrics`.
//!
//! Nothing here is for the hot path: workers count in cells of their own and add the sums once a second.

mod labels;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

pub use labels::{Connect, Publish, Read, Resume};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use tidings_shared::Partition;

use crate::admission::Limit;
use crate::control::Reason;
use labels::Label;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latency histogram, in seconds: from half a millisecond, about what loopback takes, to ten seconds.
const LATENCY: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of one gateway. A clone is the same metrics, and cheap.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

type Seconds = Gauge<f64, AtomicU64>;
type Counts = Family<[(&'static str, &'static str); 1], Counter>;
type Partitioned<G> = Family<[(&'static str, u16); 1], G>;

#[derive(Debug)]
struct Inner {
    registry: Registry,
    connections: Gauge,
    follows: Gauge,
    addresses: Gauge,
    queue: Gauge,
    delayed: Gauge,
    dispatched: Counter,
    coalesced: Counter,
    received: Counter,
    resyncs: Counts,
    connects: Counts,
    refused: Counts,
    resumes: Counts,
    reads: Counts,
    publishes: Counts,
    reconnects: Counter,
    up: Partitioned<Gauge>,
    beacon: Partitioned<Seconds>,
    lag: Seconds,
    latency: Histogram,
    noeviction: Gauge,
    tls_failures: Counter,
    tls_not_after: Gauge,
}

impl Metrics {
    /// All metrics, at 0. Those of a partition appear when they are first set.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tidings");
        registry.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let r = &mut registry;
        let latency = Histogram::new(LATENCY);
        let inner = Inner {
            connections: add(r, "connections", "Open streams and waiting polls"),
            follows: add(r, "follows", "Addresses that connections follow, each counted for each connection"),
            addresses: add(r, "addresses_followed", "Addresses that at least one connection follows"),
            queue: add(r, "queue_bytes", "Bytes that wait for connections to read them"),
            delayed: add(r, "delayed", "Events that connections hold back until their moment (`spread`, `every`)"),
            dispatched: add(r, "frames_dispatched", "Events put in a connection's queue"),
            coalesced: add(
                r,
                "frames_coalesced",
                "Events of these whose place a newer one took before they were written",
            ),
            received: add(r, "events_received", "Events that came from the store"),
            resyncs: counts::<Reason>(r, "resyncs", "Times that a connection was told to refetch an address"),
            connects: counts::<Connect>(r, "connects", "Connections that were accepted"),
            refused: counts::<Limit>(r, "refused", "Connections over a limit, told to come back later"),
            resumes: counts::<Resume>(r, "resumes", "Connections that came with a cursor, by what served them"),
            reads: counts::<Read>(r, "store_reads", "Round trips to the store for history"),
            publishes: counts::<Publish>(r, "publish", "Events published through this gateway"),
            reconnects: add(r, "store_reconnects", "Times that the link to the store was made anew"),
            up: add(r, "partition_up", "Whether a partition's link works: 1 or 0"),
            beacon: add(r, "beacon_age_seconds", "Time since a partition's last beacon came back"),
            lag: add(r, "reader_lag_seconds", "Time from an event's publish to its dispatch, of the latest"),
            latency: register(
                r,
                "publish_to_dispatch_seconds",
                "Time from publish, by the clock of the store, until all queues of a worker hold the event",
                latency,
            ),
            noeviction: add(r, "noeviction", "Whether the store keeps what it was given: 1 or 0"),
            tls_failures: add(
                r,
                "tls_reload_failures",
                "Times that a changed certificate was broken and the one before kept",
            ),
            tls_not_after: add(
                r,
                "tls_not_after_seconds",
                "When the certificate in force ends, in seconds since 1970; 0 without TLS",
            ),
            registry,
        };
        Self(Arc::new(inner))
    }

    /// Changes the number of open streams and waiting polls.
    pub fn add_connections(&self, change: i64) {
        self.0.connections.inc_by(change);
    }

    /// Changes the number of follows of all connections.
    pub fn add_follows(&self, change: i64) {
        self.0.follows.inc_by(change);
    }

    /// Sets the number of addresses that are followed at all.
    pub fn set_addresses_followed(&self, count: i64) {
        self.0.addresses.set(count);
    }

    /// Changes the bytes that wait in queues.
    pub fn add_queue_bytes(&self, change: i64) {
        self.0.queue.inc_by(change);
    }

    /// Changes the number of events that connections hold back.
    pub fn add_delayed(&self, change: i64) {
        self.0.delayed.inc_by(change);
    }

    /// Adds events that were put in a connection's queue.
    pub fn add_frames_dispatched(&self, count: u64) {
        self.0.dispatched.inc_by(count);
    }

    /// Adds events whose place a newer one took.
    pub fn add_frames_coalesced(&self, count: u64) {
        self.0.coalesced.inc_by(count);
    }

    /// Adds events that came from the store.
    pub fn add_events_received(&self, count: u64) {
        self.0.received.inc_by(count);
    }

    /// Adds addresses that connections were told to refetch.
    pub fn add_resyncs(&self, reason: Reason, count: u64) {
        bump(&self.0.resyncs, reason, count);
    }

    /// Adds a connection that was accepted.
    pub fn add_connect(&self, kind: Connect) {
        bump(&self.0.connects, kind, 1);
    }

    /// Adds a connection that was over a limit.
    pub fn add_refused(&self, limit: Limit) {
        bump(&self.0.refused, limit, 1);
    }

    /// Adds a connection that came with a cursor.
    pub fn add_resume(&self, source: Resume) {
        bump(&self.0.resumes, source, 1);
    }

    /// Adds round trips to the store for history.
    pub fn add_store_reads(&self, kind: Read, count: u64) {
        bump(&self.0.reads, kind, count);
    }

    /// Adds events that were published through this gateway.
    pub fn add_publishes(&self, outcome: Publish, count: u64) {
        bump(&self.0.publishes, outcome, count);
    }

    /// Adds a link to the store that was made anew.
    pub fn add_store_reconnect(&self) {
        self.0.reconnects.inc();
    }

    /// Sets whether a partition's link works.
    pub fn set_partition_up(&self, partition: Partition, up: bool) {
        self.0.up.get_or_create(&of(partition)).set(up.into());
    }

    /// Sets how long ago a partition's last beacon came back.
    pub fn set_beacon_age(&self, partition: Partition, age: Duration) {
        self.0.beacon.get_or_create(&of(partition)).set(age.as_secs_f64());
    }

    /// Sets how long the latest event took from its publish to its dispatch.
    pub fn set_reader_lag(&self, lag: Duration) {
        self.0.lag.set(lag.as_secs_f64());
    }

    /// Adds how long an event took from its publish until all queues of a worker held it.
    pub fn observe_publish_to_dispatch(&self, time: Duration) {
        self.0.latency.observe(time.as_secs_f64());
    }

    /// Sets whether the store's policy keeps what it was given.
    pub fn set_noeviction(&self, on: bool) {
        self.0.noeviction.set(on.into());
    }

    /// Adds a changed certificate that was broken.
    pub fn add_tls_reload_failure(&self) {
        self.0.tls_failures.inc();
    }

    /// Sets when the certificate in force ends, since 1970.
    pub fn set_tls_not_after(&self, end: Duration) {
        self.0.tls_not_after.set(i64::try_from(end.as_secs()).unwrap_or(i64::MAX));
    }

    /// All of it as OpenMetrics text, of the type [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail, and no metric of ours fails to encode.
        let _ = encode(&mut text, &self.0.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A metric at 0.
fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    register(registry, name, help, M::default())
}

/// Registers a metric and gives it back.
fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// A counter for each value of a label, all at 0.
fn counts<L: Label>(registry: &mut Registry, name: &str, help: &str) -> Counts {
    let family: Counts = add(registry, name, help);
    for label in L::ALL {
        bump(&family, *label, 0);
    }
    family
}

fn bump<L: Label>(family: &Counts, label: L, count: u64) {
    family.get_or_create(&[(L::NAME, label.text())]).inc_by(count);
}

fn of(partition: Partition) -> [(&'static str, u16); 1] {
    [("partition", partition.number())]
}

#[cfg(test)]
mod tests {
    use tidings_shared::Partitions;

    use super::*;

    /// The value of a series.
    fn value(metrics: &Metrics, series: &str) -> Option<String> {
        let text = metrics.render();
        text.lines().find_map(|line| Some(line.strip_prefix(series)?.strip_prefix(' ')?.to_owned()))
    }

    #[test]
    fn known_series_are_there_before_anything_happens() {
        let metrics = Metrics::new();
        for series in [
            "connections",
            "follows",
            "addresses_followed",
            "queue_bytes",
            "delayed",
            "frames_dispatched_total",
            "frames_coalesced_total",
            "events_received_total",
            "resyncs_total{reason=\"history-lost\"}",
            "resyncs_total{reason=\"slow\"}",
            "connects_total{kind=\"stream\"}",
            "connects_total{kind=\"poll\"}",
            "refused_total{limit=\"connections\"}",
            "refused_total{limit=\"rate\"}",
            "resumes_total{source=\"memory\"}",
            "resumes_total{source=\"store\"}",
            "resumes_total{source=\"none\"}",
            "store_reads_total{kind=\"resume\"}",
            "store_reads_total{kind=\"attach\"}",
            "store_reads_total{kind=\"recover\"}",
            "publish_total{outcome=\"ok\"}",
            "publish_total{outcome=\"failed\"}",
            "store_reconnects_total",
            "publish_to_dispatch_seconds_count",
            "noeviction",
            "tls_reload_failures_total",
            "tls_not_after_seconds",
        ] {
            assert_eq!(value(&metrics, &format!("tidings_{series}")).as_deref(), Some("0"), "{series}");
        }
        assert_eq!(value(&metrics, "tidings_reader_lag_seconds").as_deref(), Some("0.0"));
        let build = format!("tidings_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(value(&metrics, &build).as_deref(), Some("1"));
    }

    #[test]
    fn each_method_feeds_its_series() {
        let metrics = Metrics::new();
        let fed = metrics.clone();
        let partition = Partitions::new(2).unwrap().get(1).unwrap();
        fed.add_connections(5);
        fed.add_connections(-2);
        fed.add_follows(7);
        fed.set_addresses_followed(4);
        fed.add_queue_bytes(1000);
        fed.add_delayed(6);
        fed.add_delayed(-2);
        fed.add_frames_dispatched(11);
        fed.add_frames_coalesced(9);
        fed.add_events_received(12);
        fed.add_resyncs(Reason::HistoryLost, 3);
        fed.add_connect(Connect::Poll);
        fed.add_refused(Limit::User);
        fed.add_resume(Resume::Memory);
        fed.add_store_reads(Read::Resume, 2);
        fed.add_publishes(Publish::Duplicate, 6);
        fed.add_store_reconnect();
        fed.set_partition_up(partition, true);
        fed.set_beacon_age(partition, Duration::from_millis(1500));
        fed.set_reader_lag(Duration::from_millis(250));
        fed.observe_publish_to_dispatch(Duration::from_millis(3));
        fed.set_noeviction(true);
        fed.add_tls_reload_failure();
        fed.set_tls_not_after(Duration::from_secs(1_900_000_000));
        for (series, expected) in [
            ("connections", "3"),
            ("follows", "7"),
            ("addresses_followed", "4"),
            ("queue_bytes", "1000"),
            ("delayed", "4"),
            ("frames_dispatched_total", "11"),
            ("frames_coalesced_total", "9"),
            ("events_received_total", "12"),
            ("resyncs_total{reason=\"history-lost\"}", "3"),
            ("connects_total{kind=\"poll\"}", "1"),
            ("refused_total{limit=\"user\"}", "1"),
            ("resumes_total{source=\"memory\"}", "1"),
            ("store_reads_total{kind=\"resume\"}", "2"),
            ("publish_total{outcome=\"duplicate\"}", "6"),
            ("store_reconnects_total", "1"),
            ("partition_up{partition=\"1\"}", "1"),
            ("beacon_age_seconds{partition=\"1\"}", "1.5"),
            ("reader_lag_seconds", "0.25"),
            ("publish_to_dispatch_seconds_bucket{le=\"0.0025\"}", "0"),
            ("publish_to_dispatch_seconds_bucket{le=\"0.005\"}", "1"),
            ("noeviction", "1"),
            ("tls_reload_failures_total", "1"),
            ("tls_not_after_seconds", "1900000000"),
        ] {
            assert_eq!(value(&metrics, &format!("tidings_{series}")).as_deref(), Some(expected), "{series}");
        }
    }

    #[test]
    fn two_gateways_in_one_process_do_not_mix() {
        let (a, b) = (Metrics::new(), Metrics::new());
        a.add_connections(1);
        assert_eq!(value(&b, "tidings_connections").as_deref(), Some("0"));
    }

    #[test]
    fn every_metric_is_explained_and_the_text_ends() {
        let metrics = Metrics::new();
        for partition in Partitions::ONE.all() {
            metrics.set_partition_up(partition, false);
            metrics.set_beacon_age(partition, Duration::ZERO);
        }
        let text = metrics.render();
        let starting = |with: &str| text.lines().filter(|line| line.starts_with(with)).count();
        assert_eq!(starting("# HELP tidings_"), starting("# TYPE tidings_"));
        assert_eq!(starting("# HELP tidings_"), 23);
        assert!(text.ends_with("# EOF\n"));
    }
}
