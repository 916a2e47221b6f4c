//! The SSE event names under which events of addresses came: a resync is said under each of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use tidings_shared::Address;

use crate::reader::delivery::EventNames;

/// The names that the reader knows of the addresses that a worker follows. The worker's connections share it, and look
/// into it only when they say a resync. Most addresses have no names, and are not here.
#[derive(Debug, Default)]
pub struct NameTable(RefCell<HashMap<Arc<Address>, EventNames>>);

impl NameTable {
    /// Replaces the names of an address.
    pub fn set(&self, address: Arc<Address>, names: EventNames) {
        self.0.borrow_mut().insert(address, names);
    }

    /// Forgets the names of an address that nobody follows here.
    pub fn remove(&self, address: &Address) {
        self.0.borrow_mut().remove(address);
    }

    /// The names of an address.
    pub fn get(&self, address: &Address) -> Option<EventNames> {
        self.0.borrow().get(address).map(Arc::clone)
    }
}
