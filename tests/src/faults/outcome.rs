//! What came of a run: the oracle's verdict, and how long it took until all was well again.

use std::fmt;
use std::time::Duration;

use super::Stage;
use super::stage::Moments;
use crate::oracle::Verdict;

/// After a failover all clients have converged within this time of the new primary's first acknowledged publish.
const AFTER_FAILOVER: Duration = Duration::from_secs(5);

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the oracle says of the whole run.
    pub verdict: Verdict,
    /// How long the fault lasted.
    pub lasted: Duration,
    /// From when the fault struck.
    pub recovery: Recovery,
    /// From when new primaries served, if some took over.
    pub from_serving: Option<Recovery>,
}

/// How long it took clients until they held, delivered or resynced, all that was acknowledged until the fault was over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Half of the clients took no longer.
    pub median: Duration,
    /// No client took longer.
    pub worst: Duration,
}

impl Recovery {
    /// From a moment on to those at which clients had converged, all in microseconds since 1970.
    pub fn between(from: u64, converged: &[u64]) -> Self {
        let mut times: Vec<u64> = converged.iter().map(|at| at.saturating_sub(from)).collect();
        times.sort_unstable();
        let nth = |n: usize| Duration::from_micros(times.get(n).copied().unwrap_or(0));
        Self { median: nth(times.len().saturating_sub(1) / 2), worst: nth(times.len().saturating_sub(1)) }
    }
}

impl Outcome {
    /// Of what happened on this stage, as this verdict judges it.
    pub fn of(stage: &Stage, verdict: Verdict) -> Self {
        let moments = stage.moments().clone();
        let (struck, over) = (moments.struck.unwrap_or(0), moments.over.unwrap_or(0));
        let cast = &stage.cast;
        // Whoever is still owed something is in the verdict.
        let converged: Vec<u64> =
            cast.records().into_iter().filter_map(|record| cast.oracle.converged(record, over)).collect();
        let serving = serving(&moments, |from, befallen| {
            cast.oracle.first_acked(from, |address| befallen.iter().any(|topic| topic == address))
        });
        Self {
            verdict,
            lasted: Duration::from_micros(over.saturating_sub(struck)),
            recovery: Recovery::between(struck, &converged),
            from_serving: serving.map(|serving| Recovery::between(serving, &converged)),
        }
    }

    /// Panics with the whole story if a promise was broken.
    pub fn assert_kept(&self) {
        assert!(self.verdict.is_kept() && self.verdict.pairs > 0, "promise 1 was not kept\n{self}");
        let late = self.from_serving.is_some_and(|recovery| recovery.worst > AFTER_FAILOVER);
        assert!(!late, "not all had converged within {AFTER_FAILOVER:?} of the new primary's serving\n{self}");
    }
}

/// When all new primaries served.
fn serving(moments: &Moments, first_acked: impl Fn(u64, &[String]) -> Option<u64>) -> Option<u64> {
    moments.replaced.iter().filter_map(|(from, befallen)| first_acked(*from, befallen)).max()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fault lasted {:.2?}; converged after {}", self.lasted, self.recovery)?;
        if let Some(from_serving) = &self.from_serving {
            write!(f, "; from the new primary's serving {from_serving}")?;
        }
        writeln!(f)?;
        self.verdict.fmt(f)
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2?} at the median, {:.2?} at worst", self.median, self.worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_the_median_and_the_worst() {
        let ms = Duration::from_millis;
        let recovery = |times: &[u64]| {
            let Recovery { median, worst } = Recovery::between(1_000_000, times);
            (median, worst)
        };
        assert_eq!(recovery(&[1_300_000, 1_100_000, 1_200_000]), (ms(200), ms(300)));
        assert_eq!(recovery(&[1_400_000, 1_100_000, 1_200_000, 1_300_000]), (ms(200), ms(400)));
        assert_eq!(recovery(&[0, 900_000]), (ms(0), ms(0)), "it had converged before");
        assert_eq!(recovery(&[]), (ms(0), ms(0)));
    }

    #[test]
    fn serving_is_when_the_last_new_primary_served() {
        let replaced = vec![(10, vec!["a".to_owned()]), (20, vec!["b".to_owned()])];
        let moments = Moments { replaced, ..Moments::default() };
        assert_eq!(serving(&moments, |from, _| Some(from + 5)), Some(25));
        assert_eq!(serving(&moments, |from, befallen| (befallen[0] == "a").then_some(from)), Some(10));
        assert_eq!(serving(&Moments::default(), |from, _| Some(from)), None);
    }
}
