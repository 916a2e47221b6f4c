//! The fence of a server whose name leads to another one, on a real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed wish is a failed test")]

mod server;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use server::{Server, attempt, command};
use tidings_shared::keys::{Keys, Namespace};
use tidings_shared::script::{self, Beacon, Publish};
use tidings_shared::{Epoch, Id, Partition, Partitions, Retention};

const MINUTE_MS: u64 = 60_000;

/// One partition, as the scripts see it.
struct Fenced {
    _server: Server,
    redis: MultiplexedConnection,
    keys: Keys,
    beacons: u32,
}

impl Fenced {
    /// Fenced for the server `next`, until so long from now.
    async fn start(term_ms: i64) -> Self {
        let server = Server::start();
        let redis = server.connection().await;
        let keys = Namespace::default().keys(Partition::FIRST);
        let mut fenced = Self { _server: server, redis, keys, beacons: 0 };
        fenced.beacon(true, "").await.unwrap();
        let (seconds, _): (u64, u64) = command(&mut fenced.redis, "TIME").await;
        let until_ms = (seconds * 1_000).saturating_add_signed(term_ms);
        let words = script::fence_for(&fenced.keys, "next", until_ms).join(" ");
        command::<()>(&mut fenced.redis, &format!("HSET {words}")).await;
        fenced
    }

    /// Answers the epoch.
    async fn beacon(&mut self, attaching: bool, left: &str) -> RedisResult<String> {
        self.beacons += 1;
        let (seen, epoch) = (Id::ZERO, Epoch::from_random(self.beacons));
        let (gateway, run, retention) = ("gw", "run", Retention::default());
        let (lease_ms, hold_ms) = (MINUTE_MS, Some(MINUTE_MS));
        let (partitions, mark) = (None, None);
        let beacon = Beacon { gateway, seen, epoch, run, attaching, retention, partitions, lease_ms, mark, hold_ms };
        let call = script::beacon(&self.keys, beacon).coming_from(left);
        let answer: Vec<String> = attempt(&mut self.redis, call).await?;
        Ok(answer[0].clone())
    }

    async fn takes_events(&mut self) -> bool {
        let (addresses, partitions) = (["a".parse().unwrap()], Partitions::ONE);
        let (message, key) = ("c - - - - {\"time\":\"t\"}", None);
        let (epoch, retention) = (Epoch::from_random(1), Retention::default());
        let addresses = &addresses;
        let publish = Publish { addresses, message, partitions, key, epoch, retention };
        let call = script::publish(&self.keys, publish);
        let sent: RedisResult<(String, String, bool, String)> = attempt(&mut self.redis, call).await;
        sent.is_ok()
    }
}

#[tokio::test]
async fn no_gateway_ends_it_before_its_time() {
    let mut store = Fenced::start(60 * 60_000).await;
    for (attaching, left) in [(false, ""), (true, ""), (true, "another"), (false, "next")] {
        let refused = store.beacon(attaching, left).await.unwrap_err();
        assert_eq!(refused.code(), Some("READONLY"), "{refused}");
    }
    assert!(!store.takes_events().await);
}

#[tokio::test]
async fn one_that_comes_from_the_other_server_ends_it_and_begins_another_epoch() {
    let mut store = Fenced::start(60 * 60_000).await;
    let before: String = command(&mut store.redis, "HGET {tidings:0}:e epoch").await;
    let after = store.beacon(true, "next").await.unwrap();
    assert_ne!(after, before);
    assert_eq!(store.beacon(false, "next").await.unwrap(), after, "once");
    assert!(store.takes_events().await);
}

#[tokio::test]
async fn after_its_time_whoever_attaches_ends_it_and_begins_another_epoch() {
    let mut store = Fenced::start(-1_000).await;
    let before: String = command(&mut store.redis, "HGET {tidings:0}:e epoch").await;
    assert!(!store.takes_events().await, "nobody may be there to hear");
    store.beacon(false, "").await.unwrap_err();
    let after = store.beacon(true, "").await.unwrap();
    assert_ne!(after, before);
    assert_eq!(store.beacon(true, "").await.unwrap(), after, "once");
    assert!(store.takes_events().await);
}
