//! The hub, told by hand what a reader would tell it.

mod model;
mod paced;
mod refetching;
pub(crate) mod rig;
mod straight;

use std::sync::atomic::Ordering;

use super::*;
use crate::control::Reason;
use crate::reader::delivery::{Delivery, Joined, Resync, Start};
use rig::{Rig, Saw, Woken, event, partition_of, place, start};
use tidings_shared::Cursor;

#[test]
fn an_answer_that_comes_after_the_end_does_not_bring_a_connection_back() {
    let mut rig = Rig::new(1, 1_000);
    let key = rig.join(&["a"]);
    rig.hub.drain();
    rig.joined(key, vec![start("a", 10, rig.partitions)]);
    assert!(rig.read(key).ends_with(&[Saw::Event("tidings.goodbye"), Saw::End]));
}

#[test]
fn a_resync_carries_no_id_and_an_event_always_one() {
    // Small enough that some events do not fit, and read from in between.
    for read_first in [false, true] {
        let mut rig = Rig::new(4, 150);
        let key = rig.live(&["a", "b"]);
        rig.dispatch(&event(11, &["a"], rig.partitions));
        let mut bytes = if read_first { rig.chunk(key) } else { Vec::new() };
        for ms in 12..20 {
            rig.dispatch(&event(ms, &["a"], rig.partitions));
        }
        bytes.extend(rig.bytes(key));
        let frames = rig::parse(&bytes);
        let resync = frames.iter().position(|frame| frame.resync().is_some()).unwrap();
        assert_eq!(resync, usize::from(read_first));
        assert!(frames.iter().all(|frame| frame.resync().is_none() == frame.id.is_some()), "{frames:?}");
        assert_eq!(frames.iter().filter(|frame| frame.resync().is_some()).count(), 2);
    }
}

#[test]
fn tail_sends_only_the_types_asked_for() {
    let mut rig = Rig::new(1, 1_000);
    let key = rig.join_types(&["a", "b"], &["wanted"]);
    let replay = vec![rig::typed(5, "a", "wanted"), rig::typed(6, "b", "other")];
    let start = Start { tail: true, replay, ..start("a", 10, rig.partitions) };
    rig.joined(key, vec![start]);
    assert_eq!(rig.read(key), [Saw::Data("a", 5, None), Saw::ready(10)]);
}

#[test]
fn ready_is_not_lost_with_a_queue_that_overflows() {
    let mut rig = Rig::new(1, 200);
    let key = rig.join(&["a"]);
    rig.joined(key, vec![start("a", 10, rig.partitions)]);
    for ms in 11..30 {
        rig.dispatch(&event(ms, &["a"], rig.partitions));
    }
    assert_eq!(rig.read(key), [Saw::resync("a", Reason::Slow), Saw::ready(29)]);
    rig.dispatch(&event(30, &["a"], rig.partitions));
    assert_eq!(rig.read(key), [Saw::data("a", 30)]);
}

#[test]
fn what_came_in_of_a_history_that_ended_is_not_handed_out_under_the_next() {
    let mut rig = Rig::new(1, 1_000);
    let key = rig.join(&["a"]);
    rig.dispatch(&event(90, &["a"], rig.partitions));
    let now = Place { epoch: rig::epoch(2), id: rig::id(50) };
    rig.hub.take(Delivery::Resync(rig::resync_all(now, Reason::Epoch)));
    let resync = vec![(rig::address("a"), Reason::Epoch)];
    rig.joined(key, vec![Start { place: now, from: now, resync, ..start("a", 50, rig.partitions) }]);
    rig.dispatch(&rig::event_of(2, 60, &["a"], rig.partitions));
    let saw = rig.read(key);
    assert_eq!(saw, [Saw::resync("a", Reason::Epoch), Saw::Ready(Some((2, 50))), Saw::Data("a", 60, Some((2, 60)))]);
}

#[test]
fn what_waits_for_a_place_is_bounded_and_a_resync_is_owed() {
    let mut rig = Rig::new(1, 1_000);
    let key = rig.join(&["a", "b"]);
    for ms in 11..1_000 {
        rig.dispatch(&event(ms, &["a"], rig.partitions));
    }
    assert!(rig.hub.size().queued_bytes <= 1_000, "{:?}", rig.hub.size());
    rig.joined(key, vec![start("a", 10, rig.partitions)]);
    rig.dispatch(&event(1_000, &["a"], rig.partitions));
    let saw = rig.read(key);
    let resyncs = [Saw::resync("a", Reason::Slow), Saw::resync("b", Reason::Slow)];
    assert_eq!(saw, [resyncs.as_slice(), &[Saw::ready(1_000)]].concat());
}

#[test]
fn an_event_to_more_addresses_than_fit_a_byte_names_the_right_ones() {
    let names: Vec<String> = (0..300).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = Rig::new(1, 100_000);
    let key = rig.live(&["t290"]);
    rig.dispatch(&event(11, &names, rig.partitions));
    assert_eq!(rig.read(key), [Saw::data("t290", 11)]);
}

#[test]
fn a_heartbeat_that_is_larger_than_the_queue_is_no_overflow() {
    let mut rig = Rig::new(1, 1);
    let key = rig.live(&["a"]);
    rig.hub.tick(0, 1);
    assert_eq!(rig.read(key), [Saw::Event("tidings.tick")]);
}

#[test]
fn a_connection_that_ends_is_told_so_last() {
    let mut rig = Rig::new(1, 200);
    let key = rig.live(&["a"]);
    for ms in 11..30 {
        rig.dispatch(&event(ms, &["a"], rig.partitions));
    }
    rig.hub.drain();
    assert_eq!(rig.read(key), [Saw::Event("tidings.goodbye"), Saw::End]);
}

/// What a stream hears that asked for `a`, once something was done.
fn stream_hears(act: impl FnOnce(&mut Rig, ConnectionKey)) -> String {
    let mut rig = Rig::new(1, 1_000);
    let key = rig.join(&["a"]);
    rig.hub.last(key);
    assert_eq!(rig.bytes(key), b"", "nothing is said before the reader has answered");
    act(&mut rig, key);
    let text = String::from_utf8(rig.bytes(key)).unwrap();
    text.lines()
        .map(|line| if line.starts_with("retry: ") { "retry\n".to_owned() } else { format!("{line}\n") })
        .collect()
}

fn refusal(reason: &str) -> String {
    format!("retry\nevent: tidings.goodbye\ndata: {{\"reason\":\"{reason}\"}}\n\n")
}

#[test]
fn a_stream_that_ends_before_it_has_its_place_hears_one_block() {
    let away = |connection| Delivery::Joined(Joined { connection, starts: None });
    assert_eq!(stream_hears(|rig, key| rig.hub.take(Delivery::NoRoom(key))), refusal("overload"));
    assert_eq!(stream_hears(|rig, key| rig.hub.take(away(key))), refusal("store"));
    assert_eq!(stream_hears(|rig, _| rig.hub.take(Delivery::Unserved)), refusal("store"));
    assert_eq!(stream_hears(|rig, _| rig.hub.drain()), refusal("drain"));
    assert_eq!(stream_hears(|rig, key| rig.hub.end_if_stale(key, rig.partitions.all().collect())), refusal("store"));
}

#[test]
fn a_stream_begins_with_retry_and_says_something_soon() {
    let started = stream_hears(|rig, key| rig.joined(key, vec![start("a", 10, rig.partitions)]));
    assert!(started.starts_with("retry\n\nevent: tidings.ready\n"), "{started}");
    let overrun = stream_hears(|rig, key| {
        rig.joined(key, vec![start("a", 10, rig.partitions)]);
        (11..60).for_each(|ms| rig.dispatch(&event(ms, &["a"], rig.partitions)));
    });
    assert!(overrun.starts_with("retry\n\ndata: {\"topic\":\"a\",\"resync\":true"), "{overrun}");
    let waits = stream_hears(|rig, _| (0..2).for_each(|_| rig.hub.greet()));
    assert_eq!(waits, "retry\n\n:\n\n");
    let ended = stream_hears(|rig, _| {
        (0..2).for_each(|_| rig.hub.greet());
        rig.hub.drain();
    });
    assert_eq!(ended, format!("retry\n\n:\n\n{}", refusal("drain")));
}

/// How many heartbeats a connection of this maximal age lives.
fn heartbeats(max_age: Duration) -> usize {
    let mut rig = Rig::new(1, 1_000);
    rig.hub.options.max_age = max_age;
    let (stream, other) = (rig.live(&["a"]), rig.live(&["a"]));
    rig.hub.last(stream);
    for beat in 1..1_000 {
        rig.hub.tick(0, 1);
        assert_eq!(rig.read(other), [Saw::Event("tidings.tick")], "one that has no maximal age");
        match rig.read(stream).as_slice() {
            [Saw::Event("tidings.goodbye"), Saw::End] => return beat,
            saw => assert_eq!(saw, [Saw::Event("tidings.tick")]),
        }
    }
    1_000
}

#[test]
fn streams_grow_about_as_old_as_they_may() {
    let ages: Vec<usize> = (0..50).map(|_| heartbeats(Duration::from_secs(100))).collect();
    assert!(ages.iter().all(|age| (50..=150).contains(age)), "{ages:?}");
    assert!(ages.iter().any(|age| *age < 90) && ages.iter().any(|age| *age > 110), "together: {ages:?}");
    assert_eq!(heartbeats(Duration::from_millis(1)), 1);
    assert_eq!(heartbeats(Duration::ZERO), 1_000);
}

#[test]
fn who_waits_for_its_turn_hears_nothing_and_then_joins() {
    let mut rig = Rig::new(1, 1_000);
    let key = rig.hub.add(Follow::all([rig::address("a")]));
    rig.dispatch(&event(11, &["a"], rig.partitions));
    assert_eq!(rig.bytes(key), b"");
    assert!(rig.commands.try_recv().is_err(), "nothing is asked for it");
    rig.hub.enter(key, From::Now, None);
    rig.dispatch(&event(12, &["a"], rig.partitions));
    rig.joined(key, vec![start("a", 11, rig.partitions)]);
    assert_eq!(rig.read(key), [Saw::ready(11), Saw::data("a", 12)]);
}

#[test]
fn a_turn_that_comes_too_late_is_nobody_s() {
    let mut rig = Rig::new(1, 1_000);
    let follow = || Follow::all([rig::address("a")]);
    let (left, ended) = (rig.hub.add(follow()), rig.hub.add(follow()));
    rig.hub.leave(left);
    rig.hub.drain();
    let new = rig.hub.add(follow());
    [left, ended, new].into_iter().for_each(|key| rig.hub.enter(key, From::Now, None));
    assert!(rig.commands.try_recv().is_err() && rig.hub.table.is_empty());
    assert_eq!(rig.read(ended), [Saw::Event("tidings.goodbye"), Saw::End]);
    assert_eq!(rig.read(new), [Saw::Event("tidings.goodbye"), Saw::End]);
}

#[test]
fn a_slot_that_is_used_again_takes_no_answer_for_the_one_before() {
    let mut rig = Rig::new(1, 1_000);
    let first = rig.join(&["a"]);
    rig.hub.leave(first);
    let second = rig.join(&["b"]);
    assert_eq!(first.slot, second.slot);
    rig.joined(first, vec![start("a", 10, rig.partitions)]);
    assert_eq!(rig.read(second), []);
    rig.hub.leave(first);
    rig.joined(second, vec![start("b", 10, rig.partitions)]);
    assert_eq!(rig.read(second), [Saw::ready(10)]);
}

#[test]
fn a_worker_that_fell_behind_owes_everything_also_to_who_waits_for_its_place() {
    let mut rig = Rig::new(1, 1_000);
    let (live, joining) = (rig.live(&["a", "b"]), rig.join(&["a"]));
    rig.dispatch(&event(11, &["a"], rig.partitions));
    rig.hub.take(Delivery::Lagged(vec![Some(place(20))]));
    rig.hub.tick(0, 1);
    rig.dispatch(&event(15, &["a"], rig.partitions));
    rig.dispatch(&event(21, &["a"], rig.partitions));
    assert_eq!(rig.read(live), [Saw::resync("a", Reason::Slow), Saw::resync("b", Reason::Slow)]);
    rig.joined(joining, vec![start("a", 10, rig.partitions)]);
    rig.dispatch(&event(22, &["a"], rig.partitions));
    assert_eq!(rig.read(joining), [Saw::resync("a", Reason::Slow), Saw::ready(22)]);
    rig.read(live);
    rig.hub.tick(0, 1);
    assert_eq!(rig.read(live), [Saw::Event("tidings.tick")]);
    assert_eq!(partition_of("a", rig.partitions).number(), 0);
}

#[test]
fn when_nobody_can_be_served_all_end_and_those_who_come_later_do_not() {
    let mut rig = Rig::new(1, 1_000);
    let (live, joining) = (rig.live(&["a"]), rig.join(&["a"]));
    rig.hub.take(Delivery::Unserved);
    for key in [live, joining] {
        assert_eq!(rig.read(key), [Saw::Event("tidings.goodbye"), Saw::End]);
    }
    let later = rig.live(&["a"]);
    assert_eq!(rig.read(later), []);
}

#[test]
fn nothing_is_left_of_connections_that_left() {
    let mut rig = Rig::new(4, 1_000);
    let keys = [rig.live(&["a", "b"]), rig.join(&["b", "c"])];
    keys.into_iter().for_each(|key| rig.hub.leave(key));
    assert!(rig.hub.table.is_empty());
    assert_eq!(rig.hub.size(), Size::default());
    let mut left: Vec<String> = Vec::new();
    while let Ok(command) = rig.commands.try_recv() {
        left.extend(matches!(&command, Command::Leave(..)).then(|| format!("{command:?}")));
    }
    assert_eq!(left.len(), 3, "{left:?}");
}

/// An outlet that takes so many writes, and then none.
#[derive(Debug)]
struct Taker {
    left: std::cell::Cell<usize>,
    taken: RefCell<Vec<u8>>,
}

impl Taker {
    fn attach(rig: &mut Rig, key: ConnectionKey, left: usize) -> Rc<Self> {
        let taker = Rc::new(Self { left: left.into(), taken: RefCell::default() });
        rig.hub.attach(key, Rc::clone(&taker) as Rc<dyn Outlet>);
        taker
    }

    fn saw(&self) -> Vec<Saw> {
        rig::parse(&std::mem::take(&mut *self.taken.borrow_mut())).iter().map(Saw::from).collect()
    }
}

impl Outlet for Taker {
    fn is_free(&self) -> bool {
        self.left.get() > 0
    }

    fn write(&self, fill: &mut dyn FnMut(&mut Vec<u8>) -> Filled) -> bool {
        let Some(left) = self.left.get().checked_sub(1) else { return false };
        self.left.set(left);
        fill(&mut self.taken.borrow_mut()) == Filled::Waiting
    }
}

#[test]
fn what_has_an_outlet_goes_out_with_the_turn_and_in_one_write() {
    let mut rig = Rig::new(1, 1_000);
    let key = rig.live(&["a"]);
    let taker = Taker::attach(&mut rig, key, 2);
    (11..14).for_each(|ms| rig.dispatch(&event(ms, &["a"], rig.partitions)));
    assert_eq!(taker.saw(), [], "not before the turn is over");
    assert!(!rig.hub.write(1));
    assert_eq!(taker.saw(), [Saw::data("a", 11), Saw::data("a", 12), Saw::data("a", 13)]);
    assert_eq!(taker.left.get(), 1, "one write");
    assert_eq!(rig.read(key), []);
}

#[test]
fn what_an_outlet_does_not_take_is_left_to_the_task() {
    let mut rig = Rig::new(1, 1_000);
    let key = rig.live(&["a"]);
    let taker = Taker::attach(&mut rig, key, 1);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert_eq!(rig.hub.poll(key, &waker), Poll::Pending);
    for ms in 11..14 {
        rig.dispatch(&event(ms, &["a"], rig.partitions));
        rig.hub.write(usize::MAX);
    }
    assert_eq!(taker.saw(), [Saw::data("a", 11)]);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "one wake-up is enough");
    assert_eq!(rig.read(key), [Saw::data("a", 12), Saw::data("a", 13)]);
    // It waits again: the outlet is tried again.
    taker.left.set(1);
    rig.dispatch(&event(14, &["a"], rig.partitions));
    rig.hub.write(usize::MAX);
    assert_eq!(taker.saw(), [Saw::data("a", 14)]);
}

#[test]
fn some_connections_write_at_a_time_and_all_in_the_end() {
    let mut rig = Rig::new(1, 1_000);
    let takers: Vec<Rc<Taker>> = (0..5)
        .map(|_| {
            let key = rig.live(&["a"]);
            Taker::attach(&mut rig, key, 1)
        })
        .collect();
    rig.dispatch(&event(11, &["a"], rig.partitions));
    let wrote = |takers: &[Rc<Taker>]| takers.iter().filter(|taker| taker.left.get() == 0).count();
    let turns = [(true, 2), (true, 4), (false, 5), (false, 5)];
    for turn in turns {
        assert_eq!((rig.hub.write(2), wrote(&takers)), turn);
    }
}

/// A heartbeat says that a stream works, which nobody knows while the reader is stuck.
#[test]
fn no_heartbeat_while_the_reader_has_no_turn() {
    let mut rig = Rig::new(2, 1_000);
    let key = rig.join(&["a"]);
    let waker = Waker::noop();
    let beats = |rig: &mut Rig| {
        while rig.hub.poll(key, waker).is_ready() {}
        rig.hub.tick(0, 1);
        rig.hub.poll(key, waker).is_ready()
    };
    let second = Duration::from_secs(1);
    let start = Instant::now();
    let all = rig.hub.partitions.all().collect();
    assert!(beats(&mut rig));
    for at in 1..=4 {
        assert!(rig.hub.silent_partitions(start + at * second, Duration::ZERO).is_empty());
        assert!(beats(&mut rig));
    }
    rig.hub.silent_partitions(start + 6 * second, Duration::ZERO);
    assert!(!beats(&mut rig));
    assert_eq!(
        rig.hub.outage(&[rig::address("a")]).map(|outage| outage >= 5 * second),
        Some(true),
        "new ones are refused"
    );
    assert_eq!(rig.hub.silent_partitions(start + 7 * second, Duration::ZERO), all);
    assert_eq!(rig.hub.stale_connections(all), [key], "it ends though stream.max_stale is for ever");
    rig.hub.reader.status().pulse().beat(start + 8 * second);
    assert!(rig.hub.silent_partitions(start + 8 * second, Duration::ZERO).is_empty());
    assert!(beats(&mut rig));
}

#[test]
fn what_ends_is_counted_by_reason_and_what_is_refused_is_not() {
    let mut rig = Rig::new(1, 1_000);
    rig.hub.options.max_age = Duration::from_millis(1);
    let [old, stale, drained] = [(); 3].map(|()| rig.live(&["a"]));
    let _joining = rig.join(&["a"]);
    rig.hub.last(old);
    rig.hub.tick(0, 1);
    let all = rig.partitions.all().collect();
    (0..2).for_each(|_| rig.hub.end_if_stale(stale, all));
    let _refused = rig.join(&["a"]);
    rig.hub.drain();
    let mut stats = Stats::default();
    rig.hub.swap_stats(&mut stats);
    let count = |why| stats.ended[Goodbye::ALL.iter().position(|known| *known == why).unwrap()];
    assert_eq!([Goodbye::MaxAge, Goodbye::Store, Goodbye::Drain, Goodbye::Overload].map(count), [1, 1, 1, 0]);
    assert!(rig.read(drained).ends_with(&[Saw::Event("tidings.goodbye"), Saw::End]));
}

/// There is one for each stream, for hours. Whoever lets it grow measures what that costs.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_connection_is_small() {
    assert!(size_of::<Connection>() <= 304, "{}", size_of::<Connection>());
}
