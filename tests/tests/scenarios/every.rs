//! A client that asked for few events gets few, and always the last.

use std::time::{Duration, Instant};

use tidings_tests::client::Options;
use tidings_tests::record::{Record, What};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway};

use crate::{Stage, memory};

fn few(gateway: &Gateway, topics: &[&str], every: &str) -> Client {
    let options = Options::new("few", &[gateway.public()], topics).with("every", every);
    options.retry_at_most(Duration::from_millis(200)).open()
}

/// How many events of an address came.
fn count(record: &Record, address: &str) -> usize {
    record.count(|what| matches!(what, What::Message(message) if message.addresses.iter().any(|a| a == address)))
}

#[tokio::test]
async fn at_most_one_in_its_time_and_the_last_at_its_end() {
    let stage = Stage::of(1).await;
    let client = few(&stage.gateways[0], &["a", "b"], "1s");
    client.ready().await;
    let begun = Instant::now();
    let mut last = 0;
    for _ in 0..40 {
        stage.source.refresh(&["a"], 0).await;
        last = stage.source.refresh(&["a", "b"], 0).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    client.got(last).await;
    let most = begun.elapsed().as_secs() as usize + 2;
    assert!(count(client.record(), "a") <= most, "more than {most} in that time: {}", client.record());
    let verdict = stage.oracle.settle([client.record()], PATIENCE).await;
    verdict.assert_kept();
    assert!(verdict.covered > 0 && verdict.resynced == 0, "{verdict}");
    assert_eq!(client.record().serials()[0], 0, "the first went at once: {}", client.record());
}

#[tokio::test]
async fn what_may_not_be_coalesced_goes_at_once() {
    let (gateway, oracle, source) = memory(|setup| setup).await;
    let client = few(&gateway, &["a"], "1h");
    client.ready().await;
    let last = source.publish_many(&["a"], 20).await;
    client.got(last).await;
    oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn what_waits_when_the_connection_breaks_is_replayed() {
    let stage = Stage::of(2).await;
    let gateways = tidings_tests::gateway::publics(&stage.gateways);
    let options = Options::new("few", &gateways, &["a", "b"]).with("every", "1h");
    let client = options.retry_at_most(Duration::from_millis(200)).open();
    client.ready().await;
    stage.source.refresh(&["a"], 0).await;
    let waits = stage.source.refresh(&["a"], 0).await;
    let after = stage.source.publish(&["b"]).await;
    client.got(after).await;
    assert!(!client.record().serials().contains(&waits), "{}", client.record());
    client.drop_connection();
    client.got(waits).await;
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}
