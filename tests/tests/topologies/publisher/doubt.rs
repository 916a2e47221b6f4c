//! An answer that does not come leaves in doubt whether its event was published. The key settles that: a retry with it
//! publishes nothing twice, and one with another key does.

use std::time::{Duration, Instant};

use redis::RedisResult;
use tidings_publisher::{ErrorKind, Event, Namespace, Partitions, Publisher, Receipt};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Cluster, Node, Sentinel, Server, Standalone, eventually};

use super::stream;
use crate::on_each_server;

on_each_server!(sentinel_fails_over, cluster_fails_over, nobody_fails_over);

const ADDRESS: &str = "o/0";

/// Tries twice and gives up soon.
async fn hasty(url: &str) -> Publisher {
    let publisher = Publisher::builder(url).retries(1).timeout(Duration::from_millis(300)).connect().await.unwrap();
    // From here on an attempt is one message to one server, which knows the script.
    eventually("it is connected", PATIENCE, async || publisher.publish(Event::refresh(ADDRESS)).await.is_ok()).await;
    publisher
}

/// Publishes an event under one key for all calls, and its twin under another in each.
async fn publish(publisher: &Publisher, call: usize) -> Vec<Result<Receipt, tidings_publisher::Error>> {
    let kept = Event::refresh(ADDRESS).version("kept").key("one for all");
    let twin = Event::refresh(ADDRESS).version("twin").key(format!("call {call}"));
    publisher.publish_all(vec![kept, twin]).await
}

/// The primary takes both events while it stands still, and answers when nobody waits for it any more.
async fn leave_in_doubt(publisher: &Publisher, primary: &Node, partitions: Partitions) {
    primary.freeze();
    let start = Instant::now();
    for result in publish(publisher, 0).await {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "nobody hangs on a silent server");
    primary.thaw();
    let taken = async || versions(primary, partitions).await.len() == 2;
    eventually("what it was sent is published", PATIENCE, taken).await;
}

/// Waits until a replica has all that this primary has: it gets a later write.
async fn replicated(primary: &Node, partitions: Partitions) {
    let keys = Namespace::default().keys(partitions.of(&ADDRESS.parse().unwrap()));
    let mut connection = primary.connection().await.unwrap();
    let key = keys.idempotency("another");
    let written: RedisResult<(String, u32)> =
        redis::pipe().cmd("SET").arg(key).arg(1).cmd("WAIT").arg(1).arg(1_500).query_async(&mut connection).await;
    assert!(written.unwrap().1 > 0, "no replica has it");
}

/// Publishes again until it is acknowledged: the event is there once, and its twin is not.
async fn assert_settled(publisher: &Publisher, primary: &Node, partitions: Partitions) {
    let mut calls = 0;
    let mut kept = None;
    eventually("both are acknowledged", PATIENCE, async || {
        calls += 1;
        let mut results = publish(publisher, calls).await.into_iter();
        kept = results.next().and_then(Result::ok);
        kept.is_some() && results.all(|result| result.is_ok())
    })
    .await;
    let kept = kept.unwrap();
    assert!(kept.duplicate);
    let found = versions(primary, partitions).await;
    let ids =
        |of: &str| found.iter().filter(|(version, _)| version == of).map(|(_, id)| id.clone()).collect::<Vec<_>>();
    assert_eq!(ids("kept"), [kept.ids[ADDRESS].to_string()]);
    assert!(ids("twin").len() > 1, "another key does not tell a retry: {found:?}");
}

/// The events of this test in the stream.
async fn versions(primary: &Node, partitions: Partitions) -> Vec<(String, String)> {
    let mut found = stream(primary, partitions, ADDRESS).await;
    found.retain(|(version, _)| !version.is_empty());
    found
}

async fn sentinel_fails_over(server: Server) {
    let topology = Sentinel::start(server).await;
    let publisher = hasty(&topology.url()).await;
    let old = topology.primary().await;
    leave_in_doubt(&publisher, old, Partitions::ONE).await;
    replicated(old, Partitions::ONE).await;
    let new = topology.crash_failover().await;
    assert_settled(&publisher, new, Partitions::ONE).await;
}

async fn cluster_fails_over(server: Server) {
    let cluster = Cluster::start(server).await;
    let publisher = hasty(&cluster.url()).await;
    let slot = super::slot_of(ADDRESS);
    let old = cluster.primary_of(slot).await;
    leave_in_doubt(&publisher, old, Partitions::CLUSTER).await;
    replicated(old, Partitions::CLUSTER).await;
    cluster.crash_failover(slot).await;
    assert_settled(&publisher, cluster.primary_of(slot).await, Partitions::CLUSTER).await;
}

async fn nobody_fails_over(server: Server) {
    let redis = Standalone::start(server).await;
    let publisher = hasty(&redis.url()).await;
    leave_in_doubt(&publisher, &redis, Partitions::ONE).await;
    assert_settled(&publisher, &redis, Partitions::ONE).await;
}
