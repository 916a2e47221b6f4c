//! What goes to each worker: collected while the reader drains its input, handed over once at the end of a turn.

use tidings_shared::cursor::Place;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::delivery::{Batch, Delivery, Dispatch, Frames, Joined, Resync};

/// Names a worker: its place among all that ever registered.
pub type WorkerId = u16;

/// Deliveries that may wait for a worker. One that is further behind is resynced; nobody waits for it.
pub const DELIVERIES: usize = 256;

/// The way to one worker.
#[derive(Debug)]
struct Outbox {
    sender: mpsc::Sender<Delivery>,
    waiting: Vec<Delivery>,
    lagged: bool,
}

/// The ways to all workers.
#[derive(Debug, Default)]
pub struct Outboxes {
    boxes: Vec<Option<Outbox>>,
    /// Whether a watermark moved since the last flush.
    moved: bool,
}

impl Outboxes {
    /// Adds a worker.
    pub fn register(&mut self, worker: WorkerId, sender: mpsc::Sender<Delivery>) {
        let at = usize::from(worker);
        if self.boxes.len() <= at {
            self.boxes.resize_with(at + 1, || None);
        }
        self.boxes[at] = Some(Outbox { sender, waiting: Vec::new(), lagged: false });
    }

    /// Hands an event to the workers that follow one of its addresses; `followers` are those of each.
    pub fn dispatch(&mut self, event: &Dispatch, followers: &[&[WorkerId]]) {
        if let [workers] = followers {
            for worker in *workers {
                self.push_event(*worker, event.clone());
            }
            return;
        }
        for worker in 0..self.boxes.len() as WorkerId {
            let here = event.frames.iter().zip(followers).filter(|(_, workers)| workers.contains(&worker));
            let frames: Frames = here.map(|(frame, _)| frame.clone()).collect();
            if !frames.is_empty() {
                self.push_event(worker, Dispatch { frames, ..*event });
            }
        }
    }

    fn push_event(&mut self, worker: WorkerId, event: Dispatch) {
        let Some(Some(outbox)) = self.boxes.get_mut(usize::from(worker)) else { return };
        if let Some(Delivery::Batch(batch)) = outbox.waiting.last_mut() {
            batch.events.push(event);
        } else {
            outbox.waiting.push(Delivery::Batch(Batch { events: vec![event], watermarks: Vec::new() }));
        }
    }

    /// Answers a join.
    pub fn joined(&mut self, worker: WorkerId, joined: Joined) {
        if let Some(Some(outbox)) = self.boxes.get_mut(usize::from(worker)) {
            outbox.waiting.push(Delivery::Joined(joined));
        }
    }

    /// Tells all workers to resync.
    pub fn resync(&mut self, resync: &Resync) {
        self.boxes.iter_mut().flatten().for_each(|outbox| outbox.waiting.push(Delivery::Resync(resync.clone())));
    }

    /// Notes that a watermark moved.
    pub fn moved(&mut self) {
        self.moved = true;
    }

    /// Hands over what has been collected. Tells the workers that are gone.
    pub fn flush(&mut self, watermarks: impl Fn() -> Vec<Option<Place>>) -> Vec<WorkerId> {
        let moved = std::mem::take(&mut self.moved);
        let mut gone = Vec::new();
        for (worker, slot) in self.boxes.iter_mut().enumerate() {
            let Some(outbox) = slot else { continue };
            if moved {
                outbox.lift(watermarks());
            }
            if !outbox.flush(&watermarks) {
                *slot = None;
                gone.push(worker as WorkerId);
            }
        }
        gone
    }
}

impl Outbox {
    /// All up to `watermarks` has been collected.
    fn lift(&mut self, watermarks: Vec<Option<Place>>) {
        match self.waiting.last_mut() {
            Some(Delivery::Batch(batch)) => batch.watermarks = watermarks,
            _ => self.waiting.push(Delivery::Batch(Batch { events: Vec::new(), watermarks })),
        }
    }

    /// False if the worker is gone.
    fn flush(&mut self, watermarks: &impl Fn() -> Vec<Option<Place>>) -> bool {
        if self.lagged {
            match self.sender.try_send(Delivery::Lagged(watermarks())) {
                Ok(()) => self.lagged = false,
                Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        for delivery in self.waiting.drain(..) {
            if self.lagged {
                continue;
            }
            match self.sender.try_send(delivery) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => self.lagged = true,
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        true
    }
}
