//! One partition as the reader sees it: how far it has come, and which event is still coming in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;
use tidings_shared::cursor::Place;
use tidings_shared::message::Delivered;
use tidings_shared::{Address, Epoch, Id, Partition};
use tokio::sync::watch;

use super::delivery::Dispatch;
use super::recovery;
use crate::frame::Encoder;

/// Histories of other databases that are remembered of a partition.
const FOREIGN: usize = 16;

/// One partition as the reader sees it.
#[derive(Debug)]
pub struct PartitionState {
    /// Which.
    pub partition: Partition,
    /// Makes its frames.
    pub encoder: Encoder,
    /// The watermark: everything up to here, of all that is followed, has been handed out. `None` before the first
    /// session.
    pub place: Option<Place>,
    /// The highest id ever seen, in whatever epoch: ids must not go back below it.
    pub highest: Id,
    /// Counts the histories and gaps so far: what was planned under another number is outdated.
    pub generation: u64,
    /// Whether a session is open over it.
    pub attached: bool,
    /// Which process served it in the last session.
    pub run: Option<Arc<str>>,
    /// Whether the last session ended because this reader was too slow: then history is not worth reading.
    pub behind: bool,
    /// The most bytes of one read of a recovery: fewer after one that failed.
    pub read_bytes: u64,
    /// How many recoveries in a row could not read its history, though its server answered.
    pub failed_reads: u32,
    /// When the last beacon came back in this session.
    pub beacon: Instant,
    /// Whether the server was asked which history it has, as a push was of another one.
    pub asked: bool,
    /// Histories of other databases of the server, which share its channels. The server said that its own history was
    /// unchanged after pushes of these had come.
    foreign: VecDeque<Epoch>,
    /// An event to several addresses whose end mark has not come yet.
    open: Option<Dispatch>,
    answered: (u64, Id),
    stand: watch::Sender<Stand>,
}

/// Where a partition stands, for those who wait for it to come to a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stand {
    /// Under another generation ids count anew.
    pub generation: u64,
    /// The watermark.
    pub id: Id,
    /// The number of the last beacon that was answered, and where the journal ended then.
    pub answered: (u64, Id),
}

/// What a push means.
#[derive(Debug)]
pub enum Step {
    /// These events are whole now: none, one, or the one whose end mark did not come and the next.
    Events(SmallVec<[Dispatch; 1]>),
    /// The push is of this other history. Perhaps the server's is another one now; perhaps a server that was the primary
    /// before tells of its own, which a cluster brings to the subscribers of the new one too.
    OtherEpoch(Epoch),
    /// The push is of another database of the same server, and concerns nobody here.
    Foreign,
}

impl PartitionState {
    /// A partition of which nothing is known yet.
    pub fn new(partition: Partition, encoder: Encoder, now: Instant) -> Self {
        Self {
            partition,
            encoder,
            place: None,
            highest: Id::ZERO,
            generation: 0,
            attached: false,
            run: None,
            behind: false,
            read_bytes: recovery::BYTES,
            failed_reads: 0,
            beacon: now,
            asked: false,
            foreign: VecDeque::new(),
            open: None,
            answered: (0, Id::ZERO),
            stand: watch::Sender::default(),
        }
    }

    /// Its session is over: what had come in half is forgotten, and what was planned is void, so that nobody waits here
    /// with a share of what others need.
    pub fn detach(&mut self) {
        self.attached = false;
        self.asked = false;
        self.generation += 1;
        self.open = None;
    }

    /// A session is open, and all that was missed has been handed out.
    pub fn attach(&mut self, run: &Arc<str>, now: Instant) {
        self.attached = true;
        if self.run.as_ref() != Some(run) {
            self.foreign.clear();
        }
        self.run = Some(Arc::clone(run));
        self.behind = false;
        self.read_bytes = recovery::BYTES;
        self.failed_reads = 0;
        self.beacon = now;
    }

    /// Something came that could not be taken, or may come to nobody from now on: what was planned or read before is void,
    /// as it may lack that.
    pub fn doubt(&mut self) {
        self.generation += 1;
    }

    /// Sets the place, and forgets what had come in half.
    pub fn restart(&mut self, place: Place) {
        self.generation += 1;
        self.open = None;
        self.foreign.retain(|epoch| *epoch != place.epoch);
        self.place = Some(place);
        self.highest = self.highest.max(place.id);
    }

    /// The beacon of that number was answered: the journal ended at `last` then.
    pub fn note_answered(&mut self, number: u64, last: Id) {
        if number > self.answered.0 {
            self.answered = (number, last);
        }
    }

    /// Tells those who wait where it stands now.
    pub fn tell(&self) {
        let id = self.place.map_or(Id::ZERO, |place| place.id);
        let stand = Stand { generation: self.generation, id, answered: self.answered };
        self.stand.send_if_modified(|told| std::mem::replace(told, stand) != stand);
    }

    /// Where it stands, as it was told last.
    pub fn stand(&self) -> watch::Receiver<Stand> {
        self.stand.subscribe()
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
        if self.is_other(place) {
            return self.step_of_other(place.epoch);
        }
        let mut events = self.close(|open| open.id != place.id);
        // One that is not above the watermark was part of what a recovery read.
        let new = self.place.is_none_or(|known| place.id > known.id);
        let frame = if new { self.encoder.encode(place, &delivered.message, address) } else { None };
        let Some(frame) = frame.map(|frame| (Arc::clone(address), frame)) else { return Step::Events(events) };
        match &mut self.open {
            Some(open) => open.frames.push(frame),
            open => {
                *open = Some(Dispatch {
                    partition: self.partition,
                    id: place.id,
                    frames: std::iter::once(frame).collect(),
                });
            }
        }
        if !delivered.message.several {
            events.extend(self.close(|_| true));
        }
        Step::Events(events)
    }

    /// Takes an end mark.
    pub fn end_mark(&mut self, place: Place) -> Step {
        if self.is_other(place) {
            return self.step_of_other(place.epoch);
        }
        let events = self.close(|_| true);
        self.lift(place.id);
        Step::Events(events)
    }

    /// Takes a beacon: all that was published before it has come in.
    pub fn beacon(&mut self, place: Place, now: Instant) -> Step {
        if !self.is_other(place) {
            self.beacon = now;
        }
        self.end_mark(place)
    }

    fn step_of_other(&self, epoch: Epoch) -> Step {
        if self.foreign.contains(&epoch) { Step::Foreign } else { Step::OtherEpoch(epoch) }
    }

    /// The server was asked after a push of `epoch` had come, and said that it has the history at `place`: if that is
    /// this one, the push was of another database.
    pub fn note_foreign(&mut self, epoch: Epoch, place: Place) {
        if epoch == place.epoch || self.is_other(place) || self.foreign.contains(&epoch) {
            return;
        }
        self.foreign.push_back(epoch);
        if self.foreign.len() > FOREIGN {
            self.foreign.pop_front();
        }
    }

    /// Whether a place is of another history than this one.
    pub fn is_other(&self, place: Place) -> bool {
        self.place.is_some_and(|known| known.epoch != place.epoch)
    }

    /// What is open is whole as soon as anything else comes, as the pushes of one event come in one go. Its end mark is
    /// missing if the script that sent it failed halfway; the addresses before that point have it in their streams.
    fn close(&mut self, whole: impl FnOnce(&Dispatch) -> bool) -> SmallVec<[Dispatch; 1]> {
        let closed = self.open.take_if(|open| whole(open));
        closed.iter().for_each(|event| self.lift(event.id));
        closed.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_shared::{Epoch, Partitions};

    fn place(ms: u64, epoch: u32) -> Place {
        Place { epoch: Epoch::from_random(epoch), id: Id { ms, seq: 0 } }
    }

    fn state() -> PartitionState {
        let mut state =
            PartitionState::new(Partitions::ONE.get(0).unwrap(), Encoder::of(Partitions::ONE), Instant::now());
        state.restart(place(10, 1));
        state
    }

    /// The ids of the events that are whole, and how many addresses each has.
    fn whole(step: Step) -> Vec<(u64, usize)> {
        match step {
            Step::Events(events) => events.iter().map(|event| (event.id.ms, event.frames.len())).collect(),
            Step::OtherEpoch(_) | Step::Foreign => panic!("another epoch"),
        }
    }

    fn take(state: &mut PartitionState, address: &str, text: &str) -> Step {
        state.message(&Arc::new(address.parse().unwrap()), &Delivered::decode(text).unwrap())
    }

    const ONE: &str = r#"1 11-0 1 c - - - - {"time":"t"}"#;
    const SEVERAL: &str = r#"1 11-0 1 cm - - - - {"time":"t"}"#;

    #[test]
    fn an_event_lifts_the_watermark_and_comes_once() {
        let mut state = state();
        assert_eq!(whole(take(&mut state, "a", ONE)), [(11, 1)]);
        assert_eq!(state.place, Some(place(11, 1)));
        assert_eq!(whole(take(&mut state, "a", ONE)), []);
    }

    #[test]
    fn an_event_to_several_addresses_waits_for_its_end_mark() {
        let mut state = state();
        assert_eq!(whole(take(&mut state, "a", SEVERAL)), []);
        assert_eq!(whole(take(&mut state, "b", SEVERAL)), []);
        assert_eq!(state.place, Some(place(10, 1)), "the watermark must not pass what is not handed out");
        assert_eq!(whole(state.end_mark(place(11, 1))), [(11, 2)]);
        assert_eq!(state.place, Some(place(11, 1)));
    }

    #[test]
    fn an_event_whose_end_mark_is_lost_is_whole_when_anything_else_comes() {
        let next: [fn(&mut PartitionState) -> Step; 5] = [
            |state| take(state, "a", r#"1 12-0 1 c - - - - {"time":"t"}"#),
            |state| take(state, "a", r#"1 12-0 1 cm - - - - {"time":"t"}"#),
            |state| take(state, "a", r#"1 9-0 1 c - - - - {"time":"t"}"#),
            |state| state.end_mark(place(12, 1)),
            |state| state.beacon(place(12, 1), Instant::now()),
        ];
        for (at, next) in next.into_iter().enumerate() {
            let mut state = state();
            assert_eq!(whole(take(&mut state, "a", SEVERAL)), []);
            let events = whole(next(&mut state));
            assert_eq!(events[0], (11, 1), "{at}");
            assert_eq!(events.len(), if at == 0 { 2 } else { 1 }, "{at}");
            assert!(state.place.is_some_and(|place| place.id.ms >= 11), "{at}");
        }
    }

    #[test]
    fn a_history_that_the_server_does_not_have_is_foreign_until_it_has() {
        let mut state = state();
        let other = |state: &mut PartitionState| state.end_mark(place(11, 2));
        state.note_foreign(Epoch::from_random(2), place(12, 3));
        assert!(matches!(other(&mut state), Step::OtherEpoch(_)), "the server's own was another one");
        state.note_foreign(Epoch::from_random(2), place(12, 1));
        assert!(matches!(other(&mut state), Step::Foreign));
        state.attach(&"run".into(), Instant::now());
        assert!(matches!(other(&mut state), Step::OtherEpoch(_)), "another server may know better");
        state.note_foreign(Epoch::from_random(2), place(12, 1));
        state.attach(&"run".into(), Instant::now());
        assert!(matches!(other(&mut state), Step::Foreign));
        state.restart(place(12, 2));
        assert!(matches!(other(&mut state), Step::Events(_)));
        state.restart(place(12, 3));
        assert!(matches!(other(&mut state), Step::OtherEpoch(_)));
    }

    #[test]
    fn another_epoch_is_told_from_every_kind_of_push() {
        let mut state = state();
        let (before, came) = (state.beacon, Instant::now());
        assert!(matches!(take(&mut state, "a", r#"1 11-0 2 c - - - - {"time":"t"}"#), Step::OtherEpoch(_)));
        assert!(matches!(state.end_mark(place(11, 2)), Step::OtherEpoch(_)));
        assert!(matches!(state.beacon(place(11, 2), came), Step::OtherEpoch(_)));
        assert_eq!((state.place, state.beacon), (Some(place(10, 1)), before), "nothing of it counts");
    }
}
