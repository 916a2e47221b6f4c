//! A join: where a connection begins, and what it gets first.

use std::sync::Arc;

use tidings_shared::cursor::Place;
use tidings_shared::script::Span;
use tidings_shared::{Address, Cursor, Id, Partition};

use super::delivery::{ConnectionKey, Start};
use super::followed::FollowTable;
use super::outbox::WorkerId;
use super::partition::PartitionState;
use super::replay;
use crate::control::Reason;
use crate::frame::{Encoder, Frame};
use crate::store::{History, Status};

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
    /// How often the store answered with less than had been handed out already.
    pub behind: u8,
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
    let followed = || addresses.iter().all(|a| table.get(a).is_some_and(|f| f.reaches_back_to(at.id)));
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
/// sure that the answer is of that epoch.
pub fn start(
    wanted: &From,
    part: &Part,
    read: Read,
    history: &History,
    table: &mut FollowTable,
    encoder: &Encoder,
) -> Start {
    let Read { span, at, resync } = read;
    let place = Place { epoch: at.epoch, id: history.last };
    let tail = span == Span::Latest;
    let from = match span {
        Span::After(after) => Place { epoch: at.epoch, id: after },
        _ => place,
    };
    let (replay, resync_each) = (Vec::new(), Vec::new());
    let mut start = Start { partition: part.partition, place, from, replay, tail, resync: resync_each };
    let read = replay::encode(history, &part.addresses, at.epoch, encoder);
    let frames = read.iter().filter_map(|(address, read)| Some((address, read.as_ref().ok()?)));
    start.replay =
        replay::merge(part.partition, frames.flat_map(|(a, frames)| frames.iter().map(move |frame| (a, frame))));
    for (address, read) in read {
        let since = match (span, &read) {
            (Span::After(after), Ok(_)) => after,
            _ => history.last,
        };
        if let Err(status) = &read {
            start.resync.push((Arc::clone(&address), reason(*status)));
        }
        let read: Vec<(Id, Frame)> = if start.tail { Vec::new() } else { read.unwrap_or_default() };
        table.complete(&address, since.min(history.last), history.last, read);
    }
    if matches!(wanted, From::Now) {
        // What came while it joined, it did not ask for.
        start.replay = Vec::new();
        start.resync = Vec::new();
    }
    let never_was = matches!(span, Span::After(after) if after > history.last).then_some(Reason::Cursor);
    if let Some(reason) = resync.or(never_was) {
        start.replay = Vec::new();
        start.resync = each(&part.addresses, reason);
    }
    if start.replay.is_empty() {
        start.from = place;
    }
    start
}

fn reason(status: Status) -> Reason {
    match status {
        Status::Big => Reason::Slow,
        Status::Lost | Status::Complete => Reason::HistoryLost,
    }
}
