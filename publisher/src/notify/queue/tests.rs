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

fn by_address(most_bytes: usize) -> Queue {
    Queue::new(most_bytes, EventOrder::ByAddress)
}

fn by_partition(most_bytes: usize) -> Queue {
    Queue::new(most_bytes, EventOrder::ByPartition(Partitions::CLUSTER))
}

/// All windows there are, as wide as can be.
fn windows(queue: &mut Queue) -> Vec<Window> {
    queue.take_windows(None, |waiting| waiting.count())
}

/// What comes out of the queue, as `address=version`.
fn drain(queue: &mut Queue) -> Vec<String> {
    windows(queue).iter().flat_map(|window| &window.parcels).map(told).collect()
}

/// Settles a window whose parcels failed where `fails` says so, and lets its queues go on.
fn settle(queue: &mut Queue, window: Window, fails: impl Fn(&Parcel) -> bool) {
    let (id, failed) = (window.id, window.parcels.iter().map(fails).collect::<Vec<_>>());
    queue.settle(window, &failed);
    queue.resume(id);
}

fn told(parcel: &Parcel) -> String {
    let body = tidings_shared::Message::decode(&parcel.body).map_or(parcel.body.as_str(), |message| message.body);
    let event: serde_json::Value = serde_json::from_str(body).unwrap();
    let addresses: Vec<String> = parcel.addresses.iter().map(Address::to_string).collect();
    format!("{}={}", addresses.join("+"), event["version"].as_str().unwrap())
}

#[test]
fn a_newer_refresh_takes_the_place_of_the_older() {
    let mut queue = by_address(1 << 20);
    for parcel in [refresh("a", "1"), refresh("b", "1"), refresh("a", "2"), fixed("b", "2"), fixed("b", "3")] {
        assert_eq!(queue.push(parcel), 0);
    }
    assert_eq!(queue.coalesced(), 1);
    assert_eq!(drain(&mut queue), ["a=2", "b=1", "b=2", "b=3"]);
}

#[test]
fn but_never_overtakes_at_its_own_address() {
    let mut queue = by_address(1 << 20);
    for parcel in [refresh("a", "1"), fixed("a", "2"), refresh("b", "1"), refresh("a", "3")] {
        queue.push(parcel);
    }
    assert_eq!(drain(&mut queue), ["a=2", "b=1", "a=3"]);
}

#[test]
fn when_full_the_oldest_replaceable_goes_else_the_newest() {
    let size = refresh("a", "1").bytes();
    let mut queue = by_address(3 * size);
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
    let mut queue = by_address(refresh("a", "1").bytes());
    queue.push(refresh("a", "1"));
    let big = parcel(Event::refresh("b").version("v".repeat(128)));
    assert_eq!(queue.push(big), 1);
    assert_eq!(drain(&mut queue), ["a=1"]);
}

#[test]
fn what_is_on_its_way_counts_until_it_is_settled() {
    let size = refresh("a", "1").bytes();
    let mut queue = by_address(size);
    queue.push(refresh("a", "1"));
    let window = windows(&mut queue).remove(0);
    assert_eq!(queue.bytes(), size);
    assert_eq!(queue.push(refresh("b", "1")), 1);
    settle(&mut queue, window, |_| false);
    assert_eq!((queue.bytes(), queue.push(refresh("b", "1"))), (0, 0));
}

#[test]
fn giving_up_counts_what_waited_and_what_was_on_its_way() {
    let mut queue = by_address(1 << 20);
    queue.push(refresh("a", "1"));
    windows(&mut queue);
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
        let mut queue = by_address(most);
        let mut out: Vec<String> = Vec::new();
        let pushed = events.len();
        for (at, (first, second, coalesce, drains)) in events.into_iter().enumerate() {
            let event = Event::refresh(format!("a{first}")).also_to(format!("a{second}"));
            queue.push(parcel(event.version(format!("{at:03}")).coalesce(coalesce)));
            prop_assert!(queue.bytes() <= most);
            if drains == 0 {
                for window in windows(&mut queue) {
                    out.extend(window.parcels.iter().map(told));
                    settle(&mut queue, window, |_| false);
                }
            }
        }
        out.extend(drain(&mut queue));
        prop_assert_eq!(out.len() as u64 + queue.coalesced() + queue.dropped(), pushed as u64);
        prop_assert_eq!((queue.slots.len(), queue.newest.len(), queue.held.len()), (0, 0, 0));
        prop_assert!(queue.queues.iter().all(|one| (one.waiting_bytes(), one.replaceable_bytes()) == (0, 0)));
        for address in ["a0", "a1", "a2", "a3"] {
            let seen: Vec<&str> = out.iter().filter_map(|told| {
                let (to, version) = told.split_once('=')?;
                to.split('+').any(|one| one == address).then_some(version)
            }).collect();
            prop_assert!(seen.is_sorted(), "{} saw {:?}", address, seen);
        }
    }

    /// Whatever fails, for as long as it does: over partitions and over HTTP, each address sees
    /// what gets through in the order it came in, no window has two events of one address behind a
    /// failure, and all is accounted for.
    #[test]
    fn failures_change_no_order(
        steps in vec((0..4_u8, 0..4_u8, any::<bool>(), any::<bool>(), 0..4_u8), 1..60),
        partitioned: bool,
    ) {
        let mut queue = if partitioned { partitions_queue() } else { by_address(1 << 20) };
        let (mut out, mut pushed): (Vec<String>, u64) = (Vec::new(), 0);
        for (at, (first, second, coalesce, takes, away)) in steps.into_iter().enumerate() {
            let event = Event::refresh(format!("a{first}")).also_to(format!("a{second}"));
            let event = event.version(format!("{at:03}")).coalesce(coalesce);
            pushed += parts(&queue, &event);
            queue.push(parcel_in(event, partitioned));
            if takes {
                let is_away = |parcel: &Parcel| parcel.addresses.iter().any(|to| to.to_string() == format!("a{away}"));
                attempt(&mut queue, is_away, &mut out);
            }
        }
        for _ in 0..1_000 {
            attempt(&mut queue, |_| false, &mut out);
        }
        prop_assert!(queue.is_empty());
        prop_assert_eq!(out.len() as u64 + queue.coalesced(), pushed);
        prop_assert_eq!((queue.slots.len(), queue.newest.len(), queue.held.len()), (0, 0, 0));
        for address in ["a0", "a1", "a2", "a3"] {
            let seen = seen_at(&out, address);
            prop_assert!(seen.is_sorted(), "{} saw {:?}", address, seen);
        }
    }
}

fn partitions_queue() -> Queue {
    by_partition(1 << 20)
}

fn parcel_in(event: Event, partitioned: bool) -> Parcel {
    Parcel::new(event, if partitioned { Form::Message } else { Form::Json }, false).unwrap()
}

/// In how many parts an event is counted.
fn parts(queue: &Queue, event: &Event) -> u64 {
    let EventOrder::ByPartition(partitions) = queue.order else { return 1 };
    let parcel = parcel_in(event.clone(), true);
    parcel.split(|address| partitions.of(address).index()).len() as u64
}

/// One attempt of each window there is. A store that refuses an event refuses all later ones of its
/// window, too: one that takes some of them may change their order, as is documented.
fn attempt(queue: &mut Queue, is_away: impl Fn(&Parcel) -> bool, out: &mut Vec<String>) {
    for window in windows(queue) {
        let first = window.parcels.iter().position(&is_away).unwrap_or(window.parcels.len());
        out.extend(window.parcels[..first].iter().map(told));
        let id = window.id;
        let failed: Vec<bool> = (0..window.parcels.len()).map(|at| at >= first).collect();
        queue.settle(window, &failed);
        queue.resume(id);
    }
}

/// The versions that came to an address.
fn seen_at<'a>(out: &'a [String], address: &str) -> Vec<&'a str> {
    let version = |told: &'a String| {
        let (to, version) = told.split_once('=')?;
        to.split('+').any(|one| one == address).then_some(version)
    };
    out.iter().filter_map(version).collect()
}

/// Two addresses of two partitions.
const OTHERS: [&str; 2] = ["o/0", "o/1"];

#[test]
fn a_partition_that_is_away_holds_back_no_other() {
    let mut queue = by_partition(1 << 20);
    let [away, here] = OTHERS.map(|address| Partitions::CLUSTER.of(&address.parse().unwrap()));
    assert_ne!(away, here);
    let event = |version: &str| Event::refresh(OTHERS[0]).also_to(OTHERS[1]).version(version).coalesce(false);
    queue.push(parcel_in(event("1"), true));
    queue.push(parcel_in(event("2"), true));
    let taken = windows(&mut queue);
    assert_eq!(taken.iter().map(|window| window.parcels.len()).collect::<Vec<_>>(), [2, 2], "a part for each");
    for window in taken {
        let is_away = window.id.index == away.index();
        settle(&mut queue, window, |_| is_away);
    }
    let [backlog] = queue.backlogs()[..] else { panic!("{:?}", queue.backlogs()) };
    assert_eq!((backlog.partition, backlog.events, backlog.failures), (Some(away.number()), 2, 1));
    queue.push(parcel_in(event("3"), true));
    let taken = windows(&mut queue);
    let numbers: Vec<(usize, usize)> = taken.iter().map(|window| (window.id.index, window.parcels.len())).collect();
    let mut expected = [(away.index(), 1), (here.index(), 1)];
    expected.sort_unstable();
    assert_eq!(numbers, expected, "while attempts fail, the first alone is tried");
}

#[test]
fn the_largest_backlog_makes_room() {
    let part = |address: &str| parcel_in(Event::refresh(address).version("1").coalesce(false), true);
    let size = part(OTHERS[0]).bytes();
    let mut queue = by_partition(6 * size);
    for _ in 0..6 {
        assert_eq!(queue.push(part(OTHERS[0])), 0);
    }
    assert_eq!(queue.push(part(OTHERS[0])), 1, "it drops nothing of its own that may not be replaced");
    for _ in 0..3 {
        assert_eq!(queue.push(part(OTHERS[1])), 1);
    }
    assert_eq!(queue.push(part(OTHERS[1])), 1, "each has its share");
    assert_eq!(queue.backlogs().iter().map(|backlog| backlog.events).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn what_failed_over_http_holds_back_its_addresses_alone() {
    let mut queue = by_address(1 << 20);
    for parcel in [fixed("a", "1"), fixed("b", "1")] {
        queue.push(parcel);
    }
    let window = windows(&mut queue).remove(0);
    queue.push(fixed("a", "2"));
    queue.push(fixed("b", "2"));
    settle(&mut queue, window, |parcel| told(parcel) == "a=1");
    queue.push(fixed("a", "3"));
    queue.push(fixed("c", "1"));
    let taken: Vec<Vec<String>> =
        windows(&mut queue).iter().map(|one| one.parcels.iter().map(told).collect()).collect();
    assert_eq!(taken, [vec!["b=2", "c=1"], vec!["a=1"]]);
}

#[test]
fn what_failed_is_replaced_by_what_came_meanwhile() {
    let mut queue = by_address(1 << 20);
    queue.push(refresh("a", "1"));
    let window = windows(&mut queue).remove(0);
    queue.push(refresh("a", "2"));
    settle(&mut queue, window, |_| true);
    assert_eq!((drain(&mut queue), queue.coalesced()), (vec!["a=2".to_owned()], 1));
}

#[test]
fn another_number_of_partitions_waits_for_what_is_on_its_way() {
    let mut queue = by_partition(1 << 20);
    let event = |version: &str| Event::refresh("o/0").also_to("o/1").version(version).coalesce(false);
    queue.push(parcel_in(event("1"), true));
    let taken = windows(&mut queue);
    queue.push(parcel_in(event("2"), true));
    let mut others = || queue.take_windows(Some(Partitions::ONE), |waiting| waiting.count());
    assert!(others().is_empty());
    for window in taken {
        settle(&mut queue, window, |_| true);
    }
    let all = queue.take_windows(Some(Partitions::ONE), |waiting| waiting.count());
    let [window] = &all[..] else { panic!("{} windows", all.len()) };
    let told: Vec<String> = window.parcels.iter().map(|parcel| parcel.addresses[0].to_string()).collect();
    assert_eq!(told, ["o/0", "o/1", "o/0", "o/1"]);
}
