//! A topic: a name for something that changes.

use std::fmt;
use std::str::FromStr;

use crate::{Invalid, limits};

/// 1 to 8 segments of `[A-Za-z0-9_.:~-]`, joined by `/`, at most 200 bytes: `orders/42`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Box<str>);

/// What a topic may be, for error texts.
pub(crate) const EXPECTED: &str =
    "1 to 8 segments of [A-Za-z0-9_.:~-] joined by /, at most 200 bytes, such as orders/42";

impl Topic {
    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `segment` may stand between two slashes.
pub(crate) fn is_segment(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:~-".contains(&b))
}

impl FromStr for Topic {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = text.len() <= limits::TOPIC_BYTES && text.split('/').count() <= limits::TOPIC_SEGMENTS;
        if fits && text.split('/').all(is_segment) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("topic", text, EXPECTED))
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
