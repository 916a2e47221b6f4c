//! The plan of a join: what it needs in each partition, and its start from what was read.

use std::sync::Arc;

use tidings_shared::cursor::Place;
use tidings_shared::script::Span;
use tidings_shared::{Address, Id, Partition};

use super::join::From;
use super::past::{Crowded, Past};
use super::replay::Replay;
use super::state::RunningJoin;
use crate::control::Reason;
use crate::frame::Encoder;
use crate::reader::delivery::Start;
use crate::reader::followed::{FollowTable, Followed};
use crate::reader::partition::PartitionState;
use crate::reader::recent::{Reach, Recent};
use crate::store::Status;

/// How far ahead of the watermark, in milliseconds, a cursor is waited for. A beacon lifts the watermark to the store's
/// clock, and every gateway gets them every few seconds.
const AHEAD_MS: u64 = 15_000;

/// The part of a join in one partition.
#[derive(Debug)]
pub struct Part {
    /// Which.
    pub partition: Partition,
    /// The addresses that live there.
    pub addresses: Vec<Arc<Address>>,
    /// The partition's generation when it was planned: under another one the plan is void.
    pub generation: u64,
    /// What to do.
    pub plan: Plan,
}

/// What a join needs in one partition.
#[derive(Debug)]
pub enum Plan {
    /// Nothing more. The flag tells whether a cursor was served from memory.
    Ready(Start, bool),
    /// All is remembered, once the watermark has come to this id.
    Wait(Id),
    /// History must be read.
    Read(Read),
}

/// What a join has to read of one partition.
#[derive(Debug)]
pub struct Read {
    /// The addresses to be read: all of the part, or those that are not remembered.
    pub addresses: Vec<Arc<Address>>,
    /// What to read.
    pub span: Span,
    /// The watermark when it was asked: an answer from before that, or of another epoch, is of no use.
    pub at: Place,
    /// What is known already: everything must be refetched, for this reason. Only the place is missing.
    pub resync: Option<Reason>,
}

impl Part {
    /// Whether the read for it, if there is one, brings all that it needs. If not, the rest is remembered.
    pub fn is_whole(&self) -> bool {
        !matches!(&self.plan, Plan::Read(read) if read.addresses.len() < self.addresses.len())
    }

    /// The id to which the watermark must come first, if there is one.
    pub fn awaited(&self) -> Option<Id> {
        match self.plan {
            Plan::Wait(id) => Some(id),
            Plan::Ready(..) | Plan::Read(_) => None,
        }
    }

    /// Whether nothing has to come or be read for it.
    pub fn is_ready(&self) -> bool {
        matches!(self.plan, Plan::Ready(..))
    }

    /// Whether it is ready, and nothing is replayed.
    pub fn needs_nothing(&self) -> bool {
        matches!(&self.plan, Plan::Ready(start, _) if start.replay.is_empty())
    }
}

/// Splits a join by partition and plans each part. What is served from memory may be `bytes` of frames in each.
/// `None` if the store is away for one of them.
pub fn plan(join: &RunningJoin, table: &FollowTable, states: &[PartitionState], bytes: u64) -> Option<Vec<Part>> {
    let partitions = states.first()?.encoder.partitions;
    let mut parts: Vec<Part> = Vec::new();
    for partition in partitions.all() {
        let here = |address: &&Arc<Address>| partitions.of(address) == partition;
        let addresses: Vec<Arc<Address>> = join.request().addresses().iter().filter(here).map(Arc::clone).collect();
        if !addresses.is_empty() {
            let state = states.get(partition.index()).filter(|state| state.attached)?;
            let plan = plan_part(join, partition, &addresses, table, state.place?, bytes);
            parts.push(Part { partition, addresses, generation: state.generation, plan });
        }
    }
    Some(parts)
}

fn plan_part(
    join: &RunningJoin,
    partition: Partition,
    addresses: &[Arc<Address>],
    table: &FollowTable,
    at: Place,
    bytes: u64,
) -> Plan {
    let read =
        |addresses: &[Arc<Address>], span, resync| Plan::Read(Read { addresses: addresses.to_vec(), span, at, resync });
    let now = |resync: Option<Reason>| {
        let missing = missing(addresses, table, |recent| recent.reaches_back_to(at.id));
        if missing.is_empty() {
            let resync = resync.map(|reason| each(addresses, reason)).unwrap_or_default();
            return Plan::Ready(
                Start { partition, place: at, from: at, replay: Vec::new(), tail: false, resync },
                false,
            );
        }
        read(if join.has_read() { addresses } else { &missing }, Span::After(at.id), resync)
    };
    let cursor = match join.request().from() {
        From::Now => return now(None),
        From::Latest => return read(addresses, Span::Latest, None),
        From::Cursor(cursor) => cursor.as_ref().and_then(|cursor| cursor.place(partition)),
    };
    let cursor = match cursor {
        None => return now(Some(Reason::Cursor)),
        Some(cursor) if cursor.epoch != at.epoch => return now(Some(Reason::Epoch)),
        // The store could not even be asked what comes after the last of all ids.
        Some(cursor) if cursor.id.next() <= cursor.id => return now(Some(Reason::Cursor)),
        // A place to which this gateway will come at once, as another one has.
        Some(cursor) if cursor.id > at.id && cursor.id.ms - at.id.ms <= AHEAD_MS && join.may_wait() => {
            return Plan::Wait(cursor.id);
        }
        // Only the store can tell whether there is such a place.
        Some(cursor) if cursor.id > at.id => return read(addresses, Span::After(cursor.id), None),
        Some(cursor) => cursor,
    };
    let missing = missing(addresses, table, |r| r.reaches_back_to(cursor.id) || r.is_lost_after(cursor.id));
    let recent = || addresses.iter().filter_map(|address| Some((address, table.get(address)?.recent()?)));
    // Of an address that was read up to a place beyond the watermark, what lies between may be still on its way or never
    // come, as it came before the subscription.
    let live_from = recent().map(|(_, recent)| recent.live_from()).max().unwrap_or_default();
    if !missing.is_empty() {
        return read(if join.has_read() { addresses } else { &missing }, Span::After(cursor.id), None);
    }
    if live_from > at.id {
        let wait = join.may_wait();
        return if wait { Plan::Wait(live_from) } else { read(addresses, Span::After(cursor.id), None) };
    }
    let mut replay = Replay::new(bytes);
    for (address, recent) in recent() {
        let missed = recent.after(cursor.id).take_while(|(id, _)| *id <= at.id);
        replay.add(address, if recent.is_lost_after(cursor.id) { Err(Reason::HistoryLost) } else { Ok(missed) });
    }
    let (replay, resync) = replay.finish(partition);
    let from = if replay.is_empty() { at } else { cursor };
    Plan::Ready(Start { partition, place: at, from, replay, tail: false, resync }, true)
}

/// The addresses of which what is remembered does not do.
fn missing(addresses: &[Arc<Address>], table: &FollowTable, does: impl Fn(&Recent) -> bool) -> Vec<Arc<Address>> {
    let missing = |address: &&Arc<Address>| !table.get(address).and_then(Followed::recent).is_some_and(&does);
    addresses.iter().filter(missing).map(Arc::clone).collect()
}

fn each(addresses: &[Arc<Address>], reason: Reason) -> Vec<(Arc<Address>, Reason)> {
    addresses.iter().map(|address| (Arc::clone(address), reason)).collect()
}

/// Lets the table learn what was read for a part. `epoch` is the partition's, here as in [`start`]: the caller has made
/// sure that the answer is of that epoch.
pub fn learn(read: &Read, past: &Past, table: &mut FollowTable, encoder: &Encoder) -> Result<(), Crowded> {
    for told in past.of(&read.addresses, read.after(), read.at.epoch, encoder)? {
        table.note_names(told.address, told.frames.iter().map(|(_, frame)| frame));
        if read.span == Span::Latest {
            table.learn(told.address, Reach { since: past.last, up_to: past.last, lost_before: Id::ZERO }, &[]);
        } else {
            table.learn(told.address, told.reach, told.frames);
        }
    }
    Ok(())
}

/// Makes a start from what was read for all of a part. What comes after the cursor may be `bytes`.
pub fn start(
    wanted: &From,
    part: &Part,
    read: &Read,
    past: &Past,
    (encoder, bytes): (&Encoder, u64),
) -> Result<Start, Crowded> {
    let Part { partition, addresses, .. } = part;
    let place = Place { epoch: read.at.epoch, id: past.last };
    let tail = read.span == Span::Latest;
    let mut gathered = Replay::new(bytes);
    for told in past.of(addresses, read.after(), read.at.epoch, encoder)? {
        gathered.add(told.address, told.missed.map(<[_]>::iter).map_err(reason));
    }
    let (mut replay, mut resync) = gathered.finish(*partition);
    if matches!(wanted, From::Now) {
        // What came while it joined, it did not ask for.
        (replay, resync) = (Vec::new(), Vec::new());
    }
    let never_was = (!tail && read.after() > past.last).then_some(Reason::Cursor);
    if let Some(reason) = read.resync.or(never_was) {
        (replay, resync) = (Vec::new(), each(addresses, reason));
    }
    let from = if replay.is_empty() || tail { place } else { Place { id: read.after(), ..place } };
    Ok(Start { partition: *partition, place, from, replay, tail, resync })
}

impl Read {
    /// After which id everything is needed.
    fn after(&self) -> Id {
        match self.span {
            Span::After(after) => after,
            Span::Between(..) | Span::Latest => Id::ZERO,
        }
    }
}

fn reason(status: Status) -> Reason {
    match status {
        Status::Big => Reason::Slow,
        Status::Lost | Status::Complete => Reason::HistoryLost,
    }
}
