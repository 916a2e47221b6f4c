//! The id of an event: its place in its partition's journal.

use std::fmt;
use std::str::FromStr;

use crate::Invalid;

/// A Redis stream id. Strictly increasing within a partition; ids of different partitions say nothing about each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id {
    /// Milliseconds since 1970 by the clock of Redis, which never runs back here: Redis keeps ids increasing.
    pub ms: u64,
    /// Counts within the millisecond.
    pub seq: u64,
}

impl Id {
    /// Below every id that was ever given.
    pub const ZERO: Id = Id { ms: 0, seq: 0 };

    /// The id right after this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => Self { ms: self.ms, seq },
            None => Self { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }

    /// An id below, close enough that hardly any other lies between. Its sequence stays short, as cursors of many
    /// partitions have no room for long ones. [`Id::ZERO`] has none below.
    #[must_use]
    pub fn before(self) -> Self {
        match (self.ms, self.seq.checked_sub(1)) {
            (ms, Some(seq)) => Self { ms, seq },
            (0, None) => Self::ZERO,
            (ms, None) => Self { ms: ms - 1, seq: u64::from(u16::MAX) },
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for Id {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parsed = text.split_once('-').and_then(|(ms, seq)| Some(Self { ms: number(ms)?, seq: number(seq)? }));
        parsed.ok_or_else(|| Invalid::new("id", text, "<milliseconds>-<sequence>, as Redis writes a stream id"))
    }
}

/// Digits only, and no leading zero: one id has one spelling.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_redis_would_not_write() {
        for text in ["", "-", "1", "1-", "-1", "+1-0", "01-0", "1-00", "1-0 ", "1-0-0", "18446744073709551616-0"] {
            assert!(text.parse::<Id>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(ms: u64, seq: u64) {
            let id = Id { ms, seq };
            prop_assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        }

        #[test]
        fn next_is_above(ms in 0..u64::MAX, seq: u64) {
            let id = Id { ms, seq };
            prop_assert!(id.next() > id);
        }

        #[test]
        fn before_is_below(ms in 1..u64::MAX, seq: u64) {
            let id = Id { ms, seq };
            prop_assert!(id.before() < id);
        }

        #[test]
        fn never_panics(text: String) {
            let _ = text.parse::<Id>();
        }
    }
}
