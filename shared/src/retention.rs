//! How much history Redis keeps.

use crate::limits;

/// How much history a partition keeps.
///
/// Gateways write theirs into Redis and publishers find it there, so it is set in one place. Of gateways that differ
/// the most of each counts. A publisher that finds none
/// (no gateway ever attached) uses its own, normally [`Retention::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events kept for each address; Redis may keep up to about a hundred more.
    pub events: u64,
    /// How long an address keeps its events after the newest one, in milliseconds.
    pub age_ms: u64,
    /// Entries kept in the journal; Redis may keep up to about a hundred more.
    pub journal: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { events: limits::RETENTION_EVENTS, age_ms: limits::RETENTION_AGE_MS, journal: limits::RETENTION_JOURNAL }
    }
}
