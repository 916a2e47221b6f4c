//! What is published once reaches every client that follows it, on every gateway.

use tidings_tests::gateway::publics;
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Oracle, Source};

use crate::{Stage, all_ready, memory};

const TOPICS: [&str; 6] = ["orders/1", "orders/2", "news", "@alice", "@alice/inbox", "@zoë & co"];

/// Clients spread over the gateways; each follows two addresses.
fn clients(count: usize, gateways: &[std::net::SocketAddr]) -> Vec<Client> {
    let open = |n: usize| {
        let mut gateways = gateways.to_vec();
        let turn = n % gateways.len();
        gateways.rotate_left(turn);
        let follows = [TOPICS[n % TOPICS.len()], TOPICS[(n + 1) % TOPICS.len()]];
        Client::open(&format!("client {n}"), &gateways, &follows)
    };
    (0..count).map(open).collect()
}

async fn all_hear(clients: &[Client], source: &Source, oracle: &Oracle) {
    all_ready(clients).await;
    for n in 0..180 {
        source.publish(&[TOPICS[n % TOPICS.len()]]).await;
    }
    let verdict = oracle.settle(clients.iter().map(Client::record), PATIENCE).await;
    verdict.assert_all_delivered();
    assert_eq!(verdict.pairs, clients.len() * 60);
    for client in clients {
        assert_eq!(client.record().count(|what| matches!(what, What::Lost { .. })), 0, "{}", client.record());
    }
}

#[tokio::test]
async fn three_gateways_one_redis() {
    let stage = Stage::of(3).await;
    all_hear(&clients(30, &publics(&stage.gateways)), &stage.source, &stage.oracle).await;
}

#[tokio::test]
async fn one_gateway_in_memory() {
    let (gateway, oracle, source) = memory(|setup| setup).await;
    all_hear(&clients(12, &[gateway.public()]), &source, &oracle).await;
}

#[tokio::test]
async fn published_through_any_gateway() {
    let stage = Stage::of(3).await;
    let clients = clients(6, &publics(&stage.gateways));
    all_ready(&clients).await;
    for gateway in &stage.gateways {
        let source = Source::connect(&gateway.url(), &stage.oracle).await;
        for topic in TOPICS {
            source.publish(&[topic]).await;
        }
    }
    stage.oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn what_is_published_right_after_ready_arrives() {
    let stage = Stage::of(2).await;
    let mut clients = Vec::new();
    for n in 0..100 {
        // An address that no gateway knew: it must be subscribed before ready is said.
        let topic = format!("fresh/{n}");
        let client = Client::open(&topic, &publics(&stage.gateways), &[&topic]);
        client.ready().await;
        stage.source.publish(&[&topic]).await;
        clients.push(client);
    }
    let verdict = stage.oracle.settle(clients.iter().map(Client::record), PATIENCE).await;
    verdict.assert_all_delivered();
    assert_eq!(verdict.pairs, 100);
}

#[tokio::test]
async fn a_client_hears_only_what_it_follows() {
    let (gateway, oracle, source) = memory(|setup| setup).await;
    let client = Client::open("client", &[gateway.public()], &["orders/1"]);
    client.ready().await;
    for near in ["orders", "orders/11", "orders/1/x", "@orders", "Orders/1"] {
        source.publish(&[near]).await;
    }
    let last = source.publish(&["orders/1"]).await;
    client.got(last).await;
    assert_eq!(client.record().serials(), [last]);
    oracle.judge([client.record()]).assert_all_delivered();
}
