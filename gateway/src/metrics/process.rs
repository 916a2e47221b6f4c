//! Metrics of the process itself.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::families::add;

/// Those of the process.
#[derive(Debug)]
pub(super) struct Process {
    dropped_lines: Counter,
}

impl Process {
    /// All at 0.
    pub(super) fn new(r: &mut Registry) -> Self {
        let dropped = "Log lines that were dropped, as stderr was not read fast enough, or not writable";
        Self { dropped_lines: add(r, "log_lines_dropped", dropped) }
    }
}

impl Metrics {
    /// Sets how many log lines were dropped so far.
    pub fn set_log_lines_dropped(&self, lines: u64) {
        self.0.process.dropped_lines.inner().store(lines, Ordering::Relaxed);
    }
}
