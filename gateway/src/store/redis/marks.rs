//! Marks: the numbers that this gateway's beacons leave in each partition, to notice history that goes back.
//!
//! A server can put a copy in the place of its data while its process stays: `SWAPDB`, `RESTORE`, `DEBUG RELOAD`. Nothing
//! breaks then, and the epoch is the same. So each beacon leaves a number in the hash of the epoch and expects to find
//! the one before, or a later one whose answer was lost. The script judges; this remembers what it has to be told.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings_shared::script::{Mark, MarkLeft};
use tidings_shared::{Epoch, Partition, Partitions};

/// Left epochs that are remembered of a partition. A copy that is older than so many epochs is still told by its marks.
const LEFT: usize = 16;

/// The marks of all partitions, over all sessions.
#[derive(Debug)]
pub(super) struct Marks {
    partitions: Mutex<Vec<PartitionMarks>>,
}

/// The marks of one partition.
#[derive(Debug, Clone, Default)]
struct PartitionMarks {
    /// The number that was sent last.
    sent: u64,
    /// The last mark whose beacon was answered.
    last: Option<MarkLeft>,
    /// Epochs that were left, oldest first.
    left: VecDeque<Epoch>,
    /// Whether a beacon could not tell if the history is the same, and nobody has made up for that yet.
    unsure: bool,
}

/// What the next beacon of a partition brings.
#[derive(Debug)]
pub(super) struct NextMark {
    /// Its number.
    pub(super) number: u64,
    last: Option<MarkLeft>,
    left: Vec<Epoch>,
}

impl Marks {
    /// No marks yet.
    pub(super) fn new(partitions: Partitions) -> Self {
        Self { partitions: Mutex::new(partitions.all().map(|_| PartitionMarks::default()).collect()) }
    }

    /// Takes the next number of a partition.
    pub(super) fn next(&self, partition: Partition) -> NextMark {
        let marks = &mut self.lock()[partition.index()];
        marks.sent += 1;
        NextMark { number: marks.sent, last: marks.last, left: marks.left.iter().copied().collect() }
    }

    /// Notes that a beacon was answered, and whether it was unsure. An answer that comes behind that of a later beacon
    /// is passed over. Returns whether the history is in doubt: it stays so over failed sessions until [`Self::trust`].
    pub(super) fn note_answer(&self, partition: Partition, mark: MarkLeft, unsure: bool) -> bool {
        let marks = &mut self.lock()[partition.index()];
        marks.unsure |= unsure;
        let before = marks.last.map(|last| (last.number, last.epoch));
        if before.is_some_and(|(number, _)| number >= mark.number) {
            return marks.unsure;
        }
        if let Some((_, epoch)) = before
            && epoch != mark.epoch
        {
            marks.left.push_back(epoch);
            if marks.left.len() > LEFT {
                marks.left.pop_front();
            }
        }
        marks.last = Some(mark);
        marks.unsure
    }

    /// The partition was resynced: whatever its history was, it counts from here on.
    pub(super) fn trust(&self, partition: Partition) {
        self.lock()[partition.index()].unsure = false;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PartitionMarks>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NextMark {
    /// The mark, to be kept for so long.
    pub(super) fn mark(&self, keep_ms: u64) -> Mark<'_> {
        Mark { number: self.number, keep_ms, last: self.last, left: &self.left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_mark(number: u64, epoch: u32) -> MarkLeft {
        MarkLeft { epoch: Epoch::from_random(epoch), number, until_ms: 60_000 + number }
    }

    #[test]
    fn numbers_rise_and_each_partition_has_its_own() {
        let marks = Marks::new(Partitions::CLUSTER);
        let other = Partitions::CLUSTER.get(3).unwrap();
        assert_eq!([1, 2].map(|_| marks.next(Partition::FIRST).number), [1, 2]);
        assert_eq!(marks.next(other).number, 1);
    }

    #[test]
    fn a_late_answer_counts_for_nothing() {
        let marks = Marks::new(Partitions::ONE);
        for (number, epoch) in [(2, 7), (1, 8)] {
            marks.note_answer(Partition::FIRST, left_mark(number, epoch), false);
        }
        let next = marks.next(Partition::FIRST);
        assert_eq!((next.last, next.left), (Some(left_mark(2, 7)), Vec::new()));
    }

    #[test]
    fn doubt_stays_until_it_is_made_up_for() {
        let marks = Marks::new(Partitions::ONE);
        let answer = |number, unsure| marks.note_answer(Partition::FIRST, left_mark(number, 7), unsure);
        assert_eq!([answer(1, false), answer(2, true), answer(3, false), answer(2, false)], [false, true, true, true]);
        marks.trust(Partition::FIRST);
        assert!(!answer(4, false));
    }

    #[test]
    fn left_epochs_are_remembered_up_to_a_bound() {
        let marks = Marks::new(Partitions::ONE);
        for n in 0..40 {
            marks.note_answer(Partition::FIRST, left_mark(u64::from(n) + 1, n / 2), false);
        }
        let next = marks.next(Partition::FIRST);
        assert_eq!(next.left, (3..19).map(Epoch::from_random).collect::<Vec<_>>());
    }
}
