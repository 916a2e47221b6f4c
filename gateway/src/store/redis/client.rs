//! Requests, each to the primary of its partition.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use tidings_shared::cursor::Place;
use tidings_shared::keys;
use tidings_shared::script;
use tidings_shared::{Address, Epoch, Id, Partition};

use super::RedisOptions;
use super::answers::{parsed, read_history};
use super::node::Node;
use super::scripts::Scripts;
use super::watch::Watch;
use crate::store::session::{Asked, History, Missed, StoreError};
use crate::without::Mechanism;

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
        let without = self.options.without;
        let beacon = script::Beacon {
            gateway: &self.options.gateway,
            seen: if without.lacks(Mechanism::Lift) { Id::ZERO } else { seen },
            epoch: Epoch::from_random(fastrand::u32(..)),
            run: if without.lacks(Mechanism::Run) { "" } else { &node.run },
            attaching,
            retention: self.options.retention,
        };
        let call = script::beacon(&self.options.namespace.keys(partition), beacon);
        let what = "sending a beacon";
        let mut requests = node.requests.clone();
        let sent = self.scripts.invoke(&self.scripts.beacon, &call, (node, &mut requests), what).await;
        let (epoch, id): (String, String) = sent.map_err(|error| error.of_partition(partition))?;
        Ok(Place { epoch: without.epoch(parsed(what, &epoch)?), id: parsed(what, &id)? })
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
        let answer = self.scripts.invoke(&self.scripts.history, &call, over, what).await?;
        read_history(answer, self.options.without)
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
            self.scripts.invoke(&self.scripts.missed, &call, (node, &mut pooled), what).await?;
        let without = self.options.without;
        Ok(Missed {
            epoch: epoch.parse().ok().map(|epoch| without.epoch(epoch)),
            last: parsed(what, &last)?,
            complete: complete == 1 || without.lacks(Mechanism::Complete),
            next: next.parse().ok(),
            addresses: addresses.iter().map(|text| parsed(what, text)).collect::<Result<_, _>>()?,
        })
    }
}
