//! A session: one unbroken life of the way to one server of a store.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tidings_shared::cursor::Place;
use tidings_shared::script::Span;
use tidings_shared::{Address, Epoch, Id, Partition, Retention};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;

use super::memory::MemoryClient;
use super::redis::RedisClient;

/// What is wrong with the way to the store, for logs and readiness.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {detail}")]
pub struct StoreError {
    /// What was being done.
    pub what: &'static str,
    /// What went wrong, without secrets.
    pub detail: String,
    /// Whether the same server may do it a little later, over the same connection.
    pub passing: bool,
    /// Whether other gateways go by another number of partitions: for as long as they do, nobody can be served here.
    pub at_odds: bool,
}

impl StoreError {
    /// An error in doing `what`.
    pub fn new(what: &'static str, detail: impl ToString) -> Self {
        Self { what, detail: detail.to_string(), passing: false, at_odds: false }
    }

    /// The same, with the partition that it befell.
    pub fn of_partition(self, partition: Partition) -> Self {
        Self { detail: format!("partition {partition}: {}", self.detail), ..self }
    }
}

/// What the store pushes, in the order in which it happened.
#[derive(Debug)]
pub struct Push {
    /// The channel: an address's, a journal's, or a beacon's.
    pub channel: Box<str>,
    /// The text that was published there.
    pub text: Box<str>,
}

/// What came of connecting to the server of some partitions.
#[derive(Debug)]
pub struct Attempt {
    /// These.
    pub partitions: Vec<Partition>,
    /// A session over them all, or why there is none.
    pub result: Result<Session, StoreError>,
}

/// One unbroken life of the way to the server of some partitions. Within it, pushes come in order and none is missing;
/// when it breaks, all that these partitions may have missed must be recovered over the next one.
#[derive(Debug)]
pub struct Session {
    /// Makes requests.
    pub client: Client,
    /// The partitions; at least one.
    pub partitions: Vec<Partition>,
    /// Which server it is, and since which promotion; another than before means that writes may be lost.
    pub run: Arc<str>,
    /// The server's `maxmemory-policy`. Any but `noeviction` may lose history in silence under memory pressure.
    pub policy: String,
    pushes: mpsc::Receiver<Push>,
    /// Bytes of the pushes that wait.
    waiting: Arc<AtomicUsize>,
    end: Arc<End>,
}

/// Tells that a session broke.
#[derive(Debug, Default)]
struct End {
    broken: AtomicBool,
    /// Why, in words.
    reason: OnceLock<&'static str>,
    /// Because pushes came faster than they were received.
    behind: AtomicBool,
    told: AtomicWaker,
}

/// The end of a session that takes pushes in. It never waits: what cannot be taken breaks the session.
#[derive(Debug, Clone)]
pub(super) struct PushSink {
    sender: mpsc::Sender<Push>,
    waiting: Arc<AtomicUsize>,
    end: Arc<End>,
}

/// Pushes that may wait for the reader. The reader drains them all at every turn; if it is this far behind, recovering
/// from the journal is cheaper than catching up.
const PUSHES: usize = 65_536;
/// The same in bytes: so many small events, or 1,000 of the largest.
const PUSH_BYTES: usize = 64 * 1024 * 1024;
/// What a push takes besides its texts.
const PUSH: usize = size_of::<Push>() + 32;

impl PushSink {
    pub(super) fn push(&self, channel: Box<str>, text: Box<str>) {
        // Nothing behind a gap, or it would be taken for what comes next.
        if self.end.broken.load(Ordering::Acquire) {
            return;
        }
        let push = Push { channel, text };
        let bytes = push.held_bytes();
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        // One that is larger than all room is taken if it waits alone, or it would break each session anew.
        let is_too_much = waiting > 0 && waiting + bytes > PUSH_BYTES;
        if is_too_much || matches!(self.sender.try_send(push), Err(TrySendError::Full(_))) {
            self.end.behind.store(true, Ordering::Release);
            self.close("events came faster than they could be taken");
        }
    }

    /// Breaks the session. Of several reasons the first is told.
    pub(super) fn close(&self, reason: &'static str) {
        let _ = self.end.reason.set(reason);
        self.end.broken.store(true, Ordering::Release);
        self.end.told.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.end.broken.load(Ordering::Acquire) || self.sender.is_closed()
    }
}

impl Push {
    fn held_bytes(&self) -> usize {
        PUSH + self.channel.len() + self.text.len()
    }
}

/// A channel for pushes: the sink for the store, the rest for [`Session::new`].
pub(super) fn pushes() -> (PushSink, mpsc::Receiver<Push>) {
    let (sender, receiver) = mpsc::channel(PUSHES);
    (PushSink { sender, waiting: Arc::default(), end: Arc::default() }, receiver)
}

impl Session {
    pub(super) fn new(
        client: Client,
        partitions: Vec<Partition>,
        (run, policy): (Arc<str>, String),
        sink: &PushSink,
        pushes: mpsc::Receiver<Push>,
    ) -> Self {
        let (waiting, end) = (Arc::clone(&sink.waiting), Arc::clone(&sink.end));
        Self { client, partitions, run, policy, pushes, waiting, end }
    }

    /// Waits for pushes and appends up to `most` of them to `into`. False means that the session broke: what was
    /// appended before is good, what comes after is not known.
    pub async fn receive(&mut self, into: &mut Vec<Push>, most: usize) -> bool {
        poll_fn(|context| self.poll_receive(context, into, most)).await
    }

    /// The same, for who waits for several sessions.
    pub fn poll_receive(&mut self, context: &mut Context<'_>, into: &mut Vec<Push>, most: usize) -> Poll<bool> {
        // Before looking, or an end in between would wake nobody.
        self.end.told.register(context.waker());
        let before = into.len();
        match self.pushes.poll_recv_many(context, into, most) {
            Poll::Ready(received) => {
                let bytes = into[before..].iter().map(Push::held_bytes).sum();
                self.waiting.fetch_sub(bytes, Ordering::Relaxed);
                Poll::Ready(received > 0 && !self.is_broken())
            }
            Poll::Pending if self.is_broken() => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits until it breaks, while nobody receives.
    pub fn broken(&self) -> impl Future<Output = ()> + use<> {
        let end = Arc::clone(&self.end);
        poll_fn(move |context| {
            end.told.register(context.waker());
            if end.broken.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// Whether it broke because pushes came faster than they were received.
    pub fn is_behind(&self) -> bool {
        self.end.behind.load(Ordering::Acquire)
    }

    /// Why it broke, in words.
    pub fn end(&self) -> &'static str {
        self.end.reason.get().copied().unwrap_or("the connection ended")
    }

    /// Whether pushes were lost or the connection ended.
    pub fn is_broken(&self) -> bool {
        self.end.broken.load(Ordering::Acquire)
    }
}

/// Makes a session's requests. Cheap to clone; each request is independent of the others.
#[derive(Debug, Clone)]
pub enum Client {
    /// Of the store in this process.
    Memory(MemoryClient),
    /// Of Redis.
    Redis(RedisClient),
}

/// Whether the entries of an address are all that the span holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// These are all.
    Complete,
    /// Some are gone, or the place is too old to tell.
    Lost,
    /// More than was asked for in bytes.
    Big,
}

/// The entries of one address: id and message, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// Whether these are all.
    pub status: Status,
    /// Where some are gone, what is left: all that came after the first of these. Else empty unless complete.
    pub messages: Vec<(Id, String)>,
}

/// What a beacon was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeaconReply {
    /// The place that the journal has now.
    pub place: Place,
    /// Whether nobody can say that the history is still the one of the beacon before, as that one was too long ago. It
    /// stays so until [`Client::trust`].
    pub unsure: bool,
    /// The retention that is in force, if it is not this gateway's own: another one wants more.
    pub other_retention: Option<Retention>,
}

/// Which history is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The partition.
    pub partition: Partition,
    /// Addresses that all live there.
    pub addresses: &'a [Arc<Address>],
    /// From where to where.
    pub span: Span,
    /// After which id each address is read, in place of where the span begins; none: all from there.
    pub each: &'a [Id],
    /// The most bytes of messages.
    pub bytes: u64,
}

/// What several addresses of a partition got, read at one moment.
#[derive(Debug, Clone)]
pub struct History {
    /// The epoch at that moment.
    pub epoch: Option<Epoch>,
    /// The last id of the journal at that moment.
    pub last: Id,
    /// For each address asked for, in that order.
    pub entries: Vec<Entries>,
    /// How many entries are no messages. Their texts are empty.
    pub unreadable: u64,
}

/// A page of the journal.
#[derive(Debug, Clone)]
pub struct Missed {
    /// The epoch at that moment.
    pub epoch: Option<Epoch>,
    /// The last id of the journal at that moment.
    pub last: Id,
    /// Whether the journal reaches back to the place asked for.
    pub complete: bool,
    /// Where the next page begins, if there is one.
    pub next: Option<Id>,
    /// The addresses that got events.
    pub addresses: Vec<Address>,
    /// How many entries are no addresses of this version.
    pub unreadable: u64,
}

impl Client {
    /// Subscribes; from the answer on, nothing on these channels is missed.
    pub async fn subscribe(&self, channels: Vec<String>) -> Result<(), StoreError> {
        match self {
            Self::Memory(client) => {
                client.subscribe(channels);
                Ok(())
            }
            Self::Redis(client) => client.subscribe(channels).await,
        }
    }

    /// The same within `limit`, for as long as no beacons tell whether the connection lives.
    pub async fn subscribe_within(&self, channels: Vec<String>, limit: Duration) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => self.subscribe(channels).await,
            Self::Redis(client) => {
                let late = |_| StoreError::new("subscribing", format!("no answer in {limit:?}"));
                timeout(limit, client.subscribe(channels)).await.map_err(late)?
            }
        }
    }

    /// Ends subscriptions.
    pub async fn unsubscribe(&self, channels: Vec<String>) -> Result<(), StoreError> {
        match self {
            Self::Memory(client) => {
                client.unsubscribe(&channels);
                Ok(())
            }
            Self::Redis(client) => client.unsubscribe(channels).await,
        }
    }

    /// Sends a beacon through `partition`, lifting its journal above `seen`; returns where the journal is then.
    pub async fn beacon(&self, partition: Partition, seen: Id, attaching: bool) -> Result<BeaconReply, StoreError> {
        match self {
            Self::Memory(client) => Ok({
                let place = client.beacon(partition, seen);
                BeaconReply { place, unsure: false, other_retention: None }
            }),
            Self::Redis(client) => client.beacon(partition, seen, attaching).await,
        }
    }

    /// The server's `maxmemory-policy` now; none of a store that evicts nothing.
    pub async fn policy(&self) -> Result<Option<String>, StoreError> {
        match self {
            Self::Memory(_) => Ok(None),
            Self::Redis(client) => client.policy().await,
        }
    }

    /// Ends the doubt that beacons of `partition` told: all of it was resynced.
    pub fn trust(&self, partition: Partition) {
        match self {
            Self::Memory(_) => {}
            Self::Redis(client) => client.trust(partition),
        }
    }

    /// Reads history, at one moment, in one round trip.
    pub async fn history(&self, asked: Asked<'_>) -> Result<History, StoreError> {
        match self {
            Self::Memory(client) => Ok(client.history(asked)),
            Self::Redis(client) => client.history(asked).await,
        }
    }

    /// The same for recovering: may be large, and does not keep other requests waiting.
    pub async fn backfill(&self, asked: Asked<'_>) -> Result<History, StoreError> {
        match self {
            Self::Memory(client) => Ok(client.history(asked)),
            Self::Redis(client) => client.backfill(asked).await,
        }
    }

    /// Reads a page of the journal of `partition` after `after`.
    pub async fn missed(&self, partition: Partition, after: Id, up_to: Option<Id>) -> Result<Missed, StoreError> {
        match self {
            Self::Memory(client) => Ok(client.missed(partition, after)),
            Self::Redis(client) => client.missed(partition, after, up_to).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use tidings_shared::Partitions;
    use tidings_shared::keys::Namespace;

    #[tokio::test]
    async fn waiting_pushes_are_bounded_in_bytes() {
        let (sink, pushes) = pushes();
        let text = |bytes: usize| "x".repeat(bytes).into_boxed_str();
        sink.push("c".into(), text(2 * PUSH_BYTES));
        assert!(!sink.is_closed(), "one alone is taken, however large");
        sink.push("c".into(), text(1));
        assert!(sink.is_closed() && sink.end.behind.load(Ordering::Acquire));
        drop(pushes);

        let (sink, pushes) = super::pushes();
        let client = MemoryStore::new(Namespace::default(), Partitions::ONE, Retention::default(), "gw".to_owned())
            .connect(vec![Partition::FIRST])
            .client;
        let mut session = Session::new(client, vec![Partition::FIRST], ("run".into(), String::new()), &sink, pushes);
        const SIZE: usize = 1 << 20;
        let mut taken = Vec::new();
        for _ in 0..2 * PUSH_BYTES / SIZE {
            sink.push("c".into(), text(SIZE));
            assert!(session.receive(&mut taken, 10).await, "what was taken leaves room");
            taken.clear();
        }
        (0..PUSH_BYTES / SIZE).for_each(|_| sink.push("c".into(), text(SIZE)));
        assert!(sink.is_closed());
        while session.receive(&mut taken, 10).await {}
        assert!(taken.len() < PUSH_BYTES / SIZE && session.is_behind());
    }

    #[tokio::test]
    async fn nothing_comes_behind_a_gap() {
        let (sink, mut pushes) = pushes();
        let push = |n: usize| sink.push("c".into(), n.to_string().into());
        (0..=PUSHES).for_each(push);
        assert!(sink.is_closed() && sink.end.behind.load(Ordering::Acquire));
        assert_eq!(&*pushes.recv().await.unwrap().text, "0");
        push(PUSHES + 1);
        let mut last = None;
        while let Ok(push) = pushes.try_recv() {
            last = Some(push.text);
        }
        assert_eq!(last.unwrap().parse::<usize>().unwrap(), PUSHES - 1);
    }
}
