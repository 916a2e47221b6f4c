//! A connection: one open stream, or one long poll.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use smallvec::SmallVec;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Id, Partition, Partitions};

use super::places::Places;
use super::queue::Queue;
use super::stats::Stats;
use super::table::Stand;
use crate::control::{self, Reason};
use crate::frame::Frame;
use crate::reader::delivery::{Dispatch, Start};

/// What a connection follows.
#[derive(Debug, Clone)]
pub struct Follow {
    /// The addresses, none twice.
    pub addresses: Arc<[Arc<Address>]>,
    /// The types of events that it wants; all if there are none.
    pub types: Rc<[String]>,
}

/// How far the life of a connection has come.
#[derive(Debug)]
enum Phase {
    /// It waits for its place. What comes in meanwhile is kept; most of it will be part of the replay.
    Joining(Waiting),
    /// It has its place and gets what comes.
    Live,
    /// It ends once its queue is empty.
    Ending,
}

/// What came in before the connection had its place: no more bytes than its queue may hold.
#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<(Partition, Id, Frame)>,
    bytes: usize,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// Distinguishes it from others in the same slot.
    pub serial: u64,
    name: Box<str>,
    /// What it follows.
    pub follow: Follow,
    /// Where it stands in the hub's table, for each address.
    pub(super) stands: SmallVec<[Stand; 1]>,
    phase: Phase,
    places: Places,
    queue: Queue,
    /// Why it must refetch everything, if its queue overflowed or the gateway fell behind.
    owes: Option<Reason>,
    /// How many chunks it reads until it has read that it is up to date. Should the queue be dropped before that, it
    /// is told anew.
    until_ready: usize,
    partitions: Partitions,
    waker: Option<Waker>,
    /// How many heartbeats it lives on, if it does not for ever.
    beats: Option<NonZeroU32>,
}

impl Connection {
    /// A connection that waits for its place.
    pub fn new(serial: u64, name: Box<str>, follow: Follow, partitions: Partitions, queue: usize) -> Self {
        Self {
            serial,
            name,
            follow,
            stands: SmallVec::new(),
            phase: Phase::Joining(Waiting::default()),
            places: Places::default(),
            queue: Queue::new(queue),
            owes: None,
            until_ready: 0,
            partitions,
            waker: None,
            beats: None,
        }
    }

    /// Lets it live for so many heartbeats, at least one.
    pub fn limit_age(&mut self, beats: u32) {
        self.beats = NonZeroU32::new(beats.max(1));
    }

    /// A heartbeat has passed; whether that was its last.
    pub fn grow_old(&mut self) -> bool {
        let Some(beats) = self.beats else { return false };
        self.beats = NonZeroU32::new(beats.get() - 1);
        self.beats.is_none()
    }

    /// Whether it has its place.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Whether it ends once its queue is empty.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending)
    }

    /// How many bytes wait to be written, or for its place.
    pub fn queued_bytes(&self) -> usize {
        match &self.phase {
            Phase::Joining(waiting) => self.queue.bytes() + waiting.bytes,
            _ => self.queue.bytes(),
        }
    }

    /// The cursor after all that has been queued.
    pub fn cursor(&self) -> String {
        self.places.cursor(self.partitions)
    }

    /// Lifts its places to the watermarks: all up to there has been queued.
    pub fn lift(&mut self, watermarks: &[Option<Place>]) {
        self.places.lift(watermarks);
    }

    /// Takes an event; `frame` is the one for the addresses that it follows. If that makes it due to be woken, `due` gets
    /// its waker.
    pub fn take(&mut self, partition: Partition, id: Id, frame: &Frame, stats: &mut Stats, due: &mut Vec<Waker>) {
        match &mut self.phase {
            Phase::Joining(_) if self.owes.is_some() => {}
            Phase::Joining(waiting) => {
                waiting.bytes += frame.bytes().len();
                waiting.frames.push((partition, id, frame.clone()));
                if waiting.bytes > self.queue.limit() {
                    *waiting = Waiting::default();
                    self.owes = Some(Reason::Slow);
                }
            }
            Phase::Live => {
                if self.places.advance(partition, id) {
                    self.enqueue(frame, false, stats);
                    due.extend(self.waker.take());
                }
            }
            Phase::Ending => {}
        }
    }

    /// Queues a frame, under the cursor of the places that it has come to.
    fn enqueue(&mut self, frame: &Frame, replay: bool, stats: &mut Stats) {
        if !self.wants(frame) || self.owes.is_some() {
            return;
        }
        let id = (self.partitions != Partitions::ONE).then(|| format!("id: {}\n", self.cursor()).into());
        if replay {
            self.queue.push_extra(id, frame.bytes().clone());
        } else {
            self.push(id, frame.bytes().clone());
        }
        stats.dispatched += 1;
    }

    fn wants(&self, frame: &Frame) -> bool {
        let types = &self.follow.types;
        types.is_empty() || frame.event_type.as_deref().is_some_and(|t| types.iter().any(|wanted| wanted == t))
    }

    fn push(&mut self, id: Option<Bytes>, bytes: Bytes) {
        if !self.queue.push(id, bytes) {
            self.owes = Some(Reason::Slow);
        }
    }

    /// Drops all that waits: everything must be refetched. The connection is told when it reads next, so one that does
    /// not read costs nothing more.
    pub fn owe(&mut self, reason: Reason) {
        match &mut self.phase {
            Phase::Joining(waiting) => *waiting = Waiting::default(),
            Phase::Live => {}
            Phase::Ending => return,
        }
        self.queue.clear();
        self.owes = Some(reason);
        self.wake();
    }

    /// Tells it to refetch one address, as `frame` says.
    pub fn resync(&mut self, frame: &Bytes, reason: Reason, stats: &mut Stats) {
        if self.is_live() && self.owes.is_none() {
            self.push(None, frame.clone());
            stats.resynced(reason, 1);
            self.wake();
        }
    }

    /// The partition has another history now, or a gap, of which [`Connection::resync`] has told. One that waits for its
    /// place gets it in the new history; what came in of the old one would come under ids that count no more.
    pub fn restart(&mut self, partition: Partition, place: Place) {
        match &mut self.phase {
            Phase::Joining(waiting) => {
                waiting.frames.retain(|(of, _, _)| *of != partition);
                waiting.bytes = waiting.frames.iter().map(|(_, _, frame)| frame.bytes().len()).sum();
            }
            Phase::Live => self.places.set(partition, place),
            Phase::Ending => {}
        }
    }

    /// The same for a partition of which it may follow nothing.
    pub fn restart_if_known(&mut self, partition: Partition, place: Place) {
        if self.is_live() && self.places.contains(partition) {
            self.places.set(partition, place);
        }
    }

    /// It has its place: what must be refetched comes first, then what was missed, then that it is up to date, then
    /// what came in meanwhile. If too much came in meanwhile, it refetches everything and then is up to date.
    pub fn begin(&mut self, starts: &[Start], stats: &mut Stats) {
        let Phase::Joining(waiting) = &mut self.phase else { return };
        let waiting = std::mem::take(waiting);
        self.phase = Phase::Live;
        for start in starts {
            self.places.set(start.partition, start.from);
            for (address, reason) in start.resync.iter().filter(|_| self.owes.is_none()) {
                self.queue.push_extra(None, control::resync(address, *reason));
                stats.resynced(*reason, 1);
            }
        }
        for start in starts {
            for event in &start.replay {
                self.replay(event, start.tail, stats);
            }
            self.places.set(start.partition, start.place);
        }
        self.push_ready();
        for (partition, id, frame) in waiting.frames {
            if self.places.advance(partition, id) {
                self.enqueue(&frame, false, stats);
            }
        }
        self.wake();
    }

    fn replay(&mut self, event: &Dispatch, tail: bool, stats: &mut Stats) {
        let Some(frame) = event.frame() else { return };
        if !tail {
            if self.places.advance(event.partition, event.id) {
                self.enqueue(&frame, true, stats);
            }
        } else if self.wants(&frame) && self.owes.is_none() {
            // The latest event is older than what comes next: its id would put the cursor back.
            self.queue.push_extra(None, frame.without_id());
            stats.dispatched += 1;
        }
    }

    fn push_ready(&mut self) {
        if self.owes.is_some() {
            // It comes after what is owed.
            self.until_ready = 1;
            return;
        }
        self.queue.push_extra(None, control::ready(&self.cursor(), &self.name, &self.follow.addresses));
        self.until_ready = self.queue.len();
    }

    /// Queues a heartbeat, which carries the cursor, lifted to the watermarks. A connection that does not read gets
    /// none, and one that is owed a resync keeps its cursor.
    pub fn tick(&mut self, watermarks: &[Option<Place>], encode: impl FnOnce(String) -> Bytes) {
        if !self.queue.is_empty() || (self.is_live() && self.owes.is_some()) {
            return;
        }
        let frame = match self.phase {
            Phase::Live => {
                self.places.lift(watermarks);
                encode(self.cursor())
            }
            Phase::Joining(_) => control::keep_alive(),
            Phase::Ending => return,
        };
        self.queue.push_extra(None, frame);
        self.wake();
    }

    /// Ends it, after all that waits, and `last`.
    pub fn end(&mut self, last: Option<Bytes>) {
        if !self.is_ending() {
            self.phase = Phase::Ending;
            last.into_iter().for_each(|last| self.queue.push_extra(None, last));
            self.wake();
        }
    }

    /// The next bytes to write. What is owed comes first, but not to one that ends: its cursor is from before, so it is
    /// told when it comes back.
    pub fn next(&mut self, stats: &mut Stats) -> Option<Bytes> {
        if let Some(reason) = self.owes.filter(|_| self.is_live()) {
            self.owes = None;
            for address in self.follow.addresses.iter() {
                self.queue.push_extra(None, control::resync(address, reason));
                stats.resynced(reason, 1);
            }
            if self.until_ready > 0 {
                self.push_ready();
            }
        }
        let chunk = self.queue.pop()?;
        self.until_ready = self.until_ready.saturating_sub(1);
        Some(chunk)
    }

    /// Asks to be woken when there is more to write.
    pub fn wait(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
