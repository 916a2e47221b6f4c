//! The spread that the configuration gives to topics, for events that have none of their own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tidings_shared::{Address, Pattern, limits};

/// Patterns, each with a spread: `news=10s, orders/**=2s`. The first that fits an address counts.
#[derive(Debug, Clone, Default)]
pub struct Spreads(Arc<[(Pattern, Duration)]>);

/// What is allowed, for whom it was not.
pub const EXPECTED: &str = "none, or pattern=duration, pattern=duration, each up to 1h, such as news=10s, orders/**=2s";

impl Spreads {
    /// The spread of an address; zero if no pattern fits.
    pub fn of(&self, address: &Address) -> Duration {
        let fits = self.0.iter().find(|(pattern, _)| pattern.matches(address));
        fits.map_or(Duration::ZERO, |(_, spread)| *spread)
    }
}

impl FromStr for Spreads {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if matches!(text.trim(), "" | "none") {
            return Ok(Self::default());
        }
        let each = text.split(',').map(|one| {
            let (pattern, spread) = one.rsplit_once('=')?;
            let spread = humantime::parse_duration(spread.trim()).ok()?;
            let fits = spread <= Duration::from_millis(limits::SPREAD_MS);
            Some((pattern.trim().parse().ok()?, fits.then_some(spread)?))
        });
        each.collect::<Option<_>>().map(Self).ok_or(EXPECTED)
    }
}

impl fmt::Display for Spreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (at, (pattern, spread)) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{pattern}={}", humantime::format_duration(*spread))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_fits_counts() {
        let spreads: Spreads = "orders/1=0s, orders/**=2s,@*/inbox = 500ms".parse().unwrap();
        let of = |address: &str| spreads.of(&address.parse().unwrap()).as_millis();
        assert_eq!((of("orders/1"), of("orders/1/x"), of("@a/inbox"), of("news")), (0, 2_000, 500, 0));
        assert_eq!(spreads.to_string(), "orders/1=0s, orders/**=2s, @*/inbox=500ms");
        assert_eq!(spreads.to_string().parse::<Spreads>().unwrap().to_string(), spreads.to_string());
    }

    #[test]
    fn refuses_what_is_no_pattern_or_too_long() {
        for text in ["news", "news=", "=5s", "news=5", "news=61m", "a b=5s", "news=5s,", "**/a=5s"] {
            assert_eq!(text.parse::<Spreads>().unwrap_err(), EXPECTED, "{text}");
        }
        assert_eq!("".parse::<Spreads>().unwrap().to_string(), "none");
        assert_eq!("none".parse::<Spreads>().unwrap().to_string(), "none");
    }
}
