//! Where a connection is in each partition that it follows.

use smallvec::SmallVec;
use tidings_shared::cursor::Place;
use tidings_shared::{Id, Partition};

/// Where a connection is in each partition that it follows. With one partition it needs no allocation.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// In the order of partitions.
    places: SmallVec<[(Partition, Place); 1]>,
}

impl Places {
    /// Takes over all places of another.
    pub fn set_all(&mut self, other: &Self) {
        self.places.clone_from(&other.places);
    }

    /// Sets the place in a partition, also back.
    pub fn set(&mut self, partition: Partition, place: Place) {
        match self.places.binary_search_by_key(&partition, |(known, _)| *known) {
            Ok(at) => self.places[at].1 = place,
            Err(at) => self.places.insert(at, (partition, place)),
        }
    }

    /// The place in a partition.
    pub fn get(&self, partition: Partition) -> Option<Place> {
        self.places.iter().find(|(known, _)| *known == partition).map(|(_, place)| *place)
    }

    /// Whether it follows anything of the partition.
    pub fn contains(&self, partition: Partition) -> bool {
        self.get(partition).is_some()
    }

    /// The partitions of which it follows anything.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.places.iter().map(|(partition, _)| *partition)
    }

    /// Moves on to `id`. False if the connection is there already, or not yet anywhere in the partition.
    pub fn advance(&mut self, partition: Partition, id: Id) -> bool {
        match self.places.iter_mut().find(|(known, _)| *known == partition) {
            Some((_, place)) if place.id < id => {
                place.id = id;
                true
            }
            _ => false,
        }
    }

    /// Lifts each place to its partition's watermark, if that is of the same history.
    pub fn lift(&mut self, watermarks: &[Option<Place>]) {
        for (partition, place) in &mut self.places {
            let watermark = watermarks.get(partition.index()).copied().flatten();
            if let Some(watermark) = watermark.filter(|watermark| watermark.epoch == place.epoch) {
                place.id = place.id.max(watermark.id);
            }
        }
    }
}
