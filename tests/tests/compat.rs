//! Gateways and publishers of 0.1 and of this version on one Redis, under faults: nothing is lost in silence.
//! `tests/run compat` builds those of 0.1 and names their folder in `TIDINGS_COMPAT`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_publisher::Publisher;
use tidings_shared::Id;
use tidings_tests::client::Options;
use tidings_tests::oracle::Manner;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Oracle, Setup, Standalone, eventually, gateway, publish};

const EVENTS: usize = 120;
const CLIENTS: usize = 12;
/// Attempts to publish an event, each with its own retries, while Redis restarts.
const ATTEMPTS: usize = 50;
/// The pace of a publisher, so that faults come between its events.
const PACE: Duration = Duration::from_millis(10);
const TOPICS: [&str; 4] = ["orders/1", "orders/2", "@alice", "@alice/orders"];
const SPREAD: Manner = Manner { coalesce: false, spread: true };

/// Where an event was stored, by address.
type Ids = BTreeMap<String, Id>;

/// A build of Tidings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Build {
    Old,
    New,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_publisher_beside_new_gateways() {
    play(&[Build::Old], &[Build::New, Build::New]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_publisher_beside_old_gateways() {
    play(&[Build::New], &[Build::Old, Build::Old]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_publishers_beside_both_gateways() {
    play(&[Build::Old, Build::New], &[Build::Old, Build::New]).await;
}

/// Publishes from each of `publishers` to clients that go round `gateways`, under faults, and judges.
async fn play(publishers: &[Build], gateways: &[Build]) {
    let redis = Standalone::durable().await;
    let oracle = Oracle::new();
    let mut running = Vec::new();
    for build in gateways {
        let setup = Setup::redis(&redis.url());
        let setup = match build {
            Build::Old => setup.binary(old("tidings-gateway")),
            Build::New => setup,
        };
        running.push(setup.start().await);
    }
    let clients = clients(&running);
    for client in &clients {
        client.ready().await;
    }
    let mut publishing = Vec::new();
    for build in publishers {
        publishing.push(tokio::spawn(publish_all(*build, redis.url(), oracle.clone())));
    }
    let total = EVENTS * publishers.len();
    reached(&oracle, total / 5).await;
    clients.iter().step_by(2).for_each(Client::drop_connection);
    reached(&oracle, total * 2 / 5).await;
    running[0].kill();
    reached(&oracle, total / 2).await;
    running[0].start().await;
    reached(&oracle, total * 3 / 5).await;
    redis.restart().await;
    for task in publishing {
        task.await.expect("publishing ends");
    }
    for gateway in &running {
        gateway.ready().await;
    }
    let verdict = oracle.settle(clients.iter().map(Client::record), PATIENCE).await;
    println!("{publishers:?} to {gateways:?}: {verdict}");
    // Conduct is not judged: it is that of this version, and an old gateway has another.
    let broken = verdict.lost + verdict.twice + verdict.out_of_order + verdict.ahead + verdict.stray;
    assert_eq!(broken, 0, "{verdict}");
    assert_eq!(verdict.events, total, "each event is known to be stored");
    assert!(verdict.delivered > 0, "some events came themselves");
}

fn clients(gateways: &[Gateway]) -> Vec<Client> {
    let open = |n: usize| {
        let mut publics = gateway::publics(gateways);
        publics.rotate_left(n % gateways.len());
        let options = Options::new(&format!("client {n}"), &publics, &TOPICS);
        options.retry_at_most(Duration::from_millis(300)).open()
    };
    (0..CLIENTS).map(open).collect()
}

async fn reached(oracle: &Oracle, count: usize) {
    eventually("publishing goes on", PATIENCE, async || oracle.stored() >= count).await;
}

async fn publish_all(build: Build, url: String, oracle: Arc<Oracle>) {
    let publisher = Publisher::lazy(&url).expect("a URL");
    for at in 0..EVENTS {
        // Every fourth event has every field; every third goes to two addresses.
        let (full, several) = (at % 4 == 0, at % 3 == 0);
        let first = at % TOPICS.len();
        let count = if several { 2 } else { 1 };
        let to: Vec<&str> = TOPICS.into_iter().cycle().skip(first).take(count).collect();
        let n = oracle.begin_as(&to, if full { SPREAD } else { Manner::default() });
        let ids = match build {
            Build::Old => publish_old(&url, &to, n, full).await,
            Build::New => publish_new(&publisher, &to, n, full).await,
        };
        oracle.acked(n, ids);
        tokio::time::sleep(PACE).await;
    }
}

/// Tries again with the same key until the event is stored.
async fn publish_new(publisher: &Publisher, to: &[&str], n: u64, full: bool) -> Ids {
    let mut event = publish::event(to, n, 0).key(format!("new-{n}")).coalesce(false);
    if full {
        event = event.event_type("order.updated").version("7").name("changed").sender("tab-1");
        event = event.spread(Duration::from_millis(200)).delay(Duration::from_millis(50));
    }
    for _ in 0..ATTEMPTS {
        match publisher.publish(event.clone()).await {
            Ok(receipt) => return receipt.ids,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
    panic!("event {n} was not stored in {ATTEMPTS} attempts");
}

/// The same with the command of 0.1.
async fn publish_old(url: &str, to: &[&str], n: u64, full: bool) -> Ids {
    let data = json!({ "n": n }).to_string();
    let key = format!("old-{n}");
    let mut args = vec!["publish", "--store", url, "--data", &data, "--key", &key];
    args.push("--no-coalesce");
    if full {
        args.extend(["--type", "order.updated", "--version", "7", "--event", "changed"]);
        args.extend(["--spread", "200ms"]);
    }
    args.extend(to);
    for _ in 0..ATTEMPTS {
        let output = tokio::process::Command::new(old("tidings")).args(&args).output().await;
        let output = output.expect("the command of 0.1 starts");
        if output.status.success() {
            let receipt: Value = serde_json::from_slice(&output.stdout).expect("a receipt");
            let ids = receipt["ids"].as_object().expect("ids of addresses");
            return ids.iter().map(|(address, id)| (address.clone(), parse_id(id))).collect();
        }
    }
    panic!("event {n} was not stored in {ATTEMPTS} attempts");
}

fn parse_id(id: &Value) -> Id {
    id.as_str().and_then(|text| text.parse().ok()).expect("an id")
}

/// A program of 0.1.
fn old(program: &str) -> PathBuf {
    let folder = std::env::var_os("TIDINGS_COMPAT").map(PathBuf::from);
    folder.expect("TIDINGS_COMPAT is not set; start this by `tests/run compat`").join(program)
}
