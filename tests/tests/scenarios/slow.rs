//! A reader that does not read costs a bounded amount, harms nobody else, and is told.

use tidings_shared::Event;
use tidings_tests::client::Options;
use tidings_tests::record::{Record, What};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Oracle, Source, eventually};

use crate::{Stage, memory};

// Who takes nothing for two heartbeats counts as dead, which these are not to be: their heartbeats are far apart.

const KIB: usize = 1024;
const MIB: u64 = 1024 * 1024;

/// Publishes far more than the queue and all socket buffers hold while one client does not read.
async fn one_does_not_read(mut gateway: Gateway, oracle: &Oracle, source: &Source) {
    let slow = Options::new("slow", &[gateway.public()], &["a", "b"]).receive_buffer(4 * 1024).open();
    let quick = Client::open("quick", &[gateway.public()], &["a", "b"]);
    slow.ready().await;
    quick.ready().await;
    let before = gateway.process().rss();
    slow.pause();
    let mut last = 0;
    for _ in 0..2_000 {
        last = source.publish_sized(&["a"], 12 * KIB).await;
    }
    quick.got(last).await;
    oracle.judge([quick.record()]).assert_all_delivered();
    let grown = gateway.process().rss().saturating_sub(before);
    assert!(grown < 24 * MIB, "grew by {} MiB", grown / MIB);
    slow.resume();
    oracle.settle([slow.record(), quick.record()], PATIENCE).await.assert_kept();
    let resyncs = slow.record().resyncs();
    assert!(!resyncs.is_empty() && resyncs.iter().all(|(_, reason)| reason == "slow"), "{}", slow.record());
    assert_eq!(slow.record().count(|what| matches!(what, What::Lost { .. })), 0, "it kept its connection");
    let counted = async || gateway.metrics().await.sum("tidings_resyncs_total", &[("reason", "slow")]) >= 1.0;
    eventually("the overflow is counted", PATIENCE, counted).await;
    let last = source.publish(&["b"]).await;
    slow.got(last).await;
    oracle.settle([slow.record()], PATIENCE).await.assert_kept();
}

#[tokio::test]
async fn on_redis() {
    let set = |setup: tidings_tests::Setup| {
        setup.with("stream.queue", "1MiB").with("replay.recent", "1MiB").with("stream.heartbeat", "30s")
    };
    let mut stage = Stage::with(1, set).await;
    let gateway = stage.gateways.remove(0);
    one_does_not_read(gateway, &stage.oracle, &stage.source).await;
}

#[tokio::test]
async fn in_memory() {
    let set = |setup: tidings_tests::Setup| {
        let setup = setup.with("stream.queue", "1MiB").with("replay.recent", "1MiB").with("stream.heartbeat", "30s");
        setup.with("retention.events", "100")
    };
    let (gateway, oracle, source) = memory(set).await;
    one_does_not_read(gateway, &oracle, &source).await;
}

/// The newest version of an address that the client was told, or that it must refetch.
fn knows(record: &Record, address: &str, version: &str) -> bool {
    let newest = record.look(|entries| {
        entries.iter().rev().find_map(|entry| match &entry.what {
            What::Resync { address: of, .. } if of == address => Some(true),
            What::Message(message) if message.addresses.iter().any(|a| a == address) => {
                Some(message.data.contains(&format!("\"version\":\"{version}\"")))
            }
            _ => None,
        })
    });
    newest == Some(true)
}

#[tokio::test]
async fn refreshes_collapse_to_the_latest_of_each_address() {
    let (gateway, _, source) =
        memory(|setup| setup.with("stream.queue", "16KiB").with("stream.heartbeat", "30s")).await;
    let topics = ["a", "b", "c", "d", "e"];
    let slow = Options::new("slow", &[gateway.public()], &topics).receive_buffer(4 * 1024).open();
    slow.ready().await;
    slow.pause();
    let (rounds, filling) = (3_000, "x".repeat(2 * KIB));
    for version in 1..=rounds {
        let data = serde_json::value::to_raw_value(&filling).unwrap();
        let topic = topics[version % topics.len()];
        source.send(Event::refresh(topic).version(version.to_string()).data(data)).await.unwrap();
    }
    slow.resume();
    for at in 0..topics.len() {
        let version = rounds - at;
        let topic = topics[version % topics.len()];
        let fits = |record: &Record| knows(record, topic, &version.to_string());
        slow.record().until(&format!("knows version {version} of {topic}"), PATIENCE, fits).await;
    }
    let seen = slow.record().messages().len();
    assert!(seen < rounds, "all {seen} were delivered: the reader was not slow, so this shows nothing");
    assert_eq!(slow.record().faults(), [""; 0]);
}
