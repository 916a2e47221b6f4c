//! A poll is the same subscription as a stream, as JSON.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidings_tests::gateway::publics;
use tidings_tests::poller::{Answer, poll};
use tidings_tests::record::{Message, Record};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Oracle, Poller, Source};

use crate::{Stage, memory};

async fn ask(gateway: SocketAddr, query: &[(&str, &str)]) -> Answer {
    let query: Vec<_> = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    poll(&reqwest::Client::new(), gateway, &query).await.unwrap()
}

/// The data of each event. Which of its addresses comes first says nothing, so they are sorted.
fn data(record: &Record) -> Vec<(BTreeSet<String>, Value)> {
    let fields = |message: Message| {
        let mut json: Value = serde_json::from_str(&message.data).unwrap();
        let fields = json.as_object_mut().unwrap();
        fields.remove("topic");
        fields.remove("topics");
        (message.addresses.into_iter().collect(), json)
    };
    record.messages().into_iter().map(fields).collect()
}

async fn same_as_the_stream(gateways: &[SocketAddr], source: &Source, oracle: &Oracle) {
    let stream = Client::open("stream", gateways, &["a", "b"]);
    let poller = Poller::open("poller", gateways, &["a", "b"]);
    stream.ready().await;
    poller.ready().await;
    for _ in 0..20 {
        source.publish(&["a"]).await;
        source.publish(&["b", "a", "other"]).await;
        source.publish(&["b"]).await;
    }
    let records = [stream.record(), poller.record()];
    oracle.settle(records, PATIENCE).await.assert_all_delivered();
    assert_eq!(data(stream.record()), data(poller.record()));
}

#[tokio::test]
async fn gives_what_the_stream_gives() {
    let stage = Stage::of(2).await;
    same_as_the_stream(&publics(&stage.gateways), &stage.source, &stage.oracle).await;
}

#[tokio::test]
async fn gives_what_the_stream_gives_in_memory() {
    let (gateway, oracle, source) = memory(|setup| setup).await;
    same_as_the_stream(&[gateway.public()], &source, &oracle).await;
}

#[tokio::test]
async fn goes_on_at_another_gateway() {
    let stage = Stage::of(2).await;
    let poller = Poller::open("poller", &publics(&stage.gateways), &["a"]);
    poller.ready().await;
    stage.source.publish_many(&["a"], 10).await;
    stage.gateways[1].kill();
    stage.source.publish_many(&["a"], 10).await;
    stage.oracle.settle([poller.record()], PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn waits_as_long_as_it_is_told() {
    let (gateway, _, source) = memory(|setup| setup).await;
    let begun = Instant::now();
    let first = ask(gateway.public(), &[("topic", "a")]).await;
    assert!(first.events.is_empty() && begun.elapsed() < Duration::from_secs(2), "without a cursor it answers at once");
    let at_once = ask(gateway.public(), &[("topic", "a"), ("cursor", &first.cursor), ("wait", "0")]).await;
    assert!(at_once.events.is_empty());
    let begun = Instant::now();
    let waited = ask(gateway.public(), &[("topic", "a"), ("cursor", &first.cursor), ("wait", "1s")]).await;
    assert!(waited.events.is_empty() && begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let query = [("topic", "a"), ("cursor", waited.cursor.as_str()), ("wait", "20s")];
    let (answer, _) = tokio::join!(ask(gateway.public(), &query), source.publish(&["a"]));
    assert_eq!(answer.events.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(10), "an event ends the wait: {:?}", begun.elapsed());
    let again = ask(gateway.public(), &[("topic", "a"), ("cursor", &waited.cursor), ("wait", "0")]).await;
    assert_eq!(again.events.len(), 1, "the same cursor gives the same again");
}

#[tokio::test]
async fn tells_of_a_useless_cursor() {
    let (gateway, _, source) = memory(|setup| setup).await;
    source.publish(&["a"]).await;
    let answer =
        ask(gateway.public(), &[("topic", "a"), ("topic", "b"), ("cursor", "nonsense"), ("wait", "10s")]).await;
    let told: Vec<String> = answer.events.iter().map(ToString::to_string).collect();
    let resync = |topic: &str| format!("{{\"topic\":\"{topic}\",\"resync\":true,\"reason\":\"cursor\"}}");
    assert_eq!(told, [resync("a"), resync("b")]);
    let then =
        ask(gateway.public(), &[("topic", "a"), ("topic", "b"), ("cursor", &answer.cursor), ("wait", "0")]).await;
    assert!(then.events.is_empty());
}
