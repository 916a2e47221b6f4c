//! Recovery: what happens between a new session and live events.
//!
//! The order matters. First the subscriptions, so that nothing from here on is missed; pushes wait meanwhile. Then the
//! journal, up to its last id at that moment: it names every address that changed since the watermark, so only those
//! that are followed are read. Everything up to that id is handed out; the pushes that waited and are not above it are
//! passed over.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;
use tidings_shared::cursor::Place;
use tidings_shared::script::Span;
use tidings_shared::{Address, Epoch, Id, Partition};

use super::delivery::Resync;
use super::replay::{self, Told};
use super::{Reader, Route};
use crate::control::Reason;
use crate::metrics::Read;
use crate::store::{Asked, Client, Missed, Session, Status, StoreError};
use crate::without::Mechanism;

/// Channels of one SUBSCRIBE.
const CHANNELS: usize = 1_000;
/// Addresses of one read.
const ADDRESSES: usize = 200;
/// Bytes of messages of one read.
pub(super) const BYTES: u64 = 16 * 1024 * 1024;
/// The same where so much did not come in the time for an answer, over and over: any line takes this.
const LEAST_BYTES: u64 = 64 * 1024;
/// A recovery that failed is tried again with so much less: on a thin line each try takes until it is given up.
const LESS: u64 = 16;
/// So many full reads recovering one partition may bring. Addresses beyond that are resynced: the workers could hardly
/// write out more than this at once, and it all stands in memory.
const READS: u64 = 16;

impl Reader {
    /// Attaches to a new session: subscribes to all that is followed of its partitions, and hands out what was missed or
    /// resyncs it.
    pub(super) async fn recover(&mut self, session: &mut Session) -> Result<(), StoreError> {
        let (client, partitions) = (session.client.clone(), session.partitions.clone());
        // Before the subscriptions, or pushes of the history before would come behind those of the new one.
        let attached = self.beacons(&client, &partitions, true).await?;
        self.subscribe_all(&client, &partitions).await?;
        // And where each is only after them: from its place on a partition misses nothing, and remembers so.
        let places = self.beacons(&client, &partitions, false).await?;
        for (place, before) in places.iter().zip(attached) {
            same_epoch(place.epoch, before.epoch)?;
        }
        let pages = self.first_pages(&client, &partitions, &places).await?;
        for ((partition, place), page) in partitions.iter().copied().zip(places).zip(pages) {
            let state = &mut self.states[partition.index()];
            let other_server = state.run.as_ref().is_some_and(|run| *run != session.run);
            match state.place {
                None => state.restart(place),
                Some(_) if state.behind => self.resync_partition(partition, place, Reason::Slow),
                Some(known) if known.epoch != place.epoch => {
                    let reason = if other_server { Reason::Failover } else { Reason::Epoch };
                    self.resync_partition(partition, place, reason);
                }
                Some(_) if self.options.without.lacks(Mechanism::Journal) => {
                    self.states[partition.index()].restart(place);
                }
                Some(known) => self.backfill(&client, partition, known, page).await?,
            }
        }
        for partition in &partitions {
            self.states[partition.index()].attach(&session.run, Instant::now());
            self.status.up(*partition);
        }
        tracing::info!(partitions = partitions.len(), addresses = self.table.len(), "connected to the store");
        Ok(())
    }

    /// Sends a beacon through each of these, all at once: a server may be far away.
    async fn beacons(
        &self,
        client: &Client,
        partitions: &[Partition],
        attaching: bool,
    ) -> Result<Vec<Place>, StoreError> {
        let send = |partition: &Partition| client.beacon(*partition, self.states[partition.index()].highest, attaching);
        try_join_all(partitions.iter().map(send)).await
    }

    /// The first page of each journal of which something is known, and whose history is still the same.
    async fn first_pages(
        &self,
        client: &Client,
        partitions: &[Partition],
        places: &[Place],
    ) -> Result<Vec<Option<Missed>>, StoreError> {
        let first = async |(partition, place): (&Partition, &Place)| match self.states[partition.index()].place {
            Some(known) if known.epoch == place.epoch => {
                self.metrics.add_store_reads(Read::Recover, 1);
                client.missed(*partition, known.id, None).await.map(Some)
            }
            _ => Ok(None),
        };
        try_join_all(partitions.iter().zip(places).map(first)).await
    }

    /// Tells of a policy that may lose history.
    pub(super) fn note_policy(&mut self, policy: Option<&str>) {
        let Some(policy) = policy else { return };
        self.status.set_policy(policy);
        self.metrics.set_noeviction(policy == "noeviction");
        if policy != "noeviction" {
            tracing::warn!(
                policy,
                "the store may evict streams under memory pressure, and what it evicts is lost in silence: set maxmemory-policy to noeviction"
            );
        }
    }

    async fn subscribe_all(&mut self, client: &Client, partitions: &[Partition]) -> Result<(), StoreError> {
        for partition in partitions {
            let keys = self.options.namespace.keys(*partition);
            self.routes.insert(keys.journal().into(), Route::EndMarks(*partition));
            self.routes.insert(keys.beacon(&self.options.gateway).into(), Route::Beacons(*partition));
        }
        let here = self.routes.iter().filter(|(_, route)| partitions.contains(&route.partition()));
        let channels: Vec<String> = here.map(|(channel, _)| channel.to_string()).collect();
        for some in channels.chunks(CHANNELS) {
            client.subscribe(some.to_vec()).await?;
        }
        Ok(())
    }

    /// Hands out what a partition got since `known`, its watermark.
    async fn backfill(
        &mut self,
        client: &Client,
        partition: Partition,
        known: Place,
        mut first: Option<Missed>,
    ) -> Result<(), StoreError> {
        let mut changed: HashSet<Arc<Address>> = HashSet::new();
        let (mut after, mut last) = (known.id, None);
        loop {
            let page = match first.take() {
                Some(page) => page,
                None => {
                    self.metrics.add_store_reads(Read::Recover, 1);
                    client.missed(partition, after, last).await?
                }
            };
            let up_to = *last.get_or_insert(page.last);
            same_epoch(page.epoch, known.epoch)?;
            if !page.complete {
                let place = Place { id: up_to, ..known };
                self.resync_partition(partition, place, Reason::HistoryLost);
                return Ok(());
            }
            changed.extend(page.addresses.into_iter().map(Arc::new));
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        // The table's own addresses, which are shared, in place of those just parsed.
        let followed = self.table.iter().map(|(address, _)| address).filter(|address| changed.contains(*address));
        let followed: Vec<Arc<Address>> = followed.map(Arc::clone).collect();
        let up_to = last.unwrap_or(known.id);
        self.read_changed(client, partition, &followed, known, up_to).await?;
        self.states[partition.index()].restart(Place { epoch: known.epoch, id: up_to.max(known.id) });
        self.outboxes.moved();
        Ok(())
    }

    /// Hands out what `addresses` got in between, or resyncs them.
    pub(super) async fn read_changed(
        &mut self,
        client: &Client,
        partition: Partition,
        addresses: &[Arc<Address>],
        known: Place,
        up_to: Id,
    ) -> Result<(), StoreError> {
        let place = Place { epoch: known.epoch, id: up_to };
        let most = self.states[partition.index()].read_bytes;
        let mut left = READS * most;
        let mut frames = Vec::new();
        let mut lost = Vec::new();
        let mut slow = Vec::new();
        for some in addresses.chunks(ADDRESSES) {
            self.metrics.add_store_reads(Read::Recover, 1);
            let span = Span::Between(known.id, up_to);
            let asked = Asked { partition, addresses: some, span, each: &[], bytes: most.min(left) };
            let history = match client.backfill(asked).await {
                Ok(history) => history,
                Err(error) => {
                    self.states[partition.index()].read_bytes = (most / LESS).max(LEAST_BYTES);
                    return Err(error);
                }
            };
            same_epoch(history.epoch, known.epoch)?;
            let read = replay::encode(&history, some, known.epoch, &self.encoder);
            for (address, Told { status, frames: read }) in some.iter().zip(read) {
                match status {
                    Status::Complete => {
                        left = left.saturating_sub(read.iter().map(|(_, frame)| frame.bytes().len() as u64).sum());
                        frames.extend(read.into_iter().map(|frame| (Arc::clone(address), frame)));
                    }
                    Status::Big => slow.push(Arc::clone(address)),
                    Status::Lost => lost.push(Arc::clone(address)),
                }
            }
        }
        // First what is lost: behind the ids of what is not, a connection that breaks would never be told.
        for (addresses, reason) in [(lost, Reason::HistoryLost), (slow, Reason::Slow)] {
            if !addresses.is_empty() {
                self.table.forget_addresses(&addresses, up_to);
                self.outboxes.resync(&Resync { partition, place, addresses: Some(addresses), reason });
            }
        }
        for event in replay::merge(partition, frames.iter().map(|(address, frame)| (address, frame))) {
            self.hand_out(&event);
        }
        Ok(())
    }
}

/// A history that becomes another one during a recovery: the next recovery begins with it. To go on in this one would
/// take the pushes of the history before, which wait, for a third.
fn same_epoch(now: impl Into<Option<Epoch>>, before: Epoch) -> Result<(), StoreError> {
    match now.into() {
        Some(now) if now == before => Ok(()),
        _ => Err(StoreError::new("recovering", "the store's history became another one meanwhile")),
    }
}
