//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant, SystemTime};

/// Long enough for a loaded machine; a test that works does not wait so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Returns as soon as `condition` holds; panics if it does not hold `within` that time.
pub async fn eventually(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until `condition` holds, or for that time: where others than this one may have kept it from ever holding.
pub async fn perhaps(within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await && begun.elapsed() < within {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Microseconds since 1970, by the clock that Redis takes ids from, as all run on this machine.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_micros()).expect("a clock before the year 500,000")
}
