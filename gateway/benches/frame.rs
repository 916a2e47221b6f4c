//! What encoding an event for the wire costs, once for all connections: `cargo bench -p tidings-gateway --bench frame`.
#![allow(clippy::expect_used, reason = "a bench that cannot begin has nothing to tell")]

use std::sync::Arc;

use divan::{AllocProfiler, Bencher, black_box};
use tidings_gateway::frame::{Encoder, Frame};
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Epoch, Event, Id, Message, Partitions};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const PLACE: Id = Id { ms: 1_763_683_200_123, seq: 0 };

fn message(bytes: usize) -> String {
    let data = serde_json::value::to_raw_value(&"x".repeat(bytes)).expect("JSON");
    let event = Event::refresh("orders/42").event_type("order.updated").version("7").data(data);
    event.prepare("2026-01-01T00:00:00.000Z").expect("valid").message
}

fn encode(text: &str, address: &str, partitions: Partitions) -> Frame {
    let message = Message::decode(text).expect("a message");
    let place = Place { epoch: Epoch::from_random(7), id: PLACE };
    let address = Arc::new(address.parse().expect("an address"));
    Encoder::of(partitions).encode(place, &message, &address).expect("JSON")
}

#[divan::bench(args = [0, 200, 10_000])]
fn one_partition(bencher: Bencher<'_, '_>, bytes: usize) {
    let text = message(bytes);
    bencher.bench(|| encode(black_box(&text), "orders/42", Partitions::ONE));
}

#[divan::bench(args = [0, 200, 10_000])]
fn several_partitions(bencher: Bencher<'_, '_>, bytes: usize) {
    let (text, partitions) = (message(bytes), Partitions::new(4).expect("so many"));
    bencher.bench(|| encode(black_box(&text), "orders/42", partitions));
}

/// For a connection that follows several addresses of one event.
#[divan::bench(args = [2, 10])]
fn merge(bencher: Bencher<'_, '_>, addresses: usize) {
    let text = message(200);
    let frame = |at: usize| {
        let name = format!("orders/{at}");
        let address: Arc<Address> = Arc::new(name.parse().expect("an address"));
        (address, encode(&text, &name, Partitions::ONE))
    };
    let frames: Vec<_> = (0..addresses).map(frame).collect();
    bencher.bench(|| Frame::merge(black_box(&frames)));
}
