//! What goes to each worker: collected while the reader drains its input, handed over once at the end of a turn.

use std::sync::Arc;

use tidings_shared::cursor::Place;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::delivery::{AddressNames, Batch, ConnectionKey, Delivery, Dispatch, Frames, Joined, Resync};

/// Names a worker: its place among all that ever registered.
pub type WorkerId = u16;

/// Bytes of events that may wait for a worker. One that is further behind is resynced; nobody waits for it.
///
/// Answers to joins do not count here, as there is one for each connection at the most, and their replays have a bound of
/// their own: a worker that is busy with thousands of clients that come back at once is not behind.
const ROOM: u32 = 16 * 1024 * 1024;
/// What a delivery counts besides its events' bytes.
const OVERHEAD: usize = 256;

/// A delivery on its way, and the room that it takes until the worker is done with it.
#[derive(Debug)]
pub struct Parcel {
    /// What is delivered.
    pub delivery: Delivery,
    /// Dropped when the worker is done.
    pub room: Option<OwnedSemaphorePermit>,
}

/// The way to one worker.
#[derive(Debug)]
struct Outbox {
    sender: mpsc::UnboundedSender<Parcel>,
    room: Arc<Semaphore>,
    waiting: Vec<Parcel>,
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
    pub fn register(&mut self, worker: WorkerId, sender: mpsc::UnboundedSender<Parcel>) {
        let at = usize::from(worker);
        if self.boxes.len() <= at {
            self.boxes.resize_with(at + 1, || None);
        }
        let room = Arc::new(Semaphore::new(ROOM as usize));
        self.boxes[at] = Some(Outbox { sender, room, waiting: Vec::new(), lagged: false });
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
        if let Some(Parcel { delivery: Delivery::Batch(batch), .. }) = outbox.waiting.last_mut() {
            batch.events.push(event);
        } else {
            outbox.push(Delivery::Batch(Batch { events: vec![event], watermarks: Vec::new() }));
        }
    }

    /// Answers a join. `share` is what its replay takes of the [allowance](super::resume).
    pub fn joined(&mut self, worker: WorkerId, joined: Joined, share: Option<OwnedSemaphorePermit>) {
        if let Some(Some(outbox)) = self.boxes.get_mut(usize::from(worker)) {
            outbox.waiting.push(Parcel { delivery: Delivery::Joined(joined), room: share });
        }
    }

    /// Refuses a connection whose addresses are too many.
    pub fn refused(&mut self, worker: WorkerId, connection: ConnectionKey) {
        if let Some(Some(outbox)) = self.boxes.get_mut(usize::from(worker)) {
            outbox.push(Delivery::NoRoom(connection));
        }
    }

    /// Tells all workers to resync.
    pub fn resync(&mut self, resync: &Resync) {
        self.boxes.iter_mut().flatten().for_each(|outbox| outbox.push(Delivery::Resync(resync.clone())));
    }

    /// Tells workers the event names of an address.
    pub fn names(&mut self, workers: &[WorkerId], names: &AddressNames) {
        for worker in workers {
            if let Some(Some(outbox)) = self.boxes.get_mut(usize::from(*worker)) {
                outbox.push(Delivery::Names(names.clone()));
            }
        }
    }

    /// Tells all workers that nobody can be served for now.
    pub fn unserved(&mut self) {
        self.boxes.iter_mut().flatten().for_each(|outbox| outbox.push(Delivery::Unserved));
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
    fn push(&mut self, delivery: Delivery) {
        self.waiting.push(Parcel { delivery, room: None });
    }

    /// All up to `watermarks` has been collected.
    fn lift(&mut self, watermarks: Vec<Option<Place>>) {
        match self.waiting.last_mut() {
            Some(Parcel { delivery: Delivery::Batch(batch), .. }) => batch.watermarks = watermarks,
            _ => self.push(Delivery::Batch(Batch { events: Vec::new(), watermarks })),
        }
    }

    /// False if the worker is gone.
    fn flush(&mut self, watermarks: &impl Fn() -> Vec<Option<Place>>) -> bool {
        // Not before it has caught up by half, or it would be told over and over.
        if self.lagged && self.room.available_permits() >= ROOM as usize / 2 {
            self.lagged = false;
            self.waiting.insert(0, Parcel { delivery: Delivery::Lagged(watermarks()), room: None });
        }
        for Parcel { delivery, room } in std::mem::take(&mut self.waiting) {
            let room = match size(&delivery) {
                None => room,
                Some(_) if self.lagged => continue,
                Some(size) => match Arc::clone(&self.room).try_acquire_many_owned(size) {
                    Ok(room) => Some(room),
                    Err(_) => {
                        self.lagged = true;
                        continue;
                    }
                },
            };
            if self.sender.send(Parcel { delivery, room }).is_err() {
                return false;
            }
        }
        true
    }
}

/// The room that a delivery takes; `None` for what must arrive in any case.
fn size(delivery: &Delivery) -> Option<u32> {
    let events = match delivery {
        // A name that gets lost is one under which no resync would be said.
        Delivery::Joined(_) | Delivery::NoRoom(_) | Delivery::Names(_) | Delivery::Lagged(_) | Delivery::Unserved => {
            return None;
        }
        Delivery::Resync(_) => 0,
        Delivery::Batch(batch) => {
            let frames = batch.events.iter().flat_map(|event| &event.frames);
            frames.map(|(_, frame)| frame.bytes().len() + OVERHEAD).sum()
        }
    };
    // What is larger than all room waits for an empty worker.
    Some(u32::try_from(events + OVERHEAD).unwrap_or(ROOM).min(ROOM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Encoder;
    use tidings_shared::{Address, Epoch, Id, Message, Partitions};

    fn outbox() -> (Outboxes, mpsc::UnboundedReceiver<Parcel>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut outboxes = Outboxes::default();
        outboxes.register(0, sender);
        (outboxes, receiver)
    }

    fn event(ms: u64, bytes: usize) -> Dispatch {
        let (partition, id) = (Partitions::ONE.all().next().unwrap(), Id { ms, seq: 0 });
        let address: Arc<Address> = Arc::new("a".parse().unwrap());
        let text = format!("c - - - - {{\"data\":\"{}\"}}", "x".repeat(bytes));
        let (place, message) = (Place { epoch: Epoch::from_random(7), id }, Message::decode(&text).unwrap());
        let frame = Encoder::of(Partitions::ONE).encode(place, &message, &address).unwrap();
        Dispatch { partition, id, frames: Frames::from_vec(vec![(address, frame)]) }
    }

    /// Letters of what came: an event, a join's answer, `L` for lagged.
    fn came(parcels: &[Parcel]) -> String {
        let letters = parcels.iter().map(|parcel| match parcel.delivery {
            Delivery::Batch(_) => 'e',
            Delivery::Joined(_) => 'j',
            Delivery::NoRoom(_) => 'x',
            Delivery::Resync(_) => 'r',
            Delivery::Names(_) => 'n',
            Delivery::Lagged(_) => 'L',
            Delivery::Unserved => 'u',
        });
        letters.collect()
    }

    fn take(receiver: &mut mpsc::UnboundedReceiver<Parcel>) -> Vec<Parcel> {
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    #[test]
    fn thousands_that_come_back_at_once_are_no_lag() {
        let (mut outboxes, mut receiver) = outbox();
        for serial in 0..20_000 {
            let connection = ConnectionKey { slot: serial as u32, serial };
            outboxes.joined(0, Joined { connection, starts: Some(Vec::new()) }, None);
            outboxes.flush(Vec::new);
        }
        outboxes.push_event(0, event(1, 100));
        outboxes.flush(Vec::new);
        assert_eq!(came(&take(&mut receiver)), "j".repeat(20_000) + "e");
    }

    #[test]
    fn a_worker_that_is_behind_is_told_once_it_has_room_again() {
        let (mut outboxes, mut receiver) = outbox();
        let mut send = |ms| {
            outboxes.push_event(0, event(ms, ROOM as usize / 8));
            outboxes.joined(0, Joined { connection: ConnectionKey { slot: 0, serial: ms }, starts: None }, None);
            assert!(outboxes.flush(Vec::new).is_empty());
        };
        (0..9).for_each(&mut send);
        let mut behind = take(&mut receiver);
        // Of the events, a little less than ROOM; of the answers, all.
        assert_eq!(came(&behind), "ej".repeat(7) + "jj");
        behind.drain(..6);
        send(10);
        assert_eq!(came(&take(&mut receiver)), "j", "not yet: too much of its room is taken");
        behind.clear();
        send(11);
        send(12);
        assert_eq!(came(&take(&mut receiver)), "Lejej");
    }

    #[test]
    fn an_event_larger_than_all_room_waits_for_an_empty_worker() {
        let (mut outboxes, mut receiver) = outbox();
        outboxes.push_event(0, event(1, ROOM as usize * 2));
        outboxes.flush(Vec::new);
        assert_eq!(came(&take(&mut receiver)), "e");
    }
}
