//! Noticing that another server has become the primary, however well the connections look: a frozen one stays silent, and
//! one that was cut off from the others goes on by itself.

use std::time::Duration;

use tidings_publisher::store::{Map, Primaries, Server, Topology};
use tokio::task::JoinHandle;

use super::fresh_map;
use crate::store::session::PushSink;
use crate::without::{Mechanism, Without};

/// How often sentinels, or nodes of a cluster, are asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// So many in a row must say that a primary is another. Each time another one is asked, as one alone may be outdated.
const AGREE: u32 = 2;

/// Asks who the primaries are for as long as it lives, and closes the session when they have become others.
#[derive(Debug)]
pub(super) struct Watch {
    task: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches over the primaries of these slots. One server alone has no one to ask.
    pub(super) fn begin(primaries: Primaries, slots: Vec<(u16, Server)>, sink: PushSink, without: Without) -> Self {
        let watched = *primaries.topology() != Topology::Standalone && !without.lacks(Mechanism::Watch);
        let task = watched.then(|| tokio::spawn(watch(primaries, slots, sink)));
        Self { task }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn watch(primaries: Primaries, slots: Vec<(u16, Server)>, sink: PushSink) {
    let mut others = 0;
    while others < AGREE {
        tokio::time::sleep(INTERVAL).await;
        // Nobody answering says nothing of the primaries.
        let Ok(map) = fresh_map(&primaries).await else { continue };
        others = if is_another(&slots, &map) { others + 1 } else { 0 };
    }
    sink.close("another server is the primary now");
}

/// Whether any of the slots has another primary than before. One that has none is not served better elsewhere.
fn is_another(slots: &[(u16, Server)], map: &Map) -> bool {
    slots.iter().any(|(slot, before)| map.of(*slot).is_some_and(|now| now != before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_primary_is_told_from_none() {
        let (a, b) = (Server::new("a", 1), Server::new("b", 2));
        let slots = [(3, a.clone()), (9, a.clone())];
        assert!(!is_another(&slots, &Map::one(a.clone())));
        assert!(is_another(&slots, &Map::one(b.clone())));
        assert!(!is_another(&slots, &Map::default()), "an unserved slot");
        let mut moved = Map::one(a);
        moved.moved(9, b);
        assert!(is_another(&slots, &moved));
    }
}
