//! Resyncs that wait for their moment: what a connection is still to be told to refetch.

use std::sync::Arc;
use std::time::Instant;

use tidings_shared::cursor::Place;
use tidings_shared::{Address, Partition};

use crate::control::Reason;

/// What a connection is to be told to refetch, all at one moment: whatever comes on top before that goes with it.
#[derive(Debug, Default)]
pub struct Resyncs {
    /// None twice.
    addresses: Vec<(Arc<Address>, Reason)>,
    /// By partition the first place that may be missing.
    missing: Vec<(Partition, Place)>,
    due: Option<Instant>,
}

impl Resyncs {
    /// Adds an address. Of its partition everything from `missing` on may be missing, unless that is known of older
    /// places already. Tells when it is due: at `due`, or before with what is there.
    pub fn add(
        &mut self,
        address: &Arc<Address>,
        reason: Reason,
        missing: (Partition, Place),
        due: impl FnOnce() -> Instant,
    ) -> Instant {
        if self.addresses.iter().all(|(known, _)| known != address) {
            self.addresses.push((Arc::clone(address), reason));
        }
        if self.missing.iter().all(|(known, _)| *known != missing.0) {
            self.missing.push(missing);
        }
        *self.due.get_or_insert_with(due)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// The addresses, and why each must be refetched.
    pub fn addresses(&self) -> &[(Arc<Address>, Reason)] {
        &self.addresses
    }

    /// By partition the first place that may be missing: a cursor must stay below, and leads to what says so again.
    pub fn missing(&self) -> &[(Partition, Place)] {
        &self.missing
    }

    /// When they are due; `None` if there are none.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }
}
