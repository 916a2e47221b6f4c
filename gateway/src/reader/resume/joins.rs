//! The joins under way: subscribed, planned, read for, answered.

use std::sync::Arc;

use tidings_shared::{Address, Partition};

use super::allowance;
use super::past::Crowded;
use super::plan::{self, From, Join, Part, Plan, Tries};
use crate::metrics::Resume;
use crate::reader::Reader;
use crate::reader::delivery::{Joined, Start};
use crate::reader::requests::{ReadPart, Requests};

/// How often a join may be answered from behind the watermark. A journal that is gone would answer so until the next
/// beacon.
const BEHIND: u8 = 8;

impl Reader {
    /// Answers a join at once if all is known, or asks the store, or waits for what is on its way.
    pub(in crate::reader) fn begin(&mut self, mut join: Join, requests: &mut Requests) {
        // What nobody follows any more is not subscribed: a read of it would miss what comes, for whoever shares it.
        if join.addresses.iter().any(|address| self.table.get(address).is_none()) {
            return self.turn_away(&join);
        }
        let Some(parts) = plan::plan(&join, &self.table, &self.states, self.options.replay_bytes) else {
            return self.turn_away(&join);
        };
        let until = |part: &Part| match part.plan {
            Plan::Wait(id) => Some((&self.states[part.partition.index()], id)),
            _ => None,
        };
        let waits: Vec<_> = parts.iter().filter_map(until).collect();
        if !waits.is_empty() {
            // Before anything is read: nothing could begin with that yet, and it would be read again, over and over.
            // And without a share, which others could use.
            join.share = None;
            return requests.wait(join, &waits);
        }
        let needs_nothing = |part: &Part| matches!(&part.plan, Plan::Ready(start, _) if start.replay.is_empty());
        if join.share.is_none() && !parts.iter().all(needs_nothing) {
            join.share = self.allowance.try_take();
            if join.share.is_none() {
                return requests.admit(join, self.allowance.clone());
            }
        }
        if parts.iter().any(|part| matches!(part.plan, Plan::Read(_))) {
            let pending = |address: &Arc<Address>| self.table.get(address).and_then(|f| f.pending.clone());
            requests.read(join, parts, pending);
        } else {
            self.finish(join, parts);
        }
    }

    /// Answers a join of which nothing had to be read.
    fn finish(&mut self, join: Join, parts: Vec<Part>) {
        let from_memory = parts.iter().any(|part| matches!(part.plan, Plan::Ready(_, true)));
        let starts = parts.into_iter().filter_map(|part| match part.plan {
            Plan::Ready(start, _) => Some(start),
            Plan::Read(_) | Plan::Wait(_) => None,
        });
        let starts = starts.collect();
        let served = match from_memory {
            _ if join.tries.read => Resume::Store,
            true => Resume::Memory,
            false => Resume::None,
        };
        self.answer(join, starts, served);
    }

    /// The store is away for this join: the connection is to come back later.
    pub(in crate::reader) fn turn_away(&mut self, join: &Join) {
        self.outboxes.joined(join.worker, Joined { connection: join.connection, starts: None }, None);
    }

    fn answer(&mut self, join: Join, starts: Vec<Start>, served: Resume) {
        if matches!(join.from, From::Cursor(_)) {
            self.metrics.add_resume(served);
        }
        let mut share = join.share;
        if let Some(share) = &mut share {
            allowance::shrink(share, starts.iter().map(Start::replay_bytes).sum());
        }
        self.tell_names();
        self.outboxes.joined(join.worker, Joined { connection: join.connection, starts: Some(starts) }, share);
    }

    pub(in crate::reader) fn take_read(&mut self, join: Join, parts: Vec<ReadPart>, requests: &mut Requests) {
        let tries = Tries { read: true, ..join.tries };
        match self.starts(&join, parts) {
            Ok(Some(starts)) => self.answer(join, starts, Resume::Store),
            Ok(None) => self.begin(Join { tries, ..join }, requests),
            Err(NoStart::Outdated) => self.begin(join, requests),
            Err(NoStart::Crowded) => self.begin(Join { tries: Tries { alone: true, ..tries }, ..join }, requests),
            Err(NoStart::Behind(_)) if join.tries.behind < BEHIND => {
                let tries = Tries { behind: join.tries.behind + 1, ..join.tries };
                self.begin(Join { tries, ..join }, requests);
            }
            Err(NoStart::Unread(partition) | NoStart::Behind(partition)) => {
                self.turn_away(&join);
                // One read may fail for a reason of its own, and then the session goes on. Whether it is the session
                // that failed, this tells.
                requests.beacon(partition, self.states[partition.index()].highest);
            }
        }
    }

    /// The starts of a join whose reads came back. `None` if these were not for all that it needs: what they brought is
    /// remembered now like the rest.
    fn starts(&mut self, join: &Join, parts: Vec<ReadPart>) -> Result<Option<Vec<Start>>, NoStart> {
        // Of one generation, or what was planned is void: also where nothing had to be read.
        if parts.iter().any(|(part, _)| part.generation != self.states[part.partition.index()].generation) {
            return Err(NoStart::Outdated);
        }
        let whole = parts.iter().all(|(part, _)| part.is_whole());
        let mut starts = Vec::with_capacity(parts.len());
        for (part, past) in parts {
            let Plan::Read(read) = &part.plan else {
                starts.extend(match part.plan {
                    Plan::Ready(start, _) => Some(start),
                    _ => None,
                });
                continue;
            };
            let past = past.ok_or(NoStart::Unread(part.partition))?;
            let epoch = past.epoch.ok_or(NoStart::Unread(part.partition))?;
            if epoch != read.at.epoch {
                // Of this only a push may tell the rest: those of the history before are still on their way.
                return Err(NoStart::Unread(part.partition));
            }
            if past.last < read.at.id {
                return Err(NoStart::Behind(part.partition));
            }
            plan::learn(read, &past, &mut self.table, &self.encoder).map_err(|Crowded| NoStart::Crowded)?;
            if whole {
                let how = (&self.encoder, self.options.replay_bytes);
                starts.push(plan::start(&join.from, &part, read, &past, how).map_err(|Crowded| NoStart::Crowded)?);
            }
        }
        Ok(whole.then_some(starts))
    }
}

/// Why a join has no start yet.
enum NoStart {
    /// What was planned or read is of another history, or from before a gap: plan anew.
    Outdated,
    /// Together with what others asked for it was too much, or too old: to be read alone.
    Crowded,
    /// What was read is from before something that was handed out: it was read for another join, most likely.
    Behind(Partition),
    /// The history of this partition could not be read, or is another one already.
    Unread(Partition),
}
