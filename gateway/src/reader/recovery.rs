//! Recovery: what happens between a new session and live events.
//!
//! The order matters. First the subscriptions, so that nothing from here on is missed; pushes wait meanwhile. Then the
//! journal, up to its last id at that moment: it names every address that changed since the watermark, so only those
//! that are followed are read. Everything up to that id is handed out; the pushes that waited and are not above it are
//! passed over.
//!
//! It runs beside the reader, which serves the other partitions meanwhile, and owns a copy of what the reader knew. That
//! stays true: what is detached does not move, and nobody new follows it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tidings_shared::cursor::Place;
use tidings_shared::script::Span;
use tidings_shared::{Address, Epoch, Id, Partition};

use super::delivery::Dispatch;
use super::resume::replay::{self, Told};
use crate::control::Reason;
use crate::frame::Encoder;
use crate::metrics::{Foreign, Metrics, Read};
use crate::store::{Asked, BeaconReply, Client, Missed, Session, Status, StoreError};

/// Channels of one SUBSCRIBE.
const CHANNELS: usize = 1_000;
/// How long one of these may take. No beacon tells yet whether the connection lives.
const SUBSCRIBED: Duration = Duration::from_secs(5);
/// Addresses of one read.
const ADDRESSES: usize = 200;
/// Bytes of messages of one read.
pub(super) const BYTES: u64 = 16 * 1024 * 1024;
/// The same where so much did not come in the time for an answer, over and over: any line takes this.
const LEAST_BYTES: u64 = 64 * 1024;
/// A recovery that failed is tried again with so much less: on a thin line each try takes until it is given up.
const LESS: u64 = 16;
/// So many recoveries try to read a partition before all of it is resynced. More than those that ask for
/// less each time: the least is tried twice.
const READ_TRIES: u32 = 5;
/// So many full reads recovering one partition may bring. Addresses beyond that are resynced: the workers could hardly
/// write out more than this at once, and it all stands in memory.
const READS: u64 = 16;

/// A recovery of the partitions of one session.
#[derive(Debug)]
pub struct Recovery {
    /// What is known of each, in the order of the session's partitions.
    pub known: Vec<Known>,
    /// What has to be subscribed.
    pub channels: Vec<String>,
    /// Makes the frames.
    pub encoder: Encoder,
    /// Counts the reads.
    pub metrics: Metrics,
}

/// What is known of a partition before its recovery.
#[derive(Debug)]
pub struct Known {
    /// Which.
    pub partition: Partition,
    /// The watermark. `None` before the first session.
    pub place: Option<Place>,
    /// The highest id ever seen.
    pub highest: Id,
    /// Which process served it in the last session.
    pub run: Option<Arc<str>>,
    /// Whether it is to be resynced, not read.
    pub behind: bool,
    /// How many recoveries before this one could not read it, though its server answered.
    pub failed_reads: u32,
    /// Whether its journal is to be read. If not, it goes on with what comes.
    pub by_journal: bool,
    /// The most bytes of one read.
    pub read_bytes: u64,
    /// All that is followed of it.
    pub addresses: HashSet<Arc<Address>>,
}

/// What came of a recovery.
#[derive(Debug)]
pub struct Recovered {
    /// The session, which takes pushes in since its subscriptions.
    pub session: Session,
    /// How long it was waited for.
    pub waited: Duration,
    /// What it is subscribed to.
    pub channels: Vec<String>,
    /// What each of its partitions missed.
    pub result: Result<Vec<Outcome>, Failed>,
}

/// What a partition missed.
#[derive(Debug)]
pub enum Outcome {
    /// It begins at this place.
    Begun(Place),
    /// All of it must be refetched: it is at this place now.
    Resync(Place, Reason),
    /// This, and it is all.
    Missed(Backfill),
}

/// What the followed addresses of a partition got up to a place.
#[derive(Debug)]
pub struct Backfill {
    /// Where the partition is now.
    pub place: Place,
    /// Of what these got, something is gone.
    pub lost: Vec<Arc<Address>>,
    /// These got more than is worth reading.
    pub slow: Vec<Arc<Address>>,
    /// What the others got, in order.
    pub events: Vec<Dispatch>,
}

/// A recovery that came to nothing.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: StoreError,
    /// So much of this partition was to be read at once, and did not come; less may.
    pub less: Option<(Partition, u64)>,
    /// The partition whose history could not be read.
    pub unread: Option<Partition>,
}

impl Known {
    /// Whether its history could not be read so often that there is no use in trying again. All of
    /// it is resynced then, as else no page would hear of anything for as long as that lasts.
    fn is_given_up(&self) -> bool {
        self.failed_reads >= READ_TRIES
    }

    fn is_to_be_read(&self) -> bool {
        self.by_journal && !self.behind && !self.is_given_up()
    }
}

impl Failed {
    fn unread(partition: Partition, error: StoreError) -> Self {
        Self { error, less: None, unread: Some(partition) }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self { error, less: None, unread: None }
    }
}

impl Recovery {
    /// Recovers over a session for as long as it is whole: what is asked of one that broke comes to nothing, perhaps late.
    pub async fn over(self, session: Session, waited: Duration) -> Recovered {
        let result = tokio::select! {
            result = self.run(&session) => result,
            () = session.broken() => Err(StoreError::new("recovering", session.end()).into()),
        };
        Recovered { session, waited, channels: self.channels, result }
    }

    async fn run(&self, session: &Session) -> Result<Vec<Outcome>, Failed> {
        let client = &session.client;
        // Before the subscriptions, or pushes of the history before would come behind those of the new one.
        let attached = self.beacons(client, true).await?;
        for some in self.channels.chunks(CHANNELS) {
            client.subscribe_within(some.to_vec(), SUBSCRIBED).await?;
        }
        // And where each is only after them: from its place on a partition misses nothing, and remembers so.
        let replies = self.beacons(client, false).await?;
        for (reply, before) in replies.iter().zip(&attached) {
            same_epoch(reply.place.epoch, before.place.epoch)?;
        }
        let places: Vec<Place> = replies.iter().map(|reply| reply.place).collect();
        let pages = self.first_pages(client, &places).await?;
        let mut outcomes = Vec::with_capacity(self.known.len());
        for (((known, place), page), reply) in self.known.iter().zip(places).zip(pages).zip(replies) {
            outcomes.push(match (known.place, page) {
                (None, _) => Outcome::Begun(place),
                (Some(_), _) if known.behind => Outcome::Resync(place, Reason::Slow),
                (Some(before), _) if known.is_given_up() && before.epoch == place.epoch => {
                    Outcome::Resync(place, Reason::HistoryLost)
                }
                // Its last beacon is so long ago that nobody knows whether this journal is the one that it read.
                (Some(_), _) if reply.unsure => Outcome::Resync(place, Reason::HistoryLost),
                (Some(before), _) if before.epoch != place.epoch => {
                    let other_server = known.run.as_ref().is_some_and(|run| *run != session.run);
                    Outcome::Resync(place, if other_server { Reason::Failover } else { Reason::Epoch })
                }
                (Some(before), Some(page)) => self.backfill(client, known, before, page).await?,
                (Some(_), None) => Outcome::Begun(place),
            });
        }
        Ok(outcomes)
    }

    /// Sends a beacon through each partition, all at once: a server may be far away.
    async fn beacons(&self, client: &Client, attaching: bool) -> Result<Vec<BeaconReply>, StoreError> {
        try_join_all(self.known.iter().map(|known| client.beacon(known.partition, known.highest, attaching))).await
    }

    /// The first page of each journal that is to be read: something is known, and the history is still the same.
    async fn first_pages(&self, client: &Client, places: &[Place]) -> Result<Vec<Option<Missed>>, Failed> {
        let first = async |(known, place): (&Known, &Place)| match known.place {
            Some(before) if before.epoch == place.epoch && known.is_to_be_read() => {
                self.page(client, known, before.id, None).await.map(Some)
            }
            _ => Ok(None),
        };
        try_join_all(self.known.iter().zip(places).map(first)).await
    }

    async fn page(&self, client: &Client, known: &Known, after: Id, up_to: Option<Id>) -> Result<Missed, Failed> {
        self.metrics.add_store_reads(Read::Recover, 1);
        let page = client.missed(known.partition, after, up_to).await;
        let page = page.map_err(|error| Failed::unread(known.partition, error))?;
        self.metrics.add_unreadable(Foreign::Journal, page.unreadable);
        Ok(page)
    }

    /// What a partition got since its watermark. The first page of its journal is read already.
    async fn backfill(&self, client: &Client, known: &Known, before: Place, first: Missed) -> Result<Outcome, Failed> {
        let mut changed: HashSet<&Arc<Address>> = HashSet::new();
        let up_to = first.last;
        let mut page = first;
        loop {
            same_epoch(page.epoch, before.epoch)?;
            if !page.complete {
                return Ok(Outcome::Resync(Place { id: up_to, ..before }, Reason::HistoryLost));
            }
            changed.extend(page.addresses.iter().filter_map(|address| known.addresses.get(address)));
            let Some(next) = page.next else { break };
            page = self.page(client, known, next, Some(up_to)).await?;
        }
        let changed: Vec<Arc<Address>> = changed.into_iter().map(Arc::clone).collect();
        let place = Place { id: up_to.max(before.id), ..before };
        self.read_changed(client, known, &changed, (before, up_to), place).await.map(Outcome::Missed)
    }

    /// What `addresses` got in between.
    async fn read_changed(
        &self,
        client: &Client,
        known: &Known,
        addresses: &[Arc<Address>],
        (before, up_to): (Place, Id),
        place: Place,
    ) -> Result<Backfill, Failed> {
        let (partition, most) = (known.partition, known.read_bytes);
        let mut left = READS * most;
        let mut frames = Vec::new();
        let (mut lost, mut slow) = (Vec::new(), Vec::new());
        for some in addresses.chunks(ADDRESSES) {
            self.metrics.add_store_reads(Read::Recover, 1);
            let span = Span::Between(before.id, up_to);
            let asked = Asked { partition, addresses: some, span, each: &[], bytes: most.min(left) };
            let less = Some((partition, (most / LESS).max(LEAST_BYTES)));
            let history = client.backfill(asked).await;
            let history = history.map_err(|error| Failed { less, ..Failed::unread(partition, error) })?;
            self.metrics.add_unreadable(Foreign::History, history.unreadable);
            same_epoch(history.epoch, before.epoch)?;
            let read = replay::encode(&history, some, before.epoch, &self.encoder);
            for (address, Told { status, frames: read }) in some.iter().zip(read) {
                match status {
                    Status::Complete => {
                        left = left.saturating_sub(read.iter().map(|(_, frame)| frame.bytes().len() as u64).sum());
                        frames.extend(read.into_iter().map(|frame| (Arc::clone(address), frame)));
                    }
                    Status::Big => slow.push(Arc::clone(address)),
                    Status::Lost => lost.push(Arc::clone(address)),
                }
            }
        }
        let events = replay::merge(partition, frames.iter().map(|(address, frame)| (address, frame)));
        Ok(Backfill { place, lost, slow, events })
    }
}

/// A history that becomes another one during a recovery: the next recovery begins with it. To go on in this one would
/// take the pushes of the history before, which wait, for a third.
fn same_epoch(now: impl Into<Option<Epoch>>, before: Epoch) -> Result<(), StoreError> {
    match now.into() {
        Some(now) if now == before => Ok(()),
        _ => Err(StoreError::new("recovering", "the store's history became another one meanwhile")),
    }
}
