//! Turns history that was read, or remembered, into events in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_shared::cursor::Place;
use tidings_shared::{Address, Epoch, Id, Message, Partition};

use super::delivery::{Dispatch, Frames};
use super::followed::{FollowTable, Followed};
use crate::frame::{Encoder, Frame};
use crate::store::{History, Status};

/// The frames of one address, as history holds them.
pub type AddressFrames = Vec<(Id, Frame)>;

/// Encodes what was read of `addresses`, one by one; an address whose entries are not complete has its status instead.
pub fn encode(
    history: &History,
    addresses: &[Arc<Address>],
    epoch: Epoch,
    encoder: &Encoder,
) -> Vec<Result<AddressFrames, Status>> {
    let each = addresses.iter().zip(&history.entries).map(|(address, entries)| {
        if entries.status != Status::Complete {
            return Err(entries.status);
        }
        let frame = |(id, text): &(Id, String)| {
            let message = Message::decode(text).ok()?;
            Some((*id, encoder.encode(Place { epoch, id: *id }, &message, address)?))
        };
        // An entry that nobody could have written through the script is as good as lost.
        let frames: Option<AddressFrames> = entries.messages.iter().map(frame).collect();
        frames.ok_or(Status::Lost)
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

/// What the recent frames of `addresses` hold after `after`, up to and with `up_to`, if they all reach back that far and
/// it is no more than `bytes`.
///
/// `up_to` is the watermark: what comes after it must all come in live. Where a read for another join has brought more
/// than that, some of it will and some (from before the subscription) will not, until the watermark has caught up.
pub fn from_memory(
    table: &FollowTable,
    partition: Partition,
    addresses: &[Arc<Address>],
    (after, up_to): (Id, Id),
    bytes: u64,
) -> Option<Vec<Dispatch>> {
    let mut frames = Vec::new();
    let mut size = 0;
    for address in addresses {
        let recent = table.get(address).and_then(Followed::recent);
        let recent = recent.filter(|recent| recent.reaches_back_to(after) && recent.is_live_from(up_to))?;
        for frame in recent.after(after).take_while(|(id, _)| *id <= up_to) {
            size += frame.1.bytes().len() as u64;
            frames.push((address, frame));
        }
        if size > bytes {
            return None;
        }
    }
    Some(merge(partition, frames.into_iter()))
}
