//! A worker's hub without sockets, whose reader is the caller.
#![allow(clippy::expect_used, reason = "a worker that cannot begin has nothing to tell")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use tidings_gateway::frame::{Encoder, NameLine};
use tidings_gateway::hub::{Filled, Follow, FollowOptions, Hub, HubOptions, Outlet, StaleBound};
use tidings_gateway::reader::delivery::{Delivery, Dispatch, Frames, Joined, Start};
use tidings_gateway::reader::{From, ReaderHandle, Status};
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Epoch, Event, Id, Message, Partitions};

/// A hub whose connections all follow `load`, and each an address of its own.
pub struct Worker {
    hub: Hub,
    partitions: Partitions,
    message: String,
    next: u64,
    all: Rc<All>,
}

impl Worker {
    /// A worker with so many connections, of a namespace of so many partitions.
    #[allow(dead_code, reason = "not every program that has a worker asks")]
    pub fn new(connections: usize, partitions: u16) -> Self {
        Self::named(connections, partitions, |_| None)
    }

    /// The same, where each connection may have an SSE event name of its own.
    pub fn named(connections: usize, partitions: u16, name: impl Fn(usize) -> Option<String>) -> Self {
        let partitions = Partitions::new(partitions).expect("a count of partitions");
        // Nobody reads what the hub says to the reader: the receiver is gone.
        let (reader, _) = ReaderHandle::new(Status::new(partitions));
        let second = Duration::from_secs(1);
        let (gateway, queue, never) = ("bench".into(), 256 * 1024, Duration::ZERO);
        let stale = StaleBound::default();
        let options = HubOptions {
            gateway,
            queue,
            retry: second,
            heartbeat: second,
            max_age: never,
            resync_spread: never,
            stale,
        };
        let hub = Hub::new(0, reader, partitions, options, Instant::now());
        let data = serde_json::value::to_raw_value(&"x".repeat(200)).expect("JSON");
        let message = Event::refresh("load").data(data).prepare("2026-01-01T00:00:00.000Z").expect("valid").message;
        let mut worker = Self { hub, partitions, message, next: 1, all: Rc::default() };
        (0..connections).for_each(|at| worker.join(at, name(at)));
        // What is kept from one turn to the next is there after the first.
        let events = worker.events("load", 8);
        worker.turn(&events);
        worker
    }

    fn join(&mut self, at: usize, name: Option<String>) {
        let addresses = [address("load"), address(&format!("own/{at}"))];
        let options = name.map(|name| FollowOptions { name: Some(NameLine::new(&name)), ..FollowOptions::default() });
        let follow = Follow { options: options.map(Rc::new), ..Follow::all(addresses) };
        let connection = self.hub.join(follow, From::Now);
        let place = place(0);
        // Also in those of which it follows nothing: cursors are as long as they come.
        let start =
            |partition| Start { partition, place, from: place, replay: Vec::new(), tail: false, resync: Vec::new() };
        let starts = Some(self.partitions.all().map(start).collect());
        self.hub.take(Delivery::Joined(Joined { connection, starts }));
        self.hub.attach(connection, Rc::new(Sink { all: Rc::clone(&self.all), blocked: false }));
        // It waits for events from here on.
        assert_eq!(self.hub.fill(connection, Waker::noop(), &mut Vec::new()), Filled::Waiting);
    }

    fn event(&mut self, to: &str) -> Dispatch {
        self.next += 1;
        let (place, to) = (place(self.next), address(to));
        let message = Message::decode(&self.message).expect("a message");
        let frame = Encoder::of(self.partitions).encode(place, &message, &to).expect("JSON");
        Dispatch { partition: self.partitions.of(&to), id: place.id, frames: Frames::from_iter([(to, frame)]) }
    }

    /// How many connections there are.
    #[allow(dead_code, reason = "not every program that has a worker asks")]
    pub fn connections(&self) -> usize {
        self.hub.size().connections as usize
    }

    /// Events to one address.
    pub fn events(&mut self, to: &str, count: usize) -> Vec<Dispatch> {
        (0..count).map(|_| self.event(to)).collect()
    }

    /// Dispatches, and lets all connections that got something write it. Tells how many bytes that were.
    pub fn turn(&mut self, events: &[Dispatch]) -> usize {
        self.all.written.set(0);
        self.hub.dispatch_run(events, 0..usize::MAX, true);
        while self.hub.write(256) {}
        self.all.written.get()
    }
}

/// What all connections wrote.
#[derive(Debug, Default)]
struct All {
    scratch: RefCell<Vec<u8>>,
    written: Cell<usize>,
}

/// Where one connection writes to: it takes all, as a socket of one that reads.
#[derive(Debug)]
struct Sink {
    all: Rc<All>,
    blocked: bool,
}

impl Outlet for Sink {
    fn is_free(&self) -> bool {
        !self.blocked
    }

    fn write(&self, fill: &mut dyn FnMut(&mut Vec<u8>) -> Filled) -> bool {
        let All { scratch, written } = &*self.all;
        let mut scratch = scratch.borrow_mut();
        scratch.clear();
        let filled = fill(&mut scratch);
        written.set(written.get() + scratch.len());
        filled == Filled::Waiting
    }
}

fn address(name: &str) -> Arc<Address> {
    Arc::new(name.parse().expect("an address"))
}

fn place(ms: u64) -> Place {
    Place { epoch: Epoch::from_random(7), id: Id { ms, seq: 0 } }
}
