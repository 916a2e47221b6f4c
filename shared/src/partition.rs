//! A partition: a slice of the address space with one order.

use std::fmt;

use crate::{Address, Invalid, limits};

/// The number of a partition, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u16);

impl Partition {
    /// The one that every namespace has.
    pub const FIRST: Partition = Partition(0);

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }

    /// The number, to index a list that has an item for each partition.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many partitions a namespace has: 1 to 32. All gateways of a namespace must agree on it; publishers are told by the
/// store ([`crate::Count`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Partitions(u16);

impl Partitions {
    /// The default: all addresses in one order.
    pub const ONE: Partitions = Partitions(1);

    /// The default on a cluster: a few for each of its primaries, so that all have a share of the work.
    pub const CLUSTER: Partitions = Partitions(16);

    /// The most that there may be.
    pub const MOST: Partitions = Partitions(limits::PARTITIONS);

    /// A count of partitions.
    pub fn new(count: u16) -> Result<Self, Invalid> {
        if (1..=limits::PARTITIONS).contains(&count) {
            Ok(Self(count))
        } else {
            Err(Invalid::new("partitions", &count.to_string(), "1 to 32"))
        }
    }

    /// How many there are.
    pub fn count(self) -> u16 {
        self.0
    }

    /// All of them, in order.
    pub fn all(self) -> impl ExactSizeIterator<Item = Partition> + DoubleEndedIterator + Clone {
        (0..self.0).map(Partition)
    }

    /// The partition with this number, if there is one.
    pub fn get(self, number: u16) -> Option<Partition> {
        (number < self.0).then_some(Partition(number))
    }

    /// The partition of an address: CRC-32 (IEEE) of `t:<topic>` or `u:<user>`, modulo the count. A user's topics are
    /// in the partition of the user.
    pub fn of(self, address: &Address) -> Partition {
        if self.0 == 1 {
            return Partition(0);
        }
        let hash = crc32fast::hash(address.routing_key().as_bytes());
        Partition((hash % u32::from(self.0)) as u16)
    }
}

impl Default for Partitions {
    fn default() -> Self {
        Self::ONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert!(Partitions::new(0).is_err());
        assert!(Partitions::new(33).is_err());
        assert_eq!(Partitions::new(32).unwrap().all().count(), 32);
    }

    #[test]
    fn spreads_evenly() {
        let partitions = Partitions::new(16).unwrap();
        let mut counts = [0_usize; 16];
        for n in 0..16_000 {
            counts[partitions.of(&format!("orders/{n}").parse().unwrap()).index()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_users_addresses_stay_together() {
        let partitions = Partitions::new(32).unwrap();
        let of = |text: &str| partitions.of(&text.parse().unwrap());
        assert_eq!(of("@alice"), of("@alice/inbox"));
        assert_eq!(of("@alice"), of("@alice/orders/42"));
    }
}
