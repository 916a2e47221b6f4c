//! The tab that made a change need not hear of it, and misses nothing of what others made.

use std::net::SocketAddr;
use std::time::Duration;

use tidings_tests::client::Options;
use tidings_tests::gateway::publics;
use tidings_tests::poller::poll;
use tidings_tests::publish::event;
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Source};

use crate::{Stage, memory};

async fn from(source: &Source, n: u64, sender: &str) {
    source.send(event(&["a"], n, 0).sender(sender)).await.unwrap();
}

fn without(gateways: &[SocketAddr], senders: &[&str]) -> Client {
    let options = Options::new("without", gateways, &["a"]).retry_at_most(Duration::from_millis(200));
    senders.iter().fold(options, |options, sender| options.with("not", sender)).open()
}

#[tokio::test]
async fn events_of_a_sender_are_skipped_live_and_in_a_replay() {
    let stage = Stage::of(2).await;
    let client = without(&publics(&stage.gateways), &["me", "also me"]);
    client.ready().await;
    for (n, sender) in [(0, "me"), (1, "other"), (2, "also me")] {
        from(&stage.source, n, sender).await;
    }
    // One that names no sender is nobody's.
    stage.source.send(event(&["a"], 3, 0)).await.unwrap();
    client.got(3).await;
    client.leave();
    let lost = |what: &What| matches!(what, What::Lost { .. });
    client.record().until("has left", PATIENCE, |record| record.count(lost) == 1).await;
    for (n, sender) in [(4, "other"), (5, "me"), (6, "other"), (7, "me")] {
        from(&stage.source, n, sender).await;
    }
    client.come_back();
    client.got(6).await;
    client.ready_times(2).await;
    from(&stage.source, 8, "other").await;
    client.got(8).await;
    assert_eq!(client.record().serials(), [1, 3, 4, 6, 8], "{}", client.record());
    assert_eq!(client.record().resyncs(), [], "{}", client.record());
}

#[tokio::test]
async fn a_poll_skips_them_and_its_cursor_moves_on() {
    let (gateway, _, source) = memory(|setup| setup).await;
    let http = reqwest::Client::new();
    let ask = async |cursor: &str| {
        let query = [("topic", "a"), ("not", "me"), ("wait", "0"), ("cursor", cursor)];
        let query: Vec<_> = query.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        poll(&http, gateway.public(), &query).await.unwrap()
    };
    let before = ask("").await.cursor;
    from(&source, 0, "me").await;
    let skipped = ask(&before).await;
    assert!(skipped.events.is_empty() && skipped.cursor != before, "{skipped:?}");
    from(&source, 1, "other").await;
    from(&source, 2, "me").await;
    let answer = ask(&skipped.cursor).await;
    assert!(answer.events.len() == 1 && answer.events[0].get().contains("\"sender\":\"other\""), "{answer:?}");
}

#[tokio::test]
async fn tail_skips_them_and_resyncs_come_all_the_same() {
    let (gateway, _, source) = memory(|setup| setup.with("stream.resync_spread", "0s")).await;
    from(&source, 0, "me").await;
    let tail = Options::new("tail", &[gateway.public()], &["a"]).with("tail", "1").with("not", "me").open();
    tail.ready().await;
    assert_eq!(tail.record().serials(), [0; 0], "{}", tail.record());
    let stale = Options::new("stale", &[gateway.public()], &["a"]).with("not", "me").after("nonsense").open();
    stale.ready().await;
    stale.record().until("is resynced", PATIENCE, |record| record.resynced().contains("a")).await;
}

#[tokio::test]
async fn what_is_skipped_takes_no_other_events_place() {
    let (gateway, _, source) = memory(|setup| setup).await;
    let (me, all) = (without(&[gateway.public()], &["me"]), without(&[gateway.public()], &[]));
    me.ready().await;
    all.ready().await;
    // The second would take the place of the first, which waits for its moment.
    let delay = Duration::from_secs(2);
    source.send(event(&["a"], 0, 0).sender("other").delay(delay)).await.unwrap();
    from(&source, 1, "me").await;
    all.got(1).await;
    me.got(0).await;
    assert_eq!((me.record().serials(), all.record().serials()), (vec![0], vec![1]), "{}", me.record());
}
