//! What the Redis contract costs: `cargo bench -p tidings-shared`. Allocations are counted beside the times.
#![allow(clippy::expect_used, reason = "a bench that cannot begin has nothing to tell")]

use divan::{AllocProfiler, Bencher, black_box};
use tidings_shared::cursor::Place;
use tidings_shared::message::{self, Delivered};
use tidings_shared::{Address, Cursor, Epoch, Event, Id, Message, Partitions};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn cursor(count: u16) -> Cursor {
    let partitions = Partitions::new(count).expect("so many");
    let mut cursor = Cursor::new(partitions);
    for (at, partition) in partitions.all().enumerate() {
        let id = Id { ms: 1_763_683_200_123 + at as u64, seq: at as u64 };
        cursor.set(partition, Place { epoch: Epoch::from_random(7 + at as u32), id });
    }
    cursor
}

#[divan::bench(args = [1, 4, 32])]
fn cursor_encode(bencher: Bencher<'_, '_>, partitions: u16) {
    let cursor = cursor(partitions);
    bencher.bench(|| black_box(&cursor).encode());
}

#[divan::bench(args = [1, 4, 32])]
fn cursor_decode(bencher: Bencher<'_, '_>, partitions: u16) {
    let text = cursor(partitions).encode();
    let partitions = Partitions::new(partitions).expect("so many");
    bencher.bench(|| Cursor::decode(black_box(&text), partitions));
}

#[divan::bench]
fn address_parse() -> Address {
    black_box("shops/7/orders/42").parse().expect("an address")
}

#[divan::bench]
fn address_partition(bencher: Bencher<'_, '_>) {
    let (partitions, address) = (Partitions::new(16).expect("so many"), address_parse());
    bencher.bench(|| partitions.of(black_box(&address)));
}

fn event(bytes: usize) -> Event {
    let data = serde_json::value::to_raw_value(&"x".repeat(bytes)).expect("JSON");
    Event::refresh("orders/42").event_type("order.updated").version("7").data(data)
}

#[divan::bench(args = [0, 200, 10_000])]
fn message_encode(bencher: Bencher<'_, '_>, bytes: usize) {
    let event = event(bytes);
    bencher.bench(|| black_box(&event).prepare("2026-01-01T00:00:00.000Z").expect("valid"));
}

#[divan::bench(args = [0, 200, 10_000])]
fn message_decode(bencher: Bencher<'_, '_>, bytes: usize) {
    let prepared = event(bytes).prepare("2026-01-01T00:00:00.000Z").expect("valid");
    let text = format!("1 1763683200123-0 7 {}", prepared.message);
    assert!(Delivered::decode(&text).is_ok());
    bencher.bench(|| Delivered::decode(black_box(&text)).is_ok());
}

#[divan::bench(args = [0, 200, 10_000])]
fn data(bencher: Bencher<'_, '_>, bytes: usize) {
    let prepared = event(bytes).prepare("2026-01-01T00:00:00.000Z").expect("valid");
    let message = Message::decode(&prepared.message).expect("a message");
    let address = address_parse();
    bencher.bench(|| message::data(&[black_box(&address)], message.body));
}
