//! The retention on which gateways agree by their beacons, against a real Redis.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed wish is a failed test")]

mod server;

use redis::aio::MultiplexedConnection;
use server::{Server, command, run, until};
use tidings_shared::keys::{Keys, Namespace};
use tidings_shared::script::{self, Beacon, Publish, Span};
use tidings_shared::{Epoch, Id, Partition, Partitions, Retention};

/// Long enough that it does not end in a test.
const HELD: Option<u64> = Some(60_000);
/// Over at the next beacon but one at the latest.
const BRIEFLY: Option<u64> = Some(1);

/// For how long publishers go by what a beacon left, in milliseconds.
const LEASE_MS: u64 = 2_000;
const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// One partition, as the script of beacons sees it.
struct Agreement {
    _server: Server,
    redis: MultiplexedConnection,
    keys: Keys,
    /// Beacons so far: each brings another epoch.
    beacons: u32,
}

impl Agreement {
    async fn start() -> Self {
        let server = Server::start();
        let redis = server.connection().await;
        Self { _server: server, redis, keys: Namespace::default().keys(Partition::FIRST), beacons: 0 }
    }

    /// A beacon of a gateway with this age and as many events: epoch, age and events that are in force.
    async fn beacon(&mut self, age_ms: u64, events: u64, hold_ms: Option<u64>, attaching: bool) -> (String, u64, u64) {
        self.beacons += 1;
        let (gateway, seen, epoch, run_id) = ("gw", Id::ZERO, Epoch::from_random(self.beacons), "run");
        let (retention, partitions) = (Retention { events, age_ms, journal: 9 }, None);
        let (lease_ms, mark) = (LEASE_MS, None);
        let beacon =
            Beacon { gateway, seen, epoch, run: run_id, attaching, retention, partitions, lease_ms, mark, hold_ms };
        let answer: Vec<String> = run(&mut self.redis, script::beacon(&self.keys, beacon)).await;
        let kept: Vec<u64> = command(&mut self.redis, "HMGET {tidings:0}:e age events journal").await;
        if let [_, _, _, _, events, age, journal] = answer.as_slice() {
            let answered = [age, events, journal].map(|number| number.parse::<u64>().unwrap());
            assert_eq!(answered[..], kept[..], "it answers what is kept");
        }
        (answer[0].clone(), kept[0], kept[1])
    }

    async fn publish(&mut self) -> Id {
        let (addresses, partitions) = (["a".parse().unwrap()], Partitions::ONE);
        let (message, key, epoch) = ("c - - - - {\"time\":\"t\"}", None, Epoch::from_random(1));
        let retention = Retention::default();
        let publish = Publish { addresses: &addresses, message, partitions, key, epoch, retention };
        let call = script::publish(&self.keys, publish);
        let (id, ..): (String, String, bool, String) = run(&mut self.redis, call).await;
        id.parse().unwrap()
    }

    /// Leaves the journal as it is after the clock went back by a year.
    async fn set_clock_back(&mut self) {
        let (seconds, _): (u64, u64) = command(&mut self.redis, "TIME").await;
        let ahead = seconds * 1000 + YEAR_MS;
        command::<()>(&mut self.redis, &format!("XSETID {{tidings:0}}:j {ahead}-0")).await;
    }

    /// For how long the stream is kept from now on, in milliseconds; 0: it is gone.
    async fn kept_ms(&mut self) -> u64 {
        command::<i64>(&mut self.redis, "PTTL {tidings:0}:t:a").await.try_into().unwrap_or(0)
    }

    /// The last id of the journal, and the status and ids of what came after a place.
    async fn history(&mut self, after: Id) -> (Id, String, Vec<String>) {
        let (addresses, span) = (["a".parse().unwrap()], Span::After(after));
        let call = script::history(&self.keys, &addresses, span, 1 << 20);
        let (_, last, status, entries): (String, String, String, Vec<(String, String)>) =
            run(&mut self.redis, call).await;
        (last.parse().unwrap(), status, entries.into_iter().map(|(id, _)| id).collect())
    }
}

#[tokio::test]
async fn the_most_of_each_is_in_force_and_reconnects_change_nothing() {
    let mut store = Agreement::start().await;
    store.beacon(1_000, 70, HELD, true).await;
    let (epoch, ..) = store.beacon(2_000, 50, HELD, true).await;
    for _ in 0..3 {
        assert_eq!(store.beacon(1_000, 70, HELD, true).await, (epoch.clone(), 2_000, 70));
        assert_eq!(store.beacon(2_000, 50, HELD, true).await, (epoch.clone(), 2_000, 70));
        assert_eq!(store.beacon(1_000, 70, HELD, false).await, (epoch.clone(), 2_000, 70));
    }
    assert_ne!(store.beacon(3_000, 50, HELD, true).await.0, epoch, "streams of less than that may be gone already");
}

#[tokio::test]
async fn what_nobody_asks_for_any_more_is_lowered_to_the_most_of_the_others() {
    let mut store = Agreement::start().await;
    store.beacon(9_000, 90, BRIEFLY, true).await;
    let (epoch, ..) = store.beacon(9_000, 90, HELD, false).await;
    // Two others have come meanwhile; the one with the most is the first to be silent.
    for (age_ms, events) in [(5_000, 50), (1_000, 10)] {
        assert_eq!(store.beacon(age_ms, events, HELD, true).await, (epoch.clone(), 9_000, 90));
    }
    store.beacon(9_000, 90, BRIEFLY, false).await;
    until("the one with the least lowers it", async || store.beacon(1_000, 10, HELD, false).await.1 < 9_000).await;
    assert_eq!(store.beacon(1_000, 10, HELD, false).await, (epoch.clone(), 5_000, 50));
    assert_eq!(
        store.beacon(5_000, 50, BRIEFLY, false).await,
        (epoch.clone(), 5_000, 50),
        "not lengthened: no new epoch"
    );
    until("then its own is the most", async || store.beacon(1_000, 10, HELD, false).await.1 < 5_000).await;
    assert_eq!(store.beacon(1_000, 10, HELD, false).await, (epoch, 1_000, 10));
}

#[tokio::test]
async fn a_gateway_that_agrees_with_nobody_shortens_it_without_a_fight() {
    let mut store = Agreement::start().await;
    let (epoch, ..) = store.beacon(2_000, 50, HELD, true).await;
    assert_eq!(store.beacon(1_000, 70, None, true).await, (epoch.clone(), 1_000, 70), "as 0.1 does");
    assert_eq!(store.beacon(2_000, 50, HELD, false).await, (epoch.clone(), 1_000, 70), "no epoch at each beacon");
    assert_ne!(store.beacon(2_000, 50, HELD, true).await.0, epoch);
}

#[tokio::test]
async fn ids_far_ahead_of_the_clock_keep_no_history_for_longer() {
    let mut store = Agreement::start().await;
    store.beacon(60_000, 9, HELD, true).await;
    store.set_clock_back().await;
    let most = 2 * 60_000 + 2 * LEASE_MS;
    store.publish().await;
    assert!(store.kept_ms().await <= most, "before any beacon has seen it");
    store.beacon(60_000, 9, HELD, false).await;
    store.publish().await;
    assert!(store.kept_ms().await <= most);
}

#[tokio::test]
async fn where_ids_are_far_ahead_no_place_stays_young_after_its_stream_is_gone() {
    let mut store = Agreement::start().await;
    store.beacon(500, 9, HELD, true).await;
    store.set_clock_back().await;
    for _ in 0..2 {
        store.beacon(500, 9, HELD, false).await;
        let (place, ..) = store.history(Id::ZERO).await;
        let id = store.publish().await.to_string();
        let mut found = true;
        until("the place is too old", async || {
            store.beacon(500, 9, HELD, false).await;
            let (_, status, ids) = store.history(place).await;
            found = status == "ok";
            assert!(!found || ids.contains(&id), "the stream is gone, and that is not said");
            !found
        })
        .await;
        until("the stream is gone", async || store.kept_ms().await == 0).await;
        assert_eq!(store.history(place).await.1, "lost");
    }
}

#[tokio::test]
async fn ids_that_are_a_little_ahead_wait_for_the_clock() {
    let mut store = Agreement::start().await;
    store.beacon(3_600_000, 9, HELD, true).await;
    let (seconds, _): (u64, u64) = command(&mut store.redis, "TIME").await;
    let ahead = Id { ms: seconds * 1000 + 600_000, seq: 0 };
    command::<()>(&mut store.redis, &format!("XSETID {{tidings:0}}:j {ahead}")).await;
    for _ in 0..3 {
        store.beacon(3_600_000, 9, HELD, false).await;
        assert_eq!(store.publish().await.ms, ahead.ms);
    }
    assert!(store.kept_ms().await > 3_600_000, "until no place is young any more");
}

#[tokio::test]
async fn where_ids_are_far_ahead_a_publisher_needs_no_right_that_it_had_not() {
    let mut store = Agreement::start().await;
    store.beacon(60_000, 9, HELD, true).await;
    store.set_clock_back().await;
    let rights = "-@all +eval +evalsha +script|load +hmget +hset +get +set +xadd +pexpireat +publish";
    let user = format!("ACL SETUSER old on nopass ~* &* {rights}");
    command::<()>(&mut store.redis, &user).await;
    command::<()>(&mut store.redis, "AUTH old any").await;
    let id = store.publish().await;
    command::<()>(&mut store.redis, "AUTH default any").await;
    assert_eq!(store.history(Id { seq: 0, ..id }).await.1, "ok");
    assert_eq!(store.history(Id { seq: 0, ..id }).await.2, [id.to_string()]);
}
