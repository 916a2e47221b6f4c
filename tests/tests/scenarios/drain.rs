//! Streams that a gateway ends while it could go on: one by one when it is told to end, and when they are old.

use std::time::{Duration, Instant};

use tidings_tests::gateway::publics;
use tidings_tests::http::{Part, Transport};
use tidings_tests::record::What;
use tidings_tests::wait::{PATIENCE, now_us};
use tidings_tests::{Client, Poller, eventually};

use crate::{Stage, all_ready, memory};

/// When, in microseconds since 1970, this client was sent away for this reason.
fn goodbyes(client: &Client, why: &str) -> Vec<u64> {
    let goodbye = |what: &What| matches!(what, What::Goodbye { reason } if reason == why);
    client.record().look(|all| all.iter().filter(|entry| goodbye(&entry.what)).map(|entry| entry.at).collect())
}

fn sent_away(clients: &[Client]) -> usize {
    clients.iter().filter(|client| !goodbyes(client, "drain").is_empty()).count()
}

#[tokio::test]
async fn streams_end_one_by_one_and_hear_everything_until_then() {
    const WINDOW: Duration = Duration::from_secs(3);
    let stage = Stage::with(2, |setup| setup.with("drain.window", "3s")).await;
    let publics = publics(&stage.gateways);
    let clients: Vec<Client> = (0..40).map(|n| Client::open(&format!("client {n}"), &publics, &["a"])).collect();
    all_ready(&clients).await;
    let begun = now_us();
    stage.gateways[0].terminate();
    while sent_away(&clients) < clients.len() {
        stage.source.publish(&["a"]).await;
    }
    assert_eq!(stage.gateways[0].exit().await.code(), Some(0));
    for client in &clients {
        client.ready_times(2).await;
    }
    stage.oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_all_delivered();

    let ends: Vec<Duration> =
        clients.iter().map(|client| Duration::from_micros(goodbyes(client, "drain")[0] - begun)).collect();
    let within = |part: f64| ends.iter().filter(|end| **end < WINDOW.mul_f64(part)).count();
    // Evenly these would be 4 and 20; a machine that is busy can only be late.
    assert!(within(0.1) <= 8 && within(0.5) <= 24, "{ends:?}");
    let retries = |client: &Client| {
        client.record().look(|all| {
            all.windows(2).find_map(|two| match (&two[0].what, &two[1].what) {
                (What::Retry { ms }, What::Goodbye { .. }) => Some(*ms),
                _ => None,
            })
        })
    };
    let mut delays: Vec<u64> = clients.iter().filter_map(retries).collect();
    assert_eq!(delays.len(), clients.len());
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > clients.len() / 2 && (1_000..=2_000).contains(&delays[0]), "{delays:?}");
}

#[tokio::test]
async fn who_comes_while_it_drains_is_told_to_come_back() {
    let (gateway, _, _) = memory(|setup| setup.with("drain.window", "1h")).await;
    let clients: Vec<Client> =
        (0..10).map(|n| Client::open(&format!("client {n}"), &[gateway.public()], &["a"])).collect();
    all_ready(&clients).await;
    gateway.terminate();
    eventually("it drains", PATIENCE, async || sent_away(&clients) > 0).await;
    let transport = match Transport::of_environment() {
        // A gateway that drains lets no later request come.
        Transport::Server => Transport::Lean,
        other => other,
    };
    let mut response = transport.get(gateway.public(), None, "/v1/events?topic=a", &[]).await.unwrap();
    let (body, end) = response.body.all().await.unwrap();
    let text = String::from_utf8(body).unwrap();
    assert_eq!((response.status, end), (200, Part::Cut), "{text}");
    let goodbye = "\nevent: tidings.goodbye\ndata: {\"reason\":\"drain\"}\n\n";
    assert!(text.starts_with("retry: ") && text.ends_with(goodbye) && text.lines().count() == 4, "{text:?}");
    assert_eq!(gateway.public_get("/v1/poll?topic=a").await.0, 503);
    assert_eq!(gateway.admin_get("/readyz").await.0, 503);
    assert!(sent_away(&clients) <= 4, "an hour is not over");

    // Told again, it does not take the hour that it was given.
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
    eventually("all are sent away", PATIENCE, async || sent_away(&clients) == clients.len()).await;
}

#[tokio::test]
async fn told_again_it_ends_within_its_grace() {
    let (gateway, _, _) = memory(|setup| setup.with("drain.grace", "10m").with("drain.window", "1h")).await;
    let client = Client::open("client", &[gateway.public()], &["a"]);
    client.ready().await;
    gateway.terminate();
    eventually("it is not ready", PATIENCE, async || gateway.admin_get("/readyz").await.0 == 503).await;
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
    eventually("it is sent away", PATIENCE, async || !goodbyes(&client, "drain").is_empty()).await;
}

#[tokio::test]
async fn a_gateway_without_streams_does_not_wait() {
    let (gateway, _, _) = memory(|setup| setup.with("drain.window", "1h")).await;
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_all_gateways_are_replaced() {
    let mut stage = Stage::with(3, |setup| setup.with("drain.window", "2s")).await;
    let publics = publics(&stage.gateways);
    let turned = |n: usize| {
        let mut publics = publics.clone();
        publics.rotate_left(n % 3);
        publics
    };
    let topics = ["a", "b", "@alice"];
    let clients: Vec<Client> =
        (0..45).map(|n| Client::open(&format!("client {n}"), &turned(n), &[topics[n % 3], "all"])).collect();
    let poller = Poller::open("poller", &publics, &topics);
    all_ready(&clients).await;
    poller.ready().await;
    let source = stage.source.clone();
    let publishing = tokio::spawn(async move {
        for n in 0.. {
            source.publish(&[["a", "b", "@alice", "all"][n % 4]]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for gateway in &mut stage.gateways {
        gateway.terminate();
        assert_eq!(gateway.exit().await.code(), Some(0));
        gateway.start().await;
        gateway.ready().await;
    }
    publishing.abort();
    let _aborted = publishing.await;
    let records = clients.iter().map(Client::record).chain([poller.record()]);
    let verdict = stage.oracle.settle(records, PATIENCE).await;
    verdict.assert_all_delivered();
    assert!(verdict.events > 50 && sent_away(&clients) == clients.len(), "{verdict}");
}

#[tokio::test]
async fn old_streams_end_each_in_its_time_and_miss_nothing() {
    let set = |setup: tidings_tests::Setup| setup.with("stream.max_age", "1s").with("stream.heartbeat", "100ms");
    let (gateway, oracle, source) = memory(set).await;
    let begun = Instant::now();
    let clients: Vec<Client> =
        (0..20).map(|n| Client::open(&format!("client {n}"), &[gateway.public()], &["a"])).collect();
    all_ready(&clients).await;
    let poll = tokio::spawn(reqwest::get(format!("http://{}/v1/poll?topic=quiet&wait=3s", gateway.public())));
    while clients.iter().any(|client| goodbyes(client, "max-age").len() < 2) {
        source.publish(&["a"]).await;
        assert!(begun.elapsed() < PATIENCE, "streams live for ever");
    }
    oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
    let mut firsts: Vec<u64> = clients.iter().map(|client| goodbyes(client, "max-age")[0]).collect();
    firsts.sort_unstable();
    assert!(firsts[19] - firsts[0] > 300_000, "all within {} us", firsts[19] - firsts[0]);
    // A poll ends by itself.
    assert_eq!(poll.await.unwrap().unwrap().status(), 200);
}
