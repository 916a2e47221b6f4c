//! The hub: a worker's table of addresses and the connections that follow them.
//!
//! It belongs to one thread. No locks, no I/O, no clock of its own: what happens is told to it, and what it wants is
//! said to the reader through its handle.

mod connection;
mod delays;
mod deliveries;
mod drain;
mod entrance;
mod follow;
mod greetings;
mod names;
mod open;
mod outages;
mod outlet;
mod places;
mod queue;
mod resyncs;
mod staleness;
mod stats;
mod straight;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod turn;
mod wheel;
mod worker;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Partitions};

pub use self::connection::{Connection, WorkerContext};
pub use self::drain::Told;
pub use self::entrance::{Entrance, WaitingTurn};
pub use self::follow::{Follow, FollowOptions, StringSet};
pub use self::open::OpenConnection;
pub use self::outlet::Outlet;
pub use self::stats::{Size, Stats};
pub use self::worker::{HubHandle, HubLinks, HubOptions, StaleBound, spawn};

use self::greetings::Greetings;
use self::names::NameTable;
use self::outages::{Outages, PartitionSet};
use self::straight::Straight;
use self::table::Table;
use self::wheel::Wheel;
use crate::admission::Origin;
use crate::control::{self, Goodbye};
use crate::reader::delivery::ConnectionKey;
use crate::reader::{Command, From, Join, ReaderHandle, WorkerId};

/// A worker's table of addresses and the connections that follow them.
#[derive(Debug)]
pub struct Hub {
    worker: WorkerId,
    reader: ReaderHandle,
    partitions: Partitions,
    options: HubOptions,
    table: Table,
    names: Rc<NameTable>,
    connections: Slab<Box<Connection>>,
    serial: u64,
    watermarks: Vec<Option<Place>>,
    stats: Stats,
    /// When connections that hold something back must be woken.
    wheel: Wheel,
    /// The slots of connections that got events and have yet to write them.
    due: Vec<u32>,
    /// What goes straight to sockets.
    straight: Straight,
    /// How long partitions have been away.
    outages: Outages,
    /// Streams that may have said nothing yet.
    greetings: Greetings,
    /// Whether new connections are turned away, as the process is about to end.
    draining: bool,
}

impl Hub {
    /// An empty hub.
    pub fn new(
        worker: WorkerId,
        reader: ReaderHandle,
        partitions: Partitions,
        options: HubOptions,
        now: Instant,
    ) -> Self {
        let outages = Outages::new(reader.status(), partitions, now);
        Self {
            worker,
            reader,
            partitions,
            options,
            table: Table::default(),
            names: Rc::default(),
            connections: Slab::new(),
            serial: 0,
            watermarks: vec![None; usize::from(partitions.count())],
            stats: Stats::default(),
            wheel: Wheel::new(now),
            due: Vec::new(),
            straight: Straight::default(),
            outages,
            greetings: Greetings::default(),
            draining: false,
        }
    }

    /// Adds a connection, and asks the reader for its place. From here on it gets what comes in.
    pub fn join(&mut self, follow: Follow, from: From) -> ConnectionKey {
        let key = self.add(follow);
        self.enter(key, from, None);
        key
    }

    /// Adds a connection that gets nothing but heartbeats until it [enters](Hub::enter).
    pub fn add(&mut self, follow: Follow) -> ConnectionKey {
        self.serial += 1;
        let serial = self.serial;
        let name = format!("{}.{}.{serial}", self.options.gateway, self.worker);
        let (partitions, queue, event_names) = (self.partitions, self.options.queue, Rc::clone(&self.names));
        let worker = WorkerContext { partitions, queue, event_names };
        let connection = Connection::new(serial, name.into(), follow, worker);
        let key = ConnectionKey { slot: self.connections.insert(Box::new(connection)) as u32, serial };
        if self.draining {
            self.goodbye(key, Goodbye::Drain);
        }
        key
    }

    /// Lets a connection, which comes from `origin`, follow what it came for, and asks the reader for its place. From here
    /// on it gets what comes in.
    pub fn enter(&mut self, key: ConnectionKey, from: From, origin: Option<Origin>) {
        let Some(connection) = self.get(key).filter(|connection| !connection.is_ending()) else { return };
        let addresses = Arc::clone(&connection.follow.addresses);
        let stands = addresses.iter().map(|address| self.table.follow(key.slot, address)).collect();
        if let Some(connection) = self.get(key) {
            connection.stands = stands;
        }
        let join = Join::new((self.worker, key), origin, addresses, from);
        self.reader.send(Command::Join(join));
    }

    /// Removes a connection.
    pub fn leave(&mut self, key: ConnectionKey) {
        if self.get(key).is_none() {
            return;
        }
        let mut connection = self.connections.remove(key.slot as usize);
        connection.take_timer().into_iter().for_each(|timer| self.wheel.disarm(timer));
        if connection.is_joining() && !connection.stands.is_empty() {
            self.reader.send(Command::Cancel(self.worker, key));
        }
        for stand in connection.stands {
            if let Some(address) = self.table.leave(stand) {
                self.names.remove(&address);
                self.reader.send(Command::Leave(self.worker, address));
            }
        }
    }

    fn get(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(key.slot as usize)?;
        (connection.serial == key.serial).then_some(connection)
    }

    /// Time has come to `now`: what connections hold back and is due goes into their queues. No event knows of the time
    /// but by this.
    pub fn advance(&mut self, now: Instant) {
        for key in self.wheel.advance(now) {
            let connection = self.connections.get_mut(key.slot as usize);
            if let Some(connection) = connection.filter(|connection| connection.serial == key.serial) {
                connection.flush(key.slot, &mut self.wheel, &mut self.stats);
            }
        }
    }

    /// Whether some connection is to be woken at some moment.
    pub fn has_timers(&self) -> bool {
        !self.wheel.is_empty()
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

    /// Appends the next bytes that a connection writes to `out`, as much as is good to write at once.
    pub fn fill(&mut self, key: ConnectionKey, waker: &Waker, out: &mut Vec<u8>) -> Filled {
        let Self { connections, stats, .. } = self;
        let connection = connections.get_mut(key.slot as usize).filter(|connection| connection.serial == key.serial);
        let Some(connection) = connection else { return Filled::Ended };
        let filled = connection.fill(out, stats);
        if filled == Filled::Waiting {
            connection.wait(waker);
        }
        filled
    }

    /// Gives a connection a way out by which it writes at once.
    pub fn attach(&mut self, key: ConnectionKey, outlet: Rc<dyn Outlet>) {
        if let Some(connection) = self.get(key) {
            connection.attach(outlet);
        }
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

    /// Lets a connection last, as a stream does and a poll does not: no longer than a random time around the maximal age,
    /// if there is one, and long enough to be told later what could be said as it begins.
    pub fn last(&mut self, key: ConnectionKey) {
        let HubOptions { max_age, heartbeat, .. } = self.options;
        let age = max_age.mul_f64(0.5 + fastrand::f64());
        // The most there is are 13 years at the least.
        let beats = if max_age.is_zero() { u32::MAX } else { age.div_duration_f64(heartbeat).ceil() as u32 };
        let retry = control::retry_delay(self.options.retry);
        if let Some(connection) = self.get(key) {
            connection.last(beats, retry);
            self.greetings.add(key);
        }
    }

    /// Has streams say something whose place takes longer to come than from one call to the next: a browser reports a
    /// stream as open only with its first byte.
    pub fn greet(&mut self) {
        for key in self.greetings.take_due() {
            if let Some(connection) = self.get(key) {
                connection.greet();
            }
        }
    }

    /// Whether the reader gives no sign of life: what it feeds cannot be vouched for.
    pub fn is_reader_silent(&self) -> bool {
        let most = self.options.stale.reader;
        !most.is_zero() && self.outages.reader_silence() > most
    }

    /// Sends a heartbeat to one share of the connections, and ends those of them that are too old. Sends none while the
    /// reader is silent, as a heartbeat says that the stream works.
    pub fn tick(&mut self, share: usize, shares: usize) {
        if self.is_reader_silent() {
            return;
        }
        let mut shared: Option<(String, Bytes)> = None;
        let Self { connections, watermarks, options, stats, .. } = self;
        for (_, connection) in connections.iter_mut().filter(|(slot, _)| slot % shares == share) {
            if connection.grow_old() {
                connection.end(Goodbye::MaxAge, control::retry_delay(options.retry), stats);
            }
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

    /// Ends a connection, with a reason and a delay of its own after which it comes back, to another gateway if there is one.
    pub fn goodbye(&mut self, key: ConnectionKey, why: Goodbye) {
        self.end(key, why, self.options.retry);
    }

    /// Ends a connection, which comes back after `base` and its jitter.
    fn end(&mut self, key: ConnectionKey, why: Goodbye, base: Duration) {
        let Self { connections, stats, .. } = self;
        let connection = connections.get_mut(key.slot as usize).filter(|known| known.serial == key.serial);
        if let Some(connection) = connection {
            connection.end(why, control::retry_delay(base), stats);
        }
    }

    /// Why a connection ends and when its client is to come back, once it ends.
    pub fn goodbye_of(&mut self, key: ConnectionKey) -> Option<(Goodbye, Duration)> {
        self.get(key)?.goodbye()
    }

    /// Refuses a connection, as this gateway has no room for it.
    fn refuse_for_load(&mut self, key: ConnectionKey) {
        self.end(key, Goodbye::Overload, self.options.retry * control::OVERLOAD_RETRIES);
    }

    /// Refuses a connection, as the store is away for it.
    fn refuse_for_store(&mut self, key: ConnectionKey) {
        let addresses = self.get(key).map(|connection| Arc::clone(&connection.follow.addresses));
        let outage = addresses.and_then(|addresses| self.outages.of(&addresses)).unwrap_or_default();
        self.end(key, Goodbye::Store, control::outage_retry(self.options.retry, outage));
    }

    /// How long the store has been away for who follows these addresses. `None` if it is there for all of them.
    pub fn outage(&self, addresses: &[Arc<Address>]) -> Option<Duration> {
        if self.is_reader_silent() {
            return Some(self.outages.reader_silence());
        }
        self.outages.of(addresses)
    }

    /// The partitions that have given no sign of life for longer than `most` when it is `now`; none if that is zero. All
    /// of them while the reader is silent.
    fn silent_partitions(&mut self, now: Instant, most: Duration) -> PartitionSet {
        self.outages.look(now);
        if self.is_reader_silent() {
            return self.partitions.all().collect();
        }
        if most.is_zero() { PartitionSet::default() } else { self.outages.silent_for(most) }
    }

    /// The connections that follow no other partitions than these.
    fn stale_connections(&self, silent: PartitionSet) -> Vec<ConnectionKey> {
        let stale = self.connections.iter().filter(|(_, connection)| self.is_stale(connection, silent));
        stale.map(|(slot, known)| ConnectionKey { slot: slot as u32, serial: known.serial }).collect()
    }

    fn is_stale(&self, connection: &Connection, silent: PartitionSet) -> bool {
        let followed = PartitionSet::of_addresses(&connection.follow.addresses, self.partitions);
        !connection.is_ending() && followed.is_within(silent)
    }

    /// Ends a connection if it follows no other partitions than these, so that it finds another gateway.
    fn end_if_stale(&mut self, key: ConnectionKey, silent: PartitionSet) {
        let connection = self.connections.get(key.slot as usize).filter(|known| known.serial == key.serial);
        if connection.is_some_and(|connection| self.is_stale(connection, silent)) {
            self.goodbye(key, Goodbye::Store);
        }
    }

    /// Whether new connections are turned away, as the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Turns new connections away from now on; tells which there are.
    pub fn begin_drain(&mut self) -> Vec<ConnectionKey> {
        self.draining = true;
        self.keys()
    }

    /// All connections.
    fn keys(&self) -> Vec<ConnectionKey> {
        let connections = self.connections.iter();
        connections.map(|(slot, known)| ConnectionKey { slot: slot as u32, serial: known.serial }).collect()
    }

    /// Ends all connections at once.
    pub fn drain(&mut self) {
        for key in self.begin_drain() {
            self.goodbye(key, Goodbye::Drain);
        }
        // Also those that a turn, which may have been cut short by a panic, was about to let write.
        self.write(usize::MAX);
    }

    /// Gives what was counted since the last call for empty counts.
    pub fn swap_stats(&mut self, stats: &mut Stats) {
        std::mem::swap(&mut self.stats, stats);
    }

    /// Notes how long an event took.
    pub fn observe(&mut self, latency: Duration) {
        self.stats.latencies.push(latency);
    }

    /// How much it holds.
    pub fn size(&self) -> Size {
        let mut size = Size::default();
        for (_, connection) in &self.connections {
            size.connections += 1;
            size.follows += connection.stands.len() as i64;
            size.queued_bytes += connection.queued_bytes() as i64;
            size.delayed += connection.delayed() as i64;
        }
        size
    }
}

/// What is left when a connection's bytes were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// Nothing, and there will be more.
    Waiting,
    /// Perhaps something.
    More,
    /// Nothing: the connection has ended.
    Ended,
}

/// A hub that its worker's tasks and bodies share.
pub type SharedHub = Rc<RefCell<Hub>>;
