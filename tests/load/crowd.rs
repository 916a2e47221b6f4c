//! A server with all its clients, and what each connection took in memory.

use hdrhistogram::Histogram;

use crate::bench::Bench;
use crate::figure::Figure;
use crate::kernel;
use crate::order::Seen;
use crate::plan::Plan;
use crate::redis_stats::RedisStats;
use crate::row::Row;
use crate::server::Server;
use crate::swarm::Swarm;
use crate::usage::Usage;
use crate::verdict::{Published, Verdict};

/// A server with all its clients.
pub struct Crowd {
    /// The server.
    pub server: Server,
    /// The clients.
    pub swarm: Swarm,
    /// Who follows what.
    pub plan: Plan,
    /// How many they are.
    pub connections: u32,
    /// How many of them could be opened.
    live: u32,
    empty: Usage,
    idle: Usage,
    /// Kernel memory that the connections took, both ends.
    kernel: Option<f64>,
}

impl Crowd {
    /// Opens so many connections, and waits until memory rests; not for those that are to be lost and come back, as
    /// nobody asks what they took.
    pub async fn gather(bench: &mut Bench, server: Server, plan: Plan, connections: u32, returns: bool) -> Self {
        let (spec, source) = (&server.spec, bench.source());
        let mut swarm = Swarm::new(spec.address, &spec.stream, plan, connections, source, returns);
        let rest = async || match bench.options.quick || returns {
            true => server.usage(),
            false => Usage::settled(&server.spec.pids).await,
        };
        let empty = rest().await;
        let kernel = kernel::bytes();
        let live = swarm.open().live;
        let idle = rest().await;
        let kernel = kernel.zip(kernel::bytes()).map(|(before, after)| after as f64 - before as f64);
        Self { server, swarm, plan, connections, live, empty, idle, kernel }
    }

    /// Whether all connections could be opened.
    pub fn is_whole(&self) -> bool {
        self.live == self.connections
    }

    /// Waits until all who are owed these have them, or nothing comes any more. Whether they have.
    pub fn wait_for(&mut self, published: &Published) -> bool {
        let owed = self.swarm.expect(published);
        self.swarm.count().events == owed
    }

    /// What the Redis behind the server has done until now, if there is one.
    pub async fn redis(&self) -> Option<RedisStats> {
        match self.server.redis() {
            Some(redis) => Some(RedisStats::of(redis).await),
            None => None,
        }
    }

    /// Asks what all saw of what was published, and judges it.
    pub fn judge(&mut self, published: &Published) -> (Verdict, Vec<Seen>, Histogram<u64>) {
        let (seen, latency) = self.swarm.tell();
        (published.judge(self.plan, &seen), seen, latency)
    }

    /// Adds what an idle connection takes. Both of its ends are on this machine: the server's is half.
    pub fn add_memory(&self, row: &mut Row) {
        let connection = |bytes: f64| bytes / 1024.0 / f64::from(self.connections);
        row.add(Figure::Rss, connection(self.idle.rss as f64 - self.empty.rss as f64));
        if let Some(kernel) = self.kernel {
            row.add(Figure::Kernel, connection(kernel / 2.0));
        }
    }

    /// Adds the server's memory without connections.
    pub fn add_empty(&self, row: &mut Row) {
        row.add(Figure::RssEmpty, self.empty.rss as f64 / 1024.0 / 1024.0);
    }
}
