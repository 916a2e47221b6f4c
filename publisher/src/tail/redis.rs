//! Following straight from Redis: live from the channels, and from the histories what a broken connection missed.
//!
//! Channels and scripts of a partition share one connection, to its primary. Redis answers in order, so when a script has
//! answered, every event of the partition from before it has arrived too.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::time::Duration;

use ::redis::{Msg, PushInfo, PushKind};
use tidings_shared::script::{self, Span};
use tidings_shared::{Address, Count, Cursor, Id, Partition, Partitions};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, sleep, sleep_until};

use super::history::History;
use super::slice::{Arrived, Slice, Step};
use super::wire::{ANSWER, Wire};
use super::{Follow, Line, Reason};
use crate::backoff::Backoff;
use crate::store::{Generation, NameWatch, Primaries, RedisUrl, Server, Topology};
use crate::{Error, ErrorKind};

/// What is followed in Redis.
pub(super) struct RedisTail {
    primaries: Primaries,
    /// Which telling of the primaries `wires` goes by.
    told: Generation,
    follow: Follow,
    /// As many as there are if the store does not tell.
    default: Partitions,
    /// As many as `slices` go by; none until they were connected.
    partitions: Option<Partitions>,
    slices: Vec<Slice>,
    /// Up to where lines were put into `pending`.
    cursor: Cursor,
    wires: Option<Wires>,
    backoff: Backoff,
    pending: VecDeque<Line>,
}

/// The connections, of which one that breaks ends all: what was missed meanwhile is read, and that is little.
struct Wires {
    /// To the primary of each slice; those that have the same one share it.
    of: Vec<Wire>,
    /// What all of them bring. Without a bound: what Redis sent is told, however slow the terminal.
    pushes: UnboundedReceiver<PushInfo>,
    next_check: Instant,
    /// Over the name of a single server.
    name: Option<NameWatch>,
}

/// What happens on the connections.
enum Happening {
    Push(PushInfo),
    Ended,
    /// The name of the server leads to another address.
    Moved,
    CheckDue,
}

impl Wires {
    async fn next(&mut self) -> Happening {
        let moved = async {
            match &mut self.name {
                Some(name) => name.moved().await,
                None => pending().await,
            }
        };
        tokio::select! {
            push = self.pushes.recv() => push.map_or(Happening::Ended, Happening::Push),
            () = moved => Happening::Moved,
            () = sleep_until(self.next_check) => Happening::CheckDue,
        }
    }
}

/// How often the connection is proved to be alive.
const CHECK: Duration = Duration::from_secs(10);
/// The most that is read of what was missed, in bytes of messages, in each partition.
const MISSED_BYTES: u64 = 64 * 1024 * 1024;
/// How often a store of several servers is tried at first: about a second of waiting, if they answer at once.
const TRIES: usize = 5;
const CHANGING: &str = "the number of partitions is being changed, or was";

impl RedisTail {
    pub(super) async fn start(url: &RedisUrl, follow: Follow) -> Result<Self, Error> {
        let primaries = Primaries::new(url, follow.tls.clone(), ANSWER)?;
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let default = follow.partitions.unwrap_or(url.partitions());
        let mut tail = Self {
            primaries,
            told: 0,
            follow,
            default,
            partitions: None,
            slices: Vec::new(),
            cursor: Cursor::new(default),
            wires: None,
            backoff,
            pending: VecDeque::new(),
        };
        tail.connect_first().await?;
        Ok(tail)
    }

    /// Sorts the addresses by partition. Where a cursor was given and has no place for one, it is resynced; where it was
    /// followed by another count before, all are.
    fn begin(&mut self, partitions: Partitions) {
        let again = !std::mem::take(&mut self.slices).is_empty();
        (self.partitions, self.cursor) = (None, Cursor::new(partitions));
        let given = self.follow.cursor.take();
        let from = given.as_deref().and_then(|text| Cursor::decode(text, partitions).ok());
        let mut split: BTreeMap<_, Vec<Address>> = BTreeMap::new();
        for address in &self.follow.addresses {
            let addresses = split.entry(partitions.of(address)).or_default();
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        for (at, (partition, addresses)) in split.into_iter().enumerate() {
            let place = from.as_ref().and_then(|cursor| cursor.place(partition));
            let slice = Slice::new(partition, self.follow.namespace.keys(partition), addresses, place);
            let steps = match place {
                None if again => slice.resync_all(Reason::Epoch),
                None if given.is_some() => slice.resync_all(Reason::Cursor),
                _ => Vec::new(),
            };
            self.slices.push(slice);
            self.show(at, steps);
        }
    }

    pub(super) async fn next(&mut self) -> Result<Line, Error> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Ok(line);
            }
            let Some(wires) = &mut self.wires else {
                self.come_back().await?;
                continue;
            };
            match wires.next().await {
                Happening::Push(push) => self.take(push),
                Happening::Ended => self.lose("the connection to Redis is lost"),
                Happening::Moved => self.lose("the name of the server leads to another address"),
                Happening::CheckDue => {
                    if let Err(error) = self.check().await {
                        self.lose(&error.to_string());
                    }
                }
            }
        }
    }

    /// Connects, subscribes, and then reads what was missed: nothing can fall between.
    async fn connect(&mut self) -> Result<(), Error> {
        let (sender, pushes) = mpsc::unbounded_channel();
        let (map, told) = self.primaries.map().await?;
        self.told = told;
        let mut open: BTreeMap<Server, Wire> = BTreeMap::new();
        let first = self.follow.namespace.keys(Partition::FIRST);
        let server = map.served(first.slot())?;
        let partitions = match Wire::open(&self.primaries, server, None).await?.count(&first).await? {
            Count::Is(partitions) => partitions,
            Count::Unset => self.partitions.unwrap_or(self.default),
            Count::Changing => return Err(Error::told(ErrorKind::Unavailable, CHANGING)),
        };
        if self.partitions != Some(partitions) {
            self.begin(partitions);
        }
        let (mut of, mut histories) = (Vec::new(), Vec::new());
        for slice in &self.slices {
            let server = map.served(slice.keys.slot())?;
            let mut wire = match open.get(server) {
                Some(wire) => wire.clone(),
                None => Wire::open(&self.primaries, server, Some(&sender)).await?,
            };
            open.insert(server.clone(), wire.clone());
            wire.subscribe(slice.channels().collect(), self.primaries.is_cluster()).await?;
            // Without a place nothing was missed, and only the end of the history is asked for.
            let addresses = if slice.place.is_some() { slice.addresses.as_slice() } else { &[] };
            let after = Span::After(slice.place.map_or(Id::ZERO, |place| place.id));
            let call = script::history(&slice.keys, addresses, after, MISSED_BYTES);
            histories.push(History::read(&mut wire.connection, &wire.server, call).await?);
            of.push(wire);
        }
        for (at, history) in histories.into_iter().enumerate() {
            let steps = self.slices[at].catch_up(&history);
            self.show(at, steps);
        }
        self.partitions = Some(partitions);
        let name = of.first().map(|wire| NameWatch::begin(&self.primaries, &wire.peer));
        self.wires = Some(Wires { of, pushes, next_check: Instant::now() + CHECK, name });
        let topics: Vec<String> =
            self.slices.iter().flat_map(|slice| &slice.addresses).map(Address::to_string).collect();
        self.control("tidings.ready", serde_json::json!({ "topics": topics }).to_string());
        Ok(())
    }

    /// Connects for the first time. A sentinel or node may name a server that is no primary any more, so others are asked
    /// before that is a failure. One server is asked once.
    async fn connect_first(&mut self) -> Result<(), Error> {
        let tries = if *self.primaries.topology() == Topology::Standalone { 1 } else { TRIES };
        for _ in 1..tries {
            match self.connect().await {
                Err(error) if error.is_retryable() => {
                    sleep(self.backoff.next(fastrand::f64())).await;
                    self.primaries.distrust(self.told).await;
                }
                result => return result,
            }
        }
        self.connect().await
    }

    async fn come_back(&mut self) -> Result<(), Error> {
        sleep(self.backoff.next(fastrand::f64())).await;
        self.primaries.distrust(self.told).await;
        match self.connect().await {
            Ok(()) => {
                self.backoff.reset();
                self.pending.push_front(Line::Notice("connected again".to_owned()));
                Ok(())
            }
            Err(error) if error.is_retryable() => {
                self.pending.push_back(Line::Notice(error.to_string()));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn lose(&mut self, why: &str) {
        if self.wires.take().is_some() {
            self.pending.push_back(Line::Notice(format!("{why}; coming back")));
        }
    }

    /// Takes a push, and all that arrived with it: an event to several addresses is told once, with all of them.
    fn take(&mut self, first: PushInfo) {
        let mut pushes = vec![first];
        if let Some(wires) = &mut self.wires {
            pushes.extend(std::iter::from_fn(|| wires.pushes.try_recv().ok()));
        }
        let mut held: Option<(usize, Arrived)> = None;
        for push in pushes {
            match push.kind {
                PushKind::Disconnection => self.lose("the connection to Redis is lost"),
                // We end none, and a server of a cluster does when the slot is no longer its own.
                PushKind::SUnsubscribe => self.lose("the slot moved to another server"),
                _ => {}
            }
            let Some((at, arrived)) = self.read(push) else { continue };
            match &mut held {
                Some((other, event)) if (*other, event.place) == (at, arrived.place) => {
                    event.addresses.extend(arrived.addresses);
                }
                _ => self.tell(held.replace((at, arrived))),
            }
        }
        self.tell(held);
    }

    fn tell(&mut self, event: Option<(usize, Arrived)>) {
        if let Some((at, event)) = event {
            let steps = self.slices[at].live(event);
            self.show(at, steps);
        }
    }

    /// The event that a push brings, and the slice that it is for.
    fn read(&mut self, push: PushInfo) -> Option<(usize, Arrived)> {
        let message = Msg::from_push_info(push)?;
        let payload = String::from_utf8_lossy(message.get_payload_bytes());
        let channel = message.get_channel_name();
        let (at, arrived) =
            self.slices.iter().enumerate().find_map(|(at, slice)| Some((at, slice.read(channel, &payload)?)))?;
        match arrived {
            Ok(arrived) => Some((at, arrived)),
            Err(error) => {
                self.pending.push_back(Line::Notice(format!("a message on {channel} was not understood: {error}")));
                None
            }
        }
    }

    /// Proves that the connection lives and the count is the same, and moves the places of quiet partitions on, so that they stay young.
    async fn check(&mut self) -> Result<(), Error> {
        for at in 0..self.slices.len() {
            let Some(wires) = &mut self.wires else { return Ok(()) };
            wires.next_check = Instant::now() + CHECK;
            let call = script::history(&self.slices[at].keys, &[], Span::Latest, 1);
            let wire = &mut wires.of[at];
            match wire.count(&self.slices[at].keys).await? {
                Count::Is(partitions) if Some(partitions) == self.partitions => {}
                Count::Unset => {}
                _ => return Err(Error::told(ErrorKind::Unavailable, CHANGING)),
            }
            let Wire { connection, server, .. } = wire;
            let end = History::read(connection, server, call).await?.end;
            // All that was published before the answer has arrived by now: tell it first.
            if let Ok(push) = wires.pushes.try_recv() {
                self.take(push);
            }
            let steps = self.slices[at].lift(end);
            self.show(at, steps);
        }
        self.control("tidings.tick", String::new());
        Ok(())
    }

    /// Puts steps of a slice into the lines to tell, each with the cursor to resume after it.
    fn show(&mut self, at: usize, steps: Vec<Step>) {
        let partition = self.slices[at].partition;
        for step in steps {
            let line = match step {
                Step::Resync(json) => Line::Data { json, cursor: None },
                Step::Event(json, place) => {
                    self.cursor.set(partition, place);
                    Line::Data { json, cursor: Some(self.cursor.encode()) }
                }
                Step::Unreadable(place) => Line::Notice(format!("event {} was not understood", place.id)),
            };
            self.pending.push_back(line);
        }
        if let Some(place) = self.slices[at].place {
            self.cursor.set(partition, place);
        }
    }

    fn control(&mut self, name: &str, data: String) {
        self.pending.push_back(Line::Control { name: name.to_owned(), data, cursor: Some(self.cursor.encode()) });
    }
}
