//! How events come: one at a time or several at once, and how the raw writer writes them.

use serde::Serialize;

/// How events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// One event, and the next when all clients have it.
    Single,
    /// So many published at once. The raw writer writes each of them by itself.
    Burst(u32),
    /// So many in one write: only for the raw writer, as the least that a burst can cost.
    Joined(u32),
}

impl Shape {
    /// Events of one go.
    pub fn events(self) -> u32 {
        match self {
            Self::Single => 1,
            Self::Burst(events) | Self::Joined(events) => events,
        }
    }
}
