//! Giving an event to a connection allocates nothing, however many there are.

#[path = "../benches/worker/mod.rs"]
mod worker;

use worker::Worker;

/// Allocations of a turn in which `events` go to `to`, and the bytes that were written.
fn turn(worker: &mut Worker, to: &str, events: usize) -> (u64, usize) {
    let events = worker.events(to, events);
    let mut written = 0;
    let allocated = allocation_counter::measure(|| written = worker.turn(&events));
    (allocated.count_total, written)
}

#[test]
fn a_turn_allocates_nothing() {
    let name_each = |at: usize| Some(format!("name-{at}"));
    let no_name = |_| None;
    let sizes = [(1, 1), (100, 1), (10_000, 1), (1_000, 16), (1_000, 32)];
    let workers = sizes.into_iter().flat_map(|size| [(size, None), (size, Some(name_each))]);
    for ((connections, partitions), names) in workers {
        let mut worker = match names {
            Some(names) => Worker::named(connections, partitions, names),
            None => Worker::named(connections, partitions, no_name),
        };
        for events in [1, 8] {
            // What is kept from one turn to the next is there after the first.
            let (_, written) = turn(&mut worker, "load", events);
            assert!(written > connections * events * 200, "{written} bytes to {connections}");
            assert_eq!(turn(&mut worker, "load", events), (0, written), "{events} to {connections} of {partitions}");
        }
        let (allocations, written) = turn(&mut worker, "own/0", 1);
        assert!(allocations == 0 && written > 200, "{allocations} allocations, {written} bytes");
    }
}
