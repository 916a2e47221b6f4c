//! The reader over the embedded store, a step at a time.

mod model;
pub(super) mod rig;

use futures_util::FutureExt;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Cursor, Epoch, Event, Id, Partition};

use self::rig::{Rig, address, after, events, ids, ids_of, recovered, the_partition};
use super::delivery::{AddressNames, Delivery, Resync};
use super::requests::Answer;
use super::*;
use crate::control::Reason;
use crate::store::{BeaconReply, Session};
use crate::without::Without;

/// What was handed over, in short: the names of an address, a join's answer, a resync of a partition.
fn handed_names(rig: &mut Rig) -> Vec<String> {
    let short = |delivery: Delivery| match delivery {
        Delivery::Names(AddressNames { address, names }) => Some(format!("{address}: {}", names.join(","))),
        Delivery::Joined(_) => Some("joined".to_owned()),
        Delivery::Resync(_) => Some("resync".to_owned()),
        _ => None,
    };
    rig.handed().into_iter().filter_map(short).collect()
}

#[actix_web::test]
async fn names_are_told_before_what_may_be_said_under_them() {
    let mut rig = Rig::new().await;
    let publish = |rig: &Rig, name: &str| rig.store.publish(&Event::refresh("a").name(name)).unwrap().ids["a"];
    let before = rig.place();
    publish(&rig, "x");
    publish(&rig, "y");
    // Read from history.
    rig.ask(&["a"], after(before));
    rig.settle().await;
    assert_eq!(handed_names(&mut rig), ["a: x,y", "joined"]);
    // Live: only what is new.
    publish(&rig, "x");
    publish(&rig, "z");
    rig.pump();
    assert_eq!(handed_names(&mut rig), ["a: y,x,z"]);
    publish(&rig, "z");
    publish(&rig, "w");
    rig.pump();
    let place = Place { id: rig.place().id.next(), ..rig.place() };
    rig.reader.resync_partition(the_partition(), place, Reason::Failover);
    assert_eq!(handed_names(&mut rig), ["a: y,x,z,w", "resync"]);
    // A worker that comes to follow it is told all, also after history was lost.
    rig.reader.table.leave(0, &address("a"), Instant::now());
    rig.ask(&["a"], From::Now);
    rig.settle().await;
    assert_eq!(handed_names(&mut rig), ["a: y,x,z,w", "joined"]);
}

#[actix_web::test]
async fn names_are_bounded_and_those_in_use_stay() {
    let mut rig = Rig::new().await;
    rig.ask(&["a"], From::Now);
    rig.settle().await;
    for n in 0..100 {
        for name in ["used".to_owned(), format!("once{n}")] {
            rig.store.publish(&Event::refresh("a").name(name)).unwrap();
        }
    }
    rig.pump();
    let told = handed_names(&mut rig);
    let names: Vec<&str> = told.last().unwrap().trim_start_matches("a: ").split(',').collect();
    assert!(names.len() == 16 && names.contains(&"used") && names.contains(&"once99"), "{names:?}");
}

#[tokio::test]
async fn an_event_reaches_who_is_left_when_one_of_its_addresses_is_forgotten_halfway() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    rig.join(&["b"], From::Now).await;
    let id = rig.publish(&["a", "b"]);
    let mut pushes = Vec::new();
    rig.session.receive(&mut pushes, 2).await;
    rig.reader.take_pushes(pushes.into_iter(), &mut rig.requests);
    let left = Instant::now() - Duration::from_secs(3_600);
    rig.reader.table.leave(0, &address("b"), left);
    assert_eq!(rig.reader.table.expire(Instant::now()).len(), 1);
    rig.pump();
    assert_eq!(events(&rig.handed()), [id]);
}

#[tokio::test]
async fn what_a_recovery_lost_is_told_before_what_it_found() {
    let mut rig = Rig::keeping(1).await;
    rig.join(&["a", "b"], From::Now).await;
    rig.publish(&["a"]);
    rig.publish(&["a"]);
    let found = rig.publish(&["b"]);
    let session = rig.store.connect(vec![the_partition()]);
    rig.session = recovered(&mut rig.reader, session).await;
    let handed = rig.handed();
    let resync = handed.iter().position(|delivery| matches!(delivery, Delivery::Resync(_))).unwrap();
    assert_eq!((events(&handed[..resync]), events(&handed[resync..])), (vec![], vec![found]));
    let Delivery::Resync(resync) = &handed[resync] else { unreachable!() };
    assert_eq!(resync.addresses.as_ref().unwrap(), &[address("a")]);
}

#[tokio::test]
async fn a_push_of_a_history_that_the_server_does_not_have_resyncs_its_address_alone() {
    let mut rig = Rig::new().await;
    rig.join(&["a", "b"], From::Now).await;
    rig.handed();
    let began = rig.place();
    let other = Epoch::from_random(began.epoch.bits() ^ 1);
    // As a primary that was frozen sends them when it thaws, and another one has taken its place.
    for ms in [2, 1] {
        rig.push("a", format!("1 {}-0 {other} c - - - - {{\"time\":\"t\"}}", began.id.ms + ms));
    }
    let resyncs = |handed: Vec<Delivery>| -> Vec<(Option<Vec<Arc<Address>>>, Place)> {
        let told = handed.into_iter().filter_map(|delivery| match delivery {
            Delivery::Resync(resync) => Some((resync.addresses, resync.place)),
            _ => None,
        });
        told.collect()
    };
    assert_eq!(resyncs(rig.handed()), [(Some(vec![address("a")]), began), (Some(vec![address("a")]), began)]);
    let answer = rig.answer().await;
    assert!(matches!(&answer, Answer::Asked(_, _, _, Ok(reply)) if reply.place.epoch == began.epoch));
    rig.reader.take_answer(answer, &mut rig.requests).unwrap();
    assert!(rig.requests.next().await.is_none(), "it was asked once for both");
    let id = rig.publish(&["b"]);
    rig.pump();
    assert_eq!((events(&rig.handed()), rig.place().epoch), (vec![id], began.epoch));
}

#[tokio::test]
async fn what_another_database_sends_is_dropped_once_the_server_has_been_asked() {
    for (shared_channels, resyncs) in [(true, 0), (false, 1)] {
        let mut rig = Rig::new().await;
        rig.reader.shared_channels = shared_channels;
        rig.join(&["a"], From::Now).await;
        let began = rig.place();
        let other = Epoch::from_random(began.epoch.bits() ^ 1);
        let text = format!("1 {}-0 {other} c - - - - {{\"time\":\"t\"}}", began.id.ms + 1);
        rig.push("a", text.clone());
        let answer = rig.answer().await;
        rig.reader.take_answer(answer, &mut rig.requests).unwrap();
        rig.handed();
        rig.push("a", text);
        let handed = rig.handed();
        let told = handed.iter().filter(|delivery| matches!(delivery, Delivery::Resync(_)));
        assert_eq!(told.count(), resyncs);
        let id = rig.publish(&["a"]);
        rig.pump();
        assert_eq!(events(&rig.handed()), [id]);
    }
}

#[tokio::test]
async fn a_history_that_nobody_can_vouch_for_is_resynced_where_it_is() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    rig.handed();
    let place = rig.place();
    for (unsure, resyncs) in [(false, 0), (true, 1)] {
        let reply = BeaconReply { place, unsure, other_retention: None };
        rig.reader.take_answer(Answer::Beacon(the_partition(), 0, Ok(reply)), &mut rig.requests).unwrap();
        let handed = rig.handed();
        let all = |delivery: &&Delivery| {
            matches!(delivery, Delivery::Resync(Resync { addresses: None, reason: Reason::HistoryLost, .. }))
        };
        assert_eq!(handed.iter().filter(all).count(), resyncs);
    }
}

#[tokio::test]
async fn another_history_begins_when_the_server_says_so() {
    let mut rig = Rig::new().await;
    rig.join(&["a", "b"], From::Now).await;
    rig.handed();
    let began = rig.place();
    rig.store.lose_everything();
    let id = rig.publish(&["a"]);
    rig.pump();
    assert_eq!(rig.place(), began, "a push alone does not move it");
    rig.settle().await;
    let handed = rig.handed();
    let whole = |delivery: &&Delivery| matches!(delivery, Delivery::Resync(resync) if resync.addresses.is_none());
    assert_eq!(handed.iter().filter(whole).count(), 1);
    assert!(rig.place().epoch != began.epoch && rig.place().id >= id);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_a_resync_and_not_remembered_as_nothing() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    let began = rig.place();
    assert!(rig.reader.table.get(&address("a")).unwrap().recent().unwrap().reaches_back_to(began.id));
    rig.push("a", "2 of a later version".to_owned());
    let handed = rig.handed();
    let [Delivery::Resync(resync), ..] = handed.as_slice() else { panic!("{handed:?}") };
    assert_eq!(resync.addresses.as_ref().unwrap(), &[address("a")]);
    assert!(!rig.reader.table.get(&address("a")).unwrap().recent().unwrap().reaches_back_to(began.id));
}

#[tokio::test]
async fn an_address_is_forgotten_and_followed_anew_without_a_gap() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    rig.reader.table.leave(0, &address("a"), Instant::now() - Duration::from_secs(3_600));
    rig.reader.each_second(Instant::now(), &mut rig.requests);
    let began = rig.place();
    // The end of the subscription and the new one are both under way.
    let key = rig.ask(&["a"], after(began));
    let id = rig.publish(&["a"]);
    rig.settle().await;
    assert_eq!(ids(&rig.joined(key).unwrap()[0]), [id]);
    let next = rig.publish(&["a"]);
    rig.pump();
    assert!(events(&rig.handed()).contains(&next));
}

#[tokio::test]
async fn what_lives_elsewhere_goes_on_while_a_partition_is_away() {
    let mut rig = Rig::with(Partitions::new(2).unwrap(), 1_000, 10_000, 100_000).await;
    let home = |rig: &Rig, name: &str| rig.reader.partitions.of(&address(name));
    let other = (0..).map(|n| format!("b{n}")).find(|name| home(&rig, name) != home(&rig, "a")).unwrap();
    rig.join(&["a", &other], From::Now).await;
    let waiting = rig.ask(&["a", &other], From::Latest);
    let lost = home(&rig, "a");
    rig.reader.detach(&[lost], &StoreError::new("testing", "it broke"), &mut rig.requests);
    assert!(rig.joined(waiting).is_none(), "half of what it follows is away");
    let id = rig.publish(&[&other]);
    rig.pump();
    assert_eq!(events(&rig.handed()), [id]);
    rig.join(&[&other], From::Now).await;
    let key = rig.ask(&["a"], From::Now);
    assert!(rig.joined(key).is_none());
    let missed = rig.publish(&["a"]);
    let session = recovered(&mut rig.reader, rig.store.connect(vec![lost])).await;
    rig.requests.attach(&session);
    assert_eq!(events(&rig.handed()), [missed]);
    rig.join(&["a", &other], From::Now).await;
}

#[tokio::test]
async fn an_answer_over_a_session_that_is_gone_breaks_no_later_one() {
    let mut rig = Rig::new().await;
    rig.requests.beacon(the_partition(), Id::ZERO);
    rig.reader.detach(&[the_partition()], &StoreError::new("testing", "it broke"), &mut rig.requests);
    let session = rig.store.connect(vec![the_partition()]);
    rig.session = recovered(&mut rig.reader, session).await;
    rig.requests.attach(&rig.session);
    assert!(rig.requests.next().await.is_none());
    rig.requests.beacon(the_partition(), Id::ZERO);
    assert!(matches!(rig.answer().await, Answer::Beacon(_, _, Ok(_))));
}

#[test]
fn readiness_does_not_outlive_the_reader() {
    let status = Status::new(Partitions::ONE);
    status.up(the_partition());
    let down = Down(status.clone());
    let is_up = || status.partitions().iter().all(|partition| partition.up);
    assert!(is_up());
    drop(down);
    assert!(!is_up());
}

/// What tests switch off must make a difference, and nothing else may.
mod without {
    use super::*;

    impl Rig {
        async fn without(mechanisms: &str) -> Self {
            let mut rig = Rig::new().await;
            rig.reader.options.without = Without::parse(mechanisms).unwrap();
            rig
        }
    }

    #[tokio::test]
    async fn the_journal_what_came_during_a_break_is_passed_over() {
        for (without, found) in [("", true), ("beacon,replay", true), ("journal", false)] {
            let mut rig = Rig::without(without).await;
            rig.join(&["a"], From::Now).await;
            rig.reader.detach(&[the_partition()], &StoreError::new("testing", "it broke"), &mut rig.requests);
            let missed = rig.publish(&["a"]);
            let session = rig.store.connect(vec![the_partition()]);
            recovered(&mut rig.reader, session).await;
            let handed = rig.handed();
            assert_eq!(events(&handed), if found { vec![missed] } else { vec![] }, "{without}");
            assert!(!handed.iter().any(|delivery| matches!(delivery, Delivery::Resync(_))), "{without}");
            assert!(rig.place().id >= missed, "{without}");
        }
    }

    #[tokio::test]
    async fn replay_a_cursor_is_as_good_as_none() {
        for (without, found) in [("", true), ("beacon,journal", true), ("replay", false)] {
            let mut rig = Rig::without(without).await;
            let began = rig.place();
            let missed = rig.publish(&["a"]);
            let start = rig.join(&["a"], after(began)).await;
            assert_eq!(ids_of(&start), (if found { vec![missed] } else { vec![] }, 0), "{without}");
        }
    }

    #[tokio::test]
    async fn beacons_nobody_waits_for_them() {
        for (without, noticed) in [("", true), ("journal,replay", true), ("beacon", false)] {
            let mut rig = Rig::without(without).await;
            let failed = || Answer::Beacon(the_partition(), 0, Err(StoreError::new("sending a beacon", "no answer")));
            assert_eq!(rig.reader.take_answer(failed(), &mut rig.requests).is_err(), noticed, "{without}");
            rig.reader.states[0].beacon -= Duration::from_secs(60);
            assert_eq!(!rig.reader.send_beacons(&mut rig.requests).is_empty(), noticed, "{without}");
        }
    }
}
