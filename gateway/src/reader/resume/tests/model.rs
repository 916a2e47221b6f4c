//! Joins under random events. Each ends exactly once, and leaves nothing behind: no join, no share
//! of the allowance.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tidings_shared::{Cursor, Partition};
use tokio::sync::OwnedSemaphorePermit;

use super::*;
use crate::reader::partition::PartitionState;
use crate::reader::tests::rig::{next_answer, recovered};
use crate::store::Session;

/// The most joins under way.
const MAX_JOINS: usize = 16;
const NAMES: [&str; 4] = ["a", "b", "@c", "d"];

/// Small numbers choose among what there is.
#[derive(Debug, Clone)]
enum Op {
    /// A connection joins.
    Join { follows: u8, begin: Begin },
    /// A connection leaves.
    Cancel(u8),
    /// The worker follows an address no more, whoever still joins it.
    Leave(u8),
    /// An event to one name.
    Publish(u8),
    /// The reader takes some of the pushes that wait.
    Pushes(u8),
    /// The reader takes one answer.
    Answer,
    /// The same, but a read came to nothing, and a beacon was refused for now.
    Failure,
    /// A beacon goes through each partition.
    Beacon,
    /// Other joins take what is left of the allowance.
    TakeShares,
    /// They end.
    ReturnShares,
    /// What was read or planned before is void.
    Doubt(u8),
    /// The watermark is above the journal.
    Ahead(u8),
    /// Nobody came back for an hour.
    Expire,
    /// The sessions over some partitions break.
    Break(u8),
    /// The reader recovers over new ones.
    Mend,
    /// The store loses all that it has.
    Lose,
}

/// Where a connection wants to begin.
#[derive(Debug, Clone, Copy)]
enum Begin {
    Now,
    Latest,
    Unreadable,
    /// So many milliseconds from where the partitions were at the start.
    Cursor(i64),
    OtherEpoch,
}

fn any_begin() -> impl Strategy<Value = Begin> {
    prop_oneof![
        2 => Just(Begin::Now),
        1 => Just(Begin::Latest),
        1 => Just(Begin::Unreadable),
        6 => prop_oneof![Just(0), -200..200_i64, Just(14_000), Just(3_600_000), Just(-100_000_000)]
            .prop_map(Begin::Cursor),
        1 => Just(Begin::OtherEpoch),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (any::<u8>(), any_begin()).prop_map(|(follows, begin)| Op::Join { follows, begin }),
        3 => any::<u8>().prop_map(Op::Cancel),
        1 => any::<u8>().prop_map(Op::Leave),
        5 => any::<u8>().prop_map(Op::Publish),
        4 => (1..9_u8).prop_map(Op::Pushes),
        10 => Just(Op::Answer),
        2 => Just(Op::Failure),
        2 => Just(Op::Beacon),
        2 => Just(Op::TakeShares),
        2 => Just(Op::ReturnShares),
        1 => any::<u8>().prop_map(Op::Doubt),
        1 => any::<u8>().prop_map(Op::Ahead),
        1 => Just(Op::Expire),
        1 => any::<u8>().prop_map(Op::Break),
        2 => Just(Op::Mend),
        1 => prop_oneof![1 => Just(Op::Lose), 2 => Just(Op::Answer)],
    ]
}

/// How a join ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum End {
    Joined,
    Resynced,
    /// The store is away.
    Refused,
    /// There are too many.
    NoRoom,
    Cancelled,
}

struct World {
    rig: Rig,
    partitions: Partitions,
    /// The session over each partition, if there is one.
    sessions: Vec<Option<Session>>,
    /// Where each partition was at the start.
    began: Vec<Place>,
    /// What is left of an allowance that nobody uses.
    all: usize,
    shares: Vec<OwnedSemaphorePermit>,
    joins: Vec<ConnectionKey>,
    ends: HashMap<ConnectionKey, End>,
}

impl World {
    fn new(partitions: u16) -> Self {
        let partitions = Partitions::new(partitions).unwrap();
        let mut rig = now(Rig::with(partitions, 6, 400, 700));
        rig.limit_joins(MAX_JOINS);
        let began = rig.reader.states.iter().map(|state| state.place.unwrap()).collect();
        let all = rig.reader.joins.allowance().left();
        let mut world =
            Self { rig, partitions, sessions: vec![], began, all, shares: vec![], joins: vec![], ends: HashMap::new() };
        world.sessions.resize_with(usize::from(partitions.count()), || None);
        world.break_sessions(u8::MAX);
        world.mend();
        world
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Join { follows, begin } => self.join(*follows, *begin),
            Op::Cancel(which) => self.cancel(*which),
            Op::Leave(which) => self.take_command(Command::Leave(0, address(name(*which)))),
            Op::Publish(which) => drop(self.rig.publish(&[name(*which)])),
            Op::Pushes(most) => drop(self.take_pushes(usize::from(*most))),
            Op::Answer => drop(self.take_answer(|answer| answer)),
            Op::Failure => drop(self.take_answer(fail)),
            Op::Beacon => self.beacon(),
            Op::TakeShares => {
                let allowance = self.rig.reader.joins.allowance();
                self.shares.extend(std::iter::from_fn(|| allowance.try_take()));
            }
            Op::ReturnShares => self.shares.clear(),
            Op::Doubt(which) => self.state(*which).doubt(),
            Op::Ahead(which) => {
                let state = self.state(*which);
                state.lift(Id { ms: state.highest.ms + 20, seq: 0 });
            }
            Op::Expire => {
                self.rig.reader.each_second(Instant::now() + Duration::from_secs(3_600), &mut self.rig.requests);
            }
            Op::Break(which) => self.break_sessions(*which),
            Op::Mend => self.mend(),
            Op::Lose => self.rig.store.lose_everything(),
        }
        self.note_ends();
        assert!(self.rig.reader.joins.len() <= MAX_JOINS, "too many joins");
    }

    fn state(&mut self, which: u8) -> &mut PartitionState {
        let states = &mut self.rig.reader.states;
        let at = usize::from(which) % states.len();
        &mut states[at]
    }

    fn take_command(&mut self, command: Command) {
        self.rig.reader.take_commands(std::iter::once(command), &mut self.rig.requests);
    }

    fn join(&mut self, follows: u8, begin: Begin) {
        let chosen = NAMES.into_iter().enumerate().filter(|(at, _)| follows >> at & 1 == 1);
        let mut follows: Vec<&str> = chosen.map(|(_, name)| name).collect();
        if follows.is_empty() {
            follows.push("a");
        }
        let from = match begin {
            Begin::Now => From::Now,
            Begin::Latest => From::Latest,
            Begin::Unreadable => From::Cursor(None),
            Begin::Cursor(ms) => self.cursor(|place| {
                let ms = place.id.ms.saturating_add_signed(ms);
                Place { id: Id { ms, ..place.id }, ..place }
            }),
            Begin::OtherEpoch => {
                self.cursor(|place| Place { epoch: Epoch::from_random(place.epoch.bits() ^ 1), ..place })
            }
        };
        let key = self.rig.ask(&follows, from);
        self.joins.push(key);
    }

    fn cursor(&self, place: impl Fn(Place) -> Place) -> From {
        let mut cursor = Cursor::new(self.partitions);
        for (partition, began) in self.partitions.all().zip(&self.began) {
            cursor.set(partition, place(*began));
        }
        From::Cursor(Some(cursor))
    }

    fn cancel(&mut self, which: u8) {
        let open: Vec<ConnectionKey> = self.joins.iter().copied().filter(|key| !self.ends.contains_key(key)).collect();
        let Some(key) = open.get(usize::from(which) % open.len().max(1)) else { return };
        self.take_command(Command::Cancel(0, *key));
        self.end(*key, End::Cancelled);
    }

    fn end(&mut self, key: ConnectionKey, end: End) {
        let before = self.ends.insert(key, end);
        assert_eq!(before, None, "{key:?} ends again, by {end:?}");
    }

    fn note_ends(&mut self) {
        for delivery in self.rig.handed() {
            match delivery {
                Delivery::Joined(Joined { connection, starts: Some(starts) }) => {
                    let is_resynced = starts.iter().any(|start| !start.resync.is_empty());
                    self.end(connection, if is_resynced { End::Resynced } else { End::Joined });
                }
                Delivery::Joined(Joined { connection, starts: None }) => {
                    self.end(connection, End::Refused);
                }
                Delivery::NoRoom(connection) => self.end(connection, End::NoRoom),
                _ => {}
            }
        }
    }

    fn take_pushes(&mut self, most: usize) -> bool {
        let mut pushes = Vec::new();
        let mut some = false;
        for session in self.sessions.iter_mut().flatten() {
            some |= session.receive(&mut pushes, most).now_or_never() == Some(true);
        }
        self.rig.reader.take_pushes(pushes.into_iter(), &mut self.rig.requests);
        some
    }

    fn take_answer(&mut self, change: impl Fn(Answer) -> Answer) -> bool {
        let Some(answer) = next_answer(&mut self.rig.requests) else { return false };
        self.rig.reader.take_answer(change(answer), &mut self.rig.requests).unwrap();
        true
    }

    fn beacon(&mut self) {
        for state in self.rig.reader.states.iter().filter(|state| state.attached) {
            self.rig.requests.beacon(state.partition, state.highest);
        }
    }

    fn break_sessions(&mut self, which: u8) {
        let broken: Vec<Partition> = self.partitions.all().filter(|p| which >> p.index() & 1 == 1).collect();
        for partition in &broken {
            self.sessions[partition.index()] = None;
        }
        self.rig.reader.detach(&broken, &StoreError::new("testing", "it broke"), &mut self.rig.requests);
    }

    fn mend(&mut self) {
        let broken: Vec<Partition> = self.partitions.all().filter(|p| self.sessions[p.index()].is_none()).collect();
        for partition in broken {
            let session = now(recovered(&mut self.rig.reader, self.rig.store.connect(vec![partition])));
            self.rig.requests.attach(&session);
            self.sessions[partition.index()] = Some(session);
        }
    }

    /// Lets everything come to rest, and checks that nothing is left.
    fn finish(mut self) -> HashMap<ConnectionKey, End> {
        [Op::ReturnShares, Op::Mend, Op::Beacon].iter().for_each(|op| self.apply(op));
        let mut steps = 0..10_000;
        while self.take_answer(|answer| answer) || self.take_pushes(100) {
            self.note_ends();
            assert!(steps.next().is_some(), "it never comes to rest");
        }
        self.note_ends();
        let open: Vec<_> = self.joins.iter().filter(|key| !self.ends.contains_key(key)).collect();
        assert!(open.is_empty(), "{open:?} never ended");
        assert_eq!(self.rig.reader.joins.len(), 0, "no join is left");
        self.rig.reader.each_second(Instant::now(), &mut self.rig.requests);
        assert_eq!(self.rig.metric("tidings_connections_waiting "), 0, "none waits");
        assert_eq!(self.rig.reader.joins.allowance().left(), self.all, "all shares are back");
        self.ends
    }
}

/// The read of a join comes to nothing, and a beacon is refused for now.
fn fail(answer: Answer) -> Answer {
    let refused = || StoreError { passing: true, ..StoreError::new("sending a beacon", "OOM") };
    match answer {
        Answer::Join(key, JoinEvent::HistoryRead { parts, share }) => {
            let parts = parts.into_iter().map(|(part, _)| (part, None)).collect();
            Answer::Join(key, JoinEvent::HistoryRead { parts, share })
        }
        Answer::Beacon(partition, number, Ok(_)) => Answer::Beacon(partition, number, Err(refused())),
        Answer::Lift(partition, number, Ok(_)) => Answer::Lift(partition, number, Err(refused())),
        other => other,
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the embedded store never waits")
}

fn name(which: u8) -> &'static str {
    NAMES[usize::from(which) % NAMES.len()]
}

#[test]
fn every_join_ends_exactly_once() {
    let config =
        ProptestConfig { cases: 300, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() };
    let seen = RefCell::new(HashSet::new());
    let runs = (1..4_u16, proptest::collection::vec(any_op(), 1..200));
    let result = TestRunner::new(config).run(&runs, |(partitions, ops)| {
        let mut world = World::new(partitions);
        ops.iter().for_each(|op| world.apply(op));
        seen.borrow_mut().extend(world.finish().into_values());
        Ok(())
    });
    result.unwrap();
    assert_eq!(seen.into_inner().len(), 5, "joins end in each way");
}
