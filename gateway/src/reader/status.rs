//! What readiness and metrics may know of the reader, from other threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidings_shared::cursor::Place;
use tidings_shared::{Partition, Partitions, Retention};

use super::link_activity::LinkActivity;
use super::pulse::Pulse;

/// How one partition is.
#[derive(Debug, Clone)]
pub struct PartitionStatus {
    /// Whether events reach this gateway through it.
    pub up: bool,
    /// Whether it was ever up.
    pub was_up: bool,
    /// Whether other gateways go by another number of partitions, as far as is known since it was up.
    pub at_odds: bool,
    /// Why not, or "ok".
    pub reason: String,
    /// When the last beacon came back.
    pub beacon: Option<Instant>,
    /// The watermark.
    pub place: Option<Place>,
    /// The retention that is in force, if it is not this gateway's own.
    pub other_retention: Option<Retention>,
}

/// How the reader is. Cheap to clone; the reader writes, others look.
#[derive(Debug, Clone)]
pub struct Status {
    partitions: Arc<Mutex<Vec<PartitionStatus>>>,
    /// The server's `maxmemory-policy`, once known.
    policy: Arc<Mutex<Option<String>>>,
    links: LinkActivity,
    pulse: Pulse,
}

impl Status {
    /// All partitions down, as nothing is connected yet.
    pub fn new(partitions: Partitions) -> Self {
        let down = PartitionStatus {
            up: false,
            was_up: false,
            at_odds: false,
            reason: "not connected yet".to_owned(),
            beacon: None,
            place: None,
            other_retention: None,
        };
        let links = LinkActivity::new(partitions);
        let partitions = Arc::new(Mutex::new(vec![down; usize::from(partitions.count())]));
        Self { partitions, policy: Arc::default(), links, pulse: Pulse::new(Instant::now()) }
    }

    /// Whether each partition's link works.
    pub fn link_activity(&self) -> &LinkActivity {
        &self.links
    }

    /// How each partition is.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        lock(&self.partitions).clone()
    }

    /// The reader's sign of life.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The server's `maxmemory-policy`, once known.
    pub fn policy(&self) -> Option<String> {
        lock(&self.policy).clone()
    }

    pub(super) fn set_policy(&self, policy: &str) {
        *lock(&self.policy) = Some(policy.to_owned());
    }

    /// Sets the retention that is in force in a partition, if it is not this gateway's own. Returns whether no partition
    /// had that one before: all of them change at about the same time.
    pub(super) fn set_other_retention(&self, partition: Partition, retention: Option<Retention>) -> bool {
        let is_news = lock(&self.partitions).iter().all(|known| known.other_retention != retention);
        self.change(partition, |status| status.other_retention = retention);
        is_news
    }

    pub(super) fn all_down(&self, reason: &str) {
        for partition in lock(&self.partitions).iter_mut() {
            partition.up = false;
            reason.clone_into(&mut partition.reason);
        }
    }

    /// Until the next beacon comes.
    pub(super) fn down(&self, partition: Partition, reason: &str) {
        self.change(partition, |status| {
            status.up = false;
            reason.clone_into(&mut status.reason);
        });
    }

    /// Other gateways go by another number of partitions, until this partition is up.
    pub(super) fn set_at_odds(&self, partition: Partition) {
        self.change(partition, |status| status.at_odds = true);
    }

    pub(super) fn up(&self, partition: Partition) {
        self.change(partition, PartitionStatus::set_up);
    }

    pub(super) fn beacon(&self, partition: Partition, at: Instant, place: Place) {
        self.change(partition, |status| {
            status.beacon = Some(at);
            status.place = Some(place);
            if !status.up {
                status.set_up();
            }
        });
    }

    fn change(&self, partition: Partition, change: impl FnOnce(&mut PartitionStatus)) {
        if let Some(status) = lock(&self.partitions).get_mut(partition.index()) {
            change(status);
        }
    }
}

impl PartitionStatus {
    fn set_up(&mut self) {
        (self.up, self.was_up, self.at_odds) = (true, true, false);
        "ok".clone_into(&mut self.reason);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
