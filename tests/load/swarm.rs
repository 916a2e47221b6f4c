//! All clients of one server, in several processes.

use std::net::{Ipv4Addr, SocketAddrV4};

use hdrhistogram::Histogram;

use crate::child::Child;
use crate::latency;
use crate::order::{Count, Order, Seen, Sight, Task};
use crate::plan::Plan;
use crate::server::Stream;
use crate::verdict::Published;

/// Clients of one process: well below the 20,000 file descriptors that it may have, and enough processes that the
/// clients are not what is waited for.
const MOST: u32 = 4_000;
/// Connections of all processes that wait to become live: a listener's backlog holds 4,096.
const WINDOW: u32 = 800;
/// The same where all are to come back at once.
const RUSH: u32 = 4_000;

/// All clients of one server. Dropping it closes their connections.
pub struct Swarm {
    plan: Plan,
    children: Vec<(Child, Task)>,
}

impl Swarm {
    /// Clients that are not open yet. `source` makes addresses that no other server of this run has seen, as the system
    /// keeps closed connections for a minute. With `returns` they come back, all at once, from where they were.
    pub fn new(
        server: SocketAddrV4,
        stream: &Stream,
        plan: Plan,
        connections: u32,
        source: u16,
        returns: bool,
    ) -> Self {
        let count = connections.div_ceil(MOST);
        let window = (if returns { RUSH } else { WINDOW } / count).max(1);
        let mut first = 0;
        let start = |at: u32| {
            let [high, low] = source.to_be_bytes();
            let share = connections / count + u32::from(at < connections % count);
            let source = Ipv4Addr::new(127, high, low, at as u8 + 1);
            let task =
                Task { server, stream: stream.clone(), plan, first, connections: share, source, window, returns };
            first += share;
            let mut child = Child::start("clients");
            child.tell(&task);
            (child, task)
        };
        Self { plan, children: (0..count).map(start).collect() }
    }

    /// Opens what is not open, and waits until all are live or nothing moves any more.
    pub fn open(&mut self) -> Count {
        self.order(Order::Open)
    }

    /// Loses all connections.
    pub fn drop_all(&mut self) {
        self.order(Order::Drop);
    }

    /// Has the clients read until they have all of these since they were last asked what they saw. Answers how many
    /// events that are.
    pub fn expect(&mut self, published: &Published) -> u64 {
        let mut all = 0;
        for (child, task) in &mut self.children {
            let owed = (task.first..task.first + task.connections).map(|n| published.owed(self.plan, n)).sum();
            child.tell(&Order::Await(owed));
            all += owed;
        }
        all
    }

    /// What they came to, when they have what was expected or gave up.
    pub fn count(&mut self) -> Count {
        let counts = self.children.iter_mut().map(|(child, _)| child.answer::<Count>());
        counts.fold(Count::default(), |a, b| Count {
            live: a.live + b.live,
            lost: a.lost + b.lost,
            events: a.events + b.events,
        })
    }

    /// What all saw since they were last asked, and the latencies.
    pub fn tell(&mut self) -> (Vec<Seen>, Histogram<u64>) {
        self.children.iter_mut().for_each(|(child, _)| child.tell(&Order::Tell));
        let (mut seen, mut histogram) = (Vec::new(), latency::empty());
        for (child, _) in &mut self.children {
            let sight: Sight = child.answer();
            seen.extend(sight.seen);
            latency::add(&mut histogram, &sight.latency);
        }
        (seen, histogram)
    }

    fn order(&mut self, order: Order) -> Count {
        self.children.iter_mut().for_each(|(child, _)| child.tell(&order));
        self.count()
    }
}
