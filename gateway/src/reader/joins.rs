//! The joins under way: subscribed, planned, read for, answered.

use std::sync::Arc;

use tidings_shared::{Address, Partition};

use super::delivery::{Joined, Start};
use super::handle::Command;
use super::join::{self, From, Join, Part, Plan, Tries};
use super::past::Crowded;
use super::requests::{Answer, ReadPart, Requests};
use super::{Reader, Route};
use crate::metrics::Resume;
use crate::store::StoreError;

/// How often a join may be answered from behind the watermark. A journal that is gone would answer so until the next
/// beacon.
const BEHIND: u8 = 8;

impl Reader {
    pub(super) fn take_commands(&mut self, commands: impl Iterator<Item = Command>, requests: &mut Requests) {
        let mut joins = Vec::new();
        let mut channels = Vec::new();
        for command in commands {
            match command {
                Command::Join(join) => {
                    self.follow(&join, &mut channels);
                    joins.push(join);
                }
                other => self.take_command(other),
            }
        }
        if !channels.is_empty() {
            let addresses: Vec<_> = channels.iter().map(|(_, address)| Arc::clone(address)).collect();
            let acknowledged = requests.subscribe(channels);
            for address in &addresses {
                if let Some(followed) = self.table.get_mut(address) {
                    followed.pending = Some(acknowledged.clone());
                }
            }
        }
        for join in joins {
            self.begin(join, requests);
        }
    }

    /// Notes what a connection follows, and which channels that makes necessary.
    fn follow(&mut self, join: &Join, channels: &mut Vec<(String, Arc<Address>)>) {
        for address in join.addresses.iter() {
            let partition = self.partitions.of(address);
            let channel = || self.options.namespace.keys(partition).stream(address);
            if self.table.follow(join.worker, address, || (partition, channel().into())) {
                let channel = channel();
                self.routes.insert(channel.clone().into(), Route::Address(partition, Arc::clone(address)));
                channels.push((channel, Arc::clone(address)));
            }
        }
    }

    /// Answers a join at once if all is known, or asks the store.
    fn begin(&mut self, join: Join, requests: &mut Requests) {
        match join::plan(&join, &self.table, &self.states, self.options.replay_bytes) {
            None => self.turn_away(&join),
            Some(parts) if parts.iter().all(|part| matches!(part.plan, Plan::Ready(..))) => self.finish(&join, parts),
            Some(parts) => {
                let pending = |address: &Arc<Address>| self.table.get(address).and_then(|f| f.pending.clone());
                requests.read(join, parts, pending);
            }
        }
    }

    /// Answers a join of which nothing had to be read.
    fn finish(&mut self, join: &Join, parts: Vec<Part>) {
        let from_memory = parts.iter().any(|part| matches!(part.plan, Plan::Ready(_, true)));
        let starts = parts.into_iter().filter_map(|part| match part.plan {
            Plan::Ready(start, _) => Some(start),
            Plan::Read(_) => None,
        });
        let starts = starts.collect();
        self.answer(join, starts, if from_memory { Resume::Memory } else { Resume::None });
    }

    /// The store is away for this join: the connection is to come back later.
    pub(super) fn turn_away(&mut self, join: &Join) {
        self.outboxes.joined(join.worker, Joined { connection: join.connection, starts: None });
    }

    fn answer(&mut self, join: &Join, starts: Vec<Start>, served: Resume) {
        if matches!(join.from, From::Cursor(_)) {
            self.metrics.add_resume(served);
        }
        self.outboxes.joined(join.worker, Joined { connection: join.connection, starts: Some(starts) });
    }

    pub(super) fn take_answer(&mut self, answer: Answer, requests: &mut Requests) -> Result<(), StoreError> {
        match answer {
            Answer::Subscribed(addresses, result) => {
                result?;
                for address in &addresses {
                    if let Some(followed) = self.table.get_mut(address) {
                        followed.pending = None;
                    }
                }
            }
            Answer::Unsubscribed(result) => result?,
            Answer::Beacon(result) => {
                result?;
            }
            Answer::Read { join, parts } => match self.starts(&join, parts) {
                Ok(starts) => self.answer(&join, starts, Resume::Store),
                Err(NoStart::Outdated) => self.begin(join, requests),
                Err(NoStart::Crowded) => {
                    self.begin(Join { tries: Tries { alone: true, ..join.tries }, ..join }, requests);
                }
                Err(NoStart::Behind(_)) if join.tries.behind < BEHIND => {
                    let tries = Tries { behind: join.tries.behind + 1, ..join.tries };
                    self.begin(Join { tries, ..join }, requests);
                }
                Err(NoStart::Unread(partition) | NoStart::Behind(partition)) => {
                    self.turn_away(&join);
                    // One read may fail for a reason of its own, and then the session goes on. Whether it is the
                    // session that failed, this tells.
                    requests.beacon(partition, self.states[partition.index()].highest);
                }
            },
        }
        Ok(())
    }

    /// The starts of a join whose reads came back.
    fn starts(&mut self, join: &Join, parts: Vec<ReadPart>) -> Result<Vec<Start>, NoStart> {
        // Of one generation, or what was planned is void: also where nothing had to be read.
        if parts.iter().any(|(part, _)| part.generation != self.states[part.partition.index()].generation) {
            return Err(NoStart::Outdated);
        }
        let mut starts = Vec::with_capacity(parts.len());
        for (part, past) in parts {
            let read = match part.plan {
                Plan::Ready(start, _) => {
                    starts.push(start);
                    continue;
                }
                Plan::Read(read) => read,
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
            let part = Part { plan: Plan::Read(read), ..part };
            let how = (&self.encoder, self.options.replay_bytes);
            let start = join::start(&join.from, &part, read, &past, &mut self.table, how);
            starts.push(start.map_err(|Crowded| NoStart::Crowded)?);
        }
        Ok(starts)
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
