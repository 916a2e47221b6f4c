//! What was missed is replayed; what cannot be replayed is told.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tidings_shared::Id;
use tidings_tests::client::Options;
use tidings_tests::gateway::publics;
use tidings_tests::proxy::{Cut, Way};
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Proxy, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Stage, memory};

/// The client is away for sure while these are published, and back when this returns.
async fn away(client: &Client, link: &Proxy, publish: impl AsyncFnOnce()) {
    link.refuse();
    link.cut(Cut::Reset);
    client.record().until("sees the cut", PATIENCE, |r| r.count(|w| matches!(w, What::Lost { .. })) > 0).await;
    let before = client.record().count(|what| matches!(what, What::Ready { .. }));
    publish().await;
    link.accept();
    client.ready_times(before + 1).await;
}

#[tokio::test]
async fn after_a_client_was_away() {
    let stage = Stage::of(1).await;
    let link = Proxy::start(stage.gateways[0].public()).await;
    let client = Client::open("client", &[link.addr()], &["a", "b"]);
    client.ready().await;
    stage.source.publish_many(&["a"], 5).await;
    away(&client, &link, async || {
        stage.source.publish_many(&["a"], 30).await;
        stage.source.publish_many(&["b", "a"], 30).await;
    })
    .await;
    stage.source.publish_many(&["b"], 5).await;
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

/// The twin of the one above: without a cursor the same events are lost, and the oracle says so.
#[tokio::test]
async fn without_its_cursor_a_client_that_was_away_has_lost_them() {
    let stage = Stage::of(1).await;
    let link = Proxy::start(stage.gateways[0].public()).await;
    let client = Options::new("forgetful", &[link.addr()], &["a"]).forgetful().open();
    client.ready().await;
    away(&client, &link, async || {
        stage.source.publish_many(&["a"], 30).await;
    })
    .await;
    let last = stage.source.publish(&["a"]).await;
    client.got(last).await;
    let verdict = stage.oracle.judge([client.record()]);
    assert_eq!((verdict.lost, verdict.delivered), (30, 1), "{verdict}");
}

#[tokio::test]
async fn after_a_client_was_away_in_memory() {
    let (gateway, oracle, source) = memory(|setup| setup).await;
    let link = Proxy::start(gateway.public()).await;
    let client = Client::open("client", &[link.addr()], &["a", "b"]);
    client.ready().await;
    away(&client, &link, async || {
        source.publish_many(&["a"], 30).await;
        source.publish_many(&["b", "a"], 30).await;
    })
    .await;
    source.publish_many(&["b"], 5).await;
    oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn again_and_again_while_publishing_goes_on() {
    let stage = Stage::of(2).await;
    let client = Client::open("client", &publics(&stage.gateways), &["a", "b"]);
    for turn in 1..=8 {
        client.ready_times(turn).await;
        stage.source.publish_many(&["a"], 10).await;
        client.drop_connection();
        stage.source.publish_many(&["b"], 10).await;
    }
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn after_a_gateway_was_killed_another_goes_on() {
    let stage = Stage::of(2).await;
    let client = Client::open("client", &publics(&stage.gateways), &["a", "b"]);
    client.ready().await;
    stage.source.publish_many(&["a"], 10).await;
    stage.gateways[0].kill();
    stage.source.publish_many(&["b", "a"], 50).await;
    client.ready_times(2).await;
    stage.source.publish_many(&["b"], 10).await;
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn after_a_gateway_was_killed_and_came_back() {
    let stage = Stage::of(1).await;
    let client = Client::open("client", &publics(&stage.gateways), &["a", "b"]);
    client.ready().await;
    stage.gateways[0].kill();
    stage.source.publish_many(&["a"], 50).await;
    stage.gateways[0].start().await;
    client.ready_times(2).await;
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn a_quiet_client_resumes_from_its_heartbeat() {
    let stage = Stage::of(2).await;
    let client = Client::open("client", &publics(&stage.gateways), &["quiet"]);
    client.ready().await;
    let ready = client.record().cursor();
    // A tick with a cursor above the one of ready: the watermark has moved though nothing was delivered.
    client
        .record()
        .until("a tick moves the cursor", PATIENCE, |record| {
            record.count(|what| matches!(what, What::Tick { cursor } if Some(cursor) != ready.as_ref())) > 0
        })
        .await;
    client.drop_connection();
    stage.source.publish_many(&["quiet"], 3).await;
    client.ready_times(2).await;
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn after_the_connection_to_redis_was_cut() {
    for how in [Cut::Reset, Cut::Fin] {
        let (link, stage) = Stage::linked().await;
        let client = Client::open("client", &publics(&stage.gateways), &["a", "b"]);
        client.ready().await;
        stage.source.publish_many(&["a"], 5).await;
        link.refuse();
        link.cut(how);
        stage.source.publish_many(&["b", "a"], 50).await;
        link.accept();
        stage.gateways[0].ready().await;
        stage.source.publish_many(&["a"], 5).await;
        stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
        assert_eq!(client.record().count(|what| matches!(what, What::Lost { .. })), 0, "{}", client.record());
    }
}

#[tokio::test]
async fn after_the_connection_to_redis_fell_silent() {
    for way in [Way::Down, Way::Up] {
        let (link, stage) = Stage::linked().await;
        let client = Client::open("client", &publics(&stage.gateways), &["a", "b"]);
        client.ready().await;
        link.freeze(way);
        stage.source.publish_many(&["a"], 50).await;
        // Its TCP connection stays open: only the missing beacons can tell.
        let gateway = &stage.gateways[0];
        gateway.degraded().await;
        link.thaw();
        gateway.ready().await;
        stage.source.publish_many(&["b"], 5).await;
        stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
    }
}

#[tokio::test]
async fn after_redis_stood_still() {
    let stage = Stage::of(1).await;
    let client = Client::open("client", &publics(&stage.gateways), &["a"]);
    client.ready().await;
    stage.redis.freeze();
    // Redis does this one when it goes on, and its retries must not double it.
    let source = stage.source.clone();
    let publishing = tokio::spawn(async move { source.publish(&["a"]).await });
    let gateway = &stage.gateways[0];
    gateway.degraded().await;
    stage.redis.thaw();
    publishing.await.unwrap();
    gateway.ready().await;
    stage.source.publish_many(&["a"], 5).await;
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
    assert_eq!(client.record().serials(), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn after_redis_closed_only_the_subscription() {
    let stage = Stage::of(1).await;
    let client = Client::open("client", &publics(&stage.gateways), &["a"]);
    client.ready().await;
    for _ in 0..5 {
        stage.redis.kill_clients("pubsub").await;
        stage.source.publish_many(&["a"], 10).await;
    }
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

/// What holds after a restart: all is told, and what comes then is delivered again.
async fn restarted(stage: Stage, with_data: bool) {
    let client = Client::open("client", &publics(&stage.gateways), &["a", "b"]);
    client.ready().await;
    stage.source.publish_many(&["a"], 10).await;
    if with_data {
        stage.redis.restart().await;
    } else {
        stage.redis.restart_empty().await;
    }
    stage.source.publish_many(&["b", "a"], 10).await;
    for gateway in &stage.gateways {
        gateway.ready().await;
    }
    let record = client.record();
    // Another run of Redis may have lost writes, and nobody can tell: everything is to be fetched again.
    record.until("all is resynced", PATIENCE, |record| record.resynced().len() == 2).await;
    stage.oracle.settle([record], PATIENCE).await.assert_kept();
    let resyncs = record.resyncs().len();
    let last = stage.source.publish_many(&["a"], 10).await;
    client.got(last).await;
    assert_eq!(record.resyncs().len(), resyncs, "{record}");
    stage.oracle.settle([record], PATIENCE).await.assert_kept();
}

#[tokio::test]
async fn after_redis_restarted_with_its_data() {
    restarted(Stage::of(2).await, true).await;
}

#[tokio::test]
async fn after_redis_restarted_without_its_data() {
    restarted(Stage::of(2).await, false).await;
}

#[tokio::test]
async fn a_client_that_was_away_while_redis_lost_its_data_is_told() {
    let mut stage = Stage::of(1).await;
    let link = Proxy::start(stage.gateways[0].public()).await;
    let client = Client::open("client", &[link.addr()], &["a"]);
    client.ready().await;
    let Stage { redis, gateways, source, oracle } = &mut stage;
    away(&client, &link, async || {
        source.publish_many(&["a"], 10).await;
        redis.restart_empty().await;
        source.publish_many(&["a"], 10).await;
        gateways[0].ready().await;
    })
    .await;
    oracle.settle([client.record()], PATIENCE).await.assert_kept();
    assert_eq!(client.record().resynced(), HashSet::from(["a".to_owned()]));
}

#[tokio::test]
async fn history_that_was_trimmed_is_told_and_only_that() {
    let stage = Stage::with(1, |setup| setup.with("retention.events", "10")).await;
    let client = Client::open("client", &publics(&stage.gateways), &["busy", "quiet"]);
    client.ready().await;
    // Its memory goes with it, so only Redis can say what was missed.
    stage.gateways[0].kill();
    stage.source.publish_many(&["busy"], 400).await;
    stage.source.publish_many(&["quiet"], 3).await;
    stage.gateways[0].start().await;
    client.ready_times(2).await;
    stage.oracle.settle([client.record()], PATIENCE).await.assert_kept();
    let lost = [("busy".to_owned(), "history-lost".to_owned())];
    assert_eq!(client.record().resyncs(), lost, "{}", client.record());
}

#[tokio::test]
async fn more_than_replay_may_send_is_told() {
    let stage = Stage::with(1, |setup| setup.with("replay.bytes", "16KiB")).await;
    let client = Client::open("client", &publics(&stage.gateways), &["a", "b"]);
    client.ready().await;
    stage.gateways[0].kill();
    for _ in 0..30 {
        stage.source.publish_sized(&["a"], 2_000).await;
    }
    stage.gateways[0].start().await;
    client.ready_times(2).await;
    stage.oracle.settle([client.record()], PATIENCE).await.assert_kept();
    assert!(client.record().resynced().contains("a"), "{}", client.record());
}

/// Cursors that lead nowhere, made from a good one, and the reasons that may be told.
fn useless(good: &str) -> Vec<(String, &'static [&'static str])> {
    let parts: Vec<&str> = good.splitn(3, '.').collect();
    let (epoch, id) = (parts[1], parts[2]);
    let ms: u64 = id.split('-').next().unwrap().parse().unwrap();
    let other = if epoch == "zz" { "zy" } else { "zz" };
    vec![
        ("garbage".to_owned(), &["cursor"]),
        ("1".to_owned(), &["cursor"]),
        (format!("9.{epoch}.{id}"), &["cursor"]),
        (format!("1.{epoch}.{id}x"), &["cursor"]),
        ("2.BNXm152qMwIOTlUAAA".to_owned(), &["cursor"]),
        ("x".repeat(600), &["cursor"]),
        (format!("1.{other}.{id}"), &["epoch"]),
        (format!("1.{epoch}.{}-0", ms - 2 * 3_600_000), &["history-lost"]),
        (format!("1.{epoch}.0-0"), &["history-lost"]),
        (format!("1.{epoch}.{}-0", ms + 3_600_000), &["cursor", "history-lost", "epoch"]),
    ]
}

async fn useless_cursors_are_told(gateway: std::net::SocketAddr, source: &Source) {
    let first = Client::open("first", &[gateway], &["a", "b"]);
    first.ready().await;
    let n = source.publish_many(&["a"], 3).await;
    first.got(n).await;
    for (cursor, reasons) in useless(&first.record().cursor().unwrap()) {
        let client = Options::new(&cursor, &[gateway], &["a", "b"]).after(&cursor).open();
        client.ready().await;
        let resyncs = client.record().resyncs();
        let addresses: Vec<&str> = resyncs.iter().map(|(address, _)| address.as_str()).collect();
        assert_eq!(addresses, ["a", "b"], "{}", client.record());
        assert!(resyncs.iter().all(|(_, reason)| reasons.contains(&reason.as_str())), "{}", client.record());
        let n = source.publish(&["b"]).await;
        client.got(n).await;
        assert_eq!(client.record().serials(), [n], "{}", client.record());
        assert_eq!(client.record().faults(), [""; 0], "{cursor}");
    }
}

#[tokio::test]
async fn useless_cursors_on_redis() {
    let stage = Stage::of(1).await;
    useless_cursors_are_told(stage.gateways[0].public(), &stage.source).await;
}

#[tokio::test]
async fn useless_cursors_in_memory() {
    let (gateway, _, source) = memory(|setup| setup).await;
    useless_cursors_are_told(gateway.public(), &source).await;
}

#[tokio::test]
async fn the_embedded_store_is_another_history_after_a_restart() {
    let (gateway, oracle, source) = memory(|setup| setup).await;
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    let n = source.publish(&["a"]).await;
    client.got(n).await;
    gateway.kill();
    gateway.start().await;
    client.ready_times(2).await;
    assert_eq!(client.record().resyncs(), [("a".to_owned(), "epoch".to_owned())]);
    source.publish(&["a"]).await;
    oracle.settle([client.record()], Duration::from_secs(5)).await.assert_kept();
}

/// A cursor that lies so far ahead of this one.
fn ahead_of(cursor: &str, by: Duration) -> String {
    let (history, id) = cursor.rsplit_once('.').unwrap();
    let id: Id = id.parse().unwrap();
    let ahead = Id { ms: id.ms + by.as_millis() as u64, ..id };
    format!("{history}.{ahead}")
}

/// How far ahead of the store cursors are, so far that they were waited for.
const AHEAD: Duration = Duration::from_secs(14);

/// Asks for a stream after a cursor, and leaves as soon as the gateway has answered.
async fn ask_and_leave(gateway: SocketAddr, cursor: &str) {
    let mut wire = TcpStream::connect(gateway).await.unwrap();
    let head = format!("GET /v1/events?topic=a HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {cursor}\r\n\r\n");
    wire.write_all(head.as_bytes()).await.unwrap();
    // The first bytes of the answer come before the place is known.
    wire.read_u8().await.unwrap();
}

/// Each such request once held a share of what replays may take, for as long as its cursor was ahead.
#[tokio::test]
async fn cursors_ahead_of_the_store_hold_up_no_honest_resume() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    let client = Client::open("honest", &[gateway.public()], &["a"]);
    client.ready().await;
    client.got(stage.source.publish(&["a"]).await).await;
    let ahead = ahead_of(&client.record().cursor().unwrap(), AHEAD);
    for _ in 0..64 {
        ask_and_leave(gateway.public(), &ahead).await;
    }
    client.leave();
    let missed = stage.source.publish(&["a"]).await;
    client.come_back();
    timeout(Duration::from_secs(8), client.got(missed)).await.expect("a resume takes no 14 s");
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}

/// Six such requests a second were once enough to keep every honest resume waiting for 4 s and more:
/// each held one of the 64 shares for 14 s, so none was left after 11 s.
#[tokio::test]
async fn cursors_ahead_of_the_store_that_keep_coming_hold_up_no_honest_resume() {
    const ASKED: u32 = 100;
    const LONGEST: Duration = Duration::from_secs(3);
    let stage = Stage::of(1).await;
    let public = stage.gateways[0].public();
    let client = Client::open("honest", &[public], &["a"]);
    client.ready().await;
    client.got(stage.source.publish(&["a"]).await).await;
    let cursor = client.record().cursor().unwrap();
    let asking = tokio::spawn(async move {
        let mut turns = tokio::time::interval(Duration::from_secs(1) / 6);
        let start = Instant::now();
        for _ in 0..ASKED {
            turns.tick().await;
            // Ahead by as much as at the start, however long this goes on.
            let ahead = ahead_of(&cursor, AHEAD + start.elapsed());
            ask_and_leave(public, &ahead).await;
        }
    });
    let mut longest = Duration::ZERO;
    while !asking.is_finished() {
        client.leave();
        let missed = stage.source.publish(&["a"]).await;
        let start = Instant::now();
        client.come_back();
        client.got(missed).await;
        longest = longest.max(start.elapsed());
    }
    asking.await.unwrap();
    assert!(longest < LONGEST, "a resume took {longest:?}");
    stage.oracle.settle([client.record()], PATIENCE).await.assert_all_delivered();
}
