//! The hub under random operations, against what a client must never see.
//!
//! The world is a log of events for each partition. Each client reads its stream as an EventSource does. Whatever
//! happens: events of an address come once and in order; and every event that it follows and that lies before its cursor
//! was delivered, or its address was resynced after the event had been published, or a later event of the address covers
//! it, which was delivered or lies behind the cursor. At the end that holds for all events, and those that cover were
//! delivered. All of that holds for who listens to one SSE event name alone: it is delivered, resynced and covered under
//! that name. A client may have a name of its own, under which it hears everything. It may skip a sender, whose events it
//! never hears, and which take no other event's place.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use smallvec::SmallVec;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Cursor, Id, Message, Partition, Partitions};

use super::rig::{self, Rig, address, epoch, id, partition_of};
use crate::control::Reason;
use crate::frame::{Encoder, NameLine};
use crate::hub::FollowOptions;
use crate::reader::delivery::{ConnectionKey, Delivery, Dispatch, Joined, Resync, Start};

const NAMES: [&str; 5] = ["a", "b", "c", "@d", "@d/e"];
const QUEUE: usize = 400;
/// The event names that publishers use, and that the reader knows of every address.
const EVENT_NAMES: [&str; 2] = ["x", "y"];
/// Who sends events, if it is said. Clients skip the first, if any.
const SENDERS: [&str; 2] = ["s", "t"];
/// The name of clients that have one of their own.
const OWN: &str = "mine";
/// The first id: the year 2100. By the gateway's clock nothing is older than that, so delays count in full in a replay.
const FIRST: u64 = 4_102_444_800_000;

/// Small numbers choose among what there is.
#[derive(Debug, Clone)]
enum Op {
    /// An event to some of the names that share a partition, coalescable or not, spread or not, with a delay or not.
    Publish {
        choice: u8,
        coalesce: bool,
        spread: Option<u64>,
        delay: u64,
        name: Option<&'static str>,
        sender: Option<&'static str>,
    },
    /// A client joins: now, or after the cursor of one that was there before. It may want few events, may be a poll, may
    /// have a name of its own, and may skip a sender.
    Join { follows: u8, cursor: Option<u8>, every: bool, lasts: bool, own_name: bool, skips: bool },
    /// Milliseconds pass.
    Time(u64),
    /// A join is answered from so far back as the answer may be old.
    Answer { which: u8, back: u8 },
    /// A client reads some chunks.
    Read { which: u8, chunks: u8 },
    /// The client's connection breaks.
    Leave(u8),
    /// A partition's history becomes another one; ids may go back.
    Epoch { partition: u8, ids_back: bool },
    /// A recovery could not find what a name had got.
    Lost(u8),
    /// The worker falls behind by so many events.
    Lag(Vec<u8>),
    /// The watermarks arrive.
    Lift,
    /// All connections get a heartbeat, if they read.
    Tick,
    /// The gateway ends.
    Drain,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (any::<u8>(), any::<bool>(), proptest::option::weighted(0.3, 1..2_000_u64), any_delay(), any_name(), any_sender())
            .prop_map(|(choice, coalesce, spread, delay, name, sender)| {
                Op::Publish { choice, coalesce, spread, delay, name, sender }
            }),
        4 => (any::<u8>(), proptest::option::of(any::<u8>()), any::<[bool; 4]>())
            .prop_map(|(follows, cursor, [every, lasts, own_name, skips])| {
                Op::Join { follows, cursor, every, lasts, own_name, skips }
            }),
        4 => prop_oneof![0..300_u64, 0..3_000_u64].prop_map(Op::Time),
        4 => (any::<u8>(), 0..4_u8).prop_map(|(which, back)| Op::Answer { which, back }),
        8 => (any::<u8>(), 1..6_u8).prop_map(|(which, chunks)| Op::Read { which, chunks }),
        1 => any::<u8>().prop_map(Op::Leave),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(partition, ids_back)| Op::Epoch { partition, ids_back }),
        1 => any::<u8>().prop_map(Op::Lost),
        1 => proptest::collection::vec(any::<u8>(), 0..3).prop_map(Op::Lag),
        2 => Just(Op::Lift),
        2 => Just(Op::Tick),
        1 => prop_oneof![20 => Just(Op::Lift), 1 => Just(Op::Drain)],
    ]
}

fn any_delay() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 1 => 1..2_000_u64]
}

fn any_name() -> impl Strategy<Value = Option<&'static str>> {
    proptest::option::weighted(0.3, proptest::sample::select(&EVENT_NAMES))
}

fn any_sender() -> impl Strategy<Value = Option<&'static str>> {
    proptest::option::of(proptest::sample::select(&SENDERS))
}

#[derive(Debug, Clone)]
struct Published {
    epoch: u32,
    ms: u64,
    names: Vec<&'static str>,
    coalesce: bool,
    spread: Option<u64>,
    delay: u64,
    name: Option<&'static str>,
    sender: Option<&'static str>,
    step: u64,
}

/// One partition.
#[derive(Debug)]
struct Log {
    epoch: u32,
    last: u64,
    /// Where the present epoch begins in `events`, and its first place.
    began: (usize, u64),
    events: Vec<Published>,
}

impl Log {
    fn place(&self, at: usize) -> Place {
        let ms = if at > self.began.0 { self.events[at - 1].ms } else { self.began.1 };
        Place { epoch: epoch(self.epoch), id: id(ms) }
    }

    fn now(&self) -> Place {
        Place { epoch: epoch(self.epoch), id: id(self.last) }
    }
}

struct Client {
    key: ConnectionKey,
    own_name: Option<&'static str>,
    skips: Option<&'static str>,
    follows: Vec<&'static str>,
    asked: Option<Cursor>,
    /// How far each partition was when it joined.
    joined: Vec<usize>,
    /// From where on each partition owes it events; `None` while it waits for its place.
    owed: Option<Vec<usize>>,
    /// The most that its queue may hold.
    bound: usize,
    bytes: Vec<u8>,
    delivered: HashSet<u64>,
    newest: HashMap<String, u64>,
    /// By address and SSE event name.
    resynced: HashMap<(String, String), u64>,
    cursor: Option<Cursor>,
    ready: u32,
}

struct World {
    rig: Rig,
    logs: Vec<Log>,
    clients: Vec<Client>,
    cursors: Vec<Cursor>,
    step: u64,
    now: Instant,
}

impl World {
    fn new(partitions: u16, resync_spread: Duration) -> Self {
        // The moments of what is spread are the same each time, so that a failure can be made small.
        fastrand::seed(7);
        let mut rig = Rig::new(partitions, QUEUE);
        rig.hub.options.resync_spread = resync_spread;
        let logs = rig.partitions.all().map(|_| Log { epoch: 1, last: FIRST, began: (0, FIRST), events: Vec::new() });
        let logs = logs.collect();
        Self { rig, logs, clients: Vec::new(), cursors: Vec::new(), step: 0, now: Instant::now() }
    }

    fn partition(&self, number: usize) -> Partition {
        self.rig.partitions.get(number as u16).unwrap()
    }

    fn places(&self) -> Vec<Option<Place>> {
        self.logs.iter().map(|log| Some(log.now())).collect()
    }

    fn apply(&mut self, op: &Op) {
        self.step += 1;
        match op {
            Op::Publish { choice, coalesce, spread, delay, name, sender } => {
                let event = self.publish(*choice, (*coalesce, *spread, *delay), *name, *sender);
                self.rig.dispatch(&event);
            }
            Op::Join { follows, cursor, every, lasts, own_name, skips } => {
                let options = FollowOptions {
                    name: own_name.then(|| NameLine::new(OWN)),
                    not: skips.then(|| SENDERS[0].to_owned()).into_iter().collect::<BTreeSet<_>>().into(),
                    ..FollowOptions::default()
                };
                self.join(*follows, *cursor, (*every, *lasts), options);
            }
            Op::Time(ms) => self.pass(Duration::from_millis(*ms)),
            Op::Answer { which, back } => self.answer(*which, usize::from(*back)),
            Op::Read { which, chunks } => {
                if let Some(at) = pick(&self.clients, *which, |_| true) {
                    let _read = (0..*chunks).take_while(|_| self.read_chunk(at)).count();
                }
            }
            Op::Leave(which) => {
                if let Some(at) = pick(&self.clients, *which, |_| true) {
                    let client = self.clients.remove(at);
                    self.rig.hub.leave(client.key);
                    self.cursors.extend(client.cursor);
                }
            }
            Op::Epoch { partition, ids_back } => {
                let number = usize::from(*partition) % self.logs.len();
                let log = &mut self.logs[number];
                log.epoch += 1;
                log.last = if *ids_back { log.last / 2 } else { log.last + 3 };
                log.began = (log.events.len(), log.last);
                let place = log.now();
                self.resync(number, place, None, Reason::Epoch);
            }
            Op::Lost(choice) => {
                // A session broke: the joins under way are turned away.
                for client in self.clients.iter().filter(|client| client.owed.is_none()) {
                    self.rig.hub.take(Delivery::Joined(Joined { connection: client.key, starts: None }));
                }
                let event = self.publish(*choice, (true, None, 0), None, None);
                let addresses = event.frames.iter().map(|(address, _)| Arc::clone(address)).collect();
                let number = event.partition.index();
                self.resync(number, self.logs[number].now(), Some(addresses), Reason::HistoryLost);
            }
            Op::Lag(missed) => {
                missed.iter().for_each(|choice| drop(self.publish(*choice, (true, None, 0), None, None)));
                self.rig.hub.take(Delivery::Lagged(self.places()));
            }
            Op::Lift => self.rig.hub.lift(&self.places()),
            Op::Tick => self.rig.hub.tick(0, 1),
            Op::Drain => self.rig.hub.drain(),
        }
        self.check_bounds();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.rig.hub.advance(self.now);
    }

    fn publish(
        &mut self,
        choice: u8,
        (coalesce, spread, delay): (bool, Option<u64>, u64),
        name: Option<&'static str>,
        sender: Option<&'static str>,
    ) -> Dispatch {
        let first = NAMES[usize::from(choice) % NAMES.len()];
        let partition = partition_of(first, self.rig.partitions);
        let wanted = |at: usize, name: &&str| {
            *name == first || (choice >> at & 1 == 1 && partition_of(name, self.rig.partitions) == partition)
        };
        let names: Vec<&str> =
            NAMES.into_iter().enumerate().filter(|(at, name)| wanted(*at, name)).map(|(_, name)| name).collect();
        let log = &mut self.logs[partition.index()];
        log.last += 1 + u64::from(choice % 3);
        self.step += 1;
        let event =
            Published { epoch: log.epoch, ms: log.last, names, coalesce, spread, delay, name, sender, step: self.step };
        log.events.push(event.clone());
        self.dispatch(partition, &event)
    }

    fn dispatch(&self, partition: Partition, event: &Published) -> Dispatch {
        // A delay of zero is no delay.
        let flags = format!("{}d{}", if event.coalesce { "c" } else { "" }, event.delay);
        let spread = event.spread.map_or("-".to_owned(), |ms| ms.to_string());
        let name = event.name.unwrap_or("-");
        let sender = event.sender.map_or(String::new(), |sender| format!("\"sender\":\"{sender}\","));
        let text = format!("{flags} - {spread} - {name} {{{sender}\"version\":{}}}", event.step);
        let message = Message::decode(&text).unwrap();
        let place = Place { epoch: epoch(event.epoch), id: id(event.ms) };
        let frame = |name: &&str| {
            let address = address(name);
            let frame = Encoder::of(self.rig.partitions).encode(place, &message, &address).unwrap();
            (address, frame)
        };
        Dispatch { partition, id: place.id, frames: event.names.iter().map(frame).collect::<SmallVec<_>>() }
    }

    fn resync(&mut self, number: usize, place: Place, addresses: Option<Vec<Arc<Address>>>, reason: Reason) {
        let partition = self.partition(number);
        self.rig.hub.take(Delivery::Resync(Resync { partition, place, addresses, reason }));
    }

    fn join(&mut self, follows: u8, cursor: Option<u8>, (every, lasts): (bool, bool), options: FollowOptions) {
        let mut follows: Vec<&str> =
            NAMES.into_iter().enumerate().filter(|(at, _)| follows >> at & 1 == 1).map(|(_, name)| name).collect();
        if follows.is_empty() {
            follows.push("a");
        }
        let asked = cursor.and_then(|which| pick(&self.cursors, which, |_| true)).map(|at| self.cursors[at].clone());
        let own_name = options.name.is_some().then_some(OWN);
        let skips = (!options.not.is_empty()).then_some(SENDERS[0]);
        let key = self.rig.follow(&follows, options, every.then_some(Duration::from_secs(1)));
        for name in &follows {
            self.rig.tell_names(name, &EVENT_NAMES);
        }
        if lasts {
            self.rig.hub.last(key);
        }
        let joined = self.logs.iter().map(|log| log.events.len()).collect();
        self.clients.push(Client {
            key,
            own_name,
            skips,
            follows,
            asked,
            joined,
            owed: None,
            // And a heartbeat, which only an empty queue takes.
            bound: QUEUE + 100,
            bytes: Vec::new(),
            delivered: HashSet::new(),
            newest: HashMap::new(),
            resynced: HashMap::new(),
            cursor: None,
            ready: 0,
        });
    }

    fn answer(&mut self, which: u8, back: usize) {
        let Some(at) = pick(&self.clients, which, |client| client.owed.is_none()) else { return };
        let client = &self.clients[at];
        let mut owed: Vec<usize> = self.logs.iter().map(|log| log.events.len()).collect();
        let mut starts = Vec::new();
        for (number, log) in self.logs.iter().enumerate() {
            let partition = self.partition(number);
            let here = |name: &&&str| partition_of(name, self.rig.partitions) == partition;
            let names: Vec<&str> = client.follows.iter().filter(here).copied().collect();
            if names.is_empty() {
                continue;
            }
            // Not from before the join, nor of another history.
            let upto = log.events.len().saturating_sub(back).max(client.joined[number]).max(log.began.0);
            let place = log.place(upto);
            let cursor = client.asked.as_ref().map(|cursor| cursor.place(partition));
            let mut start =
                Start { partition, place, from: place, replay: Vec::new(), tail: false, resync: Vec::new() };
            owed[number] = upto;
            match cursor {
                None => {}
                // From before all history: too old to tell what was missed.
                Some(Some(Place { id: Id::ZERO, .. })) => {
                    owed[number] = log.began.0;
                    start.resync = names.iter().map(|name| (address(name), Reason::HistoryLost)).collect();
                }
                Some(Some(cursor)) if cursor.epoch == epoch(log.epoch) => {
                    let missed = log.events[log.began.0..upto].iter().filter(|event| id(event.ms) > cursor.id);
                    owed[number] =
                        log.began.0 + log.events[log.began.0..].iter().filter(|e| id(e.ms) <= cursor.id).count();
                    let followed = missed.filter_map(|event| {
                        let kept: Vec<&'static str> =
                            event.names.iter().filter(|name| names.contains(name)).copied().collect();
                        (!kept.is_empty()).then(|| Published { names: kept, ..event.clone() })
                    });
                    start.replay = followed.map(|event| self.dispatch(partition, &event)).collect();
                    if !start.replay.is_empty() {
                        start.from = cursor;
                    }
                    start.place = Place { id: place.id.max(cursor.id), ..place };
                }
                Some(_) => {
                    // All that was published before it came, and may be there already, is owed as a resync.
                    owed[number] = log.began.0;
                    start.resync = names.iter().map(|name| (address(name), Reason::Epoch)).collect();
                }
            }
            starts.push(start);
        }
        let waiting = self.rig.hub.connections[client.key.slot as usize].is_ending();
        self.rig.joined(client.key, starts);
        let key = client.key;
        let client = &mut self.clients[at];
        client.owed = Some(owed);
        client.bound += if waiting { 0 } else { self.rig.hub.connections[key.slot as usize].queued_bytes() } + 1_000;
    }

    /// Reads one chunk. False if there is none.
    fn read_chunk(&mut self, at: usize) -> bool {
        self.step += 1;
        let client = &mut self.clients[at];
        let Poll::Ready(Some(bytes)) = self.rig.hub.poll(client.key, Waker::noop()) else { return false };
        client.bytes.extend(bytes);
        if client.bytes.ends_with(b"\n\n") {
            for seen in rig::parse(&std::mem::take(&mut client.bytes)) {
                client.see(&seen, &self.logs, self.rig.partitions, self.step);
            }
            client.check(&self.logs, self.rig.partitions, true);
        }
        true
    }

    fn check_bounds(&self) {
        for client in &self.clients {
            let held = self.rig.hub.connections[client.key.slot as usize].queued_bytes();
            assert!(held <= client.bound, "{held} bytes wait, more than {}", client.bound);
        }
    }

    /// Answers every join, reads all that waits, and checks that nothing is missing.
    fn finish(mut self) {
        (0..self.clients.len()).for_each(|_| self.answer(0, 0));
        self.pass(Duration::from_secs(10));
        for at in 0..self.clients.len() {
            while self.read_chunk(at) {}
            let client = &self.clients[at];
            if !self.rig.hub.connections[client.key.slot as usize].is_ending() {
                client.check(&self.logs, self.rig.partitions, false);
                assert!(client.ready > 0, "it was never told that it is up to date");
            }
        }
        self.clients.iter().for_each(|client| self.rig.hub.leave(client.key));
        assert!(self.rig.hub.table.is_empty() && self.rig.hub.connections.is_empty());
        assert!(!self.rig.hub.has_timers(), "a timer outlived its connection");
    }
}

impl Client {
    fn see(&mut self, seen: &rig::Seen, logs: &[Log], partitions: Partitions, step: u64) {
        if let Some(id) = &seen.id {
            self.cursor = Some(Cursor::decode(id, partitions).unwrap());
        }
        let heard_as = seen.name.as_deref().unwrap_or_default();
        if heard_as.starts_with("tidings.") {
            self.ready += u32::from(heard_as == "tidings.ready");
        } else if let Some((topic, _)) = seen.resync() {
            assert!(self.follows.contains(&topic.as_str()), "{topic} is not followed");
            assert_eq!(seen.id, None);
            assert!(self.own_name.is_none_or(|own| own == heard_as), "a resync under {heard_as:?}");
            self.resynced.insert((topic, heard_as.to_owned()), step);
        } else {
            let topics = seen.topics();
            let partition = partition_of(&topics[0], partitions).index();
            let event = logs[partition].events.iter().find(|event| event.step == seen.ms()).unwrap();
            let expected: Vec<&str> = event.names.iter().filter(|n| self.follows.contains(n)).copied().collect();
            assert_eq!(topics, expected);
            assert_eq!(heard_as, self.listener(event));
            assert!(!self.is_skipped(event), "it skips {event:?}");
            for topic in topics {
                let before = self.newest.insert(topic, event.step).unwrap_or(0);
                assert!(event.step > before, "out of order, or twice: {event:?}");
            }
            self.delivered.insert(event.step);
        }
    }

    /// The SSE event name under which it hears an event; empty for `onmessage`.
    fn listener(&self, event: &Published) -> &'static str {
        self.own_name.or(event.name).unwrap_or_default()
    }

    /// Whether it asked not to hear the sender of an event.
    fn is_skipped(&self, event: &Published) -> bool {
        self.skips.is_some() && event.sender == self.skips
    }

    /// Whether everything was delivered, covered or resynced: up to the cursor, or all of it.
    fn check(&self, logs: &[Log], partitions: Partitions, up_to_cursor: bool) {
        let Some(owed) = &self.owed else { return };
        for (number, log) in logs.iter().enumerate() {
            let cursor = self.cursor.as_ref().and_then(|cursor| cursor.place(partitions.get(number as u16)?));
            let before = |event: &&Published| {
                // A resume from another history is answered by resyncs: nothing is passed by it.
                let present = cursor.filter(|cursor| cursor.epoch.bits() == log.epoch);
                let passed = present.is_some_and(|c| (c.epoch.bits(), c.id) >= (event.epoch, id(event.ms)));
                !up_to_cursor || passed
            };
            let owed = log.events.iter().enumerate().skip(owed[number]);
            for (at, event) in owed.filter(|(_, event)| before(event) && !self.is_skipped(event)) {
                for name in event.names.iter().filter(|name| self.follows.contains(name)) {
                    let listener = self.listener(event);
                    let resynced = self.resynced.get(&((*name).to_owned(), listener.to_owned()));
                    let resynced = resynced.is_some_and(|at| *at >= event.step);
                    let covers = |later: &Published| {
                        let known = self.delivered.contains(&later.step) || !before(&later);
                        let reaches = later.names.contains(name) && self.listener(later) == listener;
                        reaches && !self.is_skipped(later) && known
                    };
                    let covered = event.coalesce && log.events[at + 1..].iter().any(covers);
                    assert!(
                        self.delivered.contains(&event.step) || resynced || covered,
                        "{name} lost {event:?}, cursor {cursor:?}"
                    );
                }
            }
        }
    }
}

/// The place of one of those that fit, chosen by a small number.
fn pick<T>(of: &[T], which: u8, fits: impl Fn(&T) -> bool) -> Option<usize> {
    let fitting: Vec<usize> = (0..of.len()).filter(|at| fits(&of[*at])).collect();
    (!fitting.is_empty()).then(|| fitting[usize::from(which) % fitting.len()])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_in_silence(
        partitions in 1..4_u16,
        resync_spread in prop_oneof![Just(0), Just(2_000_u64)],
        ops in proptest::collection::vec(any_op(), 1..120),
    ) {
        let mut world = World::new(partitions, Duration::from_millis(resync_spread));
        ops.iter().for_each(|op| world.apply(op));
        world.finish();
    }
}
