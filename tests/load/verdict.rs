//! The judge of a round: did each connection get each event that was published to what it follows, once?

use std::collections::HashMap;
use std::ops::AddAssign;

use serde::Serialize;

use crate::order::Seen;
use crate::plan::Plan;

/// What became of the events of a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Deliveries that were owed.
    pub expected: u64,
    /// Those that came.
    pub delivered: u64,
    /// Connections that got other events than they were owed, and were not told so.
    pub wrong: u64,
    /// Connections that were told to refetch something.
    pub resynced: u64,
}

impl Verdict {
    /// Whether every connection got what it was owed, or was told.
    pub fn is_kept(self) -> bool {
        self.wrong == 0
    }
}

impl AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.wrong += other.wrong;
        self.resynced += other.resynced;
    }
}

/// What was published in a round, by address.
#[derive(Debug, Default)]
pub struct Published {
    serials: HashMap<String, Vec<u32>>,
}

impl Published {
    /// One more event.
    pub fn add(&mut self, address: &str, serial: u32) {
        match self.serials.get_mut(address) {
            Some(serials) => serials.push(serial),
            None => drop(self.serials.insert(address.to_owned(), vec![serial])),
        }
    }

    /// How many events a connection is owed.
    pub fn owed(&self, plan: Plan, connection: u32) -> u64 {
        plan.follows(connection).iter().map(|address| self.to(address).len() as u64).sum()
    }

    /// Judges what the connections saw, which are numbered from 0.
    pub fn judge(&self, plan: Plan, seen: &[Seen]) -> Verdict {
        let mut verdict = Verdict::default();
        for (connection, seen) in (0..).zip(seen) {
            verdict += self.judge_one(&plan.follows(connection), seen);
        }
        verdict
    }

    fn judge_one(&self, follows: &[String], seen: &Seen) -> Verdict {
        let owed = || follows.iter().flat_map(|address| self.to(address));
        let expected = owed().count() as u64;
        let complete = seen.events == expected && seen.digest == digest(owed());
        // Whoever was told to refetch an address may lack its events, but no others, and gets none twice.
        let excused = |serial: &u32| seen.resyncs.iter().any(|address| self.to(address).contains(serial));
        let told = !seen.resyncs.is_empty()
            && seen.serials.len() as u64 == seen.events
            && owed().all(|serial| excused(serial) || seen.serials.contains(serial))
            && seen.serials.iter().all(|serial| seen.serials.iter().filter(|other| *other == serial).count() == 1);
        Verdict {
            expected,
            delivered: seen.events,
            wrong: u64::from(!complete && !told),
            resynced: u64::from(!seen.resyncs.is_empty()),
        }
    }

    fn to(&self, address: &str) -> &[u32] {
        self.serials.get(address).map_or(&[], Vec::as_slice)
    }
}

/// A sum over serials that a missing, doubled or strange one changes, however they are ordered.
pub fn digest<'a>(serials: impl IntoIterator<Item = &'a u32>) -> u64 {
    serials.into_iter().fold(0, |sum, serial| sum.wrapping_add(scatter(*serial)))
}

/// The part of one serial in the [`digest`]: the finisher of SplitMix64.
pub fn scatter(serial: u32) -> u64 {
    let mut bits = u64::from(serial).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(serials: &[u32], resyncs: &[&str]) -> Seen {
        Seen {
            events: serials.len() as u64,
            digest: digest(serials),
            serials: serials.to_vec(),
            resyncs: resyncs.iter().map(|&address| address.to_owned()).collect(),
            last: 0,
        }
    }

    fn wrong(serials: &[u32], resyncs: &[&str]) -> bool {
        let mut published = Published::default();
        for (address, serial) in [("t/00000", 1), ("t/00000", 2), ("t/00001", 3), ("t/00000", 4)] {
            published.add(address, serial);
        }
        assert_eq!(published.owed(Plan::Broadcast, 0), 3);
        !published.judge(Plan::Broadcast, &[seen(serials, resyncs)]).is_kept()
    }

    #[test]
    fn each_once_in_any_order() {
        assert!(!wrong(&[1, 2, 4], &[]));
        assert!(!wrong(&[4, 2, 1], &[]));
        assert!(wrong(&[1, 2], &[]));
        assert!(wrong(&[1, 2, 4, 4], &[]));
        assert!(wrong(&[1, 2, 3], &[]));
        assert!(wrong(&[1, 1, 2], &[]));
        assert!(wrong(&[], &[]));
    }

    #[test]
    fn a_resync_excuses_its_own_address_alone() {
        assert!(!wrong(&[2], &["t/00000"]));
        assert!(!wrong(&[], &["t/00000"]));
        assert!(wrong(&[2], &["t/00001"]));
        assert!(wrong(&[2, 2], &["t/00000"]));
    }
}
