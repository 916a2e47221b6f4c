//! The Redis store: how a gateway reads Redis, whatever its topology.
//!
//! | module | owns |
//! |---|---|
//! | `node` | the connections to one primary |
//! | `backfills` | more connections to it, for large answers |
//! | `pushes` | what such a connection brings without being asked |
//! | `claim` | that the namespace has as many partitions as this gateway goes by |
//! | `marks` | what earlier beacons left in each partition, to notice history that goes back |
//! | `fence` | that a server which was the primary takes nothing more |
//! | `left` | that a server whose name leads elsewhere takes nothing more |
//! | `watch` | noticing that another server has become the primary, however well the connections look |
//! | `scripts` | the scripts, as a server is asked to run them |
//! | `client` | requests to one primary |
//! | `answers` | what the scripts answer |

mod answers;
mod backfills;
mod claim;
mod client;
mod fence;
mod left;
mod marks;
mod node;
mod pushes;
mod scripts;
mod watch;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered, Stream};
use tidings_publisher::Error;
use tidings_publisher::store::{Generation, Map, Primaries, RedisUrl, Server, TlsFiles};
use tidings_shared::keys::Namespace;
use tidings_shared::{Partition, Partitions, Retention};

use self::claim::Claim;
use self::fence::Fence;
use self::marks::Marks;
use self::node::Node;
use self::scripts::Scripts;
use self::watch::Watch;
use super::session::{self, Attempt, Client, Session, StoreError};
use crate::without::{Mechanism, Without};

pub use self::client::RedisClient;

/// How long finding the primaries may take, and connecting to one. Short of the time in which clients should have
/// converged after a failover: a try that begins before its end must not outlast it by much.
const CONNECT: Duration = Duration::from_secs(2);
/// The least time for which what beacons leave is kept, in milliseconds.
const LEAST_KEEP_MS: u64 = 60_000;
/// The same in leases, each of which is several beacon intervals.
const LEAST_KEEP_LEASES: u64 = 4;
/// The most for which a gateway holds its retention in force, in milliseconds.
const MOST_HOLD_MS: u64 = 60 * 60 * 1000;
/// What is being done when that fails.
const CONNECTING: &str = "connecting to Redis";

/// What is needed to open sessions.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// The key prefix.
    pub namespace: Namespace,
    /// How many partitions the namespace has.
    pub partitions: Partitions,
    /// The retention that this gateway sets.
    pub retention: Retention,
    /// This gateway's id; its beacons come on its own channel.
    pub gateway: String,
    /// For how long a beacon keeps others from changing the number of partitions.
    pub lease: Duration,
    /// What tests switch off.
    pub without: Without,
}

impl RedisOptions {
    fn lease_ms(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long the marks of beacons are kept: as long as history, but long enough that a gateway whose beacons are
    /// late still finds its own.
    fn mark_keep_ms(&self) -> u64 {
        self.retention.age_ms.max(self.least_keep_ms())
    }

    /// How long this gateway holds its retention in force after a beacon: as long as history, but an hour at the most,
    /// so that a shorter one takes effect on the day on which it is set.
    fn hold_ms(&self) -> u64 {
        self.retention.age_ms.min(MOST_HOLD_MS).max(self.least_keep_ms())
    }

    /// Long enough for several beacons to be late or lost.
    fn least_keep_ms(&self) -> u64 {
        LEAST_KEEP_MS.max(self.lease_ms().saturating_mul(LEAST_KEEP_LEASES))
    }
}

/// Redis.
#[derive(Clone)]
pub struct RedisStore {
    primaries: Primaries,
    options: Arc<RedisOptions>,
    scripts: Arc<Scripts>,
    claim: Arc<Claim>,
    marks: Arc<Marks>,
    /// From the first session on.
    watch: Arc<OnceLock<Watch>>,
    fence: Arc<Fence>,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the primaries, to which a password may lead.
        f.debug_struct("RedisStore").field("options", &self.options).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// A store at `url`. Connects only when a session is opened.
    pub fn new(url: &RedisUrl, tls: TlsFiles, options: RedisOptions) -> Result<Self, StoreError> {
        let primaries = Primaries::new(url, tls, CONNECT).map_err(|e| StoreError::new("reading store.url", e))?;
        let scripts = Scripts::new(primaries.is_cluster(), options.without);
        let (claim, watch, fence) = (Arc::default(), Arc::default(), Arc::default());
        let marks = Arc::new(Marks::new(options.partitions));
        let (options, scripts) = (Arc::new(options), Arc::new(scripts));
        Ok(Self { primaries, options, scripts, claim, marks, watch, fence })
    }

    /// How many partitions the namespace has.
    pub fn partitions(&self) -> Partitions {
        self.options.partitions
    }

    /// Whether other databases of a server have the same channels. A cluster has one database only.
    pub fn shares_channels(&self) -> bool {
        !self.primaries.is_cluster()
    }

    /// Opens a session with each of the primaries that these partitions have, as they are told anew. Each breaks alone:
    /// what a primary has that is away keeps nobody waiting who follows what the others have. None is opened while the
    /// namespace has another number of partitions.
    pub fn connect(&self, partitions: Vec<Partition>) -> impl Stream<Item = Attempt> + use<> {
        let store = self.clone();
        let found = async move { (store.find(partitions).await, store) };
        stream::once(found).flat_map(|(found, store)| {
            let open = |(server, partitions)| store.clone().attempt(server, partitions);
            found.into_iter().map(open).collect::<FuturesUnordered<_>>()
        })
    }

    /// The primaries of these partitions, and which of them each has; or why they have none.
    async fn find(&self, partitions: Vec<Partition>) -> Vec<(Result<Server, StoreError>, Vec<Partition>)> {
        if let Err(error) = self.claim.hold(&self.primaries, &self.options).await {
            return vec![(Err(error), partitions)];
        }
        let map = match fresh_map(&self.primaries).await {
            Ok(map) => map,
            Err(error) => return vec![(Err(StoreError::new(CONNECTING, error)), partitions)],
        };
        let mut found: Vec<(Result<Server, StoreError>, Vec<Partition>)> = Vec::new();
        for partition in partitions {
            let server = self.primary(&map, partition);
            let same = |known: &&mut (Result<Server, StoreError>, _)| known.0.as_ref().ok() == server.as_ref().ok();
            match found.iter_mut().filter(|_| server.is_ok()).find(same) {
                Some((_, partitions)) => partitions.push(partition),
                None => found.push((server, vec![partition])),
            }
        }
        found
    }

    fn primary(&self, map: &Map, partition: Partition) -> Result<Server, StoreError> {
        let slot = self.slot(partition);
        let unserved = || {
            let what = format!("no server of the cluster serves partition {partition}, in slot {slot}");
            StoreError::new(CONNECTING, what)
        };
        map.of(slot).cloned().ok_or_else(unserved)
    }

    async fn attempt(self, server: Result<Server, StoreError>, partitions: Vec<Partition>) -> Attempt {
        let result = match server {
            Ok(server) => self.open(&server, partitions.clone()).await,
            Err(error) => Err(error),
        };
        Attempt { partitions, result }
    }

    async fn open(&self, server: &Server, partitions: Vec<Partition>) -> Result<Session, StoreError> {
        let (sink, pushes) = session::pushes();
        let without = self.options.without;
        let node = Node::open(&self.primaries, server, &sink, without).await?;
        let left = self.fence.moved(&self.primaries, &node, &self.options).await;
        let process = (Arc::clone(&node.reign), node.policy.clone());
        let slots = partitions.iter().map(|partition| self.slot(*partition)).collect();
        let watch = self.watch.get_or_init(|| Watch::begin(self.primaries.clone(), without));
        let follows_name = self.primaries.follows_name(&node.peer) && !without.lacks(Mechanism::Watch);
        let watched = match follows_name {
            true => Watch::over_name(&self.primaries, &node.peer, sink.clone()),
            false => watch.over(slots, server.clone(), sink.clone()),
        };
        let shared = (Arc::clone(&self.scripts), Arc::clone(&self.claim), Arc::clone(&self.marks));
        let client = RedisClient::new((node, left), Arc::clone(&self.options), shared, watched);
        Ok(Session::new(Client::Redis(client), partitions, process, &sink, pushes))
    }

    fn slot(&self, partition: Partition) -> u16 {
        self.options.namespace.keys(partition).slot()
    }
}

/// The map as it is told now: what was told before may be why a session broke.
async fn fresh_map(primaries: &Primaries) -> Result<Arc<Map>, Error> {
    let (_, generation): (_, Generation) = primaries.map().await?;
    primaries.distrust(generation).await;
    Ok(primaries.map().await?.0)
}
