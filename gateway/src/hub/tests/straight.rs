//! What goes straight to an outlet is what would have come by the queue, whatever state connections are in.

use proptest::prelude::*;

use super::*;
use crate::reader::delivery::Dispatch;
use rig::{spread, typed};

/// Connections in all states that tell them apart.
const CONNECTIONS: usize = 8;

/// What happens.
#[derive(Debug, Clone)]
enum Act {
    /// So many events at once to `a`, of which the last may be spread.
    Run(u8, bool),
    /// An event to `b`, which only some follow.
    Other,
    /// A connection's socket takes no more, or takes all again.
    Block(usize, bool),
    /// A connection's task writes what the outlet did not take.
    Read(usize),
}

/// A hub, and where its connections write to.
struct Side {
    rig: Rig,
    keys: Vec<ConnectionKey>,
    takers: Vec<Rc<Taker>>,
    at_once: bool,
    next: u64,
}

impl Side {
    fn new(at_once: bool) -> Self {
        let mut rig = Rig::new(1, 100_000);
        let mut keys: Vec<_> = [&["a"][..], &["a"], &["a", "b"], &["b"]].map(|names| rig.live(names)).into();
        keys.push(rig.live_every(&["a"], Some(Duration::from_secs(1))));
        keys.push(rig.join_types(&["a"], &["t"]));
        rig.joined(keys[5], vec![start("a", 10, rig.partitions)]);
        keys.push(rig.join(&["a"]));
        // Its replay told it of some of what is to come.
        keys.push(rig.join(&["a"]));
        rig.joined(keys[7], vec![start("a", 30, rig.partitions)]);
        assert_eq!(keys.len(), CONNECTIONS);
        let takers = keys.iter().map(|key| Taker::attach(&mut rig, *key, usize::MAX)).collect();
        Self { rig, keys, takers, at_once, next: 10 }
    }

    fn event(&mut self, name: &'static str, last: bool) -> Dispatch {
        self.next += 1;
        match self.next % 4 {
            _ if last => spread(self.next, &[name], "-", Duration::from_secs(1)),
            0 => typed(self.next, name, "t"),
            _ => event(self.next, &[name], self.rig.partitions),
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Run(count, late) => {
                let run: Vec<_> = (1..=count).map(|n| self.event("a", late && n == count)).collect();
                self.rig.hub.dispatch_run(&run, 0..usize::MAX, self.at_once);
            }
            Act::Other => {
                let other = self.event("b", false);
                self.rig.dispatch(&other);
            }
            Act::Block(at, blocked) => self.takers[at].left.set(if blocked { 0 } else { usize::MAX }),
            Act::Read(at) => self.read(at),
        }
        self.rig.hub.write(usize::MAX);
    }

    fn read(&mut self, at: usize) {
        let rest = self.rig.bytes(self.keys[at]);
        self.takers[at].taken.borrow_mut().extend(rest);
    }

    /// All that each connection wrote, and where it stands.
    fn end(mut self) -> Vec<(String, Option<String>)> {
        (0..CONNECTIONS).for_each(|at| self.read(at));
        let Self { mut rig, keys, takers, .. } = self;
        let all = keys.into_iter().zip(takers);
        all.map(|(key, taker)| (String::from_utf8(taker.taken.take()).unwrap(), rig.hub.cursor(key))).collect()
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..9_u8, prop::bool::weighted(0.2)).prop_map(|(count, late)| Act::Run(count, late)),
        1 => Just(Act::Other),
        2 => (0..CONNECTIONS, any::<bool>()).prop_map(|(at, blocked)| Act::Block(at, blocked)),
        2 => (0..CONNECTIONS).prop_map(Act::Read),
    ]
}

proptest! {
    #[test]
    fn it_is_what_would_have_come_by_the_queue(acts in prop::collection::vec(act(), 1..30)) {
        let ends = [true, false].map(|at_once| {
            let mut side = Side::new(at_once);
            acts.iter().for_each(|act| side.act(act));
            side.end()
        });
        // Names of connections are the same on both sides.
        prop_assert_eq!(&ends[0], &ends[1]);
        prop_assert!(!ends[0].is_empty());
    }
}

#[test]
fn a_run_goes_out_in_one_write_and_never_waits_in_a_queue() {
    let mut side = Side::new(true);
    side.takers.iter().for_each(|taker| taker.left.set(1));
    let run: Vec<_> = (11..19).map(|ms| event(ms, &["a"], side.rig.partitions)).collect();
    side.rig.hub.dispatch_run(&run, 0..usize::MAX, true);
    let wrote: Vec<_> = side.takers.iter().map(|taker| taker.saw().len()).collect();
    assert_eq!(wrote[..4], [8, 8, 8, 0], "before anything that is due");
}
