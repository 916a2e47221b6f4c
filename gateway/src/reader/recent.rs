//! What an address got lately: its recent frames, and how far back and forth they are all that there was.

use std::collections::VecDeque;

use tidings_shared::Id;

use crate::frame::Frame;

/// What an address got lately.
#[derive(Debug, Default)]
pub struct Recent {
    /// Everything after this id is here. Unknown until history was read once.
    since: Option<Id>,
    /// Where that reading ended. What came before it may never come in live, as the subscription is younger.
    read_to: Id,
    /// Oldest first.
    frames: VecDeque<(Id, Frame)>,
    /// Bytes of the frames.
    bytes: usize,
}

impl Recent {
    /// Whether all that came after `id` is here.
    pub fn reaches_back_to(&self, id: Id) -> bool {
        self.since.is_some_and(|since| since <= id)
    }

    /// Whether all that comes after `watermark` comes in live. Below where the reading ended some of it does not.
    pub fn is_live_from(&self, watermark: Id) -> bool {
        self.read_to <= watermark
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

    /// How many frames there are, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.frames.len(), self.bytes)
    }

    /// Adds what came in. False if it is here already.
    pub fn push(&mut self, id: Id, frame: &Frame) -> bool {
        if self.frames.back().is_some_and(|(last, _)| *last >= id) {
            return false;
        }
        self.bytes += frame.bytes().len();
        self.frames.push_back((id, frame.clone()));
        true
    }

    /// Drops the oldest frame, for lack of room.
    pub fn drop_oldest(&mut self) {
        if let Some((id, frame)) = self.frames.pop_front() {
            self.bytes -= frame.bytes().len();
            self.since = self.since.map(|since| since.max(id));
        }
    }

    /// Everything after `since` was read: from here on it reaches back that far. `read` is what was read, up to and with
    /// `up_to`; frames after that came in live meanwhile.
    pub fn complete(&mut self, since: Id, up_to: Id, read: Vec<(Id, Frame)>) {
        if self.since.is_some() {
            return;
        }
        let live = std::mem::take(&mut self.frames).into_iter().filter(|(id, _)| *id > up_to);
        (self.since, self.read_to, self.bytes) = (Some(since), up_to, 0);
        for (id, frame) in read.into_iter().chain(live) {
            self.push(id, &frame);
        }
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
