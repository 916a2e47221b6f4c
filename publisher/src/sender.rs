//! Sending with retries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidings_shared::{Event, Partitions};

use crate::backoff::Backoff;
use crate::parcel::Parcel;
use crate::transport::Transport;
use crate::{Error, Receipt};

/// Sends parcels until they are taken, refused, or tried often enough. Shared by all handles of a publisher.
pub(crate) struct Sender {
    transport: Transport,
    retries: u32,
    retry_for: Duration,
    published: AtomicU64,
    failed: AtomicU64,
}

/// The most that goes in one attempt, in bytes, so that an attempt fits into its timeout on a slow line too.
const WINDOW_BYTES: usize = 256 * 1024;
/// The longest that a gateway's `Retry-After` is heeded: the caller waits meanwhile.
pub(crate) const LONGEST_ASKED: Duration = Duration::from_secs(5);

impl Sender {
    /// Sends over `transport`, with up to `retries` attempts after the first, none of which begins
    /// later than `retry_for` after it.
    pub(crate) fn new(transport: Transport, retries: u32, retry_for: Duration) -> Self {
        Self { transport, retries, retry_for, published: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    /// The delays between the attempts of one call.
    pub(crate) fn backoff() -> Backoff {
        Backoff::new(Duration::from_millis(250), Duration::from_secs(2))
    }

    /// Checks and encodes an event for this transport.
    pub(crate) fn parcel(&self, event: Event) -> Result<Parcel, Error> {
        let parcel = Parcel::new(event, self.transport.form(), self.retries > 0);
        if parcel.is_err() {
            self.count_failed(1);
        }
        parcel
    }

    /// How many of `parcels`, from the first, go into one window: one at least.
    pub(crate) fn window<'a>(&self, parcels: impl IntoIterator<Item = &'a Parcel>) -> usize {
        let mut bytes = 0;
        let fits = |parcel: &&Parcel| {
            bytes += parcel.bytes();
            bytes <= WINDOW_BYTES
        };
        parcels.into_iter().take(self.transport.window()).take_while(fits).count().max(1)
    }

    /// Sends one window of parcels, in order; one result for each, in their order. The count of failures is the
    /// caller's to raise, as it may try on.
    pub(crate) async fn send(&self, parcels: &[Parcel]) -> Vec<Result<Receipt, Error>> {
        let begun = Instant::now();
        let mut results = self.attempt(&parcels.iter().collect::<Vec<_>>()).await;
        let mut backoff = Self::backoff();
        for _ in 0..self.retries {
            let waiting: Vec<usize> = (0..results.len()).filter(|at| may_succeed_later(&results[*at])).collect();
            if waiting.is_empty() {
                break;
            }
            let asked = waiting.iter().filter_map(|at| results[*at].as_ref().err()?.asked_delay()).max();
            let delay = backoff.next(fastrand::f64()).max(asked.unwrap_or_default().min(LONGEST_ASKED));
            if begun.elapsed() + delay > self.retry_for {
                break;
            }
            tracing::debug!(events = waiting.len(), ?delay, "publish failed, trying again");
            tokio::time::sleep(delay).await;
            let again: Vec<&Parcel> = waiting.iter().filter_map(|at| parcels.get(*at)).collect();
            for (at, result) in waiting.into_iter().zip(self.attempt(&again).await) {
                results[at] = result;
            }
        }
        self.count_published(&results);
        results
    }

    /// Sends parcels once, in order; one result for each, in their order.
    pub(crate) async fn send_once(&self, parcels: &[Parcel]) -> Vec<Result<Receipt, Error>> {
        let results = self.attempt(&parcels.iter().collect::<Vec<_>>()).await;
        self.count_published(&results);
        results
    }

    fn count_published(&self, results: &[Result<Receipt, Error>]) {
        let published = results.iter().filter(|result| result.is_ok()).count();
        self.published.fetch_add(published as u64, Ordering::Relaxed);
    }

    /// The number of partitions that events are routed by; `None` where the publisher does not
    /// route them.
    pub(crate) fn partitions(&self) -> Option<Partitions> {
        self.transport.partitions()
    }

    /// Opens the connection, with the retries of a publish.
    pub(crate) async fn reach(&self) -> Result<(), Error> {
        let mut backoff = Self::backoff();
        let mut result = self.transport.connect().await;
        for _ in 0..self.retries {
            if !result.as_ref().is_err_and(Error::is_retryable) {
                break;
            }
            tokio::time::sleep(backoff.next(fastrand::f64())).await;
            result = self.transport.connect().await;
        }
        result
    }

    async fn attempt(&self, parcels: &[&Parcel]) -> Vec<Result<Receipt, Error>> {
        match self.transport.attempt(parcels).await {
            Ok(results) => results,
            Err(error) => parcels.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Counts events that nobody will try again.
    pub(crate) fn count_failed(&self, events: usize) {
        self.failed.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// Events published and events failed so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.published.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// Whether another attempt may bring what this one did not.
pub(crate) fn may_succeed_later(result: &Result<Receipt, Error>) -> bool {
    result.as_ref().is_err_and(Error::is_retryable)
}
