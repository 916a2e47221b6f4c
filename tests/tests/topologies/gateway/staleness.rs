//! How stale streams may be over a cluster: one working shard is enough to stay.

use tidings_publisher::{Partitions, Publisher};
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Cluster, Layout, Server, Setup};

use super::Stage;
use super::cluster::slot_of;

fn is_store_goodbye(what: &What) -> bool {
    matches!(what, What::Goodbye { reason } if reason == "store")
}

#[tokio::test]
async fn a_stream_of_which_one_shard_works_stays() {
    let layout = Layout::of(Server::Redis7).setting("cluster-require-full-coverage no");
    let cluster = Cluster::start(layout).await;
    let setup = Setup::redis(&cluster.url()).with("stream.max_stale", "2s");
    let stage = Stage::of(setup, Publisher::builder(cluster.url()), Partitions::CLUSTER).await;
    let slot = slot_of("o/0");
    let primary = cluster.primary_of(slot).await;
    let (mut gone, mut others) = (Vec::new(), Vec::new());
    for topic in stage.topics.clone() {
        let is_here = cluster.primary_of(slot_of(&topic)).await.addr() == primary.addr();
        if is_here { &mut gone } else { &mut others }.push(topic);
    }
    let lost = Client::open("lost", &[stage.gateways[0].public()], &gone);
    let both = Client::open("both", &[stage.gateways[0].public()], &[&gone[0], &others[0]]);
    lost.ready().await;
    both.ready().await;
    cluster.replicas_of(slot).await[0].kill();
    primary.kill();
    lost.record().until("is sent away", PATIENCE, |record| record.count(is_store_goodbye) > 0).await;
    let n = stage.source.publish(&[&others[0]]).await;
    for client in stage.clients.iter().chain([&both]) {
        client.got(n).await;
        let record = client.record();
        assert_eq!((record.count(is_store_goodbye), record.connections()), (0, 1), "{record}");
    }
    primary.start().await;
    cluster.settled().await;
    lost.ready_times(2).await;
    stage.publish_through(std::future::ready(())).await;
    stage.assert_converged().await;
}
