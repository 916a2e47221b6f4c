//! Over a cluster.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushKind};
use tidings_publisher::store::{Primaries, TlsFiles};
use tidings_publisher::{ErrorKind, Event, Namespace, Partitions, Publisher};
use tidings_shared::Address;
use tidings_shared::message::Delivered;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Cluster, Layout, Server, Setup, eventually};
use tokio::time::timeout;

use super::{ADDRESSES, assert_once, builder, hold_writes, publish_through, slot_of, stream, under_way};
use crate::on_each_server;

on_each_server!(crash, frozen, failover, slot_that_moves, slot_half_moved, channels, silent_node);

fn cluster_url(cluster: &Cluster) -> String {
    // Two of the six: the others are found.
    let nodes: Vec<_> = cluster.nodes()[2..4].iter().map(|node| node.addr().to_string()).collect();
    format!("redis+cluster://{}", nodes.join(","))
}

async fn assert_once_in_cluster(cluster: &Cluster, acknowledged: &HashMap<(String, String), String>) {
    for n in 0..ADDRESSES {
        let address = format!("o/{n}");
        let primary = cluster.primary_of(slot_of(&address)).await;
        assert_once(&address, &stream(primary, Partitions::CLUSTER, &address).await, acknowledged);
    }
}

async fn crash(server: Server) {
    let cluster = Cluster::start(server).await;
    let publisher = builder(&cluster_url(&cluster)).connect().await.unwrap();
    let acknowledged = publish_through(&publisher, async {
        under_way(&publisher).await;
        cluster.crash_failover(slot_of("o/0")).await;
    })
    .await;
    assert_once_in_cluster(&cluster, &acknowledged).await;
}

/// The primary keeps its connections and says nothing any more, for longer than a failover takes.
async fn frozen(server: Server) {
    let cluster = Cluster::start(server).await;
    let publisher = builder(&cluster_url(&cluster)).connect().await.unwrap();
    let slot = slot_of("o/0");
    let old = cluster.primary_of(slot).await;
    let acknowledged = publish_through(&publisher, async {
        under_way(&publisher).await;
        hold_writes(old).await;
        old.freeze();
        let other = async || cluster.primary_of(slot).await.addr() != old.addr();
        eventually("another primary", PATIENCE, other).await;
    })
    .await;
    assert_once_in_cluster(&cluster, &acknowledged).await;
    old.thaw();
}

async fn failover(server: Server) {
    let cluster = Cluster::start(server).await;
    let publisher = builder(&cluster_url(&cluster)).connect().await.unwrap();
    let acknowledged = publish_through(&publisher, async {
        under_way(&publisher).await;
        cluster.failover(slot_of("o/0")).await;
    })
    .await;
    assert_once_in_cluster(&cluster, &acknowledged).await;
}

async fn slot_that_moves(server: Server) {
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

async fn slot_half_moved(server: Server) {
    let cluster = Cluster::start(server).await;
    let publisher = Publisher::builder(cluster_url(&cluster)).retries(0).connect().await.unwrap();
    publisher.publish(Event::refresh("o/0")).await.unwrap();
    let slot = slot_of("o/0");
    let from = cluster.primary_of(slot).await.addr();
    let to = cluster.nodes()[..3].iter().find(|node| node.addr() != from).unwrap();
    let migration = cluster.migration(slot, to).await;
    migration.move_keys().await;
    // All its keys are there: the old server says so, and the new one takes it for this once.
    let asked = publisher.publish(Event::refresh("o/0").version("asked")).await.unwrap();
    // One key, that of the retries, is nowhere yet: that waits for the end of the move.
    let event = || Event::refresh("o/0").key("k");
    let error = publisher.publish(event()).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("TRYAGAIN"), "{error}");
    let patient = builder(&cluster_url(&cluster)).connect().await.unwrap();
    let (waited, ()) = join(patient.publish(event()), migration.finish()).await;
    let ids: Vec<String> = stream(to, Partitions::CLUSTER, "o/0").await.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids[1..], [asked, waited.unwrap()].map(|receipt| receipt.ids["o/0"].to_string()));
}

async fn channels(server: Server) {
    let cluster = Cluster::start(server).await;
    let primaries = Primaries::new(&cluster.url().parse().unwrap(), TlsFiles::default(), PATIENCE).unwrap();
    let (primary, _) = primaries.of(slot_of("o/0")).await.unwrap();
    let (sender, mut pushes) = tokio::sync::mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new().set_push_sender(sender);
    let mut connection = primaries.connect(&primary, ProtocolVersion::RESP3, &config).await.unwrap();
    let address: Address = "o/0".parse().unwrap();
    let channel = Namespace::default().keys(Partitions::CLUSTER.of(&address)).stream(&address);
    redis::cmd("SSUBSCRIBE").arg(&channel).exec_async(&mut connection).await.unwrap();
    let publisher = Publisher::connect(cluster_url(&cluster)).await.unwrap();
    let receipt = publisher.publish(Event::refresh("o/0").also_to("o/1")).await.unwrap();
    let message = loop {
        let push = timeout(PATIENCE, pushes.recv()).await.unwrap().unwrap();
        if push.kind == PushKind::SMessage {
            break push.data;
        }
    };
    let texts: Vec<String> = message.into_iter().map(|text| redis::from_redis_value(text).unwrap()).collect();
    assert_eq!((texts[0].as_str(), Delivered::decode(&texts[1]).unwrap().id), (channel.as_str(), receipt.ids["o/0"]));
}

async fn silent_node(server: Server) {
    let cluster = Cluster::start(Layout::of(server).setting("cluster-node-timeout 60000")).await;
    // Where no gateway has ever told how many partitions there are, all of them are asked.
    drop(Setup::redis(&cluster.url()).start().await);
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
