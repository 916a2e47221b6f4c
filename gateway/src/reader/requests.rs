//! Requests to the store that run beside the reader, and their answers.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Id, Partition};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::allowance::Allowance;
use super::delivery::ConnectionKey;
use super::join::{From, Join, Part, Plan};
use super::outbox::WorkerId;
use super::partition::PartitionState;
use super::past::Past;
use super::reads::{ReadOptions, Reads, SharedRead, Wish};
use crate::metrics::{Metrics, Read};
use crate::store::{Client, StoreError};

/// What came of a request.
pub enum Answer {
    /// The channels of these addresses are subscribed.
    Subscribed(Vec<Arc<Address>>, Result<(), StoreError>),
    /// Channels are no longer subscribed.
    Unsubscribed(Result<(), StoreError>),
    /// A beacon was sent.
    Beacon(Partition, Result<Place, StoreError>),
    /// One was sent for joins that wait for the watermark.
    Lift(Partition, Result<Place, StoreError>),
    /// A join has a share of the allowance.
    Admitted(Join, Option<OwnedSemaphorePermit>),
    /// The watermark has come to where a join waits for it.
    Arrived(Join),
    /// The history that a join needs.
    Read {
        /// The join.
        join: Join,
        /// Its parts, with what was read for them.
        parts: Vec<ReadPart>,
    },
}

/// A part of a join, and what was read for it: nothing if it needed nothing, or if reading failed.
pub type ReadPart = (Part, Option<Rc<Past>>);

/// The requests of one session that are under way.
pub struct Requests {
    client: Client,
    answers: FuturesUnordered<Pin<Box<dyn Future<Output = Answer>>>>,
    reads: Reads,
    joining: HashSet<(WorkerId, ConnectionKey)>,
    /// The partitions through which a beacon is sent for joins that wait; with the highest id seen if another must follow.
    lifts: HashMap<Partition, Option<Id>>,
}

impl Requests {
    /// Requests by `client`.
    pub fn new(client: Client, options: ReadOptions, metrics: Metrics) -> Self {
        let answers = FuturesUnordered::new();
        let reads = Reads::new(client.clone(), options, metrics);
        Self { client, answers, reads, joining: HashSet::new(), lifts: HashMap::new() }
    }

    /// The next answer; `None` while nothing is under way.
    pub async fn next(&mut self) -> Option<Answer> {
        let answer = self.answers.next().await?;
        match &answer {
            Answer::Read { join, .. } | Answer::Admitted(join, _) | Answer::Arrived(join) => {
                self.joining.remove(&(join.worker, join.connection));
                self.reads.tidy();
            }
            Answer::Lift(partition, _) => self.lifted(*partition),
            _ => {}
        }
        Some(answer)
    }

    /// The connections whose joins will not be answered, as the session broke.
    pub fn abandon(&mut self) -> impl Iterator<Item = (WorkerId, ConnectionKey)> {
        self.joining.drain()
    }

    /// Subscribes to the channels of addresses; the receiver tells when that is acknowledged.
    pub fn subscribe(&mut self, channels: Vec<(String, Arc<Address>)>) -> watch::Receiver<bool> {
        let (channels, addresses): (Vec<String>, Vec<Arc<Address>>) = channels.into_iter().unzip();
        let (acknowledge, acknowledged) = watch::channel(false);
        let client = self.client.clone();
        self.push(async move {
            let result = client.subscribe(channels).await;
            acknowledge.send_replace(result.is_ok());
            Answer::Subscribed(addresses, result)
        });
        acknowledged
    }

    /// Ends the subscription of channels.
    pub fn unsubscribe(&mut self, channels: Vec<String>) {
        let client = self.client.clone();
        self.push(async move { Answer::Unsubscribed(client.unsubscribe(channels).await) });
    }

    /// How many reads wait to be sent.
    #[cfg(test)]
    pub fn reads_waiting(&self) -> usize {
        self.reads.waiting()
    }

    /// Sends a beacon.
    pub fn beacon(&mut self, partition: Partition, seen: Id) {
        let client = self.client.clone();
        self.push(async move { Answer::Beacon(partition, client.beacon(partition, seen, false).await) });
    }

    /// Waits for a share of the allowance.
    pub fn admit(&mut self, join: Join, allowance: Allowance) {
        self.joining.insert((join.worker, join.connection));
        self.push(async move {
            let share = allowance.take().await;
            Answer::Admitted(join, share)
        });
    }

    /// Waits until the watermarks of partitions have each come to an id. Beacons see to that: they come in behind all that
    /// was published before them.
    pub fn wait(&mut self, join: Join, until: &[(&PartitionState, Id)]) {
        self.joining.insert((join.worker, join.connection));
        let arrivals: Vec<_> = until.iter().map(|(state, id)| self.arrival(state, *id)).collect();
        self.push(async move {
            join_all(arrivals).await;
            Answer::Arrived(join)
        });
    }

    fn arrival(&mut self, state: &PartitionState, until: Id) -> impl Future<Output = ()> + use<> {
        match self.lifts.entry(state.partition) {
            Entry::Occupied(mut lift) => drop(lift.insert(Some(state.highest))),
            Entry::Vacant(lift) => {
                lift.insert(None);
                self.lift(state.partition, state.highest);
            }
        }
        let (mut stand, generation) = (state.stand(), state.generation);
        async move {
            // It fails only where there is nobody to take the answer.
            let _ = stand.wait_for(|stand| stand.generation != generation || stand.id >= until).await;
        }
    }

    /// Sends a beacon for joins that wait.
    fn lift(&self, partition: Partition, seen: Id) {
        let client = self.client.clone();
        self.push(async move { Answer::Lift(partition, client.beacon(partition, seen, false).await) });
    }

    /// A beacon was sent for joins that wait; others have come meanwhile, perhaps for what was published after it.
    fn lifted(&mut self, partition: Partition) {
        if let Some(seen) = self.lifts.remove(&partition).flatten() {
            self.lifts.insert(partition, None);
            self.lift(partition, seen);
        }
    }

    /// Reads what the parts of a join need, once their subscriptions are acknowledged.
    pub fn read(
        &mut self,
        join: Join,
        parts: Vec<Part>,
        pending: impl Fn(&Arc<Address>) -> Option<watch::Receiver<bool>>,
    ) {
        self.joining.insert((join.worker, join.connection));
        let kind = if matches!(join.from, From::Cursor(_)) { Read::Resume } else { Read::Attach };
        let mut read = |part: &Part| {
            let Plan::Read(read) = &part.plan else { return None };
            let (partition, generation, at) = (part.partition, part.generation, read.at.id);
            let (addresses, span, alone) = (&read.addresses, read.span, join.tries.alone);
            let wish = Wish { partition, generation, at, addresses, span, kind, alone };
            Some(self.reads.read(&wish, &pending))
        };
        let reads: Vec<Option<SharedRead>> = parts.iter().map(&mut read).collect();
        self.push(async move {
            let read = |read: Option<SharedRead>| async move {
                match read {
                    Some(read) => read.await,
                    None => None,
                }
            };
            let histories = join_all(reads.into_iter().map(read)).await;
            Answer::Read { join, parts: parts.into_iter().zip(histories).collect() }
        });
    }

    fn push(&self, request: impl Future<Output = Answer> + 'static) {
        self.answers.push(Box::pin(request));
    }
}
