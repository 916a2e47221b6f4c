//! The count: how many partitions a namespace has, as the hash of each of them tells.

use std::fmt;
use std::str::FromStr;

use crate::{Invalid, Partitions};

/// What one partition tells of the count. Gateways set it in all of them, in those beyond the count too, so that whoever
/// goes by another count is told wherever it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Nothing: no gateway was ever there, or the partition's data is lost.
    Unset,
    /// It is being changed, and nobody may publish.
    Changing,
    /// It is this.
    Is(Partitions),
}

/// Empty, `0`, or the count in decimal.
impl FromStr for Count {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "" => Ok(Self::Unset),
            "0" => Ok(Self::Changing),
            text => {
                let count = text.parse().ok().and_then(|count| Partitions::new(count).ok());
                count.map(Self::Is).ok_or_else(|| Invalid::new("count of partitions", text, "0 to 32, or nothing"))
            }
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Changing => f.write_str("0"),
            Self::Is(partitions) => partitions.count().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_shows_parses() {
        for (text, count) in [("", Count::Unset), ("0", Count::Changing), ("16", Count::Is(Partitions::CLUSTER))] {
            assert_eq!((text.parse(), count.to_string()), (Ok(count), text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_count_is_told() {
        for text in ["33", "-1", "1.5", "many", " "] {
            let error = text.parse::<Count>().unwrap_err();
            assert!(error.to_string().contains("count of partitions"), "{error}");
        }
    }
}
