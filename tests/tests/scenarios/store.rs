//! What a connection costs the store, by the gateway's own counters.

use std::time::Duration;

use tidings_tests::client::Options;
use tidings_tests::gateway::publics;
use tidings_tests::{Client, Gateway, Standalone, eventually};

use crate::Stage;

/// Reads that resumes and fresh connections made, and the resumes by what served them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Costs {
    resume: f64,
    attach: f64,
    from_memory: f64,
    from_store: f64,
}

async fn costs(gateway: &Gateway) -> Costs {
    let metrics = gateway.metrics().await;
    let reads = |kind| metrics.sum("tidings_store_reads_total", &[("kind", kind)]);
    let resumes = |source| metrics.sum("tidings_resumes_total", &[("source", source)]);
    Costs {
        resume: reads("resume"),
        attach: reads("attach"),
        from_memory: resumes("memory"),
        from_store: resumes("store"),
    }
}

fn client(name: &str, gateway: &Gateway, topics: &[&str]) -> Client {
    Options::new(name, &[gateway.public()], topics).open()
}

#[tokio::test]
async fn a_fresh_connection_to_what_is_followed_costs_nothing() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    let first = client("first", gateway, &["a", "b"]);
    first.ready().await;
    let n = stage.source.publish_many(&["a"], 5).await;
    first.got(n).await;
    let (before, calls) = (costs(gateway).await, stage.redis.calls("evalsha").await);
    for name in ["second", "third", "fourth"] {
        client(name, gateway, &["b", "a"]).ready().await;
    }
    assert_eq!(costs(gateway).await, before);
    // Redis itself saw at most the beacons of that time.
    assert!(stage.redis.calls("evalsha").await - calls < 10);
}

#[tokio::test]
async fn a_resume_that_memory_covers_costs_nothing() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    let witness = client("witness", gateway, &["a", "b"]);
    witness.ready().await;
    let cursor = witness.record().cursor().unwrap();
    let n = stage.source.publish_many(&["a"], 20).await;
    witness.got(n).await;
    let before = costs(gateway).await;
    for turn in 1..=20 {
        let late = Options::new("late", &[gateway.public()], &["a", "b"]).after(&cursor).open();
        late.got(n).await;
        late.ready().await;
        assert_eq!(late.record().serials().len(), 20);
        assert_eq!(costs(gateway).await.from_memory, before.from_memory + f64::from(turn));
    }
    assert_eq!(costs(gateway).await.resume, before.resume);
    assert_eq!(costs(gateway).await.attach, before.attach);
}

#[tokio::test]
async fn a_resume_that_it_does_not_cover_costs_one_read() {
    let stage = Stage::of(2).await;
    let topics: Vec<String> = (0..50).map(|n| format!("orders/{n}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let first = client("first", &stage.gateways[0], &topics);
    first.ready().await;
    let cursor = first.record().cursor().unwrap();
    let mut last = 0;
    for topic in &topics {
        last = stage.source.publish(&[topic]).await;
    }
    let other = &stage.gateways[1];
    let before = costs(other).await;
    let late = Options::new("late", &[other.public()], &topics).after(&cursor).open();
    late.got(last).await;
    late.ready().await;
    let after = costs(other).await;
    assert_eq!(late.record().serials().len(), 50);
    assert_eq!(after.from_store, before.from_store + 1.0);
    assert_eq!(after.resume + after.attach, before.resume + before.attach + 1.0, "{before:?} {after:?}");
}

#[tokio::test]
async fn over_four_partitions_it_costs_four() {
    let redis = Standalone::durable().await;
    let setup = tidings_tests::Setup::redis(&redis.url()).with("store.partitions", "4");
    let gateways = setup.start_many(2).await;
    let topics: Vec<String> = (0..40).map(|n| format!("orders/{n}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let first = client("first", &gateways[0], &topics);
    first.ready().await;
    let cursor = first.record().cursor().unwrap();
    let before = costs(&gateways[1]).await;
    let late = Options::new("late", &[gateways[1].public()], &topics).after(&cursor).open();
    late.ready().await;
    assert_eq!(late.record().resyncs(), []);
    let after = costs(&gateways[1]).await;
    let reads = after.resume + after.attach - before.resume - before.attach;
    assert!((1.0..=4.0).contains(&reads), "{before:?} {after:?}");
}

#[tokio::test]
async fn a_storm_of_resumes_is_not_a_storm_of_reads() {
    let stage = Stage::of(1).await;
    let clients: Vec<Client> =
        (0..60).map(|n| Client::open(&format!("client {n}"), &publics(&stage.gateways), &["a", "b"])).collect();
    for client in &clients {
        client.ready().await;
    }
    stage.gateways[0].kill();
    stage.source.publish_many(&["a"], 20).await;
    stage.gateways[0].start().await;
    for client in &clients {
        client.ready_times(2).await;
    }
    stage.oracle.settle(clients.iter().map(Client::record), Duration::from_secs(10)).await.assert_all_delivered();
    let costs = costs(&stage.gateways[0]).await;
    assert!(costs.resume + costs.attach <= 20.0, "{costs:?} for 60 clients");
}

#[tokio::test]
async fn clients_that_come_to_a_new_gateway_have_each_address_read_once() {
    const CLIENTS: usize = 200;
    let stage = Stage::of(1).await;
    let topics = |n: usize| [format!("@u{n}"), "a".to_owned(), "b".to_owned(), format!("c/{}", n % 10)];
    let clients: Vec<Client> =
        (0..CLIENTS).map(|n| Client::open(&format!("client {n}"), &publics(&stage.gateways), &topics(n))).collect();
    crate::all_ready(&clients).await;
    stage.gateways[0].kill();
    for to in ["a", "@u7", "c/3", "b"] {
        stage.source.publish_many(&[to], 5).await;
    }
    let calls = async || (stage.redis.calls("evalsha").await, stage.redis.calls("xrange").await);
    let before = calls().await;
    stage.gateways[0].start().await;
    for client in &clients {
        client.ready_times(2).await;
    }
    stage.oracle.settle(clients.iter().map(Client::record), Duration::from_secs(10)).await.assert_all_delivered();
    let after = calls().await;
    let (scripts, streams) = (after.0 - before.0, after.1 - before.1);
    println!("{CLIENTS} clients that follow 4 addresses each, 212 in all: {scripts} scripts, {streams} streams read");
    // Beacons too; and an address is read again for who comes while it is read.
    assert!(streams < 2 * 212, "{streams} streams read");
    assert!(scripts < 100, "{scripts} scripts");
}

#[tokio::test]
async fn clients_that_come_one_after_another_cost_a_new_gateway_reads_by_address() {
    const CLIENTS: usize = 60;
    const TOPICS: usize = 12;
    let stage = Stage::of(2).await;
    let topics: Vec<String> = (0..TOPICS).map(|n| format!("t/{n}")).collect();
    let all: Vec<&str> = topics.iter().map(String::as_str).collect();
    let witness = client("witness", &stage.gateways[0], &all);
    witness.ready().await;
    let mut cursors = Vec::new();
    for n in 0..CLIENTS {
        cursors.push(witness.record().cursor().unwrap());
        let serial = stage.source.publish(&[&topics[n % TOPICS]]).await;
        witness.got(serial).await;
    }
    let other = &stage.gateways[1];
    let calls = async || (costs(other).await, stage.redis.calls("xrange").await);
    let before = calls().await;
    // The later they come, the longer they have been away; each follows three topics, and a user of its own.
    for (n, cursor) in cursors.iter().enumerate().rev() {
        let user = format!("@u{n}");
        let follows = [all[n % TOPICS], all[(n + 1) % TOPICS], all[(n + 4) % TOPICS], user.as_str()];
        let late = Options::new("late", &[other.public()], &follows).after(cursor).open();
        late.ready().await;
        let missed = (n..CLIENTS).filter(|event| follows[..3].contains(&all[event % TOPICS])).count();
        assert_eq!((late.record().serials().len(), late.record().resyncs().len()), (missed, 0), "{n}");
    }
    let after = calls().await;
    let (reads, streams) = (after.0.resume - before.0.resume, after.1 - before.1);
    println!("{CLIENTS} clients, {TOPICS} topics: {reads} reads, {streams} streams");
    // One for each user, and those bring the topics; the streams of the users are not there.
    assert!(reads <= CLIENTS as f64, "{reads} reads");
    assert!(streams <= 2 * TOPICS as u64, "{streams} streams read");
}

#[tokio::test]
async fn what_nobody_follows_any_more_is_let_go() {
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    let count = async |name| gateway.metrics().await.sum(name, &[]);
    let followed = async || count("tidings_addresses_followed").await;
    let client = client("client", gateway, &["a", "b"]);
    client.ready().await;
    eventually("two are followed", Duration::from_secs(10), async || followed().await == 2.0).await;
    client.stop();
    eventually("none is followed", Duration::from_secs(60), async || followed().await == 0.0).await;
    // They linger for half a minute, for those who come back.
    let lingering = async || count("tidings_addresses_lingering").await;
    assert_eq!(lingering().await, 2.0);
    eventually("none lingers", Duration::from_secs(60), async || lingering().await == 0.0).await;
    let channels = async || stage.redis.ask::<Vec<String>>("PUBSUB", &["CHANNELS", "*:t:*"]).await.unwrap();
    eventually("none is subscribed", Duration::from_secs(20), async || channels().await.is_empty()).await;
}
