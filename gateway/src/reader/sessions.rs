//! The sessions that are open, one for each server that has partitions here, and those that are about to be.
//!
//! Each lives and breaks alone. What broke is opened anew, as many sessions as its partitions then have servers, after a
//! wait that grows with each try that failed.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream, SelectAll};
use tidings_shared::Partition;

use crate::store::{Attempt, Push, Session, Store};

/// The longest wait between two tries to connect: a part of the time in which all should have converged after a failover.
const BACK_OFF: Duration = Duration::from_secs(1);
/// A session that lived for this long is tried again at once.
const LIVED: Duration = Duration::from_secs(5);

/// The sessions that are open.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Vec<Open>,
    /// Which is looked at first, in turn: one that is always busy must not keep the others waiting.
    first: usize,
}

/// One of them.
#[derive(Debug)]
pub struct Open {
    pub session: Session,
    since: Instant,
    /// How long it was waited for.
    waited: Duration,
}

impl Sessions {
    /// Adds one that was opened after that wait.
    pub fn add(&mut self, session: Session, waited: Duration) {
        self.open.push(Open { session, since: Instant::now(), waited });
    }

    /// Takes out one that broke.
    pub fn remove(&mut self, at: usize) -> Open {
        self.open.swap_remove(at)
    }

    /// The one over a partition.
    pub fn of(&self, partition: Partition) -> Option<usize> {
        self.open.iter().position(|open| open.session.partitions.contains(&partition))
    }

    /// A `maxmemory-policy` of the servers: that of one that may lose history, if there is one.
    pub fn policy(&self) -> Option<&str> {
        let mut policies = self.open.iter().map(|open| open.session.policy.as_str());
        policies.clone().find(|policy| *policy != "noeviction").or(policies.next())
    }

    /// A partition of each.
    pub fn any_partitions(&self) -> impl Iterator<Item = Partition> {
        self.open.iter().filter_map(|open| open.session.partitions.first().copied())
    }

    /// The server of the session over a partition has this `maxmemory-policy` now.
    pub fn set_policy(&mut self, partition: Partition, policy: String) {
        if let Some(at) = self.of(partition) {
            self.open[at].session.policy = policy;
        }
    }

    /// Waits until one of them has pushes, and appends up to `most` of them to `into`. Tells which, and whether it is
    /// whole; as [`Session::receive`]. For ever, while none is open.
    pub async fn receive(&mut self, into: &mut Vec<Push>, most: usize) -> (usize, bool) {
        self.first = self.first.wrapping_add(1);
        poll_fn(|context| self.poll(context, into, most)).await
    }

    fn poll(&mut self, context: &mut Context<'_>, into: &mut Vec<Push>, most: usize) -> Poll<(usize, bool)> {
        let count = self.open.len();
        for at in (0..count).map(|n| self.first.wrapping_add(n) % count) {
            if let Poll::Ready(whole) = self.open[at].session.poll_receive(context, into, most) {
                return Poll::Ready((at, whole));
            }
        }
        Poll::Pending
    }
}

impl Open {
    /// How long to wait before its partitions are tried again.
    pub fn next_wait(&self) -> Duration {
        if self.since.elapsed() > LIVED { Duration::ZERO } else { next_wait(self.waited) }
    }
}

/// The sessions that are about to be opened.
pub struct Openings {
    store: Store,
    attempts: SelectAll<LocalBoxStream<'static, (Attempt, Duration)>>,
}

impl Openings {
    /// None yet, of this store.
    pub fn new(store: Store) -> Self {
        Self { store, attempts: SelectAll::new() }
    }

    /// Connects, after `wait`, to the servers that these partitions have then.
    pub fn begin(&mut self, partitions: Vec<Partition>, wait: Duration) {
        let store = self.store.clone();
        let connecting = async move {
            tokio::time::sleep(wait).await;
            store.connect(partitions)
        };
        self.attempts.push(stream::once(connecting).flatten().map(move |attempt| (attempt, wait)).boxed_local());
    }

    /// What came of one, and for how long it was waited; `None` while there is none.
    pub async fn next(&mut self) -> Option<(Attempt, Duration)> {
        self.attempts.next().await
    }
}

/// The wait doubles with every try, with jitter.
pub fn next_wait(wait: Duration) -> Duration {
    let doubled = (wait * 2).clamp(Duration::from_millis(50), BACK_OFF);
    doubled.mul_f64(0.5 + fastrand::f64() / 2.0)
}
