//! What it costs to follow very much: subscriptions, and the way back after a break.

use std::time::Instant;

use tidings_tests::gateway::publics;
use tidings_tests::proxy::Cut;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, eventually};

use crate::{Stage, all_ready};

const CLIENTS: usize = 200;
const TOPICS: usize = 100;

/// 20,000 addresses, each followed by one client.
fn open(gateways: &[Gateway]) -> Vec<Client> {
    let topics = |client: usize| (0..TOPICS).map(|topic| name(client, topic)).collect::<Vec<_>>();
    let open = |client| Client::open(&format!("client {client}"), &publics(gateways), &topics(client));
    (0..CLIENTS).map(open).collect()
}

fn name(client: usize, topic: usize) -> String {
    format!("client/{client}/{topic}")
}

#[tokio::test]
async fn twenty_thousand_addresses_are_few_subscribe_commands() {
    let stage = Stage::of(1).await;
    let begun = Instant::now();
    let clients = open(&stage.gateways);
    all_ready(&clients).await;
    let took = begun.elapsed();
    let calls = stage.redis.calls("subscribe").await;
    println!("20,000 addresses followed in {took:?}, {calls} SUBSCRIBE");
    assert!(calls <= CLIENTS as u64 + 10, "{calls} SUBSCRIBE");
    // A page change: all leave, and come back within the linger.
    drop(clients);
    let connections = async || stage.gateways[0].metrics().await.sum("tidings_connections", &[]);
    eventually("all have left", PATIENCE, async || connections().await == 0.0).await;
    all_ready(&open(&stage.gateways)).await;
    assert_eq!(stage.redis.calls("subscribe").await, calls, "those who come back subscribe nothing");
    assert_eq!(stage.redis.calls("unsubscribe").await, 0);
}

#[tokio::test]
async fn the_way_back_costs_what_was_missed_not_what_is_followed() {
    const MISSED: u64 = 100;
    let (link, stage) = Stage::linked().await;
    let clients = open(&stage.gateways);
    all_ready(&clients).await;
    link.refuse();
    link.cut(Cut::Reset);
    let reads = async || stage.redis.calls("xrange").await + stage.redis.calls("xrevrange").await;
    let before = reads().await;
    for n in 0..MISSED as usize {
        stage.source.publish(&[&name(n, n)]).await;
    }
    link.accept();
    stage.gateways[0].ready().await;
    stage.oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
    let cost = reads().await - before;
    println!("{MISSED} events missed of 20,000 addresses: {cost} streams read");
    assert!(cost <= 4 * MISSED, "{cost} streams read for {MISSED} missed events");
}
