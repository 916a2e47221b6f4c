//! Behind Sentinel.

use tidings_publisher::Partitions;
use tidings_tests::{Node, Sentinel, Server};

use super::{Stage, cut_replicas_off};
use crate::on_each_server;

on_each_server!(crash, failover, there_and_back, lost_writes, frozen);

async fn crash(server: Server) {
    let topology = Sentinel::start(server).await;
    let mut stage = Stage::over(&topology.url(), Partitions::ONE).await;
    let cursor = stage.cursor();
    stage.publish_through(topology.crash_failover()).await;
    stage.come_back(&cursor).await;
    stage.assert_converged().await;
}

async fn failover(server: Server) {
    let topology = Sentinel::start(server).await;
    let stage = Stage::over(&topology.url(), Partitions::ONE).await;
    stage.publish_through(topology.failover()).await;
    stage.assert_converged().await;
}

/// The primary keeps its connections and says nothing any more.
async fn frozen(server: Server) {
    let topology = Sentinel::start(server).await;
    let stage = Stage::over(&topology.url(), Partitions::ONE).await;
    let old = topology.primary().await;
    stage
        .publish_through(async {
            old.freeze();
            tidings_tests::eventually("another primary", tidings_tests::wait::PATIENCE, async || {
                topology.primary().await.addr() != old.addr()
            })
            .await;
        })
        .await;
    stage.assert_converged().await;
    old.thaw();
}

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

async fn lost_writes(server: Server) {
    let topology = Sentinel::start(server).await;
    let mut stage = Stage::over(&topology.url(), Partitions::ONE).await;
    let cursor = stage.cursor();
    // Its client will come back with the place that it has now.
    stage.gateways[1].kill();
    cut_replicas_off(topology.primary().await).await;
    let lost = stage.source.publish_many(&["o/0"], 20).await;
    stage.clients[0].got(lost).await;
    topology.crash_failover().await;
    stage.all_come_back(&cursor).await;
    for client in &stage.clients {
        let record = client.record();
        let resynced = record.resynced();
        assert!(stage.topics.iter().all(|topic| resynced.contains(topic)), "{record}");
    }
    assert!(!stage.clients[1].record().serials().contains(&lost), "the test lost nothing");
}
