//! Somebody writes to the keys and channels of an installation what no publisher would.

use tidings_tests::client::Options;
use tidings_tests::record::Record;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Standalone, eventually};

use crate::Stage;

/// Bytes that are no UTF-8.
const NO_TEXT: &[u8] = b"c - - - - {\"\xff\":1}";

async fn unreadable(gateway: &Gateway, place: &str) -> f64 {
    gateway.metrics().await.sum("tidings_unreadable_total", &[("in", place)])
}

/// Sends a command whose last argument is bytes.
async fn send(redis: &Standalone, command: &[&str], last: &[u8]) {
    let mut connection = redis.connection().await.unwrap();
    let mut request = redis::cmd(command[0]);
    for word in &command[1..] {
        request.arg(word);
    }
    let _: redis::Value = request.arg(last).query_async(&mut connection).await.unwrap();
}

fn resync(address: &str) -> (String, String) {
    (address.to_owned(), "history-lost".to_owned())
}

#[tokio::test]
async fn a_journal_entry_that_nobody_can_follow_keeps_no_gateway_down() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    for address in [&b"1/2/3/4/5/6/7/8/9"[..], b"a ", b"\xff"] {
        send(&stage.redis, &["XADD", "{tidings:0}:j", "*", "a"], address).await;
    }
    stage.redis.kill_clients("pubsub").await;
    eventually("the entries are counted", PATIENCE, async || unreadable(gateway, "journal").await >= 3.0).await;
    gateway.ready().await;
    client.got(stage.source.publish(&["a"]).await).await;
    assert_eq!(client.record().resyncs(), []);
}

#[tokio::test]
async fn a_stream_entry_that_is_no_text_resyncs_its_address_alone() {
    let stage = Stage::with(1, |setup| setup.with("replay.recent", "0")).await;
    let gateway = &stage.gateways[0];
    let witness = Client::open("witness", &[gateway.public()], &["a", "b"]);
    witness.ready().await;
    let cursor = witness.record().cursor().unwrap();
    let serial = stage.source.publish(&["a"]).await;
    // Or a client might begin before it, need no history, and have it live.
    witness.got(serial).await;
    send(&stage.redis, &["XADD", "{tidings:0}:t:b", "*", "m"], NO_TEXT).await;
    // They come together, so that one read serves them all.
    let names: Vec<String> = (0..20).map(|n| format!("late {n}")).collect();
    let open = |name: &String| Options::new(name, &[gateway.public()], &["a", "b"]).after(&cursor).open();
    let clients: Vec<Client> = names.iter().map(open).collect();
    for client in &clients {
        client.got(serial).await;
        client.ready().await;
        assert_eq!(client.record().resyncs(), [resync("b")]);
        assert_eq!(client.record().connections(), 1, "it was not turned away");
    }
    assert!(unreadable(gateway, "history").await > 0.0);
}

#[tokio::test]
async fn a_push_that_is_no_text_resyncs_its_address_alone() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    let client = Client::open("client", &[gateway.public()], &["a", "b"]);
    client.ready().await;
    send(&stage.redis, &["PUBLISH", "{tidings:0}:t:b"], NO_TEXT).await;
    send(&stage.redis, &["PUBLISH", "{tidings:0}:t:b"], b"no message").await;
    eventually("both are counted", PATIENCE, async || unreadable(gateway, "push").await >= 2.0).await;
    client.got(stage.source.publish(&["a"]).await).await;
    client.record().until("both are told", PATIENCE, |record| record.resyncs().len() == 2).await;
    assert_eq!(client.record().resyncs(), [resync("b"), resync("b")]);
}

#[tokio::test]
async fn an_epoch_that_is_none_begins_another_history() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    for epoch in [&b"no epoch"[..], b"\xff", b"zzzzz", b""] {
        let before = client.record().resyncs().len();
        send(&stage.redis, &["HSET", "{tidings:0}:e", "epoch"], epoch).await;
        let resynced = |record: &Record| record.resyncs().len() > before;
        client.record().until("it is resynced", PATIENCE, resynced).await;
        gateway.ready().await;
        client.got(stage.source.publish(&["a"]).await).await;
    }
}

#[tokio::test]
async fn a_history_that_cannot_be_read_is_resynced_after_a_few_tries() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    stage.redis.forbid("xrange").await;
    stage.redis.kill_clients("pubsub").await;
    let told = |record: &Record| record.resyncs() == [resync("a")];
    client.record().until("it is resynced", PATIENCE, told).await;
    gateway.ready().await;
    client.got(stage.source.publish(&["a"]).await).await;
    stage.redis.permit("xrange").await;
    assert_eq!(client.record().connections(), 1);
}
