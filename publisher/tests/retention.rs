//! The retention on which gateways agree by their beacons, against a real Redis.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed wish is a failed test")]

mod server;

use redis::aio::MultiplexedConnection;
use server::{Server, command, run, until};
use tidings_shared::keys::{Keys, Namespace};
use tidings_shared::script::{self, Beacon};
use tidings_shared::{Epoch, Id, Partition, Retention};

/// Long enough that it does not end in a test.
const HELD: Option<u64> = Some(60_000);
/// Over at the next beacon but one at the latest.
const BRIEFLY: Option<u64> = Some(1);

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
        let (lease_ms, mark) = (60_000, None);
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
