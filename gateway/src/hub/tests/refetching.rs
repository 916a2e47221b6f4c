//! Resyncs of many: told to each at a moment of its own, and owed until then.

use super::paced::{SECOND, Timed, cursor};
use super::*;

const WINDOW: Duration = Duration::from_secs(10);

fn timed() -> Timed {
    let mut timed = Timed::new(10_000);
    timed.rig.hub.options.resync_spread = WINDOW;
    timed
}

impl Timed {
    /// The store has another history from here on.
    fn another_history(&mut self, bits: u32, ms: u64) {
        let place = Place { epoch: rig::epoch(bits), id: rig::id(ms) };
        self.rig.hub.take(Delivery::Resync(rig::resync_all(place, Reason::Epoch)));
    }

    /// A stream that comes back with a cursor of another history.
    fn comes_back(&mut self, reason: Reason) -> ConnectionKey {
        let key = self.rig.join(&["a"]);
        self.rig.hub.last(key);
        let resync = vec![(rig::address("a"), reason)];
        self.rig.joined(key, vec![Start { resync, ..start("a", 10, self.rig.partitions) }]);
        key
    }
}

/// A resync of `a`.
fn resync(reason: Reason) -> Saw {
    Saw::resync("a", reason)
}

#[test]
fn each_is_told_at_a_moment_of_its_own_and_all_in_time() {
    let mut timed = timed();
    let keys: Vec<_> = (0..200).map(|_| timed.rig.live(&["a"])).collect();
    timed.another_history(2, 50);
    let mut moments = Vec::new();
    for _ in 0..10 {
        let told = keys.iter().filter(|key| timed.rig.read(**key) == [resync(Reason::Epoch)]).count();
        moments.push(told);
        assert_eq!(timed.delayed() as usize, 200 - moments.iter().sum::<usize>());
        timed.pass(WINDOW / 10);
    }
    timed.pass(wheel::TICK);
    moments.push(keys.iter().filter(|key| timed.rig.read(**key) == [resync(Reason::Epoch)]).count());
    assert_eq!(moments.iter().sum::<usize>(), 200, "{moments:?}");
    assert!(moments[1..].iter().all(|told| (1..60).contains(told)), "{moments:?}");
    assert!(timed.rig.hub.connections.iter().all(|(_, connection)| connection.is_at_ease()));
    assert!(!timed.rig.hub.has_timers());
}

#[test]
fn live_events_go_on_and_the_cursor_stays_until_the_resync_is_written() {
    let mut timed = timed();
    let key = timed.rig.live(&["a"]);
    timed.another_history(2, 50);
    timed.rig.dispatch(&rig::event_of(2, 60, &["a"], Partitions::ONE));
    assert_eq!(timed.rig.read(key), [Saw::Data("a", 60, Some((1, 10)))]);
    timed.rig.hub.tick(0, 1);
    assert_eq!(cursor(&rig::parse(&timed.rig.bytes(key))[0]), 10);
    timed.pass(WINDOW + wheel::TICK);
    timed.rig.dispatch(&rig::event_of(2, 61, &["a"], Partitions::ONE));
    assert_eq!(timed.rig.read(key), [resync(Reason::Epoch), Saw::Data("a", 61, Some((2, 61)))]);
}

#[test]
fn a_resync_that_is_due_but_not_read_still_keeps_the_cursor() {
    let mut timed = timed();
    let key = timed.rig.live(&["a"]);
    timed.another_history(2, 50);
    timed.pass(WINDOW + wheel::TICK);
    assert_eq!(timed.rig.hub.cursor(key).unwrap(), "1.1.10-0");
    timed.rig.read(key);
    assert_eq!(timed.rig.hub.cursor(key).unwrap(), "1.2.50-0");
}

#[test]
fn one_that_ends_before_its_moment_keeps_its_cursor() {
    let mut timed = timed();
    let key = timed.rig.live(&["a"]);
    timed.another_history(2, 50);
    timed.rig.dispatch(&rig::event_of(2, 60, &["a"], Partitions::ONE));
    timed.rig.hub.drain();
    timed.pass(WINDOW + wheel::TICK);
    let saw = timed.rig.read(key);
    assert_eq!(saw, [Saw::Data("a", 60, Some((1, 10))), Saw::Event("tidings.goodbye"), Saw::End]);
}

#[test]
fn what_comes_on_top_goes_with_it() {
    let mut timed = timed();
    let key = timed.rig.live(&["a", "b"]);
    let of_a = Some(vec![rig::address("a")]);
    let lost = Resync { addresses: of_a, ..rig::resync_all(place(20), Reason::HistoryLost) };
    timed.rig.hub.take(Delivery::Resync(lost));
    timed.another_history(2, 50);
    timed.another_history(3, 40);
    assert_eq!(timed.delayed(), 2);
    timed.pass(WINDOW + wheel::TICK);
    assert_eq!(timed.rig.read(key), [resync(Reason::HistoryLost), Saw::resync("b", Reason::Epoch)]);
    assert_eq!(timed.rig.hub.cursor(key).unwrap(), "1.3.40-0");
}

#[test]
fn a_queue_that_overflows_before_its_moment_owes_it_too() {
    let mut timed = timed();
    let key = timed.rig.live(&["a"]);
    timed.another_history(2, 50);
    for ms in 51..300 {
        timed.rig.dispatch(&rig::event_of(2, ms, &["a"], Partitions::ONE));
    }
    assert_eq!(timed.rig.read(key), [resync(Reason::Slow)]);
    timed.pass(WINDOW + wheel::TICK);
    assert_eq!(timed.rig.read(key), [], "it was told once");
}

#[test]
fn a_worker_that_fell_behind_tells_each_at_its_moment() {
    let mut timed = timed();
    let key = timed.rig.live(&["a", "b"]);
    timed.rig.hub.take(Delivery::Lagged(vec![Some(place(20))]));
    timed.rig.dispatch(&event(21, &["a"], Partitions::ONE));
    // A resume from 10 brings what was dropped, and 21 a second time.
    assert_eq!(timed.rig.read(key), [Saw::Data("a", 21, Some((1, 10)))]);
    timed.pass(WINDOW + wheel::TICK);
    assert_eq!(timed.rig.read(key), [resync(Reason::Slow), Saw::resync("b", Reason::Slow)]);
}

#[test]
fn a_stream_that_comes_back_with_a_cursor_of_no_use_is_ready_at_once_and_told_later() {
    for reason in [Reason::Epoch, Reason::Cursor] {
        let mut timed = timed();
        let key = timed.comes_back(reason);
        timed.rig.dispatch(&event(11, &["a"], Partitions::ONE));
        // Under a place that is too old for whoever is asked.
        assert_eq!(timed.rig.read(key), [Saw::ready(0), Saw::Data("a", 11, Some((1, 0)))]);
        timed.pass(WINDOW + wheel::TICK);
        timed.rig.dispatch(&event(12, &["a"], Partitions::ONE));
        assert_eq!(timed.rig.read(key), [resync(reason), Saw::data("a", 12)]);
    }
}

#[test]
fn what_a_stream_missed_itself_is_told_as_it_begins() {
    for reason in [Reason::HistoryLost, Reason::Slow] {
        let mut timed = timed();
        let key = timed.comes_back(reason);
        assert_eq!(timed.rig.read(key), [resync(reason), Saw::ready(10)]);
    }
}

#[test]
fn a_poll_is_told_as_it_begins() {
    let mut timed = timed();
    let key = timed.rig.join(&["a"]);
    let resyncs = vec![(rig::address("a"), Reason::Epoch)];
    timed.rig.joined(key, vec![Start { resync: resyncs, ..start("a", 10, Partitions::ONE) }]);
    assert_eq!(timed.rig.read(key), [resync(Reason::Epoch), Saw::ready(10)]);
}

#[test]
fn what_is_held_back_of_events_goes_with_the_resync() {
    let mut timed = timed();
    let key = timed.rig.live(&["a"]);
    timed.rig.dispatch(&rig::spread(11, &["a"], "c", 100 * WINDOW));
    timed.another_history(2, 50);
    timed.pass(WINDOW + wheel::TICK);
    assert_eq!(timed.rig.read(key), [resync(Reason::Epoch)]);
    timed.pass(100 * WINDOW + SECOND);
    assert_eq!((timed.rig.read(key), timed.delayed()), (vec![], 0));
}

#[test]
fn nothing_of_it_outlives_a_connection() {
    let mut timed = timed();
    let key = timed.rig.live(&["a"]);
    timed.another_history(2, 50);
    assert!(timed.rig.hub.has_timers());
    timed.rig.hub.leave(key);
    assert_eq!((timed.delayed(), timed.rig.hub.has_timers()), (0, false));
}

/// The SSE event names under which messages came; empty for `onmessage`.
fn names(timed: &mut Timed, key: ConnectionKey) -> Vec<String> {
    let seen = rig::parse(&timed.rig.bytes(key));
    seen.into_iter().map(|seen| seen.name.unwrap_or_default()).collect()
}

#[test]
fn a_resync_is_said_under_each_name_by_which_somebody_may_listen() {
    for spread in [Duration::ZERO, WINDOW] {
        let mut timed = timed();
        timed.rig.hub.options.resync_spread = spread;
        let (without, own) = (timed.rig.live(&["a"]), timed.rig.live_named("mine", &["a"], None));
        timed.rig.tell_names("a", &["x", "y"]);
        timed.rig.tell_names("nobody/follows/this", &["z"]);
        timed.another_history(2, 50);
        timed.pass(WINDOW + wheel::TICK);
        assert_eq!(names(&mut timed, without), ["", "x", "y"], "{spread:?}");
        assert_eq!(names(&mut timed, own), ["mine"], "{spread:?}");
        // As it falls behind.
        timed.rig.hub.take(Delivery::Lagged(vec![Some(Place { epoch: rig::epoch(2), id: rig::id(60) })]));
        timed.pass(WINDOW + wheel::TICK);
        assert_eq!(names(&mut timed, without), ["", "x", "y"], "{spread:?}");
        assert_eq!(names(&mut timed, own), ["mine"], "{spread:?}");
    }
}

#[test]
fn what_begins_a_stream_is_said_under_each_name_too() {
    let mut timed = timed();
    let (without, own) = (timed.rig.join(&["a"]), timed.rig.join_named("mine", &["a"]));
    timed.rig.tell_names("a", &["x"]);
    for key in [without, own] {
        let resync = vec![(rig::address("a"), Reason::HistoryLost)];
        timed.rig.joined(key, vec![Start { resync, ..start("a", 10, timed.rig.partitions) }]);
    }
    assert_eq!(names(&mut timed, without), ["", "x", "tidings.ready"]);
    assert_eq!(names(&mut timed, own), ["mine", "tidings.ready"]);
}

#[test]
fn names_are_forgotten_with_their_address() {
    let mut timed = timed();
    let key = timed.rig.live(&["a"]);
    timed.rig.tell_names("a", &["x"]);
    timed.rig.hub.leave(key);
    assert!(timed.rig.hub.names.get(&rig::address("a")).is_none());
}
