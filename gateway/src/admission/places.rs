//! The places for event streams that one connection of HTTP/2 has.

use std::cell::Cell;
use std::rc::Rc;

/// The places of a connection. A clone is the same.
#[derive(Debug, Clone)]
pub struct Places {
    free: Rc<Cell<u32>>,
}

/// One place, taken for as long as this lives.
#[derive(Debug)]
pub struct Place(Rc<Cell<u32>>);

impl Places {
    /// So many, all free.
    pub fn new(most: u32) -> Self {
        Self { free: Rc::new(Cell::new(most)) }
    }

    /// A free place, if there is one.
    pub fn take(&self) -> Option<Place> {
        self.free.set(self.free.get().checked_sub(1)?);
        Some(Place(Rc::clone(&self.free)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let places = Places::new(2);
        let (first, second) = (places.take(), places.clone().take());
        assert!(first.is_some() && second.is_some() && places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
    }
}
