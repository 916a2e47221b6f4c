//! The publisher over topologies: what it was told is published is there, once, whatever happens to a primary.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use tidings_publisher::{ErrorKind, Event, Namespace, Partitions, Publisher};
use tidings_shared::{Address, Message};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Cluster, Layout, Node, Sentinel, Server, eventually};

use crate::on_each_server;

on_each_server!(
    sentinel_crash,
    sentinel_failover,
    sentinels_away,
    cluster_crash,
    cluster_failover,
    cluster_migration,
    cluster_silent_node,
);

/// Enough attempts, over half a minute, for any failover.
const RETRIES: u32 = 30;
const ADDRESSES: usize = 40;
const ROUNDS: usize = 30;

fn builder(url: &str) -> tidings_publisher::Builder {
    Publisher::builder(url).retries(RETRIES).timeout(Duration::from_secs(1))
}

/// Publishes numbered events to many addresses, one after the other each, while `fault` happens. The id of each version
/// of each address.
async fn publish_through(publisher: &Publisher, fault: impl Future) -> HashMap<(String, String), String> {
    let one_address = async |n: usize| {
        let address = format!("o/{n}");
        let mut acknowledged = Vec::new();
        for version in 0..ROUNDS {
            let version = version.to_string();
            let receipt = publisher.publish(Event::refresh(&address).version(&version)).await.unwrap();
            acknowledged.push(((address.clone(), version), receipt.ids[&address].to_string()));
            // Spread over the time of the fault.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        acknowledged
    };
    let (acknowledged, _) = join(join_all((0..ADDRESSES).map(one_address)), fault).await;
    acknowledged.into_iter().flatten().collect()
}

/// Waits until some events were published, so that a fault falls among them.
async fn under_way(publisher: &Publisher) {
    eventually("events are published", PATIENCE, async || publisher.stats().published > 100).await;
}

/// What is in the stream of an address: versions with their ids, in order.
async fn stream(node: &Node, partitions: Partitions, address: &str) -> Vec<(String, String)> {
    let address: Address = address.parse().unwrap();
    let key = Namespace::default().keys(partitions.of(&address)).stream(&address);
    let entries: Vec<(String, BTreeMap<String, String>)> = node.ask("XRANGE", &[&key, "-", "+"]).await.unwrap();
    let version = |fields: &BTreeMap<String, String>| {
        let body: serde_json::Value = serde_json::from_str(Message::decode(&fields["m"]).unwrap().body).unwrap();
        body["version"].as_str().unwrap().to_owned()
    };
    entries.iter().map(|(id, fields)| (version(fields), id.clone())).collect()
}

/// Each acknowledged event is in its stream under its id, in order, and nothing twice.
fn assert_once(address: &str, found: &[(String, String)], acknowledged: &HashMap<(String, String), String>) {
    let expected: Vec<_> = (0..ROUNDS).map(|version| version.to_string()).collect();
    let versions: Vec<_> = found.iter().map(|(version, _)| version.clone()).collect();
    assert_eq!(versions, expected, "{address}");
    for (version, id) in found {
        assert_eq!(&acknowledged[&(address.to_owned(), version.clone())], id, "{address}, {version}");
    }
}

// Sentinel

async fn assert_once_in_sentinel(topology: &Sentinel, acknowledged: &HashMap<(String, String), String>) {
    let primary = topology.primary().await;
    for n in 0..ADDRESSES {
        let address = format!("o/{n}");
        assert_once(&address, &stream(primary, Partitions::ONE, &address).await, acknowledged);
    }
}

async fn sentinel_crash(server: Server) {
    let topology = Sentinel::start(server).await;
    let publisher = builder(&topology.url()).connect().await.unwrap();
    let acknowledged = publish_through(&publisher, async {
        under_way(&publisher).await;
        topology.crash_failover().await;
    })
    .await;
    assert_once_in_sentinel(&topology, &acknowledged).await;
}

async fn sentinel_failover(server: Server) {
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

// Cluster

fn cluster_url(cluster: &Cluster) -> String {
    // Two of the six: the others are found.
    let nodes: Vec<_> = cluster.nodes()[2..4].iter().map(|node| node.addr().to_string()).collect();
    format!("redis+cluster://{}", nodes.join(","))
}

fn slot_of(address: &str) -> u16 {
    Namespace::default().keys(Partitions::CLUSTER.of(&address.parse().unwrap())).slot()
}

async fn assert_once_in_cluster(cluster: &Cluster, acknowledged: &HashMap<(String, String), String>) {
    for n in 0..ADDRESSES {
        let address = format!("o/{n}");
        let primary = cluster.primary_of(slot_of(&address)).await;
        assert_once(&address, &stream(primary, Partitions::CLUSTER, &address).await, acknowledged);
    }
}

async fn cluster_crash(server: Server) {
    let cluster = Cluster::start(server).await;
    let publisher = builder(&cluster_url(&cluster)).connect().await.unwrap();
    let acknowledged = publish_through(&publisher, async {
        under_way(&publisher).await;
        cluster.crash_failover(slot_of("o/0")).await;
    })
    .await;
    assert_once_in_cluster(&cluster, &acknowledged).await;
}

async fn cluster_failover(server: Server) {
    let cluster = Cluster::start(server).await;
    let publisher = builder(&cluster_url(&cluster)).connect().await.unwrap();
    let acknowledged = publish_through(&publisher, async {
        under_way(&publisher).await;
        cluster.failover(slot_of("o/0")).await;
    })
    .await;
    assert_once_in_cluster(&cluster, &acknowledged).await;
}

async fn cluster_migration(server: Server) {
    let cluster = Cluster::start(server).await;
    let publisher = builder(&cluster_url(&cluster)).connect().await.unwrap();
    let slot = slot_of("o/0");
    let from = cluster.primary_of(slot).await.addr();
    let to = cluster.nodes()[..3].iter().find(|node| node.addr() != from).unwrap();
    let acknowledged = publish_through(&publisher, async {
        under_way(&publisher).await;
        cluster.migrate(slot, to).await;
    })
    .await;
    assert_eq!(cluster.primary_of(slot).await.addr(), to.addr());
    assert_once_in_cluster(&cluster, &acknowledged).await;
    // The courier has learnt of the new place.
    let receipt = publisher.publish(Event::refresh("o/0").version("last")).await.unwrap();
    assert_eq!(stream(to, Partitions::CLUSTER, "o/0").await.last().unwrap().1, receipt.ids["o/0"].to_string());
}

async fn cluster_silent_node(server: Server) {
    let cluster = Cluster::start(Layout::of(server).setting("cluster-node-timeout 60000")).await;
    let publisher = Publisher::builder(cluster_url(&cluster)).retries(0).timeout(Duration::from_secs(1));
    let publisher = publisher.connect().await.unwrap();
    let silent = cluster.primary_of(slot_of("o/0")).await;
    silent.freeze();
    let start = Instant::now();
    let events: Vec<Event> = (0..ADDRESSES).map(|n| Event::refresh(format!("o/{n}"))).collect();
    let results = publisher.publish_all(events).await;
    assert!(start.elapsed() < Duration::from_secs(10), "nobody hangs on a silent server");
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(_) => assert_ne!(slot_of(&format!("o/{n}")), slot_of("o/0")),
            Err(error) => {
                assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true), "{error}");
                assert!(error.to_string().contains(&silent.addr().to_string()), "{error}");
            }
        }
    }
    assert!(results.iter().any(Result::is_ok) && results[0].is_err());
    silent.thaw();
    eventually("it is taken again", PATIENCE, async || publisher.publish(Event::refresh("o/0")).await.is_ok()).await;
}
