//! Requests to the store that run beside the reader, and their answers.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Id, Partition};
use tokio::sync::watch;

use super::delivery::ConnectionKey;
use super::join::{From, Join, Part, Plan};
use super::outbox::WorkerId;
use super::past::Past;
use super::reads::{Reads, SharedRead, Wish};
use crate::metrics::{Metrics, Read};
use crate::store::{Client, StoreError};

/// What came of a request.
pub enum Answer {
    /// The channels of these addresses are subscribed.
    Subscribed(Vec<Arc<Address>>, Result<(), StoreError>),
    /// Channels are no longer subscribed.
    Unsubscribed(Result<(), StoreError>),
    /// A beacon was sent.
    Beacon(Result<Place, StoreError>),
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
}

impl Requests {
    /// Requests by `client`, of which each join may be brought `bytes` of messages.
    pub fn new(client: Client, bytes: u64, metrics: Metrics) -> Self {
        let answers = FuturesUnordered::new();
        let reads = Reads::new(client.clone(), bytes, metrics);
        Self { client, answers, reads, joining: HashSet::new() }
    }

    /// The next answer; `None` while nothing is under way.
    pub async fn next(&mut self) -> Option<Answer> {
        let answer = self.answers.next().await?;
        if let Answer::Read { join, .. } = &answer {
            self.joining.remove(&(join.worker, join.connection));
            self.reads.tidy();
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
        self.push(async move { Answer::Beacon(client.beacon(partition, seen, false).await) });
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
            let Plan::Read(read) = part.plan else { return None };
            let (partition, generation, addresses) = (part.partition, part.generation, &part.addresses);
            let wish = Wish { partition, generation, addresses, span: read.span, kind, alone: join.tries.alone };
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
