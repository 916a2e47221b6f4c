//! Requests to the store that run beside the reader, and their answers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use tidings_shared::{Address, Epoch, Id, Partition, Partitions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::delivery::ConnectionKey;
use super::outbox::WorkerId;
use super::partition::{PartitionState, Stand};
use super::resume::allowance::Allowance;
use super::resume::past::Past;
use super::resume::plan::{From, Join, Part, Plan};
use super::resume::reads::{ReadOptions, Reads, SharedRead, Wish};
use crate::metrics::{Metrics, Read};
use crate::store::{BeaconReply, Client, Session, StoreError};

/// What came of a request.
pub enum Answer {
    /// The channels of these addresses are subscribed.
    Subscribed(Partition, Vec<Arc<Address>>, Result<(), StoreError>),
    /// Channels are no longer subscribed.
    Unsubscribed(Partition, Result<(), StoreError>),
    /// The beacon of that number was sent.
    Beacon(Partition, u64, Result<BeaconReply, StoreError>),
    /// One was sent because a push of that epoch had come, which is not the partition's.
    Asked(Partition, u64, Epoch, Result<BeaconReply, StoreError>),
    /// One was sent for joins that wait for the watermark.
    Lift(Partition, u64, Result<BeaconReply, StoreError>),
    /// The server of a partition was asked for its `maxmemory-policy`. None: it did not say.
    Policy(Partition, Option<String>),
    /// A join has a share of the allowance.
    Admitted(Join, Option<OwnedSemaphorePermit>),
    /// The watermark has come to where a join waits for it; or not, as the journal ends before that.
    Arrived(Join, bool),
    /// The history that a join needs.
    Read {
        /// The join.
        join: Join,
        /// Its parts, with what was read for them.
        parts: Vec<ReadPart>,
    },
    /// Nobody waits for it any more.
    Cancelled,
}

/// A part of a join, and what was read for it: nothing if it needed nothing, or if reading failed.
pub type ReadPart = (Part, Option<Rc<Past>>);

/// The requests that are under way, each over the session that its partition had when it was made.
pub struct Requests {
    partitions: Partitions,
    /// Of each partition, while a session is open over it.
    links: Vec<Option<Link>>,
    /// How many sessions there have been.
    sessions: u64,
    answers: FuturesUnordered<LocalBoxFuture<'static, (Sent, Answer)>>,
    reads: Reads,
    joining: HashMap<(WorkerId, ConnectionKey), Joining>,
    /// The partitions through which a beacon is sent for joins that wait; with the highest id seen if another must follow.
    lifts: HashMap<Partition, Option<Id>>,
    /// How many beacons have been sent through each partition.
    beacons_sent: Vec<u64>,
}

/// A join under way.
struct Joining {
    /// What it follows.
    addresses: Arc<[Arc<Address>]>,
    /// Cancelled once its connection has left, or the store is away for it.
    over: CancellationToken,
}

/// The session over a partition: its number, and what makes its requests.
#[derive(Debug, Clone)]
struct Link {
    session: u64,
    client: Client,
    /// Channels that may be on their way to be subscribed at once.
    subscribing: Arc<Semaphore>,
    /// Cancelled once the session is over. Nothing else ends a SUBSCRIBE that is never answered, and it keeps the
    /// connection open.
    over: CancellationToken,
}

/// Channels of one SUBSCRIBE or UNSUBSCRIBE.
const CHANNELS: usize = 500;
/// Channels whose subscription may be under way at once over one session. What comes in behind their acknowledgements,
/// beacons too, waits no longer than these take.
const SUBSCRIBING: usize = 4_000;

/// Over which session, and for which of its partitions, a request was sent. What it says of that one counts for no later
/// one. Joins are of none.
type Sent = Option<(Partition, u64)>;

impl Requests {
    /// Requests of a store that has these partitions, none of which is attached.
    pub fn new(partitions: Partitions, options: ReadOptions, metrics: Metrics) -> Self {
        Self {
            partitions,
            links: partitions.all().map(|_| None).collect(),
            sessions: 0,
            answers: FuturesUnordered::new(),
            reads: Reads::new(options, metrics),
            joining: HashMap::new(),
            lifts: HashMap::new(),
            beacons_sent: vec![0; usize::from(partitions.count())],
        }
    }

    /// From now on the requests of its partitions go over this session.
    pub fn attach(&mut self, session: &Session) {
        self.sessions += 1;
        let link = Link {
            session: self.sessions,
            client: session.client.clone(),
            subscribing: Arc::new(Semaphore::new(SUBSCRIBING)),
            over: CancellationToken::new(),
        };
        for partition in &session.partitions {
            self.links[partition.index()] = Some(link.clone());
        }
    }

    /// The session of these partitions is over. Tells the connections whose joins will not be answered.
    pub fn detach(&mut self, partitions: &[Partition]) -> Vec<(WorkerId, ConnectionKey)> {
        for partition in partitions {
            if let Some(link) = self.links[partition.index()].take() {
                link.over.cancel();
            }
            self.lifts.remove(partition);
            self.reads.detach(*partition);
        }
        let is_here = |address: &Arc<Address>| partitions.contains(&self.partitions.of(address));
        let gone = self.joining.extract_if(|_, joining| joining.addresses.iter().any(is_here));
        gone.inspect(|(_, joining)| joining.over.cancel()).map(|(key, _)| key).collect()
    }

    /// The connection of a join has left: the join waits for nothing any more. A read that was asked for already goes
    /// on, as others may share it.
    pub fn cancel(&mut self, worker: WorkerId, connection: ConnectionKey) {
        if let Some(joining) = self.joining.remove(&(worker, connection)) {
            joining.over.cancel();
        }
    }

    /// How many joins are under way.
    #[cfg(test)]
    pub fn joins(&self) -> usize {
        self.joining.len()
    }

    /// The next answer; `None` while nothing is under way.
    pub async fn next(&mut self) -> Option<Answer> {
        loop {
            let (sent, answer) = self.answers.next().await?;
            if self.is_awaited(sent, &answer) {
                return Some(answer);
            }
        }
    }

    /// Whether an answer still counts: not if its session is over, or its join was turned away.
    fn is_awaited(&mut self, sent: Sent, answer: &Answer) -> bool {
        if let Some((partition, session)) = sent
            && self.links[partition.index()].as_ref().is_none_or(|link| link.session != session)
        {
            return false;
        }
        match answer {
            Answer::Read { join, .. } | Answer::Admitted(join, _) | Answer::Arrived(join, _) => {
                self.reads.tidy();
                self.joining.remove(&(join.worker, join.connection)).is_some()
            }
            Answer::Lift(partition, ..) => {
                self.lifted(*partition);
                true
            }
            Answer::Cancelled => false,
            _ => true,
        }
    }

    /// Subscribes to the channels of addresses; the receiver tells when that is acknowledged.
    pub fn subscribe(&mut self, partition: Partition, channels: Vec<(String, Arc<Address>)>) -> watch::Receiver<bool> {
        let (channels, addresses): (Vec<String>, Vec<Arc<Address>>) = channels.into_iter().unzip();
        let (acknowledge, acknowledged) = watch::channel(false);
        self.send_over(partition, async move |Link { client, subscribing, .. }| {
            let mut result = Ok(());
            for some in channels.chunks(CHANNELS) {
                // It is never closed. The permits come in the order in which they were asked for.
                let _turn = subscribing.acquire_many(some.len() as u32).await;
                result = client.subscribe(some.to_vec()).await;
                if result.is_err() {
                    break;
                }
            }
            acknowledge.send_replace(result.is_ok());
            Answer::Subscribed(partition, addresses, result)
        });
        acknowledged
    }

    /// Ends the subscription of channels of a partition. Nothing is subscribed meanwhile: who follows one of them anew
    /// must come behind this.
    pub fn unsubscribe(&mut self, partition: Partition, channels: Vec<String>) {
        self.send_over(partition, async move |Link { client, subscribing, .. }| {
            let _turn = subscribing.acquire_many(SUBSCRIBING as u32).await;
            let mut result = Ok(());
            for some in channels.chunks(CHANNELS) {
                result = client.unsubscribe(some.to_vec()).await;
                if result.is_err() {
                    break;
                }
            }
            Answer::Unsubscribed(partition, result)
        });
    }

    /// How many reads wait to be sent.
    #[cfg(test)]
    pub fn reads_waiting(&self) -> usize {
        self.reads.waiting()
    }

    /// The partition was resynced, as a beacon could not tell whether its history is the same.
    pub fn trust(&self, partition: Partition) {
        if let Some(link) = &self.links[partition.index()] {
            link.client.trust(partition);
        }
    }

    /// Sends a beacon.
    pub fn beacon(&mut self, partition: Partition, seen: Id) {
        let number = self.number_beacon(partition);
        self.send(partition, async move |client| {
            Answer::Beacon(partition, number, client.beacon(partition, seen, false).await)
        });
    }

    fn number_beacon(&mut self, partition: Partition) -> u64 {
        let sent = &mut self.beacons_sent[partition.index()];
        *sent += 1;
        *sent
    }

    /// Asks the server of a partition for its `maxmemory-policy`. Whether it answers at all is for beacons to judge.
    pub fn policy(&mut self, partition: Partition) {
        self.send(partition, async move |client| Answer::Policy(partition, client.policy().await.ok().flatten()));
    }

    /// Sends a beacon, to learn whether the history is the one of a push that has come.
    pub fn ask_epoch(&mut self, partition: Partition, seen: Id, epoch: Epoch) {
        let number = self.number_beacon(partition);
        self.send(partition, async move |client| {
            Answer::Asked(partition, number, epoch, client.beacon(partition, seen, false).await)
        });
    }

    /// Waits for a share of the allowance.
    pub fn admit(&mut self, join: Join, allowance: Allowance) {
        self.wait_for(join, async move |join| Answer::Admitted(join, allowance.take().await));
    }

    /// Waits until the watermarks of partitions have each come to an id, or to the end of a journal that is not so far.
    /// Beacons see to that: they come in behind all that was published before them.
    pub fn wait(&mut self, join: Join, until: &[(&PartitionState, Id)]) {
        let arrivals: Vec<_> = until.iter().map(|(state, id)| self.arrival(state, *id)).collect();
        self.wait_for(join, async move |join| {
            let came = join_all(arrivals).await.into_iter().all(|came| came);
            Answer::Arrived(join, came)
        });
    }

    /// Tells whether the watermark came there, or what was planned is void.
    fn arrival(&mut self, state: &PartitionState, until: Id) -> impl Future<Output = bool> + use<> {
        // The next one to be sent: one that is under way may have passed the store before that id was given.
        let number = self.beacons_sent[state.partition.index()] + 1;
        match self.lifts.entry(state.partition) {
            Entry::Occupied(mut lift) => drop(lift.insert(Some(state.highest))),
            Entry::Vacant(lift) => {
                lift.insert(None);
                self.lift(state.partition, state.highest);
            }
        }
        let (mut stand, generation) = (state.stand(), state.generation);
        let is_there = move |stand: &Stand, id| stand.generation != generation || stand.id >= id;
        async move {
            // It fails only where there is nobody to take the answer.
            let told =
                stand.wait_for(|stand| is_there(stand, until) || stand.answered.0 >= number).await.map(|told| *told);
            // A journal that ends before that id never had it. What it does have is on its way.
            let Ok(Stand { answered: (_, last), .. }) = told else { return true };
            stand.wait_for(|stand| is_there(stand, until.min(last))).await.is_ok_and(|stand| is_there(&stand, until))
        }
    }

    /// Sends a beacon for joins that wait.
    fn lift(&mut self, partition: Partition, seen: Id) {
        let number = self.number_beacon(partition);
        self.send(partition, async move |client| {
            Answer::Lift(partition, number, client.beacon(partition, seen, false).await)
        });
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
        self.note(&join);
        let kind = if matches!(join.from, From::Cursor(_)) { Read::Resume } else { Read::Attach };
        let mut read = |part: &Part| {
            let Plan::Read(read) = &part.plan else { return None };
            let (partition, generation, at) = (part.partition, part.generation, read.at.id);
            let (addresses, span, alone) = (&read.addresses, read.span, join.tries.alone);
            let wish = Wish { partition, generation, at, addresses, span, kind, alone };
            let link = self.links[partition.index()].as_ref()?;
            Some(self.reads.read(&link.client, &wish, &pending))
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

    /// Lets a join wait, for as long as its connection is there.
    fn wait_for<F: Future<Output = Answer> + 'static>(&mut self, join: Join, wait: impl FnOnce(Join) -> F) {
        let over = self.note(&join);
        let wait = wait(join);
        self.push(async move { over.run_until_cancelled_owned(wait).await.unwrap_or(Answer::Cancelled) });
    }

    fn note(&mut self, join: &Join) -> CancellationToken {
        let over = CancellationToken::new();
        let joining = Joining { addresses: Arc::clone(&join.addresses), over: over.clone() };
        self.joining.insert((join.worker, join.connection), joining);
        over
    }

    /// Makes a request over the session of a partition, if there is one.
    fn send<F: Future<Output = Answer> + 'static>(&self, partition: Partition, request: impl FnOnce(Client) -> F) {
        self.send_over(partition, |link| request(link.client));
    }

    fn send_over<F: Future<Output = Answer> + 'static>(&self, partition: Partition, request: impl FnOnce(Link) -> F) {
        if let Some(link) = self.links[partition.index()].clone() {
            let (session, over) = (link.session, link.over.clone());
            let request = request(link);
            self.answers.push(Box::pin(async move {
                let answer = over.run_until_cancelled(request).await;
                (Some((partition, session)), answer.unwrap_or(Answer::Cancelled))
            }));
        }
    }

    fn push(&self, request: impl Future<Output = Answer> + 'static) {
        self.answers.push(Box::pin(async move { (None, request.await) }));
    }
}
