//! Requests, each to the primary of its partition.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Script};
use tidings_shared::cursor::Place;
use tidings_shared::keys;
use tidings_shared::script::{self, Call};
use tidings_shared::{Address, Epoch, Id, Partition};

use super::answers::{parsed, read_history};
use super::node::Node;
use super::watch::Watch;
use super::{RedisOptions, Scripts};
use crate::store::session::{Asked, History, Missed, StoreError};

/// Entries of a page of the journal.
const PAGE: u64 = 5_000;

/// Makes a session's requests to Redis.
#[derive(Clone)]
pub struct RedisClient {
    /// The primary of each partition.
    nodes: Arc<[Arc<Node>]>,
    options: Arc<RedisOptions>,
    scripts: Arc<Scripts>,
    /// As long as anybody makes requests, somebody must see that they go to the primaries.
    _watch: Arc<Watch>,
}

impl std::fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let servers: Vec<String> = self.nodes.iter().map(|node| node.server.to_string()).collect();
        f.debug_struct("RedisClient").field("servers", &servers).finish_non_exhaustive()
    }
}

impl RedisClient {
    pub(super) fn new(nodes: Vec<Arc<Node>>, options: Arc<RedisOptions>, scripts: Arc<Scripts>, watch: Watch) -> Self {
        Self { nodes: nodes.into(), options, scripts, _watch: Arc::new(watch) }
    }

    pub(in crate::store) async fn subscribe(&self, channels: Vec<String>) -> Result<(), StoreError> {
        for (node, channels) in self.by_node(channels)? {
            node.subscribe(channels).await?;
        }
        Ok(())
    }

    pub(in crate::store) async fn unsubscribe(&self, channels: Vec<String>) -> Result<(), StoreError> {
        for (node, channels) in self.by_node(channels)? {
            node.unsubscribe(channels).await?;
        }
        Ok(())
    }

    /// The channels of each primary.
    fn by_node(&self, channels: Vec<String>) -> Result<Vec<(&Node, Vec<String>)>, StoreError> {
        let mut split: Vec<(&Node, Vec<String>)> = Vec::new();
        for channel in channels {
            let node = self.node(keys::partition_of(&channel).map_or(usize::MAX, usize::from))?;
            match split.iter_mut().find(|(known, _)| known.server == node.server) {
                Some((_, channels)) => channels.push(channel),
                None => split.push((node, vec![channel])),
            }
        }
        Ok(split)
    }

    fn node(&self, partition: usize) -> Result<&Node, StoreError> {
        let node = self.nodes.get(partition).map(Arc::as_ref);
        node.ok_or_else(|| StoreError::new("finding a primary", format!("there is no partition {partition}")))
    }

    pub(in crate::store) async fn beacon(
        &self,
        partition: Partition,
        seen: Id,
        attaching: bool,
    ) -> Result<Place, StoreError> {
        let node = self.node(partition.index())?;
        let beacon = script::Beacon {
            gateway: &self.options.gateway,
            seen,
            epoch: Epoch::from_random(fastrand::u32(..)),
            run: &node.run,
            attaching,
            retention: self.options.retention,
        };
        let call = script::beacon(&self.options.namespace.keys(partition), beacon);
        let what = "sending a beacon";
        let mut requests = node.requests.clone();
        let sent = invoke(&self.scripts.beacon, &call, (node, &mut requests), what).await;
        let (epoch, id): (String, String) = sent.map_err(|error| error.of_partition(partition))?;
        Ok(Place { epoch: parsed(what, &epoch)?, id: parsed(what, &id)? })
    }

    pub(in crate::store) async fn history(&self, asked: Asked<'_>) -> Result<History, StoreError> {
        let node = self.node(asked.partition.index())?;
        self.read(asked, (node, &mut node.requests.clone()), "reading history").await
    }

    pub(in crate::store) async fn backfill(&self, asked: Asked<'_>) -> Result<History, StoreError> {
        let what = "reading a backfill";
        let node = self.node(asked.partition.index())?;
        let mut pooled = node.backfills.get().await.map_err(|e| StoreError::new(what, e))?;
        self.read(asked, (node, &mut pooled), what).await
    }

    async fn read(
        &self,
        asked: Asked<'_>,
        over: (&Node, &mut MultiplexedConnection),
        what: &'static str,
    ) -> Result<History, StoreError> {
        let addresses: Vec<Address> = asked.addresses.iter().map(|address| Address::clone(address)).collect();
        let keys = self.options.namespace.keys(asked.partition);
        let call = script::history(&keys, &addresses, asked.span, asked.bytes).after_each(asked.each);
        read_history(invoke(&self.scripts.history, &call, over, what).await?)
    }

    pub(in crate::store) async fn missed(
        &self,
        partition: Partition,
        after: Id,
        up_to: Option<Id>,
    ) -> Result<Missed, StoreError> {
        let what = "reading the journal";
        let call = script::missed(&self.options.namespace.keys(partition), after, up_to, PAGE);
        let node = self.node(partition.index())?;
        let mut pooled = node.backfills.get().await.map_err(|e| StoreError::new(what, e))?;
        let (epoch, last, complete, next, addresses): (String, String, u8, String, Vec<String>) =
            invoke(&self.scripts.missed, &call, (node, &mut pooled), what).await?;
        Ok(Missed {
            epoch: epoch.parse().ok(),
            last: parsed(what, &last)?,
            complete: complete == 1,
            next: next.parse().ok(),
            addresses: addresses.iter().map(|text| parsed(what, text)).collect::<Result<_, _>>()?,
        })
    }
}

/// Runs a script: one round trip, but for the first time that this server sees it.
async fn invoke<T: FromRedisValue>(
    script: &Script,
    call: &Call,
    (node, connection): (&Node, &mut MultiplexedConnection),
    what: &'static str,
) -> Result<T, StoreError> {
    let mut invocation = script.prepare_invoke();
    call.keys.iter().for_each(|key| {
        invocation.key(key);
    });
    call.args.iter().for_each(|arg| {
        invocation.arg(arg);
    });
    invocation.invoke_async(connection).await.map_err(|error| node.failed(what, error))
}
