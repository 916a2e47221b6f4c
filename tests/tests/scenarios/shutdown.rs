//! SIGTERM: clients are sent away in order, and the process ends by itself.

use std::time::{Duration, Instant};

use tidings_tests::gateway::publics;
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, eventually};

use crate::{Stage, all_ready, memory};

#[tokio::test]
async fn clients_come_back_elsewhere_and_miss_nothing() {
    let stage = Stage::of(2).await;
    let publics = publics(&stage.gateways);
    let clients: Vec<Client> = (0..20).map(|n| Client::open(&format!("client {n}"), &publics, &["a", "b"])).collect();
    all_ready(&clients).await;
    stage.source.publish_many(&["a"], 10).await;
    let begun = Instant::now();
    stage.gateways[0].terminate();
    stage.source.publish_many(&["b"], 20).await;
    assert_eq!(stage.gateways[0].exit().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    for client in &clients {
        client.ready_times(2).await;
        let told = client.record().count(|what| matches!(what, What::Goodbye { reason } if reason == "drain"));
        assert_eq!(told, 1, "{}", client.record());
    }
    stage.source.publish_many(&["a"], 10).await;
    stage.oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn it_is_unready_during_its_grace_and_still_serves() {
    let (gateway, oracle, source) = memory(|setup| setup.with("drain.grace", "2s")).await;
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    gateway.terminate();
    eventually("it is not ready", PATIENCE, async || gateway.admin_get("/readyz").await.0 == 503).await;
    assert_eq!(client.record().count(|what| matches!(what, What::Goodbye { .. })), 0, "{}", client.record());
    let n = source.publish(&["a"]).await;
    client.got(n).await;
    assert_eq!(gateway.exit().await.code(), Some(0));
    client.record().until("is sent away", PATIENCE, |r| r.count(|w| matches!(w, What::Goodbye { .. })) == 1).await;
    oracle.judge([client.record()]).assert_all_delivered();
}

#[tokio::test]
async fn long_polls_end_too() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let begun = Instant::now();
    let http = reqwest::Client::new();
    let first: serde_json::Value = serde_json::from_str(&gateway.public_get("/v1/poll?topic=a").await.1).unwrap();
    let url =
        format!("http://{}/v1/poll?topic=a&wait=25s&cursor={}", gateway.public(), first["cursor"].as_str().unwrap());
    let poll = tokio::spawn(http.get(url).send());
    eventually("the poll waits", PATIENCE, async || gateway.metrics().await.sum("tidings_connections", &[]) > 0.0)
        .await;
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let answer = poll.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
}

#[tokio::test]
async fn a_hangup_ends_nothing() {
    let (gateway, oracle, source) = memory(|setup| setup).await;
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    gateway.hang_up();
    let logged = || gateway.log().iter().any(|line| line.contains("got SIGHUP"));
    eventually("it logs the signal", PATIENCE, async || logged() || !gateway.is_up()).await;
    assert!(gateway.is_up(), "SIGHUP ended it");
    source.publish(&["a"]).await;
    oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}
