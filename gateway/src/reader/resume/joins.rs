//! How the reader moves a join from state to state, and answers it.

use std::rc::Rc;
use std::sync::Arc;

use tidings_shared::{Address, Id, Partition};

use super::allowance;
use super::join::{Join, JoinKey};
use super::past::{Crowded, Past};
use super::plan::{self, Part, Plan};
use super::running::{JoinEvent, ReadPart};
use super::state::{ReadFailure, RunningJoin};
use crate::admission::Limit;
use crate::metrics::Resume;
use crate::reader::Reader;
use crate::reader::delivery::{Joined, Start};
use crate::reader::partition::PartitionState;
use crate::reader::requests::Requests;

/// The partition in which what was read makes no start, and why.
type PartFailure = (Partition, ReadFailure);

impl Reader {
    /// Begins a join whose addresses are followed.
    pub(in crate::reader) fn begin(&mut self, join: Join, requests: &mut Requests) {
        self.move_on(RunningJoin::new(join), requests);
    }

    /// Takes what a join has waited for.
    pub(in crate::reader) fn take_join_event(&mut self, key: JoinKey, event: JoinEvent, requests: &mut Requests) {
        // What comes for a join that has ended is dropped, a share too.
        let Some(mut join) = self.joins.take(key) else { return };
        match event {
            JoinEvent::WatermarkSettled { is_reached } => join.settle_watermark(is_reached),
            JoinEvent::ShareGranted(share) => join.grant_share(share),
            JoinEvent::HistoryRead { parts, share } => {
                join.finish_reading(share);
                match self.starts(&join, parts) {
                    Ok(starts) => return self.answer(join, starts, Resume::Store),
                    Err((partition, failure)) if !join.widen(failure) => {
                        return self.refuse_unread(&join, partition, requests);
                    }
                    Err(_) => {}
                }
            }
        }
        self.move_on(join, requests);
    }

    /// Moves a join on from Planning: answers it at once if all is known, or asks the store, or
    /// waits for what is on its way.
    fn move_on(&mut self, mut join: RunningJoin, requests: &mut Requests) {
        let Some(parts) = self.plan(&join) else { return self.turn_away(join.key()) };
        let states = &self.states;
        let until = |part: &Part| Some((&states[part.partition.index()], part.awaited()?));
        let waits: Vec<(&PartitionState, Id)> = parts.iter().filter_map(until).collect();
        let needs_share = waits.is_empty() && !parts.iter().all(Part::needs_nothing);
        let lacks_share = needs_share && !join.take_share(self.joins.allowance());
        if !lacks_share && parts.iter().all(Part::is_ready) {
            return self.finish(join, parts);
        }
        if !join.take_permit(self.joins.limit()) {
            return self.refuse_for_load(&join);
        }
        if !waits.is_empty() {
            // Before anything is read: nothing could begin with that yet, and it would be read
            // again, over and over.
            self.joins.await_watermark(join, &waits, requests);
        } else if lacks_share {
            self.joins.await_share(join, requests);
        } else {
            let table = &self.table;
            let pending = |address: &Arc<Address>| table.get(address)?.pending.clone();
            self.joins.read(join, parts, pending, requests);
        }
    }

    /// Plans a join. `None` if the store is away for it.
    fn plan(&self, join: &RunningJoin) -> Option<Vec<Part>> {
        // What nobody follows any more is not subscribed: a read of it would miss what comes, for
        // whoever shares it.
        if join.request().addresses().iter().any(|address| self.table.get(address).is_none()) {
            return None;
        }
        plan::plan(join, &self.table, &self.states, self.options.replay_bytes)
    }

    /// Answers a join of which nothing had to be read.
    fn finish(&mut self, join: RunningJoin, parts: Vec<Part>) {
        let from_memory = parts.iter().any(|part| matches!(part.plan, Plan::Ready(_, true)));
        let starts = parts.into_iter().filter_map(|part| match part.plan {
            Plan::Ready(start, _) => Some(start),
            Plan::Read(_) | Plan::Wait(_) => None,
        });
        let starts = starts.collect();
        let served = match from_memory {
            _ if join.has_read() => Resume::Store,
            true => Resume::Memory,
            false => Resume::None,
        };
        self.answer(join, starts, served);
    }

    /// The store is away for this join: the connection is to come back later.
    pub(in crate::reader) fn turn_away(&mut self, (worker, connection): JoinKey) {
        self.outboxes.joined(worker, Joined { connection, starts: None }, None);
    }

    /// Too many joins are under way: the connection is to come back later.
    fn refuse_for_load(&mut self, join: &RunningJoin) {
        self.joins.note_refused();
        self.metrics.add_refused(Limit::Waiting);
        let (worker, connection) = join.key();
        self.outboxes.refused(worker, connection);
    }

    /// The history of this partition cannot be read for a join: the connection is to come back
    /// later.
    fn refuse_unread(&mut self, join: &RunningJoin, partition: Partition, requests: &mut Requests) {
        self.turn_away(join.key());
        // One read may fail for a reason of its own, and then the session goes on. Whether it is
        // the session that failed, this tells.
        requests.beacon(partition, self.states[partition.index()].highest);
    }

    fn answer(&mut self, join: RunningJoin, starts: Vec<Start>, served: Resume) {
        if join.request().has_cursor() {
            self.metrics.add_resume(served);
        }
        let (worker, connection) = join.key();
        let mut share = join.into_share();
        if let Some(share) = &mut share {
            allowance::shrink(share, starts.iter().map(Start::replay_bytes).sum());
        }
        self.tell_names();
        self.outboxes.joined(worker, Joined { connection, starts: Some(starts) }, share);
    }

    /// The starts of a join whose history was read. An error tells in which partition it does not
    /// do.
    fn starts(&mut self, join: &RunningJoin, parts: Vec<ReadPart>) -> Result<Vec<Start>, PartFailure> {
        // Of one generation, or what was planned is void: also where nothing had to be read.
        let generation = |part: &Part| self.states[part.partition.index()].generation;
        let is_outdated = |(part, _): &&ReadPart| part.generation != generation(part);
        if let Some((part, _)) = parts.iter().find(is_outdated) {
            return Err((part.partition, ReadFailure::Outdated));
        }
        let partial = parts.iter().find(|(part, _)| !part.is_whole());
        let partial = partial.map(|(part, _)| part.partition);
        let mut starts = Vec::with_capacity(parts.len());
        for (part, past) in parts {
            let partition = part.partition;
            match part.plan {
                Plan::Ready(start, _) => starts.push(start),
                Plan::Wait(_) => {}
                Plan::Read(_) => {
                    let start = self.start_from(join, &part, past, partial.is_none());
                    starts.extend(start.map_err(|failure| (partition, failure))?);
                }
            }
        }
        partial.map_or(Ok(starts), |partition| Err((partition, ReadFailure::Partial)))
    }

    /// Learns what was read for a part of a join, and makes a start of it if that is wanted.
    fn start_from(
        &mut self,
        join: &RunningJoin,
        part: &Part,
        past: Option<Rc<Past>>,
        is_wanted: bool,
    ) -> Result<Option<Start>, ReadFailure> {
        let Plan::Read(read) = &part.plan else { return Ok(None) };
        let past = past.ok_or(ReadFailure::Unread)?;
        let epoch = past.epoch.ok_or(ReadFailure::Unread)?;
        if epoch != read.at.epoch {
            // Of this only a push may tell the rest: those of the history before are still on their
            // way.
            return Err(ReadFailure::Unread);
        }
        if past.last < read.at.id {
            return Err(ReadFailure::Behind);
        }
        let learned = plan::learn(read, &past, &mut self.table, &self.encoder);
        learned.map_err(|Crowded| ReadFailure::Crowded)?;
        if !is_wanted {
            return Ok(None);
        }
        let how = (&self.encoder, self.options.replay_bytes);
        let start = plan::start(join.request().from(), part, read, &past, how);
        start.map(Some).map_err(|Crowded| ReadFailure::Crowded)
    }
}
