//! A connection's backlog, bounded in bytes.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use tidings_shared::Address;

use super::places::Places;
use super::resyncs::Resyncs;
use crate::frame::Frame;

/// One thing that waits to be written. It is as small as two numbers: what is large is shared, or rare.
#[derive(Debug)]
pub enum Entry {
    /// An event in its turn. Ids of these rise within each partition.
    Event(Frame),
    /// An event that was held back while later ones went on.
    Late(Frame),
    /// No bytes: what was said before this makes the event needless.
    Covered(Frame),
    /// No bytes: these resyncs, which had waited for their moment, were said before this.
    Told(Box<Resyncs>),
    /// What is no event of the live stream and moves nobody's cursor by itself: a resync, a heartbeat, the end.
    Said(Box<Bytes>),
    /// That the connection is up to date, at these places.
    Ready(Box<Places>),
}

impl Entry {
    fn len(&self) -> usize {
        match self {
            Self::Event(frame) | Self::Late(frame) => frame.bytes().len(),
            Self::Said(bytes) => bytes.len(),
            Self::Covered(_) | Self::Told(_) | Self::Ready(_) => 0,
        }
    }
}

/// Entries whose room a queue keeps when it has run empty.
const KEPT: usize = 8;

/// What waits to be written, in order. Holds at most `limit` bytes of live frames; a replay, which is bounded where it is
/// read, comes on top.
///
/// The bytes are those of the frames, which connections share; what a connection has for itself is an [`Entry`] for
/// each.
#[derive(Debug)]
pub struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    limit: usize,
    /// What came on top: allowed until the queue has run empty.
    extra: usize,
    /// Bytes that are held back, and will come in later. They count as if they were here.
    held: usize,
}

impl Queue {
    /// An empty queue, which costs no allocation.
    pub fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, limit, extra: 0, held: 0 }
    }

    /// Whether so many more bytes fit.
    pub fn fits(&self, bytes: usize) -> bool {
        self.bytes() + bytes <= self.limit + self.extra
    }

    /// Appends what was made sure to fit.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.len();
        self.entries.push_back(entry);
    }

    /// Appends on top of the limit.
    pub fn push_extra(&mut self, entry: Entry) {
        self.extra += entry.len();
        self.push(entry);
    }

    /// Makes room for bytes that will come in later, and were made sure to fit.
    pub fn hold(&mut self, bytes: usize) {
        self.held += bytes;
    }

    /// The same on top of the limit.
    pub fn hold_extra(&mut self, bytes: usize) {
        self.extra += bytes;
        self.hold(bytes);
    }

    /// They come in now, or never.
    pub fn release(&mut self, bytes: usize) {
        self.held -= bytes;
    }

    /// Drops each event that may be coalesced if later ones in the queue name all its addresses, under its event name or
    /// with `any_name` under whichever: of each address the latest stays, in its own place, so ids stay in order. Tells `drop` of each.
    ///
    /// False if that freed less than a quarter of what the queue holds at the most. Then it is not worth to go on so:
    /// the next push would look through all of it again for as little.
    pub fn collapse(&mut self, any_name: bool, mut drop: impl FnMut(&Frame)) -> bool {
        let before = self.bytes;
        let mut named: HashSet<(Option<&str>, &Address)> = HashSet::new();
        let mut keep = vec![true; self.entries.len()];
        for (entry, keep) in self.entries.iter().zip(&mut keep).rev() {
            let (Entry::Event(frame) | Entry::Late(frame)) = entry else { continue };
            let mut fresh = false;
            for address in frame.addresses() {
                let name = frame.name().filter(|_| !any_name);
                fresh |= named.insert((name.map(|name| &**name), address));
            }
            if frame.is_coalescable() && !fresh {
                *keep = false;
                self.bytes -= frame.bytes().len();
                drop(frame);
            }
        }
        let mut keep = keep.into_iter();
        self.entries.retain(|_| keep.next().unwrap_or(true));
        before - self.bytes >= self.limit / 4
    }

    /// The oldest entry, to be written.
    pub fn pop(&mut self) -> Option<Entry> {
        let Some(entry) = self.entries.pop_front() else {
            // Memory too, but for what makes the next events cost no allocation: an idle connection must cost nothing.
            if self.entries.capacity() > KEPT {
                self.entries = VecDeque::new();
            }
            // But for what is held back: it was allowed too, and has yet to come in.
            self.extra = self.extra.min(self.held);
            return None;
        };
        self.bytes -= entry.len();
        Some(entry)
    }

    /// Drops everything, also what is held back.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// The most bytes of live frames.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes wait, here or held back.
    pub fn bytes(&self) -> usize {
        self.bytes + self.held
    }

    /// Whether nothing waits to be written now.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
