//! What giving events to connections costs, without any socket: `cargo bench -p tidings-gateway --bench hub`.
//!
//! A turn is what a worker does with one batch: dispatch it, and let each connection that got something write it.

mod worker;

use std::cell::RefCell;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};

use worker::Worker;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const CONNECTIONS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// One event to all connections.
#[divan::bench(args = CONNECTIONS, sample_size = 1)]
fn one_event_to_all(bencher: Bencher<'_, '_>, connections: usize) {
    to_all(bencher, Worker::new(connections, 1), 1);
}

/// Eight events at once to all connections.
#[divan::bench(args = CONNECTIONS, sample_size = 1)]
fn eight_events_to_all(bencher: Bencher<'_, '_>, connections: usize) {
    to_all(bencher, Worker::new(connections, 1), 8);
}

/// One event to all connections, each under a cursor of its own with 16 places.
#[divan::bench(args = CONNECTIONS, sample_size = 1)]
fn one_event_to_all_of_16_partitions(bencher: Bencher<'_, '_>, connections: usize) {
    to_all(bencher, Worker::new(connections, 16), 1);
}

/// So many events at once.
const EVENTS: [usize; 2] = [1, 8];
const NAMED: usize = 2_000;

/// Events to 2,000 connections without a name, to compare with.
#[divan::bench(args = EVENTS, sample_size = 1)]
fn to_2000_without_a_name(bencher: Bencher<'_, '_>, events: usize) {
    to_all(bencher, Worker::new(NAMED, 1), events);
}

/// Events to 2,000 connections that all asked for the same SSE event name.
#[divan::bench(args = EVENTS, sample_size = 1)]
fn to_2000_under_one_name(bencher: Bencher<'_, '_>, events: usize) {
    to_all(bencher, Worker::named(NAMED, 1, |_| Some("name-0000".to_owned())), events);
}

/// Events to 2,000 connections, each of which asked for an SSE event name of its own.
#[divan::bench(args = EVENTS, sample_size = 1)]
fn to_2000_under_a_name_each(bencher: Bencher<'_, '_>, events: usize) {
    to_all(bencher, Worker::named(NAMED, 1, |at| Some(format!("name-{at:04}"))), events);
}

fn to_all(bencher: Bencher<'_, '_>, worker: Worker, events: usize) {
    let count = ItemsCount::new(events * worker.connections());
    let worker = RefCell::new(worker);
    bencher
        .counter(count)
        .with_inputs(|| worker.borrow_mut().events("load", events))
        .bench_local_refs(|events| worker.borrow_mut().turn(events));
}

/// One event to one connection of many.
#[divan::bench(args = CONNECTIONS)]
fn one_event_to_one(bencher: Bencher<'_, '_>, connections: usize) {
    let worker = RefCell::new(Worker::new(connections, 1));
    let to = format!("own/{}", connections / 2);
    bencher
        .with_inputs(|| worker.borrow_mut().events(&to, 1))
        .bench_local_refs(|events| worker.borrow_mut().turn(events));
}
