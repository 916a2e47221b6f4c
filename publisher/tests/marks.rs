//! The marks that beacons leave, against a real Redis: they show history that goes back while the server stays.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed wish is a failed test")]

mod server;

use redis::aio::MultiplexedConnection;
use server::{Server, command, run, until};
use tidings_shared::keys::{Keys, Namespace};
use tidings_shared::script::{self, Beacon, Mark, MarkLeft, Publish};
use tidings_shared::{Epoch, Id, Partition, Partitions, Retention};

const RETENTION: Retention = Retention { events: 1_000, age_ms: 60_000, journal: 1_000 };
const KEEP_MS: u64 = 60_000;
/// The keys that a copy consists of.
const COPIED: [&str; 3] = ["{tidings:0}:e", "{tidings:0}:j", "{tidings:0}:t:a"];

/// A gateway, as the script of its beacons sees it.
struct Marker {
    name: &'static str,
    number: u64,
    keep_ms: u64,
    last: Option<MarkLeft>,
    left: Vec<Epoch>,
    seen: Id,
    redis: MultiplexedConnection,
    keys: Keys,
}

impl Marker {
    /// One that has attached.
    async fn attach(server: &Server, name: &'static str, keep_ms: u64) -> Self {
        let (redis, keys) = (server.connection().await, Namespace::default().keys(Partition::FIRST));
        let mut gateway = Self { name, number: 0, keep_ms, last: None, left: Vec::new(), seen: Id::ZERO, redis, keys };
        gateway.beacon().await;
        gateway
    }

    /// Sends a beacon whose answer is lost: what it answered, and whether it was unsure.
    async fn lost_beacon(&mut self) -> (MarkLeft, bool) {
        self.number += 1;
        let mark = Mark { number: self.number, keep_ms: self.keep_ms, last: self.last, left: &self.left };
        let (mark, hold_ms) = (Some(mark), None);
        let (epoch, partitions) = (Epoch::from_random(epoch_of_beacon(self.name, self.number)), None);
        let (run_id, attaching, lease_ms) = ("run", self.number == 1, KEEP_MS);
        let (gateway, seen, retention) = (self.name, self.seen, RETENTION);
        let beacon =
            Beacon { gateway, seen, epoch, run: run_id, attaching, retention, partitions, lease_ms, mark, hold_ms };
        let answer: Vec<String> = run(&mut self.redis, script::beacon(&self.keys, beacon)).await;
        let [epoch, last, until, unsure] = answer.as_slice() else { panic!("{answer:?}") };
        self.seen = self.seen.max(last.parse().unwrap());
        let mark = MarkLeft { epoch: epoch.parse().unwrap(), number: self.number, until_ms: until.parse().unwrap() };
        (mark, unsure == "1")
    }

    /// Sends a beacon and takes its answer: the epoch, and whether it was unsure.
    async fn beacon(&mut self) -> (Epoch, bool) {
        let (mark, unsure) = self.lost_beacon().await;
        if let Some(before) = self.last.replace(mark).filter(|before| before.epoch != mark.epoch) {
            self.left.push(before.epoch);
        }
        (mark.epoch, unsure)
    }

    async fn publish(&mut self) -> Id {
        let (addresses, partitions) = (["a".parse().unwrap()], Partitions::ONE);
        let (message, key, epoch) = ("c - - - - {\"time\":\"t\"}", None, Epoch::from_random(1));
        let publish = Publish { addresses: &addresses, message, partitions, key, epoch, retention: RETENTION };
        let (id, ..): (String, String, bool, String) = run(&mut self.redis, script::publish(&self.keys, publish)).await;
        id.parse().unwrap()
    }

    async fn command<T: redis::FromRedisValue>(&mut self, words: &str) -> T {
        command(&mut self.redis, words).await
    }

    async fn copy(&mut self, to: &str) {
        for key in COPIED {
            self.command::<()>(&format!("COPY {key} {key}:{to} REPLACE")).await;
        }
    }

    async fn put_back(&mut self, from: &str) {
        for key in COPIED {
            self.command::<()>(&format!("COPY {key}:{from} {key} REPLACE")).await;
        }
    }

    async fn marks(&mut self) -> usize {
        let fields: Vec<String> = self.command("HKEYS {tidings:0}:e").await;
        fields.iter().filter(|field| field.starts_with("b:")).count()
    }
}

/// An epoch for each beacon of each gateway.
fn epoch_of_beacon(name: &str, number: u64) -> u32 {
    name.bytes().fold(number as u32 + 100, |bits, byte| bits.wrapping_mul(31).wrapping_add(u32::from(byte)))
}

#[tokio::test]
async fn a_history_that_goes_on_keeps_its_epoch() {
    let server = Server::start();
    let (mut a, mut b) = (Marker::attach(&server, "a", KEEP_MS).await, Marker::attach(&server, "b", KEEP_MS).await);
    let first = a.last.unwrap().epoch;
    for _ in 0..10 {
        a.publish().await;
        a.lost_beacon().await;
        a.lost_beacon().await;
        assert_eq!([a.beacon().await, b.beacon().await], [(first, false); 2]);
    }
}

#[tokio::test]
async fn a_copy_that_is_put_back_is_another_history() {
    let server = Server::start();
    let (mut a, mut b) = (Marker::attach(&server, "a", KEEP_MS).await, Marker::attach(&server, "b", KEEP_MS).await);
    a.publish().await;
    a.copy("old").await;
    a.beacon().await;
    b.beacon().await;
    let seen = a.publish().await;
    let before = a.last.unwrap().epoch;
    a.put_back("old").await;
    until("one publish lifts the journal above all that was seen", async || a.publish().await > seen).await;
    let (now, _) = a.beacon().await;
    assert_ne!(now, before);
    assert_eq!([b.beacon().await.0, a.beacon().await.0], [now; 2], "the others take the same new epoch");
}

#[tokio::test]
async fn a_copy_from_before_a_gateway_came_is_another_history() {
    let server = Server::start();
    let mut a = Marker::attach(&server, "a", KEEP_MS).await;
    a.publish().await;
    a.copy("old").await;
    let mut b = Marker::attach(&server, "b", KEEP_MS).await;
    let before = b.last.unwrap().epoch;
    a.put_back("old").await;
    assert_ne!(b.beacon().await.0, before);
}

#[tokio::test]
async fn a_copy_that_is_younger_than_the_last_mark_is_told_by_the_last_id() {
    let server = Server::start();
    let mut a = Marker::attach(&server, "a", KEEP_MS).await;
    a.publish().await;
    a.copy("old").await;
    // Above the clock, to which a beacon would lift the journal.
    let ahead = Id { ms: a.seen.ms + 600_000, seq: 0 };
    a.command::<()>(&format!("XSETID {{tidings:0}}:j {ahead}")).await;
    a.seen = a.publish().await;
    let before = a.last.unwrap().epoch;
    assert_eq!(a.lost_beacon().await.0.epoch, before);
    a.put_back("old").await;
    // The copy has the last mark that was answered.
    assert_ne!(a.beacon().await.0, before);
}

#[tokio::test]
async fn an_epoch_that_a_gateway_has_left_does_not_come_back() {
    let server = Server::start();
    let mut a = Marker::attach(&server, "a", KEEP_MS).await;
    a.publish().await;
    a.copy("old").await;
    let first = a.last.unwrap().epoch;
    a.command::<()>("DEL {tidings:0}:j {tidings:0}:e {tidings:0}:t:a").await;
    a.publish().await;
    let (second, _) = a.beacon().await;
    a.put_back("old").await;
    a.publish().await;
    let (third, _) = a.beacon().await;
    assert!(first != second && third != first && third != second);
}

#[tokio::test]
async fn a_gateway_whose_mark_may_be_gone_is_unsure_and_judges_nothing() {
    let server = Server::start();
    let mut a = Marker::attach(&server, "a", 1).await;
    let (mut b, before) = (Marker::attach(&server, "b", KEEP_MS).await, a.last.unwrap());
    until("the mark may be removed", async || {
        let (seconds, micros): (u64, u64) = a.command("TIME").await;
        seconds * 1000 + micros / 1000 >= before.until_ms
    })
    .await;
    until("another gateway removes it", async || {
        b.beacon().await;
        a.marks().await == 1
    })
    .await;
    assert_eq!(a.beacon().await, (before.epoch, true));
    assert_eq!(b.beacon().await, (before.epoch, false));
}

#[tokio::test]
async fn a_late_beacon_takes_no_mark_back() {
    let server = Server::start();
    let mut a = Marker::attach(&server, "a", KEEP_MS).await;
    let before = a.last.unwrap().epoch;
    let known = a.last;
    for _ in 0..3 {
        a.beacon().await;
    }
    // Sent before these over another connection, it comes after them.
    let (number, last) = (std::mem::replace(&mut a.number, 1), std::mem::replace(&mut a.last, known));
    assert_eq!(a.lost_beacon().await.0.epoch, before);
    (a.number, a.last) = (number, last);
    assert_eq!(a.beacon().await, (before, false));
}

#[tokio::test]
async fn a_thousand_gateways_that_came_and_went_leave_no_marks_and_begin_no_epoch() {
    let server = Server::start();
    let mut a = Marker::attach(&server, "a", KEEP_MS).await;
    let before = a.last.unwrap().epoch;
    let mut hash = redis::cmd("HSET");
    hash.arg("{tidings:0}:e");
    for n in 0..1_000 {
        hash.arg(format!("b:{n:08x}")).arg(format!("{n} 1700000000000"));
    }
    let _: () = hash.query_async(&mut a.redis).await.unwrap();
    until("their marks are removed", async || {
        assert_eq!(a.beacon().await, (before, false));
        a.marks().await == 1
    })
    .await;
}

#[tokio::test]
async fn a_beacon_that_leaves_no_mark_disturbs_none() {
    let server = Server::start();
    let mut a = Marker::attach(&server, "a", KEEP_MS).await;
    let before = a.last.unwrap().epoch;
    for attaching in [true, false] {
        let (epoch, run_id, mark, hold_ms) = (Epoch::from_random(5), "run", None, None);
        let (gateway, seen, retention, partitions, lease_ms) = ("old", Id::ZERO, RETENTION, None, KEEP_MS);
        let beacon =
            Beacon { gateway, seen, epoch, run: run_id, attaching, retention, partitions, lease_ms, mark, hold_ms };
        let answer: Vec<String> = run(&mut a.redis, script::beacon(&a.keys, beacon)).await;
        assert_eq!((answer.len(), answer[0].parse().unwrap()), (2, before));
        assert_eq!(a.beacon().await, (before, false));
    }
}
