//! One partition of the embedded store: its epoch, its ids, and the stream of each address.

use std::collections::{HashMap, VecDeque};

use tidings_shared::script::Span;
use tidings_shared::{Address, Epoch, Id, Retention};

use crate::store::session::{Entries, Missed, Status};

/// One partition.
#[derive(Debug)]
pub struct Log {
    /// Which history it is.
    pub epoch: Epoch,
    /// The last id: of an event, or lifted by a beacon.
    pub last: Id,
    streams: HashMap<Address, Stream>,
    /// When the last beacon came, by the clock.
    lifted_at: u64,
}

#[derive(Debug, Default)]
struct Stream {
    entries: VecDeque<(Id, String)>,
    /// The newest id that was dropped for lack of room.
    trimmed: Option<Id>,
}

impl Log {
    /// An empty one.
    pub fn new(epoch: Epoch, last: Id) -> Self {
        Self { epoch, last, streams: HashMap::new(), lifted_at: last.ms }
    }

    /// The next id: the clock's, or right above the last where the clock stands still or went back.
    pub fn advance(&mut self, now: u64) -> Id {
        let now = Id { ms: now, seq: 0 };
        self.last = if now > self.last { now } else { self.last.next() };
        self.last
    }

    /// Adds a message to the stream of an address.
    pub fn append(&mut self, address: &Address, id: Id, message: &str, retention: &Retention) {
        let stream = self.streams.entry(address.clone()).or_default();
        stream.entries.push_back((id, message.to_owned()));
        while stream.entries.len() as u64 > retention.events {
            stream.trimmed = stream.entries.pop_front().map(|(id, _)| id);
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
        let Some(stream) = self.streams.get(address) else { return Entries::none(Status::Complete) };
        let from = stream.entries.partition_point(|(id, _)| *id <= after);
        let messages: Vec<_> = stream.entries.range(from..).take_while(|(id, _)| *id <= up_to).cloned().collect();
        let size = messages.iter().map(|(_, message)| message.len() as u64).sum::<u64>();
        match bytes.checked_sub(size) {
            Some(rest) => {
                *bytes = rest;
                let trimmed = stream.trimmed.is_some_and(|trimmed| trimmed > after);
                Entries { status: if trimmed { Status::Lost } else { Status::Complete }, messages }
            }
            None => Entries::none(Status::Big),
        }
    }

    /// Lifts the last id to the clock and to what a gateway has seen, and drops the streams that are too old by then.
    pub fn lift(&mut self, seen: Id, now: u64, retention: &Retention) {
        // Ids that are further ahead than history is kept would stand still until the clock comes
        // there, and streams would never grow old. So they move on at its pace.
        let elapsed = now.saturating_sub(self.lifted_at).min(retention.age_ms);
        self.lifted_at = now;
        if self.last.ms.saturating_sub(now) > retention.age_ms {
            self.last = self.last.max(Id { ms: self.last.ms.saturating_add(elapsed), seq: 0 });
        }
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
            complete: !self.is_too_old(after, retention, now),
            next: None,
            addresses: changed.map(|(address, _)| address.clone()).collect(),
            unreadable: 0,
        }
    }

    /// Whether streams may have been dropped that got something after `after`. By the last id where the clock stepped
    /// back behind it: what was dropped must not look young again.
    fn is_too_old(&self, after: Id, retention: &Retention, now: u64) -> bool {
        after.ms.saturating_add(retention.age_ms) <= now.max(self.last.ms)
    }

    fn latest(&self, address: &Address) -> Entries {
        let last = self.streams.get(address).and_then(|stream| stream.entries.back()).cloned();
        Entries { status: Status::Complete, messages: last.into_iter().collect() }
    }
}

impl Entries {
    fn none(status: Status) -> Self {
        Self { status, messages: Vec::new() }
    }
}
