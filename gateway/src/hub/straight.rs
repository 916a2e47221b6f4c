//! A run of events, joined as they go straight to the sockets of connections that have nothing else to write.

use tidings_shared::{Id, Partition, Partitions};

use crate::reader::delivery::Dispatch;

/// A run of events, all to one address, joined. Its memory is used again for the next one.
#[derive(Debug, Default)]
pub struct Straight {
    bytes: Vec<u8>,
    span: Option<Span>,
}

/// Which events they are.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Where their ids count.
    pub partition: Partition,
    /// The id of the first.
    pub first: Id,
    /// The id of the last.
    pub last: Id,
    /// How many they are.
    pub events: u64,
}

impl Straight {
    /// Joins a run. Not if connections may get it under cursors of their own, or later.
    pub fn join(&mut self, run: &[Dispatch], partitions: Partitions) {
        self.clear();
        let ([first, ..], [.., last]) = (run, run) else { return };
        let mut frames = run.iter().flat_map(|event| &event.frames);
        if partitions == Partitions::ONE && frames.clone().all(|(_, frame)| frame.is_immediate()) {
            frames.by_ref().for_each(|(_, frame)| self.bytes.extend_from_slice(frame.bytes()));
            let (partition, events) = (first.partition, run.len() as u64);
            self.span = Some(Span { partition, first: first.id, last: last.id, events });
        }
    }

    /// Holds none.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.span = None;
    }

    /// What it holds, if anything.
    pub fn get(&self) -> Option<(&[u8], Span)> {
        Some((&self.bytes, self.span?))
    }
}
