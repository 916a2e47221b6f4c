//! How long partitions, and the reader, have given no sign of life, by the worker's own clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_shared::{Address, Partition, Partitions};

use crate::reader::{LinkActivity, Pulse, Status};

/// The most that one look adds to an outage. A process that was stopped and goes on has not seen
/// that the store was away for all that time: the reader gets a few looks to show that it works.
const MOST_PER_LOOK: Duration = Duration::from_secs(2);

/// How long partitions, and the reader, have given no sign of life.
#[derive(Debug)]
pub struct Outages {
    activity: LinkActivity,
    pulse: Pulse,
    reader: QuietTime,
    partitions: Partitions,
    quiet: Vec<QuietTime>,
    looked: Instant,
}

/// How long a partition, or the reader, has been quiet.
#[derive(Debug, Clone, Copy, Default)]
struct QuietTime {
    /// The signs of life at the last look.
    signs: u64,
    time: Duration,
}

/// A set of partitions, of which there are 32 at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionSet(u32);

impl Outages {
    /// None yet. Time counts from `now` on.
    pub fn new(status: &Status, partitions: Partitions, now: Instant) -> Self {
        let quiet = vec![QuietTime::default(); usize::from(partitions.count())];
        let (activity, pulse) = (status.link_activity().clone(), status.pulse().clone());
        Self { activity, pulse, reader: QuietTime::default(), partitions, quiet, looked: now }
    }

    /// Looks for signs of life since the last look.
    pub fn look(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.looked).min(MOST_PER_LOOK);
        self.looked = now;
        for (partition, quiet) in self.partitions.all().zip(&mut self.quiet) {
            quiet.add(passed, self.activity.signs(partition));
        }
        self.reader.add(passed, self.pulse.last_turn());
    }

    /// How long the reader has had no turn.
    pub fn reader_silence(&self) -> Duration {
        self.reader.time
    }

    /// Partitions without a sign of life for longer than `most`.
    pub fn silent_for(&self, most: Duration) -> PartitionSet {
        let silent = self.partitions.all().zip(&self.quiet).filter(|(_, quiet)| quiet.time > most);
        silent.map(|(partition, _)| partition).collect()
    }

    /// How long the store has been away for who follows these addresses. `None` if it is there for all of them.
    pub fn of(&self, addresses: &[Arc<Address>]) -> Option<Duration> {
        let partitions = addresses.iter().map(|address| self.partitions.of(address));
        let away = partitions.filter(|partition| !self.activity.is_attached(*partition));
        away.map(|partition| self.quiet.get(partition.index()).map_or(Duration::ZERO, |quiet| quiet.time)).max()
    }
}

impl QuietTime {
    fn add(&mut self, passed: Duration, signs: u64) {
        self.time = if signs == self.signs { self.time + passed } else { Duration::ZERO };
        self.signs = signs;
    }
}

impl PartitionSet {
    /// The partitions of these addresses.
    pub fn of_addresses(addresses: &[Arc<Address>], partitions: Partitions) -> Self {
        addresses.iter().map(|address| partitions.of(address)).collect()
    }

    /// Whether none is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of these are in `other` too.
    pub fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

impl FromIterator<Partition> for PartitionSet {
    fn from_iter<T: IntoIterator<Item = Partition>>(partitions: T) -> Self {
        Self(partitions.into_iter().fold(0, |set, partition| set | 1 << partition.index()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rig(count: u16) -> (LinkActivity, Outages, Instant) {
        let (partitions, now) = (Partitions::new(count).unwrap(), Instant::now());
        let status = Status::new(partitions);
        (status.link_activity().clone(), Outages::new(&status, partitions, now), now)
    }

    #[test]
    fn a_partition_is_silent_until_it_gives_a_sign() {
        let (activity, mut outages, start) = rig(2);
        let partitions = Partitions::new(2).unwrap();
        let (one, two) = (partitions.get(0).unwrap(), partitions.get(1).unwrap());
        for second in 1..=5 {
            activity.note_sign(one);
            outages.look(start + second * SECOND);
        }
        assert_eq!(outages.silent_for(4 * SECOND), [two].into_iter().collect());
        assert!(outages.silent_for(5 * SECOND).is_empty());
        [one, two].into_iter().for_each(|partition| activity.note_sign(partition));
        outages.look(start + 6 * SECOND);
        assert!(outages.silent_for(Duration::ZERO).is_empty());
    }

    #[test]
    fn a_process_that_was_stopped_does_not_count_that_time() {
        let (_, mut outages, start) = rig(1);
        outages.look(start + SECOND);
        outages.look(start + 3_600 * SECOND);
        assert!(outages.silent_for(3 * SECOND).is_empty());
        assert!(!outages.silent_for(2 * SECOND).is_empty());
    }

    #[test]
    fn a_set_is_within_another_or_not() {
        let partitions = Partitions::new(32).unwrap();
        let set = |at: &[u16]| at.iter().map(|at| partitions.get(*at).unwrap()).collect::<PartitionSet>();
        assert!(set(&[0, 31]).is_within(set(&[0, 5, 31])));
        assert!(!set(&[0, 31]).is_within(set(&[0, 5])));
        assert!(set(&[]).is_empty() && !set(&[31]).is_empty());
    }
}
