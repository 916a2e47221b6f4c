//! The metrics of this gateway: what there is, fed from anywhere, read by `/metrics`. Each area has a file, with its
//! metrics and the methods that feed them.
//!
//! Nothing here is for the hot path: workers count in cells of their own and add the sums once a second.

mod certificate;
mod connections;
mod events;
mod families;
mod labels;
mod link;
mod process;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use certificate::Certificate;
use connections::Connections;
use events::Events;
pub use labels::{Connect, Foreign, Publish, Read, Resume};
use link::Link;
use process::Process;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one gateway. A clone is the same metrics, and cheap.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    connections: Connections,
    events: Events,
    link: Link,
    certificate: Certificate,
    process: Process,
}

impl Metrics {
    /// All metrics, at 0. Those of a partition appear when they are first set.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tidings");
        registry.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let inner = Inner {
            connections: Connections::new(&mut registry),
            events: Events::new(&mut registry),
            link: Link::new(&mut registry),
            certificate: Certificate::new(&mut registry),
            process: Process::new(&mut registry),
            registry,
        };
        Self(Arc::new(inner))
    }

    /// All of it as OpenMetrics text, of the type [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail, and no metric of ours fails to encode.
        let _ = encode(&mut text, &self.0.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
