//! Several addresses of one event, and several partitions.

use std::collections::BTreeSet;

use tidings_publisher::Publisher;
use tidings_shared::Partitions;
use tidings_tests::gateway::publics;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Oracle, Proxy, Setup, Source, Standalone};

use crate::{Stage, memory};

async fn once_with_topics(gateway: std::net::SocketAddr, source: &Source, oracle: &Oracle) {
    let both = Client::open("both", &[gateway], &["a", "@alice", "c"]);
    let one = Client::open("one", &[gateway], &["@alice"]);
    both.ready().await;
    one.ready().await;
    for _ in 0..50 {
        source.publish(&["@alice", "b", "a"]).await;
    }
    both.drop_connection();
    for _ in 0..50 {
        source.publish(&["@alice", "b", "a"]).await;
    }
    oracle.settle([both.record(), one.record()], PATIENCE).await.assert_all_delivered();
    let messages = both.record().messages();
    assert_eq!(messages.len(), 100, "{}", both.record());
    for message in &messages {
        let named: BTreeSet<&str> = message.addresses.iter().map(String::as_str).collect();
        assert_eq!(named, BTreeSet::from(["a", "@alice"]), "{}", message.data);
    }
    assert!(one.record().messages().iter().all(|message| !message.data.contains("topics")));
}

#[tokio::test]
async fn an_event_to_several_followed_addresses_comes_once() {
    let stage = Stage::of(1).await;
    once_with_topics(stage.gateways[0].public(), &stage.source, &stage.oracle).await;
}

#[tokio::test]
async fn an_event_to_several_followed_addresses_comes_once_in_memory() {
    let (gateway, oracle, source) = memory(|setup| setup).await;
    once_with_topics(gateway.public(), &source, &oracle).await;
}

#[tokio::test]
async fn four_partitions_resume_from_one_cursor() {
    let redis = Standalone::durable().await;
    let gateways = Setup::redis(&redis.url()).with("store.partitions", "4").start_many(2).await;
    let partitions = Partitions::new(4).unwrap();
    let oracle = Oracle::of(partitions);
    let publisher = Publisher::builder(redis.url()).partitions(partitions).connect().await.unwrap();
    let source = Source::new(publisher, &oracle);
    let topics: Vec<String> = (0..12).map(|n| format!("orders/{n}")).collect();
    let used: BTreeSet<u16> = topics.iter().map(|t| partitions.of(&t.parse().unwrap()).number()).collect();
    assert_eq!(used.len(), 4, "the topics must lie in all partitions for this test to show anything");
    let link = Proxy::start(gateways[0].public()).await;
    let clients: Vec<Client> = [vec![link.addr()], publics(&gateways)]
        .iter()
        .enumerate()
        .map(|(n, gateways)| Client::open(&format!("client {n}"), gateways, &topics))
        .collect();
    crate::all_ready(&clients).await;
    for round in 0..4 {
        for topic in &topics {
            source.publish(&[topic]).await;
            source.publish(&[topic, &topics[0]]).await;
        }
        match round {
            0 => link.cut(tidings_tests::proxy::Cut::Reset),
            1 => gateways[0].kill(),
            2 => gateways[0].start().await,
            _ => {}
        }
    }
    oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
}
