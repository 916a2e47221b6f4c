//! The library over a real Redis: what it writes, in how many round trips, and what it does when Redis misbehaves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed wish is a failed test")]

mod server;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use server::proxy::Proxy;
use server::{Server, command, run, until};
use tidings_publisher::{ErrorKind, Event, Id, Partitions, Publisher};
use tidings_shared::keys::{Namespace, idempotency_scope};
use tidings_shared::message::Delivered;
use tidings_shared::script::{self, Claim, Step};
use tidings_shared::{Epoch, Message};

const SOON: Duration = Duration::from_secs(20);

/// The versions in a stream, in order, with their ids.
async fn versions(redis: &mut MultiplexedConnection, stream: &str) -> Vec<(String, String)> {
    let entries: Vec<(String, HashMap<String, String>)> = command(redis, &format!("XRANGE {stream} - +")).await;
    let version = |message: &str| {
        let body: serde_json::Value = serde_json::from_str(Message::decode(message).unwrap().body).unwrap();
        body["version"].as_str().unwrap_or_default().to_owned()
    };
    entries.iter().map(|(id, fields)| (id.clone(), version(&fields["m"]))).collect()
}

async fn only_versions(redis: &mut MultiplexedConnection, stream: &str) -> Vec<String> {
    versions(redis, stream).await.into_iter().map(|(_, version)| version).collect()
}

fn numbered(address: &str, count: usize) -> Vec<Event> {
    (0..count).map(|n| Event::refresh(address).version(n.to_string())).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

/// How often a command was called since the statistics were reset.
async fn calls(redis: &mut MultiplexedConnection, name: &str) -> usize {
    let info: String = command(redis, "INFO commandstats").await;
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

// What it writes

#[tokio::test]
async fn an_event_is_in_every_history_and_on_every_channel() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let client = redis::Client::open(server.url()).unwrap();
    let (mut sink, mut messages) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe(&["{tidings:0}:t:orders/42", "{tidings:0}:u:alice"]).await.unwrap();
    let publisher = Publisher::connect(server.url()).await.unwrap();
    let event = Event::refresh("orders/42").also_to("@alice").event_type("order.updated").version("7").name("order");
    let receipt = publisher.publish(event).await.unwrap();
    let id = receipt.ids["orders/42"];
    assert_eq!((receipt.ids.len(), receipt.ids["@alice"], receipt.duplicate), (2, id, false));
    for stream in ["t:orders/42", "u:alice"] {
        let found = versions(&mut redis, &format!("{{tidings:0}}:{stream}")).await;
        assert_eq!(found, [(id.to_string(), "7".to_owned())]);
        let message: String = messages.next().await.unwrap().get_payload().unwrap();
        let delivered = Delivered::decode(&message).unwrap();
        assert_eq!((delivered.id, delivered.message.event_type), (id, Some("order.updated")));
        assert_eq!(delivered.message.name, Some("order"));
        let body: serde_json::Value = serde_json::from_str(delivered.message.body).unwrap();
        let time = body["time"].as_str().unwrap();
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    }
    assert_eq!(publisher.stats().published, 1);
}

#[tokio::test]
async fn a_publish_is_one_round_trip() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let publisher = Publisher::connect(server.url()).await.unwrap();
    command::<()>(&mut redis, "CONFIG RESETSTAT").await;
    for _ in 0..10 {
        publisher.publish(Event::refresh("a").also_to("@b").also_to("c")).await.unwrap();
    }
    assert_eq!((calls(&mut redis, "evalsha").await, calls(&mut redis, "eval").await), (10, 0));
    command::<()>(&mut redis, "SCRIPT FLUSH").await;
    publisher.publish(Event::refresh("a")).await.unwrap();
    publisher.publish(Event::refresh("a")).await.unwrap();
    assert_eq!(
        (calls(&mut redis, "evalsha").await, calls(&mut redis, "eval").await),
        (12, 1),
        "the script is sent once"
    );
}

#[tokio::test]
async fn concurrent_publishes_share_one_connection() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let publisher = Publisher::builder(proxy.url()).lazy().unwrap();
    let results = join_all(numbered("a", 200).into_iter().map(|event| publisher.publish(event))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_key_publishes_once() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let publisher = Publisher::connect(server.url()).await.unwrap();
    let first = publisher.publish(Event::refresh("a").key("k")).await.unwrap();
    let again = publisher.clone().publish(Event::refresh("a").key("k")).await.unwrap();
    assert_eq!((first.duplicate, again.duplicate, &first.ids), (false, true, &again.ids));
    assert_eq!(command::<usize>(&mut redis, "XLEN {tidings:0}:t:a").await, 1);
    let [key] = &command::<Vec<String>>(&mut redis, "KEYS *:k:*").await[..] else { panic!("one key") };
    let scope = idempotency_scope("k", &["a".parse().unwrap()]);
    assert_eq!(*key, format!("{{tidings:0}}:k:{scope}"));
    let age: u64 = command(&mut redis, &format!("PTTL {key}")).await;
    assert!((590_000..=600_000).contains(&age), "{age}");
}

#[tokio::test]
async fn one_key_for_other_addresses_is_another_event() {
    let server = Server::start();
    let publisher = Publisher::builder(server.url()).partitions(Partitions::new(2).unwrap()).connect().await.unwrap();
    let events = || {
        let both = (0..20).fold(Event::refresh("n/0"), |event, n| event.also_to(format!("n/{n}")));
        [Event::refresh("n/0"), Event::refresh("@alice/orders"), both].map(|event| event.key("k"))
    };
    let first = publisher.publish_all(events().into()).await;
    let again = publisher.publish_all(events().into()).await;
    for (first, again) in first.iter().zip(&again) {
        let (first, again) = (first.as_ref().unwrap(), again.as_ref().unwrap());
        assert_eq!((first.duplicate, again.duplicate, &first.ids), (false, true, &again.ids));
    }
}

#[tokio::test]
async fn without_retries_no_key_is_kept() {
    let server = Server::start();
    let mut redis = server.connection().await;
    Publisher::builder(server.url()).retries(0).lazy().unwrap().publish(Event::refresh("a")).await.unwrap();
    assert_eq!(command::<Vec<String>>(&mut redis, "KEYS *:k:*").await.len(), 0);
    Publisher::builder(server.url()).lazy().unwrap().publish(Event::refresh("a")).await.unwrap();
    let keys: Vec<String> = command(&mut redis, "KEYS *:k:*").await;
    let age: u64 = command(&mut redis, &format!("PTTL {}", keys[0])).await;
    assert!(keys.len() == 1 && (10_000..30_000).contains(&age), "{keys:?} {age}");
}

/// What a gateway does that goes by this count.
async fn claim(redis: &mut MultiplexedConnection, count: u16, step: Step) {
    let partitions = Partitions::new(count).unwrap();
    for partition in Partitions::MOST.all() {
        let claim = Claim { step, partitions, epoch: Epoch::from_random(7), lease_ms: 0 };
        let in_the_way: String = run(redis, script::claim(&Namespace::default().keys(partition), claim)).await;
        assert_eq!(in_the_way, "");
    }
}

async fn claim_all(redis: &mut MultiplexedConnection, count: u16) {
    claim(redis, count, Step::Take).await;
    claim(redis, count, Step::Give).await;
}

/// Where an address is by this count.
fn stream(address: &str, count: u16) -> String {
    let address = address.parse().unwrap();
    Namespace::default().keys(Partitions::new(count).unwrap().of(&address)).stream(&address)
}

#[tokio::test]
async fn the_count_of_the_store_wins() {
    let server = Server::start();
    let mut redis = server.connection().await;
    for (count, at_first) in [(16, 1), (16, 32), (1, 32), (32, 16)] {
        command::<()>(&mut redis, "FLUSHALL").await;
        claim_all(&mut redis, count).await;
        let publisher = Publisher::builder(server.url()).partitions(Partitions::new(at_first).unwrap()).retries(0);
        let publisher = publisher.connect().await.unwrap();
        let events = (0..20).flat_map(|n| numbered(&format!("n/{n}"), 3)).collect();
        assert!(publisher.publish_all(events).await.iter().all(Result::is_ok));
        let to_all = (0..20).fold(Event::refresh("n/0"), |event, n| event.also_to(format!("n/{n}"))).version("3");
        publisher.publish(to_all).await.unwrap();
        for address in (0..20).map(|n| format!("n/{n}")) {
            assert_eq!(only_versions(&mut redis, &stream(&address, count)).await, numbers(4), "{count}, {address}");
        }
        command::<()>(&mut redis, "CONFIG RESETSTAT").await;
        publisher.publish(Event::refresh("n/0")).await.unwrap();
        assert_eq!(
            (calls(&mut redis, "evalsha").await, calls(&mut redis, "hmget").await),
            (1, 1),
            "no further question"
        );
    }
}

#[tokio::test]
async fn a_count_that_changes_is_followed() {
    let server = Server::start();
    let mut redis = server.connection().await;
    claim_all(&mut redis, 16).await;
    let publisher = Publisher::builder(server.url()).partitions(Partitions::CLUSTER).connect().await.unwrap();
    publisher.publish(Event::refresh("a").version("0")).await.unwrap();
    claim(&mut redis, 32, Step::Take).await;
    let impatient = Publisher::builder(server.url()).retries(0).connect().await.unwrap();
    let error = impatient.publish(Event::refresh("a")).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("is being changed"), "{error}");
    let changed = async {
        until("it has been tried", async || {
            let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut redis.clone()).await.unwrap();
            info.lines().any(|line| line.starts_with("cmdstat_evalsha:calls=") && !line.contains("calls=2,"))
        })
        .await;
        claim(&mut redis.clone(), 32, Step::Give).await;
    };
    let (published, ()) = tokio::join!(publisher.publish(Event::refresh("a").version("1")), changed);
    published.unwrap();
    assert_eq!(only_versions(&mut redis, &stream("a", 32)).await.last().unwrap(), "1");
}

#[tokio::test]
async fn where_a_partition_does_not_tell_the_others_do() {
    let server = Server::start();
    let mut redis = server.connection().await;
    claim_all(&mut redis, 16).await;
    let elsewhere = |n: &u32| stream(&format!("n/{n}"), 32) != stream(&format!("n/{n}"), 16);
    let address = format!("n/{}", (0..).find(elsewhere).unwrap());
    let lost = Namespace::default().keys(Partitions::MOST.of(&address.parse().unwrap())).epoch();
    command::<u8>(&mut redis, &format!("HDEL {lost} partitions")).await;
    let publisher = Publisher::builder(server.url()).retries(0);
    // By a count that nobody goes by: what this partition took was not all.
    let wrong = publisher.clone().partitions(Partitions::MOST).connect().await.unwrap();
    wrong.publish(Event::refresh(&address).version("0")).await.unwrap();
    assert_eq!(only_versions(&mut redis, &stream(&address, 16)).await, numbers(1));
    // While others are being changed it may be too.
    command::<u8>(&mut redis, "HDEL {tidings:0}:e partitions").await;
    command::<u8>(&mut redis, "HSET {tidings:5}:e partitions 0").await;
    let one = publisher.partitions(Partitions::ONE).connect().await.unwrap();
    let error = one.publish(Event::refresh("a")).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("is being changed"), "{error}");
}

#[tokio::test]
async fn an_event_goes_to_the_partition_of_each_address() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let partitions = Partitions::new(2).unwrap();
    let publisher = Publisher::builder(server.url()).partitions(partitions).namespace("shop".parse().unwrap());
    let publisher = publisher.connect().await.unwrap();
    let events = (0..20).fold(Event::refresh("n/0"), |event, n| event.also_to(format!("n/{n}")));
    let receipt = publisher.publish(events.key("k")).await.unwrap();
    let mut of_each = [0, 0];
    for (address, id) in &receipt.ids {
        let partition = partitions.of(&address.parse().unwrap()).index();
        of_each[partition] += 1;
        let found = versions(&mut redis, &format!("{{shop:{partition}}}:t:{address}")).await;
        assert_eq!(found, [(id.to_string(), String::new())]);
    }
    assert!(of_each[0] > 0 && of_each[1] > 0 && of_each[0] + of_each[1] == 20, "{of_each:?}");
    for partition in 0..2 {
        assert_eq!(command::<usize>(&mut redis, &format!("XLEN {{shop:{partition}}}:j")).await, 1);
    }
    // As if the first call had come to one partition only: a retry with the key completes it.
    let [key] = &command::<Vec<String>>(&mut redis, "KEYS {shop:1}:k:*").await[..] else { panic!("one key") };
    command::<()>(&mut redis, &format!("DEL {key}")).await;
    let events = (0..20).fold(Event::refresh("n/0"), |event, n| event.also_to(format!("n/{n}")));
    assert!(!publisher.publish(events.key("k")).await.unwrap().duplicate);
    assert_eq!(command::<usize>(&mut redis, "XLEN {shop:0}:j").await, 1);
    assert_eq!(command::<usize>(&mut redis, "XLEN {shop:1}:j").await, 2);
}

#[tokio::test]
async fn many_keep_their_order_and_a_bad_one_keeps_nobody_back() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let publisher = Publisher::connect(server.url()).await.unwrap();
    let mut events = numbered("a", 700);
    events.insert(300, Event::refresh("not an address"));
    let results = publisher.publish_all(events).await;
    let error = results[300].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.invalid().unwrap().field()), (ErrorKind::InvalidEvent, "to"));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 700);
    assert_eq!(only_versions(&mut redis, "{tidings:0}:t:a").await, numbers(700));
    let stats = publisher.stats();
    assert_eq!((stats.published, stats.failed), (700, 1));
}

// When Redis misbehaves

#[tokio::test]
async fn an_answer_that_is_lost_doubles_nothing() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let proxy = Proxy::start(server.port()).await;
    let publisher = Publisher::connect(proxy.url()).await.unwrap();
    proxy.cut_answers(1);
    let receipt = publisher.publish(Event::refresh("a").version("1")).await.unwrap();
    assert_eq!(proxy.cuts_left(), 0);
    assert!(!receipt.duplicate, "the call's own first attempt is no duplicate");
    let found = versions(&mut redis, "{tidings:0}:t:a").await;
    assert_eq!(found, [(receipt.ids["a"].to_string(), "1".to_owned())]);
}

#[tokio::test]
async fn without_a_key_a_lost_answer_does_double() {
    // The twin of the test above: what it shows is the work of the key.
    let server = Server::start();
    let mut redis = server.connection().await;
    let proxy = Proxy::start(server.port()).await;
    let publisher = Publisher::builder(proxy.url()).retries(0).connect().await.unwrap();
    proxy.cut_answers(1);
    let error = publisher.publish(Event::refresh("a")).await.unwrap_err();
    assert!(error.is_retryable() && error.kind() == ErrorKind::Unavailable, "{error}");
    publisher.publish(Event::refresh("a")).await.unwrap();
    assert_eq!(command::<usize>(&mut redis, "XLEN {tidings:0}:t:a").await, 2);
}

#[tokio::test]
async fn many_keep_their_order_over_cuts() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let proxy = Proxy::start(server.port()).await;
    let publisher = Publisher::builder(proxy.url()).retries(10).connect().await.unwrap();
    let cutter = async {
        for _ in 0..3 {
            let before = publisher.stats().published;
            proxy.cut_answers(1);
            until("a cut", async || proxy.cuts_left() == 0).await;
            until("progress", async || publisher.stats().published > before).await;
        }
    };
    let (results, ()) = futures_util::future::join(publisher.publish_all(numbered("a", 5_000)), cutter).await;
    assert!(results.iter().all(Result::is_ok));
    let seen = only_versions(&mut redis, "{tidings:0}:t:a").await;
    assert_eq!(seen, numbers(5_000)[5_000 - seen.len()..], "in order, none twice, none missing");
    let journal: usize = command(&mut redis, "XLEN {tidings:0}:j").await;
    assert_eq!(journal, 5_000);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_killed_redis_and_nothing_is_there_twice() {
    let mut server = Server::durable();
    let publisher = Publisher::builder(server.url()).retries(20).connect().await.unwrap();
    let publishing = async {
        let mut receipts = HashMap::new();
        for round in 0..20 {
            let events = (0..20).map(|n| Event::refresh("a").version(format!("{round}-{n}")));
            let results = join_all(events.map(|event| publisher.publish(event))).await;
            for (n, result) in results.into_iter().enumerate() {
                receipts.insert(format!("{round}-{n}"), result.unwrap().ids["a"].to_string());
            }
        }
        receipts
    };
    let killing = async {
        for round in 1..4 {
            until("progress", async || publisher.stats().published >= round * 80).await;
            server.kill();
            server.restart();
        }
    };
    let (receipts, ()) = futures_util::future::join(publishing, killing).await;
    let found = versions(&mut server.connection().await, "{tidings:0}:t:a").await;
    assert_eq!(found.len(), 400, "each is there, none twice");
    for (id, version) in found {
        assert_eq!(receipts[&version], id);
    }
}

#[tokio::test]
async fn a_silent_redis_is_given_up_and_its_connection_too() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let short = Duration::from_millis(100);
    let publisher = Publisher::builder(proxy.url()).timeout(short).retries(0).connect().await.unwrap();
    proxy.deaf(true);
    let error = publisher.publish(Event::refresh("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true));
    proxy.deaf(false);
    publisher.publish(Event::refresh("a")).await.unwrap();
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a_redis_that_is_away_is_retryable_and_comes_back() {
    let mut server = Server::durable();
    let publisher = Publisher::builder(server.url()).retries(0).connect().await.unwrap();
    server.kill();
    let results = publisher.publish_all(numbered("a", 1_000)).await;
    assert!(results.iter().all(|result| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable)));
    assert_eq!(publisher.stats().failed, 1_000);
    let error = Publisher::builder(server.url()).retries(0).connect().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    server.restart();
    until("it is back", async || publisher.publish(Event::refresh("a")).await.is_ok()).await;
}

#[tokio::test]
async fn a_replica_is_waited_for_until_it_is_primary() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let publisher = Publisher::builder(server.url()).retries(50).connect().await.unwrap();
    command::<()>(&mut redis, "REPLICAOF 127.0.0.1 1").await;
    let promote = async {
        until("a refusal", async || {
            let stats: String = command(&mut redis.clone(), "INFO errorstats").await;
            stats.contains("errorstat_READONLY")
        })
        .await;
        command::<()>(&mut redis.clone(), "REPLICAOF NO ONE").await;
    };
    let (result, ()) = futures_util::future::join(publisher.publish(Event::refresh("a")), promote).await;
    result.unwrap();
}

#[tokio::test]
async fn a_user_who_may_not_load_scripts_can_publish() {
    let server = Server::start();
    let mut redis = server.connection().await;
    command::<()>(&mut redis, "ACL SETUSER shop on >pw ~{tidings:* &{tidings:* +@all -script").await;
    let url = server.url().replace("//", "//shop:pw@");
    Publisher::connect(&url).await.unwrap().publish(Event::refresh("a")).await.unwrap();
    let error = Publisher::builder(&url).namespace("other".parse().unwrap()).lazy().unwrap();
    assert_eq!(error.publish(Event::refresh("a")).await.unwrap_err().kind(), ErrorKind::Refused);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_told() {
    let server = Server::start();
    let mut redis = server.connection().await;
    command::<()>(&mut redis, "CONFIG SET requirepass richtig").await;
    let url = |password| server.url().replace("//", &format!("//:{password}@"));
    for wrong in [server.url(), url("geheim")] {
        let error = Publisher::connect(wrong).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Refused, false), "{error}");
        assert!(!format!("{error} {error:?}").contains("geheim"));
    }
    Publisher::connect(url("richtig")).await.unwrap().publish(Event::refresh("a")).await.unwrap();
}

#[tokio::test]
async fn what_redis_says_is_told_in_its_words_and_judged() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let publisher = Publisher::builder(server.url()).retries(0).connect().await.unwrap();
    for (fault, undo, kind, words) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", ErrorKind::Unavailable, "OOM command not allowed"),
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            ErrorKind::Unavailable,
            "NOREPLICAS Not enough good replicas",
        ),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", ErrorKind::Unavailable, "READONLY You can't write"),
        ("SET {tidings:0}:t:a x", "DEL {tidings:0}:t:a", ErrorKind::Refused, "WRONGTYPE Operation against a key"),
    ] {
        command::<()>(&mut redis, fault).await;
        let error = publisher.publish(Event::refresh("a")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, kind == ErrorKind::Unavailable), "{error}");
        let told = format!("127.0.0.1:{}: EVALSHA: {words}", server.port());
        assert!(error.to_string().contains(&told), "{error}");
        command::<()>(&mut redis, undo).await;
        until("it is taken again", async || publisher.publish(Event::refresh("a")).await.is_ok()).await;
    }
}

#[tokio::test]
async fn a_busy_redis_is_waited_for() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let publisher = Publisher::builder(server.url()).retries(50).connect().await.unwrap();
    command::<()>(&mut redis, "CONFIG SET busy-reply-threshold 1").await;
    let mut other = server.connection().await;
    let busy = tokio::spawn(async move {
        redis::cmd("EVAL").arg("while true do end").arg(0).query_async::<()>(&mut other).await.is_err()
    });
    until("it is busy", async || {
        redis::cmd("PING").query_async::<()>(&mut redis).await.is_err_and(|error| error.code() == Some("BUSY"))
    })
    .await;
    let once = Publisher::builder(server.url()).retries(0).lazy().unwrap();
    let error = once.publish(Event::refresh("a")).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("BUSY"), "{error}");
    let waiting = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish(Event::refresh("a")).await }
    });
    command::<()>(&mut redis, "SCRIPT KILL").await;
    assert!(busy.await.unwrap(), "the script was ended");
    waiting.await.unwrap().unwrap();
}

// notify

#[tokio::test]
async fn notify_coalesces_and_flushes_on_shutdown() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let publisher = Publisher::connect(server.url()).await.unwrap();
    // The task cannot run before this one waits, so all of these meet in the queue.
    for n in 0..100 {
        publisher.notify(Event::refresh("a").version(n.to_string()));
        publisher.notify(Event::refresh("b").version(n.to_string()).coalesce(false));
    }
    publisher.notify(Event::refresh("not an address"));
    assert!(publisher.stats().queued_bytes > 0);
    publisher.shutdown(SOON).await.unwrap();
    assert_eq!(only_versions(&mut redis, "{tidings:0}:t:a").await, ["99"]);
    assert_eq!(only_versions(&mut redis, "{tidings:0}:t:b").await, numbers(100));
    let stats = publisher.stats();
    assert_eq!((stats.published, stats.failed, stats.coalesced), (101, 1, 99));
    assert_eq!((stats.dropped, stats.queued_bytes), (0, 0));
    assert_eq!(publisher.publish(Event::refresh("a")).await.unwrap_err().kind(), ErrorKind::Closed);
    publisher.notify(Event::refresh("a"));
    assert_eq!(publisher.stats().dropped, 1);
    publisher.shutdown(SOON).await.unwrap();
}

#[tokio::test]
async fn notify_waits_for_a_redis_that_is_away_and_counts_what_it_drops() {
    let mut server = Server::durable();
    let publisher = Publisher::builder(server.url()).notify_bytes(20_000).connect().await.unwrap();
    server.kill();
    for n in 0..200 {
        publisher.notify(Event::refresh(format!("a/{n}")));
        tokio::task::yield_now().await;
    }
    let stats = publisher.stats();
    assert!(stats.dropped > 0 && stats.queued_bytes <= 20_000 && stats.queued_bytes > 15_000, "{stats:?}");
    server.restart();
    publisher.shutdown(SOON).await.unwrap();
    let journal: u64 = command(&mut server.connection().await, "XLEN {tidings:0}:j").await;
    assert_eq!((publisher.stats().published, journal), (200 - stats.dropped, 200 - stats.dropped));
}

#[tokio::test]
async fn notify_keeps_its_order_over_cuts() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let proxy = Proxy::start(server.port()).await;
    let publisher = Publisher::builder(proxy.url()).notify_bytes(usize::MAX).connect().await.unwrap();
    proxy.cut_answers(2);
    numbered("a", 600).into_iter().for_each(|event| publisher.notify(event.coalesce(false)));
    publisher.shutdown(SOON).await.unwrap();
    assert_eq!(proxy.cuts_left(), 0);
    assert_eq!(only_versions(&mut redis, "{tidings:0}:t:a").await, numbers(600));
}

#[tokio::test]
async fn a_deadline_that_passes_tells_what_was_lost() {
    let mut server = Server::start();
    let publisher = Publisher::connect(server.url()).await.unwrap();
    server.kill();
    numbered("a", 3).into_iter().for_each(|event| publisher.notify(event.coalesce(false)));
    let error = publisher.shutdown(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("3 events"), "{error}");
    assert_eq!((publisher.stats().dropped, publisher.stats().queued_bytes), (3, 0));
}

#[tokio::test]
async fn the_last_handle_to_go_leaves_nothing_behind() {
    let server = Server::start();
    let mut redis = server.connection().await;
    let publisher = Publisher::connect(server.url()).await.unwrap();
    let other = publisher.clone();
    other.notify(Event::refresh("a"));
    drop(publisher);
    drop(other);
    until("it is sent", async || command::<usize>(&mut redis, "XLEN {tidings:0}:t:a").await == 1).await;
    until("the connection is closed", async || {
        let clients: String = command(&mut redis, "CLIENT LIST").await;
        clients.lines().count() == 1
    })
    .await;
}

#[tokio::test]
async fn a_disabled_publisher_does_nothing_and_never_fails() {
    let publisher = Publisher::disabled();
    assert_eq!(publisher.publish(Event::refresh("a")).await.unwrap().id("a"), Some(Id::ZERO));
    publisher.notify(Event::refresh("a"));
    publisher.shutdown(SOON).await.unwrap();
}
