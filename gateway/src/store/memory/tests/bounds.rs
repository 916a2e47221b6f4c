//! What is held, against its bound; and that what is dropped for lack of room is never taken for what never was.

use std::collections::BTreeMap;

use allocation_counter::measure;
use proptest::prelude::*;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;

fn sized(to: &[String], bytes: usize) -> Event {
    let event = to[1..].iter().fold(Event::refresh(&to[0]), |event, to| event.also_to(to));
    event.data(to_raw_value(&json!("x".repeat(bytes))).unwrap())
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}/{n}")).collect()
}

fn held(rig: &Rig) -> u64 {
    rig.store.shared.lock().events.held().bytes()
}

fn limit(rig: &Rig, bytes: u64) {
    rig.store.shared.lock().events = KeptEvents::new(bytes);
}

#[test]
fn a_message_to_many_addresses_is_kept_once() {
    const BYTES: usize = 60_000;
    let rig = Rig::new(4, 1_000);
    let to = names("orders", 100);
    let allocated = measure(|| drop(rig.store.publish(&sized(&to, BYTES)).unwrap()));
    assert!(allocated.bytes_current < 2 * BYTES as i64, "{allocated:?}");
    assert!(held(&rig) < 2 * BYTES as u64, "{}", held(&rig));
}

#[test]
fn what_counts_is_what_is_really_held() {
    let crowds: [(&str, usize, usize, usize); 4] = [
        ("small events", 4_000, 1, 0),
        ("new addresses", 20_000, 20_000, 0),
        ("several", 200, 100, 50),
        ("large", 50, 5, 50_000),
    ];
    let mut ratios = Vec::new();
    for (what, events, addresses, bytes) in crowds {
        let rig = Rig::new(2, 1_000_000);
        let to = names("some/address", addresses);
        let publish = |n: usize| {
            let to = if what == "several" { &to[..] } else { &to[n % addresses..=n % addresses] };
            rig.store.publish(&sized(to, bytes)).unwrap();
        };
        let allocated = measure(|| (0..events).for_each(publish)).bytes_current as f64;
        let ratio = allocated / held(&rig) as f64;
        ratios.push(ratio);
    }
    assert!(ratios.iter().all(|ratio| (0.6..1.25).contains(ratio)), "{ratios:?}");
}

#[test]
fn the_oldest_events_leave_when_there_is_no_room() {
    let rig = Rig::new(1, 1_000_000);
    limit(&rig, 100_000);
    let start = rig.beacon(Id::ZERO).id;
    let ids: Vec<Id> =
        (0..1_000).map(|n| rig.publish(&[["a", "b", "quiet"][if n == 0 { 2 } else { n % 2 }]])).collect();
    assert!(held(&rig) <= 100_000 && held(&rig) > 90_000, "{}", held(&rig));
    for name in ["a", "b"] {
        let (status, left) = rig.one(name, Span::After(start));
        assert_eq!(status, Status::Lost);
        assert_eq!(rig.one(name, Span::After(left[0])), (Status::Complete, left[1..].to_vec()));
    }
    assert_eq!(rig.one("quiet", Span::After(start)).0, Status::Lost, "its stream is gone as a whole");
    assert_eq!(rig.one("quiet", Span::After(ids[0])), (Status::Complete, vec![]));
    rig.publish(&["quiet"]);
    assert_eq!(rig.one("quiet", Span::After(start)).0, Status::Lost, "also once it has another");
    let missed = |after| rig.client.missed(Partitions::ONE.get(0).unwrap(), after).complete;
    assert!(!missed(start) && missed(ids[998]));
    rig.at(NOW + 2 * AGE);
    rig.beacon(Id::ZERO);
    assert_eq!(held(&rig), 0, "what is too old is counted no more");
}

#[test]
fn names_of_events_that_are_gone_do_not_pile_up() {
    let rig = Rig::new(1, 10);
    rig.publish(&["old"]);
    let publish = |times: usize| {
        for _ in 0..times {
            rig.publish(&["a"]);
        }
    };
    let once = measure(|| publish(1_000)).bytes_current;
    let more = measure(|| publish(20_000)).bytes_current;
    assert!(more < once, "{more} bytes after {once}");
    assert_eq!(rig.one("old", Span::Latest).1.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_to_be_whole_is(
        events in prop::collection::vec((0..6_usize, 1..4_usize, 0..600_usize), 1..120),
        bytes in 2_000..20_000_u64,
    ) {
        let rig = Rig::new(1, 20);
        limit(&rig, bytes);
        let all = names("t", 8);
        let mut places = vec![rig.beacon(Id::ZERO).id];
        let mut got: BTreeMap<String, Vec<Id>> = BTreeMap::new();
        for (first, count, size) in events {
            let to = &all[first..(first + count).min(all.len())];
            let receipt = rig.store.publish(&sized(to, size)).unwrap();
            to.iter().for_each(|name| got.entry(name.clone()).or_default().push(receipt.ids[name]));
            places.push(receipt.ids[&to[0]]);
            prop_assert!(held(&rig) <= bytes);
        }
        for after in places {
            let missed = rig.client.missed(Partitions::ONE.get(0).unwrap(), after);
            for name in &all {
                let ids = got.get(name).into_iter().flatten().copied().filter(|id| *id > after);
                let ids: Vec<Id> = ids.collect();
                if let (Status::Complete, read) = rig.one(name, Span::After(after)) {
                    prop_assert_eq!(&read, &ids);
                }
                let is_named = missed.addresses.iter().any(|address| address.to_string() == *name);
                prop_assert!(!missed.complete || ids.is_empty() || is_named, "{name} after {after}");
            }
        }
    }
}
