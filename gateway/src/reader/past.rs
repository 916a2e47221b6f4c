//! The past of some addresses: what was read of them at one moment, for all joins that asked meanwhile.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use tidings_shared::{Address, Epoch, Id};

use super::replay::{self, AddressFrames};
use crate::frame::{Encoder, Frame};
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
    frames: OnceCell<Vec<Result<AddressFrames, Status>>>,
}

/// The past of one address.
#[derive(Debug)]
pub struct Read<'a> {
    /// The address.
    pub address: &'a Arc<Address>,
    /// After which id it was read: the oldest that any join asked for.
    pub after: Id,
    /// All its frames since then.
    pub frames: Result<&'a AddressFrames, Status>,
}

/// What was read says less than it would had it not been read for others too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

impl Past {
    /// What `history` tells of `addresses`, which were read each after its id.
    pub fn new(history: History, addresses: Vec<Arc<Address>>, each: &[Id], shared: bool) -> Self {
        let read = addresses.iter().zip(each).enumerate();
        let read = read.map(|(at, (address, after))| (Arc::clone(address), (at, *after))).collect();
        let (epoch, last) = (history.epoch, history.last);
        Self { epoch, last, history, addresses, read, shared, frames: OnceCell::new() }
    }

    /// What it tells one of the joins, which asked for these addresses after `after`.
    pub fn of<'a>(
        &'a self,
        addresses: &'a [Arc<Address>],
        after: Id,
        epoch: Epoch,
        encoder: &Encoder,
    ) -> Result<Vec<Read<'a>>, Crowded> {
        let all = self.frames.get_or_init(|| replay::encode(&self.history, &self.addresses, epoch, encoder));
        let one = |address: &'a Arc<Address>| {
            let Some((at, read_after)) = self.read.get(address).copied() else { return Err(Crowded) };
            let frames = all.get(at).map_or(Err(Status::Lost), |frames| frames.as_ref().map_err(|status| *status));
            match frames {
                Err(Status::Big) if self.shared => Err(Crowded),
                // Of what is older than this join asks for, more may be gone.
                Err(_) if read_after < after => Err(Crowded),
                frames => Ok(Read { address, after: read_after, frames }),
            }
        };
        addresses.iter().map(one).collect()
    }
}

impl<'a> Read<'a> {
    /// The frames after `after`, up to and with `up_to`.
    pub fn after(&self, after: Id) -> &'a [(Id, Frame)] {
        let Ok(frames) = self.frames else { return &[] };
        &frames[frames.partition_point(|(id, _)| *id <= after)..]
    }
}
