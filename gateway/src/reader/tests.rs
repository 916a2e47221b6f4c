//! The reader over the embedded store, a step at a time.

mod model;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use tidings_shared::cursor::Place;
use tidings_shared::keys::Namespace;
use tidings_shared::script::Span;
use tidings_shared::{Address, Cursor, Epoch, Event, Id, Partition, Retention};

use super::delivery::{AddressNames, ConnectionKey, Delivery, Joined, Resync, Start};
use super::requests::Answer;
use super::resume::plan::{self, Part, Plan, Read};
use super::*;
use crate::control::Reason;
use crate::spread::Spreads;
use crate::store::{BeaconReply, MemoryStore, Push, Session};
use crate::without::Without;

struct Rig {
    reader: Reader,
    session: Session,
    requests: Requests,
    store: MemoryStore,
    deliveries: mpsc::UnboundedReceiver<Parcel>,
    metrics: Metrics,
    serial: u64,
}

impl Rig {
    async fn new() -> Self {
        Self::keeping(1_000).await
    }

    /// A reader that is connected, with one worker; the store keeps `events` of each address.
    async fn keeping(events: u64) -> Self {
        Self::with(Partitions::ONE, events, 10_000, 100_000).await
    }

    async fn with(partitions: Partitions, events: u64, replay_bytes: u64, recent_bytes: usize) -> Self {
        let namespace = Namespace::default();
        let retention = Retention { events, ..Retention::default() };
        // A clock that stands still for two of three looks.
        let looks = AtomicU64::new(0);
        let clock = move || 1_763_683_200_000 + looks.fetch_add(1, Ordering::Relaxed) / 3;
        let store = MemoryStore::with_clock(namespace.clone(), partitions, retention, "gw".to_owned(), clock);
        let options = ReaderOptions {
            namespace,
            gateway: "gw".to_owned(),
            beacon: Duration::from_secs(5),
            replay_bytes,
            age: Duration::from_millis(retention.age_ms),
            // The pause has tests of its own.
            pause: Duration::ZERO,
            recent_bytes,
            addresses: 200_000,
            linger: Duration::from_secs(30),
            spreads: Spreads::default(),
            without: Without::default(),
        };
        let status = Status::new(partitions);
        let metrics = Metrics::new();
        let mut reader = Reader::new(Store::Memory(store.clone()), options, status, metrics.clone());
        let (sender, deliveries) = mpsc::unbounded_channel();
        reader.take_command(Command::Register(0, sender));
        let session = recovered(&mut reader, store.connect(partitions.all().collect())).await;
        let mut requests = Requests::new(partitions, reader.options.reads(), metrics.clone());
        requests.attach(&session);
        Self { reader, session, requests, store, deliveries, metrics, serial: 0 }
    }

    fn publish(&self, to: &[&str]) -> Id {
        let event = to[1..].iter().fold(Event::refresh(to[0]), |event, to| event.also_to(*to));
        self.store.publish(&event).unwrap().ids[to[0]]
    }

    /// Takes all pushes that wait.
    fn pump(&mut self) {
        let mut pushes = Vec::new();
        while self.session.receive(&mut pushes, 1_000).now_or_never().is_some() {}
        self.reader.take_pushes(pushes.into_iter(), &mut self.requests);
    }

    fn ask(&mut self, names: &[&str], from: From) -> ConnectionKey {
        self.serial += 1;
        let connection = ConnectionKey { slot: 0, serial: self.serial };
        let join = self.join_of(connection, names, from);
        self.reader.take_commands(std::iter::once(Command::Join(join)), &mut self.requests);
        connection
    }

    fn join_of(&self, connection: ConnectionKey, names: &[&str], from: From) -> Join {
        let addresses: Vec<Arc<Address>> = names.iter().map(|name| address(name)).collect();
        Join { worker: 0, connection, addresses: addresses.into(), from, tries: Tries::default(), share: None }
    }

    async fn answer(&mut self) -> Answer {
        self.requests.next().await.unwrap()
    }

    /// Takes all answers to what is under way, and no push that nobody waits for.
    async fn settle(&mut self) {
        let mut pushes = Vec::new();
        loop {
            self.reader.flush();
            tokio::select! {
                biased;
                answer = self.requests.next() => match answer {
                    Some(answer) => self.reader.take_answer(answer, &mut self.requests).unwrap(),
                    None => return,
                },
                _ = self.session.receive(&mut pushes, 1) => self.reader.take_pushes(pushes.drain(..), &mut self.requests),
            }
        }
    }

    /// What the worker is handed.
    fn handed(&mut self) -> Vec<Delivery> {
        self.reader.flush();
        std::iter::from_fn(|| self.deliveries.try_recv().ok().map(|parcel| parcel.delivery)).collect()
    }

    /// The answer to the join of `key`, among all that was handed out.
    fn joined(&mut self, key: ConnectionKey) -> Option<Vec<Start>> {
        let joined = self.handed().into_iter().find_map(|delivery| match delivery {
            Delivery::Joined(joined) if joined.connection == key => Some(joined.starts),
            _ => None,
        });
        joined.expect("an answer to the join")
    }

    async fn join(&mut self, names: &[&str], from: From) -> Start {
        let key = self.ask(names, from);
        self.settle().await;
        self.joined(key).unwrap().remove(0)
    }

    /// How many reads joins have cost.
    fn reads(&self) -> u64 {
        let reads = |kind| {
            let name = format!("tidings_store_reads_total{{kind=\"{kind}\"}} ");
            self.metrics.render().lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).unwrap()
        };
        reads("resume") + reads("attach")
    }

    fn place(&self) -> Place {
        self.reader.states[0].place.unwrap()
    }

    fn push(&mut self, name: &str, text: String) {
        let channel = self.reader.options.namespace.keys(the_partition()).stream(&address(name));
        let push = Push { channel: channel.into(), text: text.into() };
        self.reader.take_pushes(std::iter::once(push), &mut self.requests);
    }
}

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

/// The session, once the reader has recovered over it.
async fn recovered(reader: &mut Reader, session: Session) -> Session {
    let recovered = reader.recovery(&session.partitions).over(session, Duration::ZERO).await;
    reader.attach(&recovered.session, recovered.result.unwrap());
    recovered.session
}

fn address(name: &str) -> Arc<Address> {
    Arc::new(name.parse().unwrap())
}

fn the_partition() -> Partition {
    Partitions::ONE.get(0).unwrap()
}

fn after(place: Place) -> From {
    let mut cursor = Cursor::new(Partitions::ONE);
    cursor.set(the_partition(), place);
    From::Cursor(Some(cursor))
}

fn ids(start: &Start) -> Vec<Id> {
    start.replay.iter().map(|event| event.id).collect()
}

fn events(deliveries: &[Delivery]) -> Vec<Id> {
    let batches = deliveries.iter().filter_map(|delivery| match delivery {
        Delivery::Batch(batch) => Some(&batch.events),
        _ => None,
    });
    batches.flatten().map(|event| event.id).collect()
}

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
    let reads = rig.requests.reads_waiting();
    let key = rig.ask(&["a"], after(began));
    assert_eq!(rig.requests.reads_waiting(), reads, "from here on memory does");
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
async fn a_join_whose_read_failed_is_turned_away_and_the_session_is_tried() {
    let mut rig = Rig::new().await;
    let connection = ConnectionKey { slot: 0, serial: 1 };
    let join = rig.join_of(connection, &["a"], From::Now);
    let (addresses, at) = (vec![address("a")], rig.place());
    let read = Read { addresses, span: Span::After(at.id), at, resync: None };
    let generation = rig.reader.states[0].generation;
    let part = Part { partition: the_partition(), addresses: vec![address("a")], generation, plan: Plan::Read(read) };
    rig.reader.take_answer(Answer::Read { join, parts: vec![(part, None)] }, &mut rig.requests).unwrap();
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
    let join = rig.join_of(connection, &["a"], after(began));
    let parts = plan::plan(&join, &rig.reader.table, &rig.reader.states, 10_000).unwrap();
    assert!(matches!(parts[0].plan, Plan::Ready(..)));
    rig.reader.resync_partition(the_partition(), Place { epoch: other, ..began }, Reason::Epoch);
    let later = Place { id: rig.publish(&["b"]), ..began };
    rig.reader.resync_partition(the_partition(), later, Reason::Epoch);
    let parts = parts.into_iter().map(|part| (part, None)).collect();
    rig.reader.take_answer(Answer::Read { join, parts }, &mut rig.requests).unwrap();
    rig.settle().await;
    assert_eq!(rig.joined(connection).unwrap()[0].place, rig.place());
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
async fn a_read_from_before_another_history_is_not_shared_with_joins_after_it() {
    let mut rig = Rig::new().await;
    let began = rig.place();
    let cursor = || after(Place { id: Id { ms: began.id.ms - 1, seq: 0 }, ..began });
    rig.ask(&["a"], cursor());
    rig.reader.resync_partition(the_partition(), began, Reason::Epoch);
    rig.ask(&["a"], cursor());
    assert_eq!(rig.requests.reads_waiting(), 2);
    rig.ask(&["a"], cursor());
    assert_eq!(rig.requests.reads_waiting(), 2, "equal ones are one");
}

#[tokio::test]
async fn joins_that_come_together_are_one_read_and_each_gets_its_own() {
    let mut rig = Rig::with(Partitions::ONE, 1_000, 100_000, 100_000).await;
    let began = rig.place();
    let ids: Vec<Id> = (0..10).map(|_| rig.publish(&["a"])).collect();
    let own = rig.publish(&["@u7"]);
    let cursor = |at: usize| if at == 0 { began } else { Place { id: ids[at - 1], ..began } };
    let keys: Vec<ConnectionKey> = (0..10).map(|at| rig.ask(&["a", &format!("@u{at}")], after(cursor(at)))).collect();
    assert_eq!(rig.requests.reads_waiting(), 1);
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

/// The ids of what is replayed, and how many addresses are resynced.
fn ids_of(start: &Start) -> (Vec<Id>, usize) {
    (ids(start), start.resync.len())
}

#[tokio::test]
async fn one_that_was_away_for_too_long_costs_the_others_nothing() {
    let mut rig = Rig::keeping(5).await;
    let began = rig.place();
    let published: Vec<Id> = (0..10).map(|_| rig.publish(&["a"])).collect();
    let ancient = rig.ask(&["a"], after(began));
    let young = rig.ask(&["a"], after(Place { id: published[7], ..began }));
    assert_eq!(rig.requests.reads_waiting(), 1);
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
    let shares: Vec<_> = std::iter::from_fn(|| rig.reader.allowance.try_take()).collect();
    let known = rig.ask(&["a"], after(began));
    let unknown = rig.ask(&["b"], after(began));
    assert!(matches!(rig.answer().await, Answer::Subscribed(_, _, Ok(()))));
    rig.reader.table.get_mut(&address("b")).unwrap().pending = None;
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert!(rig.requests.next().now_or_never().is_none(), "both wait");
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
    let all = rig.reader.allowance.left();
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
    assert_eq!(rig.reader.allowance.left(), all - replayed);
    drop(parcels);
    assert_eq!(rig.reader.allowance.left(), all);
}

/// A place 14 s ahead of the store, which no journal had.
fn ahead(rig: &Rig) -> Place {
    Place { id: Id { ms: rig.place().id.ms + 14_000, seq: 0 }, ..rig.place() }
}

#[tokio::test]
async fn cursors_ahead_of_the_store_hold_no_share_and_are_settled_by_a_beacon() {
    let mut rig = Rig::new().await;
    rig.join(&["a"], From::Now).await;
    let (all, place) = (rig.reader.allowance.left(), ahead(&rig));
    let keys: Vec<_> = (0..100).map(|_| rig.ask(&["a"], after(place))).collect();
    assert_eq!(rig.reader.allowance.left(), all, "others can be served meanwhile");
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
    assert!(rig.requests.next().now_or_never().is_none(), "it waits");
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
    let shares: Vec<_> = std::iter::from_fn(|| rig.reader.allowance.try_take()).collect();
    keys.push(rig.ask(&["c"], after(began)));
    assert_eq!(rig.requests.joins(), 3);
    let cancel = keys.iter().map(|key| Command::Cancel(0, *key));
    rig.reader.take_commands(cancel, &mut rig.requests);
    assert_eq!(rig.requests.joins(), 0);
    tokio::time::timeout(Duration::from_secs(10), rig.settle()).await.expect("it waits for no share either");
    assert!(!rig.handed().iter().any(|delivery| matches!(delivery, Delivery::Joined(_))));
    drop(shares);
    // One that left in the very turn in which it came is no join at all.
    let key = ConnectionKey { slot: 0, serial: 1_000 };
    let join = rig.join_of(key, &["a"], after(began));
    rig.reader.take_commands([Command::Join(join), Command::Cancel(0, key)].into_iter(), &mut rig.requests);
    assert_eq!(rig.requests.joins(), 0);
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
        assert_eq!(rig.requests.reads_waiting() > 0, asks, "Redis refuses to be asked what comes after it");
        rig.settle().await;
        let start = rig.joined(key).unwrap().remove(0);
        assert_eq!(start.resync, [(address("a"), Reason::Cursor)]);
        assert!(start.place.id < place.id && start.from == start.place);
    }
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
async fn connections_of_a_session_that_broke_are_turned_away() {
    let mut rig = Rig::new().await;
    let key = rig.ask(&["a"], From::Now);
    rig.reader.detach(&[the_partition()], &StoreError::new("testing", "it broke"), &mut rig.requests);
    assert!(rig.joined(key).is_none());
    assert!(rig.requests.next().await.is_none(), "what comes of the rest concerns nobody");
    let key = rig.ask(&["a"], From::Now);
    assert!(rig.joined(key).is_none(), "until there is another one");
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
