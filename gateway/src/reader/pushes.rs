//! What the store pushes: decoded, encoded once, handed out.

use std::time::Instant;

use tidings_shared::Partition;
use tidings_shared::cursor::Place;
use tidings_shared::message::{self, Delivered};

use super::delivery::{Dispatch, Resync};
use super::partition::Step;
use super::{Reader, Route};
use crate::control::Reason;
use crate::store::Push;

impl Reader {
    pub(super) fn take_pushes(&mut self, pushes: impl Iterator<Item = Push>) {
        let now = Instant::now();
        for push in pushes {
            let Some(route) = self.routes.get(&push.channel) else { continue };
            let (partition, step) = match route {
                Route::Address(partition, address) => {
                    let Ok(delivered) = Delivered::decode(&push.text) else {
                        tracing::warn!(channel = %push.channel, "a message that no publisher of this version sends was passed over");
                        continue;
                    };
                    self.metrics.add_events_received(1);
                    (*partition, self.states[partition.index()].message(address, &delivered))
                }
                Route::EndMarks(partition) | Route::Beacons(partition) => {
                    let Ok((id, epoch)) = message::decode_mark(&push.text) else { continue };
                    let (state, place) = (&mut self.states[partition.index()], Place { epoch, id });
                    match route {
                        Route::Beacons(_) => {
                            self.status.beacon(*partition, now, place);
                            (*partition, state.beacon(place, now))
                        }
                        _ => (*partition, state.end_mark(place)),
                    }
                }
            };
            match step {
                Step::Nothing => self.outboxes.moved(),
                Step::Event(event) => self.hand_out(&event),
                Step::OtherEpoch(place) => self.resync_partition(partition, place, Reason::Epoch),
            }
        }
    }

    /// Gives an event to the workers, and remembers it for connections that come back.
    pub(super) fn hand_out(&mut self, event: &Dispatch) {
        for (address, frame) in &event.frames {
            self.table.remember(address, event.id, frame);
        }
        let followed: Vec<_> = event.frames.iter().filter_map(|(address, _)| self.table.get(address)).collect();
        if followed.len() == event.frames.len() {
            self.outboxes.dispatch(event, |at| followed[at]);
        }
        self.outboxes.moved();
    }

    /// All of a partition must be refetched: from here on it is at `place`.
    pub(super) fn resync_partition(&mut self, partition: Partition, place: Place, reason: Reason) {
        tracing::warn!(%partition, reason = reason.as_str(), "every followed address of the partition is resynced");
        self.states[partition.index()].restart(place);
        self.table.forget_partition(partition, place.id);
        self.outboxes.resync(&Resync { partition, place, addresses: None, reason });
    }
}
