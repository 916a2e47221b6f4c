//! Gateways over a ground, and a cast: all that a fault can reach.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cast::{Cast, Pace};
use super::{Ground, Twin};
use crate::topology::Node;
use crate::wait::{PATIENCE, eventually, now_us, perhaps};
use crate::{Client, Gateway, Setup};

/// What a gateway logs when a session with the store ends or cannot be opened.
const LOST: &str = "the way to the store is broken";

/// How a stage is to be set.
#[derive(Debug, Clone)]
pub struct Setting {
    gateways: usize,
    settings: Vec<(String, String)>,
    without: &'static [&'static str],
    pace: Pace,
    calm: usize,
    heal: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self { gateways: 2, settings: Vec::new(), without: &[], pace: Pace::STEADY, calm: 40, heal: false }
    }
}

impl Setting {
    /// So many gateways.
    #[must_use]
    pub fn gateways(self, gateways: usize) -> Self {
        Self { gateways, ..self }
    }

    /// Sets a key of all gateways.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Switches these mechanisms off, as [`Twin::without`] has them.
    #[must_use]
    pub fn without(self, without: &'static [&'static str]) -> Self {
        Self { without, ..self }
    }

    /// How much is published.
    #[must_use]
    pub fn pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// So many events pass before a fault strikes, and after it is over.
    #[must_use]
    pub fn calm(self, calm: usize) -> Self {
        Self { calm, ..self }
    }

    /// Brings back what is dead while events flow, so that another fault can follow.
    #[must_use]
    pub fn healing(self) -> Self {
        Self { heal: true, ..self }
    }

    /// Sets it: all gateways are ready, all clients live, and events flow.
    pub async fn raise(&self, ground: Ground) -> Stage {
        let (publishers, gateways): (Vec<_>, Vec<_>) =
            self.without.iter().partition(|name| Twin::OF_PUBLISHERS.contains(name));
        let mut setup = Setup::redis(&ground.url()).without(&gateways);
        for (key, value) in &self.settings {
            setup = setup.with(key, value);
        }
        let gateways = setup.start_many(self.gateways).await;
        let cast = Cast::assemble(&ground, &gateways, self.pace, &publishers).await;
        Stage {
            ground,
            gateways,
            cast,
            pace: self.pace,
            calm: self.calm,
            heal: self.heal,
            aim: 0,
            moments: Mutex::default(),
        }
    }
}

/// When things happened, in microseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moments {
    /// The fault struck.
    pub struck: Option<u64>,
    /// It was over: from here on all should become well.
    pub over: Option<u64>,
    /// A new primary acknowledged its first event; one for each that took over.
    pub serving: Vec<u64>,
}

/// What a fault can reach. It may be left as the fault left it, with servers dead that others replaced.
#[derive(Debug)]
pub struct Stage {
    pub ground: Ground,
    pub gateways: Vec<Gateway>,
    pub cast: Cast,
    pace: Pace,
    pub(super) calm: usize,
    pub(super) heal: bool,
    /// Which of several is struck; any number.
    pub aim: usize,
    moments: Mutex<Moments>,
}

impl Stage {
    /// The address whose primary is struck.
    pub fn target(&self) -> &str {
        &self.cast.topics[self.aim % self.cast.topics.len()]
    }

    /// The primary that is struck.
    pub async fn victim(&self) -> &Node {
        self.ground.primary_of(self.target()).await
    }

    /// The client that is struck.
    pub fn client(&self) -> &Client {
        &self.cast.clients[self.aim % self.cast.clients.len()]
    }

    /// The gateway that is struck.
    pub fn gateway(&self) -> &Gateway {
        &self.gateways[self.aim % self.gateways.len()]
    }

    /// The gateway to which the traveller comes back.
    pub fn refuge(&self) -> &Gateway {
        self.gateways.last().expect("a stage has gateways")
    }

    /// The fault strikes now. Told by the run, and again by a fault that had to prepare itself.
    pub fn struck(&self) {
        self.moments().struck = Some(now_us());
    }

    /// The fault is over now. Told by the run when all is cured, and before that by a fault that cures more than it must.
    pub fn over(&self) {
        self.moments().over.get_or_insert_with(now_us);
    }

    /// Kills the primary that is struck. The fault is over when another one has taken its place, and serves.
    pub async fn crash_failover(&self) -> &Node {
        let (befallen, old) = (self.befallen().await, self.victim().await);
        self.struck();
        old.kill();
        let from = now_us();
        let new = self.ground.successor(self.target(), old).await;
        self.replaced(from, befallen).await;
        new
    }

    /// Has a replica take over from the primary that is struck. The fault is over when it serves.
    pub async fn failover(&self) -> &Node {
        let befallen = self.befallen().await;
        self.struck();
        let new = self.ground.failover(self.target()).await;
        self.replaced(now_us(), befallen).await;
        new
    }

    /// The same with a replica that lacks writes.
    pub async fn forced_failover(&self) -> &Node {
        let befallen = self.befallen().await;
        self.struck();
        let new = self.ground.forced_failover(self.target()).await;
        self.replaced(now_us(), befallen).await;
        new
    }

    /// Whatever is published from that moment on to one of these addresses is taken by a new primary. The fault is over
    /// when it has acknowledged something.
    pub async fn replaced(&self, from: u64, befallen: Vec<String>) {
        let served = || self.cast.oracle.first_acked(from, |address| befallen.iter().any(|topic| topic == address));
        eventually("the new primary serves", PATIENCE, async || served().is_some()).await;
        self.moments().serving.extend(served());
        self.over();
    }

    /// Waits until all gateways are ready, for that time at most, as they may not be on a line that is bad enough.
    pub async fn up_again(&self, within: Duration) {
        for gateway in &self.gateways {
            perhaps(within, async || gateway.works().await).await;
        }
    }

    /// Publishes large events until this server has closed a subscription whose output buffer is full; for ten seconds at
    /// most, as another fault may keep it from that.
    pub async fn overflow(&self, node: &Node) {
        let before = node.overflows();
        let closed = async || {
            self.cast.source.publish_sized(&[self.target()], 30_000).await;
            node.overflows() > before
        };
        perhaps(Duration::from_secs(10), closed).await;
    }

    /// Waits until each gateway has lost its way to the store, or its hope of a new one, so many times from now on; for
    /// that time at most, as one that goes without beacons does not notice.
    pub async fn given_up(&self, times: usize, within: Duration) {
        let lost = |gateway: &Gateway| gateway.log().iter().filter(|line| line.contains(LOST)).count();
        let before: Vec<usize> = self.gateways.iter().map(lost).collect();
        let all = async || self.gateways.iter().zip(&before).all(|(gateway, before)| lost(gateway) >= before + times);
        perhaps(within, all).await;
    }

    /// The topics that have the primary which is struck.
    pub async fn befallen(&self) -> Vec<String> {
        self.ground.beside(self.target(), &self.cast.topics).await.into_iter().cloned().collect()
    }

    /// Brings back all that is dead, and reads the logs again that nobody read.
    pub async fn heal(&self) {
        self.ground.heal().await;
        for gateway in &self.gateways {
            gateway.release_log();
            if !gateway.is_up() {
                gateway.start().await;
            }
            gateway.ready().await;
        }
    }

    /// Has another cast play before the same stage, which is in order.
    pub async fn recast(&mut self) {
        self.cast = Cast::assemble(&self.ground, &self.gateways, self.pace, &[]).await;
        *self.moments() = Moments::default();
    }

    pub(super) fn moments(&self) -> MutexGuard<'_, Moments> {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
