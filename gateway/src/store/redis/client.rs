//! Requests to one primary.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use tidings_shared::cursor::Place;
use tidings_shared::script::{self, MarkLeft};
use tidings_shared::{Address, Epoch, Id, Partition};

use super::RedisOptions;
use super::answers::{BeaconAnswer, JournalAnswer, read_history, read_missed};
use super::claim::Claim;
use super::marks::Marks;
use super::node::Node;
use super::scripts::Scripts;
use super::watch::Watched;
use crate::store::session::{Asked, BeaconReply, History, Missed, StoreError};
use crate::without::Mechanism;

/// Entries of a page of the journal.
const PAGE: u64 = 5_000;

/// Makes a session's requests to its primary.
#[derive(Clone)]
pub struct RedisClient {
    node: Arc<Node>,
    /// The `run_id` of the server that was left for this one, because its name leads here now.
    left: Option<Arc<str>>,
    options: Arc<RedisOptions>,
    scripts: Arc<Scripts>,
    claim: Arc<Claim>,
    marks: Arc<Marks>,
    /// As long as anybody makes requests, somebody must see that they go to the primary.
    _watched: Arc<Watched>,
}

impl std::fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisClient").field("server", &self.node.server.to_string()).finish_non_exhaustive()
    }
}

impl RedisClient {
    pub(super) fn new(
        (node, left): (Node, Option<Arc<str>>),
        options: Arc<RedisOptions>,
        (scripts, claim, marks): (Arc<Scripts>, Arc<Claim>, Arc<Marks>),
        watched: Watched,
    ) -> Self {
        Self { node: Arc::new(node), left, options, scripts, claim, marks, _watched: Arc::new(watched) }
    }

    pub(in crate::store) async fn subscribe(&self, channels: Vec<String>) -> Result<(), StoreError> {
        self.node.subscribe(channels).await
    }

    pub(in crate::store) async fn unsubscribe(&self, channels: Vec<String>) -> Result<(), StoreError> {
        self.node.unsubscribe(channels).await
    }

    pub(in crate::store) async fn beacon(
        &self,
        partition: Partition,
        seen: Id,
        attaching: bool,
    ) -> Result<BeaconReply, StoreError> {
        let node = &self.node;
        let without = self.options.without;
        let next = self.marks.next(partition);
        let beacon = script::Beacon {
            gateway: &self.options.gateway,
            seen: if without.lacks(Mechanism::Lift) { Id::ZERO } else { seen },
            epoch: Epoch::from_random(fastrand::u32(..)),
            run: if without.lacks(Mechanism::Run) { "" } else { &node.run },
            attaching,
            retention: self.options.retention,
            partitions: (!without.lacks(Mechanism::Partitions)).then_some(self.options.partitions),
            lease_ms: self.options.lease_ms(),
            hold_ms: Some(self.options.hold_ms()),
            mark: (!without.lacks(Mechanism::Marks)).then(|| next.mark(self.options.mark_keep_ms())),
        };
        let call = script::beacon(&self.options.namespace.keys(partition), beacon);
        let call = call.coming_from(self.left.as_deref().unwrap_or_default());
        let what = "sending a beacon";
        let mut requests = node.requests.clone();
        let sent = self.scripts.invoke(&self.scripts.beacon, &call, (node, &mut requests)).await;
        let answer: Vec<String> = sent.map_err(|error| {
            if error.code() == Some(script::PARTITIONS) {
                self.claim.doubt();
            }
            node.failed((what, "EVALSHA"), error).of_partition(partition)
        })?;
        let BeaconAnswer { epoch, last, mark_until_ms, unsure, retention } = BeaconAnswer::read(&answer)?;
        let unsure = mark_until_ms.is_some_and(|until_ms| {
            self.marks.note_answer(partition, MarkLeft { epoch, number: next.number, until_ms }, unsure)
        });
        let place = Place { epoch: without.epoch(epoch), id: last };
        let other_retention = retention.filter(|in_force| *in_force != self.options.retention);
        Ok(BeaconReply { place, unsure, other_retention })
    }

    pub(in crate::store) async fn policy(&self) -> Result<Option<String>, StoreError> {
        let mut requests = self.node.requests.clone();
        let info = redis::cmd("INFO").arg("memory").query_async(&mut requests).await;
        let info: redis::InfoDict = info.map_err(|error| self.node.failed(("asking for the policy", "INFO"), error))?;
        Ok(info.get("maxmemory_policy"))
    }

    pub(in crate::store) fn trust(&self, partition: Partition) {
        self.marks.trust(partition);
    }

    pub(in crate::store) async fn history(&self, asked: Asked<'_>) -> Result<History, StoreError> {
        let node = &self.node;
        self.read(asked, (node, &mut node.requests.clone()), "reading history").await
    }

    pub(in crate::store) async fn backfill(&self, asked: Asked<'_>) -> Result<History, StoreError> {
        let what = "reading a backfill";
        let node = &self.node;
        let mut pooled = node.backfills.get(what).await?;
        self.read(asked, (node, pooled.as_mut()), what).await
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
        let node = over.0;
        let answer = self.scripts.invoke(&self.scripts.history, &call, over).await;
        read_history(answer.map_err(|error| node.failed((what, "EVALSHA"), error))?, self.options.without)
    }

    pub(in crate::store) async fn missed(
        &self,
        partition: Partition,
        after: Id,
        up_to: Option<Id>,
    ) -> Result<Missed, StoreError> {
        let what = "reading the journal";
        let call = script::missed(&self.options.namespace.keys(partition), after, up_to, PAGE);
        let node = &self.node;
        let mut pooled = node.backfills.get(what).await?;
        let read = self.scripts.invoke(&self.scripts.missed, &call, (node, pooled.as_mut())).await;
        let answer: JournalAnswer = read.map_err(|error| node.failed((what, "EVALSHA"), error))?;
        read_missed(answer, self.options.without)
    }
}
