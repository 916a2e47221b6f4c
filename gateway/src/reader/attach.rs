//! Attaching: a session that was opened is recovered over, and then goes on with live events.

use std::time::{Duration, Instant};

use tidings_shared::Partition;

use super::delivery::Resync;
use super::recovery::{Backfill, Failed, Known, Outcome, Recovered, Recovery};
use super::requests::Requests;
use super::sessions::{Sessions, next_wait};
use super::{Links, Reader, Route};
use crate::control::Reason;
use crate::store::{Attempt, Session};
use crate::without::Mechanism;

impl Reader {
    /// Begins to recover over a new session, if there is one.
    pub(super) fn opened(&mut self, Attempt { partitions, result }: Attempt, waited: Duration, links: &mut Links) {
        match result {
            Ok(session) => links.recoveries.push(Box::pin(self.recovery(&session.partitions).over(session, waited))),
            Err(error) => {
                // What is published meanwhile comes to others: whoever stayed would hear of nothing, for however long.
                if error.at_odds {
                    partitions.iter().for_each(|partition| self.status.set_at_odds(*partition));
                    self.outboxes.unserved();
                }
                self.lost(partitions, &error, next_wait(waited), links);
            }
        }
    }

    /// A recovery of these partitions, none of which is attached.
    pub(super) fn recovery(&mut self, partitions: &[Partition]) -> Recovery {
        for partition in partitions {
            let keys = self.options.namespace.keys(*partition);
            self.routes.insert(keys.journal().into(), Route::EndMarks(*partition));
            self.routes.insert(keys.beacon(&self.options.gateway).into(), Route::Beacons(*partition));
        }
        let mut known: Vec<Known> = partitions.iter().map(|partition| self.known(*partition)).collect();
        let mut channels = Vec::new();
        for (channel, route) in &self.routes {
            let Some(at) = partitions.iter().position(|partition| *partition == route.partition()) else { continue };
            channels.push(channel.to_string());
            if let Route::Address(_, address) = route {
                known[at].addresses.insert(address.clone());
            }
        }
        Recovery { known, channels, encoder: self.encoder.clone(), metrics: self.metrics.clone() }
    }

    fn known(&self, partition: Partition) -> Known {
        let state = &self.states[partition.index()];
        Known {
            partition,
            place: state.place,
            highest: state.highest,
            run: state.run.clone(),
            behind: state.behind,
            by_journal: !self.options.without.lacks(Mechanism::Journal),
            read_bytes: state.read_bytes,
            failed_reads: if self.options.without.lacks(Mechanism::Foreign) { 0 } else { state.failed_reads },
            addresses: Default::default(),
        }
    }

    /// Goes on over a session that was recovered over, or tries again.
    pub(super) fn recovered(&mut self, recovered: Recovered, links: &mut Links) {
        let Recovered { session, waited, channels, result } = recovered;
        match result {
            Ok(outcomes) => {
                self.attach(&session, outcomes);
                links.requests.attach(&session);
                self.leave_forgotten(channels, &session, &mut links.requests);
                links.sessions.add(session, waited);
                self.note_policy(links.sessions.policy());
            }
            Err(Failed { error, less, unread }) => {
                for partition in &session.partitions {
                    self.states[partition.index()].behind |= session.is_behind();
                }
                // One whose session broke says nothing about its history.
                if let Some(partition) = unread.filter(|_| !session.is_broken()) {
                    self.states[partition.index()].failed_reads += 1;
                }
                if let Some((partition, bytes)) = less {
                    self.states[partition.index()].read_bytes = bytes;
                }
                self.lost(session.partitions, &error, next_wait(waited), links);
            }
        }
    }

    /// Hands out what was missed, or resyncs it.
    pub(super) fn attach(&mut self, session: &Session, outcomes: Vec<Outcome>) {
        for (partition, outcome) in session.partitions.iter().copied().zip(outcomes) {
            match outcome {
                Outcome::Begun(place) => self.states[partition.index()].restart(place),
                Outcome::Resync(place, reason) => self.resync_partition(partition, place, reason),
                Outcome::Missed(backfill) => self.hand_out_missed(partition, backfill),
            }
            self.states[partition.index()].attach(&session.run, Instant::now());
            session.client.trust(partition);
            self.status.up(partition);
            self.status.link_activity().set_attached(partition, true);
        }
        tracing::info!(partitions = session.partitions.len(), addresses = self.table.len(), "connected to the store");
    }

    fn hand_out_missed(&mut self, partition: Partition, Backfill { place, lost, slow, events }: Backfill) {
        // First what is lost: behind the ids of what is not, a connection that breaks would never be told.
        for (addresses, reason) in [(lost, Reason::HistoryLost), (slow, Reason::Slow)] {
            if !addresses.is_empty() {
                self.table.forget_addresses(&addresses, place.id);
                self.send_resync(&Resync { partition, place, addresses: Some(addresses), reason });
            }
        }
        for event in &events {
            self.hand_out(event);
        }
        self.states[partition.index()].restart(place);
        self.outboxes.moved();
    }

    /// Ends the subscriptions to what was forgotten while the session was recovered over.
    fn leave_forgotten(&self, mut channels: Vec<String>, session: &Session, requests: &mut Requests) {
        channels.retain(|channel| !self.routes.contains_key(channel.as_str()));
        if let Some(any) = session.partitions.first().filter(|_| !channels.is_empty()) {
            requests.unsubscribe(*any, channels);
        }
    }

    /// The server of a partition has this `maxmemory-policy` now, if it said.
    pub(super) fn take_policy(&mut self, partition: Partition, policy: Option<String>, sessions: &mut Sessions) {
        let Some(policy) = policy else { return };
        sessions.set_policy(partition, policy);
        if sessions.policy() != self.status.policy().as_deref() {
            self.note_policy(sessions.policy());
        }
    }

    /// Tells of a policy that may lose history.
    fn note_policy(&mut self, policy: Option<&str>) {
        let Some(policy) = policy else { return };
        self.status.set_policy(policy);
        self.metrics.set_noeviction(policy == "noeviction");
        if policy != "noeviction" {
            tracing::warn!(
                policy,
                "the store may evict streams under memory pressure, and what it evicts is lost in silence: set maxmemory-policy to noeviction"
            );
        }
    }
}
