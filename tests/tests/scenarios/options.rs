//! What a connection may ask for besides topics.

use serde_json::Value;
use tidings_shared::Event;
use tidings_tests::client::Options;
use tidings_tests::publish::event;
use tidings_tests::{Client, Source};

use crate::{Stage, memory};

async fn types(gateway: std::net::SocketAddr, source: &Source) {
    let client = Options::new("some types", &[gateway], &["a"]).with("types", "order.updated,order.gone").open();
    client.ready().await;
    for (n, kind) in ["order.updated", "order.new", "order.gone", "order", "order.updated"].iter().enumerate() {
        source.send(event(&["a"], n as u64, 0).event_type(*kind)).await.unwrap();
    }
    source.send(event(&["a"], 5, 0)).await.unwrap();
    source.send(event(&["a"], 6, 0).event_type("order.gone")).await.unwrap();
    client.got(6).await;
    assert_eq!(client.record().serials(), [0, 2, 4, 6], "{}", client.record());
    client.drop_connection();
    source.send(event(&["a"], 7, 0).event_type("order.new")).await.unwrap();
    source.send(event(&["a"], 8, 0).event_type("order.updated")).await.unwrap();
    client.got(8).await;
    assert_eq!(client.record().serials(), [0, 2, 4, 6, 8], "{}", client.record());
}

#[tokio::test]
async fn only_some_types() {
    let stage = Stage::of(1).await;
    types(stage.gateways[0].public(), &stage.source).await;
}

#[tokio::test]
async fn only_some_types_in_memory() {
    let (gateway, _, source) = memory(|setup| setup).await;
    types(gateway.public(), &source).await;
}

async fn tail(gateway: std::net::SocketAddr, source: &Source) {
    for n in 0..3 {
        source.send(event(&["a"], n, 0)).await.unwrap();
    }
    source.send(event(&["b"], 3, 0)).await.unwrap();
    let client = Options::new("with tail", &[gateway], &["a", "b", "never"]).with("tail", "1").open();
    client.ready().await;
    let mut before = client.record().serials();
    before.sort_unstable();
    assert_eq!(before, [2, 3], "the latest of each, before ready: {}", client.record());
    source.send(event(&["a"], 4, 0)).await.unwrap();
    client.got(4).await;
    assert_eq!(client.record().serials().len(), 3, "{}", client.record());
    assert_eq!(client.record().faults(), [""; 0]);
}

#[tokio::test]
async fn the_latest_of_each_first() {
    let stage = Stage::of(1).await;
    tail(stage.gateways[0].public(), &stage.source).await;
}

#[tokio::test]
async fn the_latest_of_each_first_in_memory() {
    let (gateway, _, source) = memory(|setup| setup).await;
    tail(gateway.public(), &source).await;
}

#[tokio::test]
async fn a_cursor_in_the_query_counts_and_the_header_wins() {
    let (gateway, _, source) = memory(|setup| setup).await;
    let page = Client::open("page", &[gateway.public()], &["a"]);
    page.ready().await;
    let start = page.record().cursor().unwrap();
    for n in 0..4 {
        source.send(event(&["a"], n, 0)).await.unwrap();
    }
    page.got(3).await;
    let messages = page.record().messages();
    let second = messages[1].cursor.clone().unwrap();
    let by_query = Options::new("query", &[gateway.public()], &["a"]).with("cursor", &start).open();
    by_query.got(3).await;
    assert_eq!(by_query.record().serials(), [0, 1, 2, 3]);
    let by_header = Options::new("header", &[gateway.public()], &["a"]).with("cursor", &start).after(&second).open();
    by_header.got(3).await;
    assert_eq!(by_header.record().serials(), [2, 3]);
}

#[tokio::test]
async fn an_event_comes_as_it_was_published() {
    let stage = Stage::of(1).await;
    let client = Client::open("client", &[stage.gateways[0].public()], &["orders/42"]);
    client.ready().await;
    let data =
        serde_json::from_str("{\"big\": 123456789012345678901234567890,\n \"text\": \"ü \\u2028 \\n\"}").unwrap();
    let full = Event::refresh("orders/42").event_type("order.updated").version("7").data(data).name("order");
    stage.source.send(full).await.unwrap();
    stage.source.send(event(&["orders/42"], 1, 0)).await.unwrap();
    client.got(1).await;
    let message = &client.record().messages()[0];
    assert_eq!((message.name.as_str(), message.addresses.as_slice()), ("order", &["orders/42".to_owned()][..]));
    let start = "{\"topic\":\"orders/42\",\"type\":\"order.updated\",\"version\":\"7\",\"time\":\"";
    assert!(message.data.starts_with(start), "{}", message.data);
    let end = "\",\"event\":\"order\",\"data\":{\"big\": 123456789012345678901234567890, \"text\": \"ü \\u2028 \\n\"}}";
    assert!(message.data.ends_with(end), "{}", message.data);
    let json: Value = serde_json::from_str(&message.data).unwrap();
    assert!(json["time"].as_str().unwrap().ends_with('Z'), "{}", message.data);
}
