//! Over a cluster.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tidings_publisher::{Namespace, Partitions};
use tidings_tests::gateway::publics;
use tidings_tests::proxy::Way;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Cluster, Gateway, Layout, Node, Server, eventually};

use super::{Stage, cut_replicas_off};
use crate::on_each_server;

on_each_server!(slot_that_moves, slot_half_moved, lost_writes, shard_away, shard_silent, shard_silent_in_recovery);

pub(crate) fn slot_of(address: &str) -> u16 {
    Namespace::default().keys(Partitions::CLUSTER.of(&address.parse().unwrap())).slot()
}

/// How long a shard is away: longer than partitions may be deaf.
const AWAY: Duration = Duration::from_secs(10);

fn partition_of(address: &str) -> u64 {
    Partitions::CLUSTER.of(&address.parse().unwrap()).index() as u64
}

async fn slot_that_moves(server: Server) {
    let cluster = Cluster::start(server).await;
    let stage = Stage::over(&cluster.url(), Partitions::CLUSTER).await;
    let slot = slot_of("o/0");
    let from = cluster.primary_of(slot).await.addr();
    let to = cluster.nodes()[..3].iter().find(|node| node.addr() != from).unwrap();
    stage.publish_through(cluster.migrate(slot, to)).await;
    stage.assert_converged().await;
    // The other partitions are recovered by their journals.
    for client in &stage.clients {
        let record = client.record();
        let resynced = record.resynced();
        assert!(resynced.iter().all(|topic| slot_of(topic) == slot), "{record}");
    }
}

/// Its keys are in two places for longer than a deaf partition would be left alone.
async fn slot_half_moved(server: Server) {
    let cluster = Cluster::start(server).await;
    let stage = Stage::over(&cluster.url(), Partitions::CLUSTER).await;
    let slot = slot_of("o/0");
    let partition = Partitions::CLUSTER.of(&"o/0".parse().unwrap());
    let from = cluster.primary_of(slot).await.addr();
    let to = cluster.nodes()[..3].iter().find(|node| node.addr() != from).unwrap();
    let sessions = async || stage.gateways[0].metrics().await.sum("tidings_store_reconnects_total", &[]);
    let before = sessions().await;
    stage.source.publish(&["o/0"]).await;
    let migration = cluster.migration(slot, to).await;
    migration.move_keys().await;
    let begun = Instant::now();
    eventually("readiness names the partition for long, and it alone", PATIENCE, async || {
        let (status, body) = stage.gateways[0].strict_readiness().await;
        let down = body.matches(r#""up":false"#).count();
        let named = body.contains(&format!("partition {partition}: ")) && body.contains("ASK");
        status == 503 && down == 1 && named && begun.elapsed() > Duration::from_secs(3)
    })
    .await;
    let other = stage.topics.iter().find(|topic| slot_of(topic) != slot).unwrap();
    let serial = stage.source.publish(&[other]).await;
    stage.clients[0].got(serial).await;
    assert_eq!(sessions().await, before, "the other partitions go on over their connections");
    migration.finish().await;
    stage.publish_through(std::future::ready(())).await;
    stage.assert_converged().await;
}

/// One shard is dead, its replica too, for long: what the others have goes on as if nothing had happened.
async fn shard_away(server: Server) {
    without_a_shard(server, Node::kill).await;
}

/// Its primary takes connections and answers nothing.
async fn shard_silent(server: Server) {
    without_a_shard(server, Node::freeze).await;
}

/// Its primary falls silent when gateways are connected to it again, and are about to learn what they missed.
async fn shard_silent_in_recovery(server: Server) {
    let cluster = Cluster::start(Layout::of(server).proxied()).await;
    let stage = Stage::over(&cluster.url(), Partitions::CLUSTER).await;
    stage.publish_through(std::future::ready(())).await;
    let slot = slot_of("o/0");
    let primary = cluster.primary_of(slot).await;
    let lost = || stage.gateways.iter().flat_map(Gateway::log).filter(|line| line.contains("is broken")).count();
    // So that there is a while between two steps.
    primary.proxy().delay(Way::Up, Duration::from_millis(300));
    let before = primary.calls("ssubscribe").await;
    primary.kill_clients("pubsub").await;
    eventually("a gateway subscribes again", PATIENCE, async || primary.calls("ssubscribe").await > before).await;
    primary.proxy().freeze(Way::Down);
    let before = lost();
    for topic in &stage.topics {
        if cluster.primary_of(slot_of(topic)).await.addr() != primary.addr() {
            let serial = stage.source.publish(&[topic]).await;
            for client in &stage.clients {
                client.got(serial).await;
            }
        }
    }
    assert_eq!(lost(), before, "events of other shards came once the recovery was given up");
    eventually("a gateway gives its recovery up", PATIENCE, async || lost() > before).await;
    primary.proxy().delay(Way::Up, Duration::ZERO);
    primary.proxy().thaw();
    stage.publish_through(std::future::ready(())).await;
    stage.assert_converged().await;
}

async fn without_a_shard(server: Server, fault: fn(&Node)) {
    let cluster = Cluster::start(Layout::of(server).setting("cluster-require-full-coverage no")).await;
    let mut stage = Stage::over(&cluster.url(), Partitions::CLUSTER).await;
    stage.publish_through(std::future::ready(())).await;
    let slot = slot_of("o/0");
    let primary = cluster.primary_of(slot).await;
    let (mut gone, mut others) = (Vec::new(), Vec::new());
    for topic in stage.topics.clone() {
        let is_here = cluster.primary_of(slot_of(&topic)).await.addr() == primary.addr();
        if is_here { &mut gone } else { &mut others }.push(topic);
    }
    cluster.replicas_of(slot).await[0].kill();
    fault(primary);
    let (begun, mut late) = (Instant::now(), Duration::ZERO);
    for topic in others.iter().cycle() {
        let published = Instant::now();
        let serial = stage.source.publish(&[topic]).await;
        for client in &stage.clients {
            client.got(serial).await;
        }
        late = late.max(published.elapsed());
        if begun.elapsed() > AWAY {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("events of the other shards came within {late:?}");
    assert!(late < AWAY / 2, "an event of another shard took {late:?}");
    // Readiness names the partitions that are gone, and these alone.
    let is_gone = |partition: &serde_json::Value| partition["up"] == false;
    let homes: HashSet<u64> = gone.iter().map(|topic| partition_of(topic)).collect();
    let (status, body) = stage.gateways[0].strict_readiness().await;
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    let down = told["partitions"].as_array().unwrap().iter().filter(|partition| is_gone(partition));
    let down: HashSet<u64> = down.map(|partition| partition["partition"].as_u64().unwrap()).collect();
    assert!(status == 503 && down.is_superset(&homes), "{homes:?} are gone: {body}");
    assert!(others.iter().all(|topic| !down.contains(&partition_of(topic))), "{body}");
    // Who comes now gets a stream of what is there, and is told to come later for the rest.
    let gateways = publics(&stage.gateways);
    let new = Client::open("new", &gateways, &others);
    new.ready().await;
    stage.clients.push(new);
    stage.clients.push(Client::open("patient", &gateways, &gone));
    if primary.is_running() {
        primary.thaw();
    } else {
        primary.start().await;
    }
    cluster.settled().await;
    stage.clients[3].ready().await;
    stage.publish_through(std::future::ready(())).await;
    stage.assert_converged().await;
}

async fn lost_writes(server: Server) {
    let cluster = Cluster::start(server).await;
    let mut stage = Stage::over(&cluster.url(), Partitions::CLUSTER).await;
    let cursor = stage.cursor();
    stage.gateways[1].kill();
    let slot = slot_of("o/0");
    let old = cluster.primary_of(slot).await.addr();
    let mut befallen = HashSet::new();
    for topic in &stage.topics {
        if cluster.primary_of(slot_of(topic)).await.addr() == old {
            befallen.insert(topic.clone());
        }
    }
    cut_replicas_off(cluster.primary_of(slot).await).await;
    let lost = stage.source.publish_many(&["o/0"], 20).await;
    stage.clients[0].got(lost).await;
    cluster.crash_failover(slot).await;
    stage.all_come_back(&cursor).await;
    // What the other servers have is recovered by its journals.
    for client in &stage.clients {
        assert_eq!(client.record().resynced(), befallen, "{}", client.record());
    }
    assert!(!stage.clients[1].record().serials().contains(&lost), "the test lost nothing");
}
