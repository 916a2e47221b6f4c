//! A replay: what a connection missed, from history that was read or remembered, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_shared::cursor::Place;
use tidings_shared::{Address, Epoch, Id, Message, Partition};

use crate::control::Reason;
use crate::frame::{Encoder, Frame};
use crate::reader::delivery::{Dispatch, Frames};
use crate::store::{History, Status};

/// What history tells of one address.
#[derive(Debug)]
pub struct Told {
    /// Whether `frames` are all.
    pub status: Status,
    /// Its frames. Where some are lost, what is left: all that came after the first of these.
    pub frames: Vec<(Id, Frame)>,
}

/// Encodes what was read of `addresses`, one by one.
pub fn encode(history: &History, addresses: &[Arc<Address>], epoch: Epoch, encoder: &Encoder) -> Vec<Told> {
    let each = addresses.iter().zip(&history.entries).map(|(address, entries)| {
        let frame = |(id, text): &(Id, String)| {
            let message = Message::decode(text).ok()?;
            Some((*id, encoder.encode(Place { epoch, id: *id }, &message, address)?))
        };
        match entries.messages.iter().map(frame).collect() {
            Some(frames) => Told { status: entries.status, frames },
            // An entry that nobody could have written through the script is as good as lost.
            None => Told { status: Status::Lost, frames: Vec::new() },
        }
    });
    each.collect()
}

/// Events from the frames of several addresses: in order of their ids, one event for each id.
pub fn merge<'a>(
    partition: Partition,
    frames: impl Iterator<Item = (&'a Arc<Address>, &'a (Id, Frame))>,
) -> Vec<Dispatch> {
    let mut by_id: BTreeMap<Id, Frames> = BTreeMap::new();
    for (address, (id, frame)) in frames {
        by_id.entry(*id).or_default().push((Arc::clone(address), frame.clone()));
    }
    by_id.into_iter().map(|(id, frames)| Dispatch { partition, id, frames }).collect()
}

/// What a connection missed in one partition, gathered address by address, within the bytes that it may have.
#[derive(Debug)]
pub struct Replay<'a> {
    /// `None` once an address was too much: then it and all that follow are resynced.
    left: Option<u64>,
    frames: Vec<(&'a Arc<Address>, &'a (Id, Frame))>,
    resync: Vec<(Arc<Address>, Reason)>,
}

impl<'a> Replay<'a> {
    /// Nothing yet, of at most `bytes`.
    pub fn new(bytes: u64) -> Self {
        Self { left: Some(bytes), frames: Vec::new(), resync: Vec::new() }
    }

    /// Adds what an address got, or why that cannot be told.
    pub fn add(&mut self, address: &'a Arc<Address>, missed: Result<impl Iterator<Item = &'a (Id, Frame)>, Reason>) {
        let missed = match missed {
            Ok(missed) => missed,
            Err(reason) => return self.resync.push((Arc::clone(address), reason)),
        };
        let before = self.frames.len();
        for frame in missed {
            self.left = self.left.and_then(|left| left.checked_sub(frame.1.bytes().len() as u64));
            if self.left.is_none() {
                break;
            }
            self.frames.push((address, frame));
        }
        if self.left.is_none() {
            self.frames.truncate(before);
            self.resync.push((Arc::clone(address), Reason::Slow));
        }
    }

    /// The events in order, and what must be refetched.
    pub fn finish(self, partition: Partition) -> (Vec<Dispatch>, Vec<(Arc<Address>, Reason)>) {
        (merge(partition, self.frames.into_iter()), self.resync)
    }
}
