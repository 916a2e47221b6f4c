//! The joins under way: subscribed, planned, read for, answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tidings_shared::{Address, Partition};
use tokio::sync::watch;

use super::allowance;
use super::past::Crowded;
use super::plan::{self, From, Join, Part, Plan, Tries};
use crate::admission::Limit;
use crate::metrics::Resume;
use crate::reader::delivery::{Joined, Start};
use crate::reader::handle::Command;
use crate::reader::requests::{Answer, ReadPart, Requests};
use crate::reader::{Broken, Reader, Route};
use crate::store::StoreError;
use crate::without::Mechanism;

/// How often a join may be answered from behind the watermark. A journal that is gone would answer so until the next
/// beacon.
const BEHIND: u8 = 8;

impl Reader {
    pub(in crate::reader) fn take_commands(
        &mut self,
        commands: impl Iterator<Item = Command>,
        requests: &mut Requests,
    ) {
        let mut joins = Vec::new();
        let mut channels: BTreeMap<Partition, Vec<(String, Arc<Address>)>> = BTreeMap::new();
        for command in commands {
            match command {
                // As if it had never come: what it follows cannot be subscribed.
                Command::Join(join) if !self.is_attached(&join) => self.turn_away(&join),
                Command::Join(join) if !self.make_room(&join, requests) => self.refuse(&join),
                Command::Join(mut join) => {
                    if self.options.without.lacks(Mechanism::Replay) && matches!(join.from, From::Cursor(_)) {
                        join.from = From::Now;
                    }
                    self.follow(&join, &mut channels);
                    joins.push(join);
                }
                Command::Cancel(worker, connection) => {
                    joins.retain(|join: &Join| (join.worker, join.connection) != (worker, connection));
                    requests.cancel(worker, connection);
                }
                other => self.take_command(other),
            }
        }
        for (partition, channels) in channels {
            let addresses: Vec<_> = channels.iter().map(|(_, address)| Arc::clone(address)).collect();
            let acknowledged = requests.subscribe(partition, channels);
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

    /// Whether the store is there for all that a join follows.
    fn is_attached(&self, join: &Join) -> bool {
        join.addresses.iter().all(|address| self.states[self.partitions.of(address).index()].attached)
    }

    /// Makes room for the addresses of a join that are new, if need be and possible at the cost of those that linger.
    fn make_room(&mut self, join: &Join, requests: &mut Requests) -> bool {
        let (known, new): (Vec<_>, Vec<_>) =
            join.addresses.iter().partition(|address| self.table.get(address).is_some());
        let new = new.len();
        if new == 0 {
            return true;
        }
        let count = self.address_limit.count_to_forget(self.table.len(), new);
        if count > 0 {
            // First, or it might lose what lingers for it. If it is refused after all, its worker leaves them again.
            known.into_iter().for_each(|address| self.table.follow_known(join.worker, address));
            let channels = self.table.forget_lingering(count);
            self.forget_channels(channels, requests);
        }
        let has_room = self.address_limit.has_room(self.table.len(), new);
        has_room && self.address_limit.try_take(new, Instant::now())
    }

    /// There are too many addresses: the connection is to come back later.
    fn refuse(&mut self, join: &Join) {
        self.address_limit.note_refused();
        self.metrics.add_refused(Limit::Addresses);
        self.outboxes.refused(join.worker, join.connection);
    }

    /// Notes what a connection follows, and which channels that makes necessary in each partition.
    fn follow(&mut self, join: &Join, channels: &mut BTreeMap<Partition, Vec<(String, Arc<Address>)>>) {
        for address in join.addresses.iter() {
            let partition = self.partitions.of(address);
            let channel = || self.options.namespace.keys(partition).stream(address);
            if self.table.follow(join.worker, address, || (partition, channel().into())) {
                // Until its SUBSCRIBE is sent, at the end of this turn: it must not be forgotten before that.
                if let Some(followed) = self.table.get_mut(address) {
                    followed.pending = Some(watch::channel(false).1);
                }
                let channel = channel();
                self.routes.insert(channel.clone().into(), Route::Address(partition, Arc::clone(address)));
                channels.entry(partition).or_default().push((channel, Arc::clone(address)));
            }
        }
    }

    /// Answers a join at once if all is known, or asks the store, or waits for what is on its way.
    fn begin(&mut self, mut join: Join, requests: &mut Requests) {
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

    /// Takes an answer. An error tells which session it breaks.
    pub(in crate::reader) fn take_answer(&mut self, answer: Answer, requests: &mut Requests) -> Result<(), Broken> {
        let broken = |partition| move |error| Broken { partition, error };
        match answer {
            Answer::Subscribed(partition, addresses, result) => {
                result.map_err(broken(partition))?;
                for address in &addresses {
                    if let Some(followed) = self.table.get_mut(address) {
                        followed.pending = None;
                    }
                }
            }
            Answer::Unsubscribed(partition, result) => result.map_err(broken(partition))?,
            Answer::Beacon(partition, _, Err(error)) | Answer::Lift(partition, _, Err(error)) if error.passing => {
                self.refused(partition, &error);
            }
            Answer::Beacon(partition, _, Err(_)) | Answer::Lift(partition, _, Err(_))
                if self.options.without.lacks(Mechanism::Beacon) =>
            {
                self.states[partition.index()].asked = false;
            }
            Answer::Beacon(partition, number, result) | Answer::Lift(partition, number, result) => {
                let reply = result.map_err(broken(partition))?;
                self.states[partition.index()].note_answered(number, reply.place.id);
                self.take_beacon_reply(partition, reply, requests);
            }
            Answer::Asked(partition, number, epoch, result) => {
                if let Ok(reply) = &result {
                    self.take_epoch_reply(partition, epoch, reply);
                }
                return self.take_answer(Answer::Beacon(partition, number, result), requests);
            }
            // The sessions' policy is for the loop, which has them.
            Answer::Policy(..) | Answer::Cancelled => {}
            Answer::Admitted(join, share) => self.begin(Join { share, ..join }, requests),
            Answer::Arrived(join, came) => {
                // Where the journal ends before it, only the store can tell of such a place.
                let waits = if came { join.tries.waits + 1 } else { plan::WAITS };
                self.begin(Join { tries: Tries { waits, ..join.tries }, ..join }, requests);
            }
            Answer::Read { join, parts } => self.take_read(join, parts, requests),
        }
        Ok(())
    }

    /// The server answers, and will take a beacon later: when it has memory again, or the slot has moved. The partition is
    /// not deaf, and a new session would fare no better and take the other partitions down.
    fn refused(&mut self, partition: Partition, error: &StoreError) {
        tracing::warn!(%error, "a beacon did not go through; the next one may");
        let state = &mut self.states[partition.index()];
        (state.beacon, state.asked) = (Instant::now(), false);
        self.status.down(partition, &error.to_string());
        // Its server answers us, and would refuse another gateway in the same way: no stream is better off elsewhere.
        self.status.link_activity().note_sign(partition);
    }

    fn take_read(&mut self, join: Join, parts: Vec<ReadPart>, requests: &mut Requests) {
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
