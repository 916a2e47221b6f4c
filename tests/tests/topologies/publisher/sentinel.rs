//! Behind Sentinel.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tidings_publisher::{Event, Partitions, Publisher};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Sentinel, Server, eventually};

use super::{ADDRESSES, assert_once, builder, hold_writes, publish_through, stream, under_way};
use crate::on_each_server;

on_each_server!(crash, frozen, failover, sentinels_away);

async fn assert_once_in_sentinel(topology: &Sentinel, acknowledged: &HashMap<(String, String), String>) {
    let primary = topology.primary().await;
    for n in 0..ADDRESSES {
        let address = format!("o/{n}");
        assert_once(&address, &stream(primary, Partitions::ONE, &address).await, acknowledged);
    }
}

async fn crash(server: Server) {
    let topology = Sentinel::start(server).await;
    let publisher = builder(&topology.url()).connect().await.unwrap();
    let acknowledged = publish_through(&publisher, async {
        under_way(&publisher).await;
        topology.crash_failover().await;
    })
    .await;
    assert_once_in_sentinel(&topology, &acknowledged).await;
}

/// The primary keeps its connections and says nothing any more, for longer than a failover takes.
async fn frozen(server: Server) {
    let topology = Sentinel::start(server).await;
    let publisher = builder(&topology.url()).connect().await.unwrap();
    let old = topology.primary().await;
    let acknowledged = publish_through(&publisher, async {
        under_way(&publisher).await;
        hold_writes(old).await;
        old.freeze();
        let other = async || topology.primary().await.addr() != old.addr();
        eventually("another primary", PATIENCE, other).await;
    })
    .await;
    assert_once_in_sentinel(&topology, &acknowledged).await;
    old.thaw();
}

async fn failover(server: Server) {
    let topology = Sentinel::start(server).await;
    let publisher = builder(&topology.url()).connect().await.unwrap();
    let old = topology.primary().await.addr();
    publisher.publish(Event::refresh("a")).await.unwrap();
    topology.failover().await;
    topology.settled().await;
    // The server of before is there and answers, but as a replica.
    let receipt = publisher.publish(Event::refresh("a").version("after")).await.unwrap();
    let new = topology.primary().await;
    assert_ne!(new.addr(), old);
    let found: Vec<(String, BTreeMap<String, String>)> =
        new.ask("XREVRANGE", &["{tidings:0}:t:a", "+", "-", "COUNT", "1"]).await.unwrap();
    assert_eq!(found[0].0, receipt.ids["a"].to_string());
}

async fn sentinels_away(server: Server) {
    let topology = Sentinel::start(server).await;
    let url = topology.url();
    // One is dead and one is silent: the third knows.
    topology.sentinels()[0].kill();
    topology.sentinels()[1].freeze();
    Publisher::builder(&url).retries(0).connect().await.unwrap().publish(Event::refresh("a")).await.unwrap();
    let wrong = url.replace("/tidings", "/nobody");
    let error = Publisher::builder(&wrong).retries(0).connect().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("no primary called \"nobody\""), "{error}");
    topology.sentinels()[2].kill();
    let start = Instant::now();
    let error = Publisher::builder(&url).retries(0).connect().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("Connection refused"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "an attempt has its time-out");
    topology.sentinels()[1].thaw();
}
