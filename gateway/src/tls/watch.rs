//! Takes a renewed certificate into force, and keeps the old one while the new one is broken.
//!
//! It compares what the files hold instead of waiting for file events: a mounted Kubernetes secret changes by swapping a
//! symbolic link two folders up, and network file systems report nothing at all. Two small files, every two seconds.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::Tls;
use super::pair::{self, Pair, Paths, Texts, WrongPair};
use crate::metrics::Metrics;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// Why the files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookCause {
    /// It is time for it.
    Interval,
    /// Somebody asked for it, who takes the files to be whole.
    Request,
}

/// Keeps the pair of a listener as its files are.
pub struct Renewal {
    tls: Tls,
    paths: Paths,
    watch: Watch,
    metrics: Metrics,
}

impl Renewal {
    /// Of `tls`, which was opened with what `paths` held then: `texts`.
    pub(super) fn new(tls: Tls, paths: Paths, texts: Texts, metrics: Metrics) -> Self {
        Self { tls, paths, watch: Watch::new(texts), metrics }
    }

    /// Watches for as long as it is polled, and looks at once on each of `requests`.
    pub async fn run(mut self, mut requests: watch::Receiver<u64>) {
        let mut looks = interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let cause = tokio::select! {
                _ = looks.tick() => LookCause::Interval,
                Ok(()) = requests.changed() => LookCause::Request,
            };
            let paths = self.paths.clone();
            // A file system that hangs must not take the process along.
            let Ok(found) = tokio::task::spawn_blocking(move || paths.read()).await else { continue };
            self.take(found, cause);
        }
    }

    fn take(&mut self, found: Result<Texts, WrongPair>, cause: LookCause) {
        match self.watch.look(found, cause) {
            News::None if cause == LookCause::Request => tracing::info!(?cause, "the certificate is unchanged"),
            News::None => {}
            News::Renewed(pair) => {
                self.metrics.set_tls_not_after(pair.not_after);
                self.tls.replace(pair.certified);
                tracing::info!(?cause, "the renewed certificate is in force");
            }
            News::Broken(error) => {
                self.metrics.add_tls_reload_failure();
                tracing::error!(?cause, "{error}; the certificate from before stays in force");
            }
        }
    }
}

/// What a look has found.
pub(super) enum News {
    /// Nothing to do.
    None,
    /// A new pair that works.
    Renewed(Pair),
    /// A new pair that does not, told once, and again whenever somebody asks.
    Broken(WrongPair),
}

/// The look in a row at which a broken pair is told.
const TOLD: u32 = 2;

/// What was seen so far.
pub(super) struct Watch {
    /// What the files held when they were last in order.
    good: Texts,
    /// Looks in a row that found something broken. One alone may have come between the writing of the two files.
    broken: u32,
}

impl Watch {
    /// With `good` in force.
    pub(super) fn new(good: Texts) -> Self {
        Self { good, broken: 0 }
    }

    /// Judges a look at the files.
    pub(super) fn look(&mut self, found: Result<Texts, WrongPair>, cause: LookCause) -> News {
        let found = found.and_then(|texts| match texts == self.good {
            true => Ok(None),
            false => pair::load(&texts).map(|pair| Some((texts, pair))),
        });
        match found {
            Ok(found) => {
                self.broken = 0;
                let Some((texts, pair)) = found else { return News::None };
                self.good = texts;
                News::Renewed(pair)
            }
            Err(error) => {
                self.broken = match cause {
                    LookCause::Interval => self.broken.saturating_add(1),
                    // The looks that follow have nothing new to tell.
                    LookCause::Request => self.broken.max(TOLD),
                };
                if self.broken == TOLD || cause == LookCause::Request { News::Broken(error) } else { News::None }
            }
        }
    }
}
