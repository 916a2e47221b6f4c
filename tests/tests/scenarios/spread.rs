//! An event that is spread comes to each client at a moment of its own, and to all of them.

use std::time::{Duration, Instant};

use tidings_tests::gateway::publics;
use tidings_tests::publish::event;
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, eventually};

use crate::{Stage, all_ready, memory};

const HOUR: Duration = Duration::from_secs(3_600);

/// The time between the first and the last client that got this event.
fn between(clients: &[Client], n: u64) -> Duration {
    let moment = |client: &Client| {
        client.record().look(|entries| {
            let got = entries.iter().find(|entry| matches!(&entry.what, What::Message(m) if m.n == Some(n)));
            got.expect("it got the event").at
        })
    };
    let moments: Vec<u64> = clients.iter().map(moment).collect();
    Duration::from_micros(moments.iter().max().unwrap() - moments.iter().min().unwrap())
}

fn clients(count: usize, gateways: &[std::net::SocketAddr], topics: &[&str]) -> Vec<Client> {
    (0..count).map(|n| Client::open(&format!("client {n}"), gateways, topics)).collect()
}

async fn delayed(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("tidings_delayed", &[])
}

#[tokio::test]
async fn to_each_at_a_moment_of_its_own() {
    let stage = Stage::of(2).await;
    let clients = clients(20, &publics(&stage.gateways), &["news", "orders/1"]);
    all_ready(&clients).await;
    let spread = stage.source.spread(&["news"], Duration::from_secs(3), false).await;
    let at_once = stage.source.publish(&["orders/1"]).await;
    for client in &clients {
        client.got(spread).await;
        client.got(at_once).await;
    }
    // That 20 moments of 3 s lie so close by chance happens less than once in 100 million runs.
    assert!(between(&clients, spread) > Duration::from_secs(1), "{:?}", between(&clients, spread));
    stage.oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn as_the_configuration_says_of_the_topic() {
    let (gateway, oracle, source) = memory(|setup| setup.with("stream.spread", "news/*=3s, **=0s")).await;
    let clients = clients(20, &[gateway.public()], &["news/today"]);
    all_ready(&clients).await;
    let spread = source.spread_by_topic(&["news/today"]).await;
    for client in &clients {
        client.got(spread).await;
    }
    assert!(between(&clients, spread) > Duration::from_secs(1), "{:?}", between(&clients, spread));
    // The event's own wins.
    let at_once = source.spread(&["news/today"], Duration::ZERO, false).await;
    for client in &clients {
        client.got(at_once).await;
    }
    oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn a_newer_event_takes_its_place_and_what_may_not_be_coalesced_comes_in_order() {
    let (gateway, oracle, source) = memory(|setup| setup).await;
    let clients = clients(5, &[gateway.public()], &["a", "b"]);
    all_ready(&clients).await;
    source.spread(&["a"], HOUR, true).await;
    source.refresh(&["a"], 0).await;
    for _ in 0..10 {
        source.spread(&["b"], Duration::from_secs(1), false).await;
    }
    let verdict = oracle.settle(clients.iter().map(Client::record), PATIENCE).await;
    verdict.assert_kept();
    assert_eq!((verdict.covered, verdict.resynced), (5, 0), "{verdict}");
    eventually("nothing is held back any more", PATIENCE, async || delayed(&gateway).await == 0.0).await;
}

#[tokio::test]
async fn what_is_held_back_outlives_connection_and_gateway() {
    let stage = Stage::of(2).await;
    let gateways = stage.gateways;
    // All begin at the first gateway, and go on at the second.
    let clients = clients(6, &publics(&gateways), &["a", "b"]);
    all_ready(&clients).await;
    let held = stage.source.spread(&["a"], HOUR, false).await;
    let passes = stage.source.publish(&["b"]).await;
    for client in &clients {
        client.got(passes).await;
        assert!(!client.record().serials().contains(&held), "{}", client.record());
    }
    eventually("they are counted", PATIENCE, async || delayed(&gateways[0]).await == 6.0).await;
    clients[..3].iter().for_each(Client::drop_connection);
    for client in &clients[..3] {
        client.got(held).await;
    }
    eventually("those that left are not", PATIENCE, async || delayed(&gateways[0]).await == 3.0).await;
    gateways[0].terminate();
    assert_eq!(gateways[0].exit().await.code(), Some(0));
    for client in &clients {
        client.got(held).await;
    }
    stage.oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
    assert_eq!(delayed(&gateways[1]).await, 0.0, "what is replayed goes at once");
}

/// Ids have whole milliseconds, and so has the age of what is replayed.
const ROUNDING: Duration = Duration::from_millis(2);

#[tokio::test]
async fn a_delay_is_over_before_anybody_gets_the_event() {
    let stage = Stage::of(2).await;
    // Both begin at the first gateway; the one that reconnects goes on at the second.
    let clients = clients(2, &publics(&stage.gateways), &["a"]);
    all_ready(&clients).await;
    let (began, delay) = (Instant::now(), Duration::from_secs(3));
    stage.source.send(event(&["a"], 1, 0).delay(delay).sender("tab 7")).await.unwrap();
    eventually("both wait", PATIENCE, async || delayed(&stage.gateways[0]).await == 2.0).await;
    clients[1].drop_connection();
    for client in &clients {
        client.got(1).await;
        assert!(began.elapsed() + ROUNDING >= delay, "after {:?}: {}", began.elapsed(), client.record());
        let messages = client.record().messages();
        let json: serde_json::Value = serde_json::from_str(&messages[0].data).unwrap();
        assert_eq!((messages.len(), json["sender"].as_str()), (1, Some("tab 7")), "{}", client.record());
    }
}

#[tokio::test]
async fn a_delay_comes_before_the_spread_of_the_topic() {
    let (gateway, _, source) = memory(|setup| setup.with("stream.spread", "news=100ms")).await;
    let clients = clients(2, &[gateway.public()], &["news"]);
    all_ready(&clients).await;
    let (began, delay) = (Instant::now(), Duration::from_secs(1));
    source.send(event(&["news"], 1, 0).delay(delay)).await.unwrap();
    for client in &clients {
        client.got(1).await;
        assert!(began.elapsed() >= delay, "after {:?}: {}", began.elapsed(), client.record());
    }
}
