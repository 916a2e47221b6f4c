//! The hub: a worker's table of addresses and the connections that follow them.
//!
//! It belongs to one thread. No locks, no I/O, no clock of its own: what happens is told to it, and what it wants is
//! said to the reader through its handle.

mod connection;
mod places;
mod queue;
mod stats;
mod worker;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;
use smallvec::SmallVec;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Partitions};

pub use self::connection::{Connection, Follow};
pub use self::stats::{Size, Stats};
pub use self::worker::{HubHandle, HubOptions, spawn};

use crate::control::{self, Reason};
use crate::frame::Frame;
use crate::reader::delivery::{ConnectionKey, Delivery, Dispatch, Joined, Resync, Start};
use crate::reader::{Command, From, Join, ReaderHandle, WorkerId};

/// A worker's table of addresses and the connections that follow them.
#[derive(Debug)]
pub struct Hub {
    worker: WorkerId,
    reader: ReaderHandle,
    partitions: Partitions,
    options: HubOptions,
    slots: HashMap<Arc<Address>, u32>,
    addresses: Slab<Followers>,
    connections: Slab<Box<Connection>>,
    serial: u64,
    watermarks: Vec<Option<Place>>,
    stats: Stats,
    /// Whether new connections are turned away, as the process is about to end.
    draining: bool,
}

/// An address, and who follows it here.
#[derive(Debug)]
struct Followers {
    address: Arc<Address>,
    /// Slots of connections.
    followers: Slab<u32>,
}

impl Hub {
    /// An empty hub.
    pub fn new(worker: WorkerId, reader: ReaderHandle, partitions: Partitions, options: HubOptions) -> Self {
        Self {
            worker,
            reader,
            partitions,
            options,
            slots: HashMap::new(),
            addresses: Slab::new(),
            connections: Slab::new(),
            serial: 0,
            watermarks: vec![None; usize::from(partitions.count())],
            stats: Stats::default(),
            draining: false,
        }
    }

    /// Adds a connection, and asks the reader for its place. From here on it gets what comes in.
    pub fn join(&mut self, follow: Follow, from: From) -> ConnectionKey {
        self.serial += 1;
        let serial = self.serial;
        let name = format!("{}.{}.{serial}", self.options.gateway, self.worker);
        let addresses = Arc::clone(&follow.addresses);
        let connection = Connection::new(serial, name.into(), follow, self.partitions, self.options.queue);
        let slot = self.connections.insert(Box::new(connection)) as u32;
        let stands: SmallVec<[(u32, u32); 1]> = addresses.iter().map(|address| self.stand(slot, address)).collect();
        let connection = ConnectionKey { slot, serial };
        if let Some(known) = self.get(connection) {
            known.stands = stands;
            if self.draining {
                self.end(connection);
                return connection;
            }
        }
        self.reader.send(Command::Join(Join { worker: self.worker, connection, addresses, from }));
        connection
    }

    fn stand(&mut self, connection: u32, address: &Arc<Address>) -> (u32, u32) {
        let slot = *self.slots.entry(Arc::clone(address)).or_insert_with(|| {
            let followers = Followers { address: Arc::clone(address), followers: Slab::new() };
            self.addresses.insert(followers) as u32
        });
        let stand = self.addresses.get_mut(slot as usize).map(|known| known.followers.insert(connection) as u32);
        (slot, stand.unwrap_or_default())
    }

    /// Removes a connection.
    pub fn leave(&mut self, key: ConnectionKey) {
        if self.get(key).is_none() {
            return;
        }
        let connection = self.connections.remove(key.slot as usize);
        for (slot, stand) in connection.stands {
            let Some(known) = self.addresses.get_mut(slot as usize) else { continue };
            known.followers.try_remove(stand as usize);
            if known.followers.is_empty() {
                let address = self.addresses.remove(slot as usize).address;
                self.slots.remove(&address);
                self.reader.send(Command::Leave(self.worker, address));
            }
        }
    }

    fn get(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(key.slot as usize)?;
        (connection.serial == key.serial).then_some(connection)
    }

    /// Takes a delivery that is not a batch of events.
    pub fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Batch(batch) => {
                for event in &batch.events {
                    self.dispatch(event);
                }
                self.lift(batch.watermarks);
            }
            Delivery::Joined(joined) => self.joined(joined),
            Delivery::Resync(resync) => self.resync(&resync),
            Delivery::Lagged(places) => self.lagged(places),
        }
    }

    /// Gives an event to all that follow one of its addresses; tells how many.
    pub fn dispatch(&mut self, event: &Dispatch) -> usize {
        match event.frames.as_slice() {
            [(address, frame)] => self.dispatch_one(event, address, frame),
            _ => self.dispatch_several(event),
        }
    }

    fn dispatch_one(&mut self, event: &Dispatch, address: &Arc<Address>, frame: &Frame) -> usize {
        let Self { slots, addresses, connections, stats, .. } = self;
        let Some(known) = slots.get(address).and_then(|slot| addresses.get(*slot as usize)) else { return 0 };
        for (_, slot) in &known.followers {
            if let Some(connection) = connections.get_mut(*slot as usize) {
                connection.take(event.partition, event.id, frame, stats);
            }
        }
        known.followers.len()
    }

    /// An event to several addresses: a connection that follows more than one of them gets it once, naming those.
    fn dispatch_several(&mut self, event: &Dispatch) -> usize {
        let mut wanted: HashMap<u32, SmallVec<[u8; 8]>> = HashMap::new();
        for (at, (address, _)) in event.frames.iter().enumerate() {
            let known = self.slots.get(address).and_then(|slot| self.addresses.get(*slot as usize));
            for (_, connection) in known.into_iter().flat_map(|known| &known.followers) {
                wanted.entry(*connection).or_default().push(at as u8);
            }
        }
        let mut merged: HashMap<SmallVec<[u8; 8]>, Option<Frame>> = HashMap::new();
        let count = wanted.len();
        for (slot, which) in wanted {
            let frame = merged.entry(which).or_insert_with_key(|which| {
                let frames = which.iter().map(|at| event.frames[usize::from(*at)].clone()).collect();
                Dispatch { frames, ..*event }.frame()
            });
            if let (Some(frame), Some(connection)) = (frame, self.connections.get_mut(slot as usize)) {
                connection.take(event.partition, event.id, frame, &mut self.stats);
            }
        }
        count
    }

    /// All up to these places has been dispatched.
    pub fn lift(&mut self, watermarks: Vec<Option<Place>>) {
        if !watermarks.is_empty() {
            self.watermarks = watermarks;
        }
    }

    fn joined(&mut self, joined: Joined) {
        let Joined { connection: key, starts } = joined;
        let Some(mut starts) = starts else {
            self.end(key);
            return;
        };
        let (partitions, watermarks) = (self.partitions, std::mem::take(&mut self.watermarks));
        let mut stats = std::mem::take(&mut self.stats);
        if let Some(connection) = self.get(key) {
            for start in &mut starts {
                let now = watermarks.get(start.partition.index()).copied().flatten();
                if let Some(now) = now.filter(|now| now.epoch != start.place.epoch) {
                    overtaken(start, now, &connection.follow.addresses, partitions);
                }
            }
            connection.begin(&starts, &mut stats);
        }
        (self.watermarks, self.stats) = (watermarks, stats);
    }

    fn resync(&mut self, resync: &Resync) {
        let Resync { partition, place, addresses, reason } = resync;
        let Self { slots, addresses: table, connections, stats, partitions, .. } = self;
        let tell = |known: &Followers, connections: &mut Slab<Box<Connection>>, stats: &mut Stats| {
            let frame = control::resync(&known.address, *reason);
            for (_, slot) in &known.followers {
                if let Some(connection) = connections.get_mut(*slot as usize) {
                    connection.resync(&frame, *reason, stats);
                }
            }
        };
        match addresses {
            Some(addresses) => {
                for address in addresses {
                    if let Some(known) = slots.get(address).and_then(|slot| table.get(*slot as usize)) {
                        tell(known, connections, stats);
                    }
                }
            }
            None => {
                for (_, known) in table.iter().filter(|(_, known)| partitions.of(&known.address) == *partition) {
                    tell(known, connections, stats);
                    for (_, slot) in &known.followers {
                        if let Some(connection) = connections.get_mut(*slot as usize) {
                            connection.restart(*partition, *place);
                        }
                    }
                }
                if let Some(watermark) = self.watermarks.get_mut(partition.index()) {
                    *watermark = Some(*place);
                }
            }
        }
    }

    /// Deliveries to this worker were dropped: whatever they were, a refetch of everything makes up for it.
    fn lagged(&mut self, places: Vec<Option<Place>>) {
        tracing::warn!(worker = self.worker, "the worker fell behind; all its connections are resynced");
        for (_, connection) in &mut self.connections {
            if connection.is_joining() {
                // The answer to its join may be among what was dropped.
                connection.end(Some(control::retry(control::retry_delay(self.options.retry))));
                continue;
            }
            connection.owe(Reason::Slow);
            for (partition, place) in self.partitions.all().zip(&places) {
                if let Some(place) = place {
                    connection.restart_if_known(partition, *place);
                }
            }
        }
        self.watermarks = places;
    }

    /// The next bytes that a connection writes; `None` when it has ended.
    pub fn poll(&mut self, key: ConnectionKey, waker: &Waker) -> Poll<Option<Bytes>> {
        let mut stats = std::mem::take(&mut self.stats);
        let polled = match self.get(key) {
            None => Poll::Ready(None),
            Some(connection) => match connection.next(&mut stats) {
                Some(bytes) => Poll::Ready(Some(bytes)),
                None if connection.is_ending() => Poll::Ready(None),
                None => {
                    connection.wait(waker);
                    Poll::Pending
                }
            },
        };
        self.stats = stats;
        polled
    }

    /// The cursor of a connection after all that it was given, lifted to the watermarks; `None` if it has no place.
    pub fn cursor(&mut self, key: ConnectionKey) -> Option<String> {
        let watermarks = std::mem::take(&mut self.watermarks);
        let cursor = self.get(key).filter(|connection| connection.is_live()).map(|connection| {
            connection.lift(&watermarks);
            connection.cursor()
        });
        self.watermarks = watermarks;
        cursor
    }

    /// Sends a heartbeat to one share of the connections.
    pub fn tick(&mut self, share: usize, shares: usize) {
        let mut shared: Option<(String, Bytes)> = None;
        let Self { connections, watermarks, .. } = self;
        for (_, connection) in connections.iter_mut().filter(|(slot, _)| slot % shares == share) {
            connection.tick(watermarks, |cursor| match &shared {
                Some((known, frame)) if *known == cursor => frame.clone(),
                _ => {
                    let frame = control::tick(&cursor);
                    shared = Some((cursor, frame.clone()));
                    frame
                }
            });
        }
    }

    /// Ends a connection that cannot be served now: it comes back later.
    fn end(&mut self, key: ConnectionKey) {
        let retry = control::retry(control::retry_delay(self.options.retry));
        if let Some(connection) = self.get(key) {
            connection.end(Some(retry));
        }
    }

    /// Ends all connections, each with a delay of its own after which it comes back, to another gateway.
    pub fn drain(&mut self) {
        self.draining = true;
        for (_, connection) in &mut self.connections {
            connection.end(Some(control::goodbye(control::retry_delay(self.options.retry))));
        }
    }

    /// What was counted since the last call.
    pub fn take_stats(&mut self) -> Stats {
        std::mem::take(&mut self.stats)
    }

    /// Notes how long events took.
    pub fn observe(&mut self, latencies: Vec<Duration>) {
        self.stats.latencies.extend(latencies);
    }

    /// How much it holds.
    pub fn size(&self) -> Size {
        let mut size = Size::default();
        for (_, connection) in &self.connections {
            size.connections += 1;
            size.follows += connection.stands.len() as i64;
            size.queued_bytes += connection.queued_bytes() as i64;
        }
        size
    }
}

/// The history became another one between the answer to a join and its arrival: what the answer holds is void.
fn overtaken(start: &mut Start, now: Place, addresses: &[Arc<Address>], partitions: Partitions) {
    let here = addresses.iter().filter(|address| partitions.of(address) == start.partition);
    start.resync = here.map(|address| (Arc::clone(address), Reason::Epoch)).collect();
    start.replay = Vec::new();
    start.place = now;
    start.from = now;
}

/// A hub that its worker's tasks and bodies share.
pub type SharedHub = Rc<RefCell<Hub>>;
