//! What giving events to connections costs, without any socket: `cargo bench -p tidings-gateway --bench hub`.
//!
//! A turn is what a worker does with one batch: dispatch it, and let each connection that got something take its bytes.
#![allow(clippy::expect_used, reason = "a bench that cannot begin has nothing to tell")]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use tidings_gateway::frame::Encoder;
use tidings_gateway::hub::{Follow, Hub, HubOptions};
use tidings_gateway::reader::delivery::{ConnectionKey, Delivery, Dispatch, Frames, Joined, Start};
use tidings_gateway::reader::{From, ReaderHandle, Status};
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Epoch, Event, Id, Message, Partition, Partitions};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const CONNECTIONS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// A hub whose connections all follow `load`, and each an address of its own.
struct Worker {
    hub: Hub,
    connections: Vec<ConnectionKey>,
    message: String,
    next: u64,
    out: Vec<u8>,
}

impl Worker {
    fn new(connections: usize) -> Self {
        let partitions = Partitions::ONE;
        // Nobody reads what the hub says to the reader: the receiver is gone.
        let (reader, _) = ReaderHandle::new(Status::new(partitions));
        let second = Duration::from_secs(1);
        let (gateway, queue, max_age) = ("bench".into(), 256 * 1024, Duration::ZERO);
        let options = HubOptions { gateway, queue, retry: second, heartbeat: second, max_age };
        let hub = Hub::new(0, reader, partitions, options, Instant::now());
        let data = serde_json::value::to_raw_value(&"x".repeat(200)).expect("JSON");
        let message = Event::refresh("load").data(data).prepare("2026-01-01T00:00:00.000Z").expect("valid").message;
        let mut worker = Self { hub, connections: Vec::new(), message, next: 1, out: Vec::with_capacity(64 * 1024) };
        (0..connections).for_each(|at| worker.join(at));
        // What is kept from one turn to the next is there after the first.
        let events = worker.events("load", 8);
        worker.turn(&events);
        worker
    }

    fn join(&mut self, at: usize) {
        let addresses = [address("load"), address(&format!("own/{at}"))];
        let follow = Follow { addresses: addresses.into(), types: Rc::from([]), every: None };
        let connection = self.hub.join(follow, From::Now);
        let place = place(0);
        let start =
            Start { partition: partition(), place, from: place, replay: Vec::new(), tail: false, resync: Vec::new() };
        self.hub.take(Delivery::Joined(Joined { connection, starts: Some(vec![start]) }));
        self.connections.push(connection);
        self.read(connection);
    }

    fn read(&mut self, connection: ConnectionKey) {
        self.out.clear();
        self.hub.fill(connection, Waker::noop(), &mut self.out);
    }

    fn event(&mut self, to: &str) -> Dispatch {
        self.next += 1;
        let (place, to) = (place(self.next), address(to));
        let message = Message::decode(&self.message).expect("a message");
        let frame = Encoder::of(Partitions::ONE).encode(place, &message, &to).expect("JSON");
        Dispatch { partition: partition(), id: place.id, frames: Frames::from_iter([(to, frame)]) }
    }

    fn events(&mut self, to: &str, count: usize) -> Vec<Dispatch> {
        (0..count).map(|_| self.event(to)).collect()
    }

    /// Dispatches, and lets all connections take their bytes.
    fn turn(&mut self, events: &[Dispatch]) {
        self.give(events);
        for at in 0..self.connections.len() {
            self.read(self.connections[at]);
        }
    }

    fn give(&mut self, events: &[Dispatch]) {
        for event in events {
            self.hub.dispatch(event);
        }
        self.hub.write(usize::MAX);
    }
}

fn address(name: &str) -> Arc<Address> {
    Arc::new(name.parse().expect("an address"))
}

fn partition() -> Partition {
    Partitions::ONE.all().next().expect("one")
}

fn place(ms: u64) -> Place {
    Place { epoch: Epoch::from_random(7), id: Id { ms, seq: 0 } }
}

/// One event to all connections.
#[divan::bench(args = CONNECTIONS, sample_size = 1)]
fn one_event_to_all(bencher: Bencher<'_, '_>, connections: usize) {
    to_all(bencher, connections, 1);
}

/// Eight events at once to all connections.
#[divan::bench(args = CONNECTIONS, sample_size = 1)]
fn eight_events_to_all(bencher: Bencher<'_, '_>, connections: usize) {
    to_all(bencher, connections, 8);
}

fn to_all(bencher: Bencher<'_, '_>, connections: usize, events: usize) {
    let worker = RefCell::new(Worker::new(connections));
    bencher
        .counter(ItemsCount::new(events * connections))
        .with_inputs(|| worker.borrow_mut().events("load", events))
        .bench_local_refs(|events| worker.borrow_mut().turn(events));
}

/// One event to one connection of many.
#[divan::bench(args = CONNECTIONS)]
fn one_event_to_one(bencher: Bencher<'_, '_>, connections: usize) {
    let worker = Worker::new(connections);
    let (to, connection) = (format!("own/{}", connections / 2), worker.connections[connections / 2]);
    let worker = RefCell::new(worker);
    bencher.with_inputs(|| worker.borrow_mut().events(&to, 1)).bench_local_refs(|events| {
        let mut worker = worker.borrow_mut();
        worker.give(events);
        worker.read(connection);
    });
}
