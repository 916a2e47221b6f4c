//! Recent frames against the whole history.

use std::sync::Arc;

use proptest::prelude::*;
use tidings_shared::cursor::Place;
use tidings_shared::{Epoch, Message, Partitions};

use super::*;
use crate::frame::Encoder;

fn id(ms: u64) -> Id {
    Id { ms, seq: 0 }
}

fn frames(ids: impl IntoIterator<Item = u64>) -> Vec<(Id, Frame)> {
    let frame = |ms| {
        let place = Place { epoch: Epoch::from_random(1), id: id(ms) };
        let message = Message::decode(r#"c - - - - {"time":"t"}"#).unwrap();
        (id(ms), Encoder::of(Partitions::ONE).encode(place, &message, &Arc::new("a".parse().unwrap())).unwrap())
    };
    ids.into_iter().map(frame).collect()
}

fn reach(since: u64, up_to: u64) -> Reach {
    Reach { since: id(since), up_to: id(up_to), lost_before: Id::ZERO }
}

fn push(recent: &mut Recent, ids: impl IntoIterator<Item = u64>) {
    frames(ids).iter().for_each(|(id, frame)| recent.push(*id, frame));
}

fn after(recent: &Recent, ms: u64) -> Vec<u64> {
    recent.after(id(ms)).map(|(id, _)| id.ms).collect()
}

#[test]
fn what_was_read_comes_before_what_came_live_meanwhile() {
    let mut recent = Recent::default();
    push(&mut recent, [12, 14]);
    assert!(!recent.reaches_back_to(id(13)));
    recent.learn(reach(10, 12), &frames([11, 12]));
    assert!(recent.reaches_back_to(id(10)) && !recent.reaches_back_to(id(9)));
    assert_eq!((after(&recent, 10), recent.live_from()), (vec![11, 12, 14], id(12)));
}

#[test]
fn an_older_past_goes_in_front_and_changes_nothing_else() {
    let mut recent = Recent::default();
    recent.learn(reach(10, 12), &frames([11, 12]));
    push(&mut recent, [14]);
    // It was read beyond what has come in.
    recent.learn(reach(5, 20), &frames([7, 9, 11, 12, 14, 18]));
    assert!(recent.reaches_back_to(id(5)) && !recent.reaches_back_to(id(4)));
    assert_eq!((after(&recent, 5), recent.live_from()), (vec![7, 9, 11, 12, 14], id(12)));
    assert_eq!(recent.bytes, frames([7, 9, 11, 12, 14]).iter().map(|(_, frame)| held(frame)).sum::<usize>());
    recent.learn(reach(6, 20), &frames([7]));
    assert!(recent.reaches_back_to(id(5)), "a younger one is nothing new");
}

#[test]
fn a_past_that_ends_before_what_is_here_begins_is_not_taken() {
    let mut recent = Recent::default();
    recent.learn(reach(10, 10), &[]);
    push(&mut recent, [11, 12, 13]);
    (0..2).for_each(|_| recent.drop_oldest());
    recent.learn(reach(5, 11), &frames([7, 11]));
    assert!(!recent.reaches_back_to(id(11)) && recent.reaches_back_to(id(12)));
    assert_eq!(after(&recent, 0), [13]);
}

#[test]
fn what_came_live_and_was_dropped_before_the_first_reading_is_not_taken_for_there() {
    let mut recent = Recent::default();
    push(&mut recent, [12, 14]);
    (0..2).for_each(|_| recent.drop_oldest());
    recent.learn(reach(10, 12), &frames([11, 12]));
    assert!(!recent.reaches_back_to(id(13)) && recent.reaches_back_to(id(14)));
    assert!(after(&recent, 0).is_empty());
}

#[test]
fn what_the_store_has_lost_is_known_but_not_after_another_history() {
    let mut recent = Recent::default();
    recent.learn(Reach { lost_before: id(8), ..reach(8, 20) }, &frames([8, 9]));
    assert_eq!(after(&recent, 0), [9], "what is left is all only after the first");
    assert!(recent.is_lost_after(id(7)) && !recent.is_lost_after(id(8)));
    recent.forget(id(30));
    assert!(!recent.is_lost_after(id(7)) && recent.reaches_back_to(id(30)));
    recent.doubt();
    assert!(!recent.reaches_back_to(id(40)) && recent.live_from() == id(30));
}

#[derive(Debug, Clone)]
enum Op {
    Publish,
    /// What was published comes in, some of it.
    Live(u64),
    /// A reading of all that there is after an id so far back.
    Read(u64),
    /// One that ended some events ago: its answer was long on its way.
    ReadLate(u64, u64),
    Drop,
    Doubt,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Publish),
        4 => (1..4_u64).prop_map(Op::Live),
        3 => (0..30_u64).prop_map(Op::Read),
        1 => (0..30_u64, 0..5_u64).prop_map(|(back, late)| Op::ReadLate(back, late)),
        2 => Just(Op::Drop),
        1 => Just(Op::Doubt),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Events are numbered from 1; those up to `before` are older than the subscription and never come in live.
    #[test]
    fn it_has_all_that_it_says(before in 0..10_u64, ops in prop::collection::vec(any_op(), 1..80)) {
        let mut recent = Recent::default();
        let (mut published, mut live) = (before, before);
        for op in ops {
            match op {
                Op::Publish => published += 1,
                Op::Live(count) => {
                    let to = published.min(live + count);
                    push(&mut recent, live + 1..=to);
                    live = to;
                }
                Op::Read(_) | Op::ReadLate(..) => {
                    let (back, late) = match op { Op::ReadLate(back, late) => (back, late), Op::Read(back) => (back, 0), _ => (0, 0) };
                    // Never from before the subscription, nor from before what has come in: the reader sees to both.
                    let up_to = published.saturating_sub(late).max(live);
                    let since = up_to.saturating_sub(back);
                    recent.learn(reach(since, up_to), &frames(since + 1..=up_to));
                }
                Op::Drop => recent.drop_oldest(),
                Op::Doubt => recent.doubt(),
            }
            if recent.live_from() <= id(live) {
                for from in (0..=live).filter(|from| recent.reaches_back_to(id(*from))) {
                    let here: Vec<u64> = after(&recent, from).into_iter().filter(|ms| *ms <= live).collect();
                    prop_assert_eq!(here, (from + 1..=live).collect::<Vec<_>>());
                }
            }
            let sizes: usize = recent.after(Id::ZERO).map(|(_, frame)| held(frame)).sum();
            prop_assert_eq!((recent.size().0, recent.bytes), (recent.ids().count(), sizes));
        }
    }
}
