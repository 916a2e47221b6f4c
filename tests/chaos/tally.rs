//! What all rounds came to.

use std::fmt;
use std::time::Duration;

use tidings_tests::faults::outcome::{Outcome, Recovery};

/// The sums.
#[derive(Debug, Default)]
pub struct Tally {
    pub rounds: usize,
    pub faults: usize,
    /// Events that were acknowledged.
    pub events: usize,
    /// What clients were owed, for each of them and each address.
    pub delivered: usize,
    pub resynced: usize,
    pub neither: usize,
    /// The longest that a client took after a fault had struck.
    pub worst: Duration,
}

impl Tally {
    /// Adds a round of so many faults, and tells it in a line, times for the median and the last client.
    pub fn add(&mut self, faults: usize, outcome: &Outcome) -> String {
        let Outcome { verdict, lasted, recovery, from_serving } = outcome;
        self.rounds += 1;
        self.faults += faults;
        self.events += verdict.events;
        self.delivered += verdict.delivered;
        self.resynced += verdict.resynced;
        self.neither += verdict.lost;
        self.worst = self.worst.max(recovery.worst);
        let times =
            |recovery: &Recovery| format!("{:.1}/{:.1} s", recovery.median.as_secs_f64(), recovery.worst.as_secs_f64());
        let serving = from_serving.as_ref().map(|recovery| format!(", from serving {}", times(recovery)));
        let (events, lost, lasted) = (verdict.events, verdict.lost, lasted.as_secs_f64());
        let (recovery, serving) = (times(recovery), serving.unwrap_or_default());
        format!("{events} events, neither {lost}, lasted {lasted:.1} s, converged after {recovery}{serving}")
    }

    /// As columns of a table.
    pub fn row(&self) -> String {
        let Self { rounds, faults, events, delivered, resynced, neither, worst } = self;
        format!("{rounds} | {faults} | {events} | {delivered} | {resynced} | {neither} | {:.1} s", worst.as_secs_f64())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, faults, events, delivered, resynced, neither, worst } = self;
        write!(
            f,
            "{rounds} rounds, {faults} faults: {events} events published; of what clients were owed {delivered} delivered, \
             {resynced} resynced, {neither} neither; the slowest client took {:.1} s",
            worst.as_secs_f64()
        )
    }
}
