//! The past of some addresses: what was read of them at one moment, for all joins that asked meanwhile.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use tidings_shared::{Address, Epoch, Id};

use super::replay::{self, Told};
use crate::frame::{Encoder, Frame};
use crate::reader::recent::Reach;
use crate::store::{History, Status};

/// The past of some addresses. Encoded once, whoever needs it.
#[derive(Debug)]
pub struct Past {
    /// The epoch at that moment.
    pub epoch: Option<Epoch>,
    /// The last id of the journal at that moment.
    pub last: Id,
    history: History,
    addresses: Vec<Arc<Address>>,
    /// Where each address stands, and after which id it was read.
    read: HashMap<Arc<Address>, (usize, Id)>,
    /// Whether it was read for more than one join.
    shared: bool,
    told: OnceCell<Vec<Told>>,
}

/// The past of one address, as one of the joins needs it.
#[derive(Debug)]
pub struct Read<'a> {
    /// The address.
    pub address: &'a Arc<Address>,
    /// How far all that was read reaches.
    pub reach: Reach,
    /// All that was read.
    pub frames: &'a [(Id, Frame)],
    /// What of it came after the place that the join asked for.
    pub missed: Result<&'a [(Id, Frame)], Status>,
}

/// What was read says less than it would had it been read for this join alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

impl Past {
    /// What `history` tells of `addresses`, which were read each after its id.
    pub fn new(history: History, addresses: Vec<Arc<Address>>, each: &[Id], shared: bool) -> Self {
        let read = addresses.iter().zip(each).enumerate();
        let read = read.map(|(at, (address, after))| (Arc::clone(address), (at, *after))).collect();
        let (epoch, last) = (history.epoch, history.last);
        Self { epoch, last, history, addresses, read, shared, told: OnceCell::new() }
    }

    /// What it tells one of the joins, which asked for these addresses after `after`.
    pub fn of<'a>(
        &'a self,
        addresses: &'a [Arc<Address>],
        after: Id,
        epoch: Epoch,
        encoder: &Encoder,
    ) -> Result<Vec<Read<'a>>, Crowded> {
        let all = self.told.get_or_init(|| replay::encode(&self.history, &self.addresses, epoch, encoder));
        let one = |address: &'a Arc<Address>| {
            let (at, read_after) = self.read.get(address).ok_or(Crowded)?;
            self.one(address, all.get(*at).ok_or(Crowded)?, *read_after, after)
        };
        addresses.iter().map(one).collect()
    }

    /// What was `told` of an address that was read after `read_after`, to a join that asked for it after `after`.
    fn one<'a>(
        &self,
        address: &'a Arc<Address>,
        told: &'a Told,
        read_after: Id,
        after: Id,
    ) -> Result<Read<'a>, Crowded> {
        let (since, lost_before) = match (told.status, told.frames.first()) {
            (Status::Complete, _) => (Some(read_after), Id::ZERO),
            (Status::Lost, Some((first, _))) => (Some(*first), *first),
            (Status::Lost, None) => (None, read_after.next().min(self.last)),
            (Status::Big, _) => (None, Id::ZERO),
        };
        let missed = match told.status {
            _ if since.is_some_and(|since| since <= after) => Ok(following(&told.frames, after)),
            Status::Big if self.shared || read_after < after => return Err(Crowded),
            // Too old was what was asked for, which need not be true of what this join asks for.
            Status::Lost if told.frames.is_empty() && read_after < after => return Err(Crowded),
            status => Err(status),
        };
        let since = since.unwrap_or(self.last).min(self.last);
        let reach = Reach { since, up_to: self.last, lost_before };
        Ok(Read { address, reach, frames: &told.frames, missed })
    }
}

/// The frames after `after`.
fn following(frames: &[(Id, Frame)], after: Id) -> &[(Id, Frame)] {
    &frames[frames.partition_point(|(id, _)| *id <= after)..]
}
