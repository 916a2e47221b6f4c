//! Slow readers, `every` and `spread`: what is sent when, and how far the cursor goes meanwhile.

use std::time::{Duration, Instant};

use super::*;
use rig::{Seen, delayed, named, refresh, spread};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A rig whose time begins when it does.
pub(super) struct Timed {
    pub rig: Rig,
    now: Instant,
}

impl Timed {
    pub fn new(queue: usize) -> Self {
        Self { rig: Rig::new(1, queue), now: Instant::now() }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.rig.hub.advance(self.now);
    }

    pub fn delayed(&self) -> i64 {
        self.rig.hub.size().delayed
    }

    /// Of each event that comes: its id, and that of the cursor.
    fn read(&mut self, key: ConnectionKey) -> Vec<(u64, u64)> {
        let seen = rig::parse(&self.rig.bytes(key));
        seen.iter().filter(|seen| seen.name.is_none()).map(|seen| (seen.ms(), cursor(seen))).collect()
    }

    fn tick(&mut self, key: ConnectionKey) -> u64 {
        self.rig.hub.tick(0, 1);
        cursor(rig::parse(&self.rig.bytes(key)).last().unwrap())
    }
}

pub(super) fn cursor(seen: &Seen) -> u64 {
    let cursor = Cursor::decode(seen.id.as_ref().unwrap(), Partitions::ONE).unwrap();
    let place = cursor.place(Partitions::ONE.get(0).unwrap()).unwrap();
    // What lies below an id is told as the id before.
    place.id.ms
}

#[test]
fn a_slow_reader_gets_the_latest_of_each_address_and_no_resync() {
    let mut rig = Rig::new(1, 1_000);
    let key = rig.live(&["a", "b", "c"]);
    for ms in 11..300 {
        rig.dispatch(&refresh(ms, &[["a", "b", "c"][ms as usize % 3]], Partitions::ONE));
        assert!(rig.hub.size().queued_bytes <= 1_000);
    }
    let saw = rig.read(key);
    assert!(
        saw.len() < 20 && saw.ends_with(&[Saw::data("a", 297), Saw::data("b", 298), Saw::data("c", 299)]),
        "{saw:?}"
    );
    assert_eq!(rig.hub.stats.coalesced as usize, 289 - saw.len());
}

#[test]
fn what_may_not_be_coalesced_is_resynced_if_it_is_too_much() {
    let mut rig = Rig::new(1, 1_000);
    let key = rig.live(&["a", "b"]);
    for ms in 11..300 {
        rig.dispatch(&if ms % 2 == 0 {
            event(ms, &["a"], Partitions::ONE)
        } else {
            refresh(ms, &["b"], Partitions::ONE)
        });
    }
    let saw = rig.read(key);
    assert_eq!(saw[..2], [Saw::resync("a", Reason::Slow), Saw::resync("b", Reason::Slow)]);
}

#[test]
fn every_sends_the_first_at_once_and_the_last_at_the_end_of_its_time() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.live_every(&["a", "b"], Some(10 * SECOND));
    for (ms, name) in [(11, "a"), (12, "a"), (13, "b"), (14, "a")] {
        timed.rig.dispatch(&refresh(ms, &[name], Partitions::ONE));
    }
    // 12 waits, 14 takes its place: a resume after 13 would bring 14.
    assert_eq!(timed.read(key), [(11, 11), (13, 13)]);
    assert_eq!(timed.delayed(), 1);
    timed.pass(9 * SECOND);
    assert_eq!(timed.read(key), []);
    timed.pass(SECOND + wheel::TICK);
    assert_eq!(timed.read(key), [(14, 14)]);
    // That began the time anew.
    timed.rig.dispatch(&refresh(15, &["a"], Partitions::ONE));
    timed.rig.dispatch(&refresh(16, &["b"], Partitions::ONE));
    assert_eq!(timed.read(key), [(16, 14)], "the cursor stays below 15");
    timed.pass(10 * SECOND + wheel::TICK);
    assert_eq!(timed.read(key), [(15, 16)], "and catches up with it");
    assert_eq!((timed.delayed(), timed.rig.hub.has_timers()), (0, false));
}

#[test]
fn every_does_not_hold_back_what_may_not_be_coalesced_and_that_covers_what_waits() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.live_every(&["a"], Some(10 * SECOND));
    timed.rig.dispatch(&refresh(11, &["a"], Partitions::ONE));
    timed.rig.dispatch(&refresh(12, &["a"], Partitions::ONE));
    timed.rig.dispatch(&event(13, &["a"], Partitions::ONE));
    timed.rig.dispatch(&event(14, &["a"], Partitions::ONE));
    assert_eq!(timed.read(key), [(11, 11), (13, 13), (14, 14)]);
    assert_eq!(timed.delayed(), 0);
}

#[test]
fn every_tells_listeners_of_each_name_of_their_last() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.live_every(&["a"], Some(SECOND));
    for (ms, name) in [(11, "x"), (12, "x"), (13, "y"), (14, "x")] {
        timed.rig.dispatch(&named(ms, "a", name));
    }
    timed.pass(SECOND + wheel::TICK);
    let names: Vec<_> = rig::parse(&timed.rig.bytes(key)).into_iter().map(|seen| (seen.ms(), seen.name)).collect();
    let named = |ms: u64, name: &str| (ms, Some(name.to_owned()));
    assert_eq!(names, [named(11, "x"), named(13, "y"), named(14, "x")]);
}

/// Of each message: its id, and the SSE event name under which it came.
fn heard(timed: &mut Timed, key: ConnectionKey) -> Vec<(u64, String)> {
    let seen = rig::parse(&timed.rig.bytes(key));
    seen.into_iter().map(|seen| (seen.ms(), seen.name.unwrap_or_default())).collect()
}

#[test]
fn a_connection_with_a_name_coalesces_whatever_names_publishers_gave() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.live_named("mine", &["a"], Some(SECOND));
    let mine = |ms: u64| (ms, "mine".to_owned());
    for (ms, name) in [(11, "x"), (12, "x"), (13, "y"), (14, "x")] {
        timed.rig.dispatch(&named(ms, "a", name));
    }
    assert_eq!(heard(&mut timed, key), [mine(11)]);
    timed.pass(SECOND + wheel::TICK);
    assert_eq!(heard(&mut timed, key), [mine(14)]);
}

#[test]
fn a_slow_reader_with_a_name_gets_the_latest_of_each_address_under_it() {
    let mut timed = Timed::new(1_000);
    let key = timed.rig.live_named("mine", &["a"], None);
    for ms in 11..300 {
        timed.rig.dispatch(&named(ms, "a", ["x", "y"][ms as usize % 2]));
    }
    let heard = heard(&mut timed, key);
    assert!(heard.len() < 20 && heard.iter().all(|(_, name)| name == "mine"), "{heard:?}");
    assert_eq!(heard.last().unwrap().0, 299);
}

#[test]
fn every_collapses_a_replay() {
    let mut rig = Rig::new(1, 10_000);
    let key = rig.join_every(&["a", "b"], Some(SECOND));
    let replay = [(5, "a"), (6, "b"), (7, "a")].map(|(ms, name)| refresh(ms, &[name], rig.partitions));
    let at_four = Start { from: place(4), replay: replay.to_vec(), ..start("a", 10, rig.partitions) };
    rig.joined(key, vec![at_four]);
    rig.dispatch(&refresh(11, &["a"], Partitions::ONE));
    assert_eq!(rig.read(key), [Saw::data("b", 6), Saw::data("a", 7), Saw::ready(10)]);
    assert_eq!(rig.hub.size().delayed, 1);
}

#[test]
fn spread_sends_to_each_at_a_moment_of_its_own_and_to_all_in_time() {
    let mut timed = Timed::new(10_000);
    let keys: Vec<_> = (0..200).map(|_| timed.rig.live(&["a"])).collect();
    timed.rig.dispatch(&spread(11, &["a"], "c", SECOND));
    let mut moments = Vec::new();
    for tenth in 0..10 {
        let came = keys.iter().filter(|key| !timed.read(**key).is_empty()).count();
        moments.push(came);
        assert_eq!(timed.delayed() as usize, 200 - moments.iter().sum::<usize>(), "{tenth}");
        timed.pass(SECOND / 10);
    }
    timed.pass(wheel::TICK);
    moments.push(keys.iter().filter(|key| timed.read(**key) == [(11, 11)]).count());
    assert_eq!(moments.iter().sum::<usize>(), 200, "{moments:?}");
    assert!(moments[1..].iter().all(|came| (1..60).contains(came)), "{moments:?}");
    assert!(timed.rig.hub.connections.iter().all(|(_, connection)| connection.is_at_ease()));
}

#[test]
fn the_cursor_stays_below_what_is_spread_until_it_is_written() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.live(&["a", "b"]);
    timed.rig.dispatch(&event(11, &["b"], Partitions::ONE));
    timed.rig.dispatch(&spread(12, &["a"], "-", SECOND));
    timed.rig.dispatch(&event(13, &["b"], Partitions::ONE));
    assert_eq!(timed.read(key), [(11, 11), (13, 11)]);
    timed.rig.hub.lift(&[Some(place(20))]);
    assert_eq!(timed.tick(key), 11);
    timed.pass(SECOND + wheel::TICK);
    timed.rig.dispatch(&event(21, &["b"], Partitions::ONE));
    assert_eq!(timed.read(key), [(12, 20), (21, 21)]);
}

#[test]
fn a_newer_event_goes_at_once_and_takes_the_place_of_one_that_is_spread() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.live(&["a"]);
    timed.rig.dispatch(&spread(11, &["a"], "c", SECOND));
    timed.rig.dispatch(&refresh(12, &["a"], Partitions::ONE));
    assert_eq!(timed.read(key), [(12, 12)]);
    timed.pass(2 * SECOND);
    assert_eq!((timed.read(key), timed.delayed()), (vec![], 0));
}

#[test]
fn events_of_an_address_never_overtake_each_other() {
    let mut timed = Timed::new(100_000);
    let key = timed.rig.live(&["a"]);
    for ms in 11..60 {
        let event = if ms % 3 == 0 { event(ms, &["a"], Partitions::ONE) } else { spread(ms, &["a"], "-", SECOND) };
        timed.rig.dispatch(&event);
    }
    let mut ids = Vec::new();
    for _ in 0..11 {
        timed.pass(SECOND / 10 + wheel::TICK);
        ids.extend(timed.read(key).into_iter().map(|(id, _)| id));
    }
    assert_eq!(ids, (11..60).collect::<Vec<_>>());
}

#[test]
fn what_is_held_back_counts_as_waiting_and_is_resynced_if_it_is_too_much() {
    let mut timed = Timed::new(1_000);
    let key = timed.rig.live(&["a"]);
    for ms in 11..60 {
        timed.rig.dispatch(&spread(ms, &["a"], "-", 60 * SECOND));
        assert!(timed.rig.hub.size().queued_bytes <= 1_000);
    }
    assert_eq!(timed.rig.read(key)[0], Saw::resync("a", Reason::Slow));
}

#[test]
fn a_resync_says_what_was_held_back() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.live(&["a", "b"]);
    timed.rig.dispatch(&spread(11, &["a"], "c", SECOND));
    timed.rig.dispatch(&event(12, &["b"], Partitions::ONE));
    let of_a = Some(vec![rig::address("a")]);
    let resync = Resync { addresses: of_a, ..rig::resync_all(place(12), Reason::HistoryLost) };
    timed.rig.hub.take(Delivery::Resync(resync));
    // Not before the resync has been read does the cursor pass 11.
    let seen = rig::parse(&timed.rig.chunk(key));
    assert_eq!((seen[0].ms(), cursor(&seen[0])), (12, 10));
    assert_eq!(timed.rig.read(key), [Saw::resync("a", Reason::HistoryLost)]);
    assert_eq!(timed.tick(key), 12);
    timed.pass(2 * SECOND);
    assert_eq!((timed.read(key), timed.delayed()), (vec![], 0));
}

#[test]
fn a_connection_that_ends_leaves_behind_what_it_holds_back() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.live(&["a", "b"]);
    timed.rig.dispatch(&spread(11, &["a"], "c", SECOND));
    timed.rig.dispatch(&event(12, &["b"], Partitions::ONE));
    timed.rig.hub.drain();
    timed.pass(2 * SECOND);
    let seen = rig::parse(&timed.rig.bytes(key));
    assert_eq!((seen.len(), seen[0].ms(), cursor(&seen[0])), (2, 12, 10));
}

#[test]
fn nothing_held_back_outlives_its_connection() {
    let mut timed = Timed::new(10_000);
    let keys = [timed.rig.live(&["a"]), timed.rig.live_every(&["a"], Some(SECOND))];
    timed.rig.dispatch(&spread(11, &["a"], "c", 3_600 * SECOND));
    assert_eq!((timed.delayed(), timed.rig.hub.has_timers()), (2, true));
    keys.into_iter().for_each(|key| timed.rig.hub.leave(key));
    assert_eq!((timed.delayed(), timed.rig.hub.has_timers()), (0, false));
}

#[test]
fn a_delay_is_over_before_the_spread_begins() {
    let mut timed = Timed::new(10_000);
    let keys: Vec<_> = (0..50).map(|_| timed.rig.live(&["a"])).collect();
    timed.rig.dispatch(&delayed(11, "a", "c", (2 * SECOND, SECOND)));
    timed.pass(2 * SECOND - wheel::TICK);
    assert!(keys.iter().all(|key| timed.read(*key).is_empty()));
    timed.pass(SECOND / 2);
    let half = keys.iter().filter(|key| !timed.read(**key).is_empty()).count();
    assert!((5..45).contains(&half), "{half}");
    timed.pass(SECOND / 2 + 2 * wheel::TICK);
    let rest = keys.iter().filter(|key| timed.read(**key) == [(11, 11)]).count();
    assert_eq!(half + rest, 50);
    assert!(timed.rig.hub.connections.iter().all(|(_, connection)| connection.is_at_ease()));
}

#[test]
fn without_a_spread_a_delay_is_exact_and_the_cursor_waits_with_it() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.live(&["a", "b"]);
    timed.rig.dispatch(&delayed(11, "a", "c", (SECOND, Duration::ZERO)));
    timed.rig.dispatch(&event(12, &["b"], Partitions::ONE));
    assert_eq!(timed.read(key), [(12, 10)]);
    timed.pass(SECOND - wheel::TICK);
    assert_eq!(timed.read(key), []);
    timed.pass(2 * wheel::TICK);
    assert_eq!(timed.read(key), [(11, 12)]);
}

#[test]
fn a_newer_event_takes_the_place_of_one_with_a_delay_at_the_earlier_moment() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.live(&["a"]);
    timed.rig.dispatch(&delayed(11, "a", "c", (SECOND, Duration::ZERO)));
    timed.pass(SECOND / 2);
    timed.rig.dispatch(&delayed(12, "a", "c", (SECOND, Duration::ZERO)));
    timed.pass(SECOND / 2 + wheel::TICK);
    assert_eq!(timed.read(key), [(12, 12)]);
}

/// Milliseconds since 1970, as ids have them.
fn clock_ms() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64
}

#[test]
fn what_was_missed_waits_until_its_delay_is_over() {
    let mut timed = Timed::new(10_000);
    let key = timed.rig.join(&["a", "b"]);
    let (now, hour) = (clock_ms(), 3_600 * SECOND);
    let before = now - 2 * hour.as_millis() as u64;
    // The second is held back, and the next of the same address may not overtake it.
    let replay = [
        delayed(before, "a", "c", (hour, hour)),
        delayed(now, "b", "", (hour, hour)),
        event(now + 1, &["b"], Partitions::ONE),
    ];
    let from = place(1);
    let begins = Start { from, replay: replay.to_vec(), ..start("a", now + 2, timed.rig.partitions) };
    timed.rig.joined(key, vec![begins]);
    let seen = rig::parse(&timed.rig.bytes(key));
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!((seen[0].topics(), seen[1].name.as_deref()), (vec!["a".to_owned()], Some("tidings.ready")));
    assert_eq!((cursor(&seen[1]), timed.delayed()), (now - 1, 2), "{seen:?}");
    timed.pass(hour + wheel::TICK);
    let came: Vec<u64> = timed.read(key).into_iter().map(|(ms, _)| ms).collect();
    assert_eq!(came, [now, now + 1]);
}
