//! How many partitions a namespace has: publishers follow the gateways, and gateways that differ never serve at once.

use std::collections::HashSet;

use tidings_publisher::{Partitions, Publisher};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Cluster, Gateway, Layout, Oracle, Server, Setup, Source, Standalone, eventually};

use super::cluster::slot_of;
use super::{CONVERGED, Stage, TOPICS};
use crate::on_each_server;

on_each_server!(
    publishers_of_other_counts,
    publishers_that_nobody_tells,
    count_changed_and_back,
    another_count_waits,
    frozen_while_it_changed,
    shard_away_while_it_changes,
);

fn gateway(url: &str, count: u16) -> Setup {
    Setup::redis(url).with("store.partitions", &count.to_string())
}

async fn source(url: &str, count: u16, oracle: &std::sync::Arc<Oracle>) -> Source {
    let publisher = Publisher::builder(url).partitions(Partitions::new(count).unwrap()).retries(30);
    Source::new(publisher.connect().await.unwrap(), oracle)
}

/// A gateway of 16 partitions that runs, one of 32 that has yet to, a client of both, and a publisher.
async fn two_counts(url: &str) -> Stage {
    let gateways = vec![gateway(url, 16).start().await, gateway(url, 32).start_unready().await];
    gateways[1].kill();
    let oracle = Oracle::of(Partitions::CLUSTER);
    let source = source(url, 16, &oracle).await;
    let topics: Vec<String> = (0..TOPICS).map(|n| format!("o/{n}")).collect();
    let client = Client::open("client", &[gateways[0].public(), gateways[1].public()], &topics);
    client.ready().await;
    Stage { gateways, oracle, source, topics, clients: vec![client] }
}

/// Nothing was neither delivered nor resynced, and the publisher noticed nothing. The order of ids is that of partitions,
/// and those are others each time.
async fn assert_nothing_lost(stage: &Stage) {
    let verdict = stage.oracle.settle([stage.clients[0].record()], CONVERGED).await;
    println!("{verdict}");
    assert_eq!((verdict.lost, stage.oracle.unacknowledged()), (0, 0), "{verdict}");
}

async fn publish_to_all(source: &Source, topics: &[String], client: &Client) {
    let mut serials = Vec::new();
    for topic in topics {
        serials.push(source.publish(&[topic]).await);
    }
    let all: Vec<&str> = topics.iter().map(String::as_str).collect();
    serials.push(source.publish(&all).await);
    for serial in serials {
        client.got(serial).await;
    }
}

async fn publishers_of_other_counts(server: Server) {
    let cluster = Cluster::start(server).await;
    let stage = Stage::over(&cluster.url(), Partitions::CLUSTER).await;
    for count in [32, 1, 16] {
        publish_to_all(&source(&cluster.url(), count, &stage.oracle).await, &stage.topics, &stage.clients[0]).await;
    }
    stage.assert_converged().await;
    assert_eq!(stage.clients[0].record().resyncs(), []);
}

/// The same without the mechanism: half of it is acknowledged, and comes to nobody.
async fn publishers_that_nobody_tells(server: Server) {
    let redis = Standalone::start(server).await;
    let gateway = gateway(&redis.url(), 16).without(&["partitions"]).start().await;
    let topics: Vec<String> = (0..TOPICS).map(|n| format!("o/{n}")).collect();
    let client = Client::open("client", &[gateway.public()], &topics);
    client.ready().await;
    let oracle = Oracle::of(Partitions::CLUSTER);
    let (other, same) = (source(&redis.url(), 32, &oracle).await, source(&redis.url(), 16, &oracle).await);
    for topic in &topics {
        other.publish(&[topic]).await;
    }
    // What came before it in its partition has come when this has.
    for topic in &topics {
        client.got(same.publish(&[topic]).await).await;
    }
    assert!(oracle.judge([client.record()]).lost > 0);
}

/// All gateways end and come again with another count, while events are published without a pause.
async fn count_changed_and_back(server: Server) {
    let cluster = Cluster::start(server).await;
    let stage = two_counts(&cluster.url()).await;
    let (client, gateways) = (&stage.clients[0], &stage.gateways);
    let all: HashSet<_> = stage.topics.iter().map(|topic| (topic.clone(), "cursor".to_owned())).collect();
    for (round, (from, to)) in [(0, 1), (1, 0)].into_iter().enumerate() {
        let before = client.record().resyncs().len();
        let changed = async {
            gateways[from].kill();
            gateways[to].start().await;
            gateways[to].ready().await;
            client.ready_times(round + 2).await;
        };
        stage.publish_through(changed).await;
        let told = |resyncs: &[(String, String)]| resyncs[before..].iter().cloned().collect::<HashSet<_>>();
        let record = client.record();
        record.until("all is resynced", PATIENCE, |record| told(&record.resyncs()).is_superset(&all)).await;
        publish_to_all(&stage.source, &stage.topics, client).await;
    }
    assert_nothing_lost(&stage).await;
}

/// A rolling update that changes the count halts at its first gateway, and disturbs nobody.
async fn another_count_waits(server: Server) {
    let redis = Standalone::start(server).await;
    let partitions = Partitions::CLUSTER;
    let setup = gateway(&redis.url(), 16);
    let stage = Stage::of(setup, Publisher::builder(redis.url()).partitions(partitions), partitions).await;
    let sessions = async |gateway: &Gateway| gateway.metrics().await.sum("tidings_store_reconnects_total", &[]);
    let before = sessions(&stage.gateways[0]).await;
    let other = gateway(&redis.url(), 32).start_unready().await;
    eventually("it says why it waits, and tries again", PATIENCE, async || {
        let (status, body) = other.admin_get("/readyz").await;
        let told = body.contains("the namespace has 16 partitions") && body.contains("store.partitions = 32");
        status == 503 && told && sessions(&other).await > 5.0
    })
    .await;
    stage.publish_through(std::future::ready(())).await;
    stage.assert_converged().await;
    for client in &stage.clients {
        assert_eq!(client.record().resyncs(), []);
    }
    assert_eq!(sessions(&stage.gateways[0]).await, before);
    // What is published through it goes by the count that there is.
    let through_it = Source::connect(&other.url(), &stage.oracle).await;
    publish_to_all(&through_it, &stage.topics, &stage.clients[0]).await;
    stage.gateways[0].kill();
    assert_eq!(other.admin_get("/readyz").await.0, 503, "one still goes by the count before");
    stage.gateways[1].kill();
    other.ready().await;
}

/// Its streams would stay open and hear of nothing.
async fn frozen_while_it_changed(server: Server) {
    let redis = Standalone::start(server).await;
    let stage = two_counts(&redis.url()).await;
    let (client, gateways) = (&stage.clients[0], &stage.gateways);
    let changed = async {
        gateways[0].freeze();
        gateways[1].start().await;
        gateways[1].ready().await;
        gateways[0].thaw();
        client.ready_times(2).await;
    };
    stage.publish_through(changed).await;
    let (status, body) = gateways[0].admin_get("/readyz").await;
    assert!(status == 503 && body.contains("the namespace has 32 partitions"), "{status} {body}");
    publish_to_all(&stage.source, &stage.topics, client).await;
    assert_nothing_lost(&stage).await;
}

/// A gateway of the same count serves what the other shards have; one of another count waits for all of them.
async fn shard_away_while_it_changes(server: Server) {
    let cluster = Cluster::start(Layout::of(server).setting("cluster-require-full-coverage no")).await;
    let first = gateway(&cluster.url(), 16).start().await;
    let slot = slot_of("o/0");
    let (primary, replica) = (cluster.primary_of(slot).await, cluster.replicas_of(slot).await[0]);
    let mut others = Vec::new();
    for topic in (0..TOPICS).map(|n| format!("o/{n}")) {
        if cluster.primary_of(slot_of(&topic)).await.addr() != primary.addr() {
            others.push(topic);
        }
    }
    let oracle = Oracle::of(Partitions::CLUSTER);
    let publisher = source(&cluster.url(), 16, &oracle).await;
    replica.kill();
    primary.kill();
    let same = gateway(&cluster.url(), 16).start_unready().await;
    let client = Client::open("client", &[same.public()], &others);
    client.ready().await;
    for topic in &others {
        client.got(publisher.publish(&[topic]).await).await;
    }
    first.kill();
    same.kill();
    let other = gateway(&cluster.url(), 32).start_unready().await;
    let away = primary.addr().to_string();
    eventually("it says for whom it waits", PATIENCE, async || {
        let (status, body) = other.admin_get("/readyz").await;
        status == 503 && body.contains("agreeing on the number of partitions") && body.contains(&away)
    })
    .await;
    primary.start().await;
    other.ready().await;
}
