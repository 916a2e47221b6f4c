//! What came of a run: the oracle's verdict, and how long it took until all was well again.

use std::fmt;
use std::time::Duration;

use super::Stage;
use crate::oracle::Verdict;
use crate::record::Record;

/// After a failover all clients have converged within this time of the new primary's first acknowledged publish.
const AFTER_FAILOVER: Duration = Duration::from_secs(5);

/// An event that came so long after it was acknowledged tells of a client that was left behind; less, of a busy machine.
const LATE: Duration = Duration::from_millis(100);

/// What was acknowledged later than this after the new primary served says nothing about the failover.
const SERVED: Duration = Duration::from_secs(1);

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the oracle says of the whole run.
    pub verdict: Verdict,
    /// How long the fault lasted.
    pub lasted: Duration,
    /// From when the fault struck until clients held all that was acknowledged until it was over.
    pub recovery: Recovery,
    /// From when new primaries served, if some took over, until clients lagged behind no more.
    pub from_serving: Option<Recovery>,
}

/// How long it took clients until all was well again.
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
        let of_all = |moment: &dyn Fn(&Record) -> Option<u64>| -> Vec<u64> {
            cast.records().into_iter().filter_map(|record| moment(record)).collect()
        };
        let converged = of_all(&|record| cast.oracle.converged(record, over));
        let from_serving = moments.serving.iter().max().map(|serving| {
            let until = serving.saturating_add(SERVED.as_micros() as u64);
            Recovery::between(*serving, &of_all(&|record| cast.oracle.up_to_date(record, until, LATE)))
        });
        Self {
            verdict,
            lasted: Duration::from_micros(over.saturating_sub(struck)),
            recovery: Recovery::between(struck, &converged),
            from_serving,
        }
    }

    /// Panics with the whole story if a promise was broken.
    pub fn assert_kept(&self) {
        assert!(self.verdict.is_kept() && self.verdict.pairs > 0, "promise 1 was not kept\n{self}");
        let late = self.from_serving.is_some_and(|recovery| recovery.worst > AFTER_FAILOVER);
        assert!(!late, "not all had converged within {AFTER_FAILOVER:?} of the new primary's serving\n{self}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.verdict.lost > 0 {
            writeln!(f, "the fault lasted {:.2} s; not all clients converged", self.lasted.as_secs_f64())?;
            return self.verdict.fmt(f);
        }
        write!(f, "the fault lasted {:.2} s; converged after {}", self.lasted.as_secs_f64(), self.recovery)?;
        if let Some(from_serving) = &self.from_serving {
            write!(f, "; from the new primary's serving {from_serving}")?;
        }
        writeln!(f)?;
        self.verdict.fmt(f)
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s at the median, {:.2} s at worst", self.median.as_secs_f64(), self.worst.as_secs_f64())
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
}
