//! Where a connection is in each partition that it follows.

use smallvec::SmallVec;
use tidings_shared::cursor::Place;
use tidings_shared::{Cursor, Id, Partition, Partitions};

/// Where a connection is in each partition that it follows. With one partition it needs no allocation.
#[derive(Debug, Default)]
pub struct Places {
    places: SmallVec<[(Partition, Place); 1]>,
}

impl Places {
    /// Sets the place in a partition, also back.
    pub fn set(&mut self, partition: Partition, place: Place) {
        match self.places.iter_mut().find(|(known, _)| *known == partition) {
            Some((_, known)) => *known = place,
            None => self.places.push((partition, place)),
        }
    }

    /// Whether it follows anything of the partition.
    pub fn contains(&self, partition: Partition) -> bool {
        self.places.iter().any(|(known, _)| *known == partition)
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

    /// The cursor.
    pub fn cursor(&self, partitions: Partitions) -> String {
        let mut cursor = Cursor::new(partitions);
        self.places.iter().for_each(|(partition, place)| cursor.set(*partition, *place));
        cursor.encode()
    }
}
