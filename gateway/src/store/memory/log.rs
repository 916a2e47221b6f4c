//! One partition of the embedded store: its epoch, its ids, and the stream of each address.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tidings_shared::script::Span;
use tidings_shared::{Address, Epoch, Id, Retention};

use super::kept::{Held, Home, Kept, Weight};
use crate::store::session::{Entries, Missed, Status};

/// One partition.
#[derive(Debug)]
pub struct Log {
    /// Which history it is.
    pub epoch: Epoch,
    /// The last id: of an event, or lifted by a beacon.
    pub last: Id,
    streams: HashMap<Arc<Address>, Stream>,
    /// The newest id of the streams that were dropped for lack of room. Of what has no stream, everything up to here may
    /// be lost.
    dropped: Option<Id>,
}

#[derive(Debug)]
struct Stream {
    entries: VecDeque<(Id, Arc<Kept>)>,
    /// The newest id that was dropped for lack of room.
    trimmed: Option<Id>,
    _weight: Weight,
}

impl Log {
    /// An empty one.
    pub fn new(epoch: Epoch, last: Id) -> Self {
        Self { epoch, last, streams: HashMap::new(), dropped: None }
    }

    /// The next id: the clock's, or right above the last where the clock stands still or went back.
    pub fn advance(&mut self, now: u64) -> Id {
        let now = Id { ms: now, seq: 0 };
        self.last = if now > self.last { now } else { self.last.next() };
        self.last
    }

    /// The address as its stream has it, or a new one.
    pub fn shared(&self, address: &Address) -> Arc<Address> {
        let known = self.streams.get_key_value(address).map(|(address, _)| Arc::clone(address));
        known.unwrap_or_else(|| Arc::new(address.clone()))
    }

    /// Adds an event to the stream of an address.
    pub fn append(&mut self, address: &Arc<Address>, id: Id, event: &Arc<Kept>, retention: &Retention, held: &Held) {
        let dropped = self.dropped;
        let stream = self.streams.entry(Arc::clone(address)).or_insert_with(|| Stream {
            entries: VecDeque::new(),
            trimmed: dropped,
            _weight: held.stream(address),
        });
        stream.entries.push_back((id, Arc::clone(event)));
        while stream.entries.len() as u64 > retention.events {
            stream.trim();
        }
    }

    /// Drops an event for lack of room. Who asks for it is answered that it is lost.
    pub fn drop_event(&mut self, home: &Home) {
        for address in &home.addresses {
            let Some(stream) = self.streams.get_mut(address) else { continue };
            while stream.entries.front().is_some_and(|(id, _)| *id <= home.id) {
                stream.trim();
            }
            if stream.entries.is_empty() {
                self.dropped = self.dropped.max(stream.trimmed);
                self.streams.remove(address);
            }
        }
    }

    /// What the stream of an address holds of a span, if that is no more than `bytes`, which it takes away from.
    pub fn read(&self, address: &Address, span: Span, retention: &Retention, now: u64, bytes: &mut u64) -> Entries {
        let (after, up_to) = match span {
            Span::After(after) => (after, Id { ms: u64::MAX, seq: u64::MAX }),
            Span::Between(after, up_to) => (after, up_to),
            Span::Latest => return self.latest(address),
        };
        if self.is_too_old(after, retention, now) {
            return Entries { status: Status::Lost, messages: Vec::new() };
        }
        let Some(stream) = self.streams.get(address) else {
            let lost = self.is_dropped_after(after);
            return Entries::none(if lost { Status::Lost } else { Status::Complete });
        };
        let from = stream.entries.partition_point(|(id, _)| *id <= after);
        let wanted = || stream.entries.range(from..).take_while(|(id, _)| *id <= up_to);
        let size = wanted().map(|(_, event)| event.message.len() as u64).sum::<u64>();
        match bytes.checked_sub(size) {
            Some(rest) => {
                *bytes = rest;
                let messages = wanted().map(copied).collect();
                let trimmed = stream.trimmed.is_some_and(|trimmed| trimmed > after);
                Entries { status: if trimmed { Status::Lost } else { Status::Complete }, messages }
            }
            None => Entries::none(Status::Big),
        }
    }

    /// Lifts the last id to the clock and to what a gateway has seen, and drops the streams that are too old by then.
    pub fn lift(&mut self, seen: Id, now: u64, retention: &Retention) {
        self.last = self.last.max(seen).max(Id { ms: now, seq: 0 });
        let too_old = self.last.ms.saturating_sub(retention.age_ms);
        self.streams.retain(|_, stream| stream.entries.back().is_some_and(|(id, _)| id.ms > too_old));
    }

    /// Which addresses changed after an id. There is no journal: the streams themselves say what they got.
    pub fn missed(&self, after: Id, retention: &Retention, now: u64) -> Missed {
        let changed =
            self.streams.iter().filter(|(_, stream)| stream.entries.back().is_some_and(|(id, _)| *id > after));
        Missed {
            epoch: Some(self.epoch),
            last: self.last,
            complete: !self.is_too_old(after, retention, now) && !self.is_dropped_after(after),
            next: None,
            addresses: changed.map(|(address, _)| Address::clone(address)).collect(),
            unreadable: 0,
        }
    }

    /// Whether streams may have been dropped that got something after `after`. By the last id where the clock stepped
    /// back behind it: what was dropped must not look young again.
    fn is_too_old(&self, after: Id, retention: &Retention, now: u64) -> bool {
        after.ms.saturating_add(retention.age_ms) <= now.max(self.last.ms)
    }

    /// Whether whole streams were dropped for lack of room that got something after `after`.
    fn is_dropped_after(&self, after: Id) -> bool {
        self.dropped.is_some_and(|dropped| dropped > after)
    }

    fn latest(&self, address: &Address) -> Entries {
        let last = self.streams.get(address).and_then(|stream| stream.entries.back()).map(copied);
        Entries { status: Status::Complete, messages: last.into_iter().collect() }
    }
}

impl Entries {
    fn none(status: Status) -> Self {
        Self { status, messages: Vec::new() }
    }
}

impl Stream {
    /// Drops the oldest entry.
    fn trim(&mut self) {
        self.trimmed = self.entries.pop_front().map(|(id, _)| id).or(self.trimmed);
    }
}

fn copied((id, event): &(Id, Arc<Kept>)) -> (Id, String) {
    (*id, event.message.to_string())
}
