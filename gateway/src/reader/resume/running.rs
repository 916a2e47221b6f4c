//! The joins under way, and what they share: the allowance of replays, and the reads of history.

use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::join_all;
use tidings_shared::{Address, Id, Partition, Partitions};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::allowance::Allowance;
use super::join::JoinKey;
use super::join_limit::JoinLimit;
use super::past::Past;
use super::plan::{Part, Plan};
use super::reads::{ReadTicket, Reads, SharedRead, Wish};
use super::state::{ReadScope, RunningJoin};
use super::watermark_beacons::WatermarkBeacons;
use crate::metrics::{Metrics, Read};
use crate::reader::ReaderOptions;
use crate::reader::partition::PartitionState;
use crate::reader::requests::{Answer, Requests};

/// The joins under way.
pub struct Joins {
    partitions: Partitions,
    running: HashMap<JoinKey, RunningJoin>,
    limit: JoinLimit,
    allowance: Allowance,
    reads: Reads,
    watermark_beacons: WatermarkBeacons,
}

/// What a join waited for has come.
pub enum JoinEvent {
    /// The watermarks have come to where it begins; or not, as a journal ends before that.
    WatermarkSettled {
        /// Whether they have come there.
        is_reached: bool,
    },
    /// It has a share of the allowance.
    ShareGranted(Option<OwnedSemaphorePermit>),
    /// Its history was read.
    HistoryRead {
        /// Its parts, with what was read for them.
        parts: Vec<ReadPart>,
        /// Its share of the allowance.
        share: Option<OwnedSemaphorePermit>,
    },
}

/// A part of a join, and what was read for it: nothing if it needed nothing, or if reading failed.
pub type ReadPart = (Part, Option<Rc<Past>>);

impl Joins {
    /// None yet.
    pub fn new(partitions: Partitions, options: &ReaderOptions, metrics: Metrics) -> Self {
        Self {
            partitions,
            running: HashMap::new(),
            limit: JoinLimit::new(options.waiting),
            allowance: Allowance::new(options.replay_bytes),
            reads: Reads::new(options.reads(), metrics),
            watermark_beacons: WatermarkBeacons::default(),
        }
    }

    /// How many may be under way.
    pub fn limit(&self) -> &JoinLimit {
        &self.limit
    }

    /// Notes that a connection was refused, as too many are under way.
    pub fn note_refused(&mut self) {
        self.limit.note_refused();
    }

    /// Tells how many are under way, and logs how many were refused.
    pub fn report(&mut self, metrics: &Metrics) {
        metrics.set_connections_waiting(self.limit.count() as i64);
        self.limit.log_refused();
    }

    /// The allowance of replays.
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Takes out a join for which something has come; `None` if it has ended meanwhile.
    pub fn take(&mut self, key: JoinKey) -> Option<RunningJoin> {
        self.reads.tidy();
        self.running.remove(&key)
    }

    /// The connection of a join has left: the join waits for nothing any more.
    pub fn cancel(&mut self, key: JoinKey) {
        if let Some(join) = self.running.remove(&key) {
            self.withdraw(join);
        }
    }

    fn withdraw(&mut self, join: RunningJoin) {
        join.cancel().iter().for_each(|ticket| self.reads.withdraw(ticket));
    }

    /// The session of these partitions is over. Tells the joins that will not be answered.
    pub fn detach(&mut self, partitions: &[Partition]) -> Vec<JoinKey> {
        for partition in partitions {
            self.watermark_beacons.detach(*partition);
            self.reads.detach(*partition);
        }
        let is_here = |address: &Arc<Address>| partitions.contains(&self.partitions.of(address));
        let is_gone = |join: &RunningJoin| join.request().addresses().iter().any(is_here);
        let gone: Vec<_> = self.running.extract_if(|_, join| is_gone(join)).collect();
        let end = |(key, join)| {
            self.withdraw(join);
            key
        };
        gone.into_iter().map(end).collect()
    }

    /// A beacon that was sent for joins which wait was answered, or failed.
    pub fn finish_beacon(&mut self, partition: Partition, requests: &mut Requests) {
        self.watermark_beacons.finish(partition, requests);
    }

    /// Lets a join wait until the watermarks of partitions have each come to an id.
    pub fn await_watermark(&mut self, mut join: RunningJoin, until: &[(&PartitionState, Id)], requests: &mut Requests) {
        let beacons = &mut self.watermark_beacons;
        let waits = until.iter().map(|(state, id)| beacons.wait(state, *id, requests));
        let waits: Vec<_> = waits.collect();
        let guard = wait_for(join.key(), requests, async move {
            let is_reached = join_all(waits).await.into_iter().all(|is_reached| is_reached);
            JoinEvent::WatermarkSettled { is_reached }
        });
        join.await_watermark(guard);
        self.insert(join);
    }

    /// Lets a join wait for a share of the allowance.
    pub fn await_share(&mut self, mut join: RunningJoin, requests: &mut Requests) {
        let allowance = self.allowance.clone();
        let share = async move { JoinEvent::ShareGranted(allowance.take().await) };
        let guard = wait_for(join.key(), requests, share);
        join.await_share(guard);
        self.insert(join);
    }

    /// Reads what the parts of a join need, once their subscriptions are acknowledged.
    pub fn read(
        &mut self,
        mut join: RunningJoin,
        parts: Vec<Part>,
        pending: impl Fn(&Arc<Address>) -> Option<watch::Receiver<bool>>,
        requests: &mut Requests,
    ) {
        let kind = if join.request().has_cursor() { Read::Resume } else { Read::Attach };
        let alone = join.scope() == ReadScope::Alone;
        let mut read = |part: &Part| {
            let Plan::Read(read) = &part.plan else { return None };
            let (partition, generation, at) = (part.partition, part.generation, read.at.id);
            let (addresses, span) = (&read.addresses, read.span);
            let wish = Wish { partition, generation, at, addresses, span, kind, alone };
            Some(self.reads.read(requests.client(partition)?, &wish, &pending))
        };
        let tickets: Vec<Option<ReadTicket>> = parts.iter().map(&mut read).collect();
        let reads = tickets.iter().map(|ticket| ticket.as_ref().map(ReadTicket::read));
        let reads: Vec<Option<SharedRead>> = reads.collect();
        let over = CancellationToken::new();
        let tickets = tickets.into_iter().flatten().collect();
        let share = join.start_reading(tickets, over.clone().drop_guard());
        wait_until(over, join.key(), requests, async move {
            let histories = join_all(reads.into_iter().map(finish_read)).await;
            JoinEvent::HistoryRead { parts: parts.into_iter().zip(histories).collect(), share }
        });
        self.insert(join);
    }

    pub(super) fn insert(&mut self, join: RunningJoin) {
        self.running.insert(join.key(), join);
    }
}

/// Waits for something on behalf of a join, until the guard is dropped.
fn wait_for(key: JoinKey, requests: &Requests, event: impl Future<Output = JoinEvent> + 'static) -> DropGuard {
    let over = CancellationToken::new();
    let guard = over.clone().drop_guard();
    wait_until(over, key, requests, event);
    guard
}

/// The same, until it is `over`.
fn wait_until(
    over: CancellationToken,
    key: JoinKey,
    requests: &Requests,
    event: impl Future<Output = JoinEvent> + 'static,
) {
    requests.push(async move {
        let event = over.run_until_cancelled_owned(event).await;
        event.map_or(Answer::Cancelled, |event| Answer::Join(key, event))
    });
}

async fn finish_read(read: Option<SharedRead>) -> Option<Rc<Past>> {
    read?.await
}

#[cfg(test)]
impl Joins {
    /// How many joins are under way.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// How many reads wait to be sent.
    pub fn reads_waiting(&self) -> usize {
        self.reads.waiting()
    }
}
