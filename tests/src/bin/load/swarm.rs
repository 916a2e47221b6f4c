//! All clients of one server, in several processes.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::child::Child;
use crate::clients::Count;

/// Clients of one process: well below the 20,000 file descriptors that it may have, and enough processes that the
/// clients are not what is waited for.
const MOST: u32 = 4_000;

/// All clients of one server. Dropping it closes their connections.
pub struct Swarm {
    children: Vec<Child>,
}

impl Swarm {
    /// Opens so many connections, and waits until all are live. `run` makes source addresses that no other server of
    /// this run has seen, as the system keeps closed connections for a minute.
    pub fn open(server: SocketAddrV4, connections: u32, run: u8) -> Self {
        let count = connections.div_ceil(MOST);
        let start = |at: u32| {
            let source = Ipv4Addr::new(127, 0, run, at as u8 + 1);
            let share = connections / count + u32::from(at < connections % count);
            let args = ["clients".to_owned(), format!("--server={server}"), format!("--source={source}")];
            Child::start(&[&args[..], &[format!("--connections={share}")]].concat())
        };
        let mut swarm = Self { children: (0..count).map(start).collect() };
        let opened = swarm.count();
        assert_eq!((opened.ready, opened.lost), (connections, 0), "live and lost connections of {connections}");
        swarm
    }

    /// Has them wait until each of them got so many events since it was opened.
    pub fn expect(&mut self, events: u32) {
        self.children.iter_mut().for_each(|child| child.tell(&events.to_string()));
    }

    /// What they came to, when they have what was expected or gave up.
    pub fn count(&mut self) -> Count {
        let counts = self.children.iter_mut().map(Child::answer::<Count>);
        let sum = |a: Count, b: Count| Count {
            ready: a.ready + b.ready,
            lost: a.lost + b.lost,
            events: a.events + b.events,
            least: a.least.min(b.least),
            most: a.most.max(b.most),
        };
        counts.reduce(sum).unwrap_or_default()
    }
}
