//! Whether each partition's link works, as workers look it up: without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tidings_shared::{Partition, Partitions};

/// Whether each partition's link works. Cheap to clone; the reader writes, workers look.
#[derive(Debug, Clone)]
pub struct LinkActivity(Arc<[Activity]>);

#[derive(Debug, Default)]
struct Activity {
    /// Whether a session is open and recovered over the partition: new connections can begin.
    attached: AtomicBool,
    /// Counts what showed that the link works: attaching, and the answers of its server to beacons.
    signs: AtomicU64,
}

impl LinkActivity {
    /// The links of so many partitions, none of which is attached.
    pub fn new(partitions: Partitions) -> Self {
        Self(partitions.all().map(|_| Activity::default()).collect())
    }

    /// Whether new connections can begin in this partition.
    pub fn is_attached(&self, partition: Partition) -> bool {
        self.get(partition).is_some_and(|link| link.attached.load(Ordering::Acquire))
    }

    /// How many signs of life there were so far. It only grows.
    pub fn signs(&self, partition: Partition) -> u64 {
        self.get(partition).map_or(0, |link| link.signs.load(Ordering::Acquire))
    }

    /// The link works now.
    pub fn note_sign(&self, partition: Partition) {
        if let Some(link) = self.get(partition) {
            link.signs.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether a session is open over the partition from now on.
    pub fn set_attached(&self, partition: Partition, attached: bool) {
        if attached {
            self.note_sign(partition);
        }
        if let Some(link) = self.get(partition) {
            link.attached.store(attached, Ordering::Release);
        }
    }

    fn get(&self, partition: Partition) -> Option<&Activity> {
        self.0.get(partition.index())
    }
}
