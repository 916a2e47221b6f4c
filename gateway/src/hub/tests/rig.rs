//! A hub whose reader is the test, and a strict reader of what its connections are sent.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tidings_shared::cursor::Place;
use tidings_shared::{Address, Cursor, Epoch, Id, Message, Partition, Partitions};
use tokio::sync::mpsc;

use crate::control::Reason;
use crate::frame::{Encoder, NameLine};
use crate::hub::{Follow, FollowOptions, Hub, HubOptions, StaleBound};
use crate::reader::delivery::{AddressNames, ConnectionKey, Delivery, Dispatch, Joined, Resync, Start};
use crate::reader::{Command, From, ReaderHandle, Status};

/// Counts how often it was woken.
#[derive(Default)]
pub struct Woken(pub AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub struct Rig {
    pub hub: Hub,
    pub partitions: Partitions,
    pub commands: mpsc::UnboundedReceiver<Command>,
}

impl Rig {
    pub fn new(partitions: u16, queue: usize) -> Self {
        let partitions = Partitions::new(partitions).unwrap();
        let (reader, commands) = ReaderHandle::new(Status::new(partitions));
        let second = Duration::from_secs(1);
        let options = HubOptions {
            gateway: "gw".into(),
            queue,
            retry: second,
            heartbeat: second,
            max_age: Duration::ZERO,
            resync_spread: Duration::ZERO,
            stale: StaleBound { reader: 5 * second, ..StaleBound::default() },
        };
        let mut hub = Hub::new(0, reader, partitions, options, Instant::now());
        hub.lift(&vec![Some(place(10)); usize::from(partitions.count())]);
        Self { hub, partitions, commands }
    }

    pub fn join(&mut self, names: &[&str]) -> ConnectionKey {
        self.join_types(names, &[])
    }

    pub fn join_types(&mut self, names: &[&str], types: &[&str]) -> ConnectionKey {
        let types = types.iter().map(|t| (*t).to_owned()).collect::<BTreeSet<String>>().into();
        self.follow(names, FollowOptions { types, ..FollowOptions::default() }, None)
    }

    pub fn join_every(&mut self, names: &[&str], every: Option<Duration>) -> ConnectionKey {
        self.follow(names, FollowOptions::default(), every)
    }

    pub fn follow(&mut self, names: &[&str], options: FollowOptions, every: Option<Duration>) -> ConnectionKey {
        let addresses: Vec<Arc<Address>> = names.iter().map(|name| address(name)).collect();
        let options = (options != FollowOptions::default()).then(|| Rc::new(options));
        self.hub.join(Follow { every, options, ..Follow::all(addresses) }, From::Now)
    }

    /// Tells the hub the event names of an address, as the reader does before anything is said under them.
    pub fn tell_names(&mut self, name: &str, event_names: &[&str]) {
        let names = event_names.iter().map(|name| Arc::from(*name)).collect();
        self.hub.take(Delivery::Names(AddressNames { address: address(name), names }));
    }

    /// A connection that is up to date at 10.
    pub fn live(&mut self, names: &[&str]) -> ConnectionKey {
        self.live_every(names, None)
    }

    pub fn live_every(&mut self, names: &[&str], every: Option<Duration>) -> ConnectionKey {
        self.live_with(names, FollowOptions::default(), every)
    }

    /// The same under an SSE event name of its own.
    pub fn live_named(&mut self, own: &str, names: &[&str], every: Option<Duration>) -> ConnectionKey {
        let options = FollowOptions { name: Some(NameLine::new(own)), ..FollowOptions::default() };
        self.live_with(names, options, every)
    }

    pub fn join_named(&mut self, own: &str, names: &[&str]) -> ConnectionKey {
        let options = FollowOptions { name: Some(NameLine::new(own)), ..FollowOptions::default() };
        self.follow(names, options, None)
    }

    fn live_with(&mut self, names: &[&str], options: FollowOptions, every: Option<Duration>) -> ConnectionKey {
        let key = self.follow(names, options, every);
        let mut starts: Vec<Start> = Vec::new();
        for name in names {
            let partition = partition_of(name, self.partitions);
            if starts.iter().all(|start| start.partition != partition) {
                starts.push(start(name, 10, self.partitions));
            }
        }
        self.joined(key, starts);
        assert!(matches!(self.read(key).as_slice(), [Saw::Ready(_)]));
        key
    }

    pub fn joined(&mut self, connection: ConnectionKey, starts: Vec<Start>) {
        self.hub.take(Delivery::Joined(Joined { connection, starts: Some(starts) }));
    }

    pub fn dispatch(&mut self, event: &Dispatch) {
        self.hub.dispatch(event);
    }

    /// The next chunk.
    pub fn chunk(&mut self, key: ConnectionKey) -> Vec<u8> {
        match self.hub.poll(key, Waker::noop()) {
            Poll::Ready(Some(bytes)) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// All that waits, as bytes.
    pub fn bytes(&mut self, key: ConnectionKey) -> Vec<u8> {
        let mut all = Vec::new();
        while let Poll::Ready(Some(bytes)) = self.hub.poll(key, Waker::noop()) {
            assert!(!bytes.is_empty(), "an empty chunk would end the body");
            all.extend(bytes);
        }
        all
    }

    /// All that waits, and whether the connection ends.
    pub fn read(&mut self, key: ConnectionKey) -> Vec<Saw> {
        let mut saw: Vec<Saw> = parse(&self.bytes(key)).iter().map(Saw::from).collect();
        if self.hub.poll(key, Waker::noop()) == Poll::Ready(None) {
            saw.push(Saw::End);
        }
        saw
    }
}

/// What an EventSource would be given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    pub id: Option<String>,
    pub name: Option<String>,
    pub data: String,
}

/// What was seen, in short. Ids are (epoch, milliseconds).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saw {
    Data(&'static str, u64, Option<(u32, u64)>),
    Resync(String, String),
    Ready(Option<(u32, u64)>),
    Event(&'static str),
    End,
}

impl Saw {
    pub fn data(name: &'static str, ms: u64) -> Self {
        Self::Data(name, ms, Some((1, ms)))
    }

    pub fn resync(name: &str, reason: Reason) -> Self {
        Self::Resync(name.to_owned(), reason.as_str().to_owned())
    }

    pub fn ready(ms: u64) -> Self {
        Self::Ready(Some((1, ms)))
    }
}

impl std::convert::From<&Seen> for Saw {
    fn from(seen: &Seen) -> Self {
        let id = seen.id.as_ref().and_then(|id| Cursor::decode(id, Partitions::ONE).ok());
        let id = id.and_then(|cursor| cursor.place(Partitions::ONE.get(0)?)).map(|p| (p.epoch.bits(), p.id.ms));
        if let Some(name) = &seen.name {
            let name: &'static str = name.clone().leak();
            return if name == "tidings.ready" { Self::Ready(id) } else { Self::Event(name) };
        }
        match seen.resync() {
            Some((topic, reason)) => Self::Resync(topic, reason),
            None => Self::Data(seen.topics()[0].clone().leak(), seen.ms(), id),
        }
    }
}

impl Seen {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }

    pub fn resync(&self) -> Option<(String, String)> {
        let json = self.json();
        (json["resync"] == true).then(|| {
            let text = |field: &str| json[field].as_str().unwrap().to_owned();
            (text("topic"), text("reason"))
        })
    }

    /// Every address that the event names.
    pub fn topics(&self) -> Vec<String> {
        let json = self.json();
        let topics = json["topics"].as_array().cloned().unwrap_or_else(|| vec![json["topic"].clone()]);
        topics.iter().map(|topic| topic.as_str().unwrap().to_owned()).collect()
    }

    /// The id that the event had when it was made.
    pub fn ms(&self) -> u64 {
        self.json()["version"].as_u64().unwrap()
    }
}

/// Reads a stream as the specification of EventSource says; a comment or a `retry:` alone is nothing.
pub fn parse(bytes: &[u8]) -> Vec<Seen> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with("\n\n"), "an event was cut: {text:?}");
    let mut seen = Vec::new();
    for block in text.split_terminator("\n\n") {
        let (mut one, mut data) = (Seen::default(), None);
        for line in block.lines() {
            match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
                Some(("id", id)) => assert!(one.id.replace(id.to_owned()).is_none(), "two ids: {block:?}"),
                Some(("event", name)) => one.name = Some(name.to_owned()),
                Some(("data", text)) => assert!(data.replace(text.to_owned()).is_none(), "two events: {block:?}"),
                Some(("retry" | "", _)) => {}
                other => panic!("{other:?} in {block:?}"),
            }
        }
        if let Some(data) = data {
            seen.push(Seen { data, ..one });
        } else {
            assert_eq!(one.id, None, "an id without an event: {block:?}");
        }
    }
    seen
}

pub fn epoch(bits: u32) -> Epoch {
    Epoch::from_random(bits)
}

pub fn id(ms: u64) -> Id {
    Id { ms, seq: 0 }
}

pub fn place(ms: u64) -> Place {
    Place { epoch: epoch(1), id: id(ms) }
}

pub fn address(name: &str) -> Arc<Address> {
    Arc::new(name.parse().unwrap())
}

pub fn partition_of(name: &str, partitions: Partitions) -> Partition {
    partitions.of(&address(name))
}

/// A start at `ms` in the partition of `name`.
pub fn start(name: &str, ms: u64, partitions: Partitions) -> Start {
    let (partition, place) = (partition_of(name, partitions), place(ms));
    Start { partition, place, from: place, replay: Vec::new(), tail: false, resync: Vec::new() }
}

/// An event to addresses of one partition.
pub fn event(ms: u64, names: &[&str], partitions: Partitions) -> Dispatch {
    event_of(1, ms, names, partitions)
}

pub fn event_of(bits: u32, ms: u64, names: &[&str], partitions: Partitions) -> Dispatch {
    dispatch(bits, ms, names, "- - - - -", partitions)
}

pub fn typed(ms: u64, name: &str, event_type: &str) -> Dispatch {
    dispatch(1, ms, &[name], &format!("- {event_type} - - -"), Partitions::ONE)
}

/// An event that may be coalesced.
pub fn refresh(ms: u64, names: &[&str], partitions: Partitions) -> Dispatch {
    dispatch(1, ms, names, "c - - - -", partitions)
}

/// The same, with a name that listeners listen for.
pub fn named(ms: u64, name: &str, event_name: &str) -> Dispatch {
    dispatch(1, ms, &[name], &format!("c - - - {event_name}"), Partitions::ONE)
}

/// An event that is spread.
pub fn spread(ms: u64, names: &[&str], flags: &str, spread: Duration) -> Dispatch {
    dispatch(1, ms, names, &format!("{flags} - {} - -", spread.as_millis()), Partitions::ONE)
}

/// An event with a delay. `flags` are those before it.
pub fn delayed(ms: u64, name: &str, flags: &str, (delay, spread): (Duration, Duration)) -> Dispatch {
    let header = format!("{flags}d{} - {} - -", delay.as_millis(), spread.as_millis());
    dispatch(1, ms, &[name], &header, Partitions::ONE)
}

fn dispatch(bits: u32, ms: u64, names: &[&str], header: &str, partitions: Partitions) -> Dispatch {
    let text = format!("{header} {{\"version\":{ms}}}");
    let message = Message::decode(&text).unwrap();
    let place = Place { epoch: epoch(bits), id: id(ms) };
    let frame = |name: &&str| {
        let address = address(name);
        let frame = Encoder::of(partitions).encode(place, &message, &address).unwrap();
        (address, frame)
    };
    Dispatch { partition: partition_of(names[0], partitions), id: id(ms), frames: names.iter().map(frame).collect() }
}

pub fn resync_all(place: Place, reason: Reason) -> Resync {
    Resync { partition: Partitions::ONE.get(0).unwrap(), place, addresses: None, reason }
}
