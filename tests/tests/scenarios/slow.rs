//! A reader that does not read costs a bounded amount, harms nobody else, and is told.

use tidings_tests::client::Options;
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Oracle, Setup, Source, eventually};

use crate::{Stage, memory};

// Who takes nothing for a heartbeat or two counts as dead, which these are not to be: their heartbeats are far apart.

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
    for n in 0..2_000 {
        last = source.publish_sized(&["a"], 12 * KIB).await;
        // Or on a busy machine the quick one falls behind by more than its queue holds too.
        if n % 40 == 0 {
            quick.got(last).await;
        }
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
    let set =
        |setup: Setup| setup.with("stream.queue", "1MiB").with("replay.recent", "1MiB").with("stream.heartbeat", "60s");
    let mut stage = Stage::with(1, set).await;
    let gateway = stage.gateways.remove(0);
    one_does_not_read(gateway, &stage.oracle, &stage.source).await;
}

#[tokio::test]
async fn in_memory() {
    let set = |setup: Setup| {
        let setup = setup.with("stream.queue", "1MiB").with("replay.recent", "1MiB").with("stream.heartbeat", "60s");
        setup.with("retention.events", "100")
    };
    let (gateway, oracle, source) = memory(set).await;
    one_does_not_read(gateway, &oracle, &source).await;
}

fn collapsing(setup: Setup) -> Setup {
    setup.with("stream.queue", "64KiB").with("stream.heartbeat", "60s")
}

#[tokio::test]
async fn refreshes_collapse_to_the_latest_of_each_address() {
    let (gateway, oracle, source) = memory(collapsing).await;
    let topics = ["a", "b", "c", "d", "e"];
    let slow = Options::new("slow", &[gateway.public()], &topics).receive_buffer(4 * 1024).open();
    slow.ready().await;
    slow.pause();
    let (rounds, mut last) = (3_000, 0);
    for n in 0..rounds {
        last = source.refresh(&[topics[n % topics.len()]], 2 * KIB).await;
    }
    slow.resume();
    slow.got(last).await;
    let verdict = oracle.settle([slow.record()], PATIENCE).await;
    verdict.assert_kept();
    assert_eq!(verdict.resynced, 0, "{verdict}");
    assert!(verdict.covered > 0, "all were delivered: the reader was not slow, so this shows nothing\n{verdict}");
    let latest: Vec<u64> = (last + 1 - topics.len() as u64..=last).collect();
    assert!(slow.record().serials().ends_with(&latest), "{}", slow.record());
    assert_eq!(slow.record().count(|what| matches!(what, What::Lost { .. })), 0, "it kept its connection");
    let coalesced = async || gateway.metrics().await.sum("tidings_frames_coalesced_total", &[]);
    eventually("it is counted", PATIENCE, async || coalesced().await as usize == verdict.covered).await;
}

#[tokio::test]
async fn what_may_not_be_coalesced_is_delivered_or_resynced() {
    let (gateway, oracle, source) = memory(collapsing).await;
    let slow = Options::new("slow", &[gateway.public()], &["a", "b"]).receive_buffer(4 * 1024).open();
    slow.ready().await;
    slow.pause();
    let mut last = 0;
    for _ in 0..1_500 {
        source.refresh(&["a"], 2 * KIB).await;
        last = source.publish_sized(&["b"], 2 * KIB).await;
    }
    slow.resume();
    let verdict = oracle.settle([slow.record()], PATIENCE).await;
    verdict.assert_kept();
    assert!(verdict.resynced > 0, "b came {last} times and cannot all have been kept\n{verdict}");
}
