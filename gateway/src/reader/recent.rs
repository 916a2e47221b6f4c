//! What an address got lately: its recent frames, and how far back and forth they are all that there was.

use std::collections::VecDeque;

use tidings_shared::Id;

use crate::frame::Frame;

/// What an address got lately.
#[derive(Debug, Default)]
pub struct Recent {
    /// Everything after this id is here. Unknown until history was read once.
    since: Option<Id>,
    /// Where the first reading ended. What came before it may never come in live, as the subscription is younger.
    read_to: Id,
    /// Of what came after an id below this, the store has not all any more.
    lost_before: Id,
    /// The newest frame that was dropped for lack of room.
    dropped: Id,
    /// Oldest first.
    frames: VecDeque<(Id, Frame)>,
    /// Bytes that the frames take, without their places here.
    bytes: usize,
}

/// Bytes of the place of a frame.
const PLACE: usize = size_of::<(Id, Frame)>();
/// Bytes that a frame takes in the order in which frames are dropped: that may be twice as long as there are frames.
const ORDER: usize = 2 * size_of::<usize>();

/// How far a reading of an address reaches.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// It brought everything after this id …
    pub since: Id,
    /// … up to and with this one, later than which everything comes in live.
    pub up_to: Id,
    /// Of what came after an id below this, the store has not all any more.
    pub lost_before: Id,
}

impl Recent {
    /// Whether all that came after `id` is here.
    pub fn reaches_back_to(&self, id: Id) -> bool {
        self.since.is_some_and(|since| since <= id)
    }

    /// Whether the store is known to have lost some of what came after `id`.
    pub fn is_lost_after(&self, id: Id) -> bool {
        id < self.lost_before && !self.reaches_back_to(id)
    }

    /// From where on everything comes in live. Between a watermark below that and it, some does not.
    pub fn live_from(&self) -> Id {
        self.read_to
    }

    /// What came after `id`, oldest first.
    pub fn after(&self, id: Id) -> impl Iterator<Item = &(Id, Frame)> {
        let from = self.frames.partition_point(|(recent, _)| *recent <= id);
        self.frames.range(from..)
    }

    /// All ids, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        self.frames.iter().map(|(id, _)| *id)
    }

    /// How many frames there are, and the bytes that they take.
    pub fn size(&self) -> (usize, usize) {
        (self.frames.len(), self.bytes + self.frames.capacity() * PLACE)
    }

    /// Adds what came in, if it is not here already, nor older than what is.
    pub fn push(&mut self, id: Id, frame: &Frame) {
        if self.frames.back().map(|(last, _)| *last).max(self.since).is_none_or(|last| last < id) {
            self.bytes += held(frame);
            self.frames.push_back((id, frame.clone()));
        }
    }

    /// Drops the oldest frame, for lack of room.
    pub fn drop_oldest(&mut self) {
        if let Some((id, frame)) = self.frames.pop_front() {
            self.bytes -= held(&frame);
            self.dropped = id;
            self.since = self.since.map(|since| since.max(id));
            // Or an address that was busy once would hold its room for ever.
            if self.frames.len() < self.frames.capacity() / 4 {
                self.frames.shrink_to(self.frames.len() * 2);
            }
        }
    }

    /// Learns what was read: `read` is all that came in `reach`.
    pub fn learn(&mut self, reach: Reach, read: &[(Id, Frame)]) {
        self.lost_before = self.lost_before.max(reach.lost_before);
        match self.since {
            None => self.begin(reach, read),
            // What is here goes on where the reading can end: with nothing missing in between, it is a longer past.
            Some(since) if reach.since < since && since <= reach.up_to => self.extend(reach.since, since, read),
            Some(_) => {}
        }
    }

    /// The first reading. Frames after its end came in live meanwhile; had one of them to be dropped, that is how far it
    /// reaches back.
    fn begin(&mut self, reach: Reach, read: &[(Id, Frame)]) {
        let since = if self.dropped > reach.up_to { self.dropped } else { reach.since };
        let live = std::mem::take(&mut self.frames).into_iter().filter(|(id, _)| *id > reach.up_to);
        (self.since, self.read_to, self.bytes) = (Some(since), reach.up_to, 0);
        for (id, frame) in read.iter().filter(|(id, _)| *id > since) {
            self.push(*id, frame);
        }
        live.for_each(|(id, frame)| self.push(id, &frame));
    }

    /// An older past, from `from` to `to`, where what is here begins.
    fn extend(&mut self, from: Id, to: Id, read: &[(Id, Frame)]) {
        for (id, frame) in read.iter().rev().filter(|(id, _)| *id > from && *id <= to) {
            self.bytes += held(frame);
            self.frames.push_front((*id, frame.clone()));
        }
        self.since = Some(from);
    }

    /// What came up to `from` is lost; what comes after it will be pushed.
    pub fn forget(&mut self, from: Id) {
        *self = Self { since: self.since.map(|_| from), read_to: from, ..Self::default() };
    }

    /// Something that came could not be read: what is here is not all.
    pub fn doubt(&mut self) {
        *self = Self { read_to: self.read_to, ..Self::default() };
    }
}

/// Bytes that are counted of a frame.
fn held(frame: &Frame) -> usize {
    frame.held_bytes() + ORDER
}

#[cfg(test)]
mod tests;
