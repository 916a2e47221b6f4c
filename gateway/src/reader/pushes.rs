//! What the store pushes: decoded, encoded once, handed out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tidings_shared::cursor::Place;
use tidings_shared::message::{self, Delivered};
use tidings_shared::{Address, Epoch, Partition, Retention};

use super::delivery::{Dispatch, Resync};
use super::outbox::WorkerId;
use super::partition::Step;
use super::requests::Requests;
use super::{Reader, Route};
use crate::clock;
use crate::control::Reason;
use crate::metrics::Foreign;
use crate::store::{BeaconReply, Push};

impl Reader {
    pub(super) fn take_pushes(&mut self, pushes: impl Iterator<Item = Push>, requests: &mut Requests) {
        let now = Instant::now();
        let mut latest = None;
        for push in pushes {
            let Some(route) = self.routes.get(&push.channel) else { continue };
            let (partition, step) = match route {
                Route::Address(partition, address) => {
                    let Ok(mut delivered) = Delivered::decode(&push.text) else {
                        let (partition, address) = (*partition, Arc::clone(address));
                        self.metrics.add_unreadable(Foreign::Push, 1);
                        tracing::warn!(%address, "a message that no publisher of this version sends; the address is resynced");
                        self.resync_address(partition, address, Reason::HistoryLost);
                        continue;
                    };
                    self.metrics.add_events_received(1);
                    latest = Some(delivered.id);
                    delivered.epoch = self.options.without.epoch(delivered.epoch);
                    (*partition, self.states[partition.index()].message(address, &delivered))
                }
                Route::EndMarks(partition) | Route::Beacons(partition) => {
                    let Ok((id, epoch)) = message::decode_mark(&push.text) else { continue };
                    let (state, place) =
                        (&mut self.states[partition.index()], Place { epoch: self.options.without.epoch(epoch), id });
                    match route {
                        Route::Beacons(_) => {
                            if !state.is_other(place) {
                                self.status.beacon(*partition, now, place);
                                self.status.link_activity().note_sign(*partition);
                            }
                            (*partition, state.beacon(place, now))
                        }
                        _ => (*partition, state.end_mark(place)),
                    }
                }
            };
            match step {
                Step::Events(events) => {
                    events.iter().for_each(|event| self.hand_out(event));
                    self.outboxes.moved();
                }
                Step::Foreign => self.metrics.add_events_foreign(1),
                Step::OtherEpoch(epoch) => {
                    if let Route::Address(_, address) = route {
                        let address = Arc::clone(address);
                        self.resync_address(partition, address, Reason::Epoch);
                    }
                    self.ask_epoch(partition, epoch, requests);
                }
            }
        }
        if let Some(id) = latest {
            self.metrics.set_reader_lag(clock::age(id));
        }
    }

    /// Gives an event to the workers, and remembers it for connections that come back.
    pub(super) fn hand_out(&mut self, event: &Dispatch) {
        for (address, frame) in &event.frames {
            self.table.remember(address, event.id, frame);
        }
        // Nobody follows an address that was forgotten after the event had come in half.
        let followers = event.frames.iter().map(|(a, _)| self.table.get(a).map_or(&[][..], |known| &known.workers));
        let followers: SmallVec<[&[WorkerId]; 1]> = followers.collect();
        self.outboxes.dispatch(event, &followers);
        self.outboxes.moved();
    }

    /// Has all workers resync: under each name by which their connections listen.
    pub(super) fn send_resync(&mut self, resync: &Resync) {
        self.tell_names();
        self.outboxes.resync(resync);
    }

    /// Tells workers the event names that they have yet to hear, before anything that may be said under them.
    pub(super) fn tell_names(&mut self) {
        for (workers, names) in self.table.take_renamed() {
            self.outboxes.names(&workers, &names);
        }
    }

    /// Something happened, and more than that cannot be told.
    fn resync_address(&mut self, partition: Partition, address: Arc<Address>, reason: Reason) {
        let state = &mut self.states[partition.index()];
        let Some(place) = state.place else { return };
        state.doubt();
        self.table.doubt(&address);
        let addresses = Some(vec![address]);
        self.send_resync(&Resync { partition, place, addresses, reason });
    }

    /// Which history the server has, only its own answer tells: no push does.
    fn ask_epoch(&mut self, partition: Partition, epoch: Epoch, requests: &mut Requests) {
        let state = &mut self.states[partition.index()];
        if !std::mem::replace(&mut state.asked, true) {
            requests.ask_epoch(partition, state.highest, epoch);
        }
    }

    /// Takes the answer to a beacon that was sent after a push of `epoch` had come. Only where databases share channels
    /// is such a push of no concern: in a cluster a former primary may have sent it, and what that took is lost.
    pub(super) fn take_epoch_reply(&mut self, partition: Partition, epoch: Epoch, reply: &BeaconReply) {
        if self.shared_channels {
            self.states[partition.index()].note_foreign(epoch, reply.place);
        }
    }

    /// Takes the answer to a beacon, which says which history the server has.
    pub(super) fn take_beacon_reply(&mut self, partition: Partition, reply: BeaconReply, requests: &Requests) {
        let BeaconReply { place, unsure, other_retention } = reply;
        let state = &mut self.states[partition.index()];
        state.asked = false;
        if state.is_other(place) {
            self.resync_partition(partition, place, Reason::Epoch);
        } else if unsure {
            self.resync_partition(partition, place, Reason::HistoryLost);
        }
        if unsure {
            requests.trust(partition);
        }
        if self.status.set_other_retention(partition, other_retention)
            && let Some(Retention { events, age_ms, journal }) = other_retention
        {
            let age = Duration::from_millis(age_ms);
            tracing::warn!(
                %partition, events, ?age, journal,
                "another retention is in force than this gateway's, as another gateway keeps more; set retention.* alike"
            );
        }
    }

    /// All of a partition must be refetched: from here on it is at `place`.
    pub(super) fn resync_partition(&mut self, partition: Partition, place: Place, reason: Reason) {
        tracing::warn!(%partition, reason = reason.as_str(), "every followed address of the partition is resynced");
        self.states[partition.index()].restart(place);
        self.table.forget_partition(partition, place.id);
        self.send_resync(&Resync { partition, place, addresses: None, reason });
    }
}
