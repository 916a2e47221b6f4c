//! Store, reader and hub together, under random operations: every input of each is taken when chance says so.
//!
//! Promise 1 is what is checked. An event is owed to a client if it was published after the client had read that it was
//! up to date, or lies after the cursor that it came with. Whatever is owed and lies before the cursor that the client
//! has now was delivered, or its address was resynced after it had been published, or, if it may be coalesced, a later
//! event of its address was delivered or lies behind the cursor; at the end, that holds for all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::task::{Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::hub::tests::rig::{Seen, parse};
use crate::hub::{Follow, Hub, HubOptions, StaleBound};
use crate::reader::delivery::ConnectionKey;
use crate::reader::tests::rig::next_answer;

const NAMES: [&str; 3] = ["a", "b", "@c"];

/// Small numbers choose among what there is.
#[derive(Debug, Clone)]
enum Op {
    /// An event to some of the names, coalescable or not, spread over milliseconds or not.
    Publish(u8, bool, Option<u64>),
    /// Milliseconds pass.
    Time(u64),
    /// The reader takes some of the pushes that wait.
    Pushes(u8),
    /// The reader takes what the hub has said.
    Commands,
    /// The reader takes one answer of the store.
    Answer,
    /// The hub takes some of what it was handed.
    Deliver(u8),
    /// A client joins: now, or after a cursor that any client was given. It may want few events.
    Join { follows: u8, cursor: Option<u8>, every: bool },
    /// A client reads some chunks.
    Read { which: u8, chunks: u8 },
    /// A client's connection breaks.
    Leave(u8),
    /// A beacon goes through each partition.
    Beacon,
    /// All connections get a heartbeat, if they read.
    Tick,
    /// Nobody came back for an hour.
    Expire,
    /// The sessions over some partitions break.
    Break { which: u8, behind: bool },
    /// The reader recovers over new ones.
    Mend,
    /// The store loses all that it has; its ids go back.
    Lose,
}

fn any_op() -> impl Strategy<Value = Op> {
    let cursor = proptest::option::weighted(0.7, any::<u8>());
    prop_oneof![
        10 => (any::<u8>(), any::<bool>(), proptest::option::weighted(0.3, 1..2_000_u64))
            .prop_map(|(choice, coalesce, spread)| Op::Publish(choice, coalesce, spread)),
        3 => prop_oneof![0..300_u64, 0..3_000_u64].prop_map(Op::Time),
        6 => (1..9_u8).prop_map(Op::Pushes),
        5 => Just(Op::Commands),
        8 => Just(Op::Answer),
        6 => (1..9_u8).prop_map(Op::Deliver),
        6 => (any::<u8>(), cursor, any::<bool>())
            .prop_map(|(follows, cursor, every)| Op::Join { follows, cursor, every }),
        6 => (any::<u8>(), 1..8_u8).prop_map(|(which, chunks)| Op::Read { which, chunks }),
        2 => any::<u8>().prop_map(Op::Leave),
        2 => Just(Op::Beacon),
        2 => Just(Op::Tick),
        1 => Just(Op::Expire),
        1 => (any::<u8>(), prop_oneof![3 => Just(false), 1 => Just(true)])
            .prop_map(|(which, behind)| Op::Break { which, behind }),
        3 => Just(Op::Mend),
        1 => prop_oneof![1 => Just(Op::Lose), 2 => Just(Op::Beacon)],
    ]
}

#[derive(Debug)]
struct Published {
    /// Where each of its names got it: the number of the history, and the id.
    places: BTreeMap<&'static str, (usize, Id)>,
    coalesce: bool,
    step: u64,
}

struct Client {
    key: ConnectionKey,
    follows: Vec<&'static str>,
    came_with: Option<Cursor>,
    ready: Option<u64>,
    cursor: Option<Cursor>,
    bytes: Vec<u8>,
    delivered: HashSet<(u64, String)>,
    newest: HashMap<String, u64>,
    resynced: HashMap<String, u64>,
}

struct World {
    rig: Rig,
    partitions: Partitions,
    /// The session over each partition, if there is one.
    sessions: Vec<Option<Session>>,
    hub: Hub,
    commands: mpsc::UnboundedReceiver<Command>,
    clients: Vec<Client>,
    cursors: Vec<Cursor>,
    log: Vec<Published>,
    /// The histories that there were, by partition.
    epochs: Vec<Vec<Epoch>>,
    step: u64,
    now: Instant,
}

impl World {
    fn new(partitions: u16) -> Self {
        // The moments of what is spread are the same each time, so that a failure can be made small.
        fastrand::seed(7);
        let partitions = Partitions::new(partitions).unwrap();
        let rig = now(Rig::with(partitions, 6, 400, 700));
        let (handle, commands) = ReaderHandle::new(Status::new(partitions));
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let options = HubOptions {
            gateway: "gw".into(),
            queue: 600,
            retry: second,
            heartbeat: second,
            max_age: Duration::ZERO,
            resync_spread: Duration::ZERO,
            stale: StaleBound::default(),
        };
        let hub = Hub::new(0, handle, partitions, options, start);
        let epochs = partitions.all().map(|p| vec![rig.reader.states[p.index()].place.unwrap().epoch]).collect();
        let mut world = Self {
            rig,
            partitions,
            sessions: vec![],
            hub,
            commands,
            clients: vec![],
            cursors: vec![],
            log: vec![],
            epochs,
            step: 0,
            now: start,
        };
        world.sessions.resize_with(usize::from(partitions.count()), || None);
        world.break_sessions(u8::MAX, false);
        world.mend();
        world
    }

    fn apply(&mut self, op: &Op) {
        self.step += 1;
        match op {
            Op::Publish(choice, coalesce, spread) => self.publish(*choice, *coalesce, *spread),
            Op::Time(ms) => self.pass(Duration::from_millis(*ms)),
            Op::Pushes(most) => drop(self.take_pushes(usize::from(*most))),
            Op::Commands => drop(self.take_commands()),
            Op::Answer => drop(self.take_answer()),
            Op::Deliver(most) => drop(self.deliver(usize::from(*most))),
            Op::Join { follows, cursor, every } => self.join(*follows, *cursor, *every),
            Op::Read { which, chunks } => {
                if let Some(at) = pick(self.clients.len(), *which) {
                    let _read = (0..*chunks).take_while(|_| self.read_chunk(at)).count();
                }
            }
            Op::Leave(which) => {
                if let Some(at) = pick(self.clients.len(), *which) {
                    let client = self.clients.remove(at);
                    self.hub.leave(client.key);
                }
            }
            Op::Beacon => self.partitions.all().for_each(|partition| {
                let seen = self.rig.reader.states[partition.index()].highest;
                self.rig.requests.beacon(partition, seen);
            }),
            Op::Tick => self.hub.tick(0, 1),
            Op::Expire => {
                self.rig.reader.each_second(Instant::now() + Duration::from_secs(3_600), &mut self.rig.requests);
            }
            Op::Break { which, behind } => self.break_sessions(*which, *behind),
            Op::Mend => self.mend(),
            Op::Lose => {
                self.rig.store.lose_everything();
                for partition in self.partitions.all() {
                    self.epochs[partition.index()].push(self.rig.store.epoch(partition));
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.hub.advance(self.now);
    }

    fn publish(&mut self, choice: u8, coalesce: bool, spread: Option<u64>) {
        let first = NAMES[usize::from(choice) % NAMES.len()];
        let chosen = NAMES.into_iter().enumerate().filter(|(at, name)| *name == first || choice >> at & 1 == 1);
        let event = chosen.skip_while(|(_, name)| *name != first).skip(1);
        let event = event.fold(Event::refresh(first), |event, (_, name)| event.also_to(name));
        let event = event.coalesce(coalesce);
        let event = spread.map(Duration::from_millis).into_iter().fold(event, Event::spread);
        let receipt = self.rig.store.publish(&event.version(self.step.to_string())).unwrap();
        let place = |(name, id): (String, Id)| {
            let name = *NAMES.iter().find(|known| **known == name).unwrap();
            (name, (self.epochs[self.home(name).index()].len() - 1, id))
        };
        let places = receipt.ids.into_iter().map(place).collect();
        self.log.push(Published { places, coalesce, step: self.step });
    }

    fn home(&self, name: &str) -> Partition {
        self.partitions.of(&name.parse().unwrap())
    }

    fn take_pushes(&mut self, most: usize) -> bool {
        let mut pushes = Vec::new();
        let of = self.step as usize % self.sessions.len();
        let session = self.sessions[of].as_mut();
        let some = session.is_some_and(|session| session.receive(&mut pushes, most).now_or_never().is_some());
        self.rig.reader.take_pushes(pushes.into_iter(), &mut self.rig.requests);
        self.rig.reader.flush();
        some
    }

    fn take_all_pushes(&mut self) -> bool {
        let taken = (0..self.sessions.len()).filter(|_| {
            self.step += 1;
            self.take_pushes(100)
        });
        taken.count() > 0
    }

    fn take_commands(&mut self) -> bool {
        let commands: Vec<Command> = std::iter::from_fn(|| self.commands.try_recv().ok()).collect();
        let some = !commands.is_empty();
        self.rig.reader.take_commands(commands.into_iter(), &mut self.rig.requests);
        self.rig.reader.flush();
        some
    }

    fn take_answer(&mut self) -> bool {
        let Some(answer) = next_answer(&mut self.rig.requests) else { return false };
        self.rig.reader.take_answer(answer, &mut self.rig.requests).unwrap();
        self.rig.reader.flush();
        true
    }

    fn deliver(&mut self, most: usize) -> bool {
        let some = (0..most).map_while(|_| self.rig.deliveries.try_recv().ok());
        some.map(|parcel| self.hub.take(parcel.delivery)).count() > 0
    }

    /// The sessions over some partitions break, with what they had still to bring, and new ones are opened.
    fn break_sessions(&mut self, which: u8, behind: bool) {
        let broken: Vec<Partition> = self.partitions.all().filter(|p| which >> p.index() & 1 == 1).collect();
        for partition in &broken {
            self.rig.reader.states[partition.index()].behind = behind;
            self.sessions[partition.index()] = None;
        }
        self.rig.reader.detach(&broken, &StoreError::new("testing", "it broke"), &mut self.rig.requests);
        self.rig.reader.flush();
    }

    /// Opens anew what broke.
    fn mend(&mut self) {
        for partition in self.partitions.all().filter(|p| self.sessions[p.index()].is_none()).collect::<Vec<_>>() {
            let session = now(recovered(&mut self.rig.reader, self.rig.store.connect(vec![partition])));
            self.rig.requests.attach(&session);
            self.sessions[partition.index()] = Some(session);
            self.rig.reader.flush();
        }
    }

    fn join(&mut self, follows: u8, cursor: Option<u8>, every: bool) {
        let chosen = NAMES.into_iter().enumerate().filter(|(at, _)| follows >> at & 1 == 1);
        let mut follows: Vec<&str> = chosen.map(|(_, name)| name).collect();
        if follows.is_empty() {
            follows.push("a");
        }
        let came_with = cursor.and_then(|which| Some(self.cursors[pick(self.cursors.len(), which)?].clone()));
        let addresses: Vec<Arc<Address>> = follows.iter().map(|name| address(name)).collect();
        let from = came_with.clone().map_or(From::Now, |cursor| From::Cursor(Some(cursor)));
        let every = every.then_some(Duration::from_secs(1));
        let key = self.hub.join(Follow { every, ..Follow::all(addresses) }, from);
        self.clients.push(Client {
            key,
            follows,
            came_with,
            ready: None,
            cursor: None,
            bytes: Vec::new(),
            delivered: HashSet::new(),
            newest: HashMap::new(),
            resynced: HashMap::new(),
        });
    }

    /// Reads one chunk. False if there is none.
    fn read_chunk(&mut self, at: usize) -> bool {
        self.step += 1;
        let Poll::Ready(Some(bytes)) = self.hub.poll(self.clients[at].key, Waker::noop()) else { return false };
        self.clients[at].bytes.extend(bytes);
        if self.clients[at].bytes.ends_with(b"\n\n") {
            let bytes = std::mem::take(&mut self.clients[at].bytes);
            parse(&bytes).iter().for_each(|seen| self.see(at, seen));
            self.check(at, true);
            self.cursors.extend(self.clients[at].cursor.clone());
        }
        true
    }

    fn see(&mut self, at: usize, seen: &Seen) {
        let (step, partitions) = (self.step, self.partitions);
        let client = &mut self.clients[at];
        if let Some(id) = &seen.id {
            client.cursor = Some(Cursor::decode(id, partitions).unwrap());
        }
        if let Some(name) = &seen.name {
            if name == "tidings.ready" {
                client.ready = client.ready.or(Some(step));
            }
        } else if let Some((topic, _)) = seen.resync() {
            client.resynced.insert(topic, step);
        } else {
            let topics = seen.topics();
            let event: u64 = seen.json()["version"].as_str().unwrap().parse().unwrap();
            assert!(topics.iter().all(|topic| client.follows.contains(&topic.as_str())), "{topics:?} is not followed");
            for topic in &topics {
                let before = client.newest.insert(topic.clone(), event).unwrap_or(0);
                assert!(event > before, "{event} came after {before}");
            }
            client.delivered.extend(topics.into_iter().map(|topic| (event, topic)));
        }
    }

    fn check(&self, at: usize, up_to_cursor: bool) {
        let client = &self.clients[at];
        for (at, event) in self.log.iter().enumerate() {
            for (name, place) in event.places.iter().filter(|(name, _)| client.follows.contains(name)) {
                let after = |cursor: &Cursor| self.place(cursor, name).is_some_and(|known| known < *place);
                let owed = client.ready.is_some_and(|ready| event.step > ready)
                    || client.came_with.as_ref().is_some_and(after);
                // A resume from another history is answered by resyncs: nothing is passed by it.
                let present = client.cursor.as_ref().filter(|cursor| self.is_present(cursor, name));
                let passed = present.is_some_and(|cursor| !after(cursor));
                if owed && (passed || !up_to_cursor) {
                    let resynced = client.resynced.get(*name).is_some_and(|at| *at >= event.step);
                    let delivered = client.delivered.contains(&(event.step, (*name).to_owned()));
                    let covers = |later: &Published| {
                        let behind = || {
                            let place = later.places.get(name);
                            let beyond = |c: &Cursor| Some(self.place(c, name) < place.copied());
                            up_to_cursor && client.cursor.as_ref().and_then(beyond).unwrap_or(false)
                        };
                        later.places.contains_key(name)
                            && (client.delivered.contains(&(later.step, (*name).to_owned())) || behind())
                    };
                    let covered = event.coalesce && self.log[at + 1..].iter().any(covers);
                    assert!(delivered || resynced || covered, "{name} lost {event:?}");
                }
            }
        }
    }

    fn is_present(&self, cursor: &Cursor, name: &str) -> bool {
        let partition = self.home(name);
        let known = self.rig.reader.states[partition.index()].place;
        cursor.place(partition).is_some_and(|place| known.is_some_and(|known| known.epoch == place.epoch))
    }

    /// A cursor's place where `name` lives: the number of the history, and the id.
    fn place(&self, cursor: &Cursor, name: &str) -> Option<(usize, Id)> {
        let partition = self.home(name);
        let place = cursor.place(partition)?;
        let history = self.epochs[partition.index()].iter().position(|epoch| *epoch == place.epoch)?;
        Some((history, place.id))
    }

    /// Lets everything come to rest, and checks that nothing is missing.
    fn finish(mut self) {
        self.apply(&Op::Mend);
        self.apply(&Op::Beacon);
        let mut steps = 0..3_000;
        while self.take_answer() || self.take_all_pushes() || self.take_commands() || self.deliver(100) {
            assert!(steps.next().is_some(), "it never comes to rest");
        }
        self.pass(Duration::from_secs(10));
        for at in 0..self.clients.len() {
            while self.read_chunk(at) {}
            if self.hub.poll(self.clients[at].key, Waker::noop()) == Poll::Pending {
                assert!(self.clients[at].ready.is_some(), "it was never told that it is up to date");
                self.check(at, false);
            }
        }
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the embedded store never waits")
}

fn pick(of: usize, which: u8) -> Option<usize> {
    (of > 0).then(|| usize::from(which) % of)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_in_silence(partitions in 1..4_u16, ops in proptest::collection::vec(any_op(), 1..300)) {
        let mut world = World::new(partitions);
        ops.iter().for_each(|op| world.apply(op));
        world.finish();
    }
}
