//! The claim: that the namespace has as many partitions as this gateway goes by.
//!
//! Each partition tells the count, publishers go by what it tells, and beacons fail where it tells another. So nobody is
//! served by one count while events are published by another. A count is changed only when nobody goes by the one before
//! any more: each beacon keeps others from it for three intervals. And it is changed in two steps, as several gateways may
//! try at once, or end in the middle:
//!
//! 1. All partitions are taken, the first one first: from then on nobody publishes, and each has another epoch.
//! 2. Each is given the new count, the first one first. Who finds that it was taken for another count has lost.
//!
//! So a count stands anywhere only after all partitions were taken for it, and servers that are away keep nobody waiting
//! who goes by the count that the others tell. What was published by a count that a failover brought back is not missed
//! in silence either: beacons find it, and the count is claimed anew, with another epoch everywhere.

mod hashes;
mod judge;

use std::sync::atomic::{AtomicBool, Ordering};

use tidings_publisher::store::Primaries;
use tidings_shared::script::Step;
use tidings_shared::{Partition, Partitions};
use tokio::sync::Mutex;

use self::hashes::Hashes;
use self::judge::{Judged, judge};
use super::RedisOptions;
use crate::store::session::StoreError;
use crate::without::Mechanism;

/// What is being done when it fails.
const CLAIMING: &str = "agreeing on the number of partitions";

/// Whether the namespace is known to have this gateway's count.
#[derive(Debug, Default)]
pub(super) struct Claim {
    held: AtomicBool,
    /// One claims at a time, the others take what comes of it.
    turn: Mutex<()>,
}

impl Claim {
    /// A beacon was refused for the count: it is to be claimed again.
    pub(super) fn doubt(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// Makes sure of the count, if it is in doubt. Fails while others go by another one, or while it is to be changed and
    /// a server is away.
    pub(super) async fn hold(&self, primaries: &Primaries, options: &RedisOptions) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        if self.held.load(Ordering::Acquire) || options.without.lacks(Mechanism::Partitions) {
            return Ok(());
        }
        let mut hashes = Hashes::reach(primaries, options).await?;
        match judge(options.partitions, &hashes.read().await) {
            Judged::Held => {}
            Judged::Give(partitions) => hashes.step(Step::Give, &partitions).await?,
            Judged::Take => change(&mut hashes).await?,
            Judged::Wait => return Err(StoreError::new(CLAIMING, "another gateway is just changing it")),
            Judged::Refused(other) => return Err(refused(other, options.partitions)),
        }
        self.held.store(true, Ordering::Release);
        Ok(())
    }
}

/// Takes all partitions, and then gives them the own count.
async fn change(hashes: &mut Hashes<'_>) -> Result<(), StoreError> {
    if let Some(away) = hashes.away() {
        return Err(away);
    }
    let others: Vec<Partition> = Partitions::MOST.all().skip(1).collect();
    for step in [Step::Take, Step::Give] {
        hashes.step(step, &[Partition::FIRST]).await?;
        hashes.step(step, &others).await?;
    }
    tracing::info!("the number of partitions is set, and all is resynced");
    Ok(())
}

fn refused(other: Partitions, own: Partitions) -> StoreError {
    let (other, own) = (other.count(), own.count());
    let told = format!(
        "the namespace has {other} partitions, and gateways that run with them; this one has store.partitions = {own}: \
         end those first, or set {other}"
    );
    StoreError { at_odds: true, ..StoreError::new(CLAIMING, told) }
}
