//! Gateways that are set to keep history for different times agree on the longest.

use std::time::Duration;

use serde_json::Value;
use tidings_publisher::Publisher;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Oracle, Setup, Source, Standalone, eventually};

async fn in_force(redis: &Standalone) -> (Option<String>, Option<String>) {
    redis.ask("HMGET", &["{tidings:0}:e", "age", "epoch"]).await.unwrap()
}

/// What readiness says of a retention that is not the gateway's own.
async fn told(gateway: &Gateway) -> Value {
    let body: Value = serde_json::from_str(&gateway.admin_get("/readyz").await.1).unwrap_or_default();
    body["retention"].clone()
}

fn logged(gateway: &Gateway) -> bool {
    gateway.log().iter().any(|line| line.contains("another retention is in force"))
}

#[tokio::test]
async fn gateways_of_different_ages_reconnect_without_a_resync() {
    let redis = Standalone::volatile().await;
    let setup = Setup::redis(&redis.url());
    let short = setup.clone().with("retention.age", "1h").with("retention.events", "50").start().await;
    let long = setup.clone().with("retention.age", "2h").with("retention.events", "40").start().await;
    let oracle = Oracle::new();
    let source = Source::new(Publisher::builder(redis.url()).connect().await.unwrap(), &oracle);
    let clients = [&short, &long].map(|gateway| Client::open("client", &[gateway.public()], &["a"]));
    for client in &clients {
        client.ready().await;
    }
    let before = in_force(&redis).await;
    assert_eq!(before.0.as_deref(), Some("7200000"));
    for _ in 0..5 {
        redis.kill_clients("pubsub").await;
        let n = source.publish(&["a"]).await;
        for client in &clients {
            client.got(n).await;
        }
        // Both have attached again, whichever came first.
        tokio::join!(short.ready(), long.ready());
    }
    assert_eq!(in_force(&redis).await, before);
    assert_eq!(clients.map(|client| client.record().resyncs().len()), [0, 0]);
    let events: String = redis.ask("HGET", &["{tidings:0}:e", "events"]).await.unwrap();
    assert_eq!(events, "50", "the most events too");
    for gateway in [&short, &long] {
        eventually("readiness and log say what is in force", PATIENCE, async || {
            let told = told(gateway).await;
            told["age_seconds"] == 7_200.0 && told["events"] == 50 && logged(gateway)
        })
        .await;
    }
    let alone = Standalone::volatile().await;
    let gateway = Setup::redis(&alone.url()).start().await;
    eventually("a beacon came", Duration::from_secs(20), async || {
        gateway.admin_get("/readyz").await.1.contains("beacon_age_seconds")
    })
    .await;
    assert!(told(&gateway).await.is_null() && !logged(&gateway));
}
