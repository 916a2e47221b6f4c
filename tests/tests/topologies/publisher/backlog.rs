//! `notify` while one primary of a cluster is away: the other partitions go on.

use std::collections::BTreeSet;
use std::time::Duration;

use tidings_publisher::{Event, Partitions, Publisher};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Cluster, Layout, Server, Setup, eventually};

use super::{ADDRESSES, ROUNDS, slot_of, stream};
use crate::on_each_server;

on_each_server!(one_shard_away, one_shard_away_over_http);

/// A cluster whose shards are served without one another, and stay away if their primary does.
fn layout(server: Server) -> Layout {
    let layout = Layout::of(server).setting("cluster-require-full-coverage no");
    layout.setting("cluster-replica-no-failover yes")
}

async fn one_shard_away(server: Server) {
    let cluster = Cluster::start(layout(server)).await;
    // Where no gateway has ever told how many partitions there are, all of them are asked.
    drop(Setup::redis(&cluster.url()).start().await);
    let publisher = Publisher::builder(cluster.url()).timeout(Duration::from_secs(1)).connect().await.unwrap();
    let away = cluster.primary_of(slot_of("o/0")).await;
    let mut healthy = None;
    let mut away_partitions = BTreeSet::new();
    for n in 0..ADDRESSES {
        let address = format!("o/{n}");
        if cluster.primary_of(slot_of(&address)).await.addr() == away.addr() {
            away_partitions.insert(Partitions::CLUSTER.of(&address.parse().unwrap()).number());
        } else {
            healthy = healthy.or(Some(address));
        }
    }
    let healthy = healthy.expect("40 addresses are not all on one primary");
    away.freeze();
    let primary = cluster.primary_of(slot_of(&healthy)).await;
    let versions = async |node, address: &str| -> Vec<String> {
        stream(node, Partitions::CLUSTER, address).await.into_iter().map(|(version, _)| version).collect()
    };
    let mut expected: Vec<String> = Vec::new();
    // Each event is for both: no part waits for the other, nor an event for the other parts of
    // those before it.
    for version in 0..ROUNDS {
        expected.push(version.to_string());
        let event = Event::refresh("o/0").also_to(&healthy).version(version.to_string()).coalesce(false);
        publisher.notify(event);
        let came = async || versions(primary, &healthy).await == expected;
        eventually("the other partition has all so far", PATIENCE, came).await;
    }
    eventually("the backlog is seen to fail", PATIENCE, async || {
        let backlogs = publisher.stats().backlogs;
        backlogs.iter().any(|backlog| backlog.failures > 0)
    })
    .await;
    let backlogs = publisher.stats().backlogs;
    let [backlog] = &backlogs[..] else { panic!("{backlogs:?}") };
    assert!(away_partitions.contains(&backlog.partition.unwrap()), "{backlog:?}");
    assert_eq!(backlog.events, ROUNDS as u64);
    away.thaw();
    eventually("it has all, in order", PATIENCE, async || versions(away, "o/0").await == expected).await;
    publisher.shutdown(PATIENCE).await.unwrap();
    assert_eq!(publisher.stats().backlogs, []);
}

/// The same through a gateway, which answers for each event of a list within the time that the
/// publisher waits.
async fn one_shard_away_over_http(server: Server) {
    let cluster = Cluster::start(layout(server)).await;
    let gateway = Setup::redis(&cluster.url()).start().await;
    let publisher = Publisher::lazy(gateway.url()).unwrap();
    let silent = cluster.primary_of(slot_of("o/0")).await;
    let mut healthy = None;
    for n in 0..ADDRESSES {
        let address = format!("o/{n}");
        if cluster.primary_of(slot_of(&address)).await.addr() != silent.addr() {
            healthy = healthy.or(Some(address));
        }
    }
    let healthy = healthy.expect("40 addresses are not all on one primary");
    silent.freeze();
    let primary = cluster.primary_of(slot_of(&healthy)).await;
    let versions = async |node, address: &str| -> Vec<String> {
        stream(node, Partitions::CLUSTER, address).await.into_iter().map(|(version, _)| version).collect()
    };
    let mut expected: Vec<String> = Vec::new();
    for version in 0..5 {
        expected.push(version.to_string());
        for address in ["o/0", healthy.as_str()] {
            publisher.notify(Event::refresh(address).version(version.to_string()).coalesce(false));
        }
        let came = async || versions(primary, &healthy).await == expected;
        eventually("the other partition has all so far", PATIENCE, came).await;
        let taken = version + 1;
        let acknowledged = async || publisher.stats().published == taken;
        eventually("the gateway says so in time", PATIENCE, acknowledged).await;
    }
    silent.thaw();
    eventually("it has all, in order", PATIENCE, async || versions(silent, "o/0").await == expected).await;
    publisher.shutdown(PATIENCE).await.unwrap();
}
