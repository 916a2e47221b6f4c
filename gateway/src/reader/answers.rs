//! What came of requests to the store.

use std::time::Instant;

use tidings_shared::Partition;

use super::requests::{Answer, Requests};
use super::{Broken, Reader};
use crate::store::StoreError;
use crate::without::Mechanism;

impl Reader {
    /// Takes an answer. An error tells which session it breaks.
    pub(super) fn take_answer(&mut self, answer: Answer, requests: &mut Requests) -> Result<(), Broken> {
        let broken = |partition| move |error| Broken { partition, error };
        if let Answer::Lift(partition, ..) = &answer {
            self.joins.finish_beacon(*partition, requests);
        }
        match answer {
            Answer::Subscribed(partition, addresses, result) => {
                result.map_err(broken(partition))?;
                for address in &addresses {
                    if let Some(followed) = self.table.get_mut(address) {
                        followed.pending = None;
                    }
                }
            }
            Answer::Unsubscribed(partition, result) => result.map_err(broken(partition))?,
            Answer::Beacon(partition, _, Err(error)) | Answer::Lift(partition, _, Err(error)) if error.passing => {
                self.refused(partition, &error);
            }
            Answer::Beacon(partition, _, Err(_)) | Answer::Lift(partition, _, Err(_))
                if self.options.without.lacks(Mechanism::Beacon) =>
            {
                self.states[partition.index()].asked = false;
            }
            Answer::Beacon(partition, number, result) | Answer::Lift(partition, number, result) => {
                let reply = result.map_err(broken(partition))?;
                self.states[partition.index()].note_answered(number, reply.place.id);
                self.take_beacon_reply(partition, reply, requests);
            }
            Answer::Asked(partition, number, epoch, result) => {
                if let Ok(reply) = &result {
                    self.take_epoch_reply(partition, epoch, reply);
                }
                return self.take_answer(Answer::Beacon(partition, number, result), requests);
            }
            // The sessions' policy is for the loop, which has them.
            Answer::Policy(..) | Answer::Cancelled => {}
            Answer::Join(key, event) => self.take_join_event(key, event, requests),
        }
        Ok(())
    }

    /// The server answers, and will take a beacon later: when it has memory again, or the slot has moved. The partition is
    /// not deaf, and a new session would fare no better and take the other partitions down.
    fn refused(&mut self, partition: Partition, error: &StoreError) {
        tracing::warn!(%error, "a beacon did not go through; the next one may");
        let state = &mut self.states[partition.index()];
        (state.beacon, state.asked) = (Instant::now(), false);
        self.status.down(partition, &error.to_string());
        // Its server answers us, and would refuse another gateway in the same way: no stream is better off elsewhere.
        self.status.link_activity().note_sign(partition);
    }
}
