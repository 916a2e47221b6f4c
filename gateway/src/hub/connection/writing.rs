//! What a connection writes next, and under which cursor.
//!
//! A cursor never runs ahead of what its connection still owes. With one partition and nothing held back that needs no
//! thought: events are written in order, and each frame carries its own id. Else the cursor is put together here, for
//! each frame that is written: the places come to so far, but below whatever is held back.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tidings_shared::cursor::{self, Place};
use tidings_shared::{Partition, Partitions};

use super::Connection;
use crate::control;
use crate::frame::Frame;
use crate::hub::Filled;
use crate::hub::queue::Entry;
use crate::hub::stats::Stats;
use crate::hub::straight::Span;
use crate::reader::delivery::Dispatch;

/// Bytes that are gathered for one write, about.
pub const WRITE: usize = 32 * 1024;

/// What is written next: one event or more, whole.
enum Next {
    /// A frame as all connections get it.
    Shared(Frame),
    /// A frame under this connection's own cursor, which is that of this moment.
    Own(Frame),
    /// What is no frame.
    Said(Bytes),
}

impl Connection {
    /// The next bytes to write: one event or more, whole.
    pub fn next(&mut self, stats: &mut Stats) -> Option<Bytes> {
        self.tell_owed(stats);
        if let Some(retry) = self.take_retry() {
            return Some(retry);
        }
        Some(match self.take_next()? {
            Next::Shared(frame) => self.under_name(&frame),
            Next::Own(frame) => self.under_cursor(&frame),
            Next::Said(bytes) => bytes,
        })
    }

    /// Appends the next bytes to `out`, as much as is good to write at once.
    pub fn fill(&mut self, out: &mut Vec<u8>, stats: &mut Stats) -> Filled {
        self.tell_owed(stats);
        if let Some(retry) = self.take_retry() {
            out.extend_from_slice(&retry);
        }
        while out.len() < WRITE {
            match self.take_next() {
                Some(Next::Shared(frame)) => match self.follow.name() {
                    Some(name) => frame.write_named(out, name),
                    None => out.extend_from_slice(frame.bytes()),
                },
                Some(Next::Said(bytes)) => out.extend_from_slice(&bytes),
                Some(Next::Own(frame)) => {
                    frame.write_under(out, self.follow.name(), |out| self.write_cursor(out));
                }
                None if self.is_ending() => return Filled::Ended,
                None => return Filled::Waiting,
            }
        }
        Filled::More
    }

    /// Writes what waits by its outlet, or wakes its task to do so.
    pub fn write(&mut self, stats: &mut Stats) {
        self.due = false;
        let outlet = self.outlet.as_ref().map(Rc::clone);
        if !outlet.is_some_and(|outlet| outlet.write(&mut |out| self.fill(out, stats))) {
            self.wake();
        }
    }

    /// Whether a run of events may go straight to its outlet: it wants and has yet to get all of them, and nothing else is
    /// to be written or told before.
    pub fn is_free(&self, span: Span) -> bool {
        let idle = self.is_live() && self.waker.is_some() && self.queue.is_empty() && self.owes.is_none();
        idle && !self.has_own_ids()
            && self.follow.wants_all()
            && self.places.get(span.partition).is_some_and(|place| place.id < span.first)
            && self.outlet.as_ref().is_some_and(|outlet| outlet.is_free())
    }

    /// Writes such a run, whose bytes were joined for all that hear it without a name of their own.
    pub fn pass(&mut self, run: &[Dispatch], (bytes, span): (&[u8], Span), stats: &mut Stats) {
        self.places.advance(span.partition, span.last);
        stats.dispatched += span.events;
        let name = self.follow.name();
        let fill = &mut |out: &mut Vec<u8>| {
            match name {
                Some(name) => run.iter().flat_map(|event| &event.frames).for_each(|(_, f)| f.write_named(out, name)),
                None => out.extend_from_slice(bytes),
            }
            Filled::Waiting
        };
        if !self.outlet.as_ref().is_some_and(|outlet| outlet.write(fill)) {
            self.wake();
        }
    }

    /// What a stream begins with, once there is something behind it.
    fn take_retry(&mut self) -> Option<Bytes> {
        let millis = self.retry.take_if(|_| !self.queue.is_empty())?;
        Some(control::retry(Duration::from_millis(millis.get().into())))
    }

    fn take_next(&mut self) -> Option<Next> {
        loop {
            match self.queue.pop()? {
                Entry::Event(frame) => {
                    if let Some(written) = &mut self.written {
                        written.set(frame.partition(), frame.place());
                    }
                    return Some(self.render(frame));
                }
                Entry::Late(frame) => {
                    self.wrote(&frame);
                    let next = match self.render(frame) {
                        // Under the cursor of before it rests.
                        Next::Own(frame) => Next::Said(self.under_cursor(&frame)),
                        next => next,
                    };
                    self.rest();
                    return Some(next);
                }
                Entry::Covered(frame) => {
                    self.wrote(&frame);
                    self.rest();
                }
                Entry::Told(resyncs) => {
                    self.delays.iter_mut().for_each(|delays| delays.told(&resyncs));
                    self.rest();
                }
                Entry::Said(bytes) => return Some(Next::Said(*bytes)),
                Entry::Ready(places) => {
                    self.unready = false;
                    self.written = Some(places);
                    let bytes =
                        control::ready(&self.cursor(), &self.name, &self.follow.addresses, self.follow.ignored());
                    self.rest();
                    return Some(Next::Said(bytes));
                }
            }
        }
    }

    /// What is owed comes first, but not to one that ends: its cursor is from before, so it is told when it comes back.
    fn tell_owed(&mut self, stats: &mut Stats) {
        let Some(reason) = self.owes.filter(|_| self.is_live()) else { return };
        self.owes = None;
        for address in self.follow.addresses.iter() {
            self.queue.push_extra(Entry::Said(Box::new(self.resync_bytes(address, reason))));
            stats.resynced(reason, 1);
        }
        // Whatever comes behind these is written after them.
        if let Some(written) = &mut self.written {
            written.set_all(&self.places);
        }
        if self.unready {
            self.push_ready();
        }
    }

    fn wrote(&mut self, frame: &Frame) {
        self.delays.iter_mut().for_each(|delays| delays.wrote(frame));
    }

    /// A frame, under a cursor that is true once it is written.
    fn render(&self, frame: Frame) -> Next {
        let one = self.partitions == Partitions::ONE;
        if !self.has_own_ids() || (one && self.place(frame.partition()) == Some(frame.place())) {
            Next::Shared(frame)
        } else {
            Next::Own(frame)
        }
    }

    fn under_cursor(&self, frame: &Frame) -> Bytes {
        let mut bytes = Vec::new();
        frame.write_under(&mut bytes, self.follow.name(), |out| self.write_cursor(out));
        bytes.into()
    }

    fn under_name(&self, frame: &Frame) -> Bytes {
        let Some(name) = self.follow.name() else { return frame.bytes().clone() };
        let mut bytes = Vec::with_capacity(name.as_str().len() + frame.bytes().len());
        frame.write_named(&mut bytes, name);
        bytes.into()
    }

    /// A frame that moves nobody's cursor.
    pub(super) fn without_id(&self, frame: &Frame) -> Bytes {
        match self.follow.name() {
            Some(name) => frame.named_without_id(name),
            None => frame.without_id(),
        }
    }

    /// The cursor after all that was written so far.
    pub fn cursor(&self) -> String {
        let mut cursor = Vec::new();
        self.write_cursor(&mut cursor);
        String::from_utf8(cursor).unwrap_or_default()
    }

    fn write_cursor(&self, out: &mut Vec<u8>) {
        let places = self.places.partitions().filter_map(|partition| Some((partition, self.place(partition)?)));
        cursor::write(out, self.partitions, &places.collect::<SmallVec<[_; 32]>>());
    }

    /// The place in a partition after all that was written so far.
    fn place(&self, partition: Partition) -> Option<Place> {
        let present = self.places.get(partition)?;
        let all = self.queue.is_empty() && self.owes.is_none();
        let place = if all { present } else { self.written.as_ref()?.get(partition)? };
        let oldest = self.delays.as_ref().and_then(|delays| delays.oldest(partition, present.epoch));
        let Some(oldest) = oldest else { return Some(place) };
        let below = Place { id: oldest.id.before(), ..oldest };
        Some(if below.epoch == place.epoch {
            Place { id: place.id.min(below.id), ..place }
        } else if place.epoch == present.epoch {
            // Of a history before: a resume from there resyncs.
            below
        } else {
            place
        })
    }

    /// Notes, before anything is queued behind nothing, that all up to here has been written.
    pub(super) fn note_written(&mut self) {
        if self.has_own_ids() && self.queue.is_empty() && self.owes.is_none() {
            self.written.get_or_insert_default().set_all(&self.places);
        }
    }

    /// Whether the ids that it gives are not simply those of the frames.
    pub(super) fn has_own_ids(&self) -> bool {
        self.partitions != Partitions::ONE || self.delays.is_some()
    }
}
