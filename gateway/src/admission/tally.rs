//! How many there are of each.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many there are of each, up to a limit. One lock for all: it is held for a lookup, when a connection comes and
/// when it leaves, and not at all where there is no limit.
#[derive(Debug)]
pub struct Tally<K> {
    most: usize,
    counts: Mutex<HashMap<K, usize>>,
}

impl<K: Hash + Eq + Clone> Tally<K> {
    /// None of any, and never more than `most` of one.
    pub fn new(most: usize) -> Self {
        Self { most, counts: Mutex::default() }
    }

    /// One more; `None` if that would be too many.
    #[must_use]
    pub fn enter(&self, key: &K) -> Option<()> {
        let mut counts = self.lock();
        match counts.get_mut(key) {
            Some(count) if *count >= self.most => return None,
            Some(count) => *count += 1,
            None => drop(counts.insert(key.clone(), 1)),
        }
        Some(())
    }

    /// One less.
    pub fn leave(&self, key: &K) {
        let mut counts = self.lock();
        if let Some(count) = counts.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(key);
            }
        }
    }

    /// Whether there are none.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
