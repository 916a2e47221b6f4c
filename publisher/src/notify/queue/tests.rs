//! The queue on its own, by hand and against a naive one.

use proptest::collection::vec;
use proptest::prelude::*;
use tidings_shared::Event;

use super::*;
use crate::parcel::Form;

fn parcel(event: Event) -> Parcel {
    Parcel::new(event, Form::Json, false).unwrap()
}

fn refresh(address: &str, version: &str) -> Parcel {
    parcel(Event::refresh(address).version(version))
}

fn fixed(address: &str, version: &str) -> Parcel {
    parcel(Event::refresh(address).version(version).coalesce(false))
}

/// What comes out of the queue, as `address=version`.
fn drain(queue: &mut Queue) -> Vec<String> {
    queue.take(|waiting| waiting.count()).iter().map(told).collect()
}

fn told(parcel: &Parcel) -> String {
    let event: serde_json::Value = serde_json::from_str(&parcel.body).unwrap();
    let addresses: Vec<String> = parcel.addresses.iter().map(Address::to_string).collect();
    format!("{}={}", addresses.join("+"), event["version"].as_str().unwrap())
}

#[test]
fn a_newer_refresh_takes_the_place_of_the_older() {
    let mut queue = Queue::new(1 << 20);
    for parcel in [refresh("a", "1"), refresh("b", "1"), refresh("a", "2"), fixed("b", "2"), fixed("b", "3")] {
        assert_eq!(queue.push(parcel), 0);
    }
    assert_eq!(queue.coalesced(), 1);
    assert_eq!(drain(&mut queue), ["a=2", "b=1", "b=2", "b=3"]);
}

#[test]
fn but_never_overtakes_at_its_own_address() {
    let mut queue = Queue::new(1 << 20);
    for parcel in [refresh("a", "1"), fixed("a", "2"), refresh("b", "1"), refresh("a", "3")] {
        queue.push(parcel);
    }
    assert_eq!(drain(&mut queue), ["a=2", "b=1", "a=3"]);
}

#[test]
fn when_full_the_oldest_replaceable_goes_else_the_newest() {
    let size = refresh("a", "1").bytes();
    let mut queue = Queue::new(3 * size);
    for parcel in [fixed("x", "1"), refresh("a", "1"), refresh("b", "1")] {
        assert_eq!(queue.push(parcel), 0);
    }
    assert_eq!(queue.push(refresh("c", "1")), 1);
    assert_eq!(queue.push(fixed("y", "1")), 1);
    assert_eq!(queue.push(fixed("z", "1")), 1);
    assert_eq!(queue.push(fixed("z", "2")), 1, "nothing is left that may be dropped for it");
    assert_eq!((queue.dropped(), queue.bytes() <= 3 * size), (4, true));
    assert_eq!(drain(&mut queue), ["x=1", "y=1", "z=1"]);
}

#[test]
fn what_can_never_fit_drops_nobody_else() {
    let mut queue = Queue::new(refresh("a", "1").bytes());
    queue.push(refresh("a", "1"));
    let big = parcel(Event::refresh("b").version("v".repeat(128)));
    assert_eq!(queue.push(big), 1);
    assert_eq!(drain(&mut queue), ["a=1"]);
}

#[test]
fn what_is_on_its_way_counts_until_it_is_settled() {
    let size = refresh("a", "1").bytes();
    let mut queue = Queue::new(size);
    queue.push(refresh("a", "1"));
    let sent = queue.take(|waiting| waiting.count());
    assert_eq!(queue.bytes(), size);
    assert_eq!(queue.push(refresh("b", "1")), 1);
    queue.settled(&sent[0]);
    assert_eq!((queue.bytes(), queue.push(refresh("b", "1"))), (0, 0));
}

#[test]
fn giving_up_counts_what_waited_and_what_was_on_its_way() {
    let mut queue = Queue::new(1 << 20);
    queue.push(refresh("a", "1"));
    queue.take(|waiting| waiting.count());
    queue.push(refresh("b", "1"));
    assert_eq!((queue.abandon(), queue.dropped(), queue.bytes()), (2, 2, 0));
    assert_eq!(queue.push(refresh("c", "1")), 1);
    assert!(queue.is_closed());
}

proptest! {
    /// Whatever comes in: each address sees what comes out in the order it came in, the last event of every slot that
    /// was not dropped comes out, every event is accounted for, and the bound holds.
    #[test]
    fn keeps_order_accounts_for_all_and_stays_bounded(
        events in vec((0..3_u8, 0..4_u8, any::<bool>(), 0..8_u8), 1..60),
        fitting in 1..20_usize,
    ) {
        let most = fitting * refresh("a", "100").bytes();
        let mut queue = Queue::new(most);
        let mut out: Vec<String> = Vec::new();
        let pushed = events.len();
        for (at, (first, second, coalesce, drains)) in events.into_iter().enumerate() {
            let event = Event::refresh(format!("a{first}")).also_to(format!("a{second}"));
            queue.push(parcel(event.version(format!("{at:03}")).coalesce(coalesce)));
            prop_assert!(queue.bytes() <= most);
            if drains == 0 {
                let taken = queue.take(|waiting| waiting.count());
                taken.iter().for_each(|parcel| queue.settled(parcel));
                out.extend(taken.iter().map(told));
            }
        }
        out.extend(drain(&mut queue));
        prop_assert_eq!(out.len() as u64 + queue.coalesced() + queue.dropped(), pushed as u64);
        prop_assert_eq!((queue.slots.len(), queue.newest.len(), queue.replaceable.len()), (0, 0, 0));
        prop_assert_eq!((queue.waiting_bytes, queue.replaceable_bytes), (0, 0));
        for address in ["a0", "a1", "a2", "a3"] {
            let seen: Vec<&str> = out.iter().filter_map(|told| {
                let (to, version) = told.split_once('=')?;
                to.split('+').any(|one| one == address).then_some(version)
            }).collect();
            prop_assert!(seen.is_sorted(), "{} saw {:?}", address, seen);
        }
    }
}
