//! The hub's table: which connections follow which address.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use slab::Slab;
use tidings_shared::Address;

/// Where a connection stands in the table, for one address.
#[derive(Debug, Clone, Copy)]
pub struct Stand {
    address: u32,
    follower: u32,
}

/// Which connections follow which address. Connections are named by their slots.
#[derive(Debug, Default)]
pub struct Table {
    slots: HashMap<Arc<Address>, u32>,
    addresses: Slab<Followers>,
}

#[derive(Debug)]
struct Followers {
    address: Arc<Address>,
    connections: Slab<u32>,
}

impl Table {
    /// Notes that `connection` follows `address`.
    pub fn follow(&mut self, connection: u32, address: &Arc<Address>) -> Stand {
        let Self { slots, addresses } = self;
        let slot = *slots.entry(Arc::clone(address)).or_insert_with(|| {
            addresses.insert(Followers { address: Arc::clone(address), connections: Slab::new() }) as u32
        });
        let follower = addresses.get_mut(slot as usize).map(|known| known.connections.insert(connection) as u32);
        Stand { address: slot, follower: follower.unwrap_or_default() }
    }

    /// Notes that the connection which stood there has left. Tells the address if nobody follows it any more.
    pub fn leave(&mut self, stand: Stand) -> Option<Arc<Address>> {
        let known = self.addresses.get_mut(stand.address as usize)?;
        known.connections.try_remove(stand.follower as usize);
        if !known.connections.is_empty() {
            return None;
        }
        let address = self.addresses.remove(stand.address as usize).address;
        self.slots.remove(&address);
        Some(address)
    }

    /// The connections that follow `address`.
    pub fn followers(&self, address: &Address) -> impl Iterator<Item = u32> {
        let known = self.slots.get(address).and_then(|slot| self.addresses.get(*slot as usize));
        known.into_iter().flat_map(|known| known.connections.iter()).map(|(_, slot)| *slot)
    }

    /// Those of them that stand at some places, and whether there are places behind.
    pub fn followers_at(&self, address: &Address, places: Range<usize>) -> (impl Iterator<Item = u32>, bool) {
        let known = self.slots.get(address).and_then(|slot| self.addresses.get(*slot as usize));
        let end = known.map_or(0, |known| known.connections.capacity());
        let at = places.start..places.end.min(end);
        let followers = known.into_iter().flat_map(move |known| at.clone().filter_map(|at| known.connections.get(at)));
        (followers.copied(), places.end < end)
    }

    /// Whether somebody follows `address`.
    pub fn is_followed(&self, address: &Address) -> bool {
        self.slots.contains_key(address)
    }

    /// All addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &Arc<Address>> {
        self.addresses.iter().map(|(_, known)| &known.address)
    }

    /// Whether nobody follows anything.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.slots.is_empty()
    }
}
