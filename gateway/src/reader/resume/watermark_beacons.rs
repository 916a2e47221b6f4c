//! The beacons that are sent for joins which wait for a watermark.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;

use tidings_shared::{Id, Partition};

use crate::reader::partition::{PartitionState, Stand};
use crate::reader::requests::Requests;

/// The beacons that are sent for joins which wait for a watermark: one at a time through each
/// partition.
#[derive(Debug, Default)]
pub struct WatermarkBeacons {
    /// The partitions through which one is under way; with the highest id seen if another must
    /// follow.
    under_way: HashMap<Partition, Option<Id>>,
}

impl WatermarkBeacons {
    /// Waits until the watermark of a partition has come to `until`, or to the end of a journal
    /// that is not so far: false then. Beacons see to that: they come in behind all that was
    /// published before them.
    pub fn wait(
        &mut self,
        state: &PartitionState,
        until: Id,
        requests: &mut Requests,
    ) -> impl Future<Output = bool> + use<> {
        // The next one to be sent: one that is under way may have passed the store before that id
        // was given.
        let number = requests.next_beacon(state.partition);
        match self.under_way.entry(state.partition) {
            Entry::Occupied(mut next) => drop(next.insert(Some(state.highest))),
            Entry::Vacant(next) => {
                next.insert(None);
                requests.lift(state.partition, state.highest);
            }
        }
        let (mut stand, generation) = (state.stand(), state.generation);
        // What was planned under another generation is void.
        let is_there = move |stand: &Stand, id| stand.generation != generation || stand.id >= id;
        async move {
            // It fails only where there is nobody to take the answer.
            let is_settled = |stand: &Stand| is_there(stand, until) || stand.answered.0 >= number;
            let settled = stand.wait_for(is_settled).await.map(|stand| *stand);
            // A journal that ends before that id never had it. What it does have is on its way.
            let Ok(Stand { answered: (_, last), .. }) = settled else { return true };
            let end = until.min(last);
            let arrived = stand.wait_for(|stand| is_there(stand, end)).await;
            arrived.is_ok_and(|stand| is_there(&stand, until))
        }
    }

    /// One was answered, or failed; others have come since it was sent, perhaps for what was
    /// published after it.
    pub fn finish(&mut self, partition: Partition, requests: &mut Requests) {
        if let Some(seen) = self.under_way.remove(&partition).flatten() {
            self.under_way.insert(partition, None);
            requests.lift(partition, seen);
        }
    }

    /// The session of a partition is over, and with it what was sent.
    pub fn detach(&mut self, partition: Partition) {
        self.under_way.remove(&partition);
    }
}
