//! A topology, whichever it is, and what faults ask of it.

use std::slice;

use tidings_publisher::{Namespace, Partitions};
use tidings_shared::Address;
use tidings_shared::keys::Keys;

use crate::topology::{Cluster, Layout, Node, Sentinel, Standalone};

/// The ways to run Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One server.
    Standalone,
    /// One primary, two replicas, three sentinels.
    Sentinel,
    /// Three primaries, a replica of each.
    Cluster,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Standalone, Self::Sentinel, Self::Cluster];

    /// Its name in tests and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }
}

/// A running topology.
#[derive(Debug)]
pub enum Ground {
    /// Nothing takes over from it.
    Standalone(Standalone),
    /// It fails over as a whole.
    Sentinel(Sentinel),
    /// Each third of it fails over by itself.
    Cluster(Cluster),
}

impl Ground {
    /// Starts it, and returns when it would survive what it is made to survive.
    pub async fn start(kind: Kind, layout: impl Into<Layout>) -> Self {
        match kind {
            Kind::Standalone => Self::Standalone(Standalone::start(layout).await),
            Kind::Sentinel => Self::Sentinel(Sentinel::start(layout).await),
            Kind::Cluster => Self::Cluster(Cluster::start(layout).await),
        }
    }

    /// Which it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Standalone(_) => Kind::Standalone,
            Self::Sentinel(_) => Kind::Sentinel,
            Self::Cluster(_) => Kind::Cluster,
        }
    }

    /// Its URL, for the default user.
    pub fn url(&self) -> String {
        match self {
            Self::Standalone(redis) => redis.url(),
            Self::Sentinel(sentinel) => sentinel.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// Where publishers find it: past the proxy of a single server, so that events go on while nothing reaches gateways.
    /// Others tell publishers and gateways the same addresses.
    pub fn url_of_publishers(&self) -> String {
        match self {
            Self::Standalone(redis) => redis.url_behind(),
            Self::Sentinel(_) | Self::Cluster(_) => self.url(),
        }
    }

    /// How many partitions a namespace has here unless told otherwise.
    pub fn partitions(&self) -> Partitions {
        match self {
            Self::Standalone(_) | Self::Sentinel(_) => Partitions::ONE,
            Self::Cluster(_) => Partitions::CLUSTER,
        }
    }

    /// All data nodes, running or not.
    pub fn nodes(&self) -> &[Node] {
        match self {
            Self::Standalone(redis) => slice::from_ref(redis),
            Self::Sentinel(sentinel) => sentinel.nodes(),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// The sentinels, if it has some.
    pub fn sentinels(&self) -> &[Node] {
        match self {
            Self::Sentinel(sentinel) => sentinel.sentinels(),
            Self::Standalone(_) | Self::Cluster(_) => &[],
        }
    }

    /// The cluster that it is.
    ///
    /// # Panics
    ///
    /// If it is none: the fault must say that it befalls clusters alone.
    pub fn cluster(&self) -> &Cluster {
        match self {
            Self::Cluster(cluster) => cluster,
            _ => panic!("this befalls clusters alone, not {:?}", self.kind()),
        }
    }

    /// All primaries; waits while one is missing.
    pub async fn primaries(&self) -> Vec<&Node> {
        let slots: Vec<u16> =
            self.partitions().all().map(|partition| Namespace::default().keys(partition).slot()).collect();
        let mut primaries: Vec<&Node> = Vec::new();
        for primary in self.primaries_at(&slots).await {
            if !primaries.iter().any(|known| known.addr() == primary.addr()) {
                primaries.push(primary);
            }
        }
        primaries
    }

    /// The primary that takes what is published to this address; waits while there is none.
    pub async fn primary_of(&self, address: &str) -> &Node {
        self.primary_at(self.slot_of(address)).await
    }

    /// The keys of the partitions that have the same primary as this address.
    pub async fn keys_beside(&self, address: &str) -> Vec<Keys> {
        let primary = self.primary_of(address).await.addr();
        let mut beside = Vec::new();
        for partition in self.partitions().all() {
            let keys = Namespace::default().keys(partition);
            if self.primary_at(keys.slot()).await.addr() == primary {
                beside.push(keys);
            }
        }
        beside
    }

    async fn primary_at(&self, slot: u16) -> &Node {
        self.primaries_at(&[slot]).await[0]
    }

    /// Which of these have their primary in common with this address.
    pub async fn beside<'a>(&self, address: &str, others: &'a [String]) -> Vec<&'a String> {
        let primary = self.primary_of(address).await.addr();
        let slots: Vec<u16> = others.iter().map(|other| self.slot_of(other)).collect();
        let primaries = self.primaries_at(&slots).await;
        others.iter().zip(primaries).filter(|(_, other)| other.addr() == primary).map(|(other, _)| other).collect()
    }

    /// The primary of each of these slots.
    async fn primaries_at(&self, slots: &[u16]) -> Vec<&Node> {
        match self {
            Self::Standalone(redis) => vec![redis; slots.len()],
            Self::Sentinel(sentinel) => vec![sentinel.primary().await; slots.len()],
            Self::Cluster(cluster) => cluster.primaries_of(slots).await,
        }
    }

    /// The replicas of that primary.
    pub async fn replicas_of(&self, address: &str) -> Vec<&Node> {
        match self {
            Self::Standalone(_) => Vec::new(),
            Self::Sentinel(sentinel) => sentinel.replicas().await,
            Self::Cluster(cluster) => cluster.replicas_of(self.slot_of(address)).await,
        }
    }

    /// Changes the password of all that is up, servers and their clients alike but those that are connected.
    pub async fn set_password(&self, password: &str) {
        if let Self::Sentinel(sentinel) = self {
            return sentinel.set_password(password).await;
        }
        for node in self.nodes().iter().filter(|node| node.is_up()) {
            node.set_password(password).await;
        }
    }

    /// The keys of the partition that an address is in.
    pub fn keys_of(&self, address: &str) -> Keys {
        let address: Address = address.parse().expect("an address");
        Namespace::default().keys(self.partitions().of(&address))
    }

    /// The slot of an address, where there are slots.
    pub fn slot_of(&self, address: &str) -> u16 {
        self.keys_of(address).slot()
    }

    /// The primary that takes the place of this one, which is dead or frozen; waits until one has.
    pub async fn successor(&self, address: &str, old: &Node) -> &Node {
        match self {
            Self::Standalone(_) => panic!("nothing takes over from a single server"),
            Self::Sentinel(sentinel) => sentinel.successor(old).await,
            Self::Cluster(cluster) => cluster.successor(self.slot_of(address), old).await,
        }
    }

    /// Has a replica take over from the primary of this address as an operator would, and returns the new primary. The
    /// old one lives on as a replica.
    pub async fn failover(&self, address: &str) -> &Node {
        match self {
            Self::Standalone(_) => panic!("nothing takes over from a single server"),
            Self::Sentinel(sentinel) => sentinel.failover().await,
            Self::Cluster(cluster) => cluster.failover(self.slot_of(address)).await,
        }
    }

    /// The same with a replica that takes over as it is, also if it lacks writes.
    pub async fn forced_failover(&self, address: &str) -> &Node {
        match self {
            Self::Cluster(cluster) => cluster.forced_failover(self.slot_of(address)).await,
            // Sentinel never has the old primary wait.
            _ => self.failover(address).await,
        }
    }

    /// Brings back whatever is dead or frozen, and waits until all is in order.
    pub async fn heal(&self) {
        for node in self.nodes().iter().chain(self.sentinels()) {
            if !node.is_running() {
                node.start().await;
            } else if !node.is_up() {
                node.thaw();
            }
        }
        self.settled().await;
        for node in self.nodes() {
            node.keep_settings().await;
        }
    }

    /// Waits until all that is up agrees who the primaries are, and follows them.
    pub async fn settled(&self) {
        match self {
            Self::Standalone(_) => {}
            Self::Sentinel(sentinel) => sentinel.settled().await,
            Self::Cluster(cluster) => cluster.settled().await,
        }
    }
}

impl From<Standalone> for Ground {
    fn from(redis: Standalone) -> Self {
        Self::Standalone(redis)
    }
}

impl From<Sentinel> for Ground {
    fn from(sentinel: Sentinel) -> Self {
        Self::Sentinel(sentinel)
    }
}

impl From<Cluster> for Ground {
    fn from(cluster: Cluster) -> Self {
        Self::Cluster(cluster)
    }
}
