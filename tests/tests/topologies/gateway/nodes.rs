//! Nodes that come to a cluster and leave it under gateways that run.

use std::future::ready;
use std::net::SocketAddr;

use tidings_publisher::Partitions;
use tidings_tests::{Cluster, Node, Server};

use super::Stage;
use super::cluster::slot_of;
use crate::on_each_server;

on_each_server!(primary_added, replica_added, first_of_the_url_removed);

fn number_of(cluster: &Cluster, addr: SocketAddr) -> usize {
    cluster.nodes().iter().position(|node| node.addr() == addr).unwrap()
}

fn node_at(cluster: &Cluster, addr: SocketAddr) -> &Node {
    &cluster.nodes()[number_of(cluster, addr)]
}

async fn primary_added(server: Server) {
    let mut cluster = Cluster::start(server).await;
    let stage = Stage::over(&cluster.url(), Partitions::CLUSTER).await;
    let slots = [slot_of("o/0"), slot_of("o/1")];
    let growth = async {
        let added = cluster.add().await.addr();
        for slot in slots {
            cluster.migrate(slot, node_at(&cluster, added)).await;
        }
        added
    };
    let added = stage.publish_through(growth).await;
    assert_eq!(cluster.primary_of(slots[0]).await.addr(), added);
    stage.assert_converged().await;
    let through_it = stage.source.publish(&["o/0", "o/1"]).await;
    stage.clients[1].got(through_it).await;
    // It leaves as a primary that has a successor.
    cluster.add_replica(slots[0]).await;
    stage.publish_through(cluster.crash_failover(slots[0])).await;
    stage.assert_converged().await;
}

async fn replica_added(server: Server) {
    let mut cluster = Cluster::start(server).await;
    let stage = Stage::over(&cluster.url(), Partitions::CLUSTER).await;
    let slot = slot_of("o/0");
    let before = cluster.replicas_of(slot).await[0].addr();
    let added = stage.publish_through(async { cluster.add_replica(slot).await.addr() }).await;
    node_at(&cluster, before).kill();
    let new = stage.publish_through(cluster.crash_failover(slot)).await;
    assert_eq!(new.addr(), added);
    stage.assert_converged().await;
}

/// The one node by which gateways and publisher have found the cluster: what it is later says nothing of the cluster.
async fn first_of_the_url_removed(server: Server) {
    let mut cluster = Cluster::start(server).await;
    let (slot, home) = (slot_of("o/0"), cluster.primary_of(slot_of("o/0")).await.addr());
    let first = cluster.add().await.addr();
    cluster.migrate(slot, node_at(&cluster, first)).await;
    let stage = Stage::over(&format!("redis+cluster://{first}"), Partitions::CLUSTER).await;
    let removed = stage.publish_through(async {
        cluster.migrate(slot, node_at(&cluster, home)).await;
        let number = number_of(&cluster, first);
        cluster.remove(number).await
    });
    let removed = removed.await;
    stage.assert_converged().await;
    // It runs on and knows of no slot; all the same a failover is followed.
    stage.publish_through(cluster.failover(slot)).await;
    stage.assert_converged().await;
    drop(removed);
    stage.publish_through(ready(())).await;
    stage.publish_through(cluster.crash_failover(slot_of("o/1"))).await;
    stage.assert_converged().await;
}
