//! Behind Sentinel.

use tidings_publisher::Partitions;
use tidings_tests::{Gateway, Node, Sentinel, Server};

use super::{Stage, cut_replicas_off};
use crate::on_each_server;

on_each_server!(there_and_back, new_gateways);

/// The first primary takes over again without having been restarted, and no gateway saw the one in between.
async fn there_and_back(server: Server) {
    let topology = Sentinel::start(server).await;
    let mut stage = Stage::over(&topology.url(), Partitions::ONE).await;
    let cursor = stage.cursor();
    stage.gateways[1].kill();
    let first = topology.primary().await;
    let process = first.info("run_id").await;
    cut_replicas_off(first).await;
    let lost = stage.source.publish_many(&["o/0"], 20).await;
    stage.clients[0].got(lost).await;
    stage.gateways[0].kill();
    topology.failover().await;
    topology.settled().await;
    first.ask::<()>("ACL", &["SETUSER", "default", "+psync", "+sync", "+replconf"]).await.unwrap();
    // So that no other can.
    let others = topology.replicas().await.into_iter().filter(|node| node.addr() != first.addr());
    others.for_each(Node::kill);
    topology.failover().await;
    assert_eq!((topology.primary().await.addr(), first.info("run_id").await), (first.addr(), process));
    stage.gateways[0].start().await;
    stage.clients[0].ready_times(2).await;
    stage.all_come_back(&cursor).await;
    for client in &stage.clients {
        let record = client.record();
        let resynced = record.resynced();
        assert!(stage.topics.iter().all(|topic| resynced.contains(topic)), "{record}");
    }
    assert!(!stage.clients[1].record().serials().contains(&lost), "the test lost nothing");
}

/// All gateways are replaced while a failover is going on: none of them has known the old primary, which takes itself for
/// one for ten seconds more, and publishers are connected to it.
async fn new_gateways(server: Server) {
    let topology = Sentinel::start(server).await;
    let stage = Stage::over(&topology.url(), Partitions::ONE).await;
    stage.publish_through(std::future::ready(())).await;
    stage.gateways.iter().for_each(Gateway::kill);
    topology.failover().await;
    for gateway in &stage.gateways {
        gateway.start().await;
    }
    for client in &stage.clients {
        client.ready_times(2).await;
    }
    stage.publish_through(topology.settled()).await;
    stage.assert_converged().await;
}
