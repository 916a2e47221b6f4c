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
    // One change, told to other addresses under the same key: another event, of which each address
    // is heard.
    for (serial, to) in [(4, vec!["b"]), (5, vec!["a", "b"])] {
        let receipt = source.send(event(&to, serial, 0).key("order 1 paid")).await.unwrap();
        assert!(!receipt.duplicate, "{to:?}: {receipt:?}");
        assert_eq!(receipt.ids.keys().collect::<Vec<_>>(), to, "an answer names what is stored");
        assert!(!first.ids.values().any(|id| receipt.ids.values().any(|other| other == id)), "{receipt:?}");
    }
    // In another order, and with doubles: the same addresses.
    let again = source.send(event(&["b", "a", "b"], 6, 0).key("order 1 paid")).await.unwrap();
    assert!(again.duplicate, "{again:?}");
    client.got(5).await;
    assert_eq!(client.record().serials(), [1, 3, 5], "{}", client.record());
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
