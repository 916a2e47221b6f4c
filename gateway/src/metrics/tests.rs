//! What `/metrics` tells, before anything happens and after each thing that can.

use std::time::Duration;

use tidings_shared::Partitions;

use super::*;
use crate::admission::Limit;
use crate::control::{Goodbye, Reason};

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
        "addresses_lingering",
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
        "ended_total{reason=\"drain\"}",
        "ended_total{reason=\"max-age\"}",
        "ended_total{reason=\"store\"}",
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
        "degraded",
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
    fed.set_addresses_lingering(3);
    fed.add_queue_bytes(1000);
    fed.add_delayed(6);
    fed.add_delayed(-2);
    fed.add_frames_dispatched(11);
    fed.add_frames_coalesced(9);
    fed.add_events_received(12);
    fed.add_resyncs(Reason::HistoryLost, 3);
    fed.add_connect(Connect::Poll);
    fed.add_refused(Limit::User);
    fed.add_ended(Goodbye::Store, 3);
    fed.add_resume(Resume::Memory);
    fed.add_store_reads(Read::Resume, 2);
    fed.add_publishes(Publish::Duplicate, 6);
    fed.add_store_reconnect();
    fed.set_partition_up(partition, true);
    fed.set_beacon_age(partition, Duration::from_millis(1500));
    fed.set_reader_lag(Duration::from_millis(250));
    fed.observe_publish_to_dispatch(Duration::from_millis(3));
    fed.set_noeviction(true);
    fed.set_degraded(true);
    fed.add_tls_reload_failure();
    fed.set_tls_not_after(Duration::from_secs(1_900_000_000));
    for (series, expected) in [
        ("connections", "3"),
        ("follows", "7"),
        ("addresses_followed", "4"),
        ("addresses_lingering", "3"),
        ("queue_bytes", "1000"),
        ("delayed", "4"),
        ("frames_dispatched_total", "11"),
        ("frames_coalesced_total", "9"),
        ("events_received_total", "12"),
        ("resyncs_total{reason=\"history-lost\"}", "3"),
        ("connects_total{kind=\"poll\"}", "1"),
        ("refused_total{limit=\"user\"}", "1"),
        ("ended_total{reason=\"store\"}", "3"),
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
        ("degraded", "1"),
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
    assert!(text.ends_with("# EOF\n"));
}
