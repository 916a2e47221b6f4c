//! A connection: one open stream, or one long poll.

mod beginning;
mod paced;
mod refetching;
mod writing;

use std::num::NonZeroU32;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tidings_shared::Partitions;
use tidings_shared::cursor::Place;

use super::delays::Delays;
use super::follow::Follow;
use super::names::NameTable;
use super::outlet::Outlet;
use super::places::Places;
use super::queue::{Entry, Queue};
use super::stats::Stats;
use super::table::Stand;
use crate::control::{self, Goodbye, Reason};
use crate::frame::Frame;

pub use self::refetching::Herd;
pub use self::writing::WRITE;

/// How far the life of a connection has come.
#[derive(Debug)]
enum Phase {
    /// It waits for its place. What comes in meanwhile is kept; most of it will be part of the replay.
    Joining(Waiting),
    /// It has its place and gets what comes.
    Live,
    /// It ends once its queue is empty, for this reason. Its client is to come back after this time.
    Ending(Goodbye, Duration),
}

/// What came in before the connection had its place: no more bytes than its queue may hold.
#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<Frame>,
    bytes: usize,
}

/// What a connection has in common with the others of its worker.
#[derive(Debug)]
pub struct WorkerContext {
    /// How many partitions there are.
    pub partitions: Partitions,
    /// The most bytes of live frames that wait for it.
    pub queue: usize,
    /// The event names under which resyncs are said.
    pub event_names: Rc<NameTable>,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// Distinguishes it from others in the same slot.
    pub serial: u64,
    name: Box<str>,
    /// The event names under which its resyncs are said, unless it has one of its own.
    event_names: Rc<NameTable>,
    /// What it follows.
    pub follow: Follow,
    /// Where it stands in the hub's table, for each address.
    pub(super) stands: SmallVec<[Stand; 1]>,
    phase: Phase,
    /// Up to where it has got all events: written, queued, or held back.
    places: Places,
    /// Up to where they have been taken to be written. `None` where frames carry their own ids, and nobody asks.
    written: Option<Box<Places>>,
    queue: Queue,
    /// What it holds back, if it does.
    delays: Option<Box<Delays>>,
    /// Why it must refetch everything, if its queue overflowed or the gateway fell behind.
    owes: Option<Reason>,
    /// Whether it is still to be told that it is up to date. Should the queue be dropped before that, it is told anew.
    unready: bool,
    partitions: Partitions,
    waker: Option<Waker>,
    outlet: Option<Rc<dyn Outlet>>,
    /// Whether it is to write when the turn is over.
    due: bool,
    /// How many heartbeats a stream lives on. A poll, which is over soon, has none.
    beats: Option<NonZeroU32>,
    /// The milliseconds of the `retry:` that a stream begins with, until that is written.
    retry: Option<NonZeroU32>,
}

impl Connection {
    /// A connection that waits for its place.
    pub fn new(serial: u64, name: Box<str>, follow: Follow, worker: WorkerContext) -> Self {
        let WorkerContext { partitions, queue, event_names } = worker;
        Self {
            serial,
            name,
            event_names,
            // A connection that wants few events must look at each.
            delays: follow.every.map(|_| Box::default()),
            follow,
            stands: SmallVec::new(),
            phase: Phase::Joining(Waiting::default()),
            places: Places::default(),
            written: None,
            queue: Queue::new(queue),
            owes: None,
            unready: false,
            partitions,
            waker: None,
            outlet: None,
            due: false,
            beats: None,
            retry: None,
        }
    }

    /// Lets it last, as a stream does, for so many heartbeats and at least one. It begins with a `retry:` of this delay.
    pub fn last(&mut self, beats: u32, retry: Duration) {
        self.beats = NonZeroU32::new(beats.max(1));
        if !self.is_ending() {
            self.retry = u32::try_from(retry.as_millis()).ok().and_then(NonZeroU32::new);
        }
    }

    /// Has it say something, if it has said nothing yet: its place takes long to come.
    pub fn greet(&mut self) {
        if self.retry.is_some() && self.queue.is_empty() && self.is_joining() {
            self.queue.push_extra(Entry::Said(Box::new(control::keep_alive())));
            self.wake();
        }
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

    /// Whether it still waits to be told where it begins.
    pub fn is_joining(&self) -> bool {
        matches!(self.phase, Phase::Joining(_))
    }

    /// Whether it ends once its queue is empty.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending(..))
    }

    /// Why it ends and when its client is to come back, once it ends.
    pub fn goodbye(&self) -> Option<(Goodbye, Duration)> {
        match self.phase {
            Phase::Ending(why, delay) => Some((why, delay)),
            _ => None,
        }
    }

    /// How many bytes wait to be written, or for its place.
    pub fn queued_bytes(&self) -> usize {
        match &self.phase {
            Phase::Joining(waiting) => self.queue.bytes() + waiting.bytes,
            _ => self.queue.bytes(),
        }
    }

    /// Lifts its places to the watermarks: all up to there has been queued, or is held back.
    pub fn lift(&mut self, watermarks: &[Option<Place>]) {
        self.places.lift(watermarks);
    }

    /// Takes an event that goes out at once.
    fn take(&mut self, frame: &Frame, slot: u32, stats: &mut Stats, due: &mut Vec<u32>) {
        match &mut self.phase {
            Phase::Joining(_) if self.owes.is_some() => {}
            Phase::Joining(waiting) => {
                waiting.bytes += frame.bytes().len();
                waiting.frames.push(frame.clone());
                if waiting.bytes > self.queue.limit() {
                    *waiting = Waiting::default();
                    self.owes = Some(Reason::Slow);
                }
            }
            Phase::Live => {
                if self.comes_to(frame) {
                    if self.wants(frame) {
                        stats.dispatched += 1;
                        self.push(Entry::Event(frame.clone()), frame.bytes().len(), stats);
                    }
                    self.fall_due(slot, due);
                }
            }
            Phase::Ending(..) => {}
        }
    }

    /// Moves its place on to an event. False if it has had it.
    fn comes_to(&mut self, frame: &Frame) -> bool {
        self.note_written();
        self.places.advance(frame.partition(), frame.place().id)
    }

    /// Whether it wants the event and not a resync of everything.
    fn wants(&self, frame: &Frame) -> bool {
        self.owes.is_none() && self.follow.wants(frame)
    }

    /// Queues an entry of so many bytes. If there is no room, refreshes collapse; if there is none then, it owes a resync.
    fn push(&mut self, entry: Entry, bytes: usize, stats: &mut Stats) {
        if self.has_room(bytes, stats) {
            self.queue.push(entry);
        }
    }

    fn has_room(&mut self, bytes: usize, stats: &mut Stats) -> bool {
        if self.queue.fits(bytes) {
            return true;
        }
        let delays = &mut self.delays;
        let worth = self.queue.collapse(self.follow.name().is_some(), |frame| {
            stats.coalesced += 1;
            delays.iter_mut().for_each(|delays| delays.wrote(frame));
        });
        let fits = worth && self.queue.fits(bytes);
        if !fits {
            self.drop_all(Reason::Slow);
        }
        fits
    }

    fn drop_all(&mut self, reason: Reason) {
        self.queue.clear();
        self.delays.iter_mut().for_each(|delays| delays.clear());
        self.owes = Some(reason);
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
                self.note_written();
                encode(self.cursor())
            }
            Phase::Joining(_) => control::keep_alive(),
            Phase::Ending(..) => return,
        };
        self.queue.push_extra(Entry::Said(Box::new(frame)));
        self.wake();
    }

    /// Ends it, after all that waits and a goodbye. What it holds back stays behind, and its cursor with it: the connection
    /// that comes next gets that as replay.
    pub fn end(&mut self, why: Goodbye, delay: Duration, stats: &mut Stats) {
        if self.is_ending() {
            return;
        }
        if self.is_live() {
            stats.ended(why);
        }
        if self.queue.is_empty() && self.is_joining() {
            // A refusal is one block, which has a `retry:` of its own.
            self.retry = None;
        }
        self.phase = Phase::Ending(why, delay);
        self.queue.push_extra(Entry::Said(Box::new(control::goodbye(why, delay))));
        self.wake();
    }

    /// Asks that its task be woken when there is more to write.
    pub fn wait(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }

    /// Gives it a way out by which it writes at once.
    pub fn attach(&mut self, outlet: Rc<dyn Outlet>) {
        self.outlet = Some(outlet);
    }

    /// It is to write when the turn is over, if it waits for that.
    fn fall_due(&mut self, slot: u32, due: &mut Vec<u32>) {
        if !self.due && self.waker.is_some() {
            self.due = true;
            due.push(slot);
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
