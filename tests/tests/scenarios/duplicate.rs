//! Of several publishes with one idempotency key, the first counts.

use tidings_tests::publish::event;
use tidings_tests::{Client, Source};

use crate::{Stage, memory};

async fn one_delivery(client: &Client, source: &Source) {
    client.ready().await;
    let first = source.send(event(&["a"], 1, 0).key("order 1 paid")).await.unwrap();
    assert!(!first.duplicate);
    let again = source.send(event(&["a"], 2, 0).key("order 1 paid")).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(again.ids, first.ids);
    let other = source.send(event(&["a"], 3, 0).key("order 1 sent")).await.unwrap();
    assert!(!other.duplicate && other.ids > first.ids);
    client.got(3).await;
    assert_eq!(client.record().serials(), [1, 3], "{}", client.record());
}

#[tokio::test]
async fn on_redis() {
    let stage = Stage::of(1).await;
    one_delivery(&Client::open("client", &[stage.gateways[0].public()], &["a"]), &stage.source).await;
}

#[tokio::test]
async fn through_gateways() {
    let stage = Stage::of(2).await;
    let client = Client::open("client", &[stage.gateways[0].public()], &["a"]);
    let source = Source::connect(&stage.gateways[1].url(), &stage.oracle).await;
    one_delivery(&client, &source).await;
}

#[tokio::test]
async fn in_memory() {
    let (gateway, _, source) = memory(|setup| setup).await;
    one_delivery(&Client::open("client", &[gateway.public()], &["a"]), &source).await;
}
