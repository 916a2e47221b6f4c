//! A user: whom a token names in `sub`.

use std::fmt;
use std::str::FromStr;

use crate::{Invalid, limits};

/// A user id: 1 to 128 bytes of printable UTF-8 without `/`. Percent-encoded where it travels in a URL, nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User(Box<str>);

pub(crate) const EXPECTED: &str = "1 to 128 bytes of printable UTF-8 without /";

impl User {
    /// The id as text, not percent-encoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Neither a control character nor a line or paragraph separator: safe in a log line and in an SSE field.
pub(crate) fn is_printable(c: char) -> bool {
    !c.is_control() && c != '\u{2028}' && c != '\u{2029}'
}

impl FromStr for User {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=limits::USER_BYTES).contains(&text.len());
        if fits && text.chars().all(|c| c != '/' && is_printable(c)) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("user", text, EXPECTED))
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
