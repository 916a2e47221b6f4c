//! Joins, a step at a time.

mod model;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tidings_shared::cursor::Place;
use tidings_shared::{Epoch, Id, Partitions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Plan};
use super::running::ReadPart;
use super::state::RunningJoin;
use super::{JoinEvent, JoinKey};
use crate::control::Reason;
use crate::reader::delivery::{ConnectionKey, Delivery, Joined};
use crate::reader::requests::Answer;
use crate::reader::tests::rig::{Rig, address, after, events, ids, ids_of, next_answer, the_partition};
use crate::reader::{Command, From, Parcel};
use crate::store::StoreError;

#[tokio::test]
async fn what_came_before_a_subscription_is_replayed_to_everyone_who_joins_after_it() {
    let mut rig = Rig::new().await;
    let began = rig.place();
    // Nobody follows it yet, so it comes in to nobody and moves no watermark.
    let missed = rig.publish(&["a"]);
    assert_eq!(ids(&rig.join(&["a"], after(began)).await), [missed]);
    assert_eq!(ids(&rig.join(&["a"], after(began)).await), [missed], "the next one, before anything came in live");
    assert!(rig.reader.send_beacons(&mut rig.requests).is_empty());
    rig.settle().await;
    rig.pump();
    let reads = rig.reader.joins.reads_waiting();
    let key = rig.ask(&["a"], after(began));
    assert_eq!(rig.reader.joins.reads_waiting(), reads, "from here on memory does");
    assert_eq!(ids(&rig.joined(key).unwrap()[0]), [missed]);
}

#[tokio::test]
async fn a_replay_from_memory_ends_at_the_watermark() {
    let mut rig = Rig::new().await;
    let began = rig.place();
    let first = rig.ask(&["a"], after(began));
    let subscribed = rig.answer().await;
    rig.reader.take_answer(subscribed, &mut rig.requests).unwrap();
    let id = rig.publish(&["a"]);
    rig.settle().await;
    assert_eq!(ids(&rig.joined(first).unwrap()[0]), [id], "read from the store");
    // It has not come in live yet, and will: who joins now waits for that, and must not get it both ways.
    let second = rig.ask(&["a"], after(began));
    rig.settle().await;
    let handed = rig.handed();
    assert_eq!(events(&handed), [id]);
    let Some(Delivery::Joined(Joined { connection, starts: Some(starts) })) = handed.last() else {
        panic!("{handed:?}")
    };
    assert_eq!((*connection, ids(&starts[0])), (second, vec![id]));
    assert!(starts[0].place.id >= id, "what came in is passed over");
    let start = rig.join(&["a"], after(began)).await;
    assert_eq!(ids(&start), [id]);
}

/// Takes all answers until the history that a join needs was read, and gives that one.
async fn read_of(rig: &mut Rig) -> (JoinKey, Vec<ReadPart>) {
    loop {
        match rig.answer().await {
            Answer::Join(key, JoinEvent::HistoryRead { parts, .. }) => return (key, parts),
            other => rig.reader.take_answer(other, &mut rig.requests).unwrap(),
        }
    }
}

fn history_read(key: JoinKey, parts: Vec<ReadPart>) -> Answer {
    Answer::Join(key, JoinEvent::HistoryRead { parts, share: None })
}

#[tokio::test]
async fn a_join_whose_read_failed_is_turned_away_and_the_session_is_tried() {
    let mut rig = Rig::new().await;
    let connection = rig.ask(&["a"], From::Now);
    let (key, parts) = read_of(&mut rig).await;
    let failed = parts.into_iter().map(|(part, _)| (part, None)).collect();
    rig.reader.take_answer(history_read(key, failed), &mut rig.requests).unwrap();
    assert!(rig.joined(connection).is_none());
    assert!(matches!(rig.answer().await, Answer::Beacon(_, _, Ok(_))));
}

#[tokio::test]
async fn a_history_that_ends_and_comes_back_while_a_join_waits_voids_what_was_planned() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    let (began, other) = (rig.place(), Epoch::from_random(rig.place().epoch.bits() ^ 1));
    // What another partition would keep waiting: a part that is ready, in a join that is not.
    let connection = ConnectionKey { slot: 0, serial: 9 };
    let mut join = RunningJoin::new(rig.join_of(connection, &["a"], after(began)));
    let parts = plan::plan(&join, &rig.reader.table, &rig.reader.states, 10_000).unwrap();
    assert!(matches!(parts[0].plan, Plan::Ready(..)));
    let guard = CancellationToken::new().drop_guard();
    let (key, _) = (join.key(), join.start_reading(vec![], guard));
    rig.reader.joins.insert(join);
    rig.reader.resync_partition(the_partition(), Place { epoch: other, ..began }, Reason::Epoch);
    let later = Place { id: rig.publish(&["b"]), ..began };
    rig.reader.resync_partition(the_partition(), later, Reason::Epoch);
    let parts = parts.into_iter().map(|part| (part, None)).collect();
    rig.reader.take_answer(history_read(key, parts), &mut rig.requests).unwrap();
    rig.settle().await;
    assert_eq!(rig.joined(connection).unwrap()[0].place, rig.place());
}

#[tokio::test]
async fn a_read_from_before_a_message_that_could_not_be_taken_is_void() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    let began = rig.place();
    rig.ask(&["a"], after(Place { id: Id { ms: began.id.ms - 1, seq: 0 }, ..began }));
    let read = rig.answer().await;
    let id = rig.publish(&["a"]);
    rig.pump();
    // What is remembered is forgotten: the read, which is older than the event, must not pass for all that there was.
    rig.push("a", "nobody writes this".to_owned());
    rig.reader.take_answer(read, &mut rig.requests).unwrap();
    rig.settle().await;
    assert_eq!(ids(&rig.join(&["a"], after(began)).await), [id]);
}

#[tokio::test]
async fn a_read_from_before_another_history_is_not_shared_with_joins_after_it() {
    let mut rig = Rig::new().await;
    let began = rig.place();
    let cursor = || after(Place { id: Id { ms: began.id.ms - 1, seq: 0 }, ..began });
    rig.ask(&["a"], cursor());
    rig.reader.resync_partition(the_partition(), began, Reason::Epoch);
    rig.ask(&["a"], cursor());
    assert_eq!(rig.reader.joins.reads_waiting(), 2);
    rig.ask(&["a"], cursor());
    assert_eq!(rig.reader.joins.reads_waiting(), 2, "equal ones are one");
}

#[tokio::test]
async fn joins_that_come_together_are_one_read_and_each_gets_its_own() {
    let mut rig = Rig::with(Partitions::ONE, 1_000, 100_000, 100_000).await;
    let began = rig.place();
    let ids: Vec<Id> = (0..10).map(|_| rig.publish(&["a"])).collect();
    let own = rig.publish(&["@u7"]);
    let cursor = |at: usize| if at == 0 { began } else { Place { id: ids[at - 1], ..began } };
    let keys: Vec<ConnectionKey> = (0..10).map(|at| rig.ask(&["a", &format!("@u{at}")], after(cursor(at)))).collect();
    assert_eq!(rig.reader.joins.reads_waiting(), 1);
    rig.settle().await;
    let handed = rig.handed();
    for (at, key) in keys.iter().enumerate() {
        let start = handed.iter().find_map(|delivery| match delivery {
            Delivery::Joined(joined) if joined.connection == *key => Some(&joined.starts.as_ref().unwrap()[0]),
            _ => None,
        });
        let expected: Vec<Id> = ids[at..].iter().copied().chain((at == 7).then_some(own)).collect();
        assert_eq!(ids_of(start.unwrap()), (expected, 0), "{at}");
    }
}

#[tokio::test]
async fn one_that_was_away_for_too_long_costs_the_others_nothing() {
    let mut rig = Rig::keeping(5).await;
    let began = rig.place();
    let published: Vec<Id> = (0..10).map(|_| rig.publish(&["a"])).collect();
    let ancient = rig.ask(&["a"], after(began));
    let young = rig.ask(&["a"], after(Place { id: published[7], ..began }));
    assert_eq!(rig.reader.joins.reads_waiting(), 1);
    rig.settle().await;
    let mut starts = HashMap::new();
    for delivery in rig.handed() {
        if let Delivery::Joined(joined) = delivery {
            starts.insert(joined.connection, joined.starts.unwrap().remove(0));
        }
    }
    assert_eq!(ids_of(&starts[&ancient]), (vec![], 1), "its history is lost");
    assert_eq!(ids_of(&starts[&young]), (published[8..].to_vec(), 0));
}

#[tokio::test]
async fn what_is_too_much_for_one_read_is_not_for_each_alone() {
    // A join may be brought some 2,000 bytes; a read for several eight times that.
    let mut rig = Rig::with(Partitions::ONE, 1_000, 2_000, 100_000).await;
    let began = rig.place();
    let names: Vec<String> = (0..40).map(|n| format!("a/{n}")).collect();
    let published: Vec<Vec<Id>> = names.iter().map(|name| (0..10).map(|_| rig.publish(&[name])).collect()).collect();
    let keys: Vec<ConnectionKey> = names.iter().map(|name| rig.ask(&[name], after(began))).collect();
    rig.settle().await;
    let mut starts = HashMap::new();
    for delivery in rig.handed() {
        if let Delivery::Joined(joined) = delivery {
            starts.insert(joined.connection, joined.starts.unwrap().remove(0));
        }
    }
    for (key, published) in keys.iter().zip(published) {
        assert_eq!(ids_of(&starts[key]), (published, 0));
    }
}

#[tokio::test]
async fn clients_that_come_one_after_another_cost_reads_by_address_and_not_by_client() {
    const TOPICS: usize = 10;
    let mut rig = Rig::with(Partitions::ONE, 10_000, 100_000, 1_000_000).await;
    let topics: Vec<String> = (0..TOPICS).map(|n| format!("t/{n}")).collect();
    let began = rig.place();
    let publish = |rig: &Rig, at: usize| (&topics[at % TOPICS], rig.publish(&[&topics[at % TOPICS]]));
    let published: Vec<(&String, Id)> = (0..200).map(|at| publish(&rig, at)).collect();
    // The later they come, the longer they have been away.
    for client in 0..100 {
        let place = published.len() - 1 - client;
        let follows = [0, 1, 4].map(|more| topics[(client + more) % TOPICS].as_str());
        let start = rig.join(&follows, after(Place { id: published[place].1, ..began })).await;
        let missed = published[place + 1..].iter().filter(|(topic, _)| follows.contains(&topic.as_str()));
        assert_eq!(ids_of(&start), (missed.map(|(_, id)| *id).collect(), 0), "{client}");
    }
    let reads = rig.reads();
    assert!(reads <= TOPICS as u64, "{reads} reads of {TOPICS} addresses for 100 clients");
    // And who was away for longer than what is kept costs nothing either, once that is known.
    let ancient = || after(Place { id: Id { ms: began.id.ms - 100_000_000, seq: 0 }, ..began });
    for _ in 0..10 {
        let start = rig.join(&["t/0"], ancient()).await;
        assert_eq!(start.resync, [(address("t/0"), Reason::HistoryLost)]);
    }
    assert_eq!(rig.reads(), reads + 1);
}

#[tokio::test]
async fn what_a_new_client_had_read_reaches_further_back_for_one_who_comes_back() {
    let mut rig = Rig::new().await;
    let began = rig.place();
    let published = [rig.publish(&["a"]), rig.publish(&["a"])];
    rig.requests.beacon(the_partition(), Id::ZERO);
    rig.settle().await;
    rig.pump();
    rig.join(&["a"], From::Now).await;
    for place in [Place { id: published[0], ..began }, began] {
        let expected = published.iter().copied().filter(|id| *id > place.id).collect();
        assert_eq!(ids_of(&rig.join(&["a"], after(place)).await), (expected, 0));
    }
    assert_eq!(rig.reads(), 2, "one for the first, one for all that come back");
}

#[tokio::test]
async fn joins_wait_for_a_share_of_what_all_replays_may_take() {
    let mut rig = Rig::new().await;
    let began = rig.place();
    let id = rig.publish(&["a"]);
    rig.join(&["a"], after(began)).await;
    // Up to what was read, so that nobody waits for that.
    rig.requests.beacon(the_partition(), Id::ZERO);
    rig.settle().await;
    rig.pump();
    let shares: Vec<_> = std::iter::from_fn(|| rig.reader.joins.allowance().try_take()).collect();
    let known = rig.ask(&["a"], after(began));
    let unknown = rig.ask(&["b"], after(began));
    assert!(matches!(rig.answer().await, Answer::Subscribed(_, _, Ok(()))));
    rig.reader.table.get_mut(&address("b")).unwrap().pending = None;
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert!(next_answer(&mut rig.requests).is_none(), "both wait");
    }
    let nothing_missed = rig.ask(&["a"], From::Now);
    assert!(rig.joined(nothing_missed).is_some(), "who missed nothing does not wait");
    drop(shares);
    rig.settle().await;
    let handed = rig.handed();
    let start = |key| {
        let found = handed.iter().find_map(|delivery| match delivery {
            Delivery::Joined(joined) if joined.connection == key => joined.starts.as_ref(),
            _ => None,
        });
        ids_of(&found.unwrap()[0])
    };
    assert_eq!((start(known), start(unknown)), ((vec![id], 0), (vec![], 0)));
}

#[tokio::test]
async fn a_share_ends_when_the_worker_has_the_replay() {
    let mut rig = Rig::new().await;
    let began = rig.place();
    rig.publish(&["a"]);
    let all = rig.reader.joins.allowance().left();
    let key = rig.ask(&["a"], after(began));
    rig.settle().await;
    rig.reader.flush();
    let parcels: Vec<Parcel> = std::iter::from_fn(|| rig.deliveries.try_recv().ok()).collect();
    let replayed = parcels.iter().find_map(|parcel| match &parcel.delivery {
        Delivery::Joined(joined) if joined.connection == key => Some(joined.starts.as_ref()?[0].replay_bytes()),
        _ => None,
    });
    let replayed = replayed.unwrap();
    assert!(replayed > 0);
    assert_eq!(rig.reader.joins.allowance().left(), all - replayed);
    drop(parcels);
    assert_eq!(rig.reader.joins.allowance().left(), all);
}

/// A place 14 s ahead of the store, which no journal had.
fn ahead(rig: &Rig) -> Place {
    Place { id: Id { ms: rig.place().id.ms + 14_000, seq: 0 }, ..rig.place() }
}

#[tokio::test]
async fn cursors_ahead_of_the_store_hold_no_share_and_are_settled_by_a_beacon() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    let (all, place) = (rig.reader.joins.allowance().left(), ahead(&rig));
    let keys: Vec<_> = (0..100).map(|_| rig.ask(&["a"], after(place))).collect();
    assert_eq!(rig.reader.joins.allowance().left(), all, "others can be served meanwhile");
    tokio::time::timeout(Duration::from_secs(10), rig.settle()).await.expect("nobody waits for the clock");
    let mut resynced = 0;
    for delivery in rig.handed() {
        if let Delivery::Joined(Joined { starts: Some(starts), connection }) = delivery {
            assert!(keys.contains(&connection));
            assert_eq!(starts[0].resync, [(address("a"), Reason::Cursor)]);
            resynced += 1;
        }
    }
    assert_eq!(resynced, keys.len());
    assert_eq!(rig.reads(), 3, "one for the first, one for as many as there are shares, one for the rest");
}

#[tokio::test]
async fn any_beacon_settles_a_cursor_ahead_when_the_one_sent_for_it_is_refused() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    let ahead = ahead(&rig);
    let key = rig.ask(&["a"], after(ahead));
    let Answer::Lift(partition, number, Ok(_)) = rig.answer().await else { panic!("a beacon is sent for it") };
    let refused = StoreError { passing: true, ..StoreError::new("sending a beacon", "OOM") };
    rig.reader.take_answer(Answer::Lift(partition, number, Err(refused)), &mut rig.requests).unwrap();
    rig.reader.flush();
    assert!(next_answer(&mut rig.requests).is_none(), "it waits");
    rig.requests.beacon(the_partition(), Id::ZERO);
    tokio::time::timeout(Duration::from_secs(10), rig.settle()).await.expect("it does not wait for the clock");
    assert_eq!(rig.joined(key).unwrap()[0].resync, [(address("a"), Reason::Cursor)]);
}

#[tokio::test]
async fn a_join_whose_connection_left_waits_for_nothing() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    rig.publish(&["a"]);
    let began = rig.place();
    let ahead = ahead(&rig);
    // One waits for a beacon, another for a share, a third for its read.
    let mut keys = vec![rig.ask(&["a"], after(ahead)), rig.ask(&["b"], after(began))];
    let shares: Vec<_> = std::iter::from_fn(|| rig.reader.joins.allowance().try_take()).collect();
    keys.push(rig.ask(&["c"], after(began)));
    assert_eq!(rig.reader.joins.len(), 3);
    let cancel = keys.iter().map(|key| Command::Cancel(0, *key));
    rig.reader.take_commands(cancel, &mut rig.requests);
    assert_eq!(rig.reader.joins.len(), 0);
    tokio::time::timeout(Duration::from_secs(10), rig.settle()).await.expect("it waits for no share either");
    assert!(!rig.handed().iter().any(|delivery| matches!(delivery, Delivery::Joined(_))));
    drop(shares);
    // One that left in the very turn in which it came is no join at all.
    let key = ConnectionKey { slot: 0, serial: 1_000 };
    let join = rig.join_of(key, &["a"], after(began));
    rig.reader.take_commands([Command::Join(join), Command::Cancel(0, key)].into_iter(), &mut rig.requests);
    assert_eq!(rig.reader.joins.len(), 0);
}

#[tokio::test]
async fn a_join_that_leaves_before_its_read_is_sent_costs_nothing() {
    let mut rig = Rig::new().await;
    let began = rig.place();
    rig.publish(&["a"]);
    rig.join(&["a"], From::Now).await;
    let (all, reads) = (rig.reader.joins.allowance().left(), rig.reads());
    // Further back than what is remembered.
    let earlier = Place { id: Id { ms: began.id.ms - 1, seq: 0 }, ..began };
    let ask = |rig: &mut Rig| rig.ask(&["a"], after(earlier));
    let [one, two, three] = [ask(&mut rig), ask(&mut rig), ask(&mut rig)];
    assert_eq!(rig.reader.joins.reads_waiting(), 1);
    let cancel = [one, two].map(|key| Command::Cancel(0, key));
    rig.reader.take_commands(cancel.into_iter(), &mut rig.requests);
    rig.settle().await;
    assert!(rig.joined(three).is_some(), "another join still waits for the read");
    assert_eq!((rig.reads(), rig.reader.joins.allowance().left()), (reads + 1, all));
    // Nothing is remembered any more.
    rig.push("a", "nobody writes this".to_owned());
    let keys: Vec<_> = (0..64).map(|_| ask(&mut rig)).collect();
    assert_eq!((rig.reader.joins.allowance().left(), rig.reader.joins.reads_waiting()), (0, 1));
    let cancel = keys.into_iter().map(|key| Command::Cancel(0, key));
    rig.reader.take_commands(cancel, &mut rig.requests);
    assert_eq!(rig.reader.joins.reads_waiting(), 0);
    rig.settle().await;
    assert_eq!((rig.reads(), rig.reader.joins.allowance().left()), (reads + 1, all));
}

#[tokio::test]
async fn a_read_that_is_sent_keeps_the_shares_of_joins_that_left_until_it_ends() {
    let mut rig = Rig::new().await;
    let began = rig.place();
    rig.join(&["a"], From::Now).await;
    let all = rig.reader.joins.allowance().left();
    // A read that is sent, and goes on for as long as this is not acknowledged.
    let (acknowledge, acknowledged) = watch::channel(false);
    rig.reader.table.get_mut(&address("a")).unwrap().pending = Some(acknowledged);
    let keys: Vec<_> = (0..64).map(|_| rig.ask(&["a"], after(began))).collect();
    assert!(next_answer(&mut rig.requests).is_none());
    let cancel = keys.into_iter().map(|key| Command::Cancel(0, key));
    rig.reader.take_commands(cancel, &mut rig.requests);
    assert!(next_answer(&mut rig.requests).is_none());
    assert_eq!(rig.reader.joins.allowance().left(), 0, "it brings what they have shares for");
    let honest = rig.ask(&["b"], after(began));
    assert!(matches!(rig.answer().await, Answer::Subscribed(..)));
    assert!(next_answer(&mut rig.requests).is_none(), "it waits for one read, and for no client");
    acknowledge.send_replace(true);
    rig.reader.table.get_mut(&address("b")).unwrap().pending = None;
    rig.settle().await;
    assert!(rig.joined(honest).is_some());
    assert_eq!(rig.reader.joins.allowance().left(), all);
}

#[tokio::test]
async fn joins_that_wait_are_bounded_and_the_newest_is_refused() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    rig.limit_joins(16);
    let ahead = ahead(&rig);
    let keys: Vec<_> = (0..20).map(|_| rig.ask(&["a"], after(ahead))).collect();
    let no_room = |handed: &[Delivery]| -> Vec<ConnectionKey> {
        let refused = handed.iter().filter_map(|delivery| match delivery {
            Delivery::NoRoom(key) => Some(*key),
            _ => None,
        });
        refused.collect()
    };
    // All come from one origin, for which three quarters are there.
    assert_eq!(no_room(&rig.handed()), keys[12..]);
    let at_once = rig.ask(&["a"], From::Now);
    assert!(rig.joined(at_once).is_some(), "whoever need not wait is not refused");
    rig.reader.each_second(Instant::now(), &mut rig.requests);
    assert_eq!(rig.metric("tidings_connections_waiting "), 12);
    assert_eq!(rig.metric("tidings_refused_total{limit=\"waiting\"} "), 8);
    // Each that ends makes room for one.
    rig.reader.take_commands([Command::Cancel(0, keys[0])].into_iter(), &mut rig.requests);
    let (next, over) = (rig.ask(&["a"], after(ahead)), rig.ask(&["a"], after(ahead)));
    assert_eq!(no_room(&rig.handed()), [over]);
    rig.settle().await;
    assert!(rig.joined(next).is_some());
    rig.reader.each_second(Instant::now(), &mut rig.requests);
    assert_eq!(rig.metric("tidings_connections_waiting "), 0);
}

#[tokio::test]
async fn a_store_that_stays_behind_turns_a_join_away() {
    let mut rig = Rig::new().await;
    let ahead = Place { id: Id { ms: rig.place().id.ms + 3_600_000, seq: 0 }, ..rig.place() };
    rig.reader.states[0].lift(ahead.id);
    let key = rig.ask(&["a"], From::Now);
    rig.settle().await;
    assert!(rig.joined(key).is_none());
    rig.join(&["a"], From::Now).await;
}

#[tokio::test]
async fn the_highest_of_all_ids_is_no_place() {
    let mut rig = Rig::new().await;
    let highest = Id { ms: u64::MAX, seq: u64::MAX };
    for (id, asks) in [(highest, false), (Id { seq: 0, ..highest }, true)] {
        rig.join(&["a"], From::Now).await;
        let place = Place { id, ..rig.place() };
        let key = rig.ask(&["a"], after(place));
        assert_eq!(rig.reader.joins.reads_waiting() > 0, asks, "Redis refuses to be asked what comes after it");
        rig.settle().await;
        let start = rig.joined(key).unwrap().remove(0);
        assert_eq!(start.resync, [(address("a"), Reason::Cursor)]);
        assert!(start.place.id < place.id && start.from == start.place);
    }
}

#[tokio::test]
async fn memory_serves_no_more_than_a_resume_may_bring() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    let began = rig.place();
    for _ in 0..500 {
        rig.publish(&["a"]);
    }
    rig.pump();
    rig.handed();
    let start = rig.join(&["a"], after(began)).await;
    assert_eq!((ids(&start), start.resync), (vec![], vec![(address("a"), Reason::Slow)]));
}

#[tokio::test]
async fn joins_begin_where_they_ask() {
    let mut rig = Rig::new().await;
    let began = rig.place();
    let missed = rig.publish(&["a", "b"]);
    let start = rig.join(&["a", "b"], after(began)).await;
    assert_eq!((ids(&start), start.from, start.place.id), (vec![missed], began, missed));
    assert_eq!(start.replay[0].frames.len(), 2, "one event for both of its addresses");
    let start = rig.join(&["a"], From::Now).await;
    assert_eq!((ids(&start), start.resync), (vec![], vec![]));
    let start = rig.join(&["a", "c"], From::Latest).await;
    assert_eq!((ids(&start), start.tail, start.place.id), (vec![missed], true, missed));
    let start = rig.join(&["a"], From::Cursor(None)).await;
    assert_eq!(start.resync, [(address("a"), Reason::Cursor)]);
    let other = Place { epoch: Epoch::from_random(began.epoch.bits() ^ 1), ..began };
    let start = rig.join(&["a"], after(other)).await;
    assert_eq!(start.resync, [(address("a"), Reason::Epoch)]);
    let old = Place { id: Id { ms: 1, seq: 0 }, ..began };
    let start = rig.join(&["a"], after(old)).await;
    assert_eq!(start.resync, [(address("a"), Reason::HistoryLost)]);
}

#[tokio::test]
async fn connections_of_a_session_that_broke_are_turned_away() {
    let mut rig = Rig::new().await;
    let key = rig.ask(&["a"], From::Now);
    rig.reader.detach(&[the_partition()], &StoreError::new("testing", "it broke"), &mut rig.requests);
    assert!(rig.joined(key).is_none());
    rig.settle().await;
    assert!(rig.handed().is_empty(), "what comes of the rest concerns nobody");
    let key = rig.ask(&["a"], From::Now);
    assert!(rig.joined(key).is_none(), "until there is another one");
}
