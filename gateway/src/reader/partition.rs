//! One partition as the reader sees it: how far it has come, and which event is still coming in.

use std::sync::Arc;
use std::time::Instant;

use tidings_shared::cursor::Place;
use tidings_shared::message::Delivered;
use tidings_shared::{Address, Id, Partition, Partitions};

use super::delivery::Dispatch;
use crate::frame::Frame;

/// One partition as the reader sees it.
#[derive(Debug)]
pub struct PartitionState {
    partition: Partition,
    partitions: Partitions,
    /// The watermark: everything up to here, of all that is followed, has been handed out. `None` before the first
    /// session.
    pub place: Option<Place>,
    /// The highest id ever seen, in whatever epoch: ids must not go back below it.
    pub highest: Id,
    /// When the last beacon came back in this session.
    pub beacon: Instant,
    /// An event to several addresses whose end mark has not come yet.
    open: Option<Dispatch>,
}

/// What a push means.
#[derive(Debug)]
pub enum Step {
    /// Nothing to hand out.
    Nothing,
    /// An event is whole.
    Event(Dispatch),
    /// The push is of another history: all that is followed must be resynced.
    OtherEpoch(Place),
}

impl PartitionState {
    /// A partition of which nothing is known yet.
    pub fn new(partition: Partition, partitions: Partitions, now: Instant) -> Self {
        Self { partition, partitions, place: None, highest: Id::ZERO, beacon: now, open: None }
    }

    /// Forgets what had come in half.
    pub fn interrupt(&mut self) {
        self.open = None;
    }

    /// Sets the place, and forgets what had come in half.
    pub fn restart(&mut self, place: Place) {
        self.open = None;
        self.place = Some(place);
        self.highest = self.highest.max(place.id);
    }

    /// Moves the watermark, never back.
    pub fn lift(&mut self, id: Id) {
        self.highest = self.highest.max(id);
        if let Some(place) = &mut self.place {
            place.id = place.id.max(id);
        }
    }

    /// Takes a message of an address.
    pub fn message(&mut self, address: &Arc<Address>, delivered: &Delivered<'_>) -> Step {
        let place = Place { epoch: delivered.epoch, id: delivered.id };
        match self.place {
            Some(known) if known.epoch != place.epoch => return Step::OtherEpoch(place),
            // It was part of what a recovery read.
            Some(known) if place.id <= known.id => return Step::Nothing,
            _ => {}
        }
        let Some(frame) = Frame::encode(place, &delivered.message, address, self.partitions) else {
            return Step::Nothing;
        };
        let frame = (Arc::clone(address), frame);
        if !delivered.message.several {
            self.lift(place.id);
            let frames = std::iter::once(frame).collect();
            return Step::Event(Dispatch { partition: self.partition, id: place.id, frames });
        }
        match &mut self.open {
            Some(open) if open.id == place.id => open.frames.push(frame),
            open => {
                let frames = std::iter::once(frame).collect();
                *open = Some(Dispatch { partition: self.partition, id: place.id, frames });
            }
        }
        Step::Nothing
    }

    /// Takes an end mark.
    pub fn end_mark(&mut self, place: Place) -> Step {
        if self.place.is_some_and(|known| known.epoch != place.epoch) {
            return Step::OtherEpoch(place);
        }
        let whole = self.open.take().filter(|open| open.id == place.id);
        self.lift(place.id);
        whole.map_or(Step::Nothing, Step::Event)
    }

    /// Takes a beacon: all that was published before it has come in.
    pub fn beacon(&mut self, place: Place, now: Instant) -> Step {
        self.beacon = now;
        if self.place.is_some_and(|known| known.epoch != place.epoch) {
            return Step::OtherEpoch(place);
        }
        self.lift(place.id);
        Step::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_shared::Epoch;

    fn place(ms: u64, epoch: u32) -> Place {
        Place { epoch: Epoch::from_random(epoch), id: Id { ms, seq: 0 } }
    }

    fn state() -> PartitionState {
        let mut state = PartitionState::new(Partitions::ONE.get(0).unwrap(), Partitions::ONE, Instant::now());
        state.restart(place(10, 1));
        state
    }

    fn take(state: &mut PartitionState, address: &str, text: &str) -> Step {
        state.message(&Arc::new(address.parse().unwrap()), &Delivered::decode(text).unwrap())
    }

    #[test]
    fn an_event_lifts_the_watermark_and_comes_once() {
        let mut state = state();
        let text = r#"1 11-0 1 c - - - - {"time":"t"}"#;
        assert!(matches!(take(&mut state, "a", text), Step::Event(_)));
        assert_eq!(state.place, Some(place(11, 1)));
        assert!(matches!(take(&mut state, "a", text), Step::Nothing));
    }

    #[test]
    fn an_event_to_several_addresses_waits_for_its_end_mark() {
        let mut state = state();
        let text = r#"1 11-0 1 cm - - - - {"time":"t"}"#;
        assert!(matches!(take(&mut state, "a", text), Step::Nothing));
        assert!(matches!(take(&mut state, "b", text), Step::Nothing));
        assert_eq!(state.place, Some(place(10, 1)), "the watermark must not pass what is not handed out");
        let Step::Event(event) = state.end_mark(place(11, 1)) else { panic!("no event") };
        assert_eq!(event.frames.len(), 2);
        assert_eq!(state.place, Some(place(11, 1)));
    }

    #[test]
    fn another_epoch_is_told_from_every_kind_of_push() {
        assert!(matches!(take(&mut state(), "a", r#"1 11-0 2 c - - - - {"time":"t"}"#), Step::OtherEpoch(_)));
        assert!(matches!(state().end_mark(place(11, 2)), Step::OtherEpoch(_)));
        assert!(matches!(state().beacon(place(11, 2), Instant::now()), Step::OtherEpoch(_)));
    }
}
