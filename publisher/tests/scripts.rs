//! Every script of the Redis contract, against a real Redis.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed wish is a failed test")]

mod server;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, ParsingError, Value, from_redis_value};
use server::{Server, attempt, command, run, until};
use tidings_shared::keys::{Keys, Namespace};
use tidings_shared::script::{self, Beacon, Claim, Publish, Span, Step};
use tidings_shared::{Address, Count, Epoch, Id, Message, Partition, Partitions, Retention};

const PLENTY: u64 = 1 << 20;
const RETENTION: Retention = Retention { events: 1_000, age_ms: 60_000, journal: 1_000 };

/// A store with one partition, as the scripts see it.
struct Store {
    server: Server,
    redis: MultiplexedConnection,
    keys: Keys,
    /// Steps of claims so far: each brings another epoch.
    steps: u32,
}

impl Store {
    async fn start() -> Self {
        let server = Server::start();
        let redis = server.connection().await;
        Self { server, redis, keys: Namespace::default().keys(Partition::FIRST), steps: 0 }
    }

    async fn publish(&mut self, to: &[&str]) -> Published {
        self.publish_keyed(to, None).await
    }

    async fn publish_keyed(&mut self, to: &[&str], key: Option<(&str, u64)>) -> Published {
        let (addresses, partitions) = (addresses(to), Partitions::ONE);
        let publish = Publish { key, ..published(&addresses, partitions) };
        run(&mut self.redis, script::publish(&self.keys, publish)).await
    }

    /// Publishes by this count: whether it was taken, and which count is told.
    async fn publish_by(&mut self, count: u16) -> (bool, Count) {
        let (addresses, partitions) = (addresses(&["a"]), Partitions::new(count).unwrap());
        let call = script::publish(&self.keys, published(&addresses, partitions));
        let (id, _, _, told): (String, String, u8, String) = run(&mut self.redis, call).await;
        (!id.is_empty(), told.parse().unwrap())
    }

    /// A step of a claim: what is in the way, or else nothing.
    async fn claim(&mut self, step: Step, count: u16) -> String {
        self.steps += 1;
        let (partitions, epoch) = (Partitions::new(count).unwrap(), epoch(100 + self.steps));
        let claim = Claim { step, partitions, epoch, lease_ms: LEASE };
        run(&mut self.redis, script::claim(&self.keys, claim)).await
    }

    async fn claim_all(&mut self, count: u16) {
        for step in [Step::Take, Step::Give] {
            assert_eq!(self.claim(step, count).await, "");
        }
    }

    /// A beacon by this count: its epoch, or the error.
    async fn beacon_by(&mut self, count: u16) -> Result<String, String> {
        let beacon = Beacon { partitions: Some(Partitions::new(count).unwrap()), ..beaconed(7) };
        let call = script::beacon(&self.keys, beacon);
        let answer = attempt::<(String, String)>(&mut self.redis, call).await;
        answer.map(|(epoch, _)| epoch).map_err(|error| {
            assert_eq!(error.code(), Some(script::PARTITIONS), "{error}");
            error.detail().unwrap().to_owned()
        })
    }

    async fn count(&mut self) -> Option<String> {
        let told: Vec<Option<String>> =
            redis::cmd("HMGET").arg(&script::count(&self.keys)).query_async(&mut self.redis).await.unwrap();
        told[0].clone()
    }

    async fn attach(&mut self, new_epoch: u32, run_id: &str, retention: Retention) -> (String, String) {
        self.beacon(new_epoch, run_id, Id::ZERO, Some(retention)).await
    }

    async fn beacon(&mut self, bits: u32, run_id: &str, seen: Id, attach: Option<Retention>) -> (String, String) {
        let beacon = Beacon {
            seen,
            run: run_id,
            attaching: attach.is_some(),
            retention: attach.unwrap_or(RETENTION),
            ..beaconed(bits)
        };
        run(&mut self.redis, script::beacon(&self.keys, beacon)).await
    }

    async fn history(&mut self, to: &[&str], span: Span, bytes: u64) -> History {
        run(&mut self.redis, script::history(&self.keys, &addresses(to), span, bytes)).await
    }

    async fn missed(&mut self, after: Id, up_to: Option<Id>, entries: u64) -> Missed {
        run(&mut self.redis, script::missed(&self.keys, after, up_to, entries)).await
    }

    async fn command<T: FromRedisValue>(&mut self, words: &str) -> T {
        command(&mut self.redis, words).await
    }

    async fn now_ms(&mut self) -> u64 {
        let (seconds, micros): (u64, u64) = self.command("TIME").await;
        seconds * 1000 + micros / 1000
    }
}

/// For how long a claim lasts, and a beacon that goes by a count keeps others away, in milliseconds.
const LEASE: u64 = 60_000;

fn published(addresses: &[Address], partitions: Partitions) -> Publish<'_> {
    let (key, epoch, retention) = (None, epoch(1), Retention::default());
    Publish { addresses, message: MESSAGE, partitions, key, epoch, retention }
}

/// Whichever count there is.
fn beaconed(bits: u32) -> Beacon<'static> {
    let (epoch, seen, retention) = (epoch(bits), Id::ZERO, RETENTION);
    let (gateway, run, attaching, partitions, lease_ms) = ("gw", "run", false, None, LEASE);
    let (mark, hold_ms) = (None, None);
    Beacon { gateway, seen, epoch, run, attaching, retention, partitions, lease_ms, mark, hold_ms }
}

const MESSAGE: &str = "c - - - - {\"time\":\"t\"}";

fn addresses(texts: &[&str]) -> Vec<Address> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn epoch(bits: u32) -> Epoch {
    Epoch::from_random(bits)
}

#[derive(Debug)]
struct Published {
    id: Id,
    epoch: String,
    known: bool,
}

impl FromRedisValue for Published {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (id, epoch, known, _count): (String, String, bool, String) = from_redis_value(value)?;
        Ok(Self { id: id.parse().unwrap(), epoch, known })
    }
}

#[derive(Debug)]
struct History {
    epoch: String,
    last: Id,
    /// Status and ids of each address.
    found: Vec<(String, Vec<Id>)>,
}

impl FromRedisValue for History {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut parts = Vec::<Value>::from_redis_value(value)?.into_iter();
        let mut text = || from_redis_value::<String>(parts.next().unwrap());
        let (epoch, last) = (text()?, text()?.parse().unwrap());
        let mut found = Vec::new();
        while let Some(status) = parts.next() {
            let entries: Vec<(String, String)> = from_redis_value(parts.next().unwrap())?;
            entries.iter().for_each(|(_, message)| assert!(Message::decode(message).is_ok(), "{message}"));
            found.push((from_redis_value(status)?, entries.iter().map(|(id, _)| id.parse().unwrap()).collect()));
        }
        Ok(Self { epoch, last, found })
    }
}

impl History {
    /// Status and ids of the only address.
    fn one(&self) -> (&str, &[Id]) {
        assert_eq!(self.found.len(), 1, "{self:?}");
        (&self.found[0].0, &self.found[0].1)
    }
}

#[derive(Debug)]
struct Missed {
    epoch: String,
    last: Id,
    complete: bool,
    next: Option<Id>,
    addresses: Vec<String>,
}

impl FromRedisValue for Missed {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (epoch, last, complete, next, addresses): (String, String, bool, String, Vec<String>) =
            from_redis_value(value)?;
        Ok(Self { epoch, last: last.parse().unwrap(), complete, next: next.parse().ok(), addresses })
    }
}

// publish

#[tokio::test]
async fn publish_writes_journal_streams_and_expiry() {
    let mut store = Store::start().await;
    let published = store.publish(&["orders/42", "@alice", "@alice/inbox"]).await;
    assert!(!published.known);
    assert_eq!(published.epoch, epoch(1).to_string());
    let id = published.id.to_string();
    let journal: Vec<(String, Vec<(String, String)>)> = store.command("XRANGE {tidings:0}:j - +").await;
    let named = ["orders/42", "@alice", "@alice/inbox"].map(|to| ("a".to_owned(), to.to_owned()));
    assert_eq!(journal, [(id.clone(), named.to_vec())]);
    for stream in ["t:orders/42", "u:alice", "u:alice/inbox"] {
        let entries: Vec<(String, Vec<(String, String)>)> =
            store.command(&format!("XRANGE {{tidings:0}}:{stream} - +")).await;
        assert_eq!(entries, [(id.clone(), vec![("m".to_owned(), MESSAGE.to_owned())])]);
        let ttl: u64 = store.command(&format!("PTTL {{tidings:0}}:{stream}")).await;
        assert!(ttl <= Retention::default().age_ms && ttl > Retention::default().age_ms - 20_000, "{ttl}");
    }
    assert!(store.publish(&["orders/42"]).await.id > published.id);
    assert_eq!(store.command::<i64>("PTTL {tidings:0}:j").await, -1);
}

#[tokio::test]
async fn publish_keeps_what_the_gateways_ask_for() {
    let mut store = Store::start().await;
    store.attach(1, "run", Retention { events: 100, age_ms: 5_000, journal: 200 }).await;
    for _ in 0..1_000 {
        store.publish(&["a"]).await;
    }
    let (events, journal): (u64, u64) =
        (store.command("XLEN {tidings:0}:t:a").await, store.command("XLEN {tidings:0}:j").await);
    assert!((100..=200).contains(&events) && (200..=300).contains(&journal), "{events} {journal}");
    assert!(store.command::<u64>("PTTL {tidings:0}:t:a").await <= 5_000);
}

#[tokio::test]
async fn a_stream_outlives_its_places_even_if_the_clock_is_behind_them() {
    let mut store = Store::start().await;
    let behind = 3_600_000;
    let future = Id { ms: store.now_ms().await + behind, seq: 0 };
    store.beacon(7, "run", future, Some(RETENTION)).await;
    store.publish(&["a"]).await;
    let ttl: u64 = store.command("PTTL {tidings:0}:t:a").await;
    assert!(ttl > behind + RETENTION.age_ms - 20_000, "{ttl}");
}

#[tokio::test]
async fn a_known_key_publishes_nothing_again_until_it_is_forgotten() {
    let mut store = Store::start().await;
    let first = store.publish_keyed(&["a", "b"], Some(("k", 60_000))).await;
    let again = store.publish_keyed(&["a", "b"], Some(("k", 60_000))).await;
    assert_eq!((again.id, again.known, first.known), (first.id, true, false));
    assert_eq!(store.command::<u64>("XLEN {tidings:0}:j").await, 1);
    assert_eq!(store.command::<u64>("XLEN {tidings:0}:t:b").await, 1);
    assert!(!store.publish_keyed(&["a"], Some(("short", 1))).await.known);
    until("the key is forgotten", async || {
        redis::cmd("EXISTS").arg("{tidings:0}:k:short").query_async::<u8>(&mut store.redis.clone()).await.unwrap() == 0
    })
    .await;
    assert!(!store.publish_keyed(&["a"], Some(("short", 1))).await.known);
}

// beacon

#[tokio::test]
async fn a_server_that_is_fenced_off_takes_nothing_until_a_gateway_attaches() {
    let mut store = Store::start().await;
    store.attach(1, "run", RETENTION).await;
    let (key, field, value) = script::fence(&store.keys);
    store.command::<u8>(&format!("HSET {key} {field} {value}")).await;
    store.beacon(1, "run", Id::ZERO, None).await;
    let call = script::publish(&store.keys, published(&addresses(&["a"]), Partitions::ONE));
    let refused = attempt::<Value>(&mut store.redis, call).await.unwrap_err();
    assert_eq!(refused.code(), Some("READONLY"), "{refused}");
    assert_eq!(store.command::<u8>("EXISTS {tidings:0}:t:a").await, 0);
    store.attach(1, "run", RETENTION).await;
    store.publish(&["a"]).await;
}

#[tokio::test]
async fn the_first_beacon_begins_an_epoch_and_sets_the_retention() {
    let mut store = Store::start().await;
    let (told, last) = store.attach(7, "run", RETENTION).await;
    assert_eq!(told, epoch(7).to_string());
    let kept: Vec<String> = store.command("HMGET {tidings:0}:e epoch run events age journal").await;
    assert_eq!(kept, [told.as_str(), "run", "1000", "60000", "1000"]);
    let (now, last) = (store.now_ms().await, last.parse::<Id>().unwrap());
    assert!(last.ms <= now && now - last.ms < 10_000, "{last} at {now}");
    assert!(store.publish(&["a"]).await.id > last);
    assert_eq!(store.publish(&["a"]).await.epoch, told);
}

#[tokio::test]
async fn a_beacon_keeps_the_epoch_of_the_same_server_and_retention() {
    let mut store = Store::start().await;
    let (told, _) = store.attach(7, "run", RETENTION).await;
    assert_eq!(store.beacon(8, "run", Id::ZERO, None).await.0, told);
    assert_eq!(store.attach(9, "run", RETENTION).await.0, told);
    let shorter = Retention { age_ms: 30_000, ..RETENTION };
    assert_eq!(store.attach(9, "run", shorter).await.0, told);
    assert_eq!(store.command::<String>("HGET {tidings:0}:e age").await, "30000");
}

#[tokio::test]
async fn another_server_or_a_longer_age_is_another_history() {
    let mut store = Store::start().await;
    store.attach(7, "run", RETENTION).await;
    assert_eq!(store.beacon(8, "other", Id::ZERO, None).await.0, epoch(8).to_string());
    assert_eq!(store.beacon(9, "other", Id::ZERO, None).await.0, epoch(8).to_string());
    let longer = Retention { age_ms: RETENTION.age_ms + 1, ..RETENTION };
    assert_eq!(store.attach(10, "other", longer).await.0, epoch(10).to_string());
    assert_eq!(store.publish(&["a"]).await.epoch, epoch(10).to_string());
}

#[tokio::test]
async fn a_server_that_was_a_replica_meanwhile_is_another() {
    let mut store = Store::start().await;
    store.attach(7, "run", RETENTION).await;
    assert_eq!(store.beacon(8, "run", Id::ZERO, None).await.0, epoch(7).to_string());
    store.command::<()>("REPLICAOF 127.0.0.1 1").await;
    store.command::<()>("REPLICAOF NO ONE").await;
    assert_eq!(store.beacon(9, "run", Id::ZERO, None).await.0, epoch(9).to_string());
    assert_eq!(store.beacon(10, "run", Id::ZERO, None).await.0, epoch(9).to_string());
}

#[tokio::test]
async fn which_server_it_is_need_not_matter() {
    let mut store = Store::start().await;
    store.attach(7, "run", RETENTION).await;
    store.command::<()>("REPLICAOF 127.0.0.1 1").await;
    store.command::<()>("REPLICAOF NO ONE").await;
    assert_eq!(store.beacon(8, "", Id::ZERO, None).await.0, epoch(7).to_string());
}

#[tokio::test]
async fn a_history_from_before_replication_ids_were_kept_goes_on() {
    let mut store = Store::start().await;
    store.attach(7, "run", RETENTION).await;
    assert_eq!(store.command::<u8>("HDEL {tidings:0}:e replid").await, 1);
    assert_eq!(store.beacon(8, "run", Id::ZERO, None).await.0, epoch(7).to_string());
    assert_eq!(store.command::<u8>("HEXISTS {tidings:0}:e replid").await, 1);
}

#[tokio::test]
async fn streams_that_publishers_kept_by_their_own_measure_are_another_history() {
    let mut store = Store::start().await;
    assert_eq!(store.publish(&["a"]).await.epoch, epoch(1).to_string());
    assert_eq!(store.beacon(8, "run", Id::ZERO, None).await.0, epoch(8).to_string());
    assert_eq!(store.command::<String>("HGET {tidings:0}:e age").await, "60000");
    assert_eq!(store.beacon(9, "run", Id::ZERO, None).await.0, epoch(8).to_string());
}

#[tokio::test]
async fn a_journal_that_is_gone_is_another_history() {
    let mut store = Store::start().await;
    let told = store.attach(7, "run", RETENTION).await.0;
    assert_eq!(store.publish(&["a"]).await.epoch, told);
    store.command::<()>("DEL {tidings:0}:j").await;
    assert_eq!(store.beacon(8, "run", Id::ZERO, None).await.0, epoch(8).to_string());
    assert_eq!(store.publish(&["a"]).await.epoch, epoch(8).to_string());
    store.command::<()>("DEL {tidings:0}:j").await;
    assert_eq!(store.publish(&["a"]).await.epoch, epoch(1).to_string());
    assert_eq!(store.beacon(9, "run", Id::ZERO, None).await.0, epoch(1).to_string());
}

#[tokio::test]
async fn a_history_may_begin_below_streams_of_one_that_is_gone() {
    let mut store = Store::start().await;
    store.publish(&["a"]).await;
    store.command::<()>("XSETID {tidings:0}:t:a 99999999999999-0").await;
    store.command::<()>("DEL {tidings:0}:j").await;
    let published = store.publish(&["a"]).await;
    assert_eq!(store.command::<i64>("XLEN {tidings:0}:t:a").await, 1);
    assert!(store.publish(&["a"]).await.id > published.id);
    assert_eq!(store.command::<i64>("XLEN {tidings:0}:t:a").await, 2);
}

#[tokio::test]
async fn ids_stay_above_what_a_gateway_has_seen() {
    let mut store = Store::start().await;
    store.publish(&["a"]).await;
    let future = Id { ms: store.now_ms().await + 3_600_000, seq: 7 };
    let (_, last) = store.beacon(8, "run", future, None).await;
    assert_eq!(last, future.to_string());
    let (_, last) = store.beacon(8, "run", Id::ZERO, None).await;
    assert_eq!(last, future.to_string(), "it never goes back");
    assert!(store.publish(&["a"]).await.id > future);
    let mut empty = Store::start().await;
    empty.beacon(8, "run", future, None).await;
    assert!(empty.publish(&["a"]).await.id > future, "a journal that was not there yet");
}

#[tokio::test]
async fn a_beacon_lifts_a_quiet_journal_and_comes_by_its_channel() {
    let mut store = Store::start().await;
    let client = redis::Client::open(store.server.url()).unwrap();
    let (mut sink, mut messages) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe("{tidings:0}:b:gw").await.unwrap();
    let published = store.publish(&["a"]).await;
    until("the clock moves on", async || store.now_ms().await > published.id.ms).await;
    let (told, last) = store.beacon(8, "run", published.id, None).await;
    assert!(last.parse::<Id>().unwrap() > published.id);
    let message = futures_util::StreamExt::next(&mut messages).await.unwrap();
    let (id, epoch) = tidings_shared::message::decode_mark(message.get_payload::<String>().unwrap().as_str()).unwrap();
    assert_eq!((id.to_string(), epoch.to_string()), (last, told));
    assert_eq!(store.command::<u64>("XLEN {tidings:0}:j").await, 1, "lifting adds no entry");
}

// claim

#[tokio::test]
async fn a_partition_takes_only_what_is_published_by_its_count() {
    let mut store = Store::start().await;
    assert_eq!(store.publish_by(1).await, (true, Count::Unset), "no gateway was ever there");
    store.claim_all(16).await;
    let entries = async |store: &mut Store| store.command::<u64>("XLEN {tidings:0}:j").await;
    let before = entries(&mut store).await;
    assert_eq!(store.publish_by(1).await, (false, Count::Is(Partitions::CLUSTER)));
    assert_eq!(entries(&mut store).await, before);
    assert_eq!(store.publish_by(16).await, (true, Count::Is(Partitions::CLUSTER)));
    assert_eq!(store.claim(Step::Take, 16).await, "");
    assert_eq!(store.publish_by(16).await, (false, Count::Changing), "taken, and given to nobody yet");
}

#[tokio::test]
async fn a_count_that_somebody_goes_by_is_not_taken() {
    let mut store = Store::start().await;
    store.claim_all(16).await;
    assert_eq!(store.claim(Step::Take, 32).await, "16", "whoever claimed it is about to go by it");
    assert_eq!(store.claim(Step::Give, 32).await, "16");
    store.command::<u8>("HSET {tidings:0}:e until 1").await;
    store.beacon_by(16).await.unwrap();
    assert_eq!(store.claim(Step::Take, 32).await, "16");
    store.command::<u8>("HSET {tidings:0}:e until 1").await;
    store.claim_all(32).await;
    assert_eq!(store.count().await.as_deref(), Some("32"));
}

#[tokio::test]
async fn of_two_that_claim_at_once_one_gets_it() {
    let mut store = Store::start().await;
    assert_eq!(store.claim(Step::Take, 16).await, "");
    assert_eq!(store.claim(Step::Take, 32).await, "16");
    // The first is slow, or has ended.
    store.command::<u8>("HSET {tidings:0}:e until 1").await;
    assert_eq!(store.claim(Step::Take, 32).await, "");
    assert_eq!(store.claim(Step::Give, 16).await, "32");
    assert_eq!(store.claim(Step::Give, 32).await, "");
    assert_eq!(store.claim(Step::Give, 16).await, "32");
    assert_eq!(store.claim(Step::Give, 32).await, "", "as it is");
    assert_eq!(store.count().await.as_deref(), Some("32"));
}

#[tokio::test]
async fn a_claim_begins_another_epoch() {
    let mut store = Store::start().await;
    let told = store.attach(7, "run", RETENTION).await.0;
    store.claim_all(1).await;
    assert_ne!(store.publish(&["a"]).await.epoch, told);
    let told = store.beacon_by(1).await.unwrap();
    assert_eq!(store.claim(Step::Give, 1).await, "");
    assert_eq!(store.publish(&["a"]).await.epoch, told, "it had it already");
    store.command::<u8>("HDEL {tidings:0}:e partitions").await;
    assert_eq!(store.claim(Step::Give, 1).await, "", "what lacks the count is given it without being taken");
    assert_ne!(store.publish(&["a"]).await.epoch, told);
}

#[tokio::test]
async fn a_beacon_is_refused_where_the_count_is_another() {
    let mut store = Store::start().await;
    assert_eq!(store.beacon_by(1).await.unwrap_err(), "no number of partitions is set");
    store.claim(Step::Take, 1).await;
    assert_eq!(store.beacon_by(1).await.unwrap_err(), "the number of partitions is being changed");
    store.claim(Step::Give, 1).await;
    store.beacon_by(1).await.unwrap();
    assert_eq!(store.beacon_by(16).await.unwrap_err(), "the namespace has 1 partitions");
    assert_eq!(store.count().await.as_deref(), Some("1"), "no beacon sets it");
}

// history

#[tokio::test]
async fn history_tells_all_that_came_after_a_place() {
    let mut store = Store::start().await;
    let (told, start) = store.attach(7, "run", RETENTION).await;
    let start: Id = start.parse().unwrap();
    let mut ids = Vec::new();
    for _ in 0..250 {
        ids.push(store.publish(&["a"]).await.id);
        store.publish(&["b"]).await;
    }
    let history = store.history(&["a", "quiet"], Span::After(start), PLENTY).await;
    assert_eq!((&history.epoch, history.found.len()), (&told, 2));
    assert_eq!(history.found[0], ("ok".into(), ids.clone()), "more than a page");
    assert_eq!(history.found[1], ("ok".into(), vec![]));
    assert!(history.last > ids[249]);
    assert_eq!(store.history(&["a"], Span::After(ids[99]), PLENTY).await.one(), ("ok", &ids[100..]));
    assert_eq!(store.history(&["a"], Span::After(history.last), PLENTY).await.one(), ("ok", &[][..]));
    assert_eq!(store.history(&["a"], Span::Between(ids[9], ids[19]), PLENTY).await.one(), ("ok", &ids[10..=19]));
    assert_eq!(store.history(&[], Span::After(start), PLENTY).await.last, history.last);
}

#[tokio::test]
async fn history_is_read_after_an_id_of_each_address() {
    let mut store = Store::start().await;
    let (_, start) = store.attach(7, "run", RETENTION).await;
    let start: Id = start.parse().unwrap();
    let old = Id { ms: start.ms - RETENTION.age_ms - 1_000, seq: 0 };
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(store.publish(&["a", "b", "c"]).await.id);
    }
    let call = script::history(&store.keys, &addresses(&["a", "b", "c"]), Span::After(start), PLENTY);
    let history: History = run(&mut store.redis, call.after_each(&[ids[8], start, old])).await;
    let expected = [("ok".into(), ids[9..].to_vec()), ("ok".into(), ids.clone()), ("lost".into(), vec![])];
    assert_eq!(history.found, expected, "the last is too old to tell, which is nothing to the others");
}

#[tokio::test]
async fn history_tells_when_it_was_trimmed() {
    let mut store = Store::start().await;
    let (_, start) = store.attach(7, "run", Retention { events: 100, ..RETENTION }).await;
    let start: Id = start.parse().unwrap();
    let mut ids = Vec::new();
    for _ in 0..400 {
        ids.push(store.publish(&["a"]).await.id);
    }
    let kept: u64 = store.command("XLEN {tidings:0}:t:a").await;
    assert!(kept < 400);
    let first = 400 - usize::try_from(kept).unwrap();
    let left = ("lost", &ids[first..]);
    assert_eq!(store.history(&["a"], Span::After(start), PLENTY).await.one(), left, "and all after the first of these");
    assert_eq!(store.history(&["a"], Span::After(ids[first - 1]), PLENTY).await.one(), left, "not provable");
    assert_eq!(store.history(&["a"], Span::After(ids[first]), PLENTY).await.one(), ("ok", &ids[first + 1..]));
    assert_eq!(store.history(&["a"], Span::After(ids[399]), PLENTY).await.one(), ("ok", &[][..]));
    let gone = Span::Between(start, ids[9]);
    assert_eq!(store.history(&["a"], gone, PLENTY).await.one(), ("lost", &[][..]), "nothing is left of what was there");
}

#[tokio::test]
async fn history_tells_when_the_place_is_older_than_what_is_kept() {
    let mut store = Store::start().await;
    store.attach(7, "run", RETENTION).await;
    let published = store.publish(&["a"]).await.id;
    let now = store.now_ms().await;
    let old = Id { ms: now - RETENTION.age_ms, seq: 0 };
    let young = Id { ms: now - RETENTION.age_ms + 20_000, seq: 0 };
    assert_eq!(store.history(&["a"], Span::After(old), PLENTY).await.one(), ("lost", &[][..]));
    assert_eq!(store.history(&["a"], Span::After(young), PLENTY).await.one(), ("ok", &[published][..]));
    assert_eq!(store.history(&["a"], Span::Between(old, published), PLENTY).await.one().0, "lost");
}

#[tokio::test]
async fn what_expired_while_the_clock_was_ahead_is_not_whole_when_it_steps_back() {
    let mut store = Store::start().await;
    let (_, start) = store.attach(7, "run", RETENTION).await;
    store.publish(&["a"]).await;
    let ahead = Id { ms: store.now_ms().await + 2 * RETENTION.age_ms, seq: 0 };
    store.beacon(7, "run", ahead, None).await;
    assert_eq!(store.command::<u8>("DEL {tidings:0}:t:a").await, 1, "as Redis does when its time has come");
    let start: Id = start.parse().unwrap();
    assert_eq!(store.history(&["a"], Span::After(start), PLENTY).await.one().0, "lost");
    assert_eq!(store.history(&["a"], Span::After(ahead), PLENTY).await.one().0, "ok");
}

#[tokio::test]
async fn history_vouches_for_nothing_where_no_gateway_has_set_a_retention() {
    let mut store = Store::start().await;
    let first = store.publish(&["a"]).await.id;
    assert_eq!(store.history(&["a"], Span::After(first), PLENTY).await.one(), ("lost", &[][..]));
    assert_eq!(store.history(&["a"], Span::Latest, PLENTY).await.one(), ("ok", &[first][..]));
}

#[tokio::test]
async fn history_stops_at_its_bytes() {
    let mut store = Store::start().await;
    let (_, start) = store.attach(7, "run", RETENTION).await;
    let span = Span::After(start.parse().unwrap());
    for _ in 0..4 {
        store.publish(&["a", "b"]).await;
    }
    let bytes = 4 * MESSAGE.len() as u64;
    let status = |history: History| history.found.into_iter().map(|(status, _)| status).collect::<Vec<_>>();
    assert_eq!(status(store.history(&["a", "b"], span, 2 * bytes).await), ["ok", "ok"]);
    assert_eq!(status(store.history(&["a", "b"], span, bytes).await), ["ok", "big"]);
    assert_eq!(status(store.history(&["a", "b", "c"], span, bytes - 1).await), ["big", "big", "big"]);
}

#[tokio::test]
async fn somebody_elses_key_does_not_keep_other_addresses_from_being_read() {
    let mut store = Store::start().await;
    let (_, start) = store.attach(1, "run", RETENTION).await;
    store.publish(&["a"]).await;
    store.publish(&["b"]).await;
    store.command::<()>("SET {tidings:0}:t:a mine").await;
    for span in [Span::After(start.parse().unwrap()), Span::Latest] {
        let found = store.history(&["a", "b"], span, PLENTY).await.found;
        let told: Vec<_> = found.iter().map(|(status, ids)| (status.as_str(), ids.len())).collect();
        assert_eq!(told, [("lost", 0), ("ok", 1)]);
    }
}

#[tokio::test]
async fn the_latest_event_is_told_however_old_the_rest() {
    let mut store = Store::start().await;
    store.attach(7, "run", Retention { events: 100, ..RETENTION }).await;
    let mut last = Id::ZERO;
    for _ in 0..300 {
        last = store.publish(&["a"]).await.id;
    }
    let history = store.history(&["a", "none"], Span::Latest, PLENTY).await;
    assert_eq!(history.found, [("ok".into(), vec![last]), ("ok".into(), vec![])]);
}

#[tokio::test]
async fn an_empty_store_has_no_history() {
    let mut store = Store::start().await;
    let history = store.history(&["a"], Span::Latest, PLENTY).await;
    assert_eq!((history.epoch.as_str(), history.last, history.one()), ("", Id::ZERO, ("ok", &[][..])));
    assert_eq!(store.history(&["a"], Span::After(Id { ms: 1, seq: 0 }), PLENTY).await.one().0, "lost");
}

// missed

#[tokio::test]
async fn missed_tells_each_address_once_a_page_at_a_time() {
    let mut store = Store::start().await;
    let (told, start) = store.attach(7, "run", RETENTION).await;
    let start: Id = start.parse().unwrap();
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(store.publish(&["a", "@u"]).await.id);
        ids.push(store.publish(&[&format!("b{n}")]).await.id);
    }
    let page = store.missed(start, None, 100).await;
    assert_eq!((&page.epoch, page.complete, page.next, page.last), (&told, true, None, ids[9]));
    assert_eq!(page.addresses, ["a", "@u", "b0", "b1", "b2", "b3", "b4"]);

    let page = store.missed(start, None, 4).await;
    assert_eq!(
        (page.complete, page.next, page.addresses),
        (true, Some(ids[3]), ["a", "@u", "b0", "b1"].map(Into::into).into())
    );
    store.publish(&["later"]).await;
    let page = store.missed(ids[3], Some(page.last), 6).await;
    assert_eq!(page.addresses, ["a", "@u", "b2", "b3", "b4"], "what came after the first page is left out");
    let page = store.missed(page.next.unwrap(), Some(ids[9]), 6).await;
    assert_eq!((page.next, page.addresses.len()), (None, 0));
}

#[tokio::test]
async fn missed_tells_when_the_journal_does_not_reach_back() {
    let mut store = Store::start().await;
    let (_, start) = store.attach(7, "run", Retention { journal: 100, ..RETENTION }).await;
    let start: Id = start.parse().unwrap();
    let mut last = Id::ZERO;
    for n in 0..400 {
        last = store.publish(&[&format!("a{n}")]).await.id;
    }
    assert!(store.command::<u64>("XLEN {tidings:0}:j").await < 400);
    assert!(!store.missed(start, None, 1_000).await.complete);
    let page = store.missed(last, None, 1_000).await;
    assert_eq!((page.complete, page.addresses.len(), page.last), (true, 0, last));
}

#[tokio::test]
async fn missed_says_nothing_of_an_empty_store() {
    let mut store = Store::start().await;
    let page = store.missed(Id { ms: 1, seq: 0 }, None, 10).await;
    assert_eq!((page.epoch.as_str(), page.last, page.complete, page.next), ("", Id::ZERO, false, None));
}

#[tokio::test]
async fn missed_is_complete_over_a_journal_that_a_beacon_lifted() {
    let mut store = Store::start().await;
    let (_, start) = store.attach(7, "run", RETENTION).await;
    store.publish(&["a"]).await;
    let future = Id { ms: store.now_ms().await + 60_000, seq: 0 };
    store.beacon(7, "run", future, None).await;
    let id = store.publish(&["b"]).await.id;
    let page = store.missed(start.parse().unwrap(), None, 10).await;
    assert_eq!((page.complete, page.addresses, page.last), (true, vec!["a".into(), "b".into()], id));
    assert!(store.missed(future, None, 10).await.complete);
}
