//! The Redis store: how a gateway reads Redis, whatever its topology.
//!
//! | module | owns |
//! |---|---|
//! | `node` | the connections to one primary |
//! | `pushes` | what such a connection brings without being asked |
//! | `watch` | noticing that another server has become the primary, however well the connections look |
//! | `scripts` | the scripts, as a server is asked to run them |
//! | `client` | requests, each to the primary of its partition |
//! | `answers` | what the scripts answer |

mod answers;
mod client;
mod node;
mod pushes;
mod scripts;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tidings_publisher::Error;
use tidings_publisher::store::{Generation, Map, Primaries, RedisUrl, Server, TlsFiles};
use tidings_shared::keys::Namespace;
use tidings_shared::{Partition, Partitions, Retention};

use self::node::Node;
use self::scripts::Scripts;
use self::watch::Watch;
use super::session::{self, Client, Session, StoreError};
use crate::without::Without;

pub use self::client::RedisClient;

/// How long finding the primaries may take, and connecting to one. Short of the time in which clients should have
/// converged after a failover: a try that begins before its end must not outlast it by much.
const CONNECT: Duration = Duration::from_secs(2);

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
    /// What tests switch off.
    pub without: Without,
}

/// Redis.
#[derive(Clone)]
pub struct RedisStore {
    primaries: Primaries,
    options: Arc<RedisOptions>,
    scripts: Arc<Scripts>,
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
        Ok(Self { primaries, options: Arc::new(options), scripts: Arc::new(scripts) })
    }

    /// How many partitions the namespace has.
    pub fn partitions(&self) -> Partitions {
        self.options.partitions
    }

    /// Opens a session over all primaries that have partitions of the namespace, as they are told anew. If any of them
    /// breaks the session does, and all that is followed is recovered by the journals, which is cheap.
    pub async fn connect(&self) -> Result<Session, StoreError> {
        let failed = |error: Error| StoreError::new("connecting to Redis", error);
        let (sink, pushes) = session::pushes();
        let map = fresh_map(&self.primaries).await.map_err(failed)?;
        let at = self.places(&map)?;
        let mut servers = at.clone();
        servers.sort();
        servers.dedup();
        let without = self.options.without;
        let nodes = servers.iter().map(|server| Node::open(&self.primaries, server, &sink, without));
        let nodes: Vec<Arc<Node>> = try_join_all(nodes).await?.into_iter().map(Arc::new).collect();
        let place = |server: &Server| nodes.iter().find(|node| node.server == *server).map(Arc::clone);
        let by_partition: Vec<Arc<Node>> = at.iter().filter_map(place).collect();
        let runs = by_partition.iter().map(|node| Arc::clone(&node.reign)).collect();
        let policy = nodes.iter().map(|node| &node.policy).find(|policy| *policy != "noeviction");
        let policy = policy.or(nodes.first().map(|node| &node.policy)).cloned().unwrap_or_default();
        let slots = self.options.partitions.all().map(|partition| self.slot(partition)).zip(at).collect();
        let watch = Watch::begin(self.primaries.clone(), slots, sink.clone(), without);
        let (options, scripts) = (Arc::clone(&self.options), Arc::clone(&self.scripts));
        let client = RedisClient::new(by_partition, options, scripts, watch);
        Ok(Session::new(Client::Redis(client), runs, policy, &sink, pushes))
    }

    /// The primary of each partition.
    fn places(&self, map: &Map) -> Result<Vec<Server>, StoreError> {
        let place = |partition: Partition| {
            let slot = self.slot(partition);
            let unserved = || {
                let what = format!("no server of the cluster serves partition {partition}, in slot {slot}");
                StoreError::new("connecting to Redis", what)
            };
            map.of(slot).cloned().ok_or_else(unserved)
        };
        self.options.partitions.all().map(place).collect()
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
