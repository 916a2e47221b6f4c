use proptest::collection::vec;
use proptest::prelude::*;
use tidings_shared::Partitions;

use super::*;
use crate::hub::tests::rig;

/// An entry's name: what it is, and of which event.
fn told(entry: Option<Entry>) -> String {
    match entry {
        Some(Entry::Event(frame)) => frame.place().id.ms.to_string(),
        Some(Entry::Late(frame)) => format!("late {}", frame.place().id.ms),
        Some(Entry::Covered(_)) => "covered".to_owned(),
        Some(Entry::Told(_)) => "told".to_owned(),
        Some(Entry::Said(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        Some(Entry::Ready(_)) => "ready".to_owned(),
        None => String::new(),
    }
}

fn all(queue: &mut Queue) -> Vec<String> {
    std::iter::from_fn(|| Some(told(queue.pop())).filter(|name| !name.is_empty())).collect()
}

fn refresh(ms: u64, names: &[&str]) -> Frame {
    rig::refresh(ms, names, Partitions::ONE).frame().unwrap()
}

fn event(ms: u64, names: &[&str]) -> Frame {
    rig::event(ms, names, Partitions::ONE).frame().unwrap()
}

/// What is left of these, and how many were dropped.
fn collapsed(frames: impl IntoIterator<Item = Frame>) -> (Vec<String>, usize) {
    let mut queue = Queue::new(10_000);
    frames.into_iter().for_each(|frame| queue.push(Entry::Event(frame)));
    let mut dropped = 0;
    queue.collapse(false, |_| dropped += 1);
    let left = all(&mut queue);
    assert_eq!(queue.bytes(), 0);
    (left, dropped)
}

#[test]
fn an_entry_is_small() {
    assert_eq!(std::mem::size_of::<Entry>(), 16);
}

#[test]
fn of_each_address_the_latest_stays_in_its_place() {
    let frames = [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "a")].map(|(ms, name)| refresh(ms, &[name]));
    assert_eq!(collapsed(frames), (["2", "4", "5"].map(str::to_owned).to_vec(), 2));
}

#[test]
fn what_may_not_be_coalesced_stays_and_covers_what_may() {
    let frames = [event(1, &["a"]), refresh(2, &["a"]), event(3, &["a"]), event(4, &["a"])];
    assert_eq!(collapsed(frames), (["1", "3", "4"].map(str::to_owned).to_vec(), 1));
}

#[test]
fn an_event_to_several_addresses_goes_once_all_of_them_came_again() {
    let frames = |last: Frame| [refresh(1, &["a", "b"]), refresh(2, &["a"]), refresh(3, &["c"]), last];
    assert_eq!(collapsed(frames(refresh(4, &["b"]))).0, ["2", "3", "4"]);
    assert_eq!(collapsed(frames(refresh(4, &["c"]))).0, ["1", "2", "4"]);
    assert_eq!(collapsed(frames(refresh(4, &["a", "b", "c"]))).0, ["4"]);
}

#[test]
fn listeners_of_another_name_get_their_own() {
    let frames = [rig::named(1, "a", "x"), rig::named(2, "a", "y"), rig::named(3, "a", "x"), rig::named(4, "a", "-")];
    assert_eq!(collapsed(frames.map(|event| event.frame().unwrap())).0, ["2", "3", "4"]);
}

#[test]
fn what_is_no_event_stays_where_it_is() {
    let mut queue = Queue::new(10_000);
    queue.push(Entry::Event(refresh(1, &["a"])));
    queue.push_extra(Entry::Said(Box::new(Bytes::from_static(b"resync"))));
    queue.push(Entry::Event(refresh(2, &["a"])));
    queue.push_extra(Entry::Ready(Box::default()));
    queue.push(Entry::Late(refresh(3, &["a"])));
    queue.collapse(false, |_| {});
    assert_eq!(all(&mut queue), ["resync", "ready", "late 3"]);
}

#[test]
fn a_collapse_that_frees_little_is_not_worth_it() {
    let one = event(11, &["a"]).bytes().len();
    let mut queue = Queue::new(one * 8);
    (11..=15).for_each(|ms| queue.push(Entry::Event(event(ms, &["a"]))));
    (16..=17).for_each(|ms| queue.push(Entry::Event(refresh(ms, &["b"]))));
    assert!(!queue.collapse(false, |_| {}), "one of eight");
    (18..=20).for_each(|ms| queue.push(Entry::Event(refresh(ms, &["b"]))));
    assert!(queue.collapse(false, |_| {}), "three of eight");
}

#[test]
fn a_replay_does_not_push_live_frames_out() {
    let one = event(11, &["a"]).bytes().len();
    let mut queue = Queue::new(one);
    (11..20).for_each(|ms| queue.push_extra(Entry::Event(event(ms, &["a"]))));
    assert!(queue.fits(one) && !queue.fits(one + 1));
    all(&mut queue);
    queue.push(Entry::Event(event(20, &["a"])));
    assert!(!queue.fits(1), "once it has run empty, the limit is what it was");
}

proptest! {
    /// Against a definition by pairs: an event stays if it must, or if some address of it comes in no later event.
    #[test]
    fn collapsing_keeps_exactly_what_is_needed(
        events in vec((any::<bool>(), 1..16_u8), 0..40),
    ) {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let events: Vec<(bool, Vec<&str>)> = events
            .into_iter()
            .map(|(may, of)| (may, (0..4).filter(|at| of >> at & 1 == 1).map(|at| NAMES[at]).collect()))
            .collect();
        let frame = |(at, (may, names)): (usize, &(bool, Vec<&str>))| {
            if *may { refresh(at as u64, names) } else { event(at as u64, names) }
        };
        let stays = |at: usize| {
            let (may, names) = &events[at];
            let later = |name: &&str| events[at + 1..].iter().any(|(_, names)| names.contains(name));
            !may || !names.iter().all(later)
        };
        let expected: Vec<String> = (0..events.len()).filter(|at| stays(*at)).map(|at| at.to_string()).collect();
        let frames: Vec<Frame> = events.iter().enumerate().map(frame).collect();
        prop_assert_eq!(collapsed(frames).0, expected);
    }
}
