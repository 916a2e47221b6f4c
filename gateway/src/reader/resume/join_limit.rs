//! How many joins may be under way.
//!
//! A join that cannot be answered at once takes memory and a look at each watermark that moves, and
//! whoever may open streams can bring many. Beyond the bound the newest is refused: it would wait
//! longest, and its client comes back with the same cursor, so it misses nothing. To begin with a
//! resync instead would cost the application a refetch for each; to refuse the oldest would throw
//! away the wait that is nearly over.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::admission::Origin;

/// An origin may have this part of the bound, whoever else waits.
const ORIGIN_SHARE: usize = 4;

/// A bound over the joins that are under way.
#[derive(Debug)]
pub struct JoinLimit {
    max: usize,
    counts: Rc<RefCell<JoinCounts>>,
    /// Connections that were refused since the last line of the log.
    refused: u64,
}

/// How many joins are under way, and from where.
#[derive(Debug, Default)]
struct JoinCounts {
    all: usize,
    by_origin: HashMap<Option<Origin>, usize>,
}

/// The permit of one join, given back when it is dropped.
#[derive(Debug)]
pub struct JoinPermit {
    origin: Option<Origin>,
    counts: Rc<RefCell<JoinCounts>>,
}

impl JoinLimit {
    /// At most `max` joins.
    pub fn new(max: usize) -> Self {
        Self { max, counts: Rc::default(), refused: 0 }
    }

    /// A permit for a join from `origin`, unless there are too many. The last quarter is kept for
    /// origins that have less than a quarter: one origin alone does not use up what others need.
    pub fn try_acquire(&self, origin: Option<Origin>) -> Option<JoinPermit> {
        let mut counts = self.counts.borrow_mut();
        let of_origin = counts.by_origin.get(&origin).copied().unwrap_or_default();
        let share = self.max / ORIGIN_SHARE;
        let is_reserved = counts.all >= self.max - share && of_origin >= share;
        if counts.all >= self.max || is_reserved {
            return None;
        }
        counts.all += 1;
        counts.by_origin.insert(origin, of_origin + 1);
        Some(JoinPermit { origin, counts: Rc::clone(&self.counts) })
    }

    /// How many joins are under way.
    pub fn count(&self) -> usize {
        self.counts.borrow().all
    }

    /// Notes that a connection was refused.
    pub fn note_refused(&mut self) {
        self.refused += 1;
    }

    /// Logs how many connections were refused since the last time, if any.
    pub fn log_refused(&mut self) {
        let refused = std::mem::take(&mut self.refused);
        if refused > 0 {
            tracing::warn!(
                limit = "waiting",
                refused,
                waiting = self.count(),
                max = self.max,
                "too many connections wait to begin; new ones are refused and come back later"
            );
        }
    }
}

impl Drop for JoinPermit {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        counts.all -= 1;
        if let Some(count) = counts.by_origin.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                counts.by_origin.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(n: u8) -> Option<Origin> {
        Some(Origin::of([192, 0, 2, n].into()))
    }

    #[test]
    fn one_origin_leaves_a_quarter_to_others() {
        let limit = JoinLimit::new(100);
        let mut permits: Vec<_> = std::iter::from_fn(|| limit.try_acquire(origin(1))).collect();
        assert_eq!(permits.len(), 75);
        permits.extend(std::iter::from_fn(|| limit.try_acquire(origin(2))));
        assert_eq!((permits.len(), limit.count()), (100, 100));
        assert!(limit.try_acquire(origin(3)).is_none());
        permits.remove(0);
        assert!(limit.try_acquire(origin(1)).is_none(), "it has more than its share");
        assert!(limit.try_acquire(origin(3)).is_some());
        permits.clear();
        assert_eq!(limit.count(), 0);
        assert!(limit.counts.borrow().by_origin.is_empty());
    }

    #[test]
    fn many_origins_use_all_of_it() {
        let limit = JoinLimit::new(100);
        let permits: Vec<_> = (0..200).filter_map(|n| limit.try_acquire(origin(n))).collect();
        assert_eq!(permits.len(), 100);
    }
}
