//! How metrics are registered and counted: one series, one for each value of a label, one for each partition.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};
use tidings_shared::Partition;

use super::labels::Label;

/// A time.
pub(super) type Seconds = Gauge<f64, AtomicU64>;
/// A counter for each value of a label.
pub(super) type Counts = Family<[(&'static str, &'static str); 1], Counter>;
/// A metric for each partition.
pub(super) type Partitioned<M> = Family<[(&'static str, u16); 1], M>;

/// A metric at 0.
pub(super) fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    register(registry, name, help, M::default())
}

/// Registers a metric and gives it back.
pub(super) fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// A counter for each value of a label, all at 0.
pub(super) fn counts<L: Label>(registry: &mut Registry, name: &str, help: &str) -> Counts {
    let family: Counts = add(registry, name, help);
    for label in L::ALL {
        bump(&family, *label, 0);
    }
    family
}

/// Adds to the counter of a label.
pub(super) fn bump<L: Label>(family: &Counts, label: L, count: u64) {
    family.get_or_create(&[(L::NAME, label.text())]).inc_by(count);
}

/// The label of a partition.
pub(super) fn of(partition: Partition) -> [(&'static str, u16); 1] {
    [("partition", partition.number())]
}
