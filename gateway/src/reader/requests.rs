//! Requests to the store that run beside the reader, and their answers.

use std::future::Future;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tidings_shared::{Address, Epoch, Id, Partition, Partitions};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::resume::{JoinEvent, JoinKey};
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
    /// What a join waited for.
    Join(JoinKey, JoinEvent),
    /// Nobody waits for it any more.
    Cancelled,
}

/// The requests that are under way, each over the session that its partition had when it was made.
pub struct Requests {
    /// Of each partition, while a session is open over it.
    links: Vec<Option<Link>>,
    /// How many sessions there have been.
    sessions: u64,
    answers: FuturesUnordered<LocalBoxFuture<'static, (Sent, Answer)>>,
    /// How many beacons have been sent through each partition.
    beacons_sent: Vec<u64>,
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
    pub fn new(partitions: Partitions) -> Self {
        Self {
            links: partitions.all().map(|_| None).collect(),
            sessions: 0,
            answers: FuturesUnordered::new(),
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

    /// The session of these partitions is over.
    pub fn detach(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(link) = self.links[partition.index()].take() {
                link.over.cancel();
            }
        }
    }

    /// Makes requests over the session of a partition; `None` if there is none.
    pub fn client(&self, partition: Partition) -> Option<&Client> {
        self.links[partition.index()].as_ref().map(|link| &link.client)
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

    /// Whether an answer still counts: not if its session is over.
    fn is_awaited(&self, sent: Sent, answer: &Answer) -> bool {
        let is_over = |(partition, session): (Partition, u64)| {
            self.links[partition.index()].as_ref().is_none_or(|link| link.session != session)
        };
        !matches!(answer, Answer::Cancelled) && !sent.is_some_and(is_over)
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

    /// The number of the next beacon that is sent through a partition.
    pub fn next_beacon(&self, partition: Partition) -> u64 {
        self.beacons_sent[partition.index()] + 1
    }

    /// Sends a beacon for joins that wait.
    pub fn lift(&mut self, partition: Partition, seen: Id) {
        let number = self.number_beacon(partition);
        self.send(partition, async move |client| {
            Answer::Lift(partition, number, client.beacon(partition, seen, false).await)
        });
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

    /// Waits for an answer that is of no session.
    pub fn push(&self, request: impl Future<Output = Answer> + 'static) {
        self.answers.push(Box::pin(async move { (None, request.await) }));
    }
}
