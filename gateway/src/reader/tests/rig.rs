//! A reader over the embedded store, with one worker, that tests drive a step at a time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use tidings_shared::cursor::Place;
use tidings_shared::keys::Namespace;
use tidings_shared::{Address, Cursor, Event, Id, Partition, Partitions, Retention};
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::reader::delivery::{ConnectionKey, Delivery, Start};
use crate::reader::requests::{Answer, Requests};
use crate::reader::resume::Joins;
use crate::reader::{Command, From, Join, Parcel, Reader, ReaderOptions, Status};
use crate::spread::Spreads;
use crate::store::{MemoryStore, Push, Session, Store};
use crate::without::Without;

pub struct Rig {
    pub reader: Reader,
    pub session: Session,
    pub requests: Requests,
    pub store: MemoryStore,
    pub deliveries: mpsc::UnboundedReceiver<Parcel>,
    pub metrics: Metrics,
    pub serial: u64,
}

impl Rig {
    pub async fn new() -> Self {
        Self::keeping(1_000).await
    }

    /// A reader that is connected, with one worker; the store keeps `events` of each address.
    pub async fn keeping(events: u64) -> Self {
        Self::with(Partitions::ONE, events, 10_000, 100_000).await
    }

    pub async fn with(partitions: Partitions, events: u64, replay_bytes: u64, recent_bytes: usize) -> Self {
        let namespace = Namespace::default();
        let retention = Retention { events, ..Retention::default() };
        // A clock that stands still for two of three looks.
        let looks = AtomicU64::new(0);
        let clock = move || 1_763_683_200_000 + looks.fetch_add(1, Ordering::Relaxed) / 3;
        let store = MemoryStore::with_clock(namespace.clone(), partitions, retention, "gw".to_owned(), clock);
        let options = ReaderOptions {
            namespace,
            gateway: "gw".to_owned(),
            beacon: Duration::from_secs(5),
            replay_bytes,
            age: Duration::from_millis(retention.age_ms),
            // The pause has tests of its own.
            pause: Duration::ZERO,
            recent_bytes,
            addresses: 200_000,
            waiting: 1_000,
            linger: Duration::from_secs(30),
            spreads: Spreads::default(),
            without: Without::default(),
        };
        let status = Status::new(partitions);
        let metrics = Metrics::new();
        let mut reader = Reader::new(Store::Memory(store.clone()), options, status, metrics.clone());
        let (sender, deliveries) = mpsc::unbounded_channel();
        reader.take_command(Command::Register(0, sender));
        let session = recovered(&mut reader, store.connect(partitions.all().collect())).await;
        let mut requests = Requests::new(partitions);
        requests.attach(&session);
        Self { reader, session, requests, store, deliveries, metrics, serial: 0 }
    }

    pub fn publish(&self, to: &[&str]) -> Id {
        let event = to[1..].iter().fold(Event::refresh(to[0]), |event, to| event.also_to(*to));
        self.store.publish(&event).unwrap().ids[to[0]]
    }

    /// Takes all pushes that wait.
    pub fn pump(&mut self) {
        let mut pushes = Vec::new();
        while self.session.receive(&mut pushes, 1_000).now_or_never().is_some() {}
        self.reader.take_pushes(pushes.into_iter(), &mut self.requests);
    }

    pub fn ask(&mut self, names: &[&str], from: From) -> ConnectionKey {
        self.serial += 1;
        let connection = ConnectionKey { slot: 0, serial: self.serial };
        let join = self.join_of(connection, names, from);
        self.reader.take_commands(std::iter::once(Command::Join(join)), &mut self.requests);
        connection
    }

    pub fn join_of(&self, connection: ConnectionKey, names: &[&str], from: From) -> Join {
        let addresses: Vec<Arc<Address>> = names.iter().map(|name| address(name)).collect();
        Join::new((0, connection), None, addresses.into(), from)
    }

    pub async fn answer(&mut self) -> Answer {
        self.requests.next().await.unwrap()
    }

    /// Takes all answers to what is under way, and no push that nobody waits for.
    pub async fn settle(&mut self) {
        let mut pushes = Vec::new();
        loop {
            self.reader.flush();
            tokio::select! {
                biased;
                answer = self.requests.next() => match answer {
                    Some(answer) => self.reader.take_answer(answer, &mut self.requests).unwrap(),
                    None => return,
                },
                _ = self.session.receive(&mut pushes, 1) => self.reader.take_pushes(pushes.drain(..), &mut self.requests),
            }
        }
    }

    /// What the worker is handed.
    pub fn handed(&mut self) -> Vec<Delivery> {
        self.reader.flush();
        std::iter::from_fn(|| self.deliveries.try_recv().ok().map(|parcel| parcel.delivery)).collect()
    }

    /// The answer to the join of `key`, among all that was handed out.
    pub fn joined(&mut self, key: ConnectionKey) -> Option<Vec<Start>> {
        let joined = self.handed().into_iter().find_map(|delivery| match delivery {
            Delivery::Joined(joined) if joined.connection == key => Some(joined.starts),
            _ => None,
        });
        joined.expect("an answer to the join")
    }

    pub async fn join(&mut self, names: &[&str], from: From) -> Start {
        let key = self.ask(names, from);
        self.settle().await;
        self.joined(key).unwrap().remove(0)
    }

    /// Lets no more joins than these be under way.
    pub fn limit_joins(&mut self, max: usize) {
        self.reader.options.waiting = max;
        let (partitions, options) = (self.reader.partitions, &self.reader.options);
        self.reader.joins = Joins::new(partitions, options, self.metrics.clone());
    }

    /// The value of a metric, by its name and labels.
    pub fn metric(&self, series: &str) -> u64 {
        let value = |line: &str| line.strip_prefix(series)?.trim().parse().ok();
        self.metrics.render().lines().find_map(value).expect("the metric")
    }

    /// How many reads joins have cost.
    pub fn reads(&self) -> u64 {
        let reads = |kind| self.metric(&format!("tidings_store_reads_total{{kind=\"{kind}\"}} "));
        reads("resume") + reads("attach")
    }

    pub fn place(&self) -> Place {
        self.reader.states[0].place.unwrap()
    }

    pub fn push(&mut self, name: &str, text: String) {
        let channel = self.reader.options.namespace.keys(the_partition()).stream(&address(name));
        let push = Push { channel: channel.into(), text: text.into() };
        self.reader.take_pushes(std::iter::once(push), &mut self.requests);
    }
}

/// The next answer, if it can come without anything from outside. To wait is not enough for "no":
/// a set of futures also gives way to others, and then asks to be polled again.
pub fn next_answer(requests: &mut Requests) -> Option<Answer> {
    let woken = Arc::new(WokenFlag::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut next = pin!(requests.next());
    loop {
        match next.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending if woken.0.swap(false, Ordering::Relaxed) => {}
            Poll::Pending => return None,
        }
    }
}

/// Whether a task is to be polled again.
#[derive(Debug, Default)]
struct WokenFlag(AtomicBool);

impl Wake for WokenFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The session, once the reader has recovered over it.
pub async fn recovered(reader: &mut Reader, session: Session) -> Session {
    let recovered = reader.recovery(&session.partitions).over(session, Duration::ZERO).await;
    reader.attach(&recovered.session, recovered.result.unwrap());
    recovered.session
}

pub fn address(name: &str) -> Arc<Address> {
    Arc::new(name.parse().unwrap())
}

pub fn the_partition() -> Partition {
    Partitions::ONE.get(0).unwrap()
}

pub fn after(place: Place) -> From {
    let mut cursor = Cursor::new(Partitions::ONE);
    cursor.set(the_partition(), place);
    From::Cursor(Some(cursor))
}

pub fn ids(start: &Start) -> Vec<Id> {
    start.replay.iter().map(|event| event.id).collect()
}

pub fn events(deliveries: &[Delivery]) -> Vec<Id> {
    let batches = deliveries.iter().filter_map(|delivery| match delivery {
        Delivery::Batch(batch) => Some(&batch.events),
        _ => None,
    });
    batches.flatten().map(|event| event.id).collect()
}

/// The ids of what is replayed, and how many addresses are resynced.
pub fn ids_of(start: &Start) -> (Vec<Id>, usize) {
    (ids(start), start.resync.len())
}
