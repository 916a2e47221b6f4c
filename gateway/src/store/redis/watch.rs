//! Noticing that another server has become the primary, however well the connections look: a frozen one stays silent, and
//! one that was cut off from the others goes on by itself.

use std::sync::Arc;
use std::time::Duration;

use tidings_publisher::store::{Map, NameWatch, Peer, Primaries, Server, Topology};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::fresh_map;
use crate::store::session::PushSink;
use crate::without::{Mechanism, Without};

/// How often sentinels, or nodes of a cluster, are asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// So many in a row must say that a primary is another. Each time another one is asked, as one alone may be outdated.
const AGREE: u32 = 2;

/// Asks who the primaries are for as long as it lives.
#[derive(Debug)]
pub(super) struct Watch {
    maps: watch::Receiver<Arc<Map>>,
    asking: Option<Task>,
}

/// A session that is watched over, until this is dropped.
#[derive(Debug)]
pub(super) struct Watched {
    _task: Option<Task>,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watch {
    /// Begins to ask. One server alone has no one to ask.
    pub(super) fn begin(primaries: Primaries, without: Without) -> Self {
        let (told, maps) = watch::channel(Arc::default());
        let watched = *primaries.topology() != Topology::Standalone && !without.lacks(Mechanism::Watch);
        let asking = watched.then(|| Task(tokio::spawn(ask(primaries, told))));
        Self { maps, asking }
    }

    /// Closes the session when these slots have another primary than `server`.
    pub(super) fn over(&self, slots: Vec<u16>, server: Server, sink: PushSink) -> Watched {
        let task = self.asking.is_some().then(|| Task(tokio::spawn(compare(self.maps.clone(), slots, server, sink))));
        Watched { _task: task }
    }

    /// Closes the session when the name of its server leads to another address.
    pub(super) fn over_name(primaries: &Primaries, peer: &Peer, sink: PushSink) -> Watched {
        let mut name = NameWatch::begin(primaries, peer);
        let task = Task(tokio::spawn(async move {
            name.moved().await;
            sink.close("the name of the server leads to another address now");
        }));
        Watched { _task: Some(task) }
    }
}

async fn ask(primaries: Primaries, told: watch::Sender<Arc<Map>>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        // Nobody answering says nothing of the primaries.
        if let Ok(map) = fresh_map(&primaries).await {
            told.send_replace(map);
        }
    }
}

async fn compare(mut maps: watch::Receiver<Arc<Map>>, slots: Vec<u16>, server: Server, sink: PushSink) {
    // What was told before the session may be what it was opened for.
    maps.mark_unchanged();
    let mut others = 0;
    while others < AGREE {
        if maps.changed().await.is_err() {
            return;
        }
        others = if is_another(&slots, &server, &maps.borrow_and_update()) { others + 1 } else { 0 };
    }
    sink.close("another server is the primary now");
}

/// Whether any of the slots has another primary. One that has none is not served better elsewhere.
fn is_another(slots: &[u16], server: &Server, map: &Map) -> bool {
    slots.iter().any(|slot| map.of(*slot).is_some_and(|now| now != server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_primary_is_told_from_none() {
        let (a, b) = (Server::new("a", 1), Server::new("b", 2));
        let is_another = |map: &Map| is_another(&[3, 9], &a, map);
        assert!(!is_another(&Map::one(a.clone())));
        assert!(is_another(&Map::one(b.clone())));
        assert!(!is_another(&Map::default()), "an unserved slot");
        let mut moved = Map::one(a.clone());
        moved.moved(9, b);
        assert!(is_another(&moved));
    }
}
