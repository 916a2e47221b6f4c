//! What the reader hands to a worker, in the order in which the worker must take it.

use std::sync::Arc;

use smallvec::SmallVec;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Id, Partition};

use crate::control::Reason;
use crate::frame::Frame;

/// One thing for a worker to take.
#[derive(Debug)]
pub enum Delivery {
    /// Events, and how far each partition has come with them.
    Batch(Batch),
    /// A connection knows its place now.
    Joined(Joined),
    /// A connection follows addresses for which there is no room: it is to come back later.
    NoRoom(ConnectionKey),
    /// Addresses must be refetched.
    Resync(Resync),
    /// Events of an address come under another SSE event name than before, too.
    Names(AddressNames),
    /// The worker did not keep up and deliveries to it were dropped: all it serves must be refetched.
    Lagged(Vec<Option<Place>>),
    /// Nobody can be served for now: all connections are to come back, to another gateway if there is one.
    Unserved,
}

impl Delivery {
    /// About how much of a worker's time it takes, in pushes into a queue.
    pub fn pushes(&self) -> usize {
        let Self::Joined(Joined { starts: Some(starts), .. }) = self else { return 1 };
        1 + starts.iter().map(|start| start.replay.len() + start.resync.len()).sum::<usize>()
    }
}

/// Events in order, and each partition's watermark after them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events, in order within each partition.
    pub events: Vec<Dispatch>,
    /// By partition: everything up to this place has been handed out.
    pub watermarks: Vec<Option<Place>>,
}

/// One event, as connections that follow one of its addresses get it.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// Where its id counts.
    pub partition: Partition,
    /// Its id.
    pub id: Id,
    /// A frame for each of its addresses; nearly always one.
    pub frames: Frames,
}

impl Dispatch {
    /// The frame for a connection that follows all of its addresses.
    pub fn frame(&self) -> Option<Frame> {
        match self.frames.as_slice() {
            [(_, frame)] => Some(frame.clone()),
            frames => Frame::merge(frames),
        }
    }
}

/// Frames of one event by address.
pub type Frames = SmallVec<[(Arc<Address>, Frame); 1]>;

/// Names a connection of a worker. Slots are used again, serials never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// Where it is.
    pub slot: u32,
    /// Which one it is.
    pub serial: u64,
}

impl ConnectionKey {
    /// That of no connection: serials begin at 1.
    pub const NONE: Self = Self { slot: 0, serial: 0 };
}

/// The answer to a join.
#[derive(Debug)]
pub struct Joined {
    /// Who asked.
    pub connection: ConnectionKey,
    /// Where it begins in each partition, or that the store is away, so that it must come back later.
    pub starts: Option<Vec<Start>>,
}

/// Where a connection begins in one partition.
#[derive(Debug)]
pub struct Start {
    /// Which.
    pub partition: Partition,
    /// Everything up to here is either in `replay`, covered by `resync`, or older than the connection asked for.
    pub place: Place,
    /// Where `replay` begins: the cursor's place, or `place` if nothing was missed.
    pub from: Place,
    /// What was missed, in order.
    pub replay: Vec<Dispatch>,
    /// Whether `replay` is the latest of each address and not what came after a cursor: then it carries no ids.
    pub tail: bool,
    /// What must be refetched.
    pub resync: Vec<(Arc<Address>, Reason)>,
}

impl Start {
    /// Bytes of what is replayed.
    pub fn replay_bytes(&self) -> usize {
        self.replay.iter().flat_map(|event| &event.frames).map(|(_, frame)| frame.bytes().len()).sum()
    }
}

/// SSE event names under which events of one address came.
pub type EventNames = Arc<[Arc<str>]>;

/// All SSE event names that are known of an address.
#[derive(Debug, Clone)]
pub struct AddressNames {
    /// The address.
    pub address: Arc<Address>,
    /// The names.
    pub names: EventNames,
}

/// Addresses of one partition must be refetched by all who follow them.
#[derive(Debug, Clone)]
pub struct Resync {
    /// Which.
    pub partition: Partition,
    /// Where the partition is now; its epoch may be another one than before.
    pub place: Place,
    /// The addresses; `None` for all of the partition.
    pub addresses: Option<Vec<Arc<Address>>>,
    /// Why.
    pub reason: Reason,
}
