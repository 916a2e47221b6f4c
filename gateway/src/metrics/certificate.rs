//! Metrics of the certificate that the public listener serves.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::families::add;

/// Those of the certificate.
#[derive(Debug)]
pub(super) struct Certificate {
    failures: Counter,
    not_after: Gauge,
}

impl Certificate {
    /// All at 0.
    pub(super) fn new(r: &mut Registry) -> Self {
        let failures = "Times that a changed certificate was broken and the one before kept";
        let not_after = "When the certificate in force ends, in seconds since 1970; 0 without TLS";
        Self {
            failures: add(r, "tls_reload_failures", failures),
            not_after: add(r, "tls_not_after_seconds", not_after),
        }
    }
}

impl Metrics {
    /// Adds a changed certificate that was broken.
    pub fn add_tls_reload_failure(&self) {
        self.0.certificate.failures.inc();
    }

    /// Sets when the certificate in force ends, since 1970.
    pub fn set_tls_not_after(&self, end: Duration) {
        self.0.certificate.not_after.set(i64::try_from(end.as_secs()).unwrap_or(i64::MAX));
    }
}
