//! A gateway whose reader is stuck while all else of it runs: what probes, pages and new clients get.

use std::time::{Duration, Instant};

use tidings_tests::gateway::publics;
use tidings_tests::http::{Body, Part, Transport};
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, eventually};

use crate::{Stage, all_ready};

/// Age of the reader's last turn at which `/livez` fails.
const DEAD: Duration = Duration::from_secs(30);
/// Well before that, and well after the 5 s at which `/readyz` fails.
const ALIVE: Duration = Duration::from_secs(20);

fn is_store_goodbye(what: &What) -> bool {
    matches!(what, What::Goodbye { reason } if reason == "store")
}

fn ticks(client: &Client) -> usize {
    client.record().count(|what| matches!(what, What::Tick { .. }))
}

/// Waits until `/readyz` fails, and says that the reader is stuck.
async fn unready(gateway: &Gateway) {
    let says_so = async || {
        let (status, body) = gateway.admin_get("/readyz").await;
        status == 503 && body.contains("the reader is stuck")
    };
    eventually("readiness fails for the reader", PATIENCE, says_so).await;
}

/// All that comes on a stream until it is cut.
async fn last_block(mut body: Body) -> String {
    let mut bytes = Vec::new();
    while let Ok(Part::Bytes(more)) = body.next().await {
        bytes.extend(more);
    }
    let text = String::from_utf8(bytes).unwrap();
    text.trim_end_matches("\n\n").rsplit("\n\n").next().unwrap_or_default().to_owned()
}

fn assert_sends_away_for_the_store(block: &str) {
    let lines: Vec<&str> = block.lines().collect();
    let [retry, event, data] = lines[..] else { panic!("not one block of three lines: {block:?}") };
    let delay = retry.strip_prefix("retry: ").and_then(|ms| ms.parse::<u64>().ok());
    assert!(delay.is_some_and(|ms| ms >= 1_000), "{block:?}");
    assert_eq!((event, data), ("event: tidings.goodbye", r#"data: {"reason":"store"}"#));
}

#[tokio::test]
async fn it_is_not_ready_and_its_pages_go_elsewhere() {
    let stage = Stage::of(2).await;
    let stuck = &stage.gateways[0];
    let transport = Transport::of_environment();
    let stream = transport.get(stuck.public(), None, "/v1/events?topic=a", &[]).await.unwrap();
    let own = Client::open("knows no other gateway", &[stuck.public()], &["a"]);
    let free = Client::open("knows both", &publics(&stage.gateways), &["a", "b"]);
    all_ready(std::slice::from_ref(&own)).await;
    all_ready(std::slice::from_ref(&free)).await;
    stage.source.publish_many(&["a"], 5).await;

    stuck.stop_reader();
    let missed = stage.source.publish_many(&["a", "b"], 20).await;
    unready(stuck).await;
    assert_sends_away_for_the_store(&last_block(stream.body).await);
    for client in [&own, &free] {
        client.record().until("is sent away", PATIENCE, |record| record.count(is_store_goodbye) > 0).await;
    }
    free.got(missed).await;
    // Whoever comes now is told the same at once.
    let refused = transport.get(stuck.public(), None, "/v1/events?topic=a", &[]).await.unwrap();
    assert_sends_away_for_the_store(&last_block(refused.body).await);
    assert_eq!(stuck.public_get("/v1/poll?topic=a").await.0, 503);
    assert_eq!(stage.gateways[1].admin_get("/readyz?strict=1").await.0, 200);
    assert!(!own.record().serials().contains(&missed), "{}", own.record());

    stuck.continue_reader();
    stuck.ready().await;
    own.got(missed).await;
    stage.source.publish_many(&["a"], 5).await;
    let records = [own.record(), free.record()];
    stage.oracle.settle(records, PATIENCE).await.assert_all_delivered();
    assert_eq!(stuck.metrics().await.sum("tidings_degraded", &[]), 0.0);
}

/// Streams end so slowly here that most are still open when the process counts as dead.
#[tokio::test]
async fn it_sends_no_heartbeat_and_is_dead_after_30_s() {
    let stage = Stage::with(1, |setup| setup.with("drain.window", "10m")).await;
    let gateway = &stage.gateways[0];
    let pages: Vec<Client> = (0..20).map(|n| Client::open(&format!("page {n}"), &[gateway.public()], &["a"])).collect();
    all_ready(&pages).await;
    for page in &pages {
        page.record().until("gets a heartbeat", PATIENCE, |_| ticks(page) > 0).await;
    }

    let stopped = Instant::now();
    gateway.stop_reader();
    let missed = stage.source.publish(&["a"]).await;
    unready(gateway).await;
    let (status, body) = gateway.admin_get("/livez").await;
    assert!(status == 200 || stopped.elapsed() > ALIVE, "dead after {:?}: {body}", stopped.elapsed());
    // Each worker has a clock of its own.
    let noticed = || gateway.log().iter().filter(|line| line.contains("the reader is stuck")).count();
    eventually("both workers notice", PATIENCE, async || noticed() >= 2).await;
    let heartbeats: Vec<usize> = pages.iter().map(ticks).collect();

    eventually("it is dead", DEAD + PATIENCE, async || gateway.admin_get("/livez").await.0 == 500).await;
    let (_, body) = gateway.admin_get("/livez").await;
    assert!(body.starts_with("the reader is stuck; its last turn began "), "{body}");
    assert!(stopped.elapsed() >= DEAD, "{:?}", stopped.elapsed());
    let is_open = |page: &&Client| page.record().connections() == 1 && page.record().count(is_store_goodbye) == 0;
    assert!(pages.iter().filter(is_open).count() > 0, "all streams ended");
    for (page, before) in pages.iter().zip(heartbeats) {
        // One may have been on its way.
        assert!(ticks(page) <= before + 1, "{}", page.record());
    }

    gateway.continue_reader();
    gateway.ready().await;
    assert_eq!(gateway.admin_get("/livez").await.0, 200);
    for page in &pages {
        page.got(missed).await;
    }
    stage.oracle.settle(pages.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
}
