//! What the oracle found.

use std::fmt;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Neither delivered nor resynced.
    Lost,
    /// Delivered more than once.
    Twice,
    /// Delivered after a later one, or under another id than it has.
    OutOfOrder,
    /// A cursor that has passed what its client is still owed.
    Ahead,
    /// Delivered to one who does not follow it.
    Stray,
    /// Something a well-behaved server never sends.
    Fault,
}

/// The counts, and the first violations with what the client saw around them.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Events that are known to be stored.
    pub events: usize,
    /// Clients judged.
    pub clients: usize,
    /// Events owed to a client, counted for each address.
    pub pairs: usize,
    /// Of these, delivered.
    pub delivered: usize,
    /// Of these, not delivered but covered by a resync.
    pub resynced: usize,
    /// Of these, neither, but covered by a later event of the address that was delivered.
    pub covered: usize,
    /// Of these, none of that.
    pub lost: usize,
    /// Deliveries more than once.
    pub twice: usize,
    /// Deliveries out of order.
    pub out_of_order: usize,
    /// Cursors that ran ahead.
    pub ahead: usize,
    /// Deliveries to those who do not follow.
    pub stray: usize,
    /// Faults of conduct.
    pub faults: usize,
    stories: Vec<(Violation, String, Vec<String>)>,
}

/// How many violations are told in full.
const TOLD: usize = 8;

impl Verdict {
    /// Counts it, and asks for its story if there are not enough of these yet.
    pub(super) fn add(&mut self, kind: Violation, story: impl FnOnce() -> (String, Vec<String>)) {
        match kind {
            Violation::Lost => self.lost += 1,
            Violation::Twice => self.twice += 1,
            Violation::OutOfOrder => self.out_of_order += 1,
            Violation::Ahead => self.ahead += 1,
            Violation::Stray => self.stray += 1,
            Violation::Fault => self.faults += 1,
        }
        if self.stories.len() < TOLD {
            let (what, timeline) = story();
            self.stories.push((kind, what, timeline));
        }
    }

    /// Whether promise 1 was kept.
    pub fn is_kept(&self) -> bool {
        self.lost + self.twice + self.out_of_order + self.ahead + self.stray + self.faults == 0
    }

    /// Panics with the whole report if it was not kept, or if there was nothing to keep.
    pub fn assert_kept(&self) {
        assert!(self.is_kept() && self.pairs > 0, "promise 1 was not kept:\n{self}");
    }

    /// The same, and nothing was resynced or covered.
    pub fn assert_all_delivered(&self) {
        self.assert_kept();
        let others = self.resynced + self.covered;
        assert_eq!(others, 0, "some were resynced or covered where all should have been delivered:\n{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, clients, pairs, delivered, resynced, covered, lost, .. } = self;
        let Self { twice, out_of_order, ahead, stray, faults, .. } = self;
        writeln!(
            f,
            "events {events}, clients {clients}, pairs owed {pairs}: delivered {delivered}, resynced {resynced}, covered {covered}, lost {lost}"
        )?;
        writeln!(
            f,
            "twice {twice}, out of order {out_of_order}, cursors ahead {ahead}, stray {stray}, faults of conduct {faults}"
        )?;
        for (kind, what, timeline) in &self.stories {
            writeln!(f, "{kind:?}: {what}")?;
            for line in timeline {
                writeln!(f, "    {line:.240}")?;
            }
        }
        Ok(())
    }
}
