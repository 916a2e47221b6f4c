//! By which count of partitions addresses are routed: the publisher's own at first, the store's as soon as that is told.

use std::sync::{Arc, Mutex, PoisonError};

use tidings_shared::Partitions;
use tidings_shared::keys::{Keys, Namespace};

/// The count that is known now. The store has the last word: a gateway that was given another may change it while this
/// publisher runs.
pub(super) struct Routing {
    namespace: Namespace,
    now: Mutex<Arc<Route>>,
}

/// One count, and the keys of its partitions.
pub(super) struct Route {
    pub(super) partitions: Partitions,
    /// Of each partition.
    pub(super) keys: Vec<Keys>,
}

impl Routing {
    /// By `partitions`, until the store tells of another.
    pub(super) fn new(namespace: Namespace, partitions: Partitions) -> Self {
        let now = Mutex::new(Arc::new(Route::new(&namespace, partitions)));
        Self { namespace, now }
    }

    /// The route of this moment; what is routed by it may be refused as the count has changed.
    pub(super) fn now(&self) -> Arc<Route> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store has this many.
    pub(super) fn adopt(&self, partitions: Partitions) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.partitions != partitions {
            let (known, told) = (now.partitions.count(), partitions.count());
            tracing::info!(namespace = %self.namespace, known, told, "the store has another number of partitions");
            *now = Arc::new(Route::new(&self.namespace, partitions));
        }
    }

    /// The keys of all partitions that there may be.
    pub(super) fn all(&self) -> Vec<Keys> {
        Route::new(&self.namespace, Partitions::MOST).keys
    }
}

impl Route {
    fn new(namespace: &Namespace, partitions: Partitions) -> Self {
        Self { partitions, keys: partitions.all().map(|partition| namespace.keys(partition)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_keeps_its_route() {
        let routing = Routing::new(Namespace::default(), Partitions::ONE);
        let before = routing.now();
        routing.adopt(Partitions::CLUSTER);
        assert_eq!((before.keys.len(), routing.now().keys.len(), routing.all().len()), (1, 16, 32));
        routing.adopt(Partitions::ONE);
        assert_eq!(routing.now().partitions, Partitions::ONE);
    }
}
