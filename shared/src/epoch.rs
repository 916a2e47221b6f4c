//! The identity of a history.

use std::fmt;
use std::str::FromStr;

use crate::Invalid;

/// The identity of a partition's history: 24 random bits, written in base 36.
///
/// Chosen anew whenever history may have been lost: Redis came up empty, or another server answers than before. Two
/// histories share an epoch with a chance of one in 16.7 million; it is this short because every cursor carries one for
/// each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u32);

const BITS: u32 = 24;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

impl Epoch {
    /// An epoch from random bits, of which the low 24 are used. The caller owns the source of randomness.
    pub fn from_random(bits: u32) -> Self {
        Self(bits & ((1 << BITS) - 1))
    }

    /// The 24 bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0_u8; 5];
        let mut rest = self.0;
        for slot in digits.iter_mut().rev() {
            *slot = DIGITS[(rest % 36) as usize];
            rest /= 36;
        }
        let text = std::str::from_utf8(&digits).map_err(|_| fmt::Error)?;
        let short = text.trim_start_matches('0');
        f.write_str(if short.is_empty() { "0" } else { short })
    }
}

impl FromStr for Epoch {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        let short = text == "0" || !text.starts_with('0');
        let bits = if plain && short && text.len() <= 5 { u32::from_str_radix(text, 36).ok() } else { None };
        bits.filter(|bits| *bits < 1 << BITS)
            .map(Self)
            .ok_or_else(|| Invalid::new("epoch", text, "1 to 5 base 36 digits, at most 9zldr"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_other_spellings() {
        for text in ["", "00", "01", "K3F9", "k3f9 ", "zzzzz", "9zlds", "-1", "+1"] {
            assert!(text.parse::<Epoch>().is_err(), "{text:?}");
        }
        assert_eq!("9zldr".parse::<Epoch>().unwrap(), Epoch::from_random(u32::MAX));
    }

    proptest! {
        #[test]
        fn round_trips(bits: u32) {
            let epoch = Epoch::from_random(bits);
            prop_assert_eq!(epoch.to_string().parse::<Epoch>().unwrap(), epoch);
        }

        #[test]
        fn never_panics(text: String) {
            let _ = text.parse::<Epoch>();
        }
    }
}
