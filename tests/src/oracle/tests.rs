//! The oracle can fail, in each way there is.

use super::*;
use crate::record::Message;

/// Times in these tests are in milliseconds, as ids are; the oracle counts microseconds.
const MS: u64 = 1000;

/// An event at each time, to one address, stored under an id of that time.
fn published(to: &[&str], times: &[u64]) -> Arc<Oracle> {
    published_as(to, times, Manner::default())
}

fn published_as(to: &[&str], times: &[u64], manner: Manner) -> Arc<Oracle> {
    let oracle = Oracle::new();
    for time in times {
        let n = oracle.begin_at(*time * MS, to, manner);
        oracle.acked(n, ids(to, *time));
    }
    oracle
}

fn ids(to: &[&str], ms: u64) -> BTreeMap<String, Id> {
    to.iter().map(|address| ((*address).to_owned(), Id { ms, seq: 0 })).collect()
}

/// A client that follows `a` and `b`, ready at 10.
fn client(sights: &[(u64, What)]) -> Arc<Record> {
    client_of(Record::new("client", &["a".to_owned(), "b".to_owned()]), sights)
}

/// The same as one that asked for few.
fn client_of_few(sights: &[(u64, What)]) -> Arc<Record> {
    client_of(Record::of_few("client", &["a".to_owned(), "b".to_owned()]), sights)
}

fn client_of(record: Arc<Record>, sights: &[(u64, What)]) -> Arc<Record> {
    record.add_at(10 * MS, What::Ready { cursor: "1.k3f9.10-0".into(), connection: "c".into() });
    for (at, what) in sights {
        record.add_at(*at * MS, what.clone());
    }
    record
}

fn message(n: u64, id_ms: u64, addresses: &[&str]) -> What {
    What::Message(Message {
        addresses: addresses.iter().map(|a| (*a).to_owned()).collect(),
        n: Some(n),
        cursor: Some(format!("1.k3f9.{id_ms}-0")),
        name: "message".into(),
        data: String::new(),
    })
}

fn resync(address: &str) -> What {
    What::Resync { address: address.into(), reason: "slow".into() }
}

#[test]
fn delivered_once_in_order_is_kept() {
    let verdict =
        published(&["a"], &[20, 30]).judge([&client(&[(21, message(0, 20, &["a"])), (31, message(1, 30, &["a"]))])]);
    verdict.assert_all_delivered();
    assert_eq!((verdict.events, verdict.pairs, verdict.delivered), (2, 2, 2));
}

#[test]
fn lost_is_seen() {
    let verdict = published(&["a"], &[20, 30]).judge([&client(&[(31, message(1, 30, &["a"]))])]);
    assert_eq!((verdict.lost, verdict.delivered), (1, 1));
    assert!(!verdict.is_kept() && verdict.to_string().contains("Lost: client: event 0 for a"), "{verdict}");
}

#[test]
fn a_resync_covers_what_was_stored_before_it_and_only_its_address() {
    let oracle = published(&["a"], &[20, 30]);
    let judge = |sights: &[(u64, What)]| oracle.judge([&client(sights)]);
    assert_eq!(judge(&[(31, resync("a"))]).resynced, 2);
    assert_eq!(judge(&[(25, resync("a"))]).lost, 1);
    assert_eq!(judge(&[(31, resync("b"))]).lost, 2);
    judge(&[(25, resync("a")), (31, message(1, 30, &["a"]))]).assert_kept();
}

#[test]
fn a_resync_before_the_event_was_stored_at_last_covers_nothing() {
    let oracle = Oracle::new();
    let n = oracle.begin_at(20 * MS, &["a"], Manner::default());
    oracle.acked(n, ids(&["a"], 50));
    assert_eq!(oracle.judge([&client(&[(40, resync("a"))])]).lost, 1);
    assert_eq!(oracle.judge([&client(&[(50, resync("a"))])]).resynced, 1);
}

#[test]
fn an_id_ahead_of_the_clock_tells_nothing_of_when_its_event_was_stored() {
    let oracle = Oracle::new();
    let n = oracle.begin_at(20 * MS, &["a"], Manner::default());
    oracle.acked_at(900 * MS, n, ids(&["a"], 99_999));
    // Whatever the answer was held up by, it was not stored before this.
    let stored = 900 - ANSWER / MS;
    assert_eq!(oracle.judge([&client(&[(stored - 1, resync("a"))])]).lost, 1);
    assert_eq!(oracle.judge([&client(&[(stored, resync("a"))])]).resynced, 1);
}

#[test]
fn twice_on_a_connection_is_seen_even_over_a_resync() {
    let oracle = published(&["a"], &[20]);
    let again = [(21, message(0, 20, &["a"])), (22, resync("a")), (23, message(0, 20, &["a"]))];
    let verdict = oracle.judge([&client(&again)]);
    assert_eq!((verdict.twice, verdict.out_of_order), (1, 0));
}

#[test]
fn out_of_order_is_seen() {
    let late = [(31, message(1, 30, &["a"])), (32, message(0, 20, &["a"]))];
    let verdict = published(&["a"], &[20, 30]).judge([&client(&late)]);
    assert_eq!((verdict.out_of_order, verdict.lost), (1, 0));
}

#[test]
fn another_id_than_the_receipt_is_seen() {
    let verdict = published(&["a"], &[20]).judge([&client(&[(21, message(0, 19, &["a"]))])]);
    assert_eq!(verdict.out_of_order, 1);
}

#[test]
fn an_event_may_come_again_where_a_resync_was_owed_meanwhile() {
    let twice = |between: What, connection| {
        let record = client(&[(21, message(0, 20, &["a"]))]);
        record.add_on(connection, 22 * MS, between);
        record.add_on(connection, 23 * MS, message(0, 20, &["a"]));
        published(&["a"], &[20]).judge([&record]).twice
    };
    assert_eq!(twice(resync("a"), 2), 0);
    assert_eq!((twice(resync("a"), 1), twice(resync("b"), 2)), (1, 1));
}

#[test]
fn an_event_may_leave_the_cursor_where_it_was_but_not_put_it_elsewhere() {
    let seen = |cursor| client(&[(21, message(0, cursor, &["a"])), (31, message(1, cursor, &["a"]))]);
    assert!(published(&["a"], &[20, 30]).judge([&seen(10)]).is_kept());
    assert_eq!(published(&["a"], &[20, 30]).judge([&seen(15)]).out_of_order, 1);
}

#[test]
fn each_followed_address_of_an_event_is_owed() {
    let oracle = published(&["a", "b", "c"], &[20]);
    oracle.judge([&client(&[(21, message(0, 20, &["a", "b"]))])]).assert_all_delivered();
    assert_eq!(oracle.judge([&client(&[(21, message(0, 20, &["a"]))])]).lost, 1);
    oracle.judge([&client(&[(21, message(0, 20, &["a"])), (22, resync("b"))])]).assert_kept();
    let apart = [(21, message(0, 20, &["a"])), (22, message(0, 20, &["a", "b"]))];
    assert_eq!(oracle.judge([&client(&apart)]).twice, 1);
}

#[test]
fn strays_are_seen() {
    let oracle = published(&["c"], &[20]);
    assert_eq!(oracle.judge([&client(&[(21, message(0, 20, &["c"]))])]).stray, 1);
    assert_eq!(oracle.judge([&client(&[(21, message(7, 20, &["a"]))])]).stray, 1);
    assert_eq!(oracle.judge([&client(&[(21, resync("c"))])]).stray, 1);
}

#[test]
fn the_unknown_is_owed_to_nobody_but_comes_at_most_once() {
    let oracle = Oracle::new();
    let n = oracle.begin_at(20 * MS, &["a"], Manner::default());
    oracle.unknown(n);
    assert_eq!(oracle.judge([&client(&[])]).pairs, 0);
    assert!(oracle.judge([&client(&[(21, message(n, 20, &["a"]))])]).is_kept());
    assert_eq!(oracle.judge([&client(&[(21, message(n, 20, &["a"])), (22, message(n, 20, &["a"]))])]).twice, 1);
}

const COALESCE: Manner = Manner { coalesce: true, spread: false };
const SPREAD: Manner = Manner { coalesce: false, spread: true };

#[test]
fn a_later_event_covers_only_what_may_be_coalesced() {
    let last = [(31, message(1, 30, &["a"]))];
    let verdict = published_as(&["a"], &[20, 30], COALESCE).judge([&client(&last)]);
    assert_eq!((verdict.covered, verdict.delivered, verdict.lost), (1, 1, 0));
    assert_eq!(published(&["a"], &[20, 30]).judge([&client(&last)]).lost, 1);
    let first = [(21, message(0, 20, &["a"]))];
    assert_eq!(published_as(&["a"], &[20, 30], COALESCE).judge([&client(&first)]).lost, 1, "nothing covers the last");
    let other = [(31, message(1, 30, &["b"]))];
    let oracle = published_as(&["a", "b"], &[20, 30], COALESCE);
    assert_eq!(oracle.judge([&client(&other)]).lost, 2, "a later event covers only addresses that it named");
}

#[test]
#[should_panic(expected = "resynced or covered")]
fn covered_is_not_delivered() {
    let oracle = published_as(&["a"], &[20, 30], COALESCE);
    oracle.judge([&client(&[(31, message(1, 30, &["a"]))])]).assert_all_delivered();
}

#[test]
fn a_cursor_that_runs_ahead_is_seen() {
    let oracle = published_as(&["a"], &[20], SPREAD);
    oracle.begin_at(21 * MS, &["b"], Manner::default());
    oracle.acked(1, ids(&["b"], 21));
    let late = |cursor: u64| [(22, message(1, cursor, &["b"])), (25, message(0, 21, &["a"]))];
    oracle.judge([&client(&late(19))]).assert_all_delivered();
    let verdict = oracle.judge([&client(&late(21))]);
    assert_eq!((verdict.ahead, verdict.lost), (1, 0));
    let tick = What::Tick { cursor: "1.k3f9.20-0".into() };
    assert_eq!(oracle.judge([&client(&[(23, tick), (25, message(0, 21, &["a"]))])]).ahead, 2, "the tick, and then b");
}

#[test]
fn a_cursor_may_pass_what_lies_behind_it_anew() {
    let oracle = published_as(&["a", "b"], &[20, 30], COALESCE);
    let waits = [(31, message(0, 19, &["b"]))];
    assert_eq!(oracle.judge([&client_of_few(&waits)]).ahead, 0);
    let passed = [(31, message(0, 29, &["b"]))];
    assert_eq!(oracle.judge([&client_of_few(&passed)]).ahead, 0, "what covers it is behind the cursor");
    let beyond = [(31, message(0, 30, &["b"]))];
    assert!(oracle.judge([&client_of_few(&beyond)]).ahead > 0);
}

#[test]
fn what_is_held_back_comes_in_order_for_each_address_and_twice_only_on_another_connection() {
    let oracle = published_as(&["a"], &[20, 30], SPREAD);
    let twice = [(31, message(0, 19, &["a"])), (32, message(0, 19, &["a"])), (33, message(1, 30, &["a"]))];
    let verdict = oracle.judge([&client(&twice)]);
    assert_eq!((verdict.twice, verdict.out_of_order), (1, 1));
    let record = client(&twice[..1]);
    record.add_on(2, 40 * MS, message(0, 20, &["a"]));
    record.add_on(2, 41 * MS, message(1, 30, &["a"]));
    oracle.judge([&record]).assert_all_delivered();
    let turned = [(31, message(1, 19, &["a"])), (32, message(0, 30, &["a"]))];
    assert_eq!(oracle.judge([&client(&turned)]).out_of_order, 1);
}

#[test]
fn nothing_is_owed_before_the_first_ready() {
    let oracle = published(&["a"], &[5, 10]);
    assert_eq!(oracle.judge([&client(&[])]).pairs, 0);
    let verdict = oracle.judge([&Record::new("never ready", &["a".to_owned()])]);
    assert_eq!(verdict.pairs, 0);
}

#[test]
fn faults_and_death_are_violations() {
    let oracle = published(&["a"], &[]);
    assert_eq!(oracle.judge([&client(&[(11, What::Fault { what: "x".into() })])]).faults, 1);
    assert_eq!(oracle.judge([&client(&[(11, What::Dead { why: "status 502".into() })])]).faults, 1);
}

#[test]
#[should_panic(expected = "promise 1 was not kept")]
fn a_verdict_over_nothing_is_no_success() {
    Oracle::new().judge([&client(&[])]).assert_kept();
}

#[test]
fn what_two_histories_took_is_told_of_both_with_a_resync_in_between() {
    let oracle = published(&["a"], &[20]);
    let other = |reason: &str| What::Resync { address: "a".to_owned(), reason: reason.to_owned() };
    let (first, again) = ((21, message(0, 19, &["a"])), (30, message(0, 20, &["a"])));
    for reason in ["epoch", "failover"] {
        oracle.judge([&client(&[first.clone(), (25, other(reason)), again.clone()])]).assert_kept();
    }
    let verdict = oracle.judge([&client(&[first.clone(), (25, other("slow")), again.clone()])]);
    assert_eq!((verdict.twice, verdict.out_of_order), (1, 1), "the history is the same");
    let verdict = oracle.judge([&client(&[first, again])]);
    assert_eq!((verdict.twice, verdict.out_of_order), (1, 1), "nobody was told of another one");
}
