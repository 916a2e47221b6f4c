//! What the embedded store keeps of an event, once for all of its addresses, and a bound over all that is kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use smallvec::SmallVec;
use tidings_shared::{Address, Id, Partition};

/// What an event takes besides its message and its addresses, in bytes.
const EVENT: u64 = 128;
/// What an event takes at each of its addresses: its place in the stream, with the room that the stream has left.
const ENTRY: u64 = 40;
/// What the stream of an address takes besides the name.
const STREAM: u64 = 300;

/// An event, shared by the streams of all of its addresses.
#[derive(Debug)]
pub struct Kept {
    /// The encoded message.
    pub message: Box<str>,
    /// Where it went, partition by partition.
    pub homes: SmallVec<[Home; 1]>,
    _weight: Weight,
}

/// Where an event went in one partition.
#[derive(Debug)]
pub struct Home {
    /// The partition.
    pub partition: Partition,
    /// The id that it has there.
    pub id: Id,
    /// Its addresses there.
    pub addresses: Box<[Arc<Address>]>,
}

/// All events that are kept, oldest first, and the bytes that they take.
#[derive(Debug)]
pub struct KeptEvents {
    /// May hold events that are gone already.
    order: VecDeque<Weak<Kept>>,
    held: Held,
    limit: u64,
}

/// The bytes that all of a store takes. A clone counts into the same sum.
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<Sums>);

#[derive(Debug, Default)]
struct Sums {
    bytes: AtomicU64,
    events: AtomicU64,
}

/// A part of what is held, for as long as it lives.
#[derive(Debug)]
pub struct Weight {
    bytes: u64,
    events: u64,
    held: Held,
}

impl KeptEvents {
    /// None yet, of at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { order: VecDeque::new(), held: Held::default(), limit }
    }

    /// What counts the bytes.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Keeps an event. It lives for as long as a stream has it.
    pub fn keep(&mut self, message: &str, homes: SmallVec<[Home; 1]>) -> Arc<Kept> {
        let entries = homes.iter().map(|home| home.addresses.len() as u64).sum::<u64>();
        let bytes = EVENT + message.len() as u64 + ENTRY * entries;
        let kept = Arc::new(Kept { message: message.into(), homes, _weight: self.held.add(bytes, 1) });
        // Amortized: at least half of the list is gone each time, or it would not be so long.
        if self.order.len() as u64 > 2 * self.held.0.events.load(Ordering::Relaxed) + 64 {
            self.order.retain(|event| event.strong_count() > 0);
        }
        self.order.push_back(Arc::downgrade(&kept));
        kept
    }

    /// The oldest event, if more is held than may be. The caller takes it out of its streams.
    pub fn next_to_drop(&mut self) -> Option<Arc<Kept>> {
        while self.held.bytes() > self.limit {
            if let Some(oldest) = self.order.pop_front()?.upgrade() {
                return Some(oldest);
            }
        }
        None
    }
}

impl Held {
    /// How many bytes are held.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// The weight of a stream of this address.
    pub fn stream(&self, address: &Address) -> Weight {
        self.add(STREAM + address.to_string().len() as u64, 0)
    }

    fn add(&self, bytes: u64, events: u64) -> Weight {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.0.events.fetch_add(events, Ordering::Relaxed);
        Weight { bytes, events, held: self.clone() }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.held.0.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.held.0.events.fetch_sub(self.events, Ordering::Relaxed);
    }
}
