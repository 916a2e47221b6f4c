//! Beacons leave marks by which gateways notice that history went back. Whatever else happens to gateways and their
//! connections must not look like that.

use std::collections::HashMap;

use tidings_publisher::Publisher;
use tidings_tests::proxy::{Cut, Way};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Layout, Oracle, Server, Setup, Source, Standalone, eventually};

const HASH: &str = "{tidings:0}:e";

/// The hash of the epoch.
async fn hash(redis: &Standalone) -> HashMap<String, String> {
    redis.ask("HGETALL", &[HASH]).await.unwrap()
}

/// The number that each gateway's last beacon left.
async fn marks(redis: &Standalone) -> HashMap<String, u64> {
    let number = |value: &str| value.split_once(' ').and_then(|(number, _)| number.parse().ok());
    let marks = hash(redis).await.into_iter().filter(|(field, _)| field.starts_with("b:"));
    marks.map(|(field, value)| (field, number(&value).expect("a number and a time"))).collect()
}

/// Waits until beacons of so many gateways have left so many more marks.
async fn more_marks(redis: &Standalone, gateways: usize, more: u64) {
    let before = marks(redis).await;
    eventually("beacons go on", PATIENCE, async || {
        let now = marks(redis).await;
        let risen = now.iter().filter(|(field, now)| **now >= before.get(*field).copied().unwrap_or(0) + more);
        risen.count() >= gateways
    })
    .await;
}

async fn source(url: &str, oracle: &std::sync::Arc<Oracle>) -> Source {
    Source::new(Publisher::builder(url).retries(30).connect().await.unwrap(), oracle)
}

#[tokio::test]
async fn a_gateway_that_stood_still_for_several_beacons_finds_its_history_unchanged() {
    let redis = Standalone::volatile().await;
    let oracle = Oracle::new();
    let source = source(&redis.url(), &oracle).await;
    let gateways = Setup::redis(&redis.url()).start_many(2).await;
    let clients = [0, 1].map(|n| Client::open(&format!("client {n}"), &[gateways[n].public()], &["a"]));
    for client in &clients {
        client.ready().await;
    }
    more_marks(&redis, 2, 1).await;
    let before = hash(&redis).await["epoch"].clone();
    gateways[0].freeze();
    more_marks(&redis, 1, 6).await;
    let n = source.publish(&["a"]).await;
    gateways[0].thaw();
    more_marks(&redis, 2, 2).await;
    for client in &clients {
        client.got(n).await;
        assert_eq!(client.record().resyncs(), []);
    }
    assert_eq!(hash(&redis).await["epoch"], before);
}

#[tokio::test]
async fn answers_to_beacons_that_are_lost_are_no_other_history() {
    let redis = Standalone::start(Layout::of(Server::Redis7).proxied()).await;
    let oracle = Oracle::new();
    let source = source(&redis.url_behind(), &oracle).await;
    let gateway = Setup::redis(&redis.url()).start().await;
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    let before = hash(&redis).await["epoch"].clone();
    for _ in 0..3 {
        more_marks(&redis, 1, 1).await;
        redis.proxy().freeze(Way::Down);
        // These are not answered.
        more_marks(&redis, 1, 2).await;
        redis.proxy().cut(Cut::Reset);
        redis.proxy().thaw();
        let n = source.publish(&["a"]).await;
        client.got(n).await;
    }
    more_marks(&redis, 1, 2).await;
    assert_eq!(client.record().resyncs(), []);
    assert_eq!(hash(&redis).await["epoch"], before);
}
