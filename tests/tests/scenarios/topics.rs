//! A connection may follow up to `limits.topics` addresses.

use tidings_tests::gateway::publics;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, http};

use crate::{Stage, memory};

fn topics(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("orders/{n}")).collect()
}

#[tokio::test]
async fn a_hundred_on_one_connection() {
    let stage = Stage::of(2).await;
    let topics = topics(100);
    let clients = ["one", "two", "three"].map(|name| Client::open(name, &publics(&stage.gateways), &topics));
    for client in &clients {
        client.ready().await;
    }
    for topic in &topics {
        stage.source.publish(&[topic]).await;
    }
    for client in &clients {
        client.drop_connection();
    }
    for topic in &topics {
        stage.source.publish(&[topic]).await;
    }
    let verdict = stage.oracle.settle(clients.iter().map(Client::record), PATIENCE).await;
    verdict.assert_all_delivered();
    assert_eq!(verdict.pairs, 600);
}

#[tokio::test]
async fn the_ready_event_names_each_once() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let query: Vec<_> = ["b", "a", "b", "@zoë"].iter().map(|t| ("topic".to_owned(), (*t).to_owned())).collect();
    let transport = http::Transport::of_environment();
    let target = http::target("/v1/events", &query);
    let mut response = transport.get(gateway.public(), None, &target, &[]).await.unwrap();
    let mut text = String::new();
    while !text.contains("tidings.ready") || !text.ends_with("\n\n") {
        match response.body.next().await.unwrap() {
            http::Part::Bytes(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
            end => panic!("{end:?} after {text}"),
        }
    }
    assert!(text.starts_with("retry: "), "{text}");
    assert!(text.contains("\"topics\":[\"b\",\"a\",\"@zoë\"]"), "{text}");
}

#[tokio::test]
async fn one_too_many_is_refused_and_says_so() {
    let (gateway, _, _) = memory(|setup| setup.with("limits.topics", "5")).await;
    let query: Vec<_> = topics(6).into_iter().map(|topic| ("topic".to_owned(), topic)).collect();
    let (status, text) = gateway.public_get(&http::target("/v1/events", &query)).await;
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &problem["field"]), (400, &"topic".into()), "{text}");
    assert!(
        problem["value"].as_str().unwrap().contains('6') && problem["expected"].as_str().unwrap().contains('5'),
        "{text}"
    );
    assert_eq!(gateway.public_get(&http::target("/v1/poll", &query[..5])).await.0, 200);
}
