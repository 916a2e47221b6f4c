//! A join: where a connection begins, and what it gets first.

use std::sync::Arc;

use tidings_shared::cursor::Place;
use tidings_shared::script::Span;
use tidings_shared::{Address, Cursor, Id, Partition};

use super::delivery::{ConnectionKey, Start};
use super::followed::{FollowTable, Followed};
use super::outbox::WorkerId;
use super::partition::PartitionState;
use super::past::{Crowded, Past};
use super::replay;
use crate::control::Reason;
use crate::frame::{Encoder, Frame};
use crate::store::Status;

/// Where a connection wants to begin.
#[derive(Debug)]
pub enum From {
    /// Now.
    Now,
    /// Now, after the latest event of each address.
    Latest,
    /// After a cursor; `None` if it could not be read.
    Cursor(Option<Cursor>),
}

/// What a worker asks for a connection.
#[derive(Debug)]
pub struct Join {
    /// The worker.
    pub worker: WorkerId,
    /// The connection.
    pub connection: ConnectionKey,
    /// What it follows, none twice.
    pub addresses: Arc<[Arc<Address>]>,
    /// Where it wants to begin.
    pub from: From,
    /// What came of earlier reads for it.
    pub tries: Tries,
}

/// What came of earlier reads for a join.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tries {
    /// How often the store answered with less than had been handed out already.
    pub behind: u8,
    /// Whether it is to be read for alone: for it and others together it was too much, or too old.
    pub alone: bool,
}

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
    /// History must be read.
    Read(Read),
}

/// What a join has to read of one partition.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    /// What to read.
    pub span: Span,
    /// The watermark when it was asked: an answer from before that, or of another epoch, is of no use.
    pub at: Place,
    /// What is known already: everything must be refetched, for this reason. Only the place is missing.
    pub resync: Option<Reason>,
}

/// Splits a join by partition and plans each part. What is served from memory may be `bytes` of frames in each.
/// `None` if a partition has no place yet.
pub fn plan(join: &Join, table: &FollowTable, states: &[PartitionState], bytes: u64) -> Option<Vec<Part>> {
    let partitions = states.first()?.encoder.partitions;
    let mut parts: Vec<Part> = Vec::new();
    for partition in partitions.all() {
        let here = |address: &&Arc<Address>| partitions.of(address) == partition;
        let addresses: Vec<Arc<Address>> = join.addresses.iter().filter(here).map(Arc::clone).collect();
        if !addresses.is_empty() {
            let state = states.get(partition.index())?;
            let plan = plan_part(&join.from, partition, &addresses, table, state.place?, bytes);
            parts.push(Part { partition, addresses, generation: state.generation, plan });
        }
    }
    Some(parts)
}

fn plan_part(
    from: &From,
    partition: Partition,
    addresses: &[Arc<Address>],
    table: &FollowTable,
    at: Place,
    bytes: u64,
) -> Plan {
    let followed =
        || addresses.iter().all(|a| table.get(a).and_then(Followed::recent).is_some_and(|r| r.reaches_back_to(at.id)));
    let start = |from, replay, resync| Start { partition, place: at, from, replay, tail: false, resync };
    let now = |resync: Option<Reason>| {
        if followed() {
            let resync = resync.map(|reason| each(addresses, reason)).unwrap_or_default();
            Plan::Ready(start(at, Vec::new(), resync), false)
        } else {
            Plan::Read(Read { span: Span::After(at.id), at, resync })
        }
    };
    let cursor = match from {
        From::Now => return now(None),
        From::Latest => return Plan::Read(Read { span: Span::Latest, at, resync: None }),
        From::Cursor(cursor) => cursor.as_ref().and_then(|cursor| cursor.place(partition)),
    };
    match cursor {
        None => now(Some(Reason::Cursor)),
        Some(cursor) if cursor.epoch != at.epoch => now(Some(Reason::Epoch)),
        // The store could not even be asked what comes after the last of all ids.
        Some(cursor) if cursor.id.next() <= cursor.id => now(Some(Reason::Cursor)),
        // A place that this gateway has not come to yet: only the store can tell whether there is such a place.
        Some(cursor) if cursor.id > at.id => Plan::Read(Read { span: Span::After(cursor.id), at, resync: None }),
        Some(cursor) => match replay::from_memory(table, partition, addresses, (cursor.id, at.id), bytes) {
            Some(events) => Plan::Ready(start(cursor, events, Vec::new()), true),
            None => Plan::Read(Read { span: Span::After(cursor.id), at, resync: None }),
        },
    }
}

fn each(addresses: &[Arc<Address>], reason: Reason) -> Vec<(Arc<Address>, Reason)> {
    addresses.iter().map(|address| (Arc::clone(address), reason)).collect()
}

/// Makes a start from what was read, and lets the table remember it. `epoch` is the partition's: the caller has made
/// sure that the answer is of that epoch. What comes after the cursor may be `bytes`.
pub fn start(
    wanted: &From,
    part: &Part,
    read: Read,
    past: &Past,
    table: &mut FollowTable,
    (encoder, bytes): (&Encoder, u64),
) -> Result<Start, Crowded> {
    let Read { span, at, resync } = read;
    let place = Place { epoch: at.epoch, id: past.last };
    let tail = span == Span::Latest;
    let after = match span {
        Span::After(after) => after,
        _ => Id::ZERO,
    };
    let from = if tail { place } else { Place { epoch: at.epoch, id: after } };
    let mut start = Start { partition: part.partition, place, from, replay: Vec::new(), tail, resync: Vec::new() };
    let mut frames = Vec::new();
    let mut left = Some(bytes);
    for read in past.of(&part.addresses, after, at.epoch, encoder)? {
        let missed = read.after(after);
        left = left.and_then(|left| left.checked_sub(size(missed)));
        match (&read.frames, left) {
            (Ok(_), Some(_)) => frames.extend(missed.iter().map(|frame| (read.address, frame))),
            (Ok(_), None) => start.resync.push((Arc::clone(read.address), reason(Status::Big))),
            (Err(status), _) => start.resync.push((Arc::clone(read.address), reason(*status))),
        }
        let since = if tail || read.frames.is_err() { past.last } else { read.after.min(past.last) };
        let all = if tail { Vec::new() } else { read.frames.cloned().unwrap_or_default() };
        table.complete(read.address, since, past.last, all);
    }
    start.replay = replay::merge(part.partition, frames.into_iter());
    if matches!(wanted, From::Now) {
        // What came while it joined, it did not ask for.
        start.replay = Vec::new();
        start.resync = Vec::new();
    }
    let never_was = matches!(span, Span::After(after) if after > past.last).then_some(Reason::Cursor);
    if let Some(reason) = resync.or(never_was) {
        start.replay = Vec::new();
        start.resync = each(&part.addresses, reason);
    }
    if start.replay.is_empty() {
        start.from = place;
    }
    Ok(start)
}

fn size(frames: &[(Id, Frame)]) -> u64 {
    frames.iter().map(|(_, frame)| frame.bytes().len() as u64).sum()
}

fn reason(status: Status) -> Reason {
    match status {
        Status::Big => Reason::Slow,
        Status::Lost | Status::Complete => Reason::HistoryLost,
    }
}
